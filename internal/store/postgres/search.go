package postgres

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// A search goes through deliveries in the order of events and endpoints. Where
// the index of a call does not help, an index gives each endpoint's deliveries
// in the order of events, and the search merges the endpoints, so that events
// without a delivery cost nothing. It stops when it has looked at scanLimit
// rows.

const (
	listLogged = deliveryColumns + `, d.started_ms, d.duration_ms, d.status, d.outcome, d.error
		FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS n (event_id, endpoint_id, i)
		JOIN deliveries AS d ON d.endpoint_id = n.endpoint_id AND d.event_id = n.event_id
		JOIN events AS e ON e.id = d.event_id ORDER BY n.i`

	listEndpointIDs = `SELECT id FROM endpoints WHERE ($1::bigint = 0 OR id = $1) AND ($2::bigint = 0 OR app_id = $2) ORDER BY id`
)

// Delivery reads the delivery of an event to an endpoint.
func (s *Store) Delivery(ctx context.Context, event store.EventID, endpoint store.EndpointID) (*store.Delivery, error) {
	found, err := read(ctx, s, readLogged, listLogged, []int64{int64(event)}, []int64{int64(endpoint)})
	if err != nil {
		return nil, fmt.Errorf("read delivery of event %d to endpoint %d: %w", event, endpoint, err)
	}
	if len(found) == 0 {
		return nil, store.ErrNotFound
	}
	return &found[0].Delivery, nil
}

// readLogged reads a row of listLogged.
func readLogged(row pgx.CollectableRow) (*store.LoggedDelivery, error) {
	d := new(store.LoggedDelivery)
	var started, duration *int64
	var status, outcome *int
	var failed []byte
	if err := settled(&d.Delivery, row.Scan(append(columnsOf(&d.Delivery), &started, &duration, &status, &outcome, &failed)...)); err != nil {
		return nil, err
	}
	if d.Attempts > 0 {
		d.Latest = &store.Attempt{
			Delivery: d.Key(), Number: d.Attempts, Started: call.Instant(*started), Duration: *duration,
			Status: *status, State: store.DeliveryState(*outcome), Error: string(failed),
		}
	}
	return d, nil
}

// SearchDeliveries lists deliveries by event and endpoint.
func (s *Store) SearchDeliveries(ctx context.Context, q store.DeliveryQuery) (store.DeliveryPage, error) {
	var page store.DeliveryPage
	err := s.snapshot(ctx, func(tx querier) error {
		found, next, err := findDeliveries(ctx, tx, &q)
		page.Next = next
		if err != nil || len(found) == 0 {
			return err
		}
		events, endpoints := make([]int64, len(found)), make([]int64, len(found))
		for i, at := range found {
			events[i], endpoints[i] = int64(at.Event), int64(at.Endpoint)
		}
		page.Deliveries, err = query(ctx, tx, readLogged, listLogged, events, endpoints)
		return err
	})
	if err != nil {
		return store.DeliveryPage{}, fmt.Errorf("search deliveries: %w", err)
	}
	return page, nil
}

// CountDeliveries counts what SearchDeliveries would list.
func (s *Store) CountDeliveries(ctx context.Context, q store.DeliveryQuery) (n int, next store.DeliveryPlace, err error) {
	q.Limit = math.MaxInt
	err = s.snapshot(ctx, func(tx querier) error {
		found, place, err := findDeliveries(ctx, tx, &q)
		n, next = len(found), place
		return err
	})
	if err != nil {
		return 0, store.DeliveryPlace{}, fmt.Errorf("count deliveries: %w", err)
	}
	return n, next, nil
}

// candidate is a delivery that a search looks at.
type candidate struct {
	place   store.DeliveryPlace
	matches bool
}

// findDeliveries gives the places of deliveries that match, at most q.Limit,
// and where to go on.
func findDeliveries(ctx context.Context, tx querier, q *store.DeliveryQuery) (found []store.DeliveryPlace, next store.DeliveryPlace, err error) {
	s := &search{tx: tx, query: q, left: scanLimit, from: q.From, until: q.Until}
	if s.until == 0 {
		s.until = math.MaxInt64
	}
	if err := s.begin(ctx); err != nil {
		return nil, next, err
	}
	for last := next; len(s.sources) > 0; {
		head := s.sources[0].rows[0]
		if head.matches {
			if len(found) == q.Limit {
				return found, last, nil
			}
			found = append(found, head.place)
		}
		last = head.place
		more, err := s.advance(ctx)
		if err != nil {
			return nil, next, err
		}
		if !more {
			return found, last, nil
		}
	}
	return found, store.DeliveryPlace{}, nil
}

// search is a search as it goes on.
type search struct {
	tx          querier
	query       *store.DeliveryQuery
	from, until store.EventID
	left        int      // rows that may still be looked at
	sources     []source // a heap by the place of their first row; none is empty
}

// before reports whether a place comes before another in the order of the
// search.
func (s *search) before(a, b store.DeliveryPlace) bool {
	order := cmp.Or(cmp.Compare(a.Event, b.Event), cmp.Compare(a.Endpoint, b.Endpoint))
	if s.query.Oldest {
		return order < 0
	}
	return order > 0
}

// wanted reports whether a place is one that the search may give.
func (s *search) wanted(at store.DeliveryPlace) bool {
	return at.Event >= s.from && at.Event < s.until &&
		(s.query.After == store.DeliveryPlace{} || s.before(s.query.After, at))
}

// matches reports whether what is known of a delivery fits the query.
func (s *search) matches(state store.DeliveryState, event string) bool {
	return (len(s.query.States) == 0 || slices.Contains(s.query.States, state)) && (s.query.Event == "" || event == s.query.Event)
}

// Less, Len, Swap, Push and Pop are for package heap.
func (s *search) Less(i, j int) bool {
	return s.before(s.sources[i].rows[0].place, s.sources[j].rows[0].place)
}
func (s *search) Len() int      { return len(s.sources) }
func (s *search) Swap(i, j int) { s.sources[i], s.sources[j] = s.sources[j], s.sources[i] }
func (s *search) Push(x any)    { s.sources = append(s.sources, x.(source)) }
func (s *search) Pop() any {
	last := s.sources[len(s.sources)-1]
	s.sources = s.sources[:len(s.sources)-1]
	return last
}

// advance goes on to the next candidate. It reports false when it would have
// to look at more than it may.
func (s *search) advance(ctx context.Context) (more bool, err error) {
	src := &s.sources[0]
	src.rows = src.rows[1:]
	if len(src.rows) == 0 && !src.done {
		if s.left <= 0 {
			return false, nil
		}
		src.chunk = min(2*src.chunk, maxChunk)
		if err := s.fetch(ctx, src); err != nil {
			return false, err
		}
	}
	if len(src.rows) == 0 {
		heap.Pop(s)
	} else {
		heap.Fix(s, 0)
	}
	return true, nil
}

// add takes a source in, unless there is nothing in it.
func (s *search) add(src source) {
	if len(src.rows) > 0 {
		s.sources = append(s.sources, src)
	}
}
