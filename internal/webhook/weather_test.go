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
	c.jobs = NewRedeliverer(c.store, c.d, nil, nil)
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
