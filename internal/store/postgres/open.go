// Package postgres keeps a store in a PostgreSQL database, which the nodes of
// a cluster share.
//
// One goroutine of each process writes calls, sessions and events. It takes
// everything that waits and sends it as one pipeline, which the server carries
// out as one transaction, so that concurrent commits share a round trip and a
// sync. All decisions are made by the statements themselves: nothing waits for
// this process while others wait for its locks. Whatever writes events first
// takes the lock of the head, under which events are numbered; it serializes
// these transactions over all nodes.
//
// Everything else goes by the connections of a pool.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/group"
	"github.com/ringback/ringback/internal/store/scan"
)

// Options say where the database is and how the store behaves.
type Options struct {
	// URL is the address of the database, as a postgres:// URL or as words
	// like "host=… dbname=…". What it leaves out comes from the PG… variables
	// of the environment, as with psql.
	URL string
	// Logger gets what nobody waits for, such as a lost connection; nil:
	// slog.Default().
	Logger *slog.Logger
	// Connections is how many connections the store uses at most, one of them
	// for the writer; 0: 10, at least 2.
	Connections int
	// Timeout is how long the server may take for whatever it is asked; 0:
	// 10 s. After that the outcome of a transaction counts as unknown.
	Timeout time.Duration

	maxBatch      int    // requests in one transaction; 0: defaultMaxBatch
	beforeBatch   func() // called by the writer before it takes a batch; for tests
	afterTransact func(requests int)
}

const (
	defaultConnections = 10
	defaultTimeout     = 10 * time.Second
	defaultMaxBatch    = 512
	queueSize          = 1024
)

// Store is a store.Store and store.Nodes in a PostgreSQL database.
type Store struct {
	options Options
	log     *slog.Logger
	config  *pgx.ConnConfig // of the writer
	pool    *pgxpool.Pool
	name    string // application_name of all connections
	lock    int64  // key of the advisory lock of the head

	line   *group.Line[*request] // to the writer
	node   atomic.Int64          // the incarnation; 0: none
	joined sync.Mutex            // held by what sets node
	room   headroom
	pruner *scan.Pruner
	users  together[store.UserRecord]
	open   together[store.Session] // those that are not offline

	close func() error // the work of Close, done once
}

var (
	_ store.Store = (*Store)(nil)
	_ store.Nodes = (*Store)(nil)
)

// Open opens the store in a database and brings its schema up to date. The
// context bounds the opening only.
func Open(ctx context.Context, options Options) (*Store, error) {
	setDefaults(&options)
	s := &Store{
		options: options, log: options.Logger, line: group.NewLine(queueSize, func() *request { return new(request) }),
	}
	s.pruner = scan.NewPruner(old{s}, pruneSteps)
	s.close = sync.OnceValue(s.shut)
	s.users.query, s.users.user = s.queryUsers, func(u *store.UserRecord) call.UserID { return u.ID }
	s.open.query, s.open.user = s.queryOpen, func(o *store.Session) call.UserID { return o.User }
	config, err := s.configure()
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := s.checkSessions(ctx, config.ConnConfig); err != nil {
		return nil, fmt.Errorf("open store: %w", explain(config.ConnConfig, err))
	}
	first, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", explain(config.ConnConfig, err))
	}
	err = migrate(ctx, first)
	if err == nil {
		err = first.QueryRow(ctx, headLock).Scan(&s.lock)
	}
	if err == nil {
		s.pool, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), config)
	}
	if err != nil {
		return nil, fmt.Errorf("open store: %w", errors.Join(explain(config.ConnConfig, err), first.Close(ctx)))
	}
	s.config = config.ConnConfig
	w := &writer{store: s, conn: first, used: time.Now()}
	go w.run()
	return s, nil
}

func setDefaults(o *Options) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Connections <= 0 {
		o.Connections = defaultConnections
	}
	o.Connections = max(2, o.Connections)
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.maxBatch <= 0 {
		o.maxBatch = defaultMaxBatch
	}
}

// Close writes what is queued and closes the connections.
func (s *Store) Close() error { return s.close() }

func (s *Store) shut() error {
	close(s.line.Closing)
	<-s.line.Stopped
	s.pool.Close()
	return nil
}

// check is what every method begins with.
func (s *Store) check(ctx context.Context) error {
	if s.line.Closed() {
		return store.ErrClosed
	}
	return ctx.Err()
}

var errUnreachable = errors.New("the database cannot be reached")
