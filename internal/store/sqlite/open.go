// Package sqlite keeps a store in one SQLite file.
//
// One goroutine writes. It takes everything that waits, writes it as one
// transaction and answers when that has reached the disk, so that concurrent
// commits share the cost of a sync. Readers have connections of their own and
// never wait for it. A goroutine beside it copies the write-ahead log back
// into the database.
//
// The directory belongs to one process at a time.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ncruces/go-sqlite3"
	"golang.org/x/sys/unix"

	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/group"
	"github.com/ringback/ringback/internal/store/scan"
)

// File is the name of the database in the directory of the store.
const File = "ringback.db"

const lockFile = "ringback.lock"

// DefaultReserve is the free disk space, in bytes, that Headroom keeps for
// calls that live; on a small disk it is a tenth of the whole.
const DefaultReserve = 256 << 20

// Options say where the store is and how it behaves.
type Options struct {
	// Dir holds the database. It is made if it is not there.
	Dir string
	// Logger gets what nobody waits for, such as a failed checkpoint; nil:
	// slog.Default().
	Logger *slog.Logger
	// Reserve is the free disk space in bytes below which Headroom gives
	// ErrFull; 0: DefaultReserve or a tenth of the disk, negative: none.
	Reserve int64
	// Readers is the number of connections that read; 0: 4.
	Readers int
	// Free measures the free disk space in bytes, at most once a second; nil:
	// what the file system of Dir says.
	Free func() (int64, error)

	vfs           string // of the writer; "": logVFS
	checkpointAt  int    // pages of write-ahead log at which a checkpoint begins; 0: defaultCheckpointAt
	maxBatch      int    // requests in one transaction; 0: defaultMaxBatch
	beforeBatch   func() // called by the writer before it takes a batch; for tests
	afterTransact func(requests int)
}

const (
	defaultReaders      = 4
	defaultCheckpointAt = 12288 // 48 MiB, but at most a 32nd of the disk
	leastCheckpointAt   = 256
	pageSize            = 4096 // bytes
	defaultMaxBatch     = 512
	queueSize           = 1024
)

// Store is a store.Store in one SQLite file.
type Store struct {
	options Options
	path    string // of the database
	log     *slog.Logger
	lock    *os.File

	line *group.Line[*request] // to the writer
	low  chan *request         // steps of a prune, at most one in a transaction

	readers  chan *conn // nil ones are to be opened
	room     headroom
	walPages atomic.Int64
	pruner   *scan.Pruner

	checkpoint chan struct{}      // to the checkpointer: the log is long
	finish     chan chan struct{} // to the writer: nearly all of it is copied; closed when the rest is

	close func() error // the work of Close, done once
	tasks sync.WaitGroup
}

var _ store.Store = (*Store)(nil)

// Open opens the store in a directory, which it makes if need be, and brings
// its schema up to date. The context bounds the opening only.
func Open(ctx context.Context, options Options) (*Store, error) {
	if options.Dir == "" {
		return nil, errors.New("open store: no directory is given")
	}
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, fmt.Errorf("open store in %s: %w", options.Dir, err)
	}
	options.Dir = dir
	setDefaults(&options)
	s := &Store{
		options: options, path: filepath.Join(dir, File), log: options.Logger,
		line: group.NewLine(queueSize, func() *request { return new(request) }), low: make(chan *request),
		readers:    make(chan *conn, options.Readers),
		checkpoint: make(chan struct{}, 1), finish: make(chan chan struct{}),
	}
	s.pruner = scan.NewPruner(old{s}, pruneSteps)
	s.close = sync.OnceValue(s.shut)
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func setDefaults(o *Options) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Readers <= 0 {
		o.Readers = defaultReaders
	}
	if o.vfs == "" {
		o.vfs = logVFS
	}
	if o.maxBatch <= 0 {
		o.maxBatch = defaultMaxBatch
	}
}

// fitDisk sets what depends on the size of the disk.
func (s *Store) fitDisk() error {
	o := &s.options
	_, size, err := diskSpace(o.Dir)
	if err != nil {
		return fmt.Errorf("measure the disk: %w", err)
	}
	if o.Reserve == 0 {
		o.Reserve = min(DefaultReserve, size/10)
	}
	if o.checkpointAt <= 0 {
		o.checkpointAt = int(max(leastCheckpointAt, min(defaultCheckpointAt, size/32/pageSize)))
	}
	s.room.init(o.Dir, o.Reserve, o.Free)
	return nil
}

// start takes the directory, opens the database and starts the goroutines.
func (s *Store) start(ctx context.Context) (err error) {
	dir := s.options.Dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("open store: make directory %s: %w; make its parent writable for this user, or choose another directory", dir, err)
	}
	if s.lock, err = lockDir(dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.lock.Close()
		}
	}()
	if err := s.fitDisk(); err != nil {
		return err
	}
	if err := createFile(s.path); err != nil {
		return err
	}
	w := &writer{store: s}
	if err := w.open(); err != nil {
		return s.explain(err)
	}
	defer func() {
		if err != nil {
			w.conn.close()
		}
	}()
	if err := migrate(ctx, w.conn); err != nil {
		return s.explain(err)
	}
	if err := w.load(); err != nil {
		return s.explain(err)
	}
	cp := &checkpointer{store: s}
	if err := cp.open(); err != nil {
		return s.explain(err)
	}
	if err := secure(dir); err != nil {
		cp.close()
		return err
	}
	for range cap(s.readers) {
		s.readers <- nil
	}
	s.tasks.Go(w.run)
	s.tasks.Go(cp.run)
	return nil
}

// lockDir makes the directory this process's own.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open store in %s: %w; make the directory writable for this user, or choose another one", dir, err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		f.Truncate(0)
		fmt.Fprintf(f, "%d\n", os.Getpid()) // for people; the lock itself is what counts
		return f, nil
	}
	defer f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder := make([]byte, 20)
		n, _ := f.Read(holder)
		return nil, fmt.Errorf("open store: the directory %s is in use by another process (pid %s); stop that one, or give this one a directory of its own",
			dir, strings.TrimSpace(string(holder[:n])))
	}
	return nil, fmt.Errorf("open store: lock %s: %w; the directory must be on a local file system", path, err)
}

// createFile makes the database file with the permissions that it is to have.
func createFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open store: %w; make the file readable and writable for this user", err)
	}
	return f.Close()
}

// secure makes the names of the files durable, and the files this user's own.
func secure(dir string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Chmod(filepath.Join(dir, File+suffix), 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("open store: %w", err)
		}
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("open store: sync directory: %w", err)
	}
	return nil
}

// explain says what can be done about an error of opening the database.
func (s *Store) explain(err error) error {
	switch {
	case errors.Is(err, sqlite3.NOTADB):
		return fmt.Errorf("open store: %s is not a database (%w); move it away, or restore it from a backup", s.path, err)
	case errors.Is(err, sqlite3.CORRUPT):
		return fmt.Errorf("open store: %s is damaged (%w); restore it from a backup", s.path, err)
	case isFull(err):
		return fmt.Errorf("open store: %s: %w (%w); make room on that disk", s.path, store.ErrFull, err)
	}
	return fmt.Errorf("open store: %s: %w", s.path, err)
}

// Close writes what is queued, copies the write-ahead log back and releases
// the directory.
func (s *Store) Close() error { return s.close() }

func (s *Store) shut() error {
	close(s.line.Closing)
	s.tasks.Wait()
	var errs []error
	for range cap(s.readers) {
		if c := <-s.readers; c != nil {
			errs = append(errs, c.close())
		}
	}
	errs = append(errs, s.compact())
	errs = append(errs, s.lock.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// compact moves the whole log into the database, after which the database is
// one file.
func (s *Store) compact() error {
	c, err := s.connect("", sqlite3.OPEN_READWRITE)
	if err != nil {
		return err
	}
	_, _, err = c.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE)
	return errors.Join(err, c.close())
}

// busyTimeout is a precaution: within one process nobody holds what another
// waits for.
const busyTimeout = 5 * time.Second
