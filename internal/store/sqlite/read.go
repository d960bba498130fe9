package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/ncruces/go-sqlite3"

	"github.com/ringback/ringback/internal/store"
)

// read calls f with a connection that sees one state of the database for as
// long as f runs. Its context ends what f does.
func (s *Store) read(ctx context.Context, f func(c *conn) error) error {
	if s.line.Closed() {
		return store.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var c *conn
	select {
	case c = <-s.readers:
	default:
		select {
		case c = <-s.readers:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.line.Closing:
			return store.ErrClosed
		}
	}
	if c == nil {
		var err error
		c, err = s.connect("", sqlite3.OPEN_READONLY, "query_only=1", "temp_store=MEMORY", "cache_size=-4096")
		if err != nil {
			s.readers <- nil
			return fmt.Errorf("connect: %w", err)
		}
	}
	if ctx.Done() != nil {
		c.SetInterrupt(ctx)
	}
	err := f(c)
	c.SetInterrupt(context.Background())
	if err != nil && isBroken(err) {
		c.close()
		c = nil
	}
	s.readers <- c
	if errors.Is(err, sqlite3.INTERRUPT) && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// snapshot is read for an f of several statements.
func (s *Store) snapshot(ctx context.Context, f func(c *conn) error) error {
	return s.read(ctx, func(c *conn) error {
		if err := c.on("BEGIN").run(); err != nil {
			return err
		}
		err := f(c)
		c.SetInterrupt(context.Background())
		return errors.Join(err, c.on("COMMIT").run())
	})
}

// isBroken reports whether a connection that gave the error is better opened
// anew.
func isBroken(err error) bool {
	for _, code := range []sqlite3.ErrorCode{
		sqlite3.IOERR, sqlite3.CORRUPT, sqlite3.NOTADB, sqlite3.CANTOPEN, sqlite3.PROTOCOL, sqlite3.MISUSE, sqlite3.INTERNAL,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}
