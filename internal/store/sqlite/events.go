package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/scan"
)

const (
	insertEvent = `INSERT INTO events (id, app_id, call_id, name, at_ms, fields, version, actor, device, test)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)`
	insertDelivery = `INSERT INTO deliveries (call_id, endpoint_id, sequence, event_id, state, attempts, failures, due_ms)
		VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, ?6)`

	eventColumns = `SELECT id, app_id, call_id, name, at_ms, fields, version, actor, device, test FROM events `
	listEvents   = eventColumns + `WHERE id > ?1 ORDER BY id LIMIT ?2`
	listEventsOf = eventColumns + `INDEXED BY events_of_call WHERE call_id = ?1 AND call_id <> 0 ORDER BY id`
	lastEvent    = `SELECT max(id) FROM events`
	moreEvents   = `SELECT EXISTS (SELECT 1 FROM events WHERE id > ?1)`
)

// AddEvents writes events that belong to no other commit.
func (s *Store) AddEvents(ctx context.Context, events []*store.Event) error {
	return s.submit(ctx, func(w *writer) error { return w.writeEvents(events) })
}

// writeEvents gives events their IDs and writes them, and their deliveries,
// which are due at once. There being one writer, which commits in the order of
// the IDs, nobody can read an event before one with a lower ID.
func (w *writer) writeEvents(events []*store.Event) error {
	for _, e := range events {
		w.lastEvent = store.NextEventID(w.lastEvent, time.Now())
		e.ID = w.lastEvent
		st := w.conn.on(insertEvent).int(int64(e.ID)).int(int64(e.App)).int(int64(e.Call)).text(e.Name).int(int64(e.At)).
			blob(e.Fields).int(e.Version).text(string(e.Actor.User)).text(string(e.Actor.Session)).bool(e.Test)
		if err := st.run(); err != nil {
			return fmt.Errorf("event %d: %w", e.ID, err)
		}
		for _, sub := range e.Deliveries {
			state, sequence := store.Pending, int64(sub.Sequence)
			if w.removed[sub.Endpoint] {
				state = store.Failed
			}
			if e.Call == 0 {
				sequence = int64(e.ID)
			}
			if err := w.conn.on(insertDelivery).int(int64(e.Call)).int(int64(sub.Endpoint)).int(sequence).int(int64(e.ID)).
				int(int64(state)).int(int64(e.At)).run(); err != nil {
				return fmt.Errorf("delivery of event %d to endpoint %d: %w", e.ID, sub.Endpoint, err)
			}
		}
	}
	return nil
}

// EventsAfter lists events of an app, or of all.
func (s *Store) EventsAfter(ctx context.Context, app uint32, after store.EventID, limit int) (store.EventPage, error) {
	var page store.EventPage
	err := s.snapshot(ctx, func(c *conn) error {
		page = store.EventPage{Next: after}
		st := c.on(listEvents).int(int64(after)).int(scan.Limit)
		for len(page.Events) < limit && st.next() {
			page.Next = store.EventID(st.ColumnInt64(0))
			if app == 0 || uint32(st.ColumnInt64(1)) == app {
				page.Events = append(page.Events, readEvent(st))
			}
		}
		if err := st.end(); err != nil {
			return err
		}
		st = c.on(moreEvents).int(int64(page.Next))
		if st.next() {
			page.More = st.ColumnInt64(0) != 0
		}
		return st.end()
	})
	if err != nil {
		return store.EventPage{}, fmt.Errorf("list events after %d: %w", after, err)
	}
	return page, nil
}

// EventsOf lists the events of a call.
func (s *Store) EventsOf(ctx context.Context, id call.ID) ([]*store.Event, error) {
	var events []*store.Event
	err := s.read(ctx, func(c *conn) error {
		st := c.on(listEventsOf).int(int64(id))
		for st.next() {
			events = append(events, readEvent(st))
		}
		return st.end()
	})
	if err != nil {
		return nil, fmt.Errorf("list events of call %s: %w", id, err)
	}
	return events, nil
}

// readEvent reads a row of eventColumns.
func readEvent(st *statement) *store.Event {
	return &store.Event{
		ID: store.EventID(st.ColumnInt64(0)), App: uint32(st.ColumnInt64(1)), Call: call.ID(st.ColumnInt64(2)), Name: st.ColumnText(3),
		At: call.Instant(st.ColumnInt64(4)), Fields: st.bytes(5), Version: st.ColumnInt64(6),
		Actor: call.Actor{User: call.UserID(st.ColumnText(7)), Session: call.SessionID(st.ColumnText(8))}, Test: st.ColumnInt64(9) != 0,
	}
}

// LastEventID gives the highest ID of any event.
func (s *Store) LastEventID(ctx context.Context) (store.EventID, error) {
	var last store.EventID
	err := s.read(ctx, func(c *conn) error {
		id, err := c.number(lastEvent)
		last = store.EventID(id)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read last event: %w", err)
	}
	return last, nil
}
