package call

import (
	"fmt"
	"slices"
)

// Bounds of what is remembered so that a repeat gets the same answer: cancels
// of a call, and devices of a user beside the one that acted last.
const (
	maxCancels = 16
	maxDevices = 16
)

// Evolve gives the call as it is after e. A call is the fold of its events
// over a nil call, which only [CallCreated] accepts. It panics on an event of
// an unknown type.
func Evolve(c *Call, e Event) *Call {
	if created, ok := e.(CallCreated); ok {
		return created.begin()
	}
	next := c.clone()
	if !Soft(e) {
		next.Version++
	}
	switch e := e.(type) {
	case InvitationReceived:
		next.user(e.User).State = Received
	case InvitationsUnconfirmed:
		for _, id := range e.Users {
			next.user(id).State = NotYetReceived
		}
	case CallAccepted:
		op := OpAccept
		if e.Joined {
			op = OpJoin
		}
		next.enter(e.Actor, e.At, e.ExtendedData, op)
		next.settle(e.At)
	case CallRejected:
		u := next.user(e.User)
		u.State, u.ExtendedData = Rejected, e.ExtendedData
		u.did(OpReject, e.Session)
		next.Responded = true
		next.settle(e.At)
	case InvitationsCancelled:
		next.cancel(e)
		next.settle(e.At)
	case InvitationsTimedOut:
		for _, id := range e.Users {
			next.user(id).State = TimedOut
		}
		next.settle(e.At)
	case UsersInvited:
		for _, id := range e.Invitees {
			*next.place(id) = next.invitation(id, e.User, e.At, true)
		}
		next.keepPush(e.Push)
	case UserJoined:
		u := next.place(e.User)
		if e.Moved {
			u.Primary, u.ExtendedData = e.Session, e.ExtendedData
			u.did(OpJoin, e.Session)
			break
		}
		u.Late = true
		if u.Inviter == "" {
			u.Inviter = next.Caller
		}
		next.enter(e.Actor, e.At, e.ExtendedData, OpJoin)
	case UserQuit:
		u := next.user(e.User)
		u.State, u.QuitAt, u.ExtendedData = Quit, e.At, e.ExtendedData
		u.did(OpQuit, e.Session)
		next.keepPush(e.Push)
		if next.count(func(s UserState) bool { return s == Accepted }) == 0 {
			next.end(AllLeft, e.At)
		}
	case CallEnded:
		next.EndOperator, next.EndedBy, next.EndExtendedData = e.User, e.Session, e.ExtendedData
		next.keepPush(e.Push)
		next.end(e.Reason, e.At)
	default:
		panic(fmt.Sprintf("call: unknown event %T", e))
	}
	return next
}

func (e CallCreated) begin() *Call {
	c := &Call{
		ID: e.ID, App: e.App, Version: 1, Mode: e.Mode, State: Started,
		Caller: e.User, ExtendedData: e.ExtendedData, Timeout: e.Timeout, NotReceivedCheck: e.NotReceivedCheck,
		Push: slices.Clone(e.Push), CreatedAt: e.At, EndBy: e.EndBy,
		Users: make([]User, 0, 1+len(e.Invitees)),
	}
	c.Users = append(c.Users, User{
		ID: e.User, State: Accepted, Inviter: e.User, Primary: e.Session, AcceptedAt: e.At,
	})
	for _, id := range e.Invitees {
		c.Users = append(c.Users, c.invitation(id, e.User, e.At, false))
	}
	return c
}

// invitation is a user who begins to ring at now.
func (c *Call) invitation(id, inviter UserID, now Instant, late bool) User {
	u := User{
		ID: id, State: Inviting, Inviter: inviter, InvitedAt: now,
		Deadline: now.Add(int64(c.Timeout) * 1000), Late: late,
	}
	if c.NotReceivedCheck {
		u.CheckAt = now.Add(ReceivedWithin)
	}
	return u
}

// enter puts a user into the call on the actor's device.
func (c *Call) enter(a Actor, now Instant, data string, op Op) {
	u := c.user(a.User)
	u.State, u.AcceptedAt, u.Primary, u.ExtendedData = Accepted, now, a.Session, data
	u.did(op, a.Session)
	c.Responded = true
	if c.FirstAcceptAt == 0 && u.ID != c.Caller {
		c.FirstAcceptAt = now
	}
}

func (c *Call) cancel(e InvitationsCancelled) {
	state := BeCancelled
	if e.All {
		state = Cancelled
		c.CancelledAll = true
	}
	for _, id := range e.Users {
		u := c.user(id)
		u.State, u.CancelReason = state, e.Reason
	}
	c.keepPush(e.Push)
	if e.Reason != CallerCancel {
		return // nobody can repeat what nobody asked for
	}
	c.Cancels = append(c.Cancels, Cancellation{
		By: e.Session, Names: slices.Clone(e.Names), Errors: slices.Clone(e.Errors),
	})
	c.Cancels = c.Cancels[max(0, len(c.Cancels)-maxCancels):]
}

// settle ends the call when what happened leaves it without a reason to go
// on: in general mode when no invitee is pending, in advanced mode when
// nobody but the caller ever accepted and no invitee is pending.
func (c *Call) settle(now Instant) {
	if !c.Live() || c.count(UserState.Pending) > 0 {
		return
	}
	switch {
	case c.Mode == Advanced && c.AnyAccepted():
	case c.AnyAccepted():
		c.end(ByOperator, now)
	default:
		c.end(Unanswered, now)
	}
}

func (c *Call) end(reason Reason, now Instant) {
	c.State, c.EndReason, c.EndedAt = Ended, reason, now
}

func (c *Call) keepPush(push []byte) {
	if len(push) > 0 {
		c.Push = slices.Clone(push)
	}
}

// did notes an operation of one of the user's devices.
func (u *User) did(op Op, by SessionID) {
	var others []Deed
	for _, d := range append(slices.Clone(u.Earlier), Deed{u.LastOp, u.LastBy}) {
		if d.Op != OpNone && d.By != by {
			others = append(others, d)
		}
	}
	u.Earlier = others[max(0, len(others)-maxDevices):]
	u.LastOp, u.LastBy = op, by
}

// user gives the user of that ID for changing; an event never names one that
// is not there.
func (c *Call) user(id UserID) *User { return c.User(id) }

// place gives the entry of that user, a new one if he has none.
func (c *Call) place(id UserID) *User {
	if u := c.user(id); u != nil {
		return u
	}
	c.Users = append(c.Users, User{ID: id})
	return &c.Users[len(c.Users)-1]
}
