package bench

import (
	"strconv"
	"testing"

	"github.com/ringback/ringback/protocol"
)

func TestTracker(t *testing.T) {
	create, accept := protocol.CallbackCreate, protocol.CallbackAccept
	type step struct {
		what string // "invited", "accepted", or an event
		at   int64
	}
	for _, test := range []struct {
		name  string
		steps []step
		want  callbackCounts
	}{
		{"in order", []step{{"invited", 20}, {create, 30}, {"accepted", 40}, {accept, 50}}, callbackCounts{Expected: 2, Received: 2}},
		{"before the replies", []step{{create, 5}, {"invited", 20}, {accept, 30}, {"accepted", 40}}, callbackCounts{Expected: 2, Received: 2}},
		{"lost", []step{{"invited", 20}, {"accepted", 40}, {create, 50}}, callbackCounts{Expected: 2, Received: 1, Lost: 1}},
		{"twice", []step{{"invited", 20}, {create, 30}, {create, 35}, {"accepted", 40}, {accept, 50}, {accept, 60}}, callbackCounts{Expected: 2, Received: 2, Duplicates: 2}},
		{"out of order", []step{{"invited", 20}, {"accepted", 40}, {accept, 50}, {create, 60}}, callbackCounts{Expected: 2, Received: 2, OutOfOrder: 1}},
		{"of a call that failed", []step{{create, 5}}, callbackCounts{Unexpected: 1}},
		{"of an accept that failed", []step{{"invited", 20}, {create, 30}, {accept, 40}}, callbackCounts{Expected: 1, Received: 1, Unexpected: 1}},
		{"of another kind", []step{{"invited", 20}, {create, 30}, {protocol.CallbackCancel, 40}}, callbackCounts{Expected: 1, Received: 1, Unexpected: 1}},
	} {
		var errs failures
		tr := newTracker(&errs)
		for _, s := range test.steps {
			switch s.what {
			case "invited":
				tr.invited("9", 1, s.at, true)
			case "accepted":
				tr.accepted("9", s.at-10, s.at)
			default:
				tr.callback("9", s.what, s.at)
			}
		}
		if got := tr.counts(); got != test.want || errs.sum() != 0 {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestTrackerMeasures(t *testing.T) {
	var errs failures
	tr := newTracker(&errs)
	tr.callback("9", protocol.CallbackCreate, 15)
	tr.invited("9", 10, 20, true)
	tr.accepted("9", 30, 40)
	tr.callback("9", protocol.CallbackAccept, 100)
	for name, test := range map[string]struct {
		h    *histogram
		n    int64
		want int64
	}{
		"invite": {&tr.fromInvite, 1, 5}, "accept": {&tr.fromAccept, 1, 70}, "transition": {&tr.fromTransition, 2, 60},
	} {
		if test.h.n.Load() != test.n || test.h.max.Load() != test.want {
			t.Errorf("%s: %d recorded, at most %d", name, test.h.n.Load(), test.h.max.Load())
		}
	}
	if tr.fromTransition.quantile(0.5) != 0 {
		t.Error("a callback that overtakes the reply does not count as 0")
	}
	tr.callback("nine", protocol.CallbackAccept, 100)
	if errs.sum() != 1 {
		t.Error("a strange call ID is no error")
	}
}

func TestTrackerIsBounded(t *testing.T) {
	var errs failures
	tr := newTracker(&errs)
	const n = maxSettled + 100
	for i := range n {
		id := strconv.Itoa(i)
		tr.invited(id, 1, 2, true)
		tr.callback(id, protocol.CallbackCreate, 3)
		tr.accepted(id, 4, 5)
		tr.callback(id, protocol.CallbackAccept, 6)
	}
	if len(tr.calls) != maxSettled {
		t.Errorf("%d calls are remembered", len(tr.calls))
	}
	if c := tr.counts(); c.Received != 2*n || c.Lost != 0 || c.Unexpected != 0 {
		t.Errorf("got %+v", c)
	}
}
