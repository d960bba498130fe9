package callback

import (
	"time"

	"github.com/ringback/ringback/protocol"
)

// Meta is what is known of a callback beyond the fields of its event.
type Meta struct {
	// ID is the same on every attempt and redelivery: the key for idempotency.
	// "" when the sender has none, as the original hosted product.
	ID        string
	Event     string // one of protocol's Callback constants, or one that this package does not know
	AppID     string // decimal
	Timestamp time.Time
	// Attempt counts from 1, and Sequence from 1 for each call and endpoint; 0
	// when absent. Sequence is absent on user_action. No signature covers
	// them, nor Test: trust them as far as you trust the connection.
	Attempt  int
	Sequence int
	// Test says that the delivery is synthetic: nothing of the kind happened.
	Test bool
	// Late says that a later callback of the call was handled before this one.
	// It is set only under Options.Ordered, which says how that comes about.
	Late bool
}

// Event is a callback as it was received.
type Event struct {
	Meta
	// Fields are those of the event: a *protocol.CallCreate, CallCancel,
	// CallAnswer (for call_accept, call_reject, call_received, call_join and
	// call_quit), CallTimeout, CallInvite, CallEnd or UserAction; nil for an
	// event that this package does not know.
	Fields any
	// Body is what was received, byte for byte.
	Body []byte

	nonce     string
	signature string
	timestamp int64 // of the body, Unix seconds
}

// CallID is the call that the event is about; "" for user_action, and for
// events that this package does not know.
func (e *Event) CallID() string {
	switch f := e.Fields.(type) {
	case *protocol.CallCreate:
		return f.CallID
	case *protocol.CallCancel:
		return f.CallID
	case *protocol.CallAnswer:
		return f.CallID
	case *protocol.CallTimeout:
		return f.CallID
	case *protocol.CallInvite:
		return f.CallID
	case *protocol.CallEnd:
		return f.CallID
	}
	return ""
}

// fieldsOf gives room for the fields of an event; nil for an unknown one.
func fieldsOf(event string) any {
	switch event {
	case protocol.CallbackCreate:
		return new(protocol.CallCreate)
	case protocol.CallbackCancel:
		return new(protocol.CallCancel)
	case protocol.CallbackAccept, protocol.CallbackReject,
		protocol.CallbackReceived, protocol.CallbackJoin, protocol.CallbackQuit:
		return new(protocol.CallAnswer)
	case protocol.CallbackTimeout:
		return new(protocol.CallTimeout)
	case protocol.CallbackInvite:
		return new(protocol.CallInvite)
	case protocol.CallbackEnd:
		return new(protocol.CallEnd)
	case protocol.CallbackUserAction:
		return new(protocol.UserAction)
	}
	return nil
}
