package client

import (
	"slices"
	"strconv"
	"testing"

	"github.com/ringback/ringback/protocol"
)

func TestCallsShown(t *testing.T) {
	user := func(id string, state int) protocol.CallUser { return protocol.CallUser{UserID: id, State: state} }
	call := func(mode int, users ...protocol.CallUser) protocol.Call {
		return protocol.Call{CallID: "1", Version: 1, Mode: mode, Users: users}
	}
	general := call(0, user("bob", 1), user("alice", 0))
	advanced := call(1, user("bob", 1), user("alice", 0))
	changed := func(users ...protocol.CallUser) Event {
		return &UsersChanged{protocol.UsersChanged{CallID: "1", Version: 2, Users: users}}
	}
	for _, test := range []struct {
		name  string
		first Event
		then  any // event or request
		shown bool
	}{
		{"ringing", &Invited{general}, changed(user("alice", 5)), true},
		{"cancelled", &Invited{general}, &Cancelled{protocol.Cancelled{CallID: "1", Version: 2}}, false},
		{"timed out", &Invited{general}, &TimedOut{protocol.TimedOut{CallID: "1", Version: 2}}, false},
		{"answered elsewhere", &Invited{general}, &AnsweredElsewhere{protocol.AnsweredElsewhere{CallID: "1", Version: 2}}, false},
		{"ended", &Invited{advanced}, &Ended{protocol.Ended{CallID: "1", Version: 2}}, false},
		{"accepted, general", &Invited{general}, changed(user("alice", 1)), false},
		{"accepted, advanced", &Invited{advanced}, changed(user("alice", 1)), true},
		{"rejected, advanced", &Invited{advanced}, changed(user("alice", 2)), false},
		{"quit, advanced", &Invited{advanced}, changed(user("alice", 7)), false},
		{"others rejected, general", &Created{call(0, user("alice", 1), user("bob", 0), user("carol", 2))}, changed(user("bob", 2)), false},
		{"some rejected, general", &Created{call(0, user("alice", 1), user("bob", 0), user("carol", 0))}, changed(user("bob", 2)), true},
		{"others rejected, advanced", &Created{call(1, user("alice", 1), user("bob", 0), user("carol", 1))}, changed(user("bob", 2)), true},
		{"more invited, advanced", &Created{call(1, user("alice", 1), user("bob", 1))}, changed(user("carol", 0)), true},
		{"own reject", &Invited{general}, &request{reply: &protocol.CallReply{CallID: "1", Version: 2}, ends: true}, false},
		{"own accept", &Invited{general}, &request{reply: &protocol.CallReply{CallID: "1", Version: 2}}, true},
		{"own cancel", &Created{general}, &request{reply: &protocol.UsersReply{CallID: "1", Version: 2}, ends: true}, false},
		{"own cancel of some", &Created{general}, &request{reply: &protocol.UsersReply{CallID: "1", Version: 2}}, true},
		{"own quit", &Created{advanced}, &request{reply: &protocol.LeaveReply{CallID: "1", Version: 2}}, false},
		{"own invite", nil, &request{reply: &protocol.InviteReply{CallID: "1", Version: 2}}, true},
		{"own join", nil, &request{reply: &protocol.JoinReply{Call: call(1, user("alice", 1))}}, true},
		{"old news", &Invited{general}, &TimedOut{protocol.TimedOut{CallID: "1", Version: 0}}, true},
		{"sync: over", &Invited{general}, &request{reply: &protocol.Snapshot{Ended: []protocol.EndedCall{{CallID: "1"}}}}, false},
		{"sync: alive", &Invited{general}, &request{reply: &protocol.Snapshot{Calls: []protocol.Call{general}}}, true},
	} {
		c := calls{self: "alice"}
		if test.first != nil && !c.admit(test.first) {
			t.Errorf("%s: the first event is old", test.name)
		}
		switch then := test.then.(type) {
		case Event:
			c.admit(then)
		case *request:
			c.replied(then)
		}
		if got := len(c.shown()) == 1; got != test.shown {
			t.Errorf("%s: shown is %v, want %v", test.name, got, test.shown)
		}
		if c.live != len(c.shown()) || len(c.over)+c.live != len(c.known) {
			t.Errorf("%s: %d live, %d over, %d known", test.name, c.live, len(c.over), len(c.known))
		}
	}
}

func TestCallsAreBounded(t *testing.T) {
	c := calls{self: "alice"}
	for i := range maxLive + 10 {
		c.admit(&Invited{ringing(strconv.Itoa(i), 1)})
	}
	if shown := c.shown(); len(shown) != maxLive || shown[0] != "10" || !slices.Contains(shown, strconv.Itoa(maxLive+9)) {
		t.Errorf("%d calls from %s on", len(shown), shown[0])
	}
	for i := range maxLive + 10 {
		c.admit(&TimedOut{protocol.TimedOut{CallID: strconv.Itoa(i), Version: 2}})
	}
	if len(c.known) != maxEnded || len(c.over) != maxEnded || len(c.shown()) != 0 {
		t.Errorf("%d known, %d over, %d shown", len(c.known), len(c.over), len(c.shown()))
	}
	last := strconv.Itoa(maxLive + 9)
	if c.admit(&Invited{ringing(last, 1)}) {
		t.Error("late news of a call that is over")
	}
}

// A sync that was on its way when a call ended, or that is repeated after a
// reconnection whose login told of the end, does not say it again.
func TestEndIsToldOnce(t *testing.T) {
	ended := func(ids ...string) *protocol.Snapshot {
		snap := new(protocol.Snapshot)
		for _, id := range ids {
			snap.Ended = append(snap.Ended, protocol.EndedCall{CallID: id, Version: 2, State: 6, Reason: protocol.ReasonTimeout})
		}
		return snap
	}
	c := calls{self: "alice"}
	for _, id := range []string{"1", "2", "3"} {
		c.admit(&Invited{protocol.Call{CallID: id, Version: 1, Users: []protocol.CallUser{{UserID: "alice"}}}})
	}
	c.admit(&TimedOut{protocol.TimedOut{CallID: "1", Version: 2}})
	c.adopt(ended("2"))
	sync := ended("1", "2", "3", "of an earlier process")
	c.replied(&request{reply: sync})
	var got []string
	for _, e := range sync.Ended {
		got = append(got, e.CallID)
	}
	if want := []string{"3", "of an earlier process"}; !slices.Equal(got, want) {
		t.Errorf("the snapshot tells of the ends of %v, want %v", got, want)
	}
}
