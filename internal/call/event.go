package call

// Event is what happened to a call. One transition gives exactly one event,
// and a call is the fold of its events. The events are sealed: they are the
// types of this file. What devices are shown and what callbacks say are two
// mappings of events, made elsewhere.
type Event interface{ event() }

// CallCreated began a call.
type CallCreated struct {
	Actor
	ID               ID
	App              uint32
	At               Instant
	Invitees         []UserID // those invited
	Timeout          int
	Mode             Mode
	ExtendedData     string
	NotReceivedCheck bool
	Push             []byte
	EndBy            Instant
}

// InvitationReceived is the soft transition: it does not raise the version.
type InvitationReceived struct {
	Actor
	At Instant
}

// InvitationsUnconfirmed says that invitees have not confirmed in time that
// they ring.
type InvitationsUnconfirmed struct {
	Users []UserID
	At    Instant
}

// CallAccepted says that an invitee took the call.
type CallAccepted struct {
	Actor
	At           Instant
	ExtendedData string
	Joined       bool // by a join instead of an accept
}

// CallRejected says that an invitee declined the call.
type CallRejected struct {
	Actor
	At           Instant
	ExtendedData string
}

// InvitationsCancelled says that invitees stopped ringing because the caller
// took their invitations back or was gone.
type InvitationsCancelled struct {
	Actor        // the caller; no session when he was gone
	At           Instant
	Users        []UserID // who stopped ringing
	All          bool
	Names        []UserID // as asked for, sorted
	Errors       []UserError
	Reason       Reason // CallerCancel or CallerLeft
	ExtendedData string
	Push         []byte
}

// InvitationsTimedOut says that invitees did not answer in time.
type InvitationsTimedOut struct {
	Users []UserID
	At    Instant
	// Whole says that the call as it was created rang out: no invitee has
	// ever responded, none is left pending, and all of these were named when
	// the call was created.
	Whole      bool
	CallerLost bool
}

// UsersInvited says that a user of the call brought in more.
type UsersInvited struct {
	Actor
	At       Instant
	Invitees []UserID // those invited
	Push     []byte
}

// UserJoined says that a user entered from outside, or that one inside moved
// to another device.
type UserJoined struct {
	Actor
	At           Instant
	ExtendedData string
	Moved        bool
}

// UserQuit says that an accepted user left.
type UserQuit struct {
	Actor        // no session when he was gone
	At           Instant
	ExtendedData string
	Push         []byte
}

// CallEnded says that a user, or the maximum duration, ended the call.
type CallEnded struct {
	Actor        // zero for the maximum duration
	At           Instant
	Reason       Reason // ByOperator or MaxDuration
	ExtendedData string
	Push         []byte
}

func (CallCreated) event()            {}
func (InvitationReceived) event()     {}
func (InvitationsUnconfirmed) event() {}
func (CallAccepted) event()           {}
func (CallRejected) event()           {}
func (InvitationsCancelled) event()   {}
func (InvitationsTimedOut) event()    {}
func (UsersInvited) event()           {}
func (UserJoined) event()             {}
func (UserQuit) event()               {}
func (CallEnded) event()              {}

// By gives who brought the event about. It is the zero Actor for what happened
// by itself, such as a timeout, and has no session when somebody was gone.
func By(e Event) Actor {
	if a, ok := e.(interface{ by() Actor }); ok {
		return a.by()
	}
	return Actor{}
}

// by is a method of every event that embeds an Actor.
func (a Actor) by() Actor { return a }

// Soft reports whether the event's record may wait for the next commit of its
// call: it answers at once, does not raise the version, and its loss in a
// crash does no harm.
func Soft(e Event) bool {
	_, ok := e.(InvitationReceived)
	return ok
}
