package postgres

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/store"
)

// request is something that waits to be written.
type request struct {
	state atomic.Int32 // waiting, taken or abandoned
	done  chan struct{}
	err   error

	call     *store.CallCommit // one of these is to be written
	encoded  []byte            // the call's stored form
	sessions *store.SessionCommit
	events   []*store.Event
}

// States of a request.
const (
	waiting   = iota
	taken     // the writer has it: its outcome is awaited
	abandoned // nobody waits for it any more, and it will not be written
)

// submit queues a request and waits for its outcome. The context counts for as
// long as the writer has not taken it.
func (s *Store) submit(ctx context.Context, fill func(r *request)) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	r := s.requests.Get().(*request)
	fill(r)
	select {
	case s.queue <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return store.ErrClosed
	}
	select {
	case <-r.done:
		return s.recycle(r)
	case <-ctx.Done():
		if r.state.CompareAndSwap(waiting, abandoned) {
			return ctx.Err()
		}
	case <-s.stopped:
		if r.state.CompareAndSwap(waiting, abandoned) {
			return store.ErrClosed
		}
	}
	<-r.done
	return s.recycle(r)
}

func (s *Store) recycle(r *request) error {
	err := r.err
	r.state.Store(waiting)
	r.err, r.call, r.encoded, r.sessions, r.events = nil, nil, nil, nil, nil
	s.requests.Put(r)
	return err
}

// writer owns the connection that writes calls, sessions and events.
type writer struct {
	store *Store
	conn  *pgx.Conn // nil: to be made again
	batch []*request
	later []*request // taken, but they touch what a request before them touches
	last  int        // requests in the transaction before
	used  time.Time  // when the connection was last heard of

	refused error     // of the last attempt to connect, until one succeeds
	retryAt time.Time // when to connect again
	backoff time.Duration
}

const (
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = 2 * time.Second
	// staleAfter is how long a connection may be idle before the writer looks
	// whether it is still there.
	staleAfter = time.Second
)

// connect makes the connection.
func (w *writer) connect(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, w.store.config)
	if err != nil {
		return explain(w.store.config, err)
	}
	w.conn, w.used, w.refused, w.backoff = conn, time.Now(), nil, 0
	return nil
}

// ready sees to it that there is a connection. While the server cannot be
// reached it gives the last error, without trying each time.
func (w *writer) ready(ctx context.Context) error {
	if w.conn != nil && (w.conn.IsClosed() || time.Since(w.used) > staleAfter && w.conn.Ping(ctx) != nil) {
		w.drop()
	}
	if w.conn != nil {
		return nil
	}
	if w.refused != nil && time.Now().Before(w.retryAt) {
		return w.refused
	}
	failed := w.refused != nil
	if err := w.connect(ctx); err != nil {
		w.backoff = min(max(2*w.backoff, firstBackoff), lastBackoff)
		w.refused, w.retryAt = err, time.Now().Add(w.backoff)
		if !failed {
			w.store.log.Error("connecting to the database failed", "err", err)
		}
		return err
	}
	if failed {
		w.store.log.Info("the database can be reached again")
	}
	return nil
}

// drop closes the connection, for the next transaction to make a new one.
func (w *writer) drop() {
	if w.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := w.conn.Close(ctx); err != nil {
		w.store.log.Debug("closing a connection to the database failed", "err", err)
	}
	w.conn = nil
}

// run writes until the store closes and nothing is left to write.
func (w *writer) run() {
	s := w.store
	defer close(s.stopped)
	defer w.drop()
	for {
		if s.options.beforeBatch != nil {
			s.options.beforeBatch()
		}
		w.again()
		if len(w.batch) == 0 {
			select {
			case r := <-s.queue:
				w.take(r)
			case <-s.closing:
				if len(s.queue) == 0 {
					return
				}
			}
		}
		w.gather()
		w.fill()
		if len(w.batch) > 0 {
			w.commitBatch()
		}
	}
}

// again puts what could not go into the batch before into the next.
func (w *writer) again() {
	w.batch, w.later = append(w.batch, w.later...), w.later[:0]
}

// gather lets requests come together, because a larger transaction costs less
// for each. Under load, which the size of the last transaction tells, it waits
// for a moment; otherwise it only lets goroutines run that are ready to, which
// takes no time when there are none.
func (w *writer) gather() {
	s := w.store
	if w.last >= busyBatch {
		for range gatherSteps {
			if len(s.queue) >= fullBatch {
				return
			}
			time.Sleep(gatherStep)
		}
		return
	}
	before := -1
	for range 4 {
		n := len(s.queue)
		if n == before || n >= s.options.maxBatch {
			return
		}
		before = n
		runtime.Gosched()
	}
}

const (
	busyBatch   = 4  // requests in the last transaction, for the next to be waited for
	fullBatch   = 64 // requests that are not waited beyond
	gatherSteps = 2
	gatherStep  = 1 * time.Millisecond
)

// fill takes what waits, as far as it fits into one transaction.
func (w *writer) fill() {
	for len(w.batch) < w.store.options.maxBatch {
		select {
		case r := <-w.store.queue:
			w.take(r)
			continue
		default:
		}
		return
	}
}

// take puts a request into the batch, unless it was abandoned.
func (w *writer) take(r *request) {
	if r.state.CompareAndSwap(waiting, taken) {
		w.batch = append(w.batch, r)
	}
}

// commitBatch writes the batch and answers its requests, but for those that
// have to wait for the next one.
func (w *writer) commitBatch() {
	w.last = len(w.batch)
	w.transact(w.batch)
	if w.store.options.afterTransact != nil {
		w.store.options.afterTransact(len(w.batch) - len(w.later))
	}
	for i, r := range w.batch {
		w.batch[i] = nil
		if len(w.later) > 0 && w.isLater(r) {
			continue
		}
		r.done <- struct{}{}
	}
	w.batch = w.batch[:0]
}

func (w *writer) isLater(r *request) bool {
	for _, l := range w.later {
		if l == r {
			return true
		}
	}
	return false
}

// transact writes requests as one transaction and sets their outcomes; when
// that fails by what can be the fault of one of them, each gets a transaction
// of its own. What touches the same as a request before it goes to w.later.
func (w *writer) transact(requests []*request) {
	b, left := newBatch(requests)
	w.later = append(w.later, left...)
	err := w.send(b)
	for attempt := 0; attempt < 3 && isPassing(err); attempt++ {
		err = w.send(b)
	}
	switch {
	case err == nil:
		b.settle()
	case len(b.requests) > 1 && isOwn(err):
		for _, r := range b.requests {
			w.transact([]*request{r})
		}
	default:
		var before notSent
		err = w.store.worded(err, !errors.As(err, &before))
		for _, r := range b.requests {
			r.err = err
		}
	}
}

// send has the server carry out a batch.
func (w *writer) send(b *batch) error {
	ctx, cancel := context.WithTimeout(context.Background(), w.store.options.Timeout)
	defer cancel()
	if err := w.ready(ctx); err != nil {
		return notSent{err}
	}
	err := b.run(ctx, w.conn, w.store)
	if w.conn.IsClosed() {
		w.store.log.Error("the connection to the database was lost", "err", err)
		pid := w.conn.PgConn().PID()
		w.drop()
		w.seal(pid)
	}
	w.used = time.Now()
	return err
}

// seal sees to it that a transaction whose connection was lost is over, so
// that whoever reads back what became of it does not come too early: its
// statements may have reached the server, and wait for a lock there. While the
// server cannot be reached there is nothing to be read either; and no lock is
// waited for longer than lock_timeout.
func (w *writer) seal(pid uint32) {
	ctx, cancel := context.WithTimeout(context.Background(), w.store.options.Timeout)
	defer cancel()
	err := w.ready(ctx)
	for left := 1; err == nil; {
		if err = w.conn.QueryRow(ctx, endConnection, pid, w.store.name).Scan(&left); err == nil && left == 0 {
			return
		}
		time.Sleep(sealStep)
	}
	w.store.log.Warn("whether a lost transaction is over is not known yet", "err", err)
}

const (
	endConnection = `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid = $1::integer AND application_name = $2`
	sealStep      = 10 * time.Millisecond
)

// notSent is an error before anything was sent.
type notSent struct{ err error }

func (e notSent) Error() string { return e.err.Error() }
func (e notSent) Unwrap() error { return e.err }
