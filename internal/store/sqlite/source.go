package sqlite

import (
	"container/heap"
	"slices"
	"strings"

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
		FROM deliveries AS d INDEXED BY deliveries_due CROSS JOIN events AS e ON e.id = d.event_id
		WHERE d.endpoint_id = ?1 AND d.state = 0 LIMIT ?2`
	listPlacesOfCall = `SELECT d.event_id, d.endpoint_id, d.state, e.name
		FROM deliveries AS d CROSS JOIN events AS e ON e.id = d.event_id
		WHERE d.call_id = ?1 AND (?2 = 0 OR d.endpoint_id = ?2) AND (?3 = 0 OR e.app_id = ?3)`
)

// begin chooses the sources.
func (s *search) begin() error {
	q := s.query
	if q.Call != 0 {
		// A call has so few deliveries that they can all be looked at.
		src, err := s.sorted(s.conn.on(listPlacesOfCall).int(int64(q.Call)).int(int64(q.Endpoint)).int(int64(q.App)))
		s.add(src)
		return err
	}
	endpoints, err := s.endpoints()
	if err != nil || len(endpoints) == 0 {
		return err
	}
	few := len(q.States) > 0 && !slices.Contains(q.States, store.Delivered)
	if few && slices.Contains(q.States, store.Pending) {
		if few, err = s.addPending(endpoints); err != nil {
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
		if err := s.fetch(&src); err != nil {
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
func (s *search) endpoints() (ids []store.EndpointID, err error) {
	st := s.conn.on(listEndpointIDs).int(int64(s.query.Endpoint)).int(int64(s.query.App))
	for st.next() {
		ids = append(ids, store.EndpointID(st.ColumnInt64(0)))
	}
	return ids, st.end()
}

// addPending adds the pending deliveries of endpoints as one source. It adds
// nothing, and reports false, when there are too many to sort.
func (s *search) addPending(endpoints []store.EndpointID) (few bool, err error) {
	var all source
	room := fewPending
	for _, id := range endpoints {
		left := s.left
		src, err := s.sorted(s.conn.on(listPendingPlaces).int(int64(id)).int(int64(room + 1)))
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

// sorted makes a source of the rows of a statement that are wanted.
func (s *search) sorted(st *statement) (source, error) {
	src := source{done: true}
	for st.next() {
		s.left--
		at := store.DeliveryPlace{Event: store.EventID(st.ColumnInt64(0)), Endpoint: store.EndpointID(st.ColumnInt64(1))}
		if s.wanted(at) {
			src.rows = append(src.rows, candidate{at, s.matches(store.DeliveryState(st.ColumnInt(2)), st.ColumnText(3))})
		}
	}
	s.sort(&src)
	return src, st.end()
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
func (s *search) fetch(src *source) error {
	byState := len(s.query.States) > 0 && !src.failed
	byName := s.query.Event != ""
	st := s.conn.on(listPlaces(src.failed, byState, byName, s.query.Oldest)).int(int64(src.endpoint)).int(int64(src.from)).
		int(int64(src.until)).int(int64(src.chunk))
	src.rows = make([]candidate, 0, src.chunk)
	for st.next() {
		at := store.DeliveryPlace{Event: store.EventID(st.ColumnInt64(0)), Endpoint: src.endpoint}
		state, name := store.Failed, ""
		s.left--
		if byState {
			state = store.DeliveryState(st.ColumnInt(1))
			s.left--
		}
		if byName {
			name = st.ColumnText(2)
			s.left--
		}
		src.rows = append(src.rows, candidate{at, s.matches(state, name)})
	}
	src.done = len(src.rows) < src.chunk
	if !src.done {
		s.narrow(src, src.rows[len(src.rows)-1].place)
	}
	return st.end()
}

// listPlaces is the statement that lists an endpoint's deliveries in the order
// of events. It looks at the rows of deliveries and events only if it must.
func listPlaces(failed, state, name, oldest bool) string {
	var b strings.Builder
	b.WriteString("SELECT d.event_id, ")
	b.WriteString(either(state, "d.state, ", "NULL, "))
	b.WriteString(either(name, "e.name ", "NULL "))
	b.WriteString(either(failed, "FROM deliveries AS d INDEXED BY deliveries_failed ", "FROM deliveries AS d INDEXED BY deliveries_event "))
	b.WriteString(either(name, "CROSS JOIN events AS e ON e.id = d.event_id ", ""))
	b.WriteString("WHERE d.endpoint_id = ?1 AND d.event_id >= ?2 AND d.event_id < ?3 ")
	b.WriteString(either(failed, "AND d.state = 2 ", ""))
	b.WriteString(either(oldest, "ORDER BY d.event_id LIMIT ?4", "ORDER BY d.event_id DESC LIMIT ?4"))
	return b.String()
}

func either(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}
