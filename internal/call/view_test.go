package call_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/call"
)

// TestEnding: every device that still shows a call learns why it is over for
// its user.
func TestEnding(t *testing.T) {
	type step = []call.Command
	tests := []struct {
		name   string
		mode   call.Mode
		steps  step
		device string
		state  call.UserState
		reason call.Reason
	}{
		{"never of the call", call.General, nil, "stranger-1", 0, call.NeverKnown},
		{"cancelled with all", call.General, step{cancels("alice-1", "")}, "bob-1", call.Cancelled, call.CallerCancel},
		{"cancelled by name", call.General, step{cancels("alice-1", "bob")}, "bob-1", call.Cancelled, call.CallerCancel},
		{"the caller was gone", call.General, step{call.CallerGone{}}, "bob-1", call.Cancelled, call.CallerLeft},
		{"rang out", call.General, step{call.Expire{}}, "bob-1", call.TimedOut, call.RangOut},
		{"rejected here", call.General, step{rejects("bob-1")}, "bob-1", call.Rejected, call.ByOperator},
		{"rejected here, and that was all", call.General, step{rejects("carol-1"), rejects("bob-1")}, "bob-1", call.Rejected, call.Unanswered},
		{"rejected elsewhere", call.General, step{rejects("bob-1")}, "bob-2", call.Rejected, call.AnsweredElsewhere},
		{"rejected by the server API", call.General, step{rejects("bob")}, "bob-1", call.Rejected, call.AnsweredElsewhere},
		{"accepted here", call.General, step{rejects("carol-1"), accepts("bob-1")}, "bob-1", call.Accepted, call.ByOperator},
		{"accepted elsewhere", call.General, step{rejects("carol-1"), accepts("bob-1")}, "bob-2", call.Accepted, call.AnsweredElsewhere},
		{"the caller's device", call.General, step{cancels("alice-1", "")}, "alice-1", call.Accepted, call.CallerCancel},
		{"the caller's other device", call.General, step{cancels("alice-1", "")}, "alice-2", call.Accepted, call.CallerCancel},
		{"the caller, who was gone", call.General, step{call.CallerGone{}}, "alice-1", call.Accepted, call.CallerLeft},
		{"ended while it rang", call.Advanced, step{ends("alice-1")}, "bob-1", call.Inviting, call.ByOperator},
		{"all left while it rang", call.Advanced, step{quits("alice-1")}, "bob-1", call.Inviting, call.AllLeft},
		{"ended while in it", call.Advanced, step{accepts("bob-1"), ends("alice-1")}, "bob-1", call.Accepted, call.ByOperator},
		{"moved away", call.Advanced, step{accepts("bob-1"), joins("bob-2"), ends("alice-1")}, "bob-1", call.Accepted, call.AnsweredElsewhere},
		{"moved here", call.Advanced, step{accepts("bob-1"), joins("bob-2"), ends("alice-1")}, "bob-2", call.Accepted, call.ByOperator},
		{"had quit", call.Advanced, step{accepts("bob-1"), quits("bob-1")}, "bob-1", call.Quit, call.HasQuit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := begin(t, tt.mode, "bob carol").at(ringTime - 1)
			for _, cmd := range tt.steps {
				if _, ok := cmd.(call.Expire); ok {
					s.at(ringTime)
				}
				s.do(cmd)
			}
			actor := on(tt.device)
			if s.c.Active(actor.User) {
				t.Fatal("the call is live for the user")
			}
			if state, reason := s.c.Ending(actor.User, actor.Session); state != tt.state || reason != tt.reason {
				t.Errorf("%s, %q; want %s, %q", state, reason, tt.state, tt.reason)
			}
		})
	}
}

func TestActive(t *testing.T) {
	s := begin(t, call.Advanced, "bob carol dave").do(accepts("bob-1"), rejects("carol-1"))
	for user, want := range map[call.UserID]bool{"alice": true, "bob": true, "carol": false, "dave": true, "stranger": false} {
		if got := s.c.Active(user); got != want {
			t.Errorf("%s: %t, want %t", user, got, want)
		}
	}
	s.do(ends("bob-1"))
	for _, user := range ids("alice bob carol dave") {
		if s.c.Active(user) {
			t.Errorf("%s is active in a call that has ended", user)
		}
	}
}

func TestUserStates(t *testing.T) {
	tests := map[call.UserState]struct {
		name            string
		pending, active bool
	}{
		0: {"inviting", true, true}, 1: {"accepted", false, true}, 2: {"rejected", false, false}, 3: {"cancelled", false, false},
		4: {"UserState(4)", false, false}, 5: {"received", true, true}, 6: {"timed out", false, false}, 7: {"quit", false, false},
		8: {"UserState(8)", false, false}, 9: {"not yet received", true, true}, 10: {"be-cancelled", false, false},
	}
	for state, want := range tests {
		if state.String() != want.name || state.Pending() != want.pending || state.Active() != want.active {
			t.Errorf("%d: %s, pending %t, active %t; want %+v", int(state), state, state.Pending(), state.Active(), want)
		}
	}
}

func TestRefusedError(t *testing.T) {
	err := &call.RefusedError{Code: call.NoSuchCall, Message: "the call has ended"}
	if got, want := err.Error(), "the call has ended (6000276)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestID(t *testing.T) {
	now := call.At(time.Unix(1_700_000_000, 999e6))
	id := call.NewID(now, 1<<31|5)
	if want := call.ID(1_700_000_000<<31 | 5); id != want {
		t.Errorf("got %d, want %d: seconds, then the lowest 31 random bits", id, want)
	}
	if later := call.NewID(now+1, 0); later <= call.NewID(now, 1<<31-1) {
		t.Error("a later ID does not sort after an earlier one")
	}
	if last := call.NewID(call.Instant(1<<32-1)*1000, 1<<32-1); last != 1<<63-1 {
		t.Errorf("the last ID is %d, want 2^63-1", last)
	}
	for _, want := range []call.ID{1, id, 1<<63 - 1} {
		if got, err := call.ParseID(want.String()); err != nil || got != want {
			t.Errorf("%s was read back as %d, %v", want, got, err)
		}
	}
	for _, s := range []string{"", "0", "01", "-1", "+1", " 1", "1 ", "1_0", "0x1", "1e3", "9223372036854775808", "99999999999999999999"} {
		if got, err := call.ParseID(s); err == nil {
			t.Errorf("%q was read as %d", s, got)
		}
	}
}

func TestInstant(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_123)
	if got := call.At(now); got != 1_700_000_000_123 || !got.Time().Equal(now) || got.Add(-23) != 1_700_000_000_100 {
		t.Errorf("got %d", got)
	}
}

func TestUserIDValid(t *testing.T) {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&()+-:;<=.>?@[]^_{}|~ "
	for b := range 256 {
		id := call.UserID([]byte{byte(b)})
		if got, want := id.Valid(), strings.IndexByte(allowed, byte(b)) >= 0; got != want {
			t.Errorf("%q: %t, want %t", string(id), got, want)
		}
	}
	for length, want := range map[int]bool{0: false, 1: true, 32: true, 33: false} {
		if got := call.UserID(strings.Repeat("x", length)).Valid(); got != want {
			t.Errorf("%d bytes: %t, want %t", length, got, want)
		}
	}
}
