package sqlite

import (
	"context"
	"fmt"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// The latest attempt of a delivery is in the delivery's own row, because most
// have no other. When the next comes, it moves to the table of attempts. A
// redelivery copies it there, because it changes failures and due_ms.
const (
	keepAttempt = `INSERT OR IGNORE INTO attempts (call_id, endpoint_id, sequence, number, started_ms, duration_ms, status,
			outcome, failures, due_ms, error, response, header, request)
		SELECT call_id, endpoint_id, sequence, attempts, started_ms, duration_ms, status, outcome, failures, due_ms, error, response,
			header, request
		FROM deliveries WHERE call_id = ?1 AND endpoint_id = ?2 AND sequence = ?3 AND attempts > 0 AND attempts <> ?4`
	putAttempt = `UPDATE deliveries SET state = ?1, attempts = ?2, failures = ?3, due_ms = ?4, started_ms = ?5, duration_ms = ?6,
			status = ?7, outcome = ?8, error = ?9, response = ?10, header = ?11, request = ?12
		WHERE call_id = ?13 AND endpoint_id = ?14 AND sequence = ?15 AND attempts <= ?2 AND (state = 0 OR ?1 <> 0)`

	listAttempts = `SELECT d.attempts AS number, d.started_ms, d.duration_ms, d.status, d.outcome, d.failures, d.due_ms, d.error,
			d.response, d.header, d.request
		FROM deliveries AS d WHERE d.call_id = ?1 AND d.endpoint_id = ?2 AND d.sequence = ?3 AND d.attempts > 0
			AND NOT EXISTS (SELECT 1 FROM attempts AS a
				WHERE a.call_id = ?1 AND a.endpoint_id = ?2 AND a.sequence = ?3 AND a.number = d.attempts)
		UNION ALL
		SELECT number, started_ms, duration_ms, status, outcome, failures, due_ms, error, response, header, request
		FROM attempts WHERE call_id = ?1 AND endpoint_id = ?2 AND sequence = ?3
		ORDER BY number`

	deliveryColumns = `SELECT d.event_id, d.endpoint_id, e.app_id, d.call_id, d.sequence, e.name, e.at_ms, e.fields,
		d.state, d.attempts, d.failures, d.due_ms, e.test `
	listPending = deliveryColumns + `FROM deliveries AS d INDEXED BY deliveries_due CROSS JOIN events AS e ON e.id = d.event_id
		WHERE d.state = 0 AND d.endpoint_id = ?1 AND d.due_ms <= ?2 AND ?4 >> (CASE d.call_id WHEN 0 THEN d.sequence >> 10 & 63 ELSE d.call_id & 63 END) & 1 `
	listStrict = listPending + `AND (d.call_id = 0 OR NOT EXISTS (SELECT 1 FROM deliveries AS p
		WHERE p.call_id = d.call_id AND p.endpoint_id = d.endpoint_id AND p.sequence < d.sequence AND p.state = 0)) `
	pendingOrder = `ORDER BY d.due_ms, d.event_id LIMIT ?3`

	listOfCall = deliveryColumns + `FROM deliveries AS d CROSS JOIN events AS e ON e.id = d.event_id
		WHERE d.call_id = ?1 ORDER BY d.event_id, d.endpoint_id`

	listBacklogs = `SELECT b.endpoint_id, b.pending, e.at_ms, b.due_ms
		FROM (SELECT endpoint_id, count(*) AS pending, min(event_id) AS event_id, min(due_ms) AS due_ms
			FROM deliveries AS d INDEXED BY deliveries_due
			WHERE state = 0 AND ?1 >> (CASE d.call_id WHEN 0 THEN d.sequence >> 10 & 63 ELSE d.call_id & 63 END) & 1 GROUP BY endpoint_id) AS b
		CROSS JOIN events AS e ON e.id = b.event_id ORDER BY b.endpoint_id`
)

// RecordAttempts writes the results of attempts.
func (s *Store) RecordAttempts(ctx context.Context, attempts []store.Attempt) error {
	return s.submit(ctx, func(w *writer) error {
		for i := range attempts {
			if err := w.recordAttempt(&attempts[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *writer) recordAttempt(a *store.Attempt) error {
	key := a.Delivery
	if a.Number > 1 {
		if err := w.conn.on(keepAttempt).int(int64(key.Call)).int(int64(key.Endpoint)).int(key.Sequence).
			int(int64(a.Number)).run(); err != nil {
			return err
		}
	}
	state := a.State
	if state == store.Pending && w.removed[key.Endpoint] {
		state = store.Failed // there is no endpoint left to get it
	}
	return w.conn.on(putAttempt).int(int64(state)).int(int64(a.Number)).int(int64(a.Failures)).int(int64(a.Due)).
		int(int64(a.Started)).int(a.Duration).int(int64(a.Status)).int(int64(a.State)).text(a.Error).text(a.Response).
		text(a.Header).blob(a.Request).
		int(int64(key.Call)).int(int64(key.Endpoint)).int(key.Sequence).run()
}

// PendingDeliveries lists what an endpoint still has to get.
func (s *Store) PendingDeliveries(ctx context.Context, parts store.PartitionSet, endpoint store.EndpointID, dueBy call.Instant, strict bool, limit int) ([]*store.Delivery, error) {
	query := listPending + pendingOrder
	if strict {
		query = listStrict + pendingOrder
	}
	deliveries, err := s.listDeliveries(ctx, func(c *conn) *statement {
		return c.on(query).int(int64(endpoint)).int(int64(dueBy)).int(int64(limit)).int(int64(parts))
	})
	if err != nil {
		return nil, fmt.Errorf("list pending deliveries of endpoint %d: %w", endpoint, err)
	}
	return deliveries, nil
}

// DeliveriesOf lists the deliveries of a call.
func (s *Store) DeliveriesOf(ctx context.Context, id call.ID) ([]*store.Delivery, error) {
	deliveries, err := s.listDeliveries(ctx, func(c *conn) *statement { return c.on(listOfCall).int(int64(id)) })
	if err != nil {
		return nil, fmt.Errorf("list deliveries of call %s: %w", id, err)
	}
	return deliveries, nil
}

func (s *Store) listDeliveries(ctx context.Context, query func(c *conn) *statement) ([]*store.Delivery, error) {
	var deliveries []*store.Delivery
	err := s.read(ctx, func(c *conn) error {
		st := query(c)
		for st.next() {
			deliveries = append(deliveries, new(readDelivery(st)))
		}
		return st.end()
	})
	return deliveries, err
}

// readDelivery reads a row that begins with deliveryColumns.
func readDelivery(st *statement) store.Delivery {
	d := store.Delivery{
		Event: store.EventID(st.ColumnInt64(0)), Endpoint: store.EndpointID(st.ColumnInt64(1)),
		App: uint32(st.ColumnInt64(2)), Call: call.ID(st.ColumnInt64(3)), Sequence: st.ColumnInt(4),
		Name: st.ColumnText(5), At: call.Instant(st.ColumnInt64(6)), Fields: st.bytes(7),
		State: store.DeliveryState(st.ColumnInt(8)), Attempts: st.ColumnInt(9), Failures: st.ColumnInt(10),
		Due: call.Instant(st.ColumnInt64(11)), Test: st.ColumnInt64(12) != 0,
	}
	if d.Call == 0 {
		d.Sequence = 0
	}
	return d
}

// Attempts lists the attempts of one delivery.
func (s *Store) Attempts(ctx context.Context, key store.DeliveryKey) ([]store.Attempt, error) {
	var attempts []store.Attempt
	err := s.read(ctx, func(c *conn) error {
		st := c.on(listAttempts).int(int64(key.Call)).int(int64(key.Endpoint)).int(key.Sequence)
		for st.next() {
			attempts = append(attempts, store.Attempt{
				Delivery: key, Number: st.ColumnInt(0), Started: call.Instant(st.ColumnInt64(1)), Duration: st.ColumnInt64(2),
				Status: st.ColumnInt(3), State: store.DeliveryState(st.ColumnInt(4)), Failures: st.ColumnInt(5),
				Due: call.Instant(st.ColumnInt64(6)), Error: st.ColumnText(7), Response: st.ColumnText(8),
				Header: st.ColumnText(9), Request: st.bytes(10),
			})
		}
		return st.end()
	})
	if err != nil {
		return nil, fmt.Errorf("list attempts of a delivery of call %s: %w", key.Call, err)
	}
	return attempts, nil
}

// Backlogs says how much each endpoint is due.
func (s *Store) Backlogs(ctx context.Context, parts store.PartitionSet) ([]store.Backlog, error) {
	var backlogs []store.Backlog
	err := s.read(ctx, func(c *conn) error {
		st := c.on(listBacklogs).int(int64(parts))
		for st.next() {
			backlogs = append(backlogs, store.Backlog{
				Endpoint: store.EndpointID(st.ColumnInt64(0)), Pending: st.ColumnInt(1),
				Oldest: call.Instant(st.ColumnInt64(2)), NextDue: call.Instant(st.ColumnInt64(3)),
			})
		}
		return st.end()
	})
	if err != nil {
		return nil, fmt.Errorf("count pending deliveries: %w", err)
	}
	return backlogs, nil
}
