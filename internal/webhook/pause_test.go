package webhook

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

func TestHasten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(always(500))
		w.start(0, endpointNo(1, func(e *Endpoint) { e.Retry = []time.Duration{time.Minute, time.Hour} }))
		w.happen(one, 7, 8)
		if w.d.Hasten(key(1, 1, 9)) || w.d.Hasten(key(2, 1, 7)) {
			t.Error("hastened what is not there")
		}
		time.Sleep(10 * time.Second)
		if !w.d.Hasten(key(1, 1, 7)) {
			t.Error("not hastened")
		}
		time.Sleep(2 * time.Hour)
		w.wantSeen("1#1@0 2#1@0 1#2@10 2#2@60 1#3@3610 2#3@3660")
		w.wantState(key(1, 1, 7), store.Failed, 3, 3)
		if w.d.Hasten(key(1, 1, 7)) {
			t.Error("hastened what is finished")
		}
		w.stop()
	})
}

func TestHastenProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(always(503))
		w.start(0, endpointNo(1, holding))
		w.happen(one, 1, 2, 3)
		time.Sleep(20 * time.Second)
		w.answers(takes(time.Second, 200))
		w.forget()
		if !w.d.Hasten(key(1, 1, 2)) {
			t.Error("not hastened")
		}
		time.Sleep(3 * time.Second)
		if got := w.seen(); !strings.HasPrefix(got, "2#3@0 1#") || len(w.requests) != 3 {
			t.Errorf("requests %s", got)
		}
		w.stop()
	})
}

func TestPause(t *testing.T) {
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict=%v", strict), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var up bool
				w.answer = func(ctx context.Context, r *request) int {
					time.Sleep(time.Second)
					if r.number() == 1 && !up {
						return 500
					}
					return 200
				}
				settings := func(paused bool) Endpoint {
					return endpointNo(1, func(e *Endpoint) { e.Strict, e.Paused = strict, paused })
				}
				set := func(e Endpoint) {
					t.Helper()
					if err := w.d.SetEndpoints([]Endpoint{e}); err != nil {
						t.Fatal(err)
					}
				}
				w.start(32, settings(false))
				w.happen(one, 7, 8)
				time.Sleep(500 * time.Millisecond)
				set(settings(true))
				for range 20 {
					w.happen(one, 7, 8, 9, 10, 11)
				}
				w.redeliver() // of nothing
				time.Sleep(time.Hour)
				// Those in flight have ended, the retry waits.
				w.wantSeen("1#1@0 2#1@0")
				w.wantState(key(1, 1, 8), store.Delivered, 1, 0)
				w.wantState(key(1, 1, 7), store.Pending, 1, 1)
				if s := w.d.Stats(t.Context())[0]; !s.Paused || s.Backlog != 101 || s.InFlight != 0 {
					t.Errorf("stats %+v", s)
				}
				if m := w.memory(1); m > 48 {
					t.Errorf("%d in memory", m)
				}
				w.stop()
				w.start(32, settings(true)) // also over a restart
				time.Sleep(time.Hour)
				w.wantSeen("1#1@0 2#1@0")
				up = true
				set(settings(false))
				time.Sleep(time.Hour)
				w.seen()
				if len(w.requests) != 103 {
					t.Errorf("%d requests", len(w.requests))
				}
				w.checkOrder(strict)
				w.checkAll(1, 102, store.Delivered)
				if s := w.d.Stats(t.Context())[0]; s.Paused || s.Backlog != 0 {
					t.Errorf("stats %+v", s)
				}
				w.stop()
			})
		})
	}
}

func TestPauseWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(w.downUntil(time.Minute))
		w.start(0, endpointNo(1, holding))
		w.happen(one, 1, 2)
		time.Sleep(time.Second)
		if err := w.d.SetEndpoints([]Endpoint{endpointNo(1, func(e *Endpoint) { e.Hold, e.Paused = true, true })}); err != nil {
			t.Fatal(err)
		}
		w.forget()
		time.Sleep(2 * time.Hour)
		w.wantSeen("")
		if err := w.d.SetEndpoints([]Endpoint{endpointNo(1, holding)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.checkAll(1, 2, store.Delivered)
		w.stop()
	})
}

func TestEndpointHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = func(_ context.Context, r *request) int { return []int{200, 404, 503, 503, 200}[r.number()-1] }
		w.start(0, endpointNo(1, func(e *Endpoint) { e.Retry = []time.Duration{} }))
		want := EndpointStats{Endpoint: 1, App: 1}
		for i, problem := range []string{
			"", "answered 404 Not Found", "answered 503 Service Unavailable", "answered 503 Service Unavailable", "",
		} {
			w.happen(one, call.ID(i+1))
			at := call.At(time.Now())
			time.Sleep(time.Second)
			if problem == "" {
				want.LastSuccess, want.Failures = at, 0
			} else {
				want.LastFailure, want.LastError = at, problem
				want.Failures++
			}
			if got := w.d.Stats(t.Context())[0]; got != want {
				t.Errorf("after event %d: %+v, want %+v", i+1, got, want)
			}
		}
		w.stop()
	})
}

func TestTestsAreMarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(0, endpointNo(1, nil))
		synctest.Wait()
		ev := w.store.commit(0, 1)
		ev.Test = true
		w.d.HandOff([]*store.Event{ev})
		w.seen()
		if len(w.requests) != 1 || !w.requests[0].test {
			t.Errorf("requests %+v", w.requests[0])
		}
		w.happen(one, 7)
		w.seen()
		if len(w.requests) != 2 || w.requests[1].test {
			t.Error("a real event is marked as a test")
		}
		w.stop()
	})
}
