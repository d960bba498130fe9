package sqlite

import (
	"context"
	"fmt"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// A prune looks for what is old with a connection that reads, and deletes it
// in steps of the writer, of which at most one goes with a transaction of
// commits. It goes through calls and events by ID and remembers where it was,
// so that what must stay is not looked at each time.

// Sizes of a step, such that it holds up a transaction for a millisecond or
// two.
const (
	pruneCalls   = 16
	pruneEvents  = 128
	pruneExpired = 128
)

// pruner is where the prune is.
type pruner struct {
	busy  chan struct{} // held by the one that runs
	call  int64         // what was looked at last; 0: begin
	event int64
}

// Prune deletes what is over since before an instant.
func (s *Store) Prune(ctx context.Context, before call.Instant, limit int) (int, error) {
	select {
	case s.pruner.busy <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	defer func() { <-s.pruner.busy }()
	fresh := s.pruner.call == 0 && s.pruner.event == 0
	n, err := s.prune(ctx, before, limit)
	if n == 0 && err == nil && !fresh {
		n, err = s.prune(ctx, before, limit) // what was passed over then may be old now
	}
	if err != nil {
		return n, fmt.Errorf("prune: %w", err)
	}
	return n, nil
}

// prune goes on from where it was, to the end or until limit is reached.
func (s *Store) prune(ctx context.Context, before call.Instant, limit int) (int, error) {
	deleted := 0
	for _, step := range []func(ctx context.Context, before call.Instant, limit int) (n int, more bool, err error){
		s.pruneCalls, s.pruneEvents, s.pruneRequests, s.pruneNonces,
	} {
		for more := true; more && deleted < limit; {
			n, again, err := step(ctx, before, limit-deleted)
			deleted += n
			if err != nil {
				return deleted, err
			}
			more = again
		}
		if deleted >= limit {
			break
		}
	}
	return deleted, nil
}

// step has the writer carry out a step of the prune when its turn comes.
func (s *Store) step(ctx context.Context, write func(w *writer) error) error {
	r := s.requests.Get().(*request)
	r.write = write
	return s.await(ctx, s.low, r)
}

// oldCall is a call that can go.
type oldCall struct {
	id    call.ID
	call  *call.Call
	state []byte
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

// pruneCalls deletes calls with their history, deliveries, attempts and
// traces.
func (s *Store) pruneCalls(ctx context.Context, before call.Instant, limit int) (n int, more bool, err error) {
	limit = min(limit, pruneCalls)
	var old []oldCall
	err = s.read(ctx, func(c *conn) error {
		st := c.on(findOldCalls).int(s.pruner.call).int(int64(call.NewID(max(before, 0)+1000, 0))).int(int64(before)).int(int64(limit))
		for st.next() {
			old = append(old, oldCall{id: call.ID(st.ColumnInt64(0)), state: st.bytes(1)})
		}
		return st.end()
	})
	if err != nil {
		return 0, false, err
	}
	for i := range old {
		if old[i].call, _, err = store.DecodeCall(old[i].state); err != nil {
			return 0, false, fmt.Errorf("call %s: %w", old[i].id, err)
		}
	}
	if len(old) > 0 {
		err = s.step(ctx, func(w *writer) error {
			n = 0
			for _, o := range old {
				deleted, err := w.deleteCall(o, before)
				if err != nil {
					return err
				}
				if deleted {
					n++
				}
			}
			return nil
		})
	}
	if err != nil {
		return 0, false, err
	}
	if len(old) < limit {
		s.pruner.call = 0
		return n, false, nil
	}
	s.pruner.call = int64(old[len(old)-1].id)
	return n, true, nil
}

func (w *writer) deleteCall(o oldCall, before call.Instant) (bool, error) {
	deleted, err := w.conn.on(deleteOldCall).int(int64(o.id)).int(int64(before)).change()
	if err != nil || !deleted {
		return false, err
	}
	for i := range o.call.Users {
		if err := w.conn.on(deleteHistory).int(int64(o.call.App)).text(string(o.call.Users[i].ID)).
			int(int64(o.call.CreatedAt)).int(int64(o.id)).run(); err != nil {
			return false, err
		}
	}
	if err := w.conn.on("DELETE FROM deliveries WHERE call_id = ?1").int(int64(o.id)).run(); err != nil {
		return false, err
	}
	if err := w.conn.on("DELETE FROM attempts WHERE call_id = ?1").int(int64(o.id)).run(); err != nil {
		return false, err
	}
	return true, w.conn.on("DELETE FROM traces WHERE call_id = ?1").int(int64(o.id)).run()
}

// oldEvent is an event that can go.
type oldEvent struct {
	id  int64
	app int64
	own bool // it is not about a call: its deliveries go with it
}

// pruneEvents deletes events of calls that are gone, and of no call.
func (s *Store) pruneEvents(ctx context.Context, before call.Instant, limit int) (n int, more bool, err error) {
	var old []oldEvent
	var last int64 // looked at
	err = s.read(ctx, func(c *conn) error {
		st := c.on(findOldEvents).int(s.pruner.event).int(pruneEvents)
		for st.next() && len(old) < limit {
			if call.Instant(st.ColumnInt64(3)) >= before {
				more = false
				break
			}
			last, more = st.ColumnInt64(0), true
			if st.ColumnInt64(4) == 0 {
				old = append(old, oldEvent{id: last, app: st.ColumnInt64(1), own: st.ColumnInt64(2) == 0})
			}
		}
		return st.end()
	})
	if err != nil {
		return 0, false, err
	}
	if len(old) > 0 {
		err = s.step(ctx, func(w *writer) error {
			n = 0
			for _, o := range old {
				if err := w.deleteEvent(o); err != nil {
					return err
				}
				n++
			}
			return nil
		})
	}
	if err != nil {
		return 0, false, err
	}
	if !more {
		last = 0
	}
	s.pruner.event = last
	return n, more, nil
}

func (w *writer) deleteEvent(o oldEvent) error {
	if o.own {
		for _, table := range []string{"deliveries", "attempts"} {
			if err := w.conn.on("DELETE FROM " + table + ` WHERE call_id = 0 AND sequence = ?1
				AND endpoint_id IN (SELECT id FROM endpoints WHERE app_id = ?2)`).int(o.id).int(o.app).run(); err != nil {
				return err
			}
		}
	}
	return w.conn.on("DELETE FROM events WHERE id = ?1").int(o.id).run()
}

// pruneRequests deletes requests that have expired.
func (s *Store) pruneRequests(ctx context.Context, before call.Instant, limit int) (n int, more bool, err error) {
	return s.pruneExpired(ctx, expiredRequests, deleteOldRequests, before, limit)
}

// pruneNonces deletes nonces that have expired.
func (s *Store) pruneNonces(ctx context.Context, before call.Instant, limit int) (n int, more bool, err error) {
	return s.pruneExpired(ctx, expiredNonces, deleteOldNonces, before, limit)
}

// pruneExpired deletes what has expired, if there is anything.
func (s *Store) pruneExpired(ctx context.Context, exists, remove string, before call.Instant, limit int) (n int, more bool, err error) {
	limit = min(limit, pruneExpired)
	var found bool
	err = s.read(ctx, func(c *conn) error {
		st := c.on(exists).int(int64(before))
		if st.next() {
			found = st.ColumnInt64(0) != 0
		}
		return st.end()
	})
	if err != nil || !found {
		return 0, false, err
	}
	err = s.step(ctx, func(w *writer) error {
		if err := w.conn.on(remove).int(int64(before)).int(int64(limit)).run(); err != nil {
			return err
		}
		n = int(w.conn.Changes())
		return nil
	})
	if err != nil {
		return 0, false, err
	}
	return n, n == limit, nil
}
