package server

import (
	"log/slog"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/store/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestCloseWaitsForReload closes a node that has been told of a change of apps,
// and waits for the store to say which: nothing of that goes on afterwards.
func TestCloseWaitsForReload(t *testing.T) {
	cfg := config.Default()
	cfg.Store, cfg.Node = pgtest.Database(t), "one"
	s, err := Open(t.Context(), cfg, Options{Logger: slog.New(slog.DiscardHandler), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	other, err := pgx.Connect(t.Context(), cfg.Store)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(t.Context())
	tx, err := other.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	if _, err := tx.Exec(t.Context(), "LOCK TABLE endpoints"); err != nil {
		t.Fatal(err)
	}
	s.registry.Hint()
	for deadline := time.Now().Add(patience); ; {
		waits := 0
		err := tx.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE relation = 'endpoints'::regclass AND NOT granted").Scan(&waits)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("nobody reads the endpoints (%v)", err)
		}
		if waits > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	stacks := make([]byte, 1<<20)
	if text := string(stacks[:runtime.Stack(stacks, true)]); strings.Contains(text, "registry.(*Registry)") {
		t.Errorf("after Close:\n%s", text)
	}
}
