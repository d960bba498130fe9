package sqlite

import (
	"context"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/scan"
)

// A prune looks for what is old with a connection that reads, and deletes it
// in steps of the writer, of which at most one goes with a transaction of
// commits.

// pruneSteps are such that a step holds up a transaction for a millisecond or
// two.
var pruneSteps = scan.Steps{Calls: 16, Events: 128, Expired: 128}

// Prune deletes what is over since before an instant.
func (s *Store) Prune(ctx context.Context, before call.Instant, limit int) (int, error) {
	return s.pruner.Prune(ctx, before, limit)
}

const (
	findOldCalls = `SELECT id, state FROM calls WHERE id > ?1 AND id < ?2 AND ended_ms < ?3
		AND NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.call_id = calls.id AND d.state = 0)
		ORDER BY id LIMIT ?4`
	deleteOldCall = `DELETE FROM calls WHERE id = ?1 AND ended_ms < ?2
		AND NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.call_id = calls.id AND d.state = 0)`
	deleteHistory = `DELETE FROM history WHERE app_id = ?1 AND user_id = ?2 AND create_ms = ?3 AND call_id = ?4`

	// Events of a call go after the call, those of no call when nothing is
	// pending.
	findOldEvents = `SELECT e.id, e.app_id, e.call_id, e.at_ms,
			CASE e.call_id WHEN 0 THEN EXISTS (SELECT 1 FROM endpoints AS p CROSS JOIN deliveries AS d
				ON d.call_id = 0 AND d.endpoint_id = p.id AND d.sequence = e.id WHERE p.app_id = e.app_id AND d.state = 0)
			ELSE EXISTS (SELECT 1 FROM calls WHERE calls.id = e.call_id) END
		FROM events AS e WHERE e.id > ?1 ORDER BY e.id LIMIT ?2`

	expiredRequests   = `SELECT EXISTS (SELECT 1 FROM requests WHERE expires_ms < ?1)`
	deleteOldRequests = `DELETE FROM requests WHERE (app_id, user_id, request_id) IN
		(SELECT app_id, user_id, request_id FROM requests INDEXED BY requests_expiry WHERE expires_ms < ?1 ORDER BY expires_ms LIMIT ?2)`
	expiredNonces   = `SELECT EXISTS (SELECT 1 FROM nonces WHERE expires_ms < ?1)`
	deleteOldNonces = `DELETE FROM nonces WHERE (app_id, nonce) IN
		(SELECT app_id, nonce FROM nonces INDEXED BY nonces_expiry WHERE expires_ms < ?1 ORDER BY expires_ms LIMIT ?2)`
)

// old is what a prune looks at and deletes.
type old struct{ *Store }

// step has the writer carry out a step of what has time, when its turn comes.
// The step may come again from the beginning.
func (s *Store) step(ctx context.Context, write func(w *writer) error) error {
	return s.line.Submit(ctx, s.low, func(r *request) { r.work = work{write: write} })
}

// OldCalls implements scan.Old.
func (o old) OldCalls(ctx context.Context, after, below call.ID, before call.Instant, limit int) (list []scan.StoredCall, err error) {
	err = o.read(ctx, func(c *conn) error {
		st := c.on(findOldCalls).int(int64(after)).int(int64(below)).int(int64(before)).int(int64(limit))
		for st.next() {
			list = append(list, scan.StoredCall{ID: call.ID(st.ColumnInt64(0)), State: st.bytes(1)})
		}
		return st.end()
	})
	return list, err
}

// DeleteCalls implements scan.Old.
func (o old) DeleteCalls(ctx context.Context, calls []*call.Call, before call.Instant) (n int, err error) {
	err = o.step(ctx, func(w *writer) error {
		n = 0
		for _, c := range calls {
			deleted, err := w.deleteCall(c, before)
			if err != nil {
				return err
			}
			if deleted {
				n++
			}
		}
		return nil
	})
	return n, err
}

func (w *writer) deleteCall(c *call.Call, before call.Instant) (bool, error) {
	deleted, err := w.conn.on(deleteOldCall).int(int64(c.ID)).int(int64(before)).change()
	if err != nil || !deleted {
		return false, err
	}
	for i := range c.Users {
		if err := w.conn.on(deleteHistory).int(int64(c.App)).text(string(c.Users[i].ID)).
			int(int64(c.CreatedAt)).int(int64(c.ID)).run(); err != nil {
			return false, err
		}
	}
	for _, sql := range [...]string{
		"DELETE FROM deliveries WHERE call_id = ?1", "DELETE FROM attempts WHERE call_id = ?1", "DELETE FROM traces WHERE call_id = ?1",
	} {
		if err := w.conn.on(sql).int(int64(c.ID)).run(); err != nil {
			return false, err
		}
	}
	return true, nil
}

// Events implements scan.Old.
func (o old) Events(ctx context.Context, after store.EventID, limit int, each func(scan.Event) bool) error {
	return o.read(ctx, func(c *conn) error {
		st := c.on(findOldEvents).int(int64(after)).int(int64(limit))
		for st.next() {
			if !each(scan.Event{
				ID: store.EventID(st.ColumnInt64(0)), App: uint32(st.ColumnInt64(1)), Call: call.ID(st.ColumnInt64(2)),
				At: call.Instant(st.ColumnInt64(3)), Needed: st.ColumnInt64(4) != 0,
			}) {
				break
			}
		}
		return st.end()
	})
}

// DeleteEvents implements scan.Old.
func (o old) DeleteEvents(ctx context.Context, events []scan.Event) error {
	return o.step(ctx, func(w *writer) error {
		for i := range events {
			if err := w.deleteEvent(&events[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *writer) deleteEvent(e *scan.Event) error {
	if e.Call == 0 {
		for _, table := range []string{"deliveries", "attempts"} {
			if err := w.conn.on("DELETE FROM " + table + ` WHERE call_id = 0 AND sequence = ?1
				AND endpoint_id IN (SELECT id FROM endpoints WHERE app_id = ?2)`).int(int64(e.ID)).int(int64(e.App)).run(); err != nil {
				return err
			}
		}
	}
	return w.conn.on("DELETE FROM events WHERE id = ?1").int(int64(e.ID)).run()
}

// DeleteRequests implements scan.Old.
func (o old) DeleteRequests(ctx context.Context, before call.Instant, limit int) (int, error) {
	return o.deleteExpired(ctx, expiredRequests, deleteOldRequests, before, limit)
}

// DeleteNonces implements scan.Old.
func (o old) DeleteNonces(ctx context.Context, before call.Instant, limit int) (int, error) {
	return o.deleteExpired(ctx, expiredNonces, deleteOldNonces, before, limit)
}

// deleteExpired deletes what has expired, and leaves the writer alone if there
// is nothing.
func (o old) deleteExpired(ctx context.Context, exists, remove string, before call.Instant, limit int) (n int, err error) {
	found := false
	err = o.read(ctx, func(c *conn) error {
		st := c.on(exists).int(int64(before))
		if st.next() {
			found = st.ColumnInt64(0) != 0
		}
		return st.end()
	})
	if err != nil || !found {
		return 0, err
	}
	err = o.step(ctx, func(w *writer) error {
		if err := w.conn.on(remove).int(int64(before)).int(int64(limit)).run(); err != nil {
			return err
		}
		n = int(w.conn.Changes())
		return nil
	})
	return n, err
}
