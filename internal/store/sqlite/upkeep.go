package sqlite

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringback/ringback/internal/store"
)

// Ping reports whether the database answers and can be written. It waits for
// its turn among the commits, but writes something of its own only when the
// last commit failed.
func (s *Store) Ping(ctx context.Context) error {
	return s.submit(ctx, func(w *writer) error {
		if w.failing != nil {
			return w.mark()
		}
		return nil
	})
}

// Headroom gives ErrFull when the disk is nearly full.
func (s *Store) Headroom() error {
	if s.line.Closed() {
		return store.ErrClosed
	}
	return s.room.check()
}

// headroom knows whether there is room, as of at most a second ago.
type headroom struct {
	dir      string
	reserve  int64
	free     func() (int64, error)
	start    time.Time
	measured atomic.Int64 // when, in nanoseconds since start
	verdict  atomic.Pointer[error]
}

// measureEvery is how long a measurement holds.
const measureEvery = time.Second

func (h *headroom) init(dir string, reserve int64, free func() (int64, error)) {
	h.dir, h.reserve, h.free, h.start = dir, reserve, free, time.Now()
	h.measured.Store(-int64(measureEvery))
	if h.free == nil {
		h.free = h.statfs
	}
}

func (h *headroom) statfs() (int64, error) {
	free, _, err := diskSpace(h.dir)
	return free, err
}

// diskSpace is the space, in bytes, of the disk of a directory: what is left
// for this process, and the whole.
func diskSpace(dir string) (free, size int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil
}

func (h *headroom) check() error {
	now, last := int64(time.Since(h.start)), h.measured.Load()
	if now-last >= int64(measureEvery) && h.measured.CompareAndSwap(last, now) {
		h.measure()
	}
	if err := h.verdict.Load(); err != nil {
		return *err
	}
	return nil
}

func (h *headroom) measure() {
	free, err := h.free()
	switch {
	case err != nil:
		err = fmt.Errorf("store: measure the free space of %s: %w", h.dir, err)
	case free < h.reserve:
		err = fmt.Errorf("%w: the disk of %s has %d MiB left, of which %d MiB are kept for calls that have begun; make room there",
			store.ErrFull, h.dir, free>>20, h.reserve>>20)
	default:
		h.verdict.Store(nil)
		return
	}
	h.verdict.Store(&err)
}

// ranOut notes that a commit found the disk full, whatever was measured.
func (h *headroom) ranOut() {
	err := fmt.Errorf("%w: the disk of %s is full; make room there", store.ErrFull, h.dir)
	h.verdict.Store(&err)
	h.measured.Store(int64(time.Since(h.start)))
}
