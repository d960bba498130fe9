package store

import (
	"context"

	"github.com/ringback/ringback/internal/call"
)

// Deliveries keeps what endpoints are due, and the log of attempts.
type Deliveries interface {
	// RecordAttempts writes the results of attempts and where they leave their
	// deliveries. A delivery that is no longer there is passed over. What
	// somebody else has recorded meanwhile is not undone: an attempt is
	// passed over when its number is below a recorded one, or when it would
	// make a finished delivery pending.
	RecordAttempts(ctx context.Context, attempts []Attempt) error
	// PendingDeliveries lists what an endpoint still has to get, as far as it
	// belongs to the partitions, and is due at or before the instant, by due
	// time and event, at most limit. With strict, deliveries with an earlier
	// pending one of the same call are left out.
	PendingDeliveries(ctx context.Context, parts PartitionSet, endpoint EndpointID, dueBy call.Instant, strict bool, limit int) ([]*Delivery, error)
	// Backlogs says how much each endpoint with anything pending in the
	// partitions is due.
	Backlogs(ctx context.Context, parts PartitionSet) ([]Backlog, error)
	// Attempts lists the attempts of one delivery, the first one first.
	Attempts(ctx context.Context, key DeliveryKey) ([]Attempt, error)
	// DeliveriesOf lists the deliveries of a call in the order of events.
	DeliveriesOf(ctx context.Context, id call.ID) ([]*Delivery, error)
	// Delivery reads the delivery of an event to an endpoint; ErrNotFound.
	Delivery(ctx context.Context, event EventID, endpoint EndpointID) (*Delivery, error)
	// SearchDeliveries lists deliveries by event and endpoint; see
	// DeliveryQuery.
	SearchDeliveries(ctx context.Context, q DeliveryQuery) (DeliveryPage, error)
	// CountDeliveries counts what SearchDeliveries would list, as far as one
	// call may look; Next is as there. The limit of the query means nothing.
	CountDeliveries(ctx context.Context, q DeliveryQuery) (n int, next DeliveryPlace, err error)
}

// DeliveryKey identifies a delivery. Sequence is the event ID for an event
// that is not about a call.
type DeliveryKey struct {
	Endpoint EndpointID
	Call     call.ID
	Sequence int64
}

// DeliveryState is where a delivery stands.
type DeliveryState int

// States of a delivery.
const (
	Pending   DeliveryState = 0
	Delivered DeliveryState = 1
	Failed    DeliveryState = 2 // given up, or its endpoint was removed; may be redelivered by hand
)

// Delivery is one event on its way to one endpoint.
type Delivery struct {
	Event    EventID
	Endpoint EndpointID
	App      uint32
	Call     call.ID // 0: not about a call
	Sequence int     // 0 when not about a call
	Name     string
	At       call.Instant // of the event
	Fields   []byte
	Test     bool // the event is synthetic

	State    DeliveryState
	Attempts int          // attempts made and recorded
	Failures int          // those that count against the schedule
	Due      call.Instant // of the next attempt, while pending
}

// Key identifies the delivery.
func (d *Delivery) Key() DeliveryKey {
	k := DeliveryKey{Endpoint: d.Endpoint, Call: d.Call, Sequence: int64(d.Sequence)}
	if d.Call == 0 {
		k.Sequence = int64(d.Event)
	}
	return k
}

// Attempt is one request that was made for a delivery, and where it left it.
type Attempt struct {
	Delivery DeliveryKey
	Number   int // 1-based
	Started  call.Instant
	Duration int64  // milliseconds
	Status   int    // HTTP status; 0: there was no answer
	Error    string // why it failed; "" when it succeeded
	Response string // the beginning of the answer's body, at most 1 KiB
	// Header is the header of the answer as its lines, at most 1 KiB.
	Header string
	// Request is what is needed, beside the delivery, to show the request as
	// it was; its form is the deliverer's business. Nil: nothing was sent.
	Request []byte

	State    DeliveryState // of the delivery after it
	Failures int
	Due      call.Instant // of the next attempt, while pending
}

// Backlog is what an endpoint is due.
type Backlog struct {
	Endpoint EndpointID
	Pending  int
	Oldest   call.Instant // when the oldest pending event happened
	NextDue  call.Instant // when the next attempt is due
}

// DeliveryQuery says which deliveries to list. The zero value of a field
// leaves it open.
//
// One search looks at a bounded number of rows, so that it takes about the
// same time however many there are: a page may have fewer deliveries than the
// limit, even none, and still not be the last. Endpoints count with the app
// that they belong to, also those that were removed.
type DeliveryQuery struct {
	App      uint32
	Call     call.ID
	Endpoint EndpointID
	Event    string          // name
	States   []DeliveryState // any of them
	From     EventID         // this one or later ones
	Until    EventID         // earlier ones
	After    DeliveryPlace   // where the page before ended
	Oldest   bool            // first; else the newest first
	Limit    int             // at least 1
}

// DeliveryPlace is a place in the order of deliveries; the zero place is
// before the first.
type DeliveryPlace struct {
	Event    EventID
	Endpoint EndpointID
}

// DeliveryPage is a part of what a search finds.
type DeliveryPage struct {
	Deliveries []*LoggedDelivery
	Next       DeliveryPlace // zero: that was all
}

// LoggedDelivery is a delivery and its latest attempt, if there was one. The
// attempt lacks Header, Response and Request, and what it left behind in
// Failures and Due: the delivery itself says where it stands.
type LoggedDelivery struct {
	Delivery
	Latest *Attempt
}

// Redeliveries make finished deliveries pending again.
type Redeliveries interface {
	// Redeliver makes deliveries pending and due now, with a fresh schedule
	// but going on in the count of attempts, and gives those that it made so.
	// Passed over are those that are pending already, that do not exist, or
	// whose endpoint was removed. The attempts made so far stay as they are.
	// With a job, its Done and Skipped are added to, in place, and the job is
	// written as given in the same transaction; as with PutRedelivery,
	// ErrNotFound and ErrConflict leave everything as it was.
	Redeliver(ctx context.Context, keys []DeliveryKey, job *Redelivery, now call.Instant) ([]*Delivery, error)
	// PutRedelivery writes a job; a new one, with ID 0, gets its ID. One that
	// runs no longer is not changed again: ErrConflict, so that whoever runs
	// it learns that it was stopped. ErrNotFound: there is no such job. The
	// audit entry, if any, goes into the same transaction.
	PutRedelivery(ctx context.Context, job *Redelivery, audit *Audit) error
	// Redelivery reads a job; ErrNotFound.
	Redelivery(ctx context.Context, id int64) (*Redelivery, error)
	// ListRedeliveries lists jobs, the newest first, beginning before the
	// given ID (0: the newest), at most limit.
	ListRedeliveries(ctx context.Context, before int64, limit int) ([]*Redelivery, error)
}

// RedeliveryState is where a job stands.
type RedeliveryState int

// States of a job.
const (
	RedeliveryRunning RedeliveryState = 0
	RedeliveryDone    RedeliveryState = 1
	RedeliveryStopped RedeliveryState = 2 // by hand
)

// Redelivery is a job: everything that a query finds is redelivered, bit by
// bit, the oldest first.
type Redelivery struct {
	ID        int64
	Query     DeliveryQuery // its After is how far the job has come
	State     RedeliveryState
	PerSecond int // deliveries at most
	Total     int // how many the query found at the beginning; -1: not yet counted
	Done      int // made pending
	Skipped   int // passed over
	CreatedAt call.Instant
	EndedAt   call.Instant // 0: it runs
}
