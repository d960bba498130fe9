package sqlite

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/ncruces/go-sqlite3"
	"golang.org/x/sys/unix"
)

// conn is a connection and its prepared statements.
type conn struct {
	*sqlite3.Conn
	statements map[string]*statement
}

// connect opens a connection to the database by way of a file system; "" is
// that of the operating system.
func (s *Store) connect(vfs string, flags sqlite3.OpenFlag, pragmas ...string) (*conn, error) {
	name := s.path
	if vfs != "" {
		name = (&url.URL{Scheme: "file", Path: s.path, RawQuery: "vfs=" + vfs}).String()
		flags |= sqlite3.OPEN_URI
	}
	db, err := sqlite3.OpenFlags(name, flags)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: db, statements: make(map[string]*statement)}
	if err := db.BusyTimeout(busyTimeout); err != nil {
		return nil, errors.Join(err, c.close())
	}
	for _, p := range pragmas {
		if err := db.Exec("PRAGMA " + p); err != nil {
			return nil, errors.Join(fmt.Errorf("pragma %s: %w", p, err), c.close())
		}
	}
	return c, nil
}

// close closes the connection. Nil is closed already.
func (c *conn) close() error {
	if c == nil {
		return nil
	}
	c.SetInterrupt(context.Background())
	for _, st := range c.statements {
		st.Close() // gives the error of its last step again
	}
	return c.Conn.Close()
}

// on gives the prepared statement of that text, ready for its first value. An
// error of preparing it is given by the statement.
func (c *conn) on(sql string) *statement {
	st := c.statements[sql]
	if st == nil {
		prepared, _, err := c.Prepare(sql)
		if err != nil {
			return &statement{err: err}
		}
		st = &statement{Stmt: prepared}
		c.statements[sql] = st
	}
	st.n, st.err = 0, nil
	return st
}

// statement is a prepared statement whose values are given one after the
// other. It keeps the first error until run or end.
type statement struct {
	*sqlite3.Stmt
	n   int // values given
	err error
}

func (s *statement) int(v int64) *statement {
	if s.err == nil {
		s.n++
		s.err = s.BindInt64(s.n, v)
	}
	return s
}

func (s *statement) text(v string) *statement {
	if s.err == nil {
		s.n++
		s.err = s.BindText(s.n, v)
	}
	return s
}

// blob gives bytes; nil becomes NULL.
func (s *statement) blob(v []byte) *statement {
	if s.err != nil {
		return s
	}
	s.n++
	if v == nil {
		s.err = s.BindNull(s.n)
	} else {
		s.err = s.BindBlob(s.n, v)
	}
	return s
}

func (s *statement) bool(v bool) *statement {
	if v {
		return s.int(1)
	}
	return s.int(0)
}

func (s *statement) null() *statement {
	if s.err == nil {
		s.n++
		s.err = s.BindNull(s.n)
	}
	return s
}

// run carries the statement out.
func (s *statement) run() error {
	if s.err != nil {
		return s.err
	}
	return s.Exec()
}

// change carries the statement out and reports whether it changed any row.
func (s *statement) change() (bool, error) {
	if err := s.run(); err != nil {
		return false, err
	}
	return s.Conn().Changes() > 0, nil
}

// next moves to the next row and reports whether there is one. After the last
// call of next there must be one of end.
func (s *statement) next() bool { return s.err == nil && s.Step() }

// end ends the reading of rows and gives the error that it met.
func (s *statement) end() error {
	if s.err != nil {
		return s.err
	}
	return s.Reset()
}

// bytes gives a column as a copy; NULL as nil.
func (s *statement) bytes(col int) []byte {
	if s.ColumnType(col) == sqlite3.NULL {
		return nil
	}
	return s.ColumnBlob(col, []byte{})
}

// isFull reports whether an error says that there is no room.
func isFull(err error) bool {
	return errors.Is(err, sqlite3.FULL) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG)
}
