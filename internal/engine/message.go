package engine

import (
	"fmt"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/wire"
)

// askLimit is the time that another node has to answer.
const askLimit = time.Second

// newsLimit is how old news may be. What was stuck in a network that lost
// everything for a while says what was true before, and may ring devices whose
// call is over: the store knows better.
const newsLimit = time.Second

// message is what engines of different nodes tell each other; one of its
// fields is set. Nodes of neighbouring versions read each other's: what one
// does not know it passes over, and looks into the store.
type message struct {
	At        call.Instant   `cbor:"t"` // when it was sent, by the store's clock
	News      *news          `cbor:"n,omitempty"`
	HandOff   []*store.Event `cbor:"h,omitempty"` // of no call
	Session   *sessionNews   `cbor:"s,omitempty"`
	Gone      *gone          `cbor:"g,omitempty"`
	Connected *question      `cbor:"c,omitempty"`
}

// news is what one commit has written of a call: events, of which the call is
// the fold. Whoever has the call as it was before knows how it is now; anybody
// else reads it. Without a commit of its own it is a soft transition.
type news struct {
	Call    call.ID `cbor:"c"`
	Version int64   `cbor:"v"` // after it
	Commit  uint64  `cbor:"i"` // that wrote it; of a soft transition, that before it
	Prior   uint64  `cbor:"p"` // the commit before; 0: the call is new, or look for yourself
	Events  []event `cbor:"e,omitempty"`
	Soft    bool    `cbor:"s,omitempty"`
	// Sequences of the call's deliveries; see store.CallRecord.
	Sequences map[store.EndpointID]int `cbor:"q,omitempty"`
	// Nodes have devices of the call's users, the sender first.
	Nodes   []store.NodeID `cbor:"n,omitempty"`
	Deliver []*store.Event `cbor:"d,omitempty"` // for the node that delivers them
	Passed  bool           `cbor:"f,omitempty"` // by a node that had held the partition
}

// sessionNews says that a session is no longer that of the receiving node.
type sessionNews struct {
	App     uint32         `cbor:"a"`
	User    call.UserID    `cbor:"u"`
	ID      call.SessionID `cbor:"i"`
	Version int64          `cbor:"v"`           // of the user's sessions since then
	Kick    string         `cbor:"k,omitempty"` // why it was pushed out; "": it goes on elsewhere
}

// gone says that a user has no session left that is not offline.
type gone struct {
	App  uint32      `cbor:"a"`
	User call.UserID `cbor:"u"`
}

// question asks which of these sessions, of these users, have a connection.
// The answer is a list of session IDs.
type question struct {
	App      uint32           `cbor:"a"`
	Users    []call.UserID    `cbor:"u"`
	Sessions []call.SessionID `cbor:"s"`
}

// event is a call.Event: the one field that is set. All nil is one of a later
// version.
type event struct {
	Created     *call.CallCreated            `cbor:"created,omitempty"`
	Received    *call.InvitationReceived     `cbor:"received,omitempty"`
	Unconfirmed *call.InvitationsUnconfirmed `cbor:"unconfirmed,omitempty"`
	Accepted    *call.CallAccepted           `cbor:"accepted,omitempty"`
	Rejected    *call.CallRejected           `cbor:"rejected,omitempty"`
	Cancelled   *call.InvitationsCancelled   `cbor:"cancelled,omitempty"`
	TimedOut    *call.InvitationsTimedOut    `cbor:"timed_out,omitempty"`
	Invited     *call.UsersInvited           `cbor:"invited,omitempty"`
	Joined      *call.UserJoined             `cbor:"joined,omitempty"`
	Quit        *call.UserQuit               `cbor:"quit,omitempty"`
	Ended       *call.CallEnded              `cbor:"ended,omitempty"`
}

func wrap(e call.Event) event {
	switch e := e.(type) {
	case call.CallCreated:
		return event{Created: &e}
	case call.InvitationReceived:
		return event{Received: &e}
	case call.InvitationsUnconfirmed:
		return event{Unconfirmed: &e}
	case call.CallAccepted:
		return event{Accepted: &e}
	case call.CallRejected:
		return event{Rejected: &e}
	case call.InvitationsCancelled:
		return event{Cancelled: &e}
	case call.InvitationsTimedOut:
		return event{TimedOut: &e}
	case call.UsersInvited:
		return event{Invited: &e}
	case call.UserJoined:
		return event{Joined: &e}
	case call.UserQuit:
		return event{Quit: &e}
	case call.CallEnded:
		return event{Ended: &e}
	}
	panic(fmt.Sprintf("engine: unknown event %T", e))
}

// unwrap gives the event; nil when it is of a kind that this version does not
// know.
func (e *event) unwrap() call.Event {
	switch {
	case e.Created != nil:
		return *e.Created
	case e.Received != nil:
		return *e.Received
	case e.Unconfirmed != nil:
		return *e.Unconfirmed
	case e.Accepted != nil:
		return *e.Accepted
	case e.Rejected != nil:
		return *e.Rejected
	case e.Cancelled != nil:
		return *e.Cancelled
	case e.TimedOut != nil:
		return *e.TimedOut
	case e.Invited != nil:
		return *e.Invited
	case e.Joined != nil:
		return *e.Joined
	case e.Quit != nil:
		return *e.Quit
	case e.Ended != nil:
		return *e.Ended
	}
	return nil
}

// letterOf gives a message as it is sent.
func (e *Engine) letterOf(m message) []byte {
	m.At = e.now()
	return wire.Encode(m)
}
