package scan

import (
	"cmp"
	"container/heap"
	"context"
	"math"
	"slices"

	"github.com/ringback/ringback/internal/store"
)

// A search goes through deliveries in the order of events and endpoints. Where
// the index of a call does not help, an index gives each endpoint's deliveries
// in the order of events, and the search merges the endpoints, so that events
// without a delivery cost nothing.

// Sizes of what a search of deliveries fetches, in rows.
const (
	maxChunk = 512 // of one endpoint at once
	// fewPending is how many pending deliveries a search sorts itself.
	fewPending = 4000
)

// Delivery is what a search looks at of a delivery.
type Delivery struct {
	Place store.DeliveryPlace
	State store.DeliveryState
	Event string // its name
}

// Range says which deliveries of one endpoint to read.
type Range struct {
	Endpoint    store.EndpointID
	From, Until store.EventID // that one or later ones, and earlier ones
	Failed      bool          // only those that failed
	Oldest      bool          // the oldest first; else the newest first
	States      bool          // State is needed; else it may be anything
	Names       bool          // Event is needed; else it may be anything
	Limit       int           // rows, at least 1
}

// Places reads deliveries of one state of the database, and gives them to each
// one by one.
type Places interface {
	// Endpoints lists endpoints by ID, also removed ones: those of an app (0:
	// of all), or only the given one (0: all).
	Endpoints(ctx context.Context, only store.EndpointID, app uint32) ([]store.EndpointID, error)
	// OfCall reads the deliveries of a call that belong to an endpoint (0: to
	// any) and an app (0: to any), in no order.
	OfCall(ctx context.Context, q *store.DeliveryQuery, each func(Delivery)) error
	// Pending reads what an endpoint still has to get, in no order, at most
	// limit.
	Pending(ctx context.Context, endpoint store.EndpointID, limit int, each func(Delivery)) error
	// OfEndpoint reads a range in the order of events. Looking at states and
	// at names costs a row more for each; it does so only if they are needed.
	OfEndpoint(ctx context.Context, r Range, each func(Delivery)) error
}

// Deliveries gives the places of deliveries that match, in the order of the
// query and at most its limit, and where to go on; next is the zero place when
// that was all. It looks at about [Limit] rows. Errors are those of p.
func Deliveries(ctx context.Context, p Places, q *store.DeliveryQuery) (found []store.DeliveryPlace, next store.DeliveryPlace, err error) {
	s := &search{places: p, query: q, left: Limit, until: q.Until}
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
	places  Places
	query   *store.DeliveryQuery
	until   store.EventID
	left    int      // rows that may still be looked at
	sources []source // a heap by the place of their first row; none is empty
}

// source gives candidates of a search in its order.
type source struct {
	rows []candidate // fetched, and not yet looked at
	done bool        // there is nothing to fetch
	rest Range       // what is left to fetch
}

// candidate is a delivery that a search looks at.
type candidate struct {
	place   store.DeliveryPlace
	matches bool
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
	return at.Event >= s.query.From && at.Event < s.until &&
		(s.query.After == store.DeliveryPlace{} || s.before(s.query.After, at))
}

// matches reports whether what is known of a delivery fits the query.
func (s *search) matches(d *Delivery) bool {
	return (len(s.query.States) == 0 || slices.Contains(s.query.States, d.State)) && (s.query.Event == "" || d.Event == s.query.Event)
}

// begin chooses the sources.
func (s *search) begin(ctx context.Context) error {
	q := s.query
	if q.Call != 0 {
		// A call has so few deliveries that they can all be looked at.
		var all source
		err := s.places.OfCall(ctx, q, s.into(&all))
		s.addSorted(all)
		return err
	}
	endpoints, err := s.places.Endpoints(ctx, q.Endpoint, q.App)
	if err != nil || len(endpoints) == 0 {
		return err
	}
	few := len(q.States) > 0 && !slices.Contains(q.States, store.Delivered)
	if few && slices.Contains(q.States, store.Pending) {
		if few, err = s.addPending(ctx, endpoints); err != nil {
			return err
		}
	}
	failed := few && slices.Contains(q.States, store.Failed)
	if few && !failed {
		return nil
	}
	for _, id := range endpoints {
		src := source{rest: Range{
			Endpoint: id, From: q.From, Until: s.until, Failed: failed, Oldest: q.Oldest,
			States: len(q.States) > 0 && !failed, Names: q.Event != "", Limit: firstChunk(q.Limit, len(endpoints)),
		}}
		src.rest.narrow(q.After)
		if err := s.fetch(ctx, &src); err != nil {
			return err
		}
		s.add(src)
	}
	heap.Init(s)
	return nil
}

// firstChunk is how many rows to fetch of each of n endpoints at first.
func firstChunk(limit, n int) int {
	chunk := min(limit, maxChunk-1) + 1
	if n > 1 {
		chunk = min(chunk, 8+2*chunk/n)
	}
	return max(1, min(chunk, Limit/2/n))
}

// addPending adds the pending deliveries of endpoints as one source. It adds
// nothing, and reports false, when there are too many to sort.
func (s *search) addPending(ctx context.Context, endpoints []store.EndpointID) (few bool, err error) {
	var all source
	room := fewPending
	for _, id := range endpoints {
		left := s.left
		if err := s.places.Pending(ctx, id, room+1, s.into(&all)); err != nil {
			return false, err
		}
		if room -= left - s.left; room < 0 {
			return false, nil
		}
	}
	s.addSorted(all)
	return true, nil
}

// into adds to a source what is wanted of rows in no order.
func (s *search) into(src *source) func(Delivery) {
	return func(d Delivery) {
		s.left--
		if s.wanted(d.Place) {
			src.rows = append(src.rows, candidate{d.Place, s.matches(&d)})
		}
	}
}

// addSorted takes a source in that has all of its rows, in no order.
func (s *search) addSorted(src source) {
	src.done = true
	slices.SortFunc(src.rows, func(a, b candidate) int {
		if s.before(a.place, b.place) {
			return -1
		}
		return 1
	})
	s.add(src)
}

// add takes a source in, unless there is nothing in it.
func (s *search) add(src source) {
	if len(src.rows) > 0 {
		s.sources = append(s.sources, src)
	}
}

// fetch reads the next rows of an endpoint's deliveries.
func (s *search) fetch(ctx context.Context, src *source) error {
	r := &src.rest
	cost := 1
	if r.States {
		cost++
	}
	if r.Names {
		cost++
	}
	src.rows = make([]candidate, 0, r.Limit)
	err := s.places.OfEndpoint(ctx, *r, func(d Delivery) {
		if r.Failed {
			d.State = store.Failed
		}
		s.left -= cost
		src.rows = append(src.rows, candidate{d.Place, s.matches(&d)})
	})
	src.done = len(src.rows) < r.Limit
	if !src.done {
		r.narrow(src.rows[len(src.rows)-1].place)
	}
	return err
}

// narrow leaves what comes after a place; the zero place leaves everything.
func (r *Range) narrow(after store.DeliveryPlace) {
	switch {
	case after == store.DeliveryPlace{}:
	case r.Oldest && r.Endpoint > after.Endpoint:
		r.From = max(r.From, after.Event)
	case r.Oldest:
		r.From = max(r.From, after.Event+1)
	case r.Endpoint < after.Endpoint:
		r.Until = min(r.Until, after.Event+1)
	default:
		r.Until = min(r.Until, after.Event)
	}
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
		src.rest.Limit = min(2*src.rest.Limit, maxChunk)
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
