package call_test

import (
	"reflect"
	"testing"

	"github.com/ringback/ringback/internal/call"
)

func TestRingsOut(t *testing.T) {
	for _, lost := range []bool{false, true} {
		s := begin(t, call.General, "bob carol").at(1).do(receives("bob-1"))
		if due := s.c.NextDue(); due != start+ringTime*second {
			t.Fatalf("next due %d after the start", due-start)
		}
		s.now = s.c.NextDue() - 1
		s.unchanged(call.Expire{CallerLost: lost})
		s.now++
		s.do(call.Expire{CallerLost: lost}).states("bob timed out, carol timed out").ended(call.Unanswered).version(2)
		want := call.InvitationsTimedOut{Users: ids("bob carol"), At: s.now, Whole: true, CallerLost: lost}
		if got := event[call.InvitationsTimedOut](s); !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		s.unchanged(call.Expire{})
		if s.c.NextDue() != 0 {
			t.Errorf("the call has ended, yet something is due at %d", s.c.NextDue())
		}
	}
}

// TestWhole: a call rang out as a whole when no invitee ever responded, none
// is left pending, and all were named when the call was created.
func TestWhole(t *testing.T) {
	type step = []call.Command
	tests := map[string]struct {
		steps step
		want  bool
	}{
		"nobody answered":           {nil, true},
		"one rings visibly":         {step{receives("bob-1")}, true},
		"one was cancelled":         {step{cancels("alice-1", "bob")}, true},
		"the caller changed device": {step{joins("alice-2")}, true},
		"one rejected":              {step{rejects("bob-1")}, false},
		"one accepted":              {step{accepts("bob-1")}, false},
		"one accepted and quit":     {step{accepts("bob-1"), quits("bob-1")}, false},
		"one joined":                {step{joins("dave-1")}, false},
		"one joined and quit":       {step{joins("dave-1"), quits("dave-1")}, false},
		"one more was invited":      {step{adds("alice-1", "dave")}, false},
		"one more came and went":    {step{adds("alice-1", "dave"), cancels("alice-1", "dave")}, true},
		"one was invited anew":      {step{cancels("alice-1", "bob"), adds("alice-1", "bob")}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := begin(t, call.Advanced, "bob carol").do(tt.steps...).at(ringTime).do(call.Expire{})
			if got := event[call.InvitationsTimedOut](s).Whole; got != tt.want {
				t.Errorf("whole is %t, want %t", got, tt.want)
			}
		})
	}
}

// TestTimeoutsOfOneInstant: all that are due together are one transition, and
// whoever was invited later has his own time.
func TestTimeoutsOfOneInstant(t *testing.T) {
	s := begin(t, call.Advanced, "bob carol").at(10).do(adds("alice-1", "dave erin"))
	s.at(1000).do(call.Expire{}).states("bob timed out, carol timed out, dave inviting, erin inviting").live()
	first := event[call.InvitationsTimedOut](s)
	s.do(call.Expire{}).states("dave timed out, erin timed out").ended(call.Unanswered)
	second := event[call.InvitationsTimedOut](s)
	if first.Whole || second.Whole || first.At != s.now || second.At != s.now {
		t.Errorf("timeouts are %+v and %+v", first, second)
	}
	s.unchanged(call.Expire{})
}

func TestNotReceivedCheck(t *testing.T) {
	create := invites(call.Advanced, "bob carol dave")
	create.NotReceivedCheck = true
	s := &story{t: t, now: start}
	s.do(create).at(1).do(receives("bob-1"), adds("alice-1", "erin"))
	s.at(4.999).unchanged(call.Expire{})
	s.at(5).do(call.Expire{}).version(3)
	s.states("bob received, carol not yet received, dave not yet received, erin inviting")
	want := call.InvitationsUnconfirmed{Users: ids("carol dave"), At: s.now}
	if got := event[call.InvitationsUnconfirmed](s); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	s.unchanged(call.Expire{})
	s.do(receives("dave-1")).states("dave received").version(3)
	s.at(6).do(call.Expire{}).states("carol not yet received, erin not yet received")
	s.do(accepts("carol-1"), rejects("erin-1")).states("carol accepted, erin rejected")
}

// TestTimeoutBeforeCheck: who has timed out is no longer looked for.
func TestTimeoutBeforeCheck(t *testing.T) {
	for _, timeout := range []int{1, 5} {
		create := invites(call.General, "bob")
		create.NotReceivedCheck, create.Timeout = true, timeout
		s := &story{t: t, now: start}
		s.do(create).at(5).do(call.Expire{}).states("bob timed out").ended(call.Unanswered)
	}
}

// TestTimeoutAndCheckOfOneInstant: the timeouts come first, then the checks,
// then the maximum duration.
func TestTimeoutAndCheckOfOneInstant(t *testing.T) {
	create := invites(call.Advanced, "bob carol")
	create.NotReceivedCheck, create.Timeout, create.MaxDuration = true, 10, 10*second
	s := &story{t: t, now: start}
	s.do(create).do(accepts("carol-1")).at(5).do(adds("alice-1", "dave")).do(call.Expire{}).at(10)
	s.do(call.Expire{}).states("bob timed out, dave inviting").live()
	s.do(call.Expire{}).states("dave not yet received").live()
	s.do(call.Expire{}).states("dave not yet received").ended(call.MaxDuration)
}

func TestMaxDuration(t *testing.T) {
	s := begin(t, call.Advanced, "bob").at(1).do(accepts("bob-1")).at(3590).do(adds("bob-1", "carol"))
	if due := s.c.NextDue(); due != start+maxDuration {
		t.Fatalf("next due %d after the start", due-start)
	}
	s.at(3600).do(call.Expire{}).ended(call.MaxDuration).states("alice accepted, bob accepted, carol inviting")
	if e := event[call.CallEnded](s); e.Reason != call.MaxDuration || e.User != "" || s.c.EndOperator != "" {
		t.Errorf("the event is %+v", e)
	}
}

func TestRingRemaining(t *testing.T) {
	s := begin(t, call.Advanced, "bob carol").do(accepts("carol-1"))
	for now, want := range map[call.Instant]int64{
		start: 90_000, start + 1: 89_999, start + 89_999: 1, start + 90_000: 0, start + 90_001: 0,
	} {
		if got := s.c.RingRemaining("bob", now); got != want {
			t.Errorf("%d after the start: %d, want %d", now-start, got, want)
		}
	}
	for _, user := range ids("alice carol stranger") {
		if got := s.c.RingRemaining(user, start); got != 0 {
			t.Errorf("%s: %d, want 0", user, got)
		}
	}
	s.do(ends("alice-1"))
	if got := s.c.RingRemaining("bob", start); got != 0 {
		t.Errorf("after the end: %d, want 0", got)
	}
}
