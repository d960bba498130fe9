package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/group"
)

// request is something that waits to be written.
type request struct {
	group.Ticket
	work
}

// work is what is to be written.
type work struct {
	call    *store.CallCommit // this, or else
	encoded []byte            // the call's stored form
	write   func(w *writer) error
}

// submit has the writer carry out write in its next transaction. What write
// gives as a refusal leaves the rest of the transaction alone, so it must not
// have written anything by then; any other error undoes the transaction.
func (s *Store) submit(ctx context.Context, write func(w *writer) error) error {
	return s.line.Submit(ctx, s.line.Queue, func(r *request) { r.work = work{write: write} })
}

// writer owns the connection that writes.
type writer struct {
	store *Store
	conn  *conn // nil: to be opened again
	batch []*request
	last  int // requests in the transaction before

	failing      error // of the last commit that failed, until one succeeds
	logged       int64 // pages of write-ahead log at the last commit
	checkpointAt int64 // pages of log at which the checkpointer is called next

	removed   map[store.EndpointID]bool // endpoints that are no longer there; replaced, never changed
	lastEvent store.EventID             // the highest ID given so far, also to events that were not committed
}

func (w *writer) open() error {
	c, err := w.store.connect(w.store.options.vfs, sqlite3.OPEN_READWRITE, fmt.Sprintf("page_size=%d", pageSize), "synchronous=FULL",
		"temp_store=MEMORY", "cache_size=-8192", "foreign_keys=0")
	if err != nil {
		return err
	}
	c.WALHook(func(_ *sqlite3.Conn, _ string, pages int) error { // in place of automatic checkpoints
		w.logged = int64(pages)
		return nil
	})
	w.conn, w.checkpointAt = c, int64(w.store.options.checkpointAt)
	return nil
}

// load reads what the writer keeps in memory.
func (w *writer) load() error {
	removed := make(map[store.EndpointID]bool)
	st := w.conn.on("SELECT id FROM endpoints WHERE removed = 1")
	for st.next() {
		removed[store.EndpointID(st.ColumnInt64(0))] = true
	}
	w.removed = removed
	if err := st.end(); err != nil {
		return err
	}
	last, err := w.conn.number(lastEvent)
	w.lastEvent = store.EventID(last)
	return err
}

// run writes until the store closes and nothing is left to write.
func (w *writer) run() {
	s := w.store
	defer close(s.line.Stopped)
	defer func() {
		if err := w.conn.close(); err != nil {
			s.log.Error("closing the database failed", "err", err)
		}
	}()
	for {
		if s.options.beforeBatch != nil {
			s.options.beforeBatch()
		}
		select {
		case r := <-s.line.Queue:
			w.take(r)
			w.gather()
		case r := <-s.low:
			w.take(r)
		case done := <-s.finish:
			w.finishCheckpoint()
			close(done)
			continue
		case <-s.line.Closing:
			if len(s.line.Queue) == 0 {
				return
			}
		}
		w.fill()
		if len(w.batch) > 0 {
			w.commitBatch()
		}
	}
}

// gather waits for more requests under load, which the size of the last
// transaction tells: the fixed part of one is worth that of several requests.
func (w *writer) gather() {
	pause := time.Duration(0)
	if w.last >= busyBatch {
		pause = gatherPause
	}
	w.store.line.Gather(pause, w.store.options.maxBatch)
}

const (
	busyBatch   = 4 // requests in the last transaction, for the next to be waited for
	gatherPause = 5 * time.Millisecond
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
		break
	}
	select {
	case r := <-w.store.low:
		w.take(r)
	default:
	}
}

// take puts a request into the batch, unless it was abandoned.
func (w *writer) take(r *request) {
	if r.Take() {
		w.batch = append(w.batch, r)
	}
}

// commitBatch writes the batch and answers its requests.
func (w *writer) commitBatch() {
	s := w.store
	if err := w.transact(w.batch); err != nil {
		w.retry(err)
	}
	if s.options.afterTransact != nil {
		s.options.afterTransact(len(w.batch))
	}
	for i, r := range w.batch {
		w.batch[i] = nil
		r.Answer()
	}
	w.last = len(w.batch)
	w.batch = w.batch[:0]
	w.watchLog()
}

// retry finds out what becomes of a batch whose transaction failed: when it
// can have been the fault of one request, each gets a transaction of its own.
func (w *writer) retry(err error) {
	if len(w.batch) > 1 && !errors.Is(err, store.ErrUnknown) && !errors.Is(err, store.ErrFull) && w.conn != nil {
		for i := range w.batch {
			if err := w.transact(w.batch[i : i+1]); err != nil {
				w.batch[i].Err = err
			}
		}
		return
	}
	for _, r := range w.batch {
		r.Err = err
	}
}

// transact writes requests as one transaction and sets their refusals. When it
// gives an error, nothing was written, or with ErrUnknown perhaps all.
func (w *writer) transact(batch []*request) (err error) {
	if w.conn == nil {
		if err := w.open(); err != nil {
			return fmt.Errorf("store: open the database again: %w", err)
		}
	}
	removed := w.removed
	defer func() {
		if err != nil {
			w.removed = removed
		}
	}()
	err = w.conn.on("BEGIN IMMEDIATE").run()
	for i := 0; i < len(batch) && err == nil; i++ {
		batch[i].Err, err = w.carryOut(batch[i])
	}
	if err != nil {
		return w.undo(err)
	}
	if err := w.conn.on("COMMIT").run(); err != nil {
		return w.lose(err)
	}
	if w.failing != nil {
		w.failing = nil
		w.store.log.Info("the database can be written again")
	}
	return nil
}

// carryOut writes one request.
func (w *writer) carryOut(r *request) (refusal, failure error) {
	var err error
	if r.call != nil {
		err = w.commitCall(r.call, r.encoded)
	} else {
		err = r.write(w)
	}
	if isRefusal(err) {
		return err, nil
	}
	return nil, err
}

// isRefusal reports whether an error is an outcome of its own request only.
func isRefusal(err error) bool {
	var duplicate *store.DuplicateRequestError
	var taken *store.AppTakenError
	return errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrUsed) || errors.Is(err, store.ErrNotFound) ||
		errors.As(err, &duplicate) || errors.As(err, &taken)
}

// undo rolls a transaction back that failed before its commit.
func (w *writer) undo(err error) error {
	w.rollback()
	if isBroken(err) {
		w.drop()
	}
	return w.failed(err)
}

// lose deals with a commit that failed. What it had written to the log by
// then may come back to life if the process dies now. So before anybody is
// answered, something else is written over it.
func (w *writer) lose(err error) error {
	w.rollback()
	if errors.Is(err, sqlite3.FULL) {
		return w.failed(err) // the record that would have completed it is missing
	}
	w.drop()
	if again := w.open(); again != nil {
		w.store.log.Error("opening the database again failed", "err", again)
	} else if again := w.mark(); again != nil {
		w.store.log.Error("writing to the database failed again", "err", again)
	}
	w.failing = err
	w.store.log.Error("committing to the database failed", "err", err)
	return fmt.Errorf("%w: %w", store.ErrUnknown, err)
}

// mark writes something that nobody reads.
func (w *writer) mark() error {
	return w.conn.on("UPDATE marks SET n = n + 1").run()
}

// failed keeps and words the error of a transaction of which nothing was
// written.
func (w *writer) failed(err error) error {
	if isFull(err) || isBroken(err) {
		w.failing = err
	}
	if isFull(err) {
		w.store.room.ranOut()
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return fmt.Errorf("store: write: %w", err)
}

func (w *writer) rollback() {
	if w.conn.GetAutocommit() {
		return // SQLite has done it
	}
	if err := w.conn.on("ROLLBACK").run(); err != nil {
		w.store.log.Error("rolling back failed", "err", err)
		w.drop()
	}
}

// drop closes the connection, for the next transaction to open a new one.
func (w *writer) drop() {
	if err := w.conn.close(); err != nil {
		w.store.log.Error("closing the database failed", "err", err)
	}
	w.conn = nil
}
