// Package pgtest gives tests a PostgreSQL server and databases on it.
//
// A test binary shares one server, which the first Database starts from the
// installed programs, in a temporary directory and on a free port of
// 127.0.0.1, and which Main stops; RINGBACK_TEST_POSTGRES_BIN names the
// directory of other programs. If RINGBACK_TEST_POSTGRES has the URL of a
// database whose user may make others, that server is used instead. Without
// any, tests are skipped, or fail if RINGBACK_TEST_REQUIRE names postgres.
package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// External is the variable with the URL of a server to use.
const External = "RINGBACK_TEST_POSTGRES"

// Programs is the variable with the directory of the initdb and postgres to
// use.
const Programs = "RINGBACK_TEST_POSTGRES_BIN"

// shared is the server of the test binary.
var shared struct {
	sync.Mutex
	server *Server
	err    error // of starting it
}

// Main runs the tests of a binary and stops the server they shared; TestMain
// exits with what it gives.
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		if err := shared.server.remove(); err != nil {
			fmt.Fprintln(os.Stderr, "pgtest:", err)
			return max(code, 1)
		}
	}
	return code
}

// Database makes an empty database and gives its URL.
func Database(t testing.TB) string {
	t.Helper()
	if external := os.Getenv(External); external != "" {
		name := create(t, external)
		t.Cleanup(func() { drop(t, external, name) })
		return withName(t, external, name)
	}
	return sharedServer(t).Database(t)
}

func sharedServer(t testing.TB) *Server {
	t.Helper()
	programs := find(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = launch(programs, Place{})
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// Launch starts a server that the test has to itself, may stop and start
// again, and that is gone when the test ends.
func Launch(t testing.TB, at Place) *Server {
	t.Helper()
	s, err := launch(find(t), at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.remove(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Database makes an empty database on the server and gives its URL.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	return withName(t, s.URL(), create(t, s.URL()))
}

// create makes a database on the server of a URL and gives its name.
func create(t testing.TB, server string) string {
	t.Helper()
	name := "ringback_" + strings.ToLower(rand.Text())
	Exec(t, server, fmt.Sprintf("CREATE DATABASE %s TEMPLATE template0 ENCODING 'UTF8'", name))
	return name
}

func drop(t testing.TB, server, name string) {
	t.Helper()
	Exec(t, server, fmt.Sprintf("DROP DATABASE %s WITH (FORCE)", name))
}

// Exec carries statements out by a connection of their own.
func Exec(t testing.TB, url string, statements ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// With gives a URL with a parameter more.
func With(t testing.TB, address, key, value string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(key, value)
	u.RawQuery = q.Encode()
	return u.String()
}

// withName gives the URL of another database of a server.
func withName(t testing.TB, server, name string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil || u.Host == "" {
		t.Fatalf("%s is not a URL like postgres://user@host/database", External)
	}
	u.Path = "/" + name
	return u.String()
}
