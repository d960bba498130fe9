package webhook

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// memory is the number of deliveries in memory.
func (w *world) memory(id store.EndpointID) int {
	e := w.d.targets[id]
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.owned)
}

func TestOverflowStaysInTheStore(t *testing.T) {
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict=%v", strict), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.answer = takes(100*time.Millisecond, 200)
				w.start(64, endpointNo(1, func(e *Endpoint) { e.Strict = strict; e.InFlight = 8 }))
				synctest.Wait()
				const n = 1000
				for i := range n {
					w.happen(one, call.ID(1+i%50))
					if i%100 == 99 {
						time.Sleep(10 * time.Millisecond)
					}
					if m := w.memory(1); m > 64 {
						t.Fatalf("%d in memory", m)
					}
				}
				if s := w.d.Stats(t.Context()); s[0].Backlog < n-100 {
					t.Errorf("stats %+v, want all", s)
				}
				time.Sleep(time.Minute)
				w.checkOrder(strict)
				w.checkAll(1, n, store.Delivered)
				if len(w.requests) != n {
					t.Errorf("%d requests for %d deliveries", len(w.requests), n)
				}
				if s := w.d.Stats(t.Context()); s[0].Backlog != 0 || s[0].Oldest != 0 || s[0].InFlight != 0 {
					t.Errorf("stats %+v, want none", s)
				}
				if w.memory(1) != 0 {
					t.Errorf("%d still in memory", w.memory(1))
				}
				// With nothing left in the store, hand-offs need no queries.
				queries := w.store.queries
				w.happen(one, 1, 2, 3)
				time.Sleep(time.Second)
				if w.store.queries != queries {
					t.Errorf("%d queries for a hand-off", w.store.queries-queries)
				}
				w.stop()
			})
		})
	}
}

// More retries than fit into memory must not keep fresh callbacks from their
// first attempt, nor come late themselves.
func TestRetriesGiveWayToFreshCallbacks(t *testing.T) {
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict=%v", strict), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.answer = func(_ context.Context, r *request) int {
					if r.number() <= 500 {
						return 500
					}
					return 200
				}
				w.start(64, endpointNo(1, func(e *Endpoint) {
					e.Strict = strict
					e.Retry = []time.Duration{time.Minute, time.Hour, 24 * time.Hour}
				}))
				synctest.Wait()
				for id := range call.ID(500) {
					w.happen(one, id+1)
					time.Sleep(50 * time.Millisecond)
				}
				time.Sleep(2 * time.Hour)
				begin := time.Since(w.begin)
				for id := range call.ID(100) {
					w.happen(one, id+501)
					time.Sleep(50 * time.Millisecond)
				}
				time.Sleep(48 * time.Hour)
				w.checkAll(1, 500, store.Failed)
				want := 500 * 4
				for _, r := range w.requests {
					if r.number() <= 500 {
						continue
					}
					want++
					if due := begin + time.Duration(r.number()-501)*50*time.Millisecond; r.attempt != 1 || r.start-due > 5*time.Millisecond {
						t.Fatalf("event %d: attempt %d at %v, handed off at %v", r.number(), r.attempt, r.start, due)
					}
				}
				if len(w.requests) != want {
					t.Errorf("%d requests, want %d", len(w.requests), want)
				}
				w.checkRetries([]time.Duration{time.Minute, time.Hour, 24 * time.Hour}, 100*time.Millisecond)
				w.stop()
			})
		})
	}
}

// checkAll checks that deliveries of the endpoint with an event up to n ended
// in the state.
func (w *world) checkAll(endpoint store.EndpointID, n store.EventID, state store.DeliveryState) {
	w.t.Helper()
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	for key, d := range w.store.deliveries {
		if key.Endpoint == endpoint && d.Event <= n && d.State != state {
			w.t.Fatalf("delivery %+v: state %d after %d attempts, want %d", key, d.State, d.Attempts, state)
		}
	}
}

// checkOrder checks that no callback was attempted before the first attempt of
// the one before it ended, or with strict, before it was delivered or given
// up. Redeliveries are left aside.
func (w *world) checkOrder(strict bool) {
	w.t.Helper()
	w.seen()
	calls := make(map[string]map[int]call.ID) // endpoint, event: call
	for k, d := range w.store.deliveries {
		host := fmt.Sprintf("e%d.test", k.Endpoint)
		if calls[host] == nil {
			calls[host] = make(map[int]call.ID)
		}
		calls[host][int(d.Event)] = d.Call
	}
	type place struct {
		endpoint string
		call     call.ID
		sequence int
	}
	first := make(map[place]*request) // the start of the first attempt
	last := make(map[place]*request)
	for _, r := range w.requests {
		at := place{r.endpoint, calls[r.endpoint][r.number()], r.sequence}
		var id int
		fmt.Sscanf(r.endpoint, "e%d.", &id)
		if attempts, ok := w.store.redone[key(id, r.sequence, at.call)]; ok && r.attempt > attempts {
			continue
		}
		if first[at] == nil {
			first[at] = r
		}
		last[at] = r
	}
	for at, r := range first {
		if at.sequence <= 1 {
			continue
		}
		at.sequence--
		before := first[at]
		if strict {
			before = last[at]
		}
		switch {
		case before == nil:
			w.t.Errorf("%+v was never attempted", at)
		case before.end > r.start:
			w.t.Errorf("%+v: the one before ended at %v, this one began at %v", at, before.end, r.start)
		}
	}
}

// checkRetries checks that the attempts of each delivery have the numbers 1,
// 2, 3 …, and came after the pauses, and not much later.
func (w *world) checkRetries(pauses []time.Duration, slack time.Duration) {
	w.t.Helper()
	w.seen()
	last := make(map[string]*request)
	for _, r := range w.requests {
		id := r.endpoint + r.event
		before := last[id]
		last[id] = r
		if before == nil {
			if r.attempt != 1 {
				w.t.Fatalf("%s begins with attempt %d", id, r.attempt)
			}
			continue
		}
		due := before.end + pauses[min(before.attempt, len(pauses))-1]
		if r.attempt != before.attempt+1 || r.start < due || r.start > due+slack {
			w.t.Fatalf("%s: attempt %d ended at %v; attempt %d at %v, want %v", id, before.attempt, before.end, r.attempt, r.start, due)
		}
	}
}

// checkNumbers checks that the attempts of each delivery have the numbers 1, 2,
// 3 …, each once.
func (w *world) checkNumbers() {
	w.t.Helper()
	w.seen()
	last := make(map[string]int)
	for _, r := range w.requests {
		id := r.endpoint + r.event
		if last[id]++; r.attempt != last[id] {
			w.t.Errorf("%s: attempt %d has number %d", id, last[id], r.attempt)
		}
	}
}
