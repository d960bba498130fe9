package call_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/ringback/ringback/internal/call"
)

// A chooser makes the choices of a sequence of commands, so that the property
// tests and the fuzz target draw from one grammar.
type chooser interface {
	// choose gives a number from 0 to n-1.
	choose(n int) int
}

// oneOf chooses among values.
func oneOf[T any](c chooser, values ...T) T { return values[c.choose(len(values))] }

// drawUsers are few enough that commands meet, and more than fit into a call.
var drawUsers = ids("alice bob carol dave erin u1 u2 u3 u4 u5 u6 u7")

// drawActor is somebody, mostly one of the first users, on one of his devices
// or by the server API.
func drawActor(c chooser) call.Actor {
	user := oneOf(c, drawUsers[:4]...)
	if c.choose(4) == 0 {
		user = oneOf(c, drawUsers...)
	}
	return call.Actor{User: user, Session: oneOf(c, call.SessionID(user+"-1"), call.SessionID(user+"-2"), "")}
}

// drawNames is a list of users, with repetitions, rarely malformed.
func drawNames(c chooser, limit int) []call.UserID {
	var out []call.UserID
	for range c.choose(limit + 1) {
		out = append(out, oneOf(c, drawUsers...))
	}
	if c.choose(40) == 0 {
		out = append(out, "not/valid")
	}
	return out
}

func drawData(c chooser) string {
	if c.choose(40) == 0 {
		return strings.Repeat("x", call.MaxExtendedData+c.choose(2))
	}
	return oneOf(c, "", "", "some data")
}

func drawPush(c chooser) []byte { return oneOf(c, nil, nil, []byte(`{"title":"x"}`)) }

// drawCreate is mostly a command that makes a call.
func drawCreate(c chooser) call.Create {
	create := call.Create{
		Actor: on(oneOf(c, "alice-1", "alice")), ID: anID, App: 7, Invitees: drawUsers[1 : 2+c.choose(9)], Uninvitable: drawNames(c, 2),
		Timeout: oneOf(c, 90, 1, 5, 600), Mode: oneOf(c, call.Advanced, call.General), ExtendedData: drawData(c),
		NotReceivedCheck: c.choose(2) == 0, Push: drawPush(c), MaxDuration: oneOf[int64](c, maxDuration, 10*second),
	}
	create.Invitees = slices.Clone(create.Invitees)
	switch c.choose(30) {
	case 0:
		create.Invitees = drawNames(c, 11)
	case 1:
		create.Timeout = 0
	case 2:
		create.Mode = 2
	}
	return create
}

// drawCommand is any command but Create.
func drawCommand(c chooser) call.Command {
	switch c.choose(14) {
	case 0:
		return call.Receive{Actor: drawActor(c)}
	case 1, 2:
		return call.Accept{Actor: drawActor(c), ExtendedData: drawData(c)}
	case 3:
		return call.Reject{Actor: drawActor(c), ExtendedData: drawData(c)}
	case 4, 5:
		return call.Cancel{Actor: drawActor(c), Names: drawNames(c, 3), ExtendedData: drawData(c), Push: drawPush(c)}
	case 6, 7:
		return call.Invite{Actor: drawActor(c), Invitees: drawNames(c, 4), Uninvitable: drawNames(c, 2), Push: drawPush(c)}
	case 8, 9:
		return call.Join{Actor: drawActor(c), ExtendedData: drawData(c), InvitedOnly: c.choose(4) == 0}
	case 10:
		return call.Leave{Actor: drawActor(c), ExtendedData: drawData(c), Push: drawPush(c)}
	case 11:
		if c.choose(4) > 0 { // else the stories would be short
			return call.Expire{CallerLost: true}
		}
		return call.End{Actor: drawActor(c), ExtendedData: drawData(c), Push: drawPush(c)}
	case 12:
		if c.choose(6) > 0 {
			return call.Expire{}
		}
		return call.CallerGone{}
	}
	return call.ParticipantGone{User: oneOf(c, drawUsers...)}
}

// drawPause is a time between commands that often meets what is due.
func drawPause(c chooser, held *call.Call, now call.Instant) call.Instant {
	next := now
	if held != nil && held.NextDue() > now {
		next = held.NextDue()
	}
	return oneOf(c, now, now, now, now, now+1, now+second, now+second, now+20*second, max(now, next-1), next, next+1)
}

// sequence applies commands one after another and looks, at each, at
// everything that must be so whatever the command.
type sequence struct {
	fatalf func(format string, args ...any)
	held   *call.Call
	folded *call.Call // the fold of the events
	now    call.Instant
	ended  int          // how often the call ended
	latest call.Command // what is being applied
}

// fail says what is wrong, and with which command on which call.
func (s *sequence) fail(format string, args ...any) {
	s.fatalf("%T %+v at %d on %+v: %s", s.latest, s.latest, s.now-start, s.held, fmt.Sprintf(format, args...))
}

// begin tries to make a call.
func (s *sequence) begin(c chooser) {
	s.now = start
	s.apply(drawCreate(c))
}

// step lets some time pass and applies a command.
func (s *sequence) step(c chooser) {
	s.now = drawPause(c, s.held, s.now)
	s.apply(drawCommand(c))
}

// runOut has the clock run until nothing is due any more: so every call ends.
func (s *sequence) runOut() {
	if s.held == nil {
		return
	}
	for range 2*len(s.held.Users) + 2 {
		due := s.held.NextDue()
		if due == 0 {
			break
		}
		if s.now < due-1 {
			s.now = due - 1
			if s.apply(call.Expire{}) {
				s.fail("a timer ran before its time")
			}
		}
		s.now = max(s.now, due)
		if !s.apply(call.Expire{}) {
			s.fail("nothing happened when something was due")
		}
	}
	if s.held.Live() || s.ended != 1 {
		s.fatalf("with nothing due any more the call is %+v, and has ended %d times", s.held, s.ended)
	}
}

// apply applies one command, checks, and reports whether anything happened.
func (s *sequence) apply(cmd call.Command) bool {
	s.latest = cmd
	before := s.held
	callText, cmdText := text(before), text(cmd)
	res, err := call.Apply(before, cmd, s.now)
	again, err2 := call.Apply(before, cmd, s.now)
	if !reflect.DeepEqual(res, again) || !reflect.DeepEqual(err, err2) {
		s.fail("twice gave %+v, %v and %+v, %v", res, err, again, err2)
	}
	if text(before) != callText || text(cmd) != cmdText {
		s.fail("the arguments were changed, before: %s, %s", callText, cmdText)
	}
	if err != nil {
		s.checkRefusal(res, err)
		return false
	}
	if res.Event == nil {
		if res.Call != before {
			s.fail("without an event there is another call: %+v", res.Call)
		}
	} else {
		s.checkTransition(res)
		s.checkCall(res.Call)
	}
	s.checkShared(before, cmd, res, again)
	s.held = res.Call
	return res.Event != nil
}

func (s *sequence) checkRefusal(res call.Result, err error) {
	var refused *call.RefusedError
	if !errors.As(err, &refused) {
		s.fail("error is a %T: %v", err, err)
	}
	codes := []call.Code{
		call.InvalidParameter, call.CannotCancel, call.TooManyUsers, call.CancelledByOther, call.NotInCall,
		call.NoSuchCall, call.NotRegistered, call.AlreadyOnDevice, call.NotAdvanced,
	}
	if !slices.Contains(codes, refused.Code) || !reflect.DeepEqual(res, call.Result{}) {
		s.fail("refused with %d and %+v", refused.Code, res)
	}
}

// checkTransition checks what an event did to the call.
func (s *sequence) checkTransition(res call.Result) {
	before, after := s.held, res.Call
	s.folded = call.Evolve(s.folded, res.Event)
	if !reflect.DeepEqual(s.folded, after) {
		s.fail("the call is %+v, the fold of its events %+v", after, s.folded)
	}
	version := int64(1)
	if before != nil {
		version = before.Version
		if !call.Soft(res.Event) {
			version++
		}
		if !before.Live() {
			s.fail("after the end there was %+v", res.Event)
		}
	}
	if after.Version != version {
		s.fail("version %d, want %d", after.Version, version)
	}
	if !after.Live() {
		s.ended++
	}
	switch e := res.Event.(type) {
	case call.CallAccepted:
		if u := before.User(e.User); !u.State.Pending() || u.Deadline <= s.now {
			s.fail("accepted by one who could not")
		}
	case call.CallRejected:
		if u := before.User(e.User); !u.State.Pending() || u.Deadline <= s.now {
			s.fail("rejected by one who could not")
		}
	case call.CallCreated:
		s.checkList(s.latest.(call.Create).Invitees, e.Invitees, res.Errors)
	case call.UsersInvited:
		s.checkList(s.latest.(call.Invite).Invitees, e.Invitees, res.Errors)
	case call.InvitationsCancelled:
		if !e.All {
			s.checkList(e.Names, e.Users, res.Errors)
		}
	case call.CallEnded:
		if !reflect.DeepEqual(before.Users, after.Users) {
			s.fail("the end changed the users to %+v", after.Users)
		}
	}
}

// checkList checks that of the users named each was either taken or left out.
func (s *sequence) checkList(named, taken []call.UserID, errors []call.UserError) {
	all := slices.Clone(taken)
	for _, e := range errors {
		all = append(all, e.User)
	}
	slices.Sort(all)
	want := slices.Compact(slices.Sorted(slices.Values(named)))
	if !slices.Equal(all, want) {
		s.fail("of %v, taken were %v and left out %v", named, taken, errors)
	}
}

// checkCall checks what is so of every call.
func (s *sequence) checkCall(c *call.Call) {
	active, pending, accepted := 0, 0, 0
	seen := make(map[call.UserID]bool)
	for _, u := range c.Users {
		if seen[u.ID] {
			s.fail("%s is in the call twice: %+v", u.ID, c)
		}
		seen[u.ID] = true
		switch {
		case u.State.Pending():
			pending++
			if u.Deadline != u.InvitedAt+call.Instant(c.Timeout)*second || u.AcceptedAt != 0 {
				s.fail("a pending user is %+v", u)
			}
		case u.State == call.Accepted:
			accepted++
			if u.AcceptedAt == 0 {
				s.fail("an accepted user is %+v", u)
			}
		}
		if u.State.Active() {
			active++
		}
	}
	if active > call.MaxUsers || c.Users[0].ID != c.Caller {
		s.fail("%d active users: %+v", active, c.Users)
	}
	wantLive := pending > 0
	if c.Mode == call.Advanced && c.Live() {
		wantLive = accepted > 0 && (pending > 0 || c.AnyAccepted())
	}
	if c.Live() != wantLive && (c.Mode == call.General || c.Live()) {
		s.fail("live is %t with %d pending and %d accepted: %+v", c.Live(), pending, accepted, c)
	}
	over := c.EndReason != "" && c.EndedAt != 0 && c.NextDue() == 0
	running := c.EndReason == "" && c.EndedAt == 0 && c.NextDue() != 0
	if c.Live() && !running || !c.Live() && !over {
		s.fail("neither live nor ended: %+v", c)
	}
}

// checkShared overwrites what a caller of Apply may think his own: the
// command, the event, the errors, and the users of the new call. Nothing that
// anybody else holds may change by it.
func (s *sequence) checkShared(before *call.Call, cmd call.Command, res, again call.Result) {
	beforeText, afterText := text(before), text(res.Call)
	for _, v := range []any{cmd, res.Event, again.Event, again.Errors} {
		overwrite(reflect.ValueOf(v))
	}
	if again.Call != before {
		overwrite(reflect.ValueOf(again.Call.Users))
		overwrite(reflect.ValueOf(again.Call.Cancels))
	}
	if text(before) != beforeText {
		s.fail("the earlier call shares memory with the result: it was %s, is %s", beforeText, text(before))
	}
	if text(res.Call) != afterText {
		s.fail("the call shares memory with another result: it was %s, is %s", afterText, text(res.Call))
	}
}

// overwrite clears the elements of a slice, or of the slices of a struct.
func overwrite(v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			v.Index(i).SetZero()
		}
	case reflect.Struct:
		for i := range v.NumField() {
			overwrite(v.Field(i))
		}
	}
}

// text is all that there is in a value, for comparing it with itself later.
func text(v any) string { return fmt.Sprintf("%#v", v) }
