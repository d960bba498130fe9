package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/postgres/pgtest"
)

// TestPoison has commits that the database refuses come among others: they
// fail alone.
func TestPoison(t *testing.T) {
	url := pgtest.Database(t)
	s := held(t, Options{URL: url})
	// One that fails at the very end of the transaction.
	pgtest.Exec(t, url,
		`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
			$$ BEGIN IF NEW.commit_id = 13 THEN RAISE EXCEPTION 'refused' USING ERRCODE = '23514'; END IF; RETURN NEW; END $$`,
		`CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON calls DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`)
	bad := created(7)
	bad.NewUsers = []call.UserID{"\xff"}
	errs, _ := s.together(t, calls(t, s, created(5), created(6), bad, created(8), created(13), created(14))...)
	for i, err := range errs {
		if failed := i == 2 || i == 4; failed != (err != nil) || errors.Is(err, store.ErrUnknown) {
			t.Errorf("commit %d gives %v", i, err)
		}
	}
	for n, want := range map[int]bool{5: true, 6: true, 7: false, 8: true, 13: false, 14: true} {
		if stored(t, s, n) != want {
			t.Errorf("call %d is stored: %v", n, !want)
		}
	}
}

// TestDiskFull has a database on a small file system, which fills and then
// grows.
func TestDiskFull(t *testing.T) {
	url, grow := pgtest.Launch(t, pgtest.Place{}).Small(t, 24)
	s := open(t, Options{URL: url})
	const writers = 8
	var written [writers]int // by each, one after the other
	for written[0] < 100 {   // so that there are pages with room for some more
		if err := s.CommitCall(t.Context(), created(written[0])); err != nil {
			t.Fatal(err)
		}
		written[0]++
	}
	pgtest.Exec(t, url, `CREATE TABLE filler (b text) WITH (autovacuum_enabled = false)`, `ALTER TABLE filler ALTER b SET STORAGE PLAIN`,
		`DO $$ BEGIN LOOP INSERT INTO filler VALUES (repeat('x', 8000)); END LOOP; EXCEPTION WHEN disk_full THEN NULL; END $$`)
	var wg sync.WaitGroup
	for i := range written {
		wg.Go(func() {
			for {
				err := s.CommitCall(t.Context(), created(i*1_000_000+written[i]))
				if err != nil {
					if !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrUnknown) {
						t.Errorf("a commit gives %v", err)
					}
					return
				}
				written[i]++
			}
		})
	}
	wg.Wait()
	t.Logf("calls of each writer: %d", written)
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping, for which there is room, gives %v", err)
	}
	if err := s.Headroom(); !errors.Is(err, store.ErrFull) {
		t.Errorf("Headroom gives %v", err)
	}
	grow()
	for i, n := range written {
		for more := range 50 {
			if err := s.CommitCall(t.Context(), created(i*1_000_000+n+more)); err != nil {
				t.Fatalf("with room again: %v", err)
			}
		}
		for n := range n + 50 {
			if !stored(t, s, i*1_000_000+n) {
				t.Fatalf("call %d of writer %d is lost", n, i)
			}
		}
	}
}

// locker is a transaction that holds the lock of the head.
func locker(t *testing.T, s *Store, url string) pgx.Tx {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	tx, err := conn.Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), takeHead, s.lock)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// TestLostConnection ends the writer's connection in the middle of a batch,
// and has the server take too long for another.
func TestLostConnection(t *testing.T) {
	url := pgtest.Database(t)
	s := held(t, Options{URL: url, Timeout: 2 * time.Second})
	for round, end := range []func(tx pgx.Tx){
		func(tx pgx.Tx) {
			waiter := `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`
			for deadline := time.Now().Add(10 * time.Second); ; {
				done, err := tx.Exec(t.Context(), waiter)
				if err != nil || time.Now().After(deadline) {
					t.Errorf("nobody waits (%v)", err)
				}
				if err != nil || done.RowsAffected() > 0 {
					return
				}
			}
		},
		func(pgx.Tx) {},
	} {
		tx := locker(t, s.Store, url)
		var ending sync.WaitGroup
		ending.Go(func() { end(tx) })
		first := 10*round + 1
		errs, _ := s.together(t, calls(t, s, created(first), created(first+1))...)
		for _, err := range errs {
			if !errors.Is(err, store.ErrUnknown) {
				t.Errorf("a commit of round %d gives %v", round, err)
			}
		}
		ending.Wait()
		if err := tx.Rollback(t.Context()); err != nil {
			t.Error(err)
		}
		errs, _ = s.together(t, calls(t, s, created(first+2))...)
		for _, err := range errs {
			if err != nil {
				t.Errorf("after round %d: %v", round, err)
			}
		}
		if stored(t, s, first) || stored(t, s, first+1) || !stored(t, s, first+2) {
			t.Errorf("round %d: what was never carried out is there, or the next is not", round)
		}
	}
}

// TestNoAnswer asks a server in every way that does not answer: nobody waits
// for good.
func TestNoAnswer(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, Options{URL: url, Timeout: 300 * time.Millisecond})
	tx := locker(t, s, url)
	defer tx.Rollback(t.Context())
	if _, err := tx.Exec(t.Context(), `DO $$ DECLARE t record; BEGIN
		FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema LOOP
			EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', t.tablename);
		END LOOP; END $$`); err != nil {
		t.Fatal(err)
	}
	for name, ask := range map[string]func(ctx context.Context) error{
		"a read": func(ctx context.Context) error { _, err := s.Call(ctx, 1); return err },
		"a snapshot": func(ctx context.Context) error {
			_, err := s.SearchDeliveries(ctx, store.DeliveryQuery{Limit: 1})
			return err
		},
		"a look":        func(ctx context.Context) error { _, err := s.EventsAfter(ctx, 1, 0, 1); return err },
		"a request":     func(ctx context.Context) error { _, err := s.Requested(ctx, 1, "alice", "r", 1); return err },
		"a transaction": func(ctx context.Context) error { return s.AddAudit(ctx, &store.Audit{}) },
		"pruning":       func(ctx context.Context) error { _, err := old{s}.DeleteNonces(ctx, 1, 1); return err },
		"a pipeline":    func(ctx context.Context) error { _, err := s.JoinNode(ctx, "a", time.Second); return err },
		"a commit":      func(ctx context.Context) error { return s.CommitCall(ctx, created(1)) },
	} {
		// A lock that is waited for ends by itself, much later.
		if err := ask(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s gives %v", name, err)
		}
	}
}

// TestServerRestarts kills the server and starts it again, several times,
// while many commit: what was told is so.
func TestServerRestarts(t *testing.T) {
	server := pgtest.Launch(t, pgtest.Place{})
	s := open(t, Options{URL: server.Database(t)})
	const committers = 6
	outcomes := make([][]error, committers)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range outcomes {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				outcomes[i] = append(outcomes[i], s.CommitCall(t.Context(), created(i*1_000_000+n)))
			}
		})
	}
	for range 3 {
		before := lastOf(t, s)
		eventually(t, func() bool { last, err := s.LastEventID(t.Context()); return err == nil && last > before })
		if err := server.Stop(); err != nil {
			t.Fatal(err)
		}
		if err := s.Ping(t.Context()); err == nil {
			t.Error("Ping succeeds without a server")
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() bool {
		return s.CommitCall(t.Context(), created(99_000_000+int(time.Now().UnixNano()%1e6))) == nil
	})
	close(stop)
	wg.Wait()
	counts := map[string]int{}
	for i, list := range outcomes {
		for n, err := range list {
			there := stored(t, s, i*1_000_000+n)
			switch {
			case err == nil:
				counts["written"]++
			case errors.Is(err, store.ErrUnknown):
				counts["unknown"]++
				continue
			default:
				counts["failed"]++
			}
			if there != (err == nil) {
				t.Fatalf("commit %d of %d gave %v, and is stored: %v", n, i, err, there)
			}
		}
	}
	t.Log(counts)
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func lastOf(t *testing.T, s *Store) store.EventID {
	t.Helper()
	var last store.EventID
	eventually(t, func() (ok bool) {
		var err error
		last, err = s.LastEventID(t.Context())
		return err == nil
	})
	return last
}

func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestStoppedNode has a node stop, as a process that is paused, while it holds
// all that it can: another one ends it when its lease has ended, and goes on.
func TestStoppedNode(t *testing.T) {
	url := pgtest.Database(t)
	a, b := open(t, Options{URL: url}), open(t, Options{URL: url})
	if _, err := a.JoinNode(t.Context(), "a", time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := b.JoinNode(t.Context(), "b", time.Second); err != nil {
		t.Fatal(err)
	}
	tx, err := a.pool.Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), fmt.Sprintf("SET LOCAL idle_in_transaction_session_timeout = 0; SELECT pg_advisory_xact_lock(%d)", a.lock))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	eventually(t, func() bool {
		m, err := b.RenewNode(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return len(m.Nodes) == 1
	})
	if err := b.CommitCall(t.Context(), created(1)); err != nil {
		t.Error(err)
	}
	if err := a.CommitCall(t.Context(), created(2)); !errors.Is(err, store.ErrFenced) {
		t.Errorf("a commit of the ended node gives %v", err)
	}
}
