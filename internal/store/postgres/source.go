package postgres

import (
	"container/heap"
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/store"
)

// source gives candidates of a search in its order.
type source struct {
	rows []candidate // fetched, and not yet looked at
	done bool        // there is nothing to fetch

	endpoint    store.EndpointID
	failed      bool          // only those that failed
	from, until store.EventID // what is left to fetch
	chunk       int           // rows to fetch at once
}

const (
	maxChunk = 512 // rows
	// fewPending is how many pending deliveries a search sorts itself.
	fewPending = 4000

	listPendingPlaces = `SELECT d.event_id, d.endpoint_id, d.state, e.name
		FROM deliveries AS d JOIN events AS e ON e.id = d.event_id
		WHERE d.endpoint_id = $1 AND d.state = 0 LIMIT $2`
	listPlacesOfCall = `SELECT d.event_id, d.endpoint_id, d.state, e.name
		FROM deliveries AS d JOIN events AS e ON e.id = d.event_id
		WHERE d.call_id = $1 AND ($2::bigint = 0 OR d.endpoint_id = $2) AND ($3::bigint = 0 OR e.app_id = $3)`
)

// begin chooses the sources.
func (s *search) begin(ctx context.Context) error {
	q := s.query
	if q.Call != 0 {
		// A call has so few deliveries that they can all be looked at.
		src, err := s.sorted(ctx, listPlacesOfCall, int64(q.Call), int64(q.Endpoint), int64(q.App))
		s.add(src)
		return err
	}
	endpoints, err := s.endpoints(ctx)
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
		src := source{endpoint: id, failed: failed, from: s.from, until: s.until}
		src.chunk = firstChunk(q.Limit, len(endpoints))
		s.narrow(&src, q.After)
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
	return max(1, min(chunk, scanLimit/2/n))
}

// endpoints lists those whose deliveries can match.
func (s *search) endpoints(ctx context.Context) ([]store.EndpointID, error) {
	return query(ctx, s.tx, func(row pgx.CollectableRow) (id store.EndpointID, err error) {
		return id, row.Scan((*int64)(&id))
	}, listEndpointIDs, int64(s.query.Endpoint), int64(s.query.App))
}

// addPending adds the pending deliveries of endpoints as one source. It adds
// nothing, and reports false, when there are too many to sort.
func (s *search) addPending(ctx context.Context, endpoints []store.EndpointID) (few bool, err error) {
	var all source
	room := fewPending
	for _, id := range endpoints {
		left := s.left
		src, err := s.sorted(ctx, listPendingPlaces, int64(id), room+1)
		if err != nil {
			return false, err
		}
		if room -= left - s.left; room < 0 {
			return false, nil
		}
		all.rows = append(all.rows, src.rows...)
	}
	s.sort(&all)
	s.add(all)
	return true, nil
}

// sorted makes a source of the rows of a query that are wanted.
func (s *search) sorted(ctx context.Context, sql string, args ...any) (source, error) {
	src := source{done: true}
	rows, err := s.tx.Query(ctx, sql, args...)
	if err != nil {
		return src, err
	}
	var at store.DeliveryPlace
	var state store.DeliveryState
	var name string
	_, err = pgx.ForEachRow(rows, []any{(*int64)(&at.Event), (*int64)(&at.Endpoint), (*int)(&state), into(&name)}, func() error {
		s.left--
		if s.wanted(at) {
			src.rows = append(src.rows, candidate{at, s.matches(state, name)})
		}
		return nil
	})
	s.sort(&src)
	return src, err
}

func (s *search) sort(src *source) {
	src.done = true
	slices.SortFunc(src.rows, func(a, b candidate) int {
		if s.before(a.place, b.place) {
			return -1
		}
		return 1
	})
}

// narrow leaves to a source of one endpoint what comes after a place.
func (s *search) narrow(src *source, after store.DeliveryPlace) {
	switch {
	case after == store.DeliveryPlace{}:
	case s.query.Oldest && src.endpoint > after.Endpoint:
		src.from = max(src.from, after.Event)
	case s.query.Oldest:
		src.from = max(src.from, after.Event+1)
	case src.endpoint < after.Endpoint:
		src.until = min(src.until, after.Event+1)
	default:
		src.until = min(src.until, after.Event)
	}
}

// fetch reads the next rows of an endpoint's deliveries.
func (s *search) fetch(ctx context.Context, src *source) error {
	byState := len(s.query.States) > 0 && !src.failed
	byName := s.query.Event != ""
	rows, err := s.tx.Query(ctx, listPlaces(src.failed, byState, byName, s.query.Oldest), int64(src.endpoint), int64(src.from), int64(src.until), src.chunk)
	if err != nil {
		return err
	}
	src.rows = make([]candidate, 0, src.chunk)
	at := store.DeliveryPlace{Endpoint: src.endpoint}
	state, name := store.Failed, ""
	into := []any{(*int64)(&at.Event), (*int)(&state), into(&name)}
	_, err = pgx.ForEachRow(rows, into, func() error {
		s.left--
		if byState {
			s.left--
		}
		if byName {
			s.left--
		}
		src.rows = append(src.rows, candidate{at, s.matches(state, name)})
		return nil
	})
	src.done = len(src.rows) < src.chunk
	if !src.done {
		s.narrow(src, src.rows[len(src.rows)-1].place)
	}
	return err
}

// listPlaces is the statement that lists an endpoint's deliveries in the order
// of events. It looks at the rows of deliveries and events only if it must.
func listPlaces(failed, state, name, oldest bool) string {
	var b strings.Builder
	b.WriteString("SELECT d.event_id, ")
	b.WriteString(either(state, "d.state, ", "2, "))
	b.WriteString(either(name, "e.name ", "''::text "))
	b.WriteString("FROM deliveries AS d ")
	b.WriteString(either(name, "JOIN events AS e ON e.id = d.event_id ", ""))
	b.WriteString("WHERE d.endpoint_id = $1 AND d.event_id >= $2 AND d.event_id < $3 ")
	b.WriteString(either(failed, "AND d.state = 2 ", ""))
	b.WriteString(either(oldest, "ORDER BY d.event_id LIMIT $4", "ORDER BY d.event_id DESC LIMIT $4"))
	return b.String()
}
