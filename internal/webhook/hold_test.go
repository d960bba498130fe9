package webhook

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

func holding(e *Endpoint) { e.Hold = true }

// downUntil fails everything until a time, seen from the beginning of the
// world.
func (w *world) downUntil(until time.Duration) func(context.Context, *request) int {
	return func(context.Context, *request) int {
		if time.Since(w.begin) < until {
			return 503
		}
		return 200
	}
}

func TestHoldProbesAtGrowingIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = w.downUntil(200 * time.Second)
		w.start(0, endpointNo(1, holding))
		w.happen(one, 7)
		time.Sleep(time.Hour)
		w.wantSeen("1#1@0 1#2@2 1#3@6 1#4@14 1#5@30 1#6@62 1#7@122 1#8@182 1#9@242")
		w.wantState(key(1, 1, 7), store.Delivered, 9, 0)
		w.stop()
	})
}

func TestHoldDrainsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		down := w.downUntil(10 * time.Second)
		w.answer = func(ctx context.Context, r *request) int {
			status := down(ctx, r)
			if status == 200 {
				time.Sleep(100 * time.Millisecond)
			}
			return status
		}
		w.start(0, endpointNo(1, holding))
		w.happen(one, 7, 7)
		time.Sleep(5 * time.Second)
		w.happen(one, 7, 8)
		time.Sleep(time.Hour)
		// Another one is probed each time; when the endpoint is up, a call's
		// callbacks go one after another, those of different calls together.
		w.wantSeen("1#1@0 2#1@2 3#1@6 4#1@14 1#2@14.1 2#2@14.2 3#2@14.3")
		w.wantState(key(1, 1, 7), store.Delivered, 2, 0)
		w.stop()
	})
}

func TestHoldKeepsWhatIsRefused(t *testing.T) {
	for _, status := range []int{0, 429, 500, 503} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.answer = always(status)
			w.start(0, endpointNo(1, holding))
			w.happen(one, 7)
			time.Sleep(24 * time.Hour)
			if d := w.store.get(key(1, 1, 7)); d.State != store.Pending || d.Failures != 0 || d.Attempts < 1000 {
				t.Errorf("status %d: %+v", status, d)
			}
			if s := w.d.Stats(t.Context()); !s[0].Down || s[0].Backlog != 1 || s[0].Oldest == 0 {
				t.Errorf("stats %+v", s)
			}
			w.stop()
		})
	}
}

func TestHoldCountsRefusalsOfTheCallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = always(404)
		w.start(0, endpointNo(1, holding))
		w.happen(one, 7)
		time.Sleep(time.Hour)
		w.wantSeen("1#1@0 1#2@2 1#3@6 1#4@14 1#5@30 1#6@62")
		w.wantState(key(1, 1, 7), store.Failed, 6, 6)
		w.stop()
	})
}

func TestHoldGivesUpAPoisonedDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = func(_ context.Context, r *request) int {
			if r.event == "evt_1" {
				return 500
			}
			time.Sleep(500 * time.Millisecond)
			return 200
		}
		w.start(0, endpointNo(1, func(e *Endpoint) { e.Hold = true; e.Retry = []time.Duration{10 * time.Second} }))
		w.happen(one, 7, 7, 8)
		time.Sleep(time.Hour)
		// At 0 the endpoint seems to be down, until 3 is answered; then 1 fails
		// again, which counts, and does not hold back 2.
		w.wantSeen("1#1@0 3#1@0 1#2@0.5 2#1@0.5 1#3@10.5")
		w.wantState(key(1, 1, 7), store.Failed, 3, 2)
		w.wantState(key(1, 2, 7), store.Delivered, 1, 0)
		w.stop()
	})
}

func TestHoldGivesUpTwoPoisonedDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = func(_ context.Context, r *request) int {
			if r.event == "evt_1" || r.event == "evt_2" {
				return 500
			}
			return 200
		}
		w.start(0, endpointNo(1, holding))
		w.happen(one, 7, 8)
		for id := range call.ID(600) {
			time.Sleep(time.Second)
			w.happen(one, 100+id)
		}
		w.wantState(key(1, 1, 7), store.Failed, w.store.get(key(1, 1, 7)).Attempts, 6)
		w.wantState(key(1, 1, 8), store.Failed, w.store.get(key(1, 1, 8)).Attempts, 6)
		w.wantState(key(1, 1, 699), store.Delivered, w.store.get(key(1, 1, 699)).Attempts, 0)
		w.stop()
	})
}

// An endpoint that comes back for a moment must not cost those that are still
// held their attempts.
func TestHoldSurvivesABriefRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		answered := false // the requests come one after another
		w.answer = func(context.Context, *request) int {
			now := time.Since(w.begin)
			if now > time.Hour || now == 62*time.Second && !answered {
				answered = true
				return 200
			}
			return 503
		}
		w.start(0, endpointNo(1, func(e *Endpoint) { e.Hold = true; e.InFlight = 1 }))
		for id := range call.ID(5) {
			w.happen(one, id+1)
		}
		time.Sleep(2 * time.Hour)
		for id := range call.ID(5) {
			if d := w.store.get(key(1, 1, id+1)); d.State != store.Delivered || d.Failures > 1 {
				t.Errorf("delivery %d: %+v", id+1, d)
			}
		}
		w.stop()
	})
}

func TestHoldTurnedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = w.downUntil(5 * time.Second)
		w.start(0, endpointNo(1, holding))
		w.happen(one, 7, 8)
		time.Sleep(5 * time.Second)
		if err := w.d.SetEndpoints([]Endpoint{endpointNo(1, nil)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		for _, id := range []call.ID{7, 8} {
			w.wantState(key(1, 1, id), store.Delivered, w.store.get(key(1, 1, id)).Attempts, 0)
		}
		w.stop()
	})
}
