package store

import (
	"context"
	"math"
	"strconv"
	"time"

	"github.com/ringback/ringback/internal/call"
)

// Events keeps what happened, in the order in which it became durable. Events
// come with the commits that they belong to; this is what reads them.
type Events interface {
	// AddEvents writes events that belong to no other commit, such as tests,
	// with their deliveries.
	AddEvents(ctx context.Context, events []*Event) error
	// EventsAfter lists events of an app (0: of all) in the order of their
	// IDs, beginning after the given one, at most limit (at least 1). Whoever
	// goes on from Next sees every event, however many are written meanwhile.
	EventsAfter(ctx context.Context, app uint32, after EventID, limit int) (EventPage, error)
	// EventsOf lists the events of a call in the order of their IDs.
	EventsOf(ctx context.Context, id call.ID) ([]*Event, error)
	// LastEventID is the highest ID of any event, 0 when there is none.
	LastEventID(ctx context.Context) (EventID, error)
}

// EventID identifies an event for ever: it is the key by which receivers tell
// repetitions. The store gives IDs in the order in which events become
// durable: an event that can be read has an ID above those of all events that
// could be read before it. IDs also grow with time; see [EventIDAt].
type EventID int64

// String gives the ID as receivers see it in webhook-id.
func (id EventID) String() string { return "evt_" + strconv.FormatInt(int64(id), 10) }

// EventIDAt is the lowest ID of an event that became durable at the instant or
// later, as long as the clock of the store was right.
func EventIDAt(at call.Instant) EventID {
	const most = math.MaxInt64 >> 10 / 1000 // in the year 2309
	return EventID(min(max(int64(at-eventEpoch), 0), most) * 1000 << 10)
}

// Instant is, to the millisecond, when the event became durable; see
// EventIDAt.
func (id EventID) Instant() call.Instant { return call.Instant(int64(id)>>10/1000) + eventEpoch }

// NextEventID is the ID that a store gives to an event which it writes at that
// time, when last is the highest of any event so far.
func NextEventID(last EventID, now time.Time) EventID {
	return max(last+1, EventID(max(now.UnixMicro()-int64(eventEpoch)*1000, 0)<<10))
}

// eventEpoch is where event IDs begin to count: 2024-01-01.
const eventEpoch = call.Instant(1_704_067_200_000)

// Event is something that a business server may learn. It is stored once,
// whether or not an endpoint is subscribed.
type Event struct {
	ID   EventID // set by the store when it is written
	App  uint32
	Call call.ID // 0: not about a call
	Name string  // the callback event
	At   call.Instant
	// Fields is a JSON object: the callback's fields beyond the common ones.
	Fields []byte
	// Version is that of the call after the transition; 0: not about a call.
	Version int64
	// Actor is who did it, and from which device; empty for what happened by
	// itself, such as a timeout.
	Actor call.Actor
	// Test marks a synthetic event. No call knows of it, even if its fields
	// name one.
	Test bool
	// Deliveries are the endpoints that are to get it. They are written with
	// the event, and not read back with it.
	Deliveries []Subscription
}

// Subscription is one endpoint's part in an event.
type Subscription struct {
	Endpoint EndpointID
	Sequence int // 1, 2, 3 … per call and endpoint; 0: not about a call
}

// EventPage is a part of all events.
type EventPage struct {
	Events []*Event
	// Next is where to go on: the ID of the last event that was looked at,
	// or where the page began when there was none. It may be beyond the last
	// one given, for a page looks at a bounded number of events of other apps.
	Next EventID
	// More: there are events after Next by now.
	More bool
}
