package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// A prune deletes in steps, each of which is a transaction that holds up
// nobody. It goes through calls and events by ID and remembers where it was,
// so that what must stay is not looked at each time.

// Sizes of a step.
const (
	pruneCalls   = 100
	pruneEvents  = 500
	pruneExpired = 500
)

// pruner is where the prune is.
type pruner struct {
	busy  chan struct{} // held by the one that runs
	call  int64         // what was looked at last; 0: begin
	event int64
}

// Prune deletes what is over since before an instant.
func (s *Store) Prune(ctx context.Context, before call.Instant, limit int) (int, error) {
	if err := s.check(ctx); err != nil {
		return 0, err
	}
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

const (
	// The sums keep the planner from deliveries_due, which does not help here.
	findOldCalls = `SELECT id, state FROM calls WHERE id > $1 AND id < $2 AND ended_ms < $3
		AND NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.call_id = calls.id AND d.state + 0 = 0)
		ORDER BY id LIMIT $4`
	deleteOldCalls = `DELETE FROM calls WHERE id = ANY($1::bigint[]) AND ended_ms < $2
		AND NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.call_id = calls.id AND d.state + 0 = 0) RETURNING id`
	deleteHistory = `DELETE FROM history AS h
		USING unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[]) AS n (app_id, user_id, create_ms, call_id)
		WHERE h.app_id = n.app_id AND h.user_id = n.user_id AND h.create_ms = n.create_ms AND h.call_id = n.call_id`

	// Events of a call go after the call, those of no call when nothing is
	// pending.
	findOldEvents = `SELECT e.id, e.app_id, e.call_id = 0, e.at_ms,
			CASE e.call_id WHEN 0 THEN EXISTS (SELECT 1 FROM endpoints AS p JOIN deliveries AS d
				ON d.call_id = 0 AND d.endpoint_id = p.id AND d.sequence = e.id WHERE p.app_id = e.app_id AND d.state + 0 = 0)
			ELSE EXISTS (SELECT 1 FROM calls WHERE calls.id = e.call_id) END
		FROM events AS e WHERE e.id > $1 ORDER BY e.id LIMIT $2`
	deleteEvents = `DELETE FROM events WHERE id = ANY($1::bigint[])`
	ofOwn        = ` AS d USING unnest($1::bigint[], $2::bigint[]) AS n (id, app_id), endpoints AS p
		WHERE p.app_id = n.app_id AND d.call_id = 0 AND d.endpoint_id = p.id AND d.sequence = n.id`

	deleteOldRequests = `DELETE FROM requests WHERE (app_id, user_id, request_id) IN
		(SELECT app_id, user_id, request_id FROM requests WHERE expires_ms < $1 ORDER BY expires_ms LIMIT $2) AND expires_ms < $1`
	deleteOldNonces = `DELETE FROM nonces WHERE (app_id, nonce) IN
		(SELECT app_id, nonce FROM nonces WHERE expires_ms < $1 ORDER BY expires_ms LIMIT $2) AND expires_ms < $1`
)

// oldCall is a call that can go.
type oldCall struct {
	id    call.ID
	state []byte
}

// pruneCalls deletes calls with their history, deliveries, attempts and
// traces.
func (s *Store) pruneCalls(ctx context.Context, before call.Instant, limit int) (n int, more bool, err error) {
	limit = min(limit, pruneCalls)
	old, err := read(ctx, s, func(row pgx.CollectableRow) (o oldCall, err error) {
		return o, row.Scan((*uint64)(&o.id), &o.state)
	}, findOldCalls, s.pruner.call, int64(call.NewID(max(before, 0)+1000, 0)), int64(before), limit)
	if err != nil {
		return 0, false, err
	}
	if len(old) > 0 {
		if n, err = s.deleteCalls(ctx, old, before); err != nil {
			return 0, false, err
		}
	}
	if len(old) < limit {
		s.pruner.call = 0
		return n, false, nil
	}
	s.pruner.call = int64(old[len(old)-1].id)
	return n, true, nil
}

func (s *Store) deleteCalls(ctx context.Context, old []oldCall, before call.Instant) (n int, err error) {
	decoded := make(map[int64]*call.Call, len(old))
	ids := make([]int64, len(old))
	for i, o := range old {
		ids[i] = int64(o.id)
		if decoded[ids[i]], _, err = store.DecodeCall(o.state); err != nil {
			return 0, fmt.Errorf("call %s: %w", o.id, err)
		}
	}
	err = s.transact(ctx, func(tx pgx.Tx) error {
		gone, err := query(ctx, tx, pgx.RowTo[int64], deleteOldCalls, ids, int64(before))
		if err != nil {
			return err
		}
		n = len(gone)
		var app, created, of []int64
		var user []string
		for _, id := range gone {
			c := decoded[id]
			for i := range c.Users {
				app, user = append(app, int64(c.App)), append(user, textOf(c.Users[i].ID))
				created, of = append(created, int64(c.CreatedAt)), append(of, id)
			}
		}
		b := new(pgx.Batch)
		b.Queue(deleteHistory, app, user, created, of)
		for _, table := range []string{"deliveries", "attempts", "traces"} {
			b.Queue("DELETE FROM "+table+" WHERE call_id = ANY($1::bigint[])", gone)
		}
		return tx.SendBatch(ctx, b).Close()
	})
	return n, err
}

// oldEvent is an event that may be able to go.
type oldEvent struct {
	id     int64
	app    int64
	own    bool // it is not about a call: its deliveries go with it
	at     call.Instant
	needed bool
}

// pruneEvents deletes events of calls that are gone, and of no call.
func (s *Store) pruneEvents(ctx context.Context, before call.Instant, limit int) (n int, more bool, err error) {
	looked, err := read(ctx, s, func(row pgx.CollectableRow) (o oldEvent, err error) {
		return o, row.Scan(&o.id, &o.app, &o.own, (*int64)(&o.at), &o.needed)
	}, findOldEvents, s.pruner.event, pruneEvents)
	if err != nil {
		return 0, false, err
	}
	var last int64 // looked at
	var old, own, ownApp []int64
	for _, o := range looked {
		if len(old) == limit {
			break
		}
		if o.at >= before {
			more = false
			break
		}
		last, more = o.id, true
		if !o.needed {
			old = append(old, o.id)
			if o.own {
				own, ownApp = append(own, o.id), append(ownApp, o.app)
			}
		}
	}
	if len(old) > 0 {
		b := new(pgx.Batch)
		if len(own) > 0 {
			b.Queue("DELETE FROM deliveries"+ofOwn, own, ownApp)
			b.Queue("DELETE FROM attempts"+ofOwn, own, ownApp)
		}
		b.Queue(deleteEvents, old)
		if err := s.pipeline(ctx, b); err != nil {
			return 0, false, err
		}
	}
	if !more {
		last = 0
	}
	s.pruner.event = last
	return len(old), more, nil
}

// pruneRequests deletes requests that have expired.
func (s *Store) pruneRequests(ctx context.Context, before call.Instant, limit int) (n int, more bool, err error) {
	return s.pruneExpired(ctx, deleteOldRequests, before, limit)
}

// pruneNonces deletes nonces that have expired.
func (s *Store) pruneNonces(ctx context.Context, before call.Instant, limit int) (n int, more bool, err error) {
	return s.pruneExpired(ctx, deleteOldNonces, before, limit)
}

// pruneExpired deletes what has expired.
func (s *Store) pruneExpired(ctx context.Context, remove string, before call.Instant, limit int) (n int, more bool, err error) {
	limit = min(limit, pruneExpired)
	done, err := s.pool.Exec(ctx, remove, int64(before), limit)
	if err != nil {
		return 0, false, s.failed(ctx, err, true)
	}
	n = int(done.RowsAffected())
	return n, n == limit, nil
}
