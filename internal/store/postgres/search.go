package postgres

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/scan"
)

const (
	listLogged = deliveryColumns + `, d.started_ms, d.duration_ms, d.status, d.outcome, d.error
		FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS n (event_id, endpoint_id, i)
		JOIN deliveries AS d ON d.endpoint_id + 0 = ANY (ARRAY[n.endpoint_id]) AND d.event_id = n.event_id
		JOIN events AS e ON e.id = ANY (ARRAY[d.event_id]) ORDER BY n.i`

	listEndpointIDs = `SELECT id FROM endpoints WHERE ($1::bigint = 0 OR id = $1) AND ($2::bigint = 0 OR app_id = $2) ORDER BY id`

	listPendingPlaces = `SELECT d.event_id, d.endpoint_id, d.state, e.name
		FROM deliveries AS d JOIN events AS e ON e.id = ANY (ARRAY[d.event_id])
		WHERE d.endpoint_id = $1 AND d.state = 0 LIMIT $2`
	listPlacesOfCall = `SELECT d.event_id, d.endpoint_id, d.state, e.name
		FROM deliveries AS d JOIN events AS e ON e.id = ANY (ARRAY[d.event_id])
		WHERE d.call_id = $1 AND ($2::bigint = 0 OR d.endpoint_id = $2) AND ($3::bigint = 0 OR e.app_id = $3)`
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
	err := s.snapshot(ctx, func(ctx context.Context, tx querier) error {
		found, next, err := scan.Deliveries(ctx, places{tx}, &q)
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
	err = s.snapshot(ctx, func(ctx context.Context, tx querier) error {
		found, place, err := scan.Deliveries(ctx, places{tx}, &q)
		n, next = len(found), place
		return err
	})
	if err != nil {
		return 0, store.DeliveryPlace{}, fmt.Errorf("count deliveries: %w", err)
	}
	return n, next, nil
}

// places reads deliveries for a search.
type places struct{ querier }

// Endpoints implements scan.Places.
func (p places) Endpoints(ctx context.Context, only store.EndpointID, app uint32) ([]store.EndpointID, error) {
	return query(ctx, p, func(row pgx.CollectableRow) (id store.EndpointID, err error) {
		return id, row.Scan((*int64)(&id))
	}, listEndpointIDs, int64(only), int64(app))
}

// OfCall implements scan.Places.
func (p places) OfCall(ctx context.Context, q *store.DeliveryQuery, each func(scan.Delivery)) error {
	return p.each(ctx, each, listPlacesOfCall, int64(q.Call), int64(q.Endpoint), int64(q.App))
}

// Pending implements scan.Places.
func (p places) Pending(ctx context.Context, endpoint store.EndpointID, limit int, each func(scan.Delivery)) error {
	return p.each(ctx, each, listPendingPlaces, int64(endpoint), limit)
}

// OfEndpoint implements scan.Places.
func (p places) OfEndpoint(ctx context.Context, r scan.Range, each func(scan.Delivery)) error {
	return p.each(ctx, each, listPlaces(&r), int64(r.Endpoint), int64(r.From), int64(r.Until), r.Limit)
}

// each gives the rows of a query.
func (p places) each(ctx context.Context, each func(scan.Delivery), sql string, args ...any) error {
	rows, err := p.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	var d scan.Delivery
	_, err = pgx.ForEachRow(rows, []any{(*int64)(&d.Place.Event), (*int64)(&d.Place.Endpoint), (*int)(&d.State), into(&d.Event)}, func() error {
		each(d)
		return nil
	})
	return err
}

// listPlaces is the statement that lists an endpoint's deliveries in the order
// of events. It looks at the rows of deliveries and events only if it must.
func listPlaces(r *scan.Range) string {
	var b strings.Builder
	b.WriteString("SELECT d.event_id, d.endpoint_id, ")
	b.WriteString(either(r.States, "d.state, ", "2, "))
	b.WriteString(either(r.Names, "e.name ", "''::text "))
	b.WriteString("FROM deliveries AS d ")
	b.WriteString(either(r.Names, "JOIN events AS e ON e.id = ANY (ARRAY[d.event_id]) ", ""))
	b.WriteString(either(r.Failed, "WHERE d.state = 2 AND d.endpoint_id = $1 ", "WHERE d.endpoint_id + 0 = $1 "))
	b.WriteString("AND d.event_id >= $2 AND d.event_id < $3 ")
	b.WriteString(either(r.Oldest, "ORDER BY d.event_id LIMIT $4", "ORDER BY d.event_id DESC LIMIT $4"))
	return b.String()
}
