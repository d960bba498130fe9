package trace

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

const (
	linger       = 200 * time.Millisecond // an entry waits for others so long
	batch        = 256                    // calls in one write
	maxWaiting   = 64 << 10               // entries that wait; what comes beyond is not kept
	maxOfCall    = 512                    // entries of one call in one part
	closeTimeout = 2 * time.Second        // for writing what is left
)

// Store is what a Recorder needs of [store.Traces].
type Store interface {
	AppendTraces(ctx context.Context, traces []store.Trace) error
}

// Recorder writes entries into the store, many at a time. Its methods may be
// called concurrently and do not wait for the store.
type Recorder struct {
	store Store
	log   *slog.Logger

	mu       sync.Mutex
	waiting  map[call.ID][]Entry
	order    []call.ID // of waiting, as they came
	count    int       // entries in waiting
	dropped  int       // since the last write
	timer    *time.Timer
	closed   bool
	writings sync.WaitGroup
	writing  sync.Mutex // one at a time, so that parts of a call keep their order
}

// NewRecorder makes a Recorder.
func NewRecorder(s Store, log *slog.Logger) *Recorder {
	return &Recorder{store: s, log: log, waiting: make(map[call.ID][]Entry)}
}

// Add takes entries of a call, in the order in which they happened.
func (r *Recorder) Add(id call.ID, entries ...Entry) {
	if len(entries) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	have, known := r.waiting[id]
	if n := len(have); n > 0 && len(entries) == 1 && have[n-1].repeats(entries[0]) {
		return
	}
	if r.closed || r.count+len(entries) > maxWaiting || len(have)+len(entries) > maxOfCall {
		r.dropped += len(entries)
		return
	}
	if !known {
		r.order = append(r.order, id)
	}
	r.waiting[id] = append(have, entries...)
	r.count += len(entries)
	if r.timer == nil {
		r.writings.Add(1)
		r.timer = time.AfterFunc(linger, func() {
			defer r.writings.Done()
			r.write(context.Background())
		})
	}
}

// Flush writes what has been taken by now, for whoever is about to read it.
func (r *Recorder) Flush(ctx context.Context) { r.write(ctx) }

// Close writes what is left. Entries that come later are not kept.
func (r *Recorder) Close() {
	r.mu.Lock()
	r.closed = true
	if r.timer != nil && r.timer.Stop() {
		r.writings.Done()
	}
	r.mu.Unlock()
	r.writings.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	r.write(ctx)
}

// write takes what waits and writes it. When the store fails, it is lost: a
// trace is not worth holding up anything for.
func (r *Recorder) write(ctx context.Context) {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	order, waiting, dropped := r.order, r.waiting, r.dropped
	r.order, r.waiting, r.count, r.dropped = nil, make(map[call.ID][]Entry), 0, 0
	if r.timer != nil && r.timer.Stop() {
		r.writings.Done() // this is what it was for
	}
	r.timer = nil
	r.mu.Unlock()

	var failure error
	for len(order) > 0 {
		n := min(batch, len(order))
		parts := make([]store.Trace, n)
		for i, id := range order[:n] {
			parts[i] = store.Trace{Call: id, Data: encode(waiting[id])}
		}
		order = order[n:]
		if err := r.store.AppendTraces(ctx, parts); err != nil {
			failure = err
			for _, p := range parts {
				dropped += len(waiting[p.Call])
			}
		}
	}
	if dropped > 0 {
		r.log.Warn("the record of what devices were told is incomplete", "entries_lost", dropped, "error", failure)
	}
}
