package postgres

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"

	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/postgres/pgtest"
	"github.com/ringback/ringback/internal/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// open opens a store in a database, a new one without a URL, for as long as
// the test runs.
func open(t testing.TB, options Options) *Store {
	t.Helper()
	if options.URL == "" {
		options.URL = pgtest.Database(t)
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// schemas are those of the directories of a suite, in one database, which is
// quicker than a database for each.
type schemas struct {
	sync.Mutex
	base string // URL of the database
	urls map[string]string
}

func newSchemas(t *testing.T) *schemas {
	return &schemas{base: pgtest.Database(t), urls: make(map[string]string)}
}

func (d *schemas) open(t *testing.T, dir string) *Store {
	t.Helper()
	d.Lock()
	url, made := d.urls[dir]
	if !made {
		name := fmt.Sprint("suite", len(d.urls))
		url = d.base + "?search_path=" + name
		d.urls[dir] = url
		pgtest.Exec(t, d.base, "CREATE SCHEMA "+name)
	}
	d.Unlock()
	return open(t, Options{URL: url, Connections: 5})
}

func TestStore(t *testing.T) {
	d := newSchemas(t)
	storetest.Run(t, func(t *testing.T, dir string) store.Store { return d.open(t, dir) })
}

func TestNodes(t *testing.T) {
	d := newSchemas(t)
	storetest.RunNodes(t, func(t *testing.T, dir string) storetest.NodeStore { return d.open(t, dir) })
}
