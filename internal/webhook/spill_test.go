package webhook

import (
	"context"
	"fmt"
	"math/rand/v2"
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

// chaos is what operators do to a world.
type chaos struct {
	*world
	rnd       *rand.Rand
	endpoints []Endpoint
	jobs      *Redeliverer
	late      [][]*store.Delivery // made pending, but not yet handed over
}

func (c *chaos) start(capacity int) {
	c.late = nil // they are lost with those who had them
	c.world.start(capacity, c.endpoints...)
	c.jobs = NewRedeliverer(c.store, c.d, nil)
	c.jobs.Start()
}

// operate does something to endpoints or deliveries, or nothing.
func (c *chaos) operate() {
	var some []store.DeliveryKey
	c.store.mu.Lock()
	for id := range call.ID(30) {
		if c.rnd.IntN(8) == 0 {
			some = append(some, key(1+c.rnd.IntN(3), 1+c.rnd.IntN(12), id+1))
		}
	}
	c.store.mu.Unlock()
	switch c.rnd.IntN(12) {
	case 0:
		e := &c.endpoints[c.rnd.IntN(len(c.endpoints))]
		e.Paused = !e.Paused
		if err := c.d.SetEndpoints(c.endpoints); err != nil {
			c.t.Fatal(err)
		}
	case 1, 2, 3:
		list, err := c.store.Redeliver(c.t.Context(), some, nil, call.At(time.Now()))
		switch {
		case err != nil: // by the weather: nothing was written
		case c.rnd.IntN(3) == 0:
			c.late = append(c.late, list)
			c.d.Wake(store.EndpointID(1 + c.rnd.IntN(3)))
		default:
			c.d.Redeliver(list)
		}
	case 4, 5, 6:
		for _, key := range some {
			c.d.Hasten(key)
		}
	case 7:
		q := store.DeliveryQuery{Endpoint: store.EndpointID(c.rnd.IntN(4))}
		_, _ = c.jobs.Begin(c.t.Context(), q, 1+c.rnd.IntN(MaxPerSecond), nil) // the weather may forbid it
	case 8, 9:
		c.handOverLate()
	}
}

func (c *chaos) handOverLate() {
	for _, list := range c.late {
		c.d.Redeliver(list)
	}
	c.late = nil
}

// TestAnyWeather lets everything go wrong at once: endpoints fail, hang and
// come back, the store fails and is slow, memory is short, the server is
// restarted and crashes, and operators pause endpoints, redeliver one by one
// and in bulk, and make retries due.
func TestAnyWeather(t *testing.T) {
	seeds := uint64(20)
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { anyWeather(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func anyWeather(t *testing.T, rnd *rand.Rand) {
	w := newWorld(t)
	chances := map[string]int{"e1.test": rnd.IntN(60), "e2.test": rnd.IntN(60), "e3.test": 0}
	crashes := rnd.IntN(2) == 0
	network := rand.New(rand.NewPCG(rnd.Uint64(), 2))
	w.answer = func(ctx context.Context, r *request) int {
		w.mu.Lock()
		chance, pause, hangs := network.IntN(100), network.IntN(200), network.IntN(50) == 0
		fails := chance < chances[r.endpoint]
		w.mu.Unlock()
		switch {
		case fails && hangs:
			return hang(ctx, r)
		case fails:
			return takes(time.Duration(pause)*time.Millisecond, 500)(ctx, r)
		}
		return takes(time.Duration(pause)*time.Millisecond, 200)(ctx, r)
	}
	strict := rnd.IntN(2) == 0
	common := func(e *Endpoint) {
		e.Strict = strict
		e.InFlight = 1 + rnd.IntN(8)
		e.Retry = []time.Duration{time.Second, 5 * time.Second, 20 * time.Second}
	}
	endpoints := []Endpoint{
		endpointNo(1, common),
		endpointNo(2, func(e *Endpoint) { common(e); e.Hold = true }),
		endpointNo(3, common),
	}
	capacity := 4 + rnd.IntN(100)
	c := &chaos{world: w, rnd: rnd, endpoints: endpoints}
	c.start(capacity)
	events := 0
	for range 100 {
		for range rnd.IntN(8) {
			w.happen([]store.EndpointID{1, 2, 3}, call.ID(1+rnd.IntN(30)))
			events++
		}
		switch rnd.IntN(30) {
		case 0:
			w.weather(0, nil)
			c.jobs.Close()
			w.stop()
			c.start(capacity)
		case 1:
			if crashes {
				c.jobs.Close()
				w.crash()
				c.start(capacity)
			}
		case 2:
			w.weather(time.Duration(rnd.IntN(300))*time.Millisecond, []error{nil, store.ErrUnknown}[rnd.IntN(2)])
		}
		c.operate()
		time.Sleep(time.Duration(rnd.IntN(400)) * time.Millisecond)
		if rnd.IntN(5) == 0 {
			w.weather(0, nil)
		}
	}
	w.weather(0, nil)
	w.mu.Lock()
	clear(chances) // an endpoint that holds and fails often takes its time
	w.mu.Unlock()
	for i := range endpoints {
		endpoints[i].Paused = false
	}
	if err := w.d.SetEndpoints(endpoints); err != nil {
		t.Fatal(err)
	}
	c.handOverLate()
	for id := range store.EndpointID(3) {
		w.d.Wake(id + 1)
	}
	time.Sleep(time.Hour)

	w.seen()
	if !crashes {
		w.checkNumbers()
	}
	for id, job := range w.store.jobs {
		if job.State != store.RedeliveryDone || job.Done+job.Skipped < job.Total {
			t.Errorf("job %d: %+v", id, job)
		}
	}
	w.checkOrder(strict && !crashes) // a crash repeats attempts
	for _, e := range endpoints {
		if most := w.most[e.URL[len("http://"):][:7]]; most > e.InFlight {
			t.Errorf("endpoint %d: %d in flight, the cap is %d", e.ID, most, e.InFlight)
		}
		if m := w.memory(e.ID); m != 0 {
			t.Errorf("endpoint %d: %d still in memory", e.ID, m)
		}
		if n := w.d.redelivering(e.ID); n != 0 {
			t.Errorf("endpoint %d: %d redeliveries are awaited", e.ID, n)
		}
	}
	for key, d := range w.store.deliveries {
		switch {
		case d.State == store.Pending, key.Endpoint == 3 && d.State != store.Delivered, d.State == store.Failed && d.Failures != 4:
			t.Errorf("delivery %+v of %d events: state %d, %d attempts, %d failures", key, events, d.State, d.Attempts, d.Failures)
		}
	}
	c.jobs.Close()
	w.stop()
}
