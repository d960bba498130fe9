package client

import (
	"encoding/json"
	"time"

	"github.com/ringback/ringback/protocol"
)

// Event is what Options.OnEvent is called with: a pointer to one of the event
// types of this package.
//
// Events of calls are those of the protocol: Created, Invited, UsersChanged,
// Cancelled, TimedOut, AnsweredElsewhere and Ended. Snapshot gives the state
// of all calls at once. Connected, Disconnected, Kicked and TokenExpiring are
// about the connection and the session.
type Event interface{ event() }

// Created is told to every device of the caller when an invitation was made.
type Created struct{ protocol.Call }

// Invited is told to every device of an invitee. The device rings, unless the
// user decides otherwise, until one of Cancelled, TimedOut, AnsweredElsewhere,
// Ended, the reply to its own answer, or a Snapshot says that it is over.
type Invited struct{ protocol.Call }

// UsersChanged gives the users of a call whose state changed.
type UsersChanged struct{ protocol.UsersChanged }

// Cancelled is told to invitees who are no longer invited.
type Cancelled struct{ protocol.Cancelled }

// TimedOut is told to invitees who did not answer in time.
type TimedOut struct{ protocol.TimedOut }

// AnsweredElsewhere is told to the other devices of a user who answered.
type AnsweredElsewhere struct{ protocol.AnsweredElsewhere }

// Ended is the end of an advanced-mode call.
type Ended struct{ protocol.Ended }

// Snapshot is what the server knows at a login or sync: the calls in which
// the user is pending or accepted, and how those ended that the device still
// showed. It replaces whatever the program believed before. What Sync returns
// shares its slices.
type Snapshot struct{ protocol.Snapshot }

// Connected says that the client has logged in, the first time or again. A
// Snapshot follows.
type Connected struct {
	SessionID string
	// Resumed is true when the session is the one from before. When it is
	// not, this is a new device to the server.
	Resumed    bool
	ServerTime time.Time
}

// Disconnected says that the connection is lost. When WillReconnect is true
// the client is trying to come back: a Connected follows, or another
// Disconnected when that proves impossible. When it is false this is the last
// event.
type Disconnected struct {
	Err           error
	CloseCode     protocol.CloseCode // 0 when the server sent none
	WillReconnect bool
}

// Kicked says that the login policy of the app ended this session in favour
// of another login. A last Disconnected follows.
type Kicked struct{ protocol.Kicked }

// TokenExpiring says that the token is about to expire. Without
// Options.TokenSource it is for the program to call RenewToken.
type TokenExpiring struct{ protocol.TokenExpiring }

func (*Created) event()           {}
func (*Invited) event()           {}
func (*UsersChanged) event()      {}
func (*Cancelled) event()         {}
func (*TimedOut) event()          {}
func (*AnsweredElsewhere) event() {}
func (*Ended) event()             {}
func (*Snapshot) event()          {}
func (*Connected) event()         {}
func (*Disconnected) event()      {}
func (*Kicked) event()            {}
func (*TokenExpiring) event()     {}

// decodeEvent decodes the body of a named event. The event is nil when the
// name is unknown.
func decodeEvent(name string, body []byte) (Event, error) {
	var ev Event
	switch name {
	case protocol.EventCallCreated:
		ev = new(Created)
	case protocol.EventCallInvited:
		ev = new(Invited)
	case protocol.EventCallUsersChanged:
		ev = new(UsersChanged)
	case protocol.EventCallCancelled:
		ev = new(Cancelled)
	case protocol.EventCallTimedOut:
		ev = new(TimedOut)
	case protocol.EventCallAnsweredElsewhere:
		ev = new(AnsweredElsewhere)
	case protocol.EventCallEnded:
		ev = new(Ended)
	case protocol.EventSessionKicked:
		ev = new(Kicked)
	case protocol.EventTokenExpiring:
		ev = new(TokenExpiring)
	default:
		return nil, nil
	}
	return ev, json.Unmarshal(body, ev)
}
