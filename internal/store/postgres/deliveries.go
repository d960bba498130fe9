package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// The latest attempt of a delivery is in the delivery's own row, because most
// have no other. When the next comes, it moves to the table of attempts. A
// redelivery copies it there, because it changes failures and due_ms.
const (
	attemptColumns = `call_id, endpoint_id, sequence, number, started_ms, duration_ms, status, outcome, failures, due_ms, error, response, header, request`
	latestAttempt  = `d.call_id, d.endpoint_id, d.sequence, d.attempts, d.started_ms, d.duration_ms, d.status, d.outcome, d.failures, d.due_ms,
		d.error, d.response, d.header, d.request`

	listAttempts = `SELECT ` + latestAttempt + ` FROM deliveries AS d
		WHERE d.call_id = $1 AND d.endpoint_id = $2 AND d.sequence = $3 AND d.attempts > 0
			AND NOT EXISTS (SELECT 1 FROM attempts AS a
				WHERE a.call_id = $1 AND a.endpoint_id = $2 AND a.sequence = $3 AND a.number = d.attempts)
		UNION ALL
		SELECT ` + attemptColumns + ` FROM attempts WHERE call_id = $1 AND endpoint_id = $2 AND sequence = $3
		ORDER BY 4`

	deliveryColumns = `SELECT d.event_id, d.endpoint_id, e.app_id, d.call_id, d.sequence, e.name, e.at_ms, e.fields,
		d.state, d.attempts, d.failures, d.due_ms, e.test `
	// Whether a delivery is of a partition; see store.DeliveryKey.
	ofPartition = `($1::bigint >> ((CASE d.call_id WHEN 0 THEN d.sequence >> 10 ELSE d.call_id END) & 63)::integer) & 1 = 1 `
	listPending = deliveryColumns + `FROM deliveries AS d JOIN events AS e ON e.id = ANY (ARRAY[d.event_id])
		WHERE d.state = 0 AND d.endpoint_id = $2 AND d.due_ms <= $3 AND ` + ofPartition
	// The sum keeps the planner from deliveries_due, which does not help here.
	listStrict = listPending + `AND (d.call_id = 0 OR NOT EXISTS (SELECT 1 FROM deliveries AS p
		WHERE p.call_id = ANY (ARRAY[d.call_id]) AND p.endpoint_id = d.endpoint_id AND p.sequence < d.sequence AND p.state + 0 = 0)) `
	pendingOrder = `ORDER BY d.due_ms, d.event_id LIMIT $4`

	listOfCall = deliveryColumns + `FROM deliveries AS d JOIN events AS e ON e.id = ANY (ARRAY[d.event_id])
		WHERE d.call_id = $1 ORDER BY d.event_id, d.endpoint_id`

	listBacklogs = `SELECT b.endpoint_id, b.pending, e.at_ms, b.due_ms
		FROM (SELECT d.endpoint_id, count(*) AS pending, min(d.event_id) AS event_id, min(d.due_ms) AS due_ms
			FROM deliveries AS d WHERE d.state = 0 AND ` + ofPartition + `GROUP BY d.endpoint_id) AS b
		JOIN events AS e ON e.id = ANY (ARRAY[b.event_id]) ORDER BY b.endpoint_id`
)

var (
	keepAttempts = `INSERT INTO attempts (` + attemptColumns + `) SELECT ` + latestAttempt + `
		FROM ` + rows(1, "call_id, endpoint_id, sequence, number integer, state smallint") + ` AS n
		JOIN deliveries AS d ON d.call_id = ANY (ARRAY[n.call_id]) AND d.endpoint_id = n.endpoint_id AND d.sequence = n.sequence
		WHERE d.attempts > 0 AND d.attempts < n.number AND (d.state = 0 OR n.state <> 0)
		ON CONFLICT DO NOTHING`
	// What others have recorded meanwhile is not undone. Without an endpoint
	// that could get it a delivery does not stay pending.
	putAttempts = `UPDATE deliveries AS d SET attempts = n.number, failures = n.failures, due_ms = n.due_ms, started_ms = n.started_ms,
			duration_ms = n.duration_ms, status = n.status, outcome = n.state, error = n.error, response = n.response,
			header = n.header, request = n.request,
			state = CASE WHEN n.state = 0 AND (SELECT p.removed FROM endpoints AS p WHERE p.id = n.endpoint_id) THEN 2 ELSE n.state END
		FROM ` + rows(1, "call_id, endpoint_id, sequence, number integer, state smallint, failures integer, due_ms, started_ms, duration_ms, "+
		"status integer, error bytea, response bytea, header bytea, request bytea") + ` AS n
		WHERE d.call_id = ANY (ARRAY[n.call_id]) AND d.endpoint_id = n.endpoint_id AND d.sequence = n.sequence
			AND d.attempts <= n.number AND (d.state = 0 OR n.state <> 0)`
)

// RecordAttempts writes the results of attempts. Several of one delivery are
// written one after the other.
func (s *Store) RecordAttempts(ctx context.Context, attempts []store.Attempt) error {
	if err := s.check(ctx); err != nil || len(attempts) == 0 {
		return err
	}
	b := new(pgx.Batch)
	s.checkNode(b)
	for _, round := range rounds(attempts) {
		n := rowsOfAttempts(round)
		if n.later {
			b.Queue(keepAttempts, n.call, n.endpoint, n.sequence, n.number, n.state)
		}
		b.Queue(putAttempts, n.call, n.endpoint, n.sequence, n.number, n.state, n.failures, n.due, n.started, n.duration, n.status,
			n.err, n.response, n.header, n.request)
	}
	return s.pipeline(ctx, b)
}

// rounds divides attempts so that each delivery is at most once in each part,
// in an order that is the same for everybody.
func rounds(attempts []store.Attempt) (parts [][]*store.Attempt) {
	times := make(map[store.DeliveryKey]int, len(attempts))
	for i := range attempts {
		n := times[attempts[i].Delivery]
		times[attempts[i].Delivery]++
		if n == len(parts) {
			parts = append(parts, nil)
		}
		parts[n] = append(parts[n], &attempts[i])
	}
	for _, part := range parts {
		slices.SortFunc(part, func(a, b *store.Attempt) int { return compareKeys(a.Delivery, b.Delivery) })
	}
	return parts
}

func compareKeys(a, b store.DeliveryKey) int {
	return cmp.Or(cmp.Compare(a.Call, b.Call), cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Sequence, b.Sequence))
}

// attemptRows are the columns of attempts to be written.
type attemptRows struct {
	call, endpoint, sequence, due, started, duration []int64
	number, failures, status                         []int32
	state                                            []int16
	err, response, header, request                   [][]byte
	later                                            bool // one is not the first of its delivery
}

func rowsOfAttempts(attempts []*store.Attempt) *attemptRows {
	n := new(attemptRows)
	for _, a := range attempts {
		k := a.Delivery
		n.call, n.endpoint, n.sequence = append(n.call, int64(k.Call)), append(n.endpoint, int64(k.Endpoint)), append(n.sequence, k.Sequence)
		n.due, n.started, n.duration = append(n.due, int64(a.Due)), append(n.started, int64(a.Started)), append(n.duration, a.Duration)
		n.number, n.failures, n.status = append(n.number, int32(a.Number)), append(n.failures, int32(a.Failures)), append(n.status, int32(a.Status))
		n.state, n.request = append(n.state, int16(a.State)), append(n.request, a.Request)
		// These come from others, and may hold anything.
		n.err, n.response, n.header = append(n.err, []byte(a.Error)), append(n.response, []byte(a.Response)), append(n.header, []byte(a.Header))
		n.later = n.later || a.Number > 1
	}
	return n
}

// PendingDeliveries lists what an endpoint still has to get.
func (s *Store) PendingDeliveries(ctx context.Context, parts store.PartitionSet, endpoint store.EndpointID, dueBy call.Instant, strict bool, limit int) ([]*store.Delivery, error) {
	sql := either(strict, listStrict, listPending) + pendingOrder
	deliveries, err := read(ctx, s, readDelivery, sql, int64(parts), int64(endpoint), int64(dueBy), limit)
	if err != nil {
		return nil, fmt.Errorf("list pending deliveries of endpoint %d: %w", endpoint, err)
	}
	return deliveries, nil
}

// DeliveriesOf lists the deliveries of a call.
func (s *Store) DeliveriesOf(ctx context.Context, id call.ID) ([]*store.Delivery, error) {
	deliveries, err := read(ctx, s, readDelivery, listOfCall, int64(id))
	if err != nil {
		return nil, fmt.Errorf("list deliveries of call %s: %w", id, err)
	}
	return deliveries, nil
}

// readDelivery reads a row of deliveryColumns.
func readDelivery(row pgx.CollectableRow) (*store.Delivery, error) {
	d := new(store.Delivery)
	err := row.Scan(columnsOf(d)...)
	return d, settled(d, err)
}

// columnsOf gives where the columns of deliveryColumns go.
func columnsOf(d *store.Delivery) []any {
	return []any{
		(*int64)(&d.Event), (*int64)(&d.Endpoint), &d.App, (*uint64)(&d.Call), &d.Sequence, into(&d.Name), (*int64)(&d.At), &d.Fields,
		(*int)(&d.State), &d.Attempts, &d.Failures, (*int64)(&d.Due), &d.Test,
	}
}

// settled hides the sequence of a delivery that is not about a call.
func settled(d *store.Delivery, err error) error {
	if d.Call == 0 {
		d.Sequence = 0
	}
	return err
}

// Attempts lists the attempts of one delivery.
func (s *Store) Attempts(ctx context.Context, key store.DeliveryKey) ([]store.Attempt, error) {
	attempts, err := read(ctx, s, readAttempt, listAttempts, int64(key.Call), int64(key.Endpoint), key.Sequence)
	if err != nil {
		return nil, fmt.Errorf("list attempts of a delivery of call %s: %w", key.Call, err)
	}
	return attempts, nil
}

// readAttempt reads a row of attemptColumns.
func readAttempt(row pgx.CollectableRow) (a store.Attempt, err error) {
	var failed, response, header []byte
	err = row.Scan((*uint64)(&a.Delivery.Call), (*int64)(&a.Delivery.Endpoint), &a.Delivery.Sequence, &a.Number, (*int64)(&a.Started), &a.Duration,
		&a.Status, (*int)(&a.State), &a.Failures, (*int64)(&a.Due), &failed, &response, &header, &a.Request)
	a.Error, a.Response, a.Header = string(failed), string(response), string(header)
	return a, err
}

// Backlogs says how much each endpoint is due.
func (s *Store) Backlogs(ctx context.Context, parts store.PartitionSet) ([]store.Backlog, error) {
	backlogs, err := read(ctx, s, func(row pgx.CollectableRow) (b store.Backlog, err error) {
		return b, row.Scan((*int64)(&b.Endpoint), &b.Pending, (*int64)(&b.Oldest), (*int64)(&b.NextDue))
	}, listBacklogs, int64(parts))
	if err != nil {
		return nil, fmt.Errorf("count pending deliveries: %w", err)
	}
	return backlogs, nil
}

func either(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}
