package postgres

import (
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

// databases are those of the directories of the suite.
type databases struct {
	sync.Mutex
	urls map[string]string
}

func (d *databases) open(t *testing.T, dir string) store.Store {
	t.Helper()
	d.Lock()
	url := d.urls[dir]
	d.Unlock()
	if url == "" {
		url = pgtest.Database(t)
		d.Lock()
		d.urls[dir] = url
		d.Unlock()
	}
	return open(t, Options{URL: url, Connections: 5})
}

func TestStore(t *testing.T) {
	d := &databases{urls: make(map[string]string)}
	storetest.Run(t, d.open)
}
