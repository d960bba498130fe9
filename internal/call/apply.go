package call

import (
	"fmt"
	"slices"
)

// Result is what a command came to.
type Result struct {
	Call *Call
	// Event is nil when the command changed nothing: a harmless repeat, which
	// is answered as the first was, or a timer with nothing due.
	Event Event
	// Errors are the users of the command's list who were left out.
	Errors []UserError
}

// Apply carries out cmd at now on c, which is nil for [Create], and for others
// when there is no such call. It gives the next call, or a *[RefusedError]. It touches neither c nor
// cmd. It panics on a command of an unknown type.
func Apply(c *Call, cmd Command, now Instant) (Result, error) {
	event, errors, refused := decide(c, cmd, now)
	if refused != nil {
		return Result{}, refused
	}
	if event == nil {
		return Result{Call: c, Errors: errors}, nil
	}
	return Result{Call: Evolve(c, event), Event: event, Errors: errors}, nil
}

// decide turns a command into the event that it causes; nil when it changes
// nothing.
func decide(c *Call, cmd Command, now Instant) (Event, []UserError, *RefusedError) {
	if err := cmd.malformed(); err != nil {
		return nil, nil, err
	}
	if create, ok := cmd.(Create); ok {
		return create.decide(now)
	}
	if c == nil {
		refused := refuse(NoSuchCall, "there is no such call")
		refused.NoCall = true
		return nil, nil, refused
	}
	switch cmd := cmd.(type) {
	case Receive:
		return cmd.decide(c, now)
	case Accept:
		return cmd.decide(c, now)
	case Reject:
		return cmd.decide(c, now)
	case Cancel:
		return cmd.decide(c, now)
	case Invite:
		return cmd.decide(c, now)
	case Join:
		return cmd.decide(c, now)
	case Leave:
		return cmd.decide(c, now)
	case End:
		return cmd.decide(c, now)
	case Expire:
		return cmd.decide(c, now), nil, nil
	case CallerGone:
		return cmd.decide(c, now), nil, nil
	case ParticipantGone:
		return cmd.decide(c, now), nil, nil
	}
	panic(fmt.Sprintf("call: unknown command %T", cmd))
}

func (cmd Create) decide(now Instant) (Event, []UserError, *RefusedError) {
	ids, _ := distinct(cmd.Invitees)
	var invited []UserID
	var errors []UserError
	for _, id := range ids {
		if contains(cmd.Uninvitable, id) {
			errors = append(errors, UserError{id, NotRegistered})
			continue
		}
		invited = append(invited, id)
	}
	if len(invited) == 0 {
		return nil, errors, refuse(NotRegistered, "none of the invited users can be rung: they are not registered or logged out")
	}
	e := CallCreated{
		Actor: cmd.Actor, ID: cmd.ID, App: cmd.App, At: now, Invitees: invited, Timeout: cmd.Timeout, Mode: cmd.Mode,
		ExtendedData: cmd.ExtendedData, NotReceivedCheck: cmd.NotReceivedCheck, Push: cmd.Push,
	}
	if cmd.Mode == Advanced {
		e.EndBy = now.Add(cmd.MaxDuration)
	}
	return e, errors, nil
}

func (cmd Receive) decide(c *Call, now Instant) (Event, []UserError, *RefusedError) {
	if err := first(c.refuseEnded(), c.refuseUninvited(cmd.User), c.refuseFinal(cmd.User)); err != nil {
		return nil, nil, err
	}
	if c.User(cmd.User).State == Received {
		return nil, nil, nil // another device of the user was first
	}
	return InvitationReceived{Actor: cmd.Actor, At: now}, nil, nil
}

func (cmd Accept) decide(c *Call, now Instant) (Event, []UserError, *RefusedError) {
	if c.repeats(cmd.Actor, OpAccept) {
		return nil, nil, nil
	}
	if err := c.refuseLate(cmd.User, now); err != nil {
		return nil, nil, err
	}
	return CallAccepted{Actor: cmd.Actor, At: now, ExtendedData: cmd.ExtendedData}, nil, nil
}

func (cmd Reject) decide(c *Call, now Instant) (Event, []UserError, *RefusedError) {
	if c.repeats(cmd.Actor, OpReject) {
		return nil, nil, nil
	}
	if err := c.refuseLate(cmd.User, now); err != nil {
		return nil, nil, err
	}
	return CallRejected{Actor: cmd.Actor, At: now, ExtendedData: cmd.ExtendedData}, nil, nil
}

func (cmd Cancel) decide(c *Call, now Instant) (Event, []UserError, *RefusedError) {
	names, _ := distinct(cmd.Names)
	if done := c.repeatsCancel(cmd.Actor, names); done != nil {
		return nil, slices.Clone(done.Errors), nil
	}
	if err := c.refuseCancel(cmd.User, names); err != nil {
		return nil, nil, err
	}
	e := InvitationsCancelled{
		Actor: cmd.Actor, At: now, All: len(names) == 0, Names: sorted(names), Reason: CallerCancel,
		ExtendedData: cmd.ExtendedData, Push: cmd.Push,
	}
	if e.All {
		e.Users = c.pending()
		return e, nil, nil
	}
	for _, id := range names {
		if code := c.cancelError(id); code != 0 {
			e.Errors = append(e.Errors, UserError{id, code})
			continue
		}
		e.Users = append(e.Users, id)
	}
	if len(e.Users) == 0 {
		return nil, e.Errors, refuse(e.Errors[0].Code, "none of the named users could be cancelled: %q %s",
			string(e.Errors[0].User), cancelErrorText[e.Errors[0].Code])
	}
	return e, slices.Clone(e.Errors), nil
}

var cancelErrorText = map[Code]string{
	NotInCall:    "is not of this call",
	CannotCancel: "has accepted",
	NoSuchCall:   "is no longer pending",
}

func (cmd Invite) decide(c *Call, now Instant) (Event, []UserError, *RefusedError) {
	if err := first(c.refuseGeneral("inviting more users"), c.refuseOutsider(cmd.User, "invite more users"), c.refuseEnded()); err != nil {
		return nil, nil, err
	}
	e := UsersInvited{Actor: cmd.Actor, At: now, Push: cmd.Push}
	var errors []UserError
	ids, _ := distinct(cmd.Invitees)
	room, places := MaxUsers-c.count(UserState.Active), MaxEver-len(c.Users)
	for _, id := range ids {
		switch u := c.User(id); {
		case u != nil && u.State.Active():
			errors = append(errors, UserError{id, AlreadyInCall})
		case contains(cmd.Uninvitable, id):
			errors = append(errors, UserError{id, NotRegistered})
		case room == 0, u == nil && places == 0:
			errors = append(errors, UserError{id, TooManyUsers})
		default:
			if u == nil {
				places--
			}
			room--
			e.Invitees = append(e.Invitees, id)
		}
	}
	if len(e.Invitees) == 0 {
		return nil, errors, nil
	}
	return e, errors, nil
}

func (cmd Join) decide(c *Call, now Instant) (Event, []UserError, *RefusedError) {
	if err := first(c.refuseGeneral("joining"), c.refuseEnded()); err != nil {
		return nil, nil, err
	}
	u := c.User(cmd.User)
	switch {
	case u == nil && cmd.InvitedOnly:
		return nil, nil, refuse(NotInCall, "only those who were invited can join a call of this app")
	case u != nil && u.State.Pending():
		if err := c.refuseLate(cmd.User, now); err != nil {
			return nil, nil, err
		}
		return CallAccepted{Actor: cmd.Actor, At: now, ExtendedData: cmd.ExtendedData, Joined: true}, nil, nil
	case u != nil && u.State == Accepted && u.Primary == cmd.Session:
		return nil, nil, refuse(AlreadyOnDevice, "you are in the call on this device already")
	case u != nil && u.State == Accepted:
		return UserJoined{Actor: cmd.Actor, At: now, ExtendedData: cmd.ExtendedData, Moved: true}, nil, nil
	case c.count(UserState.Active) >= MaxUsers:
		return nil, nil, refuse(TooManyUsers, "the call is full: %d users are in it or being rung", MaxUsers)
	case u == nil && len(c.Users) >= MaxEver:
		return nil, nil, refuse(TooManyUsers, "the call has had %d users, which is the limit: make a new one", MaxEver)
	}
	return UserJoined{Actor: cmd.Actor, At: now, ExtendedData: cmd.ExtendedData}, nil, nil
}

func (cmd Leave) decide(c *Call, now Instant) (Event, []UserError, *RefusedError) {
	if c.repeats(cmd.Actor, OpQuit) {
		return nil, nil, nil
	}
	if err := first(c.refuseGeneral("quitting"), c.refuseOutsider(cmd.User, "quit"), c.refuseEnded()); err != nil {
		return nil, nil, err
	}
	return UserQuit{Actor: cmd.Actor, At: now, ExtendedData: cmd.ExtendedData, Push: cmd.Push}, nil, nil
}

func (cmd End) decide(c *Call, now Instant) (Event, []UserError, *RefusedError) {
	if c.EndReason == ByOperator && c.EndOperator == cmd.User && c.EndedBy == cmd.Session {
		return nil, nil, nil
	}
	if err := first(c.refuseGeneral("ending"), c.refuseOutsider(cmd.User, "end"), c.refuseEnded()); err != nil {
		return nil, nil, err
	}
	return CallEnded{Actor: cmd.Actor, At: now, Reason: ByOperator, ExtendedData: cmd.ExtendedData, Push: cmd.Push}, nil, nil
}

func (cmd Expire) decide(c *Call, now Instant) Event {
	due := c.NextDue()
	if due == 0 || due > now {
		return nil
	}
	timedOut := InvitationsTimedOut{At: now, CallerLost: cmd.CallerLost}
	unconfirmed := InvitationsUnconfirmed{At: now}
	late := false
	for i := range c.Users {
		u := &c.Users[i]
		switch {
		case !u.State.Pending():
		case u.Deadline == due:
			timedOut.Users = append(timedOut.Users, u.ID)
			late = late || u.Late
		case u.State == Inviting && u.CheckAt == due:
			unconfirmed.Users = append(unconfirmed.Users, u.ID)
		}
	}
	switch {
	case len(timedOut.Users) > 0:
		timedOut.Whole = !c.Responded && !late && len(timedOut.Users) == c.count(UserState.Pending)
		return timedOut
	case len(unconfirmed.Users) > 0:
		return unconfirmed
	}
	return CallEnded{At: now, Reason: MaxDuration}
}

func (cmd CallerGone) decide(c *Call, now Instant) Event {
	if !c.Live() || c.AnyAccepted() || c.count(UserState.Pending) == 0 {
		return nil
	}
	return InvitationsCancelled{Actor: Actor{User: c.Caller}, At: now, Users: c.pending(), All: true, Reason: CallerLeft}
}

func (cmd ParticipantGone) decide(c *Call, now Instant) Event {
	u := c.User(cmd.User)
	if c.Mode != Advanced || !c.Live() || u == nil || u.State != Accepted {
		return nil
	}
	return UserQuit{Actor: Actor{User: cmd.User}, At: now}
}

// refuseLate says why the user cannot answer at now. An invitation whose time
// has come is over, even if the timer that says so has not yet run: a late
// answer loses by rule, not by luck.
func (c *Call) refuseLate(id UserID, now Instant) *RefusedError {
	if err := c.refuseAnswer(id); err != nil {
		return err
	}
	if c.User(id).Deadline <= now {
		return refuse(NoSuchCall, "the invitation has timed out")
	}
	return nil
}

// repeats reports whether the actor repeats what took effect as the latest
// operation of the same device.
func (c *Call) repeats(a Actor, op Op) bool {
	u := c.User(a.User)
	return u != nil && u.lastOp(a.Session) == op
}

// repeatsCancel gives the earlier cancel of the same device and names, unless
// one of those whom it would cancel rings again.
func (c *Call) repeatsCancel(a Actor, names []UserID) *Cancellation {
	if a.User != c.Caller {
		return nil
	}
	names = sorted(names)
	for i := len(c.Cancels) - 1; i >= 0; i-- {
		done := &c.Cancels[i]
		if done.By != a.Session || !slices.Equal(done.Names, names) {
			continue
		}
		for _, id := range names {
			if u := c.User(id); u != nil && u.State.Pending() && c.Live() {
				return nil
			}
		}
		return done
	}
	return nil
}

func first(errs ...*RefusedError) *RefusedError {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func contains(ids []UserID, id UserID) bool { return slices.Contains(ids, id) }

func sorted(ids []UserID) []UserID {
	out := slices.Clone(ids)
	slices.Sort(out)
	return out
}
