package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

const (
	// Traces need not survive a crash, so nobody waits for the disk.
	noSync       = `SELECT set_config('synchronous_commit', 'off', true)`
	appendTraces = `INSERT INTO traces (call_id, data)
		SELECT n.call_id, n.data FROM unnest($1::bigint[], $2::bytea[]) WITH ORDINALITY AS n (call_id, data, i)
		JOIN calls AS c ON c.id = ANY (ARRAY[n.call_id]) AND c.version > 0 ORDER BY n.i`
	listTraces = `SELECT data FROM traces WHERE call_id = $1 ORDER BY id`
)

// AppendTraces adds to the traces of calls.
func (s *Store) AppendTraces(ctx context.Context, traces []store.Trace) error {
	if err := s.check(ctx); err != nil || len(traces) == 0 {
		return err
	}
	calls, data := make([]int64, len(traces)), make([][]byte, len(traces))
	for i, t := range traces {
		calls[i], data[i] = int64(t.Call), t.Data
	}
	b := new(pgx.Batch)
	b.Queue(noSync)
	b.Queue(appendTraces, calls, data)
	return s.pipeline(ctx, b)
}

// TraceOf lists the parts of a call's trace.
func (s *Store) TraceOf(ctx context.Context, id call.ID) ([]store.Trace, error) {
	traces, err := read(ctx, s, func(row pgx.CollectableRow) (store.Trace, error) {
		t := store.Trace{Call: id}
		return t, row.Scan(&t.Data)
	}, listTraces, int64(id))
	if err != nil {
		return nil, fmt.Errorf("read trace of call %s: %w", id, err)
	}
	return traces, nil
}
