package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

const (
	// Nobody removes these endpoints before the transaction is over.
	lockEndpoints = `SELECT id FROM endpoints WHERE id = ANY($1::bigint[]) AND NOT removed ORDER BY id FOR SHARE`

	insertJob = `INSERT INTO redeliveries (query, state, per_second, total, done, skipped, created_ms, ended_ms)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id`
	updateJob = `UPDATE redeliveries SET query = $1, state = $2, per_second = $3, total = $4, done = $5, skipped = $6,
		created_ms = $7, ended_ms = $8 WHERE id = $9 RETURNING id`
	lockJob = `SELECT state FROM redeliveries WHERE id = $1 FOR UPDATE`

	jobColumns = `SELECT id, query, state, per_second, total, done, skipped, created_ms, ended_ms FROM redeliveries `
	findJob    = jobColumns + `WHERE id = $1`
	listJobs   = jobColumns + `WHERE id < $1 ORDER BY id DESC LIMIT $2`
)

var (
	keepLatest = `INSERT INTO attempts (` + attemptColumns + `) SELECT ` + latestAttempt + `
		FROM ` + rows(1, "call_id, endpoint_id, sequence") + ` AS n
		JOIN deliveries AS d ON d.call_id = ANY (ARRAY[n.call_id]) AND d.endpoint_id = n.endpoint_id AND d.sequence = n.sequence
		WHERE d.attempts > 0 AND d.state <> 0
		ON CONFLICT DO NOTHING`
	redeliver = `UPDATE deliveries AS d SET state = 0, failures = 0, due_ms = $1
		FROM ` + rows(2, "call_id, endpoint_id, sequence") + ` AS n, events AS e
		WHERE d.call_id = ANY (ARRAY[n.call_id]) AND d.endpoint_id = n.endpoint_id AND d.sequence = n.sequence AND d.state <> 0
			AND e.id = ANY (ARRAY[d.event_id])
		RETURNING d.event_id, d.endpoint_id, e.app_id, d.call_id, d.sequence, e.name, e.at_ms, e.fields,
			d.state, d.attempts, d.failures, d.due_ms, e.test`
)

// Redeliver makes deliveries pending.
func (s *Store) Redeliver(ctx context.Context, keys []store.DeliveryKey, job *store.Redelivery, now call.Instant) ([]*store.Delivery, error) {
	var made []*store.Delivery
	var updated store.Redelivery
	err := s.transact(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		if node := s.node.Load(); node != 0 {
			if _, err := tx.Exec(ctx, fenceShared, node); err != nil {
				return err
			}
		}
		if job != nil {
			if err := checkJob(ctx, tx, job.ID); err != nil {
				return err
			}
		}
		if made, err = redeliverAll(ctx, tx, keys, now); err != nil || job == nil {
			return err
		}
		updated = *job
		updated.Done += len(made)
		updated.Skipped += len(keys) - len(made)
		_, err = putJob(ctx, tx, &updated)
		return err
	})
	if err != nil {
		return nil, err
	}
	if job != nil {
		job.Done, job.Skipped = updated.Done, updated.Skipped
	}
	return made, nil
}

// redeliverAll gives those that it made pending, in the order of keys.
func redeliverAll(ctx context.Context, tx pgx.Tx, keys []store.DeliveryKey, now call.Instant) ([]*store.Delivery, error) {
	endpoints := make([]int64, len(keys))
	for i, key := range keys {
		endpoints[i] = int64(key.Endpoint)
	}
	there, err := query(ctx, tx, pgx.RowTo[int64], lockEndpoints, endpoints)
	if err != nil || len(there) == 0 {
		return nil, err
	}
	sorted := slices.DeleteFunc(slices.Clone(keys), func(k store.DeliveryKey) bool { return !slices.Contains(there, int64(k.Endpoint)) })
	slices.SortFunc(sorted, compareKeys)
	sorted = slices.Compact(sorted)
	var calls, sequences []int64
	endpoints = endpoints[:0]
	for _, key := range sorted {
		calls, endpoints, sequences = append(calls, int64(key.Call)), append(endpoints, int64(key.Endpoint)), append(sequences, key.Sequence)
	}
	if _, err := tx.Exec(ctx, keepLatest, calls, endpoints, sequences); err != nil {
		return nil, err
	}
	made, err := query(ctx, tx, readDelivery, redeliver, int64(now), calls, endpoints, sequences)
	place := make(map[store.DeliveryKey]int, len(keys))
	for i, key := range keys {
		if _, again := place[key]; !again {
			place[key] = i
		}
	}
	slices.SortFunc(made, func(a, b *store.Delivery) int { return place[a.Key()] - place[b.Key()] })
	return made, err
}

// PutRedelivery writes a job.
func (s *Store) PutRedelivery(ctx context.Context, job *store.Redelivery, audit *store.Audit) error {
	var id, auditID int64
	err := s.transact(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		if job.ID != 0 {
			if err := checkJob(ctx, tx, job.ID); err != nil {
				return err
			}
		}
		if id, err = putJob(ctx, tx, job); err != nil {
			return err
		}
		auditID, err = addAudit(ctx, tx, audit)
		return err
	})
	if err == nil {
		job.ID = id
		setAuditID(audit, auditID)
	}
	return err
}

// checkJob refuses to change a job that does not exist, or has ended, and
// keeps others from changing it.
func checkJob(ctx context.Context, tx pgx.Tx, id int64) error {
	var state store.RedeliveryState
	err := tx.QueryRow(ctx, lockJob, id).Scan((*int)(&state))
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return store.ErrNotFound
	case err == nil && state != store.RedeliveryRunning:
		return store.ErrConflict
	}
	return err
}

// putJob writes a job and gives its ID.
func putJob(ctx context.Context, tx pgx.Tx, job *store.Redelivery) (id int64, err error) {
	sql := insertJob
	args := []any{
		store.EncodeQuery(&job.Query), int(job.State), job.PerSecond, job.Total, job.Done, job.Skipped, int64(job.CreatedAt), int64(job.EndedAt),
	}
	if job.ID != 0 {
		sql, args = updateJob, append(args, job.ID)
	}
	return id, tx.QueryRow(ctx, sql, args...).Scan(&id)
}

// Redelivery reads a job.
func (s *Store) Redelivery(ctx context.Context, id int64) (*store.Redelivery, error) {
	jobs, err := read(ctx, s, readJob, findJob, id)
	if err != nil {
		return nil, fmt.Errorf("read redelivery %d: %w", id, err)
	}
	if len(jobs) == 0 {
		return nil, store.ErrNotFound
	}
	return jobs[0], nil
}

// ListRedeliveries lists jobs, the newest first.
func (s *Store) ListRedeliveries(ctx context.Context, before int64, limit int) ([]*store.Redelivery, error) {
	jobs, err := read(ctx, s, readJob, listJobs, orLast(before), limit)
	if err != nil {
		return nil, fmt.Errorf("list redeliveries: %w", err)
	}
	return jobs, nil
}

// readJob reads a row of jobColumns.
func readJob(row pgx.CollectableRow) (*store.Redelivery, error) {
	job := new(store.Redelivery)
	var encoded []byte
	err := row.Scan(&job.ID, &encoded, (*int)(&job.State), &job.PerSecond, &job.Total, &job.Done, &job.Skipped, (*int64)(&job.CreatedAt), (*int64)(&job.EndedAt))
	if err != nil {
		return nil, err
	}
	job.Query, err = store.DecodeQuery(encoded)
	return job, err
}
