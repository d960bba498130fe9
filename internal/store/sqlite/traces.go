package sqlite

import (
	"context"
	"fmt"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

const (
	appendTrace = `INSERT INTO traces (call_id, n, data)
		SELECT ?1, 1 + coalesce((SELECT max(n) FROM traces WHERE call_id = ?1), 0), ?2 FROM calls WHERE id = ?1`
	listTraces = `SELECT data FROM traces WHERE call_id = ?1 ORDER BY n`
)

// AppendTraces adds to the traces of calls.
func (s *Store) AppendTraces(ctx context.Context, traces []store.Trace) error {
	return s.submit(ctx, func(w *writer) error {
		for _, t := range traces {
			if err := w.conn.on(appendTrace).int(int64(t.Call)).blob(t.Data).run(); err != nil {
				return fmt.Errorf("trace of call %s: %w", t.Call, err)
			}
		}
		return nil
	})
}

// TraceOf lists the parts of a call's trace.
func (s *Store) TraceOf(ctx context.Context, id call.ID) ([]store.Trace, error) {
	var traces []store.Trace
	err := s.read(ctx, func(c *conn) error {
		st := c.on(listTraces).int(int64(id))
		for st.next() {
			traces = append(traces, store.Trace{Call: id, Data: st.bytes(0)})
		}
		return st.end()
	})
	if err != nil {
		return nil, fmt.Errorf("read trace of call %s: %w", id, err)
	}
	return traces, nil
}
