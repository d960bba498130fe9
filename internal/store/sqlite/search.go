package sqlite

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/scan"
)

const (
	listLogged = deliveryColumns + `, d.started_ms, d.duration_ms, d.status, d.outcome, d.error
		FROM deliveries AS d INDEXED BY deliveries_event CROSS JOIN events AS e ON e.id = d.event_id
		WHERE d.endpoint_id = ?1 AND d.event_id = ?2`

	listEndpointIDs = `SELECT id FROM endpoints WHERE (?1 = 0 OR id = ?1) AND (?2 = 0 OR app_id = ?2) ORDER BY id`

	listPendingPlaces = `SELECT d.event_id, d.endpoint_id, d.state, e.name
		FROM deliveries AS d INDEXED BY deliveries_due CROSS JOIN events AS e ON e.id = d.event_id
		WHERE d.endpoint_id = ?1 AND d.state = 0 LIMIT ?2`
	listPlacesOfCall = `SELECT d.event_id, d.endpoint_id, d.state, e.name
		FROM deliveries AS d CROSS JOIN events AS e ON e.id = d.event_id
		WHERE d.call_id = ?1 AND (?2 = 0 OR d.endpoint_id = ?2) AND (?3 = 0 OR e.app_id = ?3)`
)

// Delivery reads the delivery of an event to an endpoint.
func (s *Store) Delivery(ctx context.Context, event store.EventID, endpoint store.EndpointID) (*store.Delivery, error) {
	var found *store.LoggedDelivery
	err := s.read(ctx, func(c *conn) (err error) {
		found, err = findLogged(c, store.DeliveryPlace{Event: event, Endpoint: endpoint})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read delivery of event %d to endpoint %d: %w", event, endpoint, err)
	}
	if found == nil {
		return nil, store.ErrNotFound
	}
	return &found.Delivery, nil
}

// findLogged gives nil when there is no such delivery.
func findLogged(c *conn, at store.DeliveryPlace) (*store.LoggedDelivery, error) {
	st := c.on(listLogged).int(int64(at.Endpoint)).int(int64(at.Event))
	var d *store.LoggedDelivery
	if st.next() {
		d = &store.LoggedDelivery{Delivery: readDelivery(st)}
		if d.Attempts > 0 {
			d.Latest = &store.Attempt{
				Delivery: d.Key(), Number: d.Attempts, Started: call.Instant(st.ColumnInt64(13)), Duration: st.ColumnInt64(14),
				Status: st.ColumnInt(15), State: store.DeliveryState(st.ColumnInt(16)), Error: st.ColumnText(17),
			}
		}
	}
	return d, st.end()
}

// SearchDeliveries lists deliveries by event and endpoint.
func (s *Store) SearchDeliveries(ctx context.Context, q store.DeliveryQuery) (store.DeliveryPage, error) {
	var page store.DeliveryPage
	err := s.snapshot(ctx, func(c *conn) error {
		page = store.DeliveryPage{}
		found, next, err := scan.Deliveries(ctx, places{c}, &q)
		if err != nil {
			return err
		}
		page.Next = next
		for _, at := range found {
			d, err := findLogged(c, at)
			if err != nil {
				return err
			}
			if d != nil {
				page.Deliveries = append(page.Deliveries, d)
			}
		}
		return nil
	})
	if err != nil {
		return store.DeliveryPage{}, fmt.Errorf("search deliveries: %w", err)
	}
	return page, nil
}

// CountDeliveries counts what SearchDeliveries would list.
func (s *Store) CountDeliveries(ctx context.Context, q store.DeliveryQuery) (n int, next store.DeliveryPlace, err error) {
	q.Limit = math.MaxInt
	err = s.snapshot(ctx, func(c *conn) error {
		found, place, err := scan.Deliveries(ctx, places{c}, &q)
		n, next = len(found), place
		return err
	})
	if err != nil {
		return 0, store.DeliveryPlace{}, fmt.Errorf("count deliveries: %w", err)
	}
	return n, next, nil
}

// places reads deliveries for a search. Its context is that of the connection.
type places struct{ *conn }

// Endpoints implements scan.Places.
func (p places) Endpoints(_ context.Context, only store.EndpointID, app uint32) (ids []store.EndpointID, err error) {
	st := p.on(listEndpointIDs).int(int64(only)).int(int64(app))
	for st.next() {
		ids = append(ids, store.EndpointID(st.ColumnInt64(0)))
	}
	return ids, st.end()
}

// OfCall implements scan.Places.
func (p places) OfCall(_ context.Context, q *store.DeliveryQuery, each func(scan.Delivery)) error {
	return eachPlace(p.on(listPlacesOfCall).int(int64(q.Call)).int(int64(q.Endpoint)).int(int64(q.App)), nil, each)
}

// Pending implements scan.Places.
func (p places) Pending(_ context.Context, endpoint store.EndpointID, limit int, each func(scan.Delivery)) error {
	return eachPlace(p.on(listPendingPlaces).int(int64(endpoint)).int(int64(limit)), nil, each)
}

// OfEndpoint implements scan.Places.
func (p places) OfEndpoint(_ context.Context, r scan.Range, each func(scan.Delivery)) error {
	return eachPlace(p.on(listPlaces(&r)).int(int64(r.Endpoint)).int(int64(r.From)).int(int64(r.Until)).int(int64(r.Limit)), &r, each)
}

// eachPlace gives the rows of a statement. Reading a column costs about as much
// as finding a row, so of a range only what is needed is read; nil: everything.
func eachPlace(st *statement, r *scan.Range, each func(scan.Delivery)) error {
	last := "" // there are few names: most rows share one string
	for st.next() {
		d := scan.Delivery{Place: store.DeliveryPlace{Event: store.EventID(st.ColumnInt64(0))}}
		if r == nil {
			d.Place.Endpoint = store.EndpointID(st.ColumnInt64(1))
		} else {
			d.Place.Endpoint = r.Endpoint
		}
		if r == nil || r.States {
			d.State = store.DeliveryState(st.ColumnInt(2))
		}
		if r == nil || r.Names {
			if raw := st.ColumnRawText(3); string(raw) != last {
				last = string(raw)
			}
			d.Event = last
		}
		each(d)
	}
	return st.end()
}

// listPlaces is the statement that lists an endpoint's deliveries in the order
// of events. It looks at the rows of deliveries and events only if it must.
func listPlaces(r *scan.Range) string {
	var b strings.Builder
	b.WriteString("SELECT d.event_id, NULL, ")
	b.WriteString(either(r.States, "d.state, ", "NULL, "))
	b.WriteString(either(r.Names, "e.name ", "NULL "))
	b.WriteString(either(r.Failed, "FROM deliveries AS d INDEXED BY deliveries_failed ", "FROM deliveries AS d INDEXED BY deliveries_event "))
	b.WriteString(either(r.Names, "CROSS JOIN events AS e ON e.id = d.event_id ", ""))
	b.WriteString("WHERE d.endpoint_id = ?1 AND d.event_id >= ?2 AND d.event_id < ?3 ")
	b.WriteString(either(r.Failed, "AND d.state = 2 ", ""))
	b.WriteString(either(r.Oldest, "ORDER BY d.event_id LIMIT ?4", "ORDER BY d.event_id DESC LIMIT ?4"))
	return b.String()
}

func either(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}
