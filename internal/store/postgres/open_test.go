package postgres

import (
	"bytes"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/ringback/ringback/internal/store/postgres/pgtest"
)

// TestOpenRefused says what is told about a database that will not do.
func TestOpenRefused(t *testing.T) {
	good := pgtest.Database(t)
	u, err := url.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	as := func(user, password string) string {
		v := *u
		if v.User = url.User(user); password != "" {
			v.User = url.UserPassword(user, password)
		}
		return v.String()
	}
	ascii := name + "_ascii"
	pgtest.Exec(t, good,
		`DO $$ BEGIN CREATE ROLE locked LOGIN PASSWORD 'right-secret'; EXCEPTION WHEN duplicate_object THEN NULL; END $$`,
		`CREATE DATABASE `+ascii+` TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'`,
		`REVOKE CREATE ON SCHEMA public FROM PUBLIC`,
	)
	newer := pgtest.Database(t)
	open(t, Options{URL: newer}).Close()
	pgtest.Exec(t, newer, "UPDATE ringback_schema SET version = 999")
	readOnly := pgtest.With(t, pgtest.Database(t), "default_transaction_read_only", "on")

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "postgres://x:right-secret@" + l.Addr().String() + "/x"
	l.Close()

	for _, test := range []struct{ name, url, want string }{
		{"nobody there", nobody, "is PostgreSQL running there"},
		{"not an address", "postgres://x:right-secret@host:port/x", "address of the database is wrong"},
		{"words that are wrong", "host=127.0.0.1 password=right-secret port=none", "address of the database is wrong"},
		{"wrong password", as("locked", "wrong-secret"), `the server refuses the password of user "locked"`},
		{"not let in", as("barred", "right-secret"), `does not let user "barred" in`},
		{"no database", strings.Replace(good, name, "none", 1), `CREATE DATABASE "none" OWNER "postgres"`},
		{"no permission", as("locked", "right-secret"), `ALTER DATABASE "` + name + `" OWNER TO "locked"`},
		{"no schema", pgtest.With(t, good, "search_path", "none"), "no schema of the search_path exists"},
		{"encoding", strings.Replace(good, name, ascii, 1), "encoding SQL_ASCII"},
		{"read-only", readOnly, "transactions are read-only"},
		{"newer schema", newer, "written by a newer version of Ringback (its schema has number 999"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			s, err := Open(t.Context(), Options{URL: test.url, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err == nil {
				s.Close()
				t.Fatal("the store opens")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error does not say %q: %v", test.want, err)
			}
			if said := err.Error() + log.String(); strings.Contains(said, "secret") {
				t.Errorf("a password is told: %s", said)
			}
		})
	}
}

// TestOpenTogether has several nodes start on an empty database at once.
func TestOpenTogether(t *testing.T) {
	url := pgtest.Database(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			s, err := Open(t.Context(), Options{URL: url, Connections: 2})
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			s.Close()
		})
	}
	wg.Wait()
}

// TestUnheard has the server's side of each connection end when nothing comes
// back, whether or not it has sent something.
func TestUnheard(t *testing.T) {
	s := open(t, Options{})
	for setting, want := range map[string]string{
		"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3", "tcp_user_timeout": "11000",
	} {
		var got string // as the server has it from the system
		if err := s.pool.QueryRow(t.Context(), "SHOW "+setting).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", setting, got, err, want)
		}
	}
}

func TestTextOf(t *testing.T) {
	for _, s := range []string{"", "plain", "\x00", "\x01", "\x00\x01\x01\x00", "a\x01\x02b", "\x01\x01", "ü\x00ü"} {
		stored := textOf(s)
		if strings.Contains(stored, "\x00") || ofText(stored) != s {
			t.Errorf("%q is stored as %q and read as %q", s, stored, ofText(stored))
		}
	}
	// The order of the bytes stays, and what begins with what.
	var all []string
	for _, a := range []string{"", "\x00", "\x01", "\x02", "a"} {
		for _, b := range []string{"", "\x00", "\x01", "\x02", "a"} {
			all = append(all, a+b, "x"+a+b)
		}
	}
	for _, a := range all {
		for _, b := range all {
			if strings.Compare(a, b) != strings.Compare(textOf(a), textOf(b)) || strings.HasPrefix(a, b) != strings.HasPrefix(textOf(a), textOf(b)) {
				t.Fatalf("%q and %q, stored as %q and %q", a, b, textOf(a), textOf(b))
			}
		}
	}
}
