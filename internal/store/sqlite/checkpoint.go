package sqlite

import (
	"errors"
	"os"

	"github.com/ncruces/go-sqlite3"
)

// The write-ahead log is copied back in two parts. Nearly all of it is copied
// by the checkpointer, while the writer goes on and the log grows. The little
// that has come meanwhile the writer copies itself, between two transactions,
// so that all is copied and the next transaction begins the log anew.

// nearly is the number of pages that the writer copies itself.
const nearly = 128

// watchLog calls the checkpointer when the log is long.
func (w *writer) watchLog() {
	s, threshold := w.store, int64(w.store.options.checkpointAt)
	if w.logged < s.walPages.Load() {
		w.checkpointAt = threshold // it began anew
	}
	s.walPages.Store(w.logged)
	if w.logged < w.checkpointAt {
		return
	}
	w.checkpointAt = w.logged + threshold/4
	select {
	case s.checkpoint <- struct{}{}:
	default:
	}
}

// finishCheckpoint copies the rest of the log.
func (w *writer) finishCheckpoint() {
	if w.conn == nil {
		return
	}
	mode := sqlite3.CHECKPOINT_PASSIVE
	if w.logged >= 2*int64(w.store.options.checkpointAt) {
		mode = sqlite3.CHECKPOINT_RESTART // readers were in the way: wait for them
	}
	if _, _, err := w.conn.WALCheckpoint("main", mode); err != nil && !errors.Is(err, sqlite3.BUSY) {
		w.store.log.Error("checkpoint failed", "err", err)
	}
}

// checkpointer copies the log while the writer writes.
type checkpointer struct {
	store *Store
	conn  *conn
	file  *os.File // the database, for its sync
}

func (cp *checkpointer) open() error {
	c, err := cp.store.connect("", sqlite3.OPEN_READWRITE, "synchronous=FULL", "temp_store=MEMORY", "cache_size=-64")
	if err != nil {
		return err
	}
	if err := c.WALAutoCheckpoint(0); err != nil {
		return errors.Join(err, c.close())
	}
	// The first statement opens the log.
	if _, err := c.pragma("user_version"); err != nil {
		return errors.Join(err, c.close())
	}
	file, err := os.OpenFile(cp.store.path, os.O_RDWR, 0)
	if err != nil {
		return errors.Join(err, c.close())
	}
	cp.conn, cp.file = c, file
	return nil
}

func (cp *checkpointer) close() {
	if err := errors.Join(cp.conn.close(), cp.file.Close()); err != nil {
		cp.store.log.Error("closing the database failed", "err", err)
	}
}

func (cp *checkpointer) run() {
	defer cp.close()
	s := cp.store
	for {
		select {
		case <-s.checkpoint:
		case <-s.line.Stopped:
			return
		}
		if err := cp.copy(); err != nil {
			s.log.Error("checkpoint failed", "err", err)
			continue
		}
		// While the writer copies, nobody else may.
		done := make(chan struct{})
		select {
		case s.finish <- done:
			<-done
		case <-s.line.Stopped:
			return
		}
	}
}

// copy copies the log until nearly nothing is left, and what it has copied to
// the disk, so that the writer does not wait for that.
func (cp *checkpointer) copy() error {
	for range 4 {
		_, copied, err := cp.conn.WALCheckpoint("main", sqlite3.CHECKPOINT_PASSIVE)
		if err != nil {
			if errors.Is(err, sqlite3.BUSY) {
				return nil
			}
			return err
		}
		if err := datasync(cp.file); err != nil {
			return err
		}
		if cp.store.walPages.Load()-int64(copied) <= nearly {
			return nil
		}
	}
	return nil
}
