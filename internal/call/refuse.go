package call

import "fmt"

// Code is the stable number of a refusal. The numbers are those of the public
// ZIM error list.
type Code int

// Codes of refusals.
const (
	InvalidParameter Code = 6000001
	CannotCancel     Code = 6000271 // already accepted
	TooManyUsers     Code = 6000272
	CancelledByOther Code = 6000273 // by the initiator, or the actor is not the initiator
	NotInCall        Code = 6000274 // not an invitee, or not in the call
	AlreadyInCall    Code = 6000275
	NoSuchCall       Code = 6000276 // none, ended, or no longer pending
	NotRegistered    Code = 6000281 // or logged out
	AlreadyOnDevice  Code = 6000283
	NotAdvanced      Code = 6000286
)

// RefusedError is a command that the rules do not allow. Nothing happened.
type RefusedError struct {
	Code    Code
	Message string
	NoCall  bool // there is no call of that ID
}

// Error gives the message and the code.
func (e *RefusedError) Error() string { return fmt.Sprintf("%s (%d)", e.Message, int(e.Code)) }

// UserError says why one of the users that a command names was left out.
type UserError struct {
	User UserID
	Code Code
}

func refuse(code Code, format string, args ...any) *RefusedError {
	return &RefusedError{Code: code, Message: fmt.Sprintf(format, args...)}
}

func checkExtendedData(s string) *RefusedError {
	if len(s) > MaxExtendedData {
		return refuse(InvalidParameter, "extended_data has %d bytes, the limit is %d", len(s), MaxExtendedData)
	}
	return nil
}

// distinct checks the names of a request and drops repetitions.
func distinct(names []UserID) ([]UserID, *RefusedError) {
	out := make([]UserID, 0, len(names))
	for _, id := range names {
		if !id.Valid() {
			return nil, refuse(InvalidParameter,
				"user ID %.40q is not 1 to %d bytes of ASCII letters, digits, space and !#$%%&()+-:;<=.>?@[]^_{}|~", string(id), MaxUserID)
		}
		if !contains(out, id) {
			out = append(out, id)
		}
	}
	return out, nil
}

// checkInvitees checks the names of an invitation as far as they say nothing
// about the call.
func checkInvitees(inviter UserID, names []UserID) *RefusedError {
	if len(names) == 0 {
		return refuse(InvalidParameter, "user_ids is empty: name at least one user to invite")
	}
	ids, err := distinct(names)
	switch {
	case err != nil:
		return err
	case contains(ids, inviter):
		return refuse(InvalidParameter, "nobody invites himself: take %q out of user_ids", string(inviter))
	case len(ids) > MaxInvitees:
		return refuse(TooManyUsers, "%d users in one invitation, the limit is %d", len(ids), MaxInvitees)
	}
	return nil
}

func (c *Call) refuseGeneral(what string) *RefusedError {
	if c.Mode != Advanced {
		return refuse(NotAdvanced, "%s needs an advanced-mode call, this one is in general mode", what)
	}
	return nil
}

func (c *Call) refuseEnded() *RefusedError {
	if !c.Live() {
		return refuse(NoSuchCall, "the call has ended")
	}
	return nil
}

// refuseAnswer says why the user cannot accept or reject.
func (c *Call) refuseAnswer(id UserID) *RefusedError {
	u := c.User(id)
	if c.CancelledAll || u != nil && (u.State == Cancelled || u.State == BeCancelled) {
		return refuse(CancelledByOther, "the caller has cancelled the invitation")
	}
	return first(c.refuseUninvited(id), c.refuseEnded(), c.refuseFinal(id))
}

func (c *Call) refuseUninvited(id UserID) *RefusedError {
	if u := c.User(id); u == nil || !u.invited() {
		return refuse(NotInCall, "you were not invited to this call")
	}
	return nil
}

// refuseFinal says why nothing can become of the user's invitation any more.
func (c *Call) refuseFinal(id UserID) *RefusedError {
	if u := c.User(id); u != nil && !u.State.Pending() {
		return refuse(NoSuchCall, "the invitation is no longer pending: you are %s", u.State)
	}
	return nil
}

// invited reports whether the user was ever invited, as opposed to having
// made the call or joined it unasked.
func (u *User) invited() bool { return u.InvitedAt != 0 }

// refuseOutsider says why somebody who is not in the call cannot act in it.
func (c *Call) refuseOutsider(id UserID, what string) *RefusedError {
	if u := c.User(id); u == nil || u.State != Accepted {
		return refuse(NotInCall, "to %s you must be in the call", what)
	}
	return nil
}

// refuseCancel says why the cancel as a whole is refused before its names are
// looked at one by one.
func (c *Call) refuseCancel(by UserID, names []UserID) *RefusedError {
	if by != c.Caller {
		return refuse(CancelledByOther, "only the caller can cancel")
	}
	accepted := c.AnyAccepted()
	if c.Mode == Advanced && len(names) > 0 {
		for _, id := range names {
			u := c.User(id)
			accepted = accepted && u != nil && u.AcceptedAt != 0
		}
	}
	if accepted {
		return refuse(CannotCancel, "the invitation has been accepted and can no longer be cancelled")
	}
	return c.refuseEnded()
}

// cancelError says why one named user is not cancelled; 0: he is.
func (c *Call) cancelError(id UserID) Code {
	u := c.User(id)
	switch {
	case u == nil:
		return NotInCall
	case u.State.Pending():
		return 0
	case u.AcceptedAt != 0:
		return CannotCancel
	}
	return NoSuchCall
}

// String names the state as the contract does.
func (s UserState) String() string {
	switch s {
	case Inviting:
		return "inviting"
	case Accepted:
		return "accepted"
	case Rejected:
		return "rejected"
	case Cancelled:
		return "cancelled"
	case Received:
		return "received"
	case TimedOut:
		return "timed out"
	case Quit:
		return "quit"
	case NotYetReceived:
		return "not yet received"
	case BeCancelled:
		return "be-cancelled"
	}
	return fmt.Sprintf("UserState(%d)", int(s))
}
