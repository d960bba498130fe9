package call_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/ringback/ringback/internal/call"
)

func TestCancelAll(t *testing.T) {
	for _, mode := range []call.Mode{call.General, call.Advanced} {
		s := begin(t, mode, "bob carol dave").at(1).do(rejects("bob-1"), receives("carol-1"))
		s.do(call.Cancel{Actor: on("alice-1"), ExtendedData: "sorry", Push: []byte("{}")})
		s.states("alice accepted, bob rejected, carol cancelled, dave cancelled").ended(call.Unanswered).leftOut()
		want := call.InvitationsCancelled{
			Actor: on("alice-1"), At: s.now, Users: ids("carol dave"), All: true, Names: []call.UserID{},
			Reason: call.CallerCancel, ExtendedData: "sorry", Push: []byte("{}"),
		}
		if got := event[call.InvitationsCancelled](s); len(got.Names) != 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		if string(s.c.Push) != "{}" {
			t.Errorf("the push is %s", s.c.Push)
		}
		for _, viewer := range ids("alice bob carol dave") {
			if got := s.c.User("carol").SeenBy(viewer); got != call.Cancelled {
				t.Errorf("%s sees carol as %s", viewer, got)
			}
		}
	}
}

func TestCancelSome(t *testing.T) {
	for _, mode := range []call.Mode{call.General, call.Advanced} {
		s := begin(t, mode, "bob carol dave").at(1).do(rejects("bob-1"))
		s.do(cancels("alice-1", "erin carol bob carol")).live()
		s.states("bob rejected, carol be-cancelled, dave inviting").leftOut(
			call.UserError{User: "erin", Code: call.NotInCall},
			call.UserError{User: "bob", Code: call.NoSuchCall},
		)
		e := event[call.InvitationsCancelled](s)
		if e.All || !reflect.DeepEqual(e.Users, ids("carol")) || !reflect.DeepEqual(e.Names, ids("bob carol erin")) {
			t.Errorf("the event is %+v", e)
		}
		for viewer, want := range map[call.UserID]call.UserState{
			"alice": call.BeCancelled, "dave": call.BeCancelled, "carol": call.Cancelled,
		} {
			if got := s.c.User("carol").SeenBy(viewer); got != want {
				t.Errorf("%s sees carol as %s, want %s", viewer, got, want)
			}
		}
		s.refused(accepts("carol-1"), call.CancelledByOther)
		s.do(cancels("alice-1", "dave")).ended(call.Unanswered)
	}
}

// TestCancelNobody: when nobody was cancelled the request fails with the code
// of the first name.
func TestCancelNobody(t *testing.T) {
	s := begin(t, call.Advanced, "bob carol dave").at(1).do(rejects("bob-1"), accepts("carol-1"))
	s.refused(cancels("alice-1", "bob carol erin"), call.NoSuchCall)
	s.refused(cancels("alice-1", "carol erin bob"), call.CannotCancel)
	s.refused(cancels("alice-1", "erin carol bob"), call.NotInCall)
	s.refused(cancels("alice-1", "alice"), call.CannotCancel)
}

// TestCancelAfterAnAccept: in advanced mode those who still ring can be
// cancelled by name; nothing else can.
func TestCancelAfterAnAccept(t *testing.T) {
	general := begin(t, call.General, "bob carol").at(1).do(accepts("bob-1"))
	general.refused(cancels("alice-1", "carol"), call.CannotCancel)
	general.refused(cancels("alice-1", ""), call.CannotCancel)
	general.refused(cancels("bob-1", ""), call.CancelledByOther)
	general.at(ringTime).do(call.Expire{}).ended(call.ByOperator).refused(cancels("alice-1", ""), call.CannotCancel)
	general.refused(cancels("alice-1", "carol"), call.CannotCancel)

	advanced := begin(t, call.Advanced, "bob carol dave").at(1).do(accepts("bob-1"), accepts("dave-1"))
	advanced.refused(cancels("alice-1", ""), call.CannotCancel)
	advanced.refused(cancels("alice-1", "bob dave"), call.CannotCancel)
	advanced.refused(cancels("bob-1", "carol"), call.CancelledByOther)
	advanced.do(cancels("alice-1", "bob carol")).live().states("bob accepted, carol be-cancelled, dave accepted")
	advanced.leftOut(call.UserError{User: "bob", Code: call.CannotCancel})
	advanced.do(adds("alice-1", "erin"), quits("bob-1"), cancels("alice-1", "bob erin")).states("bob quit, erin be-cancelled")
	advanced.leftOut(call.UserError{User: "bob", Code: call.CannotCancel})
	advanced.do(ends("dave-1")).refused(cancels("alice-1", "bob dave"), call.CannotCancel)
	advanced.refused(cancels("alice-1", "bob dave stranger"), call.NoSuchCall)
}

// TestCancelRepeated: the same names, in any order, from the same device get
// the first answer, unless one of them rings again.
func TestCancelRepeated(t *testing.T) {
	s := begin(t, call.Advanced, "bob carol").at(1).do(cancels("alice-1", "bob erin"))
	erin := call.UserError{User: "erin", Code: call.NotInCall}
	s.leftOut(erin).version(2)
	s.unchanged(cancels("alice-1", "erin bob bob")).leftOut(erin)
	s.refused(cancels("alice-1", "bob"), call.NoSuchCall)
	s.do(accepts("carol-1")).unchanged(cancels("alice-1", "bob erin")).leftOut(erin).version(3)
	s.do(adds("carol-1", "erin")).do(cancels("alice-1", "bob erin")).states("erin be-cancelled")
	s.leftOut(call.UserError{User: "bob", Code: call.NoSuchCall})
	s.unchanged(cancels("alice-1", "bob erin")).leftOut(call.UserError{User: "bob", Code: call.NoSuchCall})
}

func TestCancelRepeatedAfterTheEnd(t *testing.T) {
	s := begin(t, call.Advanced, "bob carol").at(1).do(cancels("alice-1", "bob erin"), accepts("carol-1"), adds("carol-1", "bob"))
	s.do(ends("carol-1")).states("bob inviting").unchanged(cancels("alice-1", "bob erin"))
	s.res.Errors[0] = call.UserError{} // the answer is the caller's to change
	s.unchanged(cancels("alice-1", "bob erin")).leftOut(call.UserError{User: "erin", Code: call.NotInCall})
}

// TestCancelByTheServerAPI: it has no device, yet it acts for one user.
func TestCancelByTheServerAPI(t *testing.T) {
	s := begin(t, call.General, "bob").at(1).do(cancels("alice", "")).unchanged(cancels("alice", ""))
	s.refused(cancels("bob", ""), call.CancelledByOther).refused(cancels("alice-1", ""), call.NoSuchCall)
}

func TestCancelsRememberedAreBounded(t *testing.T) {
	s := begin(t, call.Advanced, "bob carol").do(accepts("carol-1"))
	for i := range 17 {
		s.do(cancels("alice-1", fmt.Sprint("bob stranger", i)), adds("alice-1", "bob"))
	}
	s.do(cancels("alice-1", "bob"))
	if n := len(s.c.Cancels); n != 16 {
		t.Errorf("%d cancels are remembered", n)
	}
	s.unchanged(cancels("alice-1", "bob"), cancels("alice-1", "bob stranger16"), cancels("alice-1", "bob stranger2"))
	s.refused(cancels("alice-1", "bob stranger1"), call.NoSuchCall)
}

// TestCallerGone: as a cancel of all, while nobody has accepted.
func TestCallerGone(t *testing.T) {
	for _, mode := range []call.Mode{call.General, call.Advanced} {
		s := begin(t, mode, "bob carol dave").at(1).do(rejects("bob-1"), receives("carol-1")).do(call.CallerGone{})
		s.states("bob rejected, carol cancelled, dave cancelled").ended(call.Unanswered)
		e := event[call.InvitationsCancelled](s)
		if e.Reason != call.CallerLeft || !e.All || e.User != "alice" || e.Session != "" {
			t.Errorf("the event is %+v", e)
		}
		if len(s.c.Cancels) != 0 {
			t.Error("it is remembered as if alice had cancelled")
		}
		s.refused(accepts("dave-1"), call.CancelledByOther).refused(cancels("alice-1", ""), call.NoSuchCall)
		s.unchanged(call.CallerGone{})

		begin(t, mode, "bob carol").at(1).do(accepts("bob-1")).unchanged(call.CallerGone{}).live()
	}
	begin(t, call.Advanced, "bob").at(1).do(joins("carol-1")).unchanged(call.CallerGone{}).states("bob inviting")
}
