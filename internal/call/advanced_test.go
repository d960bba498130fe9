package call_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/ringback/ringback/internal/call"
)

func TestInviteMore(t *testing.T) {
	create := invites(call.Advanced, "bob carol")
	create.NotReceivedCheck = true
	s := &story{t: t, now: start}
	s.do(create).at(1).do(accepts("bob-1"), rejects("carol-1")).at(20)
	s.do(call.Invite{
		Actor: on("bob-1"), Invitees: ids("alice dave erin carol dave bobby"), Uninvitable: ids("erin alice"), Push: []byte("{}"),
	})
	s.leftOut(
		call.UserError{User: "alice", Code: call.AlreadyInCall},
		call.UserError{User: "erin", Code: call.NotRegistered},
	)
	want := call.UsersInvited{Actor: on("bob-1"), At: s.now, Invitees: ids("dave carol bobby"), Push: []byte("{}")}
	if got := event[call.UsersInvited](s); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, id := range ids("dave carol bobby") {
		want := call.User{
			ID: id, State: call.Inviting, Inviter: "bob", Late: true,
			InvitedAt: s.now, Deadline: s.now + ringTime*second, CheckAt: s.now + 5*second,
		}
		if got := s.c.User(id); !reflect.DeepEqual(*got, want) {
			t.Errorf("got  %+v\nwant %+v", *got, want)
		}
	}
	if len(s.c.Users) != 5 || string(s.c.Push) != "{}" {
		t.Errorf("users are %+v, the push is %s", s.c.Users, s.c.Push)
	}
}

func TestInviteMoreRefused(t *testing.T) {
	s := begin(t, call.Advanced, "bob carol").at(1).do(rejects("carol-1"))
	s.refused(adds("alice-1", names(10)), call.TooManyUsers)
	s.refused(adds("alice-1", "bob alice"), call.InvalidParameter)
	s.refused(adds("bob-1", "dave"), call.NotInCall)
	s.refused(adds("carol-1", "dave"), call.NotInCall)
	s.refused(adds("stranger-1", "dave"), call.NotInCall)
	s.unchanged(adds("alice-1", "bob")).leftOut(call.UserError{User: "bob", Code: call.AlreadyInCall})
}

// TestTenUsers: at most ten are in a call or being rung; those in a final
// state do not count.
func TestTenUsers(t *testing.T) {
	s := begin(t, call.Advanced, "u1 u2 u3 u4 u5 u6 u7 u8").at(1).do(rejects("u1-1"), accepts("u2-1"))
	s.do(adds("u2-1", "u9 u10 u11 u3")).leftOut(
		call.UserError{User: "u11", Code: call.TooManyUsers},
		call.UserError{User: "u3", Code: call.AlreadyInCall},
	)
	s.unchanged(adds("u2-1", "u11")).leftOut(call.UserError{User: "u11", Code: call.TooManyUsers})
	s.refused(joins("u12-1"), call.TooManyUsers).refused(joins("u1-1"), call.TooManyUsers)
	s.do(joins("u3-1"), joins("u2-2")) // these are inside
	s.do(quits("u2-2")).do(joins("u1-1")).refused(joins("u12-1"), call.TooManyUsers)
	s.do(cancels("alice-1", "u4 u5")).do(joins("u12-1")).do(adds("u12-1", "u4 u5")).leftOut(call.UserError{User: "u5", Code: call.TooManyUsers})

	if c := begin(t, call.Advanced, names(9)).c; len(c.Users) != 10 {
		t.Errorf("%d users in the largest call", len(c.Users))
	}
}

// TestMaxEver: users who come and go do not make a call grow for ever.
func TestMaxEver(t *testing.T) {
	s := begin(t, call.Advanced, "bob").at(1).do(accepts("bob-1"))
	for i := len(s.c.Users); i < call.MaxEver; i++ {
		device := fmt.Sprintf("guest%d-1", i)
		s.do(joins(device), quits(device))
	}
	s.refused(joins("late-1"), call.TooManyUsers)
	s.do(joins("guest7-1"))
	s.do(adds("bob-1", "late guest8")).leftOut(call.UserError{User: "late", Code: call.TooManyUsers})
}

func TestJoin(t *testing.T) {
	s := begin(t, call.Advanced, "bob carol").at(2)
	s.do(call.Join{Actor: on("dave-1"), ExtendedData: "here"}).live().version(2)
	want := call.User{
		ID: "dave", State: call.Accepted, Inviter: "alice", ExtendedData: "here", Primary: "dave-1",
		AcceptedAt: s.now, Late: true, LastOp: call.OpJoin, LastBy: "dave-1",
	}
	if got := s.c.User("dave"); !reflect.DeepEqual(*got, want) {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}
	if e := event[call.UserJoined](s); e.Moved {
		t.Error("he came from outside, yet he moved")
	}
	if s.c.FirstAcceptAt != s.now || !s.c.Responded {
		t.Error("a join does not count as an answer")
	}
	s.refused(joins("dave-1"), call.AlreadyOnDevice).refused(joins("alice-1"), call.AlreadyOnDevice)
}

// TestJoinAccepts: a pending invitee who joins accepts.
func TestJoinAccepts(t *testing.T) {
	s := begin(t, call.Advanced, "bob").at(2).do(call.Join{Actor: on("bob-2"), ExtendedData: "here"}).states("bob accepted")
	if e := event[call.CallAccepted](s); !e.Joined || e.ExtendedData != "here" {
		t.Errorf("the event is %+v", e)
	}
	s.refused(joins("bob-2"), call.AlreadyOnDevice).refused(accepts("bob-2"), call.NoSuchCall).refused(accepts("bob-1"), call.NoSuchCall)
	s.at(3).do(joins("bob-1")).refused(joins("bob-1"), call.AlreadyOnDevice)
	if u := s.c.User("bob"); u.Primary != "bob-1" || u.AcceptedAt != start+2000 || u.Late {
		t.Errorf("after a change of device: %+v", u)
	}
	if e := event[call.UserJoined](s); !e.Moved {
		t.Error("he was inside, yet he did not move")
	}
	s.do(joins("alice-2")).do(joins("bob-2"))
	if a := s.c.User("alice"); a.Primary != "alice-2" || a.AcceptedAt != start {
		t.Errorf("the caller after a change of device: %+v", a)
	}
}

func TestJoinByInvitationOnly(t *testing.T) {
	only := func(device string) call.Command { return call.Join{Actor: on(device), InvitedOnly: true} }
	s := begin(t, call.Advanced, "bob carol dave").at(1).do(rejects("bob-1"), accepts("carol-1"), quits("carol-1"))
	s.refused(only("stranger-1"), call.NotInCall)
	s.do(only("bob-1"), only("carol-2"), only("dave-1"), only("alice-2")).states("bob accepted, carol accepted, dave accepted")
	s.do(ends("bob-1")).refused(only("stranger-1"), call.NoSuchCall)
	begin(t, call.General, "bob").refused(only("stranger-1"), call.NotAdvanced)
}

func TestQuit(t *testing.T) {
	s := begin(t, call.Advanced, "bob carol").at(1).do(accepts("bob-1")).at(5)
	s.do(call.Leave{Actor: on("alice-2"), ExtendedData: "bye", Push: []byte("{}")}).live().states("alice quit, bob accepted, carol inviting")
	if a := s.c.User("alice"); a.QuitAt != s.now || a.ExtendedData != "bye" || string(s.c.Push) != "{}" {
		t.Errorf("alice is %+v, the push is %s", a, s.c.Push)
	}
	s.do(cancels("alice-1", "carol")).live() // she is still the caller
	s.do(adds("bob-1", "alice dave")).do(rejects("alice-1")).live()
	s.do(quits("bob-1")).ended(call.AllLeft).states("dave inviting")
	s.refused(accepts("dave-1"), call.NoSuchCall)
}

func TestEnd(t *testing.T) {
	s := begin(t, call.Advanced, "bob carol dave").at(1).do(accepts("bob-1"), rejects("dave-1")).at(2)
	s.do(call.End{Actor: on("bob-2"), ExtendedData: "done", Push: []byte("{}")}).ended(call.ByOperator)
	s.states("alice accepted, bob accepted, carol inviting, dave rejected")
	if s.c.EndOperator != "bob" || s.c.EndedBy != "bob-2" || s.c.EndExtendedData != "done" || string(s.c.Push) != "{}" {
		t.Errorf("ended by %s on %s: %s", s.c.EndOperator, s.c.EndedBy, s.c.EndExtendedData)
	}
	begin(t, call.Advanced, "bob").do(ends("alice-1")).ended(call.ByOperator).states("bob inviting")
}

// TestParticipantGone: as a quit, which nobody can repeat.
func TestParticipantGone(t *testing.T) {
	s := begin(t, call.Advanced, "bob carol").at(1).do(accepts("bob-1"), accepts("carol-1"))
	s.do(absent("bob")).live().states("bob quit").unchanged(absent("bob"), absent("stranger"))
	if e := event[call.UserQuit](s.do(absent("carol"))); e.User != "carol" || e.Session != "" {
		t.Errorf("the event is %+v", e)
	}
	s.refused(quits("bob-1"), call.NotInCall).do(joins("bob-1")).states("bob accepted")
	s.do(absent("alice"), absent("bob")).ended(call.AllLeft).unchanged(absent("bob"))
	begin(t, call.General, "bob carol").do(accepts("bob-1")).unchanged(absent("bob"), absent("alice"))
}
