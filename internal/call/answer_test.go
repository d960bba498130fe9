package call_test

import (
	"fmt"
	"testing"

	"github.com/ringback/ringback/internal/call"
)

func TestAccept(t *testing.T) {
	s := begin(t, call.General, "bob").at(3)
	s.do(call.Accept{Actor: on("bob-2"), ExtendedData: "coming"}).ended(call.ByOperator).version(2)
	bob := s.c.User("bob")
	if bob.ExtendedData != "coming" || bob.Primary != "bob-2" || bob.AcceptedAt != s.now || s.c.FirstAcceptAt != s.now {
		t.Errorf("bob is %+v, the first accept was at %d", bob, s.c.FirstAcceptAt)
	}
	if !s.c.Responded || !s.c.AnyAccepted() {
		t.Error("nobody counts as having answered")
	}
}

func TestReject(t *testing.T) {
	s := begin(t, call.General, "bob").at(3)
	s.do(call.Reject{Actor: on("bob"), ExtendedData: "busy"}).ended(call.Unanswered).version(2)
	bob := s.c.User("bob")
	if bob.ExtendedData != "busy" || bob.Primary != "" || bob.AcceptedAt != 0 {
		t.Errorf("bob is %+v", bob)
	}
	if !s.c.Responded || s.c.AnyAccepted() {
		t.Errorf("responded %t, accepted %t, want a response and no accept", s.c.Responded, s.c.AnyAccepted())
	}
}

// TestGeneralEndsWithTheLastPending: whatever becomes of the invitees, a
// general call lives until none is pending.
func TestGeneralEndsWithTheLastPending(t *testing.T) {
	s := begin(t, call.General, "bob carol dave erin").at(1)
	s.do(accepts("bob-1")).live()
	s.do(rejects("carol-1"), receives("dave-1"), accepts("dave-1")).live()
	s.at(ringTime).do(call.Expire{}).ended(call.ByOperator)
	s.states("alice accepted, bob accepted, carol rejected, dave accepted, erin timed out").version(5)
}

func TestAdvancedLivesOnOnceSomebodyAccepted(t *testing.T) {
	s := begin(t, call.Advanced, "bob carol").at(1)
	s.do(accepts("bob-1"), rejects("carol-1")).live()
	s.do(quits("bob-1")).live().states("alice accepted, bob quit")
	s.do(quits("alice-1")).ended(call.AllLeft)
}

func TestAdvancedEndsUnanswered(t *testing.T) {
	s := begin(t, call.Advanced, "bob carol").at(1)
	s.do(rejects("bob-1")).live()
	s.do(rejects("carol-1")).ended(call.Unanswered).states("alice accepted")
}

// TestReceivedIsSoft: it changes the state, not the version.
func TestReceivedIsSoft(t *testing.T) {
	s := begin(t, call.General, "bob carol").do(receives("bob-1")).version(1).states("bob received, carol inviting")
	if !call.Soft(s.res.Event) {
		t.Error("the event is not soft")
	}
	s.unchanged(receives("bob-2")).do(rejects("bob-2")).version(2)
	if call.Soft(s.res.Event) {
		t.Error("a reject is soft")
	}
}

func TestBy(t *testing.T) {
	bob := call.Actor{User: "bob", Session: "b"}
	for _, e := range []call.Event{
		call.CallCreated{Actor: bob},
		call.InvitationReceived{Actor: bob},
		call.CallAccepted{Actor: bob},
		call.CallRejected{Actor: bob},
		call.InvitationsCancelled{Actor: bob},
		call.UsersInvited{Actor: bob},
		call.UserJoined{Actor: bob},
		call.UserQuit{Actor: bob},
		call.CallEnded{Actor: bob},
	} {
		if got := call.By(e); got != bob {
			t.Errorf("%T is by %v", e, got)
		}
	}
	for _, e := range []call.Event{call.InvitationsUnconfirmed{}, call.InvitationsTimedOut{Users: []call.UserID{"bob"}}, call.CallEnded{}, nil} {
		if got := call.By(e); got != (call.Actor{}) {
			t.Errorf("%T is by %v", e, got)
		}
	}
}

// TestLateAnswersLose: from the instant of the deadline on nobody can answer,
// whether or not the timer has run; just before it everybody can.
func TestLateAnswersLose(t *testing.T) {
	for _, answer := range []call.Command{accepts("bob-1"), rejects("bob-1"), joins("bob-1")} {
		s := begin(t, call.Advanced, "bob carol").do(accepts("carol-1"))
		deadline := s.c.User("bob").Deadline
		if deadline != start+ringTime*second {
			t.Fatalf("the deadline is %d after the start", deadline-start)
		}
		s.now = deadline
		s.refused(answer, call.NoSuchCall)
		s.now = deadline + 1
		s.refused(answer, call.NoSuchCall)
		s.now = deadline - 1
		s.do(answer)
	}
}

func TestRepeatsOfTheSameDevice(t *testing.T) {
	type step = []call.Command
	tests := []struct {
		name    string
		mode    call.Mode
		before  step
		command call.Command
		after   step // what else happens before the repeat
		other   call.Command
		refusal call.Code // of the same by another device
	}{
		{"accept", call.General, nil, accepts("bob-1"), nil, accepts("bob-2"), call.NoSuchCall},
		{"accept, the call goes on", call.Advanced, nil, accepts("bob-1"), step{accepts("carol-1")}, accepts("bob-2"), call.NoSuchCall},
		{"accept, ended", call.Advanced, nil, accepts("bob-1"), step{ends("alice-1")}, accepts("bob-2"), call.NoSuchCall},
		{"accept, moved", call.Advanced, nil, accepts("bob-1"), step{joins("bob-2")}, accepts("bob-3"), call.NoSuchCall},
		{"accept, by the server API", call.General, nil, accepts("bob"), nil, accepts("bob-1"), call.NoSuchCall},
		{"reject", call.General, nil, rejects("bob-1"), nil, rejects("bob-2"), call.NoSuchCall},
		{"reject, then all cancelled", call.General, nil, rejects("bob-1"), step{cancels("alice-1", "")}, rejects("bob-2"), call.CancelledByOther},
		{"reject, joined by another", call.Advanced, nil, rejects("bob-1"), step{joins("bob-2")}, rejects("bob-2"), call.NoSuchCall},
		{"quit", call.Advanced, step{accepts("bob-1")}, quits("bob-1"), nil, quits("bob-2"), call.NotInCall},
		{"quit, the last", call.Advanced, nil, quits("alice-1"), nil, quits("alice-2"), call.NotInCall},
		{"quit, joined by another", call.Advanced, step{accepts("bob-1")}, quits("bob-1"), step{joins("bob-2")}, nil, 0},
		{"end", call.Advanced, step{accepts("bob-1")}, ends("bob-1"), nil, ends("bob-2"), call.NoSuchCall},
		{"end, not the operator", call.Advanced, step{accepts("bob-1")}, ends("bob-1"), nil, ends("alice-1"), call.NoSuchCall},
		{"cancel", call.General, nil, cancels("alice-1", ""), nil, cancels("alice-2", ""), call.NoSuchCall},
		{"cancel some", call.General, nil, cancels("alice-1", "bob"), nil, cancels("alice-2", "bob"), call.NoSuchCall},
		{"cancel some, then accepted", call.General, nil, cancels("alice-1", "bob"), step{accepts("carol-1")}, cancels("alice-2", "bob"), call.CannotCancel},
		{"cancel some, then all", call.General, nil, cancels("alice-1", "bob"), step{cancels("alice-1", "")}, cancels("alice-2", "bob"), call.NoSuchCall},
		{"cancel some, in another order", call.General, nil, cancels("alice-1", "bob carol"), nil, cancels("alice-2", "bob carol"), call.NoSuchCall},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := begin(t, tt.mode, "bob carol").at(1)
			s.do(tt.before...).do(tt.command).do(tt.after...)
			if tt.other != nil {
				s.refused(tt.other, tt.refusal)
			}
			s.at(2*ringTime).unchanged(tt.command, tt.command)
		})
	}
}

// TestRepeatIsOfTheLatest: what the same device did since, or a new
// invitation, makes the same command a new one.
func TestRepeatIsOfTheLatest(t *testing.T) {
	s := begin(t, call.Advanced, "bob carol").at(1)
	s.do(accepts("carol-1"), rejects("bob-1"), adds("carol-1", "bob"))
	s.do(rejects("bob-1")).states("bob rejected")
	s.do(joins("bob-1"), quits("bob-1"), joins("bob-1"))
	s.do(quits("bob-1")).states("bob quit")
	s.refused(accepts("bob-1"), call.NoSuchCall)
	s.do(adds("carol-1", "bob")).refused(quits("bob-1"), call.NotInCall)
}

// TestRemembersEveryDevice: up to sixteen other devices of one user.
func TestRemembersEveryDevice(t *testing.T) {
	s := begin(t, call.Advanced, "bob").do(accepts("bob-0"))
	for i := 1; i <= 16; i++ {
		s.do(joins(fmt.Sprint("bob-", i)))
	}
	s.unchanged(accepts("bob-0"))
	s.do(joins("bob-17")).refused(accepts("bob-0"), call.NoSuchCall)
	if n := len(s.c.User("bob").Earlier); n != 16 {
		t.Errorf("%d devices are remembered beside the latest", n)
	}
}
