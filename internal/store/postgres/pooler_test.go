package postgres

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/store/postgres/pgtest"
	"github.com/ringback/ringback/internal/store/storetest"
)

// TestPoolerRefused has a pooler before the server that does not keep sessions
// together, or has too few, and finds nothing left behind in them.
func TestPoolerRefused(t *testing.T) {
	for _, test := range []struct{ name, mode, setting, want string }{
		{"transaction", "transaction", "server_round_robin = 0", "PgBouncer: pool_mode=session"},
		{"transaction, in turns", "transaction", "server_round_robin = 1", "PgBouncer: pool_mode=session"},
		{"statement", "statement", "server_round_robin = 0", "statement pooling"},
		{"too few", "session", "default_pool_size = 1", "does it have 10 sessions for each node?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			database := pgtest.Database(t)
			pooled := pgtest.Pooler(t, database, test.mode, test.setting)
			for range 3 { // the first makes the pooler's sessions
				s, err := Open(t.Context(), Options{URL: pooled, Timeout: time.Second})
				if err == nil {
					s.Close()
					t.Fatal("the store opens")
				}
				if !strings.Contains(err.Error(), test.want) {
					t.Errorf("the error does not say %q: %v", test.want, err)
				}
			}
			if tables := ask[int](t, database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); tables != 0 {
				t.Errorf("there are %d tables", tables)
			}
			for range 5 {
				if mode := ask[string](t, pooled, "SHOW plan_cache_mode"); mode != "auto" {
					t.Errorf("a session of the pooler has plan_cache_mode %s", mode)
				}
			}
		})
	}
}

// ask gives the answer to a query by a connection of its own.
func ask[T any](t *testing.T, url, query string) (v T) {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), query).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestPooled has the contract of nodes, whose fences and ends go by sessions
// of the server, kept behind a pooler that keeps them together.
func TestPooled(t *testing.T) {
	var urls sync.Map // by directory: the only test that has it asks first
	storetest.RunNodes(t, func(t *testing.T, dir string) storetest.NodeStore {
		url, there := urls.Load(dir)
		if !there {
			url = pgtest.Pooler(t, pgtest.Database(t), "session")
			urls.Store(dir, url)
		}
		return open(t, Options{URL: url.(string), Connections: 5})
	})
}
