package postgres

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/store"
)

// Ping reports whether the database answers and can be written, by writing
// something that nobody reads. It needs no more room, so it says nothing about
// that.
func (s *Store) Ping(ctx context.Context) error {
	b := new(pgx.Batch)
	b.Queue("UPDATE marks SET n = n + 1 WHERE id = 1")
	return s.failed(ctx, s.look(ctx, b), false) // whether it is written matters to nobody
}

// Headroom gives ErrFull for five seconds after the server had no room.
func (s *Store) Headroom() error {
	if s.line.Closed() {
		return store.ErrClosed
	}
	return s.room.check()
}

// headroom remembers when the disk of the server was full.
type headroom struct {
	full atomic.Int64 // Unix nanoseconds; 0: never
}

// fullFor is how long a full disk keeps new calls from beginning; then the
// next one tries.
const fullFor = 5 * time.Second

func (h *headroom) check() error {
	full := h.full.Load()
	if full == 0 || time.Since(time.Unix(0, full)) > fullFor {
		return nil
	}
	return fmt.Errorf("%w: the disk of the database is full; make room there", store.ErrFull)
}

func (h *headroom) ranOut() { h.full.Store(time.Now().UnixNano()) }
