package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/scan"
)

const (
	eventColumns = `SELECT e.id, e.app_id, e.call_id, e.name, e.at_ms, e.fields, e.version, e.actor, e.device, e.test `
	// A page looks at a bounded number of events of other apps.
	listEvents = eventColumns + `FROM (SELECT * FROM events WHERE id > $1 ORDER BY id LIMIT $4) AS e
		WHERE $2::bigint = 0 OR e.app_id = $2 ORDER BY e.id LIMIT $3`
	lastLooked   = `SELECT coalesce(max(id), $1) FROM (SELECT id FROM events WHERE id > $1 ORDER BY id LIMIT $2) AS e`
	listEventsOf = eventColumns + `FROM events AS e WHERE e.call_id = $1 AND e.call_id <> 0 ORDER BY e.id + 0`
	lastEvent    = `SELECT coalesce(max(id), 0) FROM events`
)

// AddEvents writes events that belong to no other commit.
func (s *Store) AddEvents(ctx context.Context, events []*store.Event) error {
	return s.submit(ctx, work{events: events})
}

// EventsAfter lists events of an app, or of all.
func (s *Store) EventsAfter(ctx context.Context, app uint32, after store.EventID, limit int) (store.EventPage, error) {
	var events []*store.Event
	var looked, last store.EventID
	b := new(pgx.Batch) // which sees one state of the database
	b.Queue("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
	b.Queue(listEvents, int64(after), int64(app), limit, scan.Limit).Query(func(rows pgx.Rows) (err error) {
		events, err = pgx.AppendRows(events, rows, readEvent)
		return err
	})
	b.Queue(lastLooked, int64(after), scan.Limit).QueryRow(func(row pgx.Row) error { return row.Scan((*int64)(&looked)) })
	b.Queue(lastEvent).QueryRow(func(row pgx.Row) error { return row.Scan((*int64)(&last)) })
	b.Queue("COMMIT")
	if err := s.look(ctx, b); err != nil {
		return store.EventPage{}, fmt.Errorf("list events after %d: %w", after, err)
	}
	page := store.EventPage{Events: events, Next: looked}
	if len(events) == limit {
		page.Next = events[limit-1].ID
	}
	page.More = last > page.Next
	return page, nil
}

// EventsOf lists the events of a call.
func (s *Store) EventsOf(ctx context.Context, id call.ID) ([]*store.Event, error) {
	events, err := read(ctx, s, readEvent, listEventsOf, int64(id))
	if err != nil {
		return nil, fmt.Errorf("list events of call %s: %w", id, err)
	}
	return events, nil
}

// readEvent reads a row of eventColumns.
func readEvent(row pgx.CollectableRow) (*store.Event, error) {
	e := new(store.Event)
	return e, row.Scan((*int64)(&e.ID), &e.App, (*uint64)(&e.Call), into(&e.Name), (*int64)(&e.At), &e.Fields, &e.Version,
		into(&e.Actor.User), into(&e.Actor.Session), &e.Test)
}

// LastEventID gives the highest ID of any event.
func (s *Store) LastEventID(ctx context.Context) (store.EventID, error) {
	ids, err := read(ctx, s, pgx.RowTo[int64], lastEvent)
	if err != nil {
		return 0, fmt.Errorf("read last event: %w", err)
	}
	return store.EventID(ids[0]), nil
}
