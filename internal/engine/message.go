package engine

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// askLimit is the time that another node has to answer.
const askLimit = time.Second

// message is what engines of different nodes tell each other; one of its
// fields is set. Nodes of neighbouring versions read each other's: what one
// does not know it passes over, and looks into the store.
type message struct {
	News      *news          `json:"n,omitempty"`
	HandOff   []*store.Event `json:"h,omitempty"` // of no call
	Session   *sessionNews   `json:"s,omitempty"`
	Gone      *gone          `json:"g,omitempty"`
	Connected *question      `json:"c,omitempty"`
}

// news is a transition of a call, with the call after it. Without an event it
// is only what is stored by now.
type news struct {
	Call   []byte `json:"c"` // see store.EncodeCall
	Commit uint64 `json:"i"` // that wrote it; of a soft transition, that before it
	Prior  uint64 `json:"p"` // the commit before; 0: the call is new
	Event  *event `json:"e,omitempty"`
	Soft   bool   `json:"s,omitempty"`
	// Nodes have devices of the call's users, the sender first.
	Nodes  []store.NodeID `json:"n,omitempty"`
	Events []*store.Event `json:"d,omitempty"` // for the node that delivers them
	Passed bool           `json:"f,omitempty"` // by a node that had held the partition
}

// sessionNews says that a session is no longer that of the receiving node.
type sessionNews struct {
	App     uint32         `json:"a"`
	User    call.UserID    `json:"u"`
	ID      call.SessionID `json:"i"`
	Version int64          `json:"v"`           // of the user's sessions since then
	Kick    string         `json:"k,omitempty"` // why it was pushed out; "": it goes on elsewhere
}

// gone says that a user has no session left that is not offline.
type gone struct {
	App  uint32      `json:"a"`
	User call.UserID `json:"u"`
}

// question asks which of these sessions, of these users, have a connection.
// The answer is a list of session IDs.
type question struct {
	App      uint32           `json:"a"`
	Users    []call.UserID    `json:"u"`
	Sessions []call.SessionID `json:"s"`
}

// event is a call.Event with its kind.
type event struct{ call.Event }

// kinds are the events by their names on the bus.
var kinds = map[string]func(data []byte) (call.Event, error){
	"created": read[call.CallCreated], "received": read[call.InvitationReceived], "unconfirmed": read[call.InvitationsUnconfirmed],
	"accepted": read[call.CallAccepted], "rejected": read[call.CallRejected], "cancelled": read[call.InvitationsCancelled],
	"timed_out": read[call.InvitationsTimedOut], "invited": read[call.UsersInvited], "joined": read[call.UserJoined],
	"quit": read[call.UserQuit], "ended": read[call.CallEnded],
}

func read[E call.Event](data []byte) (call.Event, error) {
	var e E
	err := json.Unmarshal(data, &e)
	return e, err
}

func kindOf(e call.Event) string {
	switch e.(type) {
	case call.CallCreated:
		return "created"
	case call.InvitationReceived:
		return "received"
	case call.InvitationsUnconfirmed:
		return "unconfirmed"
	case call.CallAccepted:
		return "accepted"
	case call.CallRejected:
		return "rejected"
	case call.InvitationsCancelled:
		return "cancelled"
	case call.InvitationsTimedOut:
		return "timed_out"
	case call.UsersInvited:
		return "invited"
	case call.UserJoined:
		return "joined"
	case call.UserQuit:
		return "quit"
	case call.CallEnded:
		return "ended"
	}
	panic(fmt.Sprintf("engine: unknown event %T", e))
}

type eventDoc struct {
	Kind string          `json:"k"`
	Body json.RawMessage `json:"b"`
}

// MarshalJSON writes the kind beside the event.
func (e event) MarshalJSON() ([]byte, error) {
	body, err := json.Marshal(e.Event)
	if err != nil {
		return nil, err
	}
	return json.Marshal(eventDoc{kindOf(e.Event), body})
}

// UnmarshalJSON leaves the event nil when it does not know the kind, as one
// of a later version.
func (e *event) UnmarshalJSON(data []byte) error {
	var doc eventDoc
	if err := json.Unmarshal(data, &doc); err != nil {
		return err
	}
	known := kinds[doc.Kind]
	if known == nil {
		return nil
	}
	var err error
	e.Event, err = known(doc.Body)
	return err
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("engine: " + err.Error()) // these types always encode
	}
	return data
}

func decode(data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("message of another node: %w", err)
	}
	return nil
}
