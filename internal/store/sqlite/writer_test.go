package sqlite

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// held opens a store whose writer waits before each batch for a token, and
// gives the sizes of the batches.
func held(t *testing.T, options Options) (s *Store, tokens chan struct{}, batches chan int) {
	tokens, batches = make(chan struct{}, 100), make(chan int, 1000)
	free := make(chan struct{})
	options.beforeBatch = func() {
		select {
		case <-tokens:
		case <-free:
		}
	}
	options.afterTransact = func(n int) { batches <- n }
	s = open(t, options)
	t.Cleanup(func() { close(free) })
	return s, tokens, batches
}

// queued waits until so many requests are in the queue.
func queued(t *testing.T, s *Store, n int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for len(s.line.Queue) < n {
		if time.Now().After(deadline) {
			t.Fatalf("%d requests are queued, want %d", len(s.line.Queue), n)
		}
		runtime.Gosched()
	}
}

func TestGroupCommit(t *testing.T) {
	s, tokens, batches := held(t, Options{maxBatch: 50})
	var wg sync.WaitGroup
	for n := range 120 {
		wg.Go(func() {
			if err := s.CommitCall(t.Context(), created(n+1)); err != nil {
				t.Error(err)
			}
		})
	}
	queued(t, s, 120)
	for range 3 {
		tokens <- struct{}{}
	}
	wg.Wait()
	if got := []int{<-batches, <-batches, <-batches}; !slices.Equal(got, []int{50, 50, 20}) {
		t.Errorf("batches of %v, want 50, 50, 20", got)
	}
}

// TestGroupOfOneCall has transitions of one call, and commits that are
// refused, share a transaction.
func TestGroupOfOneCall(t *testing.T) {
	s, tokens, batches := held(t, Options{})
	commits := []*store.CallCommit{created(1)}
	for n := 2; n <= 10; n++ {
		commits = append(commits, joined(commits[n-2].Call, n))
	}
	stale := joined(commits[3].Call, 50)
	taken := created(1)
	taken.Events = nil
	order := slices.Concat(commits, []*store.CallCommit{stale, taken})
	errs := make([]error, len(order))
	var wg sync.WaitGroup
	for i, c := range order {
		wg.Go(func() { errs[i] = s.CommitCall(t.Context(), c) })
		queued(t, s, i+1)
	}
	tokens <- struct{}{}
	wg.Wait()
	if n := <-batches; n != len(order) {
		t.Errorf("a batch of %d, want %d", n, len(order))
	}
	for i, err := range errs {
		if refused := i >= len(commits); refused != errors.Is(err, store.ErrConflict) || !refused && err != nil {
			t.Errorf("commit %d gives %v", i, err)
		}
	}
	r, err := s.Call(t.Context(), commits[0].Call.ID)
	if err != nil || r.Call.Version != 10 || r.CommitID != 10 {
		t.Errorf("the call is %+v (%v)", r, err)
	}
	ds, err := s.DeliveriesOf(t.Context(), commits[0].Call.ID)
	if err != nil || len(ds) != 10 {
		t.Errorf("%d deliveries, want 10 (%v)", len(ds), err)
	}
}

// TestContextWhileQueued gives up what is queued, but not what is taken.
func TestContextWhileQueued(t *testing.T) {
	s, tokens, _ := held(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.CommitCall(ctx, created(1)); !errors.Is(err, context.Canceled) {
			t.Errorf("abandoned commit gives %v", err)
		}
	})
	queued(t, s, 1)
	cancel()
	wg.Wait()
	wg.Go(func() {
		if err := s.CommitCall(t.Context(), created(2)); err != nil {
			t.Error(err)
		}
	})
	queued(t, s, 2)
	tokens <- struct{}{}
	wg.Wait()
	if _, err := s.Call(t.Context(), created(1).Call.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the abandoned call gives %v", err)
	}
	if _, err := s.Call(t.Context(), created(2).Call.ID); err != nil {
		t.Error(err)
	}

	taken, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		err := s.submit(taken, func(*writer) error { cancel(); return nil })
		if err != nil {
			t.Errorf("a commit that was taken gives %v", err)
		}
	})
	queued(t, s, 1)
	tokens <- struct{}{}
	wg.Wait()
}

// TestCloseDrains closes while commits are queued: each is either written or
// told that it was not.
func TestCloseDrains(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Options{Dir: dir, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	errs := make([]error, 2000)
	var wg sync.WaitGroup
	started := make(chan struct{}, len(errs))
	for n := range errs {
		wg.Go(func() {
			started <- struct{}{}
			errs[n] = s.CommitCall(t.Context(), created(n+1))
		})
	}
	for range 500 {
		<-started
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	s = open(t, Options{Dir: dir})
	for n, err := range errs {
		_, found := s.Call(t.Context(), created(n+1).Call.ID)
		switch {
		case err == nil && found == nil, errors.Is(err, store.ErrClosed) && errors.Is(found, store.ErrNotFound):
		default:
			t.Errorf("commit %d gave %v, its call gives %v", n, err, found)
		}
	}
}

// TestReadWhileWriting reads while the writer holds a transaction.
func TestReadWhileWriting(t *testing.T) {
	s := open(t, Options{})
	if err := s.CommitCall(t.Context(), created(1)); err != nil {
		t.Fatal(err)
	}
	inside, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := s.submit(t.Context(), func(w *writer) error {
			if err := w.commitCall(created(2), []byte("{}")); err != nil {
				return err
			}
			close(inside)
			<-leave
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-inside
	if _, err := s.Call(t.Context(), created(1).Call.ID); err != nil {
		t.Error(err)
	}
	if _, err := s.Call(t.Context(), created(2).Call.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what is not committed gives %v", err)
	}
	close(leave)
	wg.Wait()
	if _, err := s.Call(t.Context(), created(2).Call.ID); err != nil {
		t.Error(err)
	}
}

// TestReadContext ends a read that takes long.
func TestReadContext(t *testing.T) {
	s := open(t, Options{Readers: 1})
	ctx, cancel := context.WithCancel(t.Context())
	err := s.read(ctx, func(c *conn) error {
		cancel()
		_, err := c.number("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the read gives %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	err = s.read(t.Context(), func(*conn) error {
		cancel()
		_, err := s.Call(ctx, 1) // the only connection is taken
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for a connection gives %v", err)
	}
	if _, err := s.Call(t.Context(), 1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the next read gives %v", err)
	}
}

// TestLogStaysBounded writes and reads without a pause.
func TestLogStaysBounded(t *testing.T) {
	const threshold, committers, commits = 200, 8, 120
	s := open(t, Options{checkpointAt: threshold})
	var longest atomic.Int64
	var wg sync.WaitGroup
	for i := range committers {
		wg.Go(func() {
			for n := range commits {
				if err := s.CommitCall(t.Context(), created(i*commits+n+1)); err != nil {
					t.Error(err)
					return
				}
				if _, _, err := s.CallsOf(t.Context(), 1, "alice", 0, 20); err != nil {
					t.Error(err)
				}
				for seen, pages := longest.Load(), s.walPages.Load(); seen < pages; seen = longest.Load() {
					longest.CompareAndSwap(seen, pages)
				}
			}
		})
	}
	wg.Wait()
	if pages := longest.Load(); pages < threshold || pages > 10*threshold {
		t.Errorf("the log grew to %d pages, the threshold is %d", pages, threshold)
	} else {
		t.Logf("the log grew to %d pages", pages)
	}
}

func TestHeadroom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free, asked := int64(10<<20), 0
		s := open(t, Options{Reserve: 8 << 20, Free: func() (int64, error) { asked++; return free, nil }})
		for range 10 {
			if err := s.Headroom(); err != nil {
				t.Fatal(err)
			}
		}
		free = 3 << 20
		if err := s.Headroom(); err != nil || asked != 1 {
			t.Fatalf("Headroom gives %v, having measured %d times within a second", err, asked)
		}
		time.Sleep(time.Second)
		err := s.Headroom()
		if !errors.Is(err, store.ErrFull) {
			t.Fatalf("Headroom gives %v", err)
		}
		for _, part := range []string{"3 MiB left", "8 MiB", "make room", s.options.Dir} {
			contains(t, err, part)
		}
		// What lives goes on.
		if err := s.CommitCall(t.Context(), created(1)); err != nil {
			t.Fatal(err)
		}
		free = 9 << 20
		time.Sleep(time.Second)
		if err := s.Headroom(); err != nil {
			t.Fatal(err)
		}
		s.room.free = func() (int64, error) { return 0, errors.New("no such disk") }
		time.Sleep(time.Second)
		contains(t, s.Headroom(), "no such disk")
	})
}

func TestHeadroomOfDisk(t *testing.T) {
	if err := open(t, Options{Reserve: 1}).Headroom(); err != nil {
		t.Error(err)
	}
	if err := open(t, Options{Reserve: 1 << 60}).Headroom(); !errors.Is(err, store.ErrFull) {
		t.Errorf("Headroom gives %v", err)
	}
}

// TestBubble runs the store where time stands still unless all wait, as they do
// for nothing but to commit together.
func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{checkpointAt: 50})
		began := time.Now()
		var wg sync.WaitGroup
		for n := range 200 {
			wg.Go(func() {
				if err := s.CommitCall(t.Context(), created(n+1)); err != nil {
					t.Error(err)
				}
				if _, err := s.Call(t.Context(), created(n+1).Call.ID); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		if _, err := s.Prune(t.Context(), call.At(time.Now()), 10); err != nil {
			t.Error(err)
		}
		if passed := time.Since(began); passed > 200*gatherPause {
			t.Errorf("%v passed, more than to gather each", passed)
		}
		time.Sleep(time.Hour)
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
