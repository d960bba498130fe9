package sqlite

import (
	"context"
	"fmt"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

const (
	findByKey = deliveryColumns + `FROM deliveries AS d CROSS JOIN events AS e ON e.id = d.event_id
		WHERE d.call_id = ?1 AND d.endpoint_id = ?2 AND d.sequence = ?3`
	redeliver = `UPDATE deliveries SET state = 0, failures = 0, due_ms = ?1 WHERE call_id = ?2 AND endpoint_id = ?3 AND sequence = ?4`

	insertJob = `INSERT INTO redeliveries (query, state, per_second, total, done, skipped, created_ms, ended_ms)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)`
	updateJob = `UPDATE redeliveries SET query = ?1, state = ?2, per_second = ?3, total = ?4, done = ?5, skipped = ?6,
		created_ms = ?7, ended_ms = ?8 WHERE id = ?9`

	jobColumns = `SELECT id, query, state, per_second, total, done, skipped, created_ms, ended_ms FROM redeliveries `
	findJob    = jobColumns + `WHERE id = ?1`
	listJobs   = jobColumns + `WHERE id < ?1 ORDER BY id DESC LIMIT ?2`
)

// Redeliver makes deliveries pending.
func (s *Store) Redeliver(ctx context.Context, keys []store.DeliveryKey, job *store.Redelivery, now call.Instant) ([]*store.Delivery, error) {
	var made []*store.Delivery
	var updated store.Redelivery
	err := s.submit(ctx, func(w *writer) error {
		made = nil
		if job != nil {
			if err := w.checkJob(job.ID); err != nil {
				return err
			}
		}
		for _, key := range keys {
			d, err := w.redeliver(key, now)
			if err != nil {
				return err
			}
			if d != nil {
				made = append(made, d)
			}
		}
		if job == nil {
			return nil
		}
		updated = *job
		updated.Done += len(made)
		updated.Skipped += len(keys) - len(made)
		_, err := w.putJob(&updated)
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

// redeliver gives nil when it passes a delivery over.
func (w *writer) redeliver(key store.DeliveryKey, now call.Instant) (*store.Delivery, error) {
	if w.removed[key.Endpoint] {
		return nil, nil
	}
	st := w.conn.on(findByKey).int(int64(key.Call)).int(int64(key.Endpoint)).int(key.Sequence)
	var d *store.Delivery
	if st.next() {
		d = new(readDelivery(st))
	}
	if err := st.end(); err != nil {
		return nil, err
	}
	if d == nil || d.State == store.Pending {
		return nil, nil
	}
	if err := w.conn.on(keepAttempt).int(int64(key.Call)).int(int64(key.Endpoint)).int(key.Sequence).
		int(int64(d.Attempts) + 1).run(); err != nil {
		return nil, err
	}
	d.State, d.Failures, d.Due = store.Pending, 0, now
	return d, w.conn.on(redeliver).int(int64(now)).int(int64(key.Call)).int(int64(key.Endpoint)).int(key.Sequence).run()
}

// PutRedelivery writes a job.
func (s *Store) PutRedelivery(ctx context.Context, job *store.Redelivery, audit *store.Audit) error {
	var id, auditID int64
	err := s.submit(ctx, func(w *writer) (err error) {
		if job.ID != 0 {
			if err := w.checkJob(job.ID); err != nil {
				return err
			}
		}
		if id, err = w.putJob(job); err != nil {
			return err
		}
		auditID, err = w.addAudit(audit)
		return err
	})
	if err == nil {
		job.ID = id
		setAuditID(audit, auditID)
	}
	return err
}

// checkJob refuses to change a job that does not exist, or has ended.
func (w *writer) checkJob(id int64) error {
	job, err := findRedelivery(w.conn, id)
	switch {
	case err != nil:
		return err
	case job == nil:
		return store.ErrNotFound
	case job.State != store.RedeliveryRunning:
		return store.ErrConflict
	}
	return nil
}

// putJob writes a job and gives its ID.
func (w *writer) putJob(job *store.Redelivery) (int64, error) {
	sql := insertJob
	if job.ID != 0 {
		sql = updateJob
	}
	st := w.conn.on(sql).blob(store.EncodeQuery(&job.Query)).int(int64(job.State)).int(int64(job.PerSecond)).int(int64(job.Total)).
		int(int64(job.Done)).int(int64(job.Skipped)).int(int64(job.CreatedAt)).int(int64(job.EndedAt))
	if job.ID != 0 {
		return job.ID, st.int(job.ID).run()
	}
	if err := st.run(); err != nil {
		return 0, err
	}
	return w.conn.LastInsertRowID(), nil
}

// Redelivery reads a job.
func (s *Store) Redelivery(ctx context.Context, id int64) (*store.Redelivery, error) {
	var job *store.Redelivery
	err := s.read(ctx, func(c *conn) (err error) {
		job, err = findRedelivery(c, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read redelivery %d: %w", id, err)
	}
	if job == nil {
		return nil, store.ErrNotFound
	}
	return job, nil
}

// findRedelivery gives nil when there is none of that ID.
func findRedelivery(c *conn, id int64) (*store.Redelivery, error) {
	st := c.on(findJob).int(id)
	var job *store.Redelivery
	var err error
	if st.next() {
		job, err = readJob(st)
	}
	return job, firstError(st.end(), err)
}

// ListRedeliveries lists jobs, the newest first.
func (s *Store) ListRedeliveries(ctx context.Context, before int64, limit int) ([]*store.Redelivery, error) {
	var jobs []*store.Redelivery
	err := s.read(ctx, func(c *conn) error {
		st := c.on(listJobs).int(orLast(before)).int(int64(limit))
		for st.next() {
			job, err := readJob(st)
			if err != nil {
				st.end()
				return err
			}
			jobs = append(jobs, job)
		}
		return st.end()
	})
	if err != nil {
		return nil, fmt.Errorf("list redeliveries: %w", err)
	}
	return jobs, nil
}

// readJob reads a row of jobColumns.
func readJob(st *statement) (*store.Redelivery, error) {
	query, err := store.DecodeQuery(st.ColumnRawBlob(1))
	if err != nil {
		return nil, err
	}
	return &store.Redelivery{
		ID: st.ColumnInt64(0), Query: query, State: store.RedeliveryState(st.ColumnInt(2)), PerSecond: st.ColumnInt(3),
		Total: st.ColumnInt(4), Done: st.ColumnInt(5), Skipped: st.ColumnInt(6),
		CreatedAt: call.Instant(st.ColumnInt64(7)), EndedAt: call.Instant(st.ColumnInt64(8)),
	}, nil
}
