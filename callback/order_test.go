package callback

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// ordering is a Handler that keeps order, and what it handled.
type ordering struct {
	*Handler
	t *testing.T

	mu    sync.Mutex
	fail  map[int]int // how often a sequence still fails
	takes time.Duration
	got   []string
}

func newOrdering(t *testing.T, o Options) *ordering {
	h := &ordering{t: t, fail: map[int]int{}}
	o.Ordered = true
	o.OnOther = func(_ context.Context, e *Event) error {
		time.Sleep(h.takes)
		h.mu.Lock()
		defer h.mu.Unlock()
		text := fmt.Sprint(e.Sequence)
		if e.Late {
			text += " late"
		}
		if h.fail[e.Sequence] > 0 {
			h.fail[e.Sequence]--
			h.got = append(h.got, text+" failed")
			return errors.New("failed")
		}
		h.got = append(h.got, text)
		return nil
	}
	h.Handler = newHandler(t, o)
	return h
}

func (h *ordering) send(sequence, want int) {
	h.t.Helper()
	wantStatus(h.t, send(h.Handler, accept(fmt.Sprint("evt_", sequence), "1", sequence)), want)
}

func (h *ordering) want(want ...string) {
	h.t.Helper()
	if !slices.Equal(h.got, want) {
		h.t.Errorf("handled %q, want %q", h.got, want)
	}
}

// The schedule of the server, by default: the pauses before each attempt.
var schedule = []time.Duration{0, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second}

// deliver makes attempts as the server does, and gives when the callback was
// taken; 0 when it was given up.
func (h *ordering) deliver(sequence int) time.Duration {
	start := time.Now()
	for _, pause := range schedule {
		time.Sleep(pause)
		if send(h.Handler, accept(fmt.Sprint("evt_", sequence), "1", sequence)).Code == http.StatusNoContent {
			return max(time.Since(start), 1)
		}
	}
	return 0
}

func TestInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newOrdering(t, Options{})
		h.send(1, 204)
		h.send(2, 204)
		h.send(3, 204)
		h.send(2, 204) // a duplicate
		h.want("1", "2", "3")
	})
}

// When the first callback fails, the second comes next; it is handled after
// the repetition of the first, without a further failure to count.
func TestReordered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newOrdering(t, Options{})
		h.fail[1] = 1
		h.send(1, 500)
		begin := time.Now()
		h.send(2, 425)
		if waited := time.Since(begin); waited != DefaultOrderWait {
			t.Errorf("it was held for %v", waited)
		}
		h.send(1, 204)
		h.send(2, 204)
		h.want("1 failed", "1", "2")
	})
}

// A callback whose turn comes while it waits is handled then.
func TestTurnComesWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newOrdering(t, Options{})
		var group sync.WaitGroup
		for _, sequence := range []int{4, 3, 2, 1} {
			group.Go(func() { h.send(sequence, 204) })
			synctest.Wait()
		}
		group.Wait()
		h.want("1", "2", "3", "4")
	})
}

// Handlers of one call do not run at the same time; those of others do.
func TestOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newOrdering(t, Options{})
		h.takes = 10 * time.Second
		var group sync.WaitGroup
		group.Go(func() { h.send(1, 204) })
		synctest.Wait()
		begin := time.Now()
		h.send(2, 425)
		group.Go(func() {
			wantStatus(t, send(h.Handler, accept("evt_other", "2", 1)), 204)
			if took := time.Since(begin); took != 11*time.Second {
				t.Errorf("another call waited: %v", took)
			}
		})
		group.Wait()
		h.takes = 0
		h.send(2, 204)
	})
}

// A whole server's worth: the first callback fails a few times, the others
// come and come again, and all are handled in order within their attempts.
func TestReorderedBySchedule(t *testing.T) {
	for failures := range 4 {
		synctest.Test(t, func(t *testing.T) {
			h := newOrdering(t, Options{})
			h.fail[1] = failures
			var group sync.WaitGroup
			for sequence := range 5 {
				group.Go(func() {
					if h.deliver(sequence+1) == 0 {
						t.Errorf("callback %d was given up", sequence+1)
					}
				})
				synctest.Wait()
			}
			group.Wait()
			if got := h.got[failures:]; !slices.Equal(got, []string{"1", "2", "3", "4", "5"}) {
				t.Errorf("%d failures: handled %q", failures, h.got)
			}
		})
	}
}

// One that never comes does not keep the others for good, and when it comes
// after all it is late.
func TestGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newOrdering(t, Options{})
		var group sync.WaitGroup
		for _, sequence := range []int{2, 3, 4} {
			group.Go(func() {
				if took := h.deliver(sequence); took == 0 || took > 40*time.Second {
					t.Errorf("callback %d took %v", sequence, took)
				}
			})
			synctest.Wait()
		}
		group.Wait()
		h.send(5, 204)
		h.send(1, 204)
		h.want("2", "3", "4", "5", "1 late")
		if h.order.early != 0 {
			t.Errorf("%d are still noted as early", h.order.early)
		}
	})
}

// Each callback has a patience of its own: one that comes when that of
// another is nearly over does not go ahead of it.
func TestPatienceOfEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newOrdering(t, Options{OrderWait: -1})
		h.send(2, 425)
		time.Sleep(DefaultOrderPatience)
		h.send(3, 425)
		h.send(2, 204)
		h.send(3, 204)
		h.want("2", "3")
	})
}

// After a restart a shared store says what was handled; the rest counts as
// missing for a while.
func TestOrderAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &MemoryStore{}
		before := newOrdering(t, Options{Store: store})
		before.send(1, 204)
		before.send(2, 204)

		h := newOrdering(t, Options{Store: store})
		h.send(3, 425)
		h.send(2, 204) // its answer was lost
		h.send(3, 204)
		h.want("3")

		h = newOrdering(t, Options{Store: store})
		if took := h.deliver(4); took < DefaultOrderPatience || took > 40*time.Second {
			t.Errorf("the next callback after a restart took %v", took)
		}
		h.want("4")
	})
}

// When its result cannot be noted, a callback is handled again, which is not
// late.
func TestOrderStoreFails(t *testing.T) {
	store := &brokenStore{finish: errors.New("no connection")}
	h := newOrdering(t, Options{Store: store})
	h.send(1, 500)
	store.finish = nil
	h.send(1, 204)
	h.send(2, 204)
	h.want("1", "1", "2")
}

// Without a sequence, and in tests, there is no order.
func TestNoOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newOrdering(t, Options{})
		h.send(0, 204)
		r := accept("evt_test", "1", 7)
		r.Header.Set("Ringback-Test", "true")
		wantStatus(t, send(h.Handler, r), 204)
		h.want("0", "7")
		if len(h.order.calls) != 0 {
			t.Errorf("%d calls are known", len(h.order.calls))
		}
	})
}

// What is remembered is bounded.
func TestSequencerBounds(t *testing.T) {
	ctx := t.Context()
	s := newSequencer(0, time.Hour)
	for i := range maxCalls + 10 {
		call := fmt.Sprint(i)
		if _, err := s.enter(ctx, call, 1); err != nil {
			t.Fatal(err)
		}
		s.leave(call, 1, true)
	}
	if len(s.calls) != maxCalls || s.quiet.Len() != maxCalls {
		t.Errorf("%d calls are known", len(s.calls))
	}
	if _, err := s.enter(ctx, "0", 2); !errors.Is(err, ErrTooEarly) {
		t.Errorf("the quietest call is still known: %v", err)
	}

	// Quieter calls make room for those who come before their turn …
	s = newSequencer(0, time.Hour)
	for i := range maxEarly + 10 {
		if _, err := s.enter(ctx, fmt.Sprint(i), 2); !errors.Is(err, ErrTooEarly) {
			t.Fatal(err)
		}
	}
	if s.early != maxEarly || len(s.calls) != maxEarly {
		t.Errorf("%d are early in %d calls", s.early, len(s.calls))
	}
	// … and what is too much for one call is let through.
	s = newSequencer(0, time.Hour)
	for i := range maxEarly {
		if _, err := s.enter(ctx, "1", i+2); !errors.Is(err, ErrTooEarly) {
			t.Fatal(err)
		}
	}
	if _, err := s.enter(ctx, "1", maxEarly+2); err != nil {
		t.Error(err)
	}
	s.leave("1", maxEarly+2, true)
	if s.early != 0 {
		t.Errorf("%d are early", s.early)
	}
}

// Only so many requests wait.
func TestWaitersBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSequencer(time.Second, time.Hour)
		for i := range maxWaiting {
			go s.enter(t.Context(), "1", i+2)
		}
		synctest.Wait()
		begin := time.Now()
		if _, err := s.enter(t.Context(), "1", maxWaiting+2); !errors.Is(err, ErrTooEarly) || time.Since(begin) != 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s.waiting != 0 {
			t.Errorf("%d wait", s.waiting)
		}
	})
}
