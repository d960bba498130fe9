package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/group"
)

// request is something that waits to be written.
type request struct {
	group.Ticket
	work
}

// work is what is to be written: one of these.
type work struct {
	call     *store.CallCommit
	encoded  []byte // the call's stored form
	sessions *store.SessionCommit
	events   []*store.Event
}

// submit has the writer write something in its next transaction.
func (s *Store) submit(ctx context.Context, w work) error {
	return s.line.Submit(ctx, s.line.Queue, func(r *request) { r.work = w })
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
	defer close(s.line.Stopped)
	defer w.drop()
	for {
		if s.options.beforeBatch != nil {
			s.options.beforeBatch()
		}
		w.again()
		if len(w.batch) == 0 {
			select {
			case r := <-s.line.Queue:
				w.take(r)
			case <-s.line.Closing:
				if len(s.line.Queue) == 0 {
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

// gather waits for more requests under load, which the size of the last
// transaction tells.
func (w *writer) gather() {
	pause := time.Duration(0)
	switch {
	case w.last >= fullLoad:
		pause = fullPause
	case w.last >= busyBatch:
		pause = busyPause
	}
	w.store.line.Gather(pause, w.store.options.maxBatch)
}

const (
	busyBatch = 4  // requests in the last transaction, for the next to be waited for
	fullLoad  = 10 // requests in it, for the next to be waited for longer: others commit, too
	busyPause = 2 * time.Millisecond
	fullPause = 12 * time.Millisecond
)

// fill takes what waits, as far as it fits into one transaction.
func (w *writer) fill() {
	for len(w.batch) < w.store.options.maxBatch {
		select {
		case r := <-w.store.line.Queue:
			w.take(r)
			continue
		default:
		}
		return
	}
}

// take puts a request into the batch, unless it was abandoned.
func (w *writer) take(r *request) {
	if r.Take() {
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
		r.Answer()
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
			r.Err = err
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
