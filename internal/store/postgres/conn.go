package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ringback/ringback/internal/store"
)

// settings are those of every connection. All statements are short and find
// their rows by an index, whatever the statistics of a growing table say, so
// the plans are made once, and by index. Whoever holds a lock and is not heard
// of any more loses it: keepalives find out while nothing is under way to him,
// tcp_user_timeout while something is.
//
// While a table has no rows, reading all of an index costs the planner as much
// as looking one row up, and the plan would stay when there are millions. So
// the statements leave no such choice: what is joined is found by
// "key = ANY (ARRAY[other.key])", which an index can answer only for one row
// of the other at a time, or in a LATERAL part with an OFFSET; and a column
// that is not to be found by, or sorted by, has "+ 0". Where the index alone
// would do, a condition on another column keeps it from being read through.
// TestPlans sees to all that.
const settings = `SET plan_cache_mode = force_generic_plan;
	SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;
	SET default_transaction_isolation = 'read committed';
	SET statement_timeout = '30s'; SET lock_timeout = '8s'; SET idle_in_transaction_session_timeout = '5s';
	SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3; SET tcp_user_timeout = 11000;
	SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`

// connectTimeout bounds the making of a connection, unless the URL says
// otherwise.
const connectTimeout = 10 * time.Second

// configure reads the URL.
func (s *Store) configure() (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(s.options.URL)
	if err != nil {
		return nil, fmt.Errorf("the address of the database is wrong: %w", err)
	}
	c := config.ConnConfig
	s.name = "ringback " + rand.Text()[:12]
	c.RuntimeParams["application_name"] = s.name
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	prepare := c.AfterConnect
	c.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if prepare != nil {
			if err := prepare(ctx, conn); err != nil {
				return err
			}
		}
		return conn.Exec(ctx, settings).Close()
	}
	config.MaxConns = int32(s.options.Connections - 1)
	config.MinConns, config.MinIdleConns = 0, 0
	return config, nil
}

// checkSessions refuses a pooler that gives each transaction whatever session
// of the server is free, for a connection's settings, prepared statements and
// name would then be those of another's. It asks by connections without
// settings, which would stay in the pooler's sessions.
func (s *Store) checkSessions(ctx context.Context, c *pgx.ConnConfig) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	c = c.Copy()
	c.AfterConnect = nil
	c.DefaultQueryExecMode = pgx.QueryExecModeExec
	one, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return err
	}
	defer one.Close(ctx)
	other, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return err
	}
	defer other.Close(ctx)
	// A pooler that takes turns shows when one asks twice; a pooler that takes
	// what was used last, when the other keeps that in a transaction.
	var sessions [4]int
	for i, by := range []*pgx.Conn{one, one, other, one} {
		if by == other {
			if _, err := by.Exec(ctx, "BEGIN"); err != nil {
				return err
			}
		}
		if err := by.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&sessions[i]); err != nil {
			return err
		}
	}
	if sessions[1] != sessions[0] || sessions[2] == sessions[0] || sessions[3] != sessions[0] {
		return errPooled
	}
	return nil
}

var errPooled = errors.New("between here and PostgreSQL is a pooler that gives each transaction another session of the server; " +
	"have it pool sessions for this database (PgBouncer: pool_mode=session), or give the address of PostgreSQL itself")

// explain says what can be done about an error of opening the store. No error
// of the driver has the password in it.
func explain(c *pgx.ConnConfig, err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		var failed *pgconn.ConnectError
		switch {
		case errors.As(err, &failed):
			return fmt.Errorf("%w: %w; is PostgreSQL running there, and does it accept connections from here?", errUnreachable, err)
		case errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("the server lets connections in and does not answer; if a pooler is in front of it, does it have %d sessions for each node? (%w)",
				defaultConnections, err)
		}
		return err
	}
	advice := ""
	switch pg.Code {
	case "28P01":
		advice = fmt.Sprintf("the server refuses the password of user %q: correct it in the configuration or in the server", c.User)
	case "28000":
		advice = fmt.Sprintf("the server does not let user %q in: make the role, and allow it in pg_hba.conf", c.User)
	case "3D000":
		advice = fmt.Sprintf("make the database first: CREATE DATABASE %s OWNER %s", pgx.Identifier{c.Database}.Sanitize(), pgx.Identifier{c.User}.Sanitize())
	case "42501":
		advice = fmt.Sprintf("the user needs a schema in which it may create tables: ALTER DATABASE %s OWNER TO %s",
			pgx.Identifier{c.Database}.Sanitize(), pgx.Identifier{c.User}.Sanitize())
	case "53300":
		advice = fmt.Sprintf("the server has no connection left: raise its max_connections, of which each node needs %d", defaultConnections)
	case "57P03":
		advice = "the server is starting or stopping: try again in a moment"
	case diskFull:
		return fmt.Errorf("%w: the disk of the database is full; make room there: %w", store.ErrFull, err)
	default:
		return err
	}
	return fmt.Errorf("%s (%w)", advice, err)
}

// Codes of errors, from the appendix of PostgreSQL's manual.
const (
	diskFull       = "53100"
	divisionByZero = "22012" // what a fenced node gets; see checkNode
	deadlock       = "40P01"
	serialization  = "40001"
)

// worded gives an error of a transaction as the contract has it. sent says
// that the server may have been asked to commit.
func (s *Store) worded(err error, sent bool) error {
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &pg):
		switch {
		case pg.Code == divisionByZero:
			return store.ErrFenced
		case pg.Code == diskFull:
			s.room.ranOut()
			return fmt.Errorf("%w: the disk of the database is full; make room there: %w", store.ErrFull, err)
		case sent && unclear(pg):
			return fmt.Errorf("%w: %w", store.ErrUnknown, err)
		}
		return fmt.Errorf("store: write: %w", err)
	case sent && !pgconn.SafeToRetry(err):
		return fmt.Errorf("%w: %w", store.ErrUnknown, err)
	}
	return fmt.Errorf("store: write: %w", err)
}

// unclear reports whether the server may have committed although it sent this
// error: the connection ended with it, or it says so.
func unclear(pg *pgconn.PgError) bool {
	return pg.SeverityUnlocalized == "FATAL" || pg.SeverityUnlocalized == "PANIC" || pg.Code == "40003" || pg.Code[:min(2, len(pg.Code))] == "08"
}

// isPassing reports whether the same transaction may well succeed at once.
func isPassing(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == deadlock || pg.Code == serialization)
}

// isOwn reports whether an error can be the fault of one request among
// several: wrong data, a constraint, a limit.
func isOwn(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || len(pg.Code) != 5 || pg.Code == divisionByZero {
		return false
	}
	switch pg.Code[:2] {
	case "21", "22", "23", "54":
		return true
	}
	return false
}
