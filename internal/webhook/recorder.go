package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ringback/ringback/internal/store"
)

const (
	// recordLinger is how long a result waits for others: a transaction costs
	// far more than an attempt in it. What a crash loses is made again.
	recordLinger  = 100 * time.Millisecond
	recordBatch   = 512
	recordBound   = 16 << 10 // results that are kept with all attempts
	recordRetry   = 50 * time.Millisecond
	recordRetryTo = 5 * time.Second
	recordGrace   = 2 * time.Second // of Close, for results that came at its very end
)

// result is an attempt to be written down.
type result struct {
	store.Attempt
	of     *item
	by     *endpoint
	merged int // how many earlier results of the same delivery were dropped for this one
}

// recorder writes results into the store, in batches, while the schedule goes
// on in memory. When the store fails it keeps them and tries again. If more
// than recordBound gather, it keeps of each delivery only the latest, which
// says where the delivery stands: the log then lacks some attempts, and as the
// deliveries in memory are bounded, so are the results.
type recorder struct {
	store Store
	log   *slog.Logger
	wake  chan struct{} // there is a result
	full  chan struct{} // there is a batch
	stop  chan struct{}
	done  chan struct{}

	ctx    context.Context // of writes
	cancel context.CancelFunc
	fenced sync.Once // for the log

	mu      sync.Mutex
	queue   []result
	bound   int // length of queue at which it is merged
	started bool
	closed  bool
}

func newRecorder(s Store, log *slog.Logger) *recorder {
	r := &recorder{
		store: s, log: log, bound: recordBound,
		wake: make(chan struct{}, 1), full: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

func (r *recorder) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started = true
	go r.run()
}

// add takes a result. It never waits.
func (r *recorder) add(res result) {
	r.mu.Lock()
	r.queue = append(r.queue, res)
	n := len(r.queue)
	if n >= r.bound {
		r.queue = merge(r.queue)
		r.bound = max(recordBound, 2*len(r.queue))
	}
	r.mu.Unlock()
	if n == 1 {
		signal(r.wake)
	}
	if n >= recordBatch {
		signal(r.full)
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// merge drops every result that a later one of the same delivery follows.
func merge(queue []result) []result {
	latest := make(map[*item]int, len(queue))
	kept := make([]result, 0, len(queue)/2)
	for i := range queue {
		latest[queue[i].of] = i
	}
	dropped := make(map[*item]int)
	for i := range queue {
		res := queue[i]
		if latest[res.of] != i {
			dropped[res.of] += 1 + res.merged
			continue
		}
		res.merged += dropped[res.of]
		kept = append(kept, res)
	}
	return kept
}

func (r *recorder) run() {
	defer close(r.done)
	linger := time.NewTimer(0)
	<-linger.C
	for {
		if r.waiting() == 0 {
			select {
			case <-r.wake:
			case <-r.stop:
			}
		}
		linger.Reset(recordLinger)
		select {
		case <-linger.C:
		case <-r.full:
		case <-r.stop:
			for n := r.waiting(); n > 0 && r.write(n); n = r.waiting() {
			}
			return
		}
		r.write(r.waiting())
	}
}

func (r *recorder) waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue)
}

// write writes n results, those that come meanwhile are for the next time;
// false: the recorder was cancelled.
func (r *recorder) write(n int) bool {
	for n > 0 {
		batch := r.take(n)
		if !r.try(batch) {
			r.mu.Lock()
			r.queue = append(batch, r.queue...)
			r.mu.Unlock()
			return false
		}
		release(batch)
		n -= len(batch)
	}
	return true
}

// take takes at most n results from the queue.
func (r *recorder) take(n int) []result {
	r.mu.Lock()
	defer r.mu.Unlock()
	n = min(n, len(r.queue), recordBatch)
	batch := r.queue[:n:n]
	r.queue = r.queue[n:]
	return batch
}

// try writes a batch, as often as it takes, unless others have taken over the
// work of this node, who do it again; false: the recorder was cancelled.
func (r *recorder) try(batch []result) bool {
	attempts := make([]store.Attempt, len(batch))
	for i := range batch {
		attempts[i] = batch[i].Attempt
	}
	for pause, tries := recordRetry, 1; ; pause, tries = min(2*pause, recordRetryTo), tries+1 {
		err := r.store.RecordAttempts(r.ctx, attempts)
		if err == nil {
			if tries > 1 {
				r.log.Info("results of callbacks are written again")
			}
			return true
		}
		if r.ctx.Err() != nil {
			return false
		}
		if errors.Is(err, store.ErrFenced) {
			r.fenced.Do(func() { r.log.Warn("results of callbacks are dropped: others make these callbacks now", "err", err) })
			return true
		}
		if tries == 1 {
			r.log.Error("results of callbacks cannot be written; they are kept and tried again", "err", err)
		}
		select {
		case <-time.After(pause):
		case <-r.ctx.Done():
			return false
		}
	}
}

// written says that a number of results of an item are durable.
type written struct {
	of     *item
	number int
}

// release tells the endpoints which of their results are durable.
func release(batch []result) {
	byEndpoint := make(map[*endpoint][]written)
	for i := range batch {
		res := &batch[i]
		byEndpoint[res.by] = append(byEndpoint[res.by], written{res.of, 1 + res.merged})
	}
	for e, list := range byEndpoint {
		e.recorded(list)
	}
}

// close writes what is left until ctx ends, or a little longer when it has
// ended already.
func (r *recorder) close(ctx context.Context) error {
	r.mu.Lock()
	first, started := !r.closed, r.started
	r.closed = true
	r.mu.Unlock()
	if !started {
		r.cancel()
		return nil
	}
	if first {
		close(r.stop)
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		grace := time.NewTimer(recordGrace)
		defer grace.Stop()
		select {
		case <-r.done:
		case <-grace.C:
			r.cancel()
			<-r.done
		}
	}
	r.cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.queue); n > 0 {
		return fmt.Errorf("results of %d callback attempts were not written: the attempts will be repeated", n)
	}
	return nil
}

// forget makes failed what results of a removed endpoint leave pending, as the
// store has made it.
func (r *recorder) forget(e *endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.queue {
		if res := &r.queue[i]; res.by == e && res.State == store.Pending {
			res.State, res.Due = store.Failed, 0
		}
	}
}
