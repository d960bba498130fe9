package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/scan"
)

// pruneSteps are such that a step, which is a transaction, holds up nobody.
var pruneSteps = scan.Steps{Calls: 100, Events: 500, Expired: 500}

// Prune deletes what is over since before an instant.
func (s *Store) Prune(ctx context.Context, before call.Instant, limit int) (int, error) {
	if err := s.check(ctx); err != nil {
		return 0, err
	}
	n, err := s.pruner.Prune(ctx, before, limit)
	if err == nil && n < limit {
		err = s.pruneDays(ctx, before)
	}
	return n, err
}

// pruneDays deletes days of which the history has nothing any more.
func (s *Store) pruneDays(ctx context.Context, before call.Instant) error {
	days, err := read(ctx, s, pgx.RowTo[int64], findOldDays, int64(before))
	if err != nil || len(days) == 0 {
		return err
	}
	b := new(pgx.Batch)
	b.Queue(takeHead, s.lock) // nobody adds to them now
	b.Queue(deleteOldDays, days)
	return s.pipeline(ctx, b)
}

const (
	// The sums keep the planner from deliveries_due, which does not help here.
	findOldCalls = `SELECT id, state FROM calls WHERE id > $1 AND id < $2 AND ended_ms < $3
		AND NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.call_id = ANY (ARRAY[calls.id]) AND d.state + 0 = 0)
		ORDER BY id LIMIT $4`
	deleteOldCalls = `DELETE FROM calls WHERE id = ANY($1::bigint[]) AND ended_ms < $2
		AND NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.call_id = ANY (ARRAY[calls.id]) AND d.state + 0 = 0) RETURNING id`
	// Of days that can hardly get anything any more.
	findOldDays = `SELECT d.day FROM history_days AS d WHERE d.day < $1 / 86400000::bigint
		AND ` + emptyDay
	emptyDay      = `(SELECT h.day FROM history AS h WHERE h.day = d.day LIMIT 1) IS NULL`
	deleteOldDays = `DELETE FROM history_days AS d WHERE d.day = ANY($1::bigint[]) AND ` + emptyDay

	// Events of a call go after the call, those of no call when nothing is
	// pending.
	findOldEvents = `SELECT e.id, e.app_id, e.call_id, e.at_ms,
			CASE e.call_id WHEN 0 THEN EXISTS (SELECT 1 FROM endpoints AS p JOIN deliveries AS d
				ON d.call_id = 0 AND d.endpoint_id = p.id AND d.sequence = e.id WHERE p.app_id = e.app_id AND d.state + 0 = 0)
			ELSE (SELECT true FROM calls WHERE calls.id = e.call_id) IS NOT NULL END
		FROM events AS e WHERE e.id > $1 ORDER BY e.id LIMIT $2`
	deleteEvents = `DELETE FROM events WHERE id = ANY($1::bigint[])`

	deleteOldRequests = `DELETE FROM requests WHERE (app_id, user_id, request_id) IN
		(SELECT app_id, user_id, request_id FROM requests WHERE expires_ms < $1 ORDER BY expires_ms LIMIT $2) AND expires_ms < $1`
	deleteOldNonces = `DELETE FROM nonces WHERE (app_id, nonce) IN
		(SELECT app_id, nonce FROM nonces WHERE expires_ms < $1 ORDER BY expires_ms LIMIT $2) AND expires_ms < $1`
)

var (
	deleteHistory = `DELETE FROM history AS h
		USING ` + rows(1, "app_id, user_id text, create_ms, call_id") + ` AS n
		WHERE h.day = ANY (ARRAY[n.create_ms / 86400000]) AND h.app_id = n.app_id AND h.user_id = n.user_id AND h.create_ms = n.create_ms
			AND h.call_id = n.call_id`
	ofOwn = ` AS d USING ` + rows(1, "id, app_id") + ` AS n, endpoints AS p
		WHERE p.app_id = n.app_id AND d.call_id = 0 AND d.endpoint_id = p.id AND d.sequence = n.id`
)

// old is what a prune looks at and deletes.
type old struct{ *Store }

// OldCalls implements scan.Old.
func (o old) OldCalls(ctx context.Context, after, below call.ID, before call.Instant, limit int) ([]scan.StoredCall, error) {
	return read(ctx, o.Store, func(row pgx.CollectableRow) (c scan.StoredCall, err error) {
		return c, row.Scan((*uint64)(&c.ID), &c.State)
	}, findOldCalls, int64(after), int64(below), int64(before), limit)
}

// DeleteCalls implements scan.Old.
func (o old) DeleteCalls(ctx context.Context, calls []*call.Call, before call.Instant) (n int, err error) {
	byID := make(map[int64]*call.Call, len(calls))
	ids := make([]int64, len(calls))
	for i, c := range calls {
		ids[i] = int64(c.ID)
		byID[ids[i]] = c
	}
	err = o.transact(ctx, func(ctx context.Context, tx pgx.Tx) error {
		gone, err := query(ctx, tx, pgx.RowTo[int64], deleteOldCalls, ids, int64(before))
		if err != nil {
			return err
		}
		n = len(gone)
		var app, created, of []int64
		var user []string
		for _, id := range gone {
			c := byID[id]
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

// Events implements scan.Old.
func (o old) Events(ctx context.Context, after store.EventID, limit int, each func(scan.Event) bool) error {
	looked, err := read(ctx, o.Store, func(row pgx.CollectableRow) (e scan.Event, err error) {
		return e, row.Scan((*int64)(&e.ID), &e.App, (*uint64)(&e.Call), (*int64)(&e.At), &e.Needed)
	}, findOldEvents, int64(after), limit)
	for _, e := range looked {
		if !each(e) {
			break
		}
	}
	return err
}

// DeleteEvents implements scan.Old.
func (o old) DeleteEvents(ctx context.Context, events []scan.Event) error {
	var ids, own, ownApp []int64
	for _, e := range events {
		ids = append(ids, int64(e.ID))
		if e.Call == 0 {
			own, ownApp = append(own, int64(e.ID)), append(ownApp, int64(e.App))
		}
	}
	b := new(pgx.Batch)
	if len(own) > 0 {
		b.Queue("DELETE FROM deliveries"+ofOwn, own, ownApp)
		b.Queue("DELETE FROM attempts"+ofOwn, own, ownApp)
	}
	b.Queue(deleteEvents, ids)
	return o.pipeline(ctx, b)
}

// DeleteRequests implements scan.Old.
func (o old) DeleteRequests(ctx context.Context, before call.Instant, limit int) (int, error) {
	return o.deleteExpired(ctx, deleteOldRequests, before, limit)
}

// DeleteNonces implements scan.Old.
func (o old) DeleteNonces(ctx context.Context, before call.Instant, limit int) (int, error) {
	return o.deleteExpired(ctx, deleteOldNonces, before, limit)
}

func (o old) deleteExpired(ctx context.Context, remove string, before call.Instant, limit int) (int, error) {
	within, cancel := o.within(ctx)
	defer cancel()
	done, err := o.pool.Exec(within, remove, int64(before), limit)
	if err != nil {
		return 0, o.failed(ctx, err, true)
	}
	return int(done.RowsAffected()), nil
}
