package call_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ringback/ringback/internal/call"
)

// Alice calls; the others are called. Every story begins at start, which is a
// round number of seconds.
const start call.Instant = 1_700_000_000_000

const (
	second      = 1000          // an Instant counts milliseconds
	ringTime    = 90            // seconds, the timeout of the calls in tests
	maxDuration = 3600 * second // of the advanced ones
)

var anID = call.NewID(start, 12345)

// on gives the actor who uses a device: on("bob-1") is bob on his first one,
// on("bob") is bob by way of the server API.
func on(device string) call.Actor {
	user, _, found := strings.Cut(device, "-")
	if !found {
		return call.Actor{User: call.UserID(user)}
	}
	return call.Actor{User: call.UserID(user), Session: call.SessionID(device)}
}

// ids splits a list of users: ids("bob carol").
func ids(names string) []call.UserID {
	var out []call.UserID
	for _, name := range strings.Fields(names) {
		out = append(out, call.UserID(name))
	}
	return out
}

// invites is alice's command to call the named users.
func invites(mode call.Mode, names string) call.Create {
	return call.Create{
		Actor: on("alice-1"), ID: anID, App: 7, Invitees: ids(names), Timeout: ringTime, Mode: mode, MaxDuration: maxDuration,
	}
}

// Short forms of the commands, by who gives them.
func receives(device string) call.Command { return call.Receive{Actor: on(device)} }
func accepts(device string) call.Command  { return call.Accept{Actor: on(device)} }
func rejects(device string) call.Command  { return call.Reject{Actor: on(device)} }
func joins(device string) call.Command    { return call.Join{Actor: on(device)} }
func quits(device string) call.Command    { return call.Leave{Actor: on(device)} }
func ends(device string) call.Command     { return call.End{Actor: on(device)} }

func adds(device, names string) call.Command {
	return call.Invite{Actor: on(device), Invitees: ids(names)}
}

// cancels takes back the invitations of the named users, or of all.
func cancels(device, names string) call.Command {
	return call.Cancel{Actor: on(device), Names: ids(names)}
}

func absent(user call.UserID) call.Command { return call.ParticipantGone{User: user} }

// story is a call that a test leads from command to command.
type story struct {
	t   *testing.T
	c   *call.Call
	now call.Instant
	// res is what the latest command came to.
	res call.Result
}

// begin is a story in which alice has just called the named users.
func begin(t *testing.T, mode call.Mode, names string) *story {
	t.Helper()
	s := &story{t: t, now: start}
	return s.do(invites(mode, names))
}

// at moves the clock to so many seconds after the start.
func (s *story) at(seconds float64) *story {
	s.now = start.Add(int64(seconds * second))
	return s
}

// do carries out commands that must be allowed.
func (s *story) do(cmds ...call.Command) *story {
	s.t.Helper()
	for _, cmd := range cmds {
		res, err := call.Apply(s.c, cmd, s.now)
		if err != nil {
			s.t.Fatalf("%T %+v: refused: %v", cmd, cmd, err)
		}
		s.c, s.res = res.Call, res
	}
	return s
}

// unchanged carries out commands that must be allowed and change nothing.
func (s *story) unchanged(cmds ...call.Command) *story {
	s.t.Helper()
	for _, cmd := range cmds {
		before := s.c
		s.do(cmd)
		if s.res.Event != nil || s.c != before {
			s.t.Fatalf("%T %+v gave %T %+v, want no change", cmd, cmd, s.res.Event, s.res.Event)
		}
	}
	return s
}

// refused gives a command that must be refused with the code.
func (s *story) refused(cmd call.Command, want call.Code) *story {
	s.t.Helper()
	if got := refusal(s.t, s.c, cmd, s.now); got != want {
		s.t.Errorf("%T %+v: code %d, want %d", cmd, cmd, got, want)
	}
	return s
}

// refusal gives the code with which a command is refused, 0 when it is not.
func refusal(t *testing.T, c *call.Call, cmd call.Command, now call.Instant) call.Code {
	t.Helper()
	res, err := call.Apply(c, cmd, now)
	if err == nil {
		return 0
	}
	var refused *call.RefusedError
	if !errors.As(err, &refused) {
		t.Fatalf("%T: error is a %T, want a *call.RefusedError", cmd, err)
	}
	if res.Call != nil || res.Event != nil || res.Errors != nil {
		t.Errorf("%T: a refusal came with a result: %+v", cmd, res)
	}
	if refused.Message == "" {
		t.Errorf("%T: refusal %d says nothing", cmd, refused.Code)
	}
	return refused.Code
}

// states checks the states of users: states("bob accepted, carol inviting").
func (s *story) states(want string) *story {
	s.t.Helper()
	for phrase := range strings.SplitSeq(want, ", ") {
		name, state, _ := strings.Cut(phrase, " ")
		u := s.c.User(call.UserID(name))
		if u == nil {
			s.t.Errorf("%s is not in the call, want %s", name, state)
		} else if u.State.String() != state {
			s.t.Errorf("%s is %s, want %s", name, u.State, state)
		}
	}
	return s
}

func (s *story) live() *story {
	s.t.Helper()
	if !s.c.Live() || s.c.EndReason != "" || s.c.EndedAt != 0 {
		s.t.Errorf("the call has ended (%q), want it live", s.c.EndReason)
	}
	return s
}

// ended checks that the call has just ended.
func (s *story) ended(want call.Reason) *story {
	s.t.Helper()
	if s.c.Live() {
		s.t.Fatalf("the call is live, want it ended (%q)", want)
	}
	if s.c.EndReason != want || s.c.EndedAt != s.now {
		s.t.Errorf("ended at %d by %q, want at %d by %q", s.c.EndedAt, s.c.EndReason, s.now, want)
	}
	return s
}

func (s *story) version(want int64) *story {
	s.t.Helper()
	if s.c.Version != want {
		s.t.Errorf("version %d, want %d", s.c.Version, want)
	}
	return s
}

// leftOut checks the users whom the latest command left out.
func (s *story) leftOut(want ...call.UserError) *story {
	s.t.Helper()
	if !slices.Equal(s.res.Errors, want) {
		s.t.Errorf("left out: %v, want %v", s.res.Errors, want)
	}
	return s
}

// event gives the event of the latest command, which must be of that type.
func event[E call.Event](s *story) E {
	s.t.Helper()
	e, ok := s.res.Event.(E)
	if !ok {
		s.t.Fatalf("event is %T, want %T", s.res.Event, e)
	}
	return e
}
