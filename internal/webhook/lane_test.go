package webhook

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// finish makes deliveries of the calls, lets them be delivered, and forgets
// the requests.
func (w *world) finish(calls ...call.ID) []store.DeliveryKey {
	w.t.Helper()
	var keys []store.DeliveryKey
	for _, id := range calls {
		w.happen(one, id)
		keys = append(keys, key(1, w.store.sequences[1][id], id))
	}
	time.Sleep(10*time.Minute + 2*recordLinger)
	synctest.Wait()
	w.forget()
	return keys
}

// forget begins a new list of requests, whose times count from now.
func (w *world) forget() {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests, w.begin = nil, time.Now()
	clear(w.most)
}

func calls(from, n int) []call.ID {
	list := make([]call.ID, n)
	for i := range list {
		list[i] = call.ID(from + i)
	}
	return list
}

// hook sets what happens once when results are durable.
func (w *world) hook(at *func(), then func()) {
	var once sync.Once
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	*at = func() { once.Do(then) }
}

func TestRedeliveriesGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(0, endpointNo(1, func(e *Endpoint) { e.InFlight = 16 }))
		old := w.finish(calls(1, 40)...)
		w.answers(takes(time.Second, 200))
		w.redeliver(old...)
		time.Sleep(500 * time.Millisecond)
		// With nothing else to do, the low lane has a share of 16/8.
		if got := w.mostInFlight("e1.test"); got != 2 {
			t.Errorf("%d in flight", got)
		}
		if s := w.d.Stats(t.Context())[0]; s.Redelivering != 40 || s.Backlog != 40 {
			t.Errorf("stats %+v", s)
		}
		w.happen(one, calls(101, 20)...)
		time.Sleep(time.Second)
		live := 0
		for event := range strings.FieldsSeq(w.seen()) {
			if strings.Contains(event, "#1@") {
				live++
			}
		}
		// 14 beside the two, and then the rest: none waits for the low lane.
		if most := w.mostInFlight("e1.test"); live != 20 || most != 16 {
			t.Errorf("%d of 20 live ones begun, %d in flight", live, most)
		}
		time.Sleep(time.Minute)
		w.checkAll(1, 60, store.Delivered)
		if s := w.d.Stats(t.Context())[0]; s.Redelivering != 0 || s.Backlog != 0 || w.memory(1) != 0 {
			t.Errorf("stats %+v", s)
		}
		w.stop()
	})
}

func TestRedeliveryBeginsTheScheduleAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(always(500))
		w.start(0, endpointNo(1, func(e *Endpoint) { e.Retry = []time.Duration{2 * time.Second, 4 * time.Second} }))
		keys := w.finish(7)
		w.redeliver(keys...)
		time.Sleep(time.Minute)
		w.wantSeen("1#4@0 1#5@2 1#6@6")
		w.wantState(keys[0], store.Failed, 6, 3)
		if log := w.store.log[keys[0]]; len(log) != 6 || log[5].Number != 6 {
			t.Errorf("log %+v", log)
		}
		w.stop()
	})
}

// The result of a delivery is durable, and it is made pending again before the
// endpoint is told.
func TestRedeliveryOfWhatIsStillOwned(t *testing.T) {
	for _, by := range []string{"hand-off", "load"} {
		for _, strict := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, strict=%v", by, strict), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.start(0, endpointNo(1, func(e *Endpoint) { e.Strict = strict }))
					synctest.Wait()
					w.hook(&w.store.recorded, func() {
						if by == "hand-off" {
							w.redeliver(key(1, 1, 7))
							return
						}
						if _, err := w.store.Redeliver(t.Context(), []store.DeliveryKey{key(1, 1, 7)}, nil, call.At(time.Now())); err != nil {
							t.Error(err)
						}
						w.d.Wake(1)
						time.Sleep(time.Second) // it is loaded now
					})
					w.happen(one, 7)
					time.Sleep(time.Minute)
					if got, want := w.seen(), fmt.Sprint("1#1@0 1#2@", recordLinger.Seconds()); got != want {
						t.Errorf("requests %s, want %s", got, want)
					}
					w.wantState(key(1, 1, 7), store.Delivered, 2, 0)
					if m := w.memory(1); m != 0 {
						t.Errorf("%d in memory", m)
					}
					// Nothing of it stands in the way of another one.
					w.redeliver(key(1, 1, 7))
					w.wantState(key(1, 1, 7), store.Delivered, 3, 0)
					w.stop()
				})
			})
		}
	}
}

// A load shows a delivery as it was before it was finished, and it is made
// pending again before the load ends.
func TestRedeliveryDuringALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answers(takes(100*time.Millisecond, 200))
		w.start(0, endpointNo(1, nil))
		synctest.Wait()
		w.happen(one, 7)
		w.hook(&w.store.loaded, func() { time.Sleep(time.Second) })
		w.d.Wake(1)
		time.Sleep(500 * time.Millisecond)
		if n := w.redeliver(key(1, 1, 7)); n != 1 {
			t.Fatalf("%d redelivered", n)
		}
		if got := w.d.redelivering(1); got != 1 {
			t.Errorf("%d outstanding", got)
		}
		time.Sleep(time.Minute)
		w.wantSeen("1#1@0 1#2@1")
		w.wantState(key(1, 1, 7), store.Delivered, 2, 0)
		if m := w.memory(1); m != 0 || w.d.redelivering(1) != 0 {
			t.Errorf("%d in memory, %d outstanding", m, w.d.redelivering(1))
		}
		w.stop()
	})
}

// A redelivery is loaded and finished before it is handed over.
func TestRedeliveryThatWasLoadedIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(0, endpointNo(1, nil))
		keys := w.finish(7)
		for range 2 { // the second time it is known from the first
			list, err := w.store.Redeliver(t.Context(), keys, nil, call.At(time.Now()))
			if err != nil {
				t.Fatal(err)
			}
			w.d.Wake(1)
			time.Sleep(time.Second)
			w.d.Redeliver(list)
			time.Sleep(time.Second)
		}
		w.wantSeen("1#2@0 1#3@2")
		// What was loaded at a start was never handed off: that must not
		// swallow a redelivery.
		w.store.commit(8, 1)
		w.d.Wake(1)
		time.Sleep(time.Second)
		w.redeliver(key(1, 1, 8))
		w.wantSeen("1#2@0 1#3@2 2#1@4 2#2@5")
		w.stop()
	})
}

// A redelivery is loaded, fails, and makes room for others before it is handed
// over.
func TestRedeliveryThatWasLoadedAndEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(16, endpointNo(1, func(e *Endpoint) { e.Retry = []time.Duration{time.Hour} }))
		keys := w.finish(1)
		w.answers(always(500))
		fail := func(list []call.ID) {
			for _, id := range list {
				w.happen(one, id)
				time.Sleep(50 * time.Millisecond)
			}
		}
		fail(calls(2, 12))
		list, err := w.store.Redeliver(t.Context(), keys, nil, call.At(time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		for w.memory(1) < 13 { // a load begins when half of memory is free
			w.d.Wake(1)
			time.Sleep(time.Second)
		}
		fail(calls(14, 10))
		e := w.d.targets[1]
		e.mu.Lock()
		owned := e.owned[keys[0]]
		e.mu.Unlock()
		if owned != nil {
			t.Fatal("it is still in memory")
		}
		w.d.Redeliver(list)
		time.Sleep(2 * time.Hour)
		w.seen()
		attempts := 0
		for _, r := range w.requests {
			if r.number() == 1 {
				attempts++
			}
		}
		if attempts != 2 {
			t.Errorf("%d attempts", attempts)
		}
		w.wantState(keys[0], store.Failed, 3, 2)
		w.stop()
	})
}

func TestRedeliveryInStrictOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(0, endpointNo(1, func(e *Endpoint) { e.Strict = true; e.InFlight = 8 }))
		keys := w.finish(7, 7, 8, 9, 10)
		w.answer = func(_ context.Context, r *request) int {
			time.Sleep(time.Second)
			if r.number() == 1 && r.attempt == 2 {
				return 500
			}
			return 200
		}
		w.redeliver(keys[2], keys[3], keys[4], keys[0], keys[1])
		time.Sleep(500 * time.Millisecond)
		w.happen(one, 7)
		time.Sleep(time.Minute)
		// The low lane has one slot, which 3 has at first. Then the live 6 waits
		// for 1 and 2, and takes both out of the lane; 2 waits until 1 is
		// delivered by its second attempt.
		w.wantSeen("3#2@0 1#2@0.5 4#2@1 5#2@2 1#3@3.5 2#2@4.5 6#1@5.5")
		w.stop()
	})
}

func TestRedeliveryWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(0, endpointNo(1, holding))
		keys := w.finish(1, 2, 3)
		w.answers(w.downUntil(5 * time.Second))
		w.redeliver(keys...)
		time.Sleep(time.Second)
		w.happen(one, 4)
		time.Sleep(time.Minute)
		for _, k := range append(keys, key(1, 1, 4)) {
			w.wantState(k, store.Delivered, w.store.get(k).Attempts, 0)
		}
		if s := w.d.Stats(t.Context())[0]; s.Down || s.Redelivering != 0 {
			t.Errorf("stats %+v", s)
		}
		w.stop()
	})
}

func TestRedeliveryToARemovedEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(0, endpointNo(1, nil), endpointNo(2, nil))
		keys := w.finish(7, 8)
		list, err := w.store.Redeliver(t.Context(), keys, nil, call.At(time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		w.store.remove(1)
		if err := w.d.SetEndpoints([]Endpoint{endpointNo(2, nil)}); err != nil {
			t.Fatal(err)
		}
		w.d.Redeliver(list)
		w.wantSeen("")
		if n := w.redeliver(keys...); n != 0 || w.d.redelivering(1) != 0 {
			t.Errorf("%d of a removed endpoint are pending", n)
		}
		w.store.removed[1] = false
		if err := w.d.SetEndpoints([]Endpoint{endpointNo(1, nil), endpointNo(2, nil)}); err != nil {
			t.Fatal(err)
		}
		w.redeliver(keys...)
		w.wantSeen("1#2@0 2#2@0")
		w.stop()
	})
}

func TestRedeliveryAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(0, endpointNo(1, nil))
		keys := w.finish(1, 2, 3)
		w.answers(takes(time.Second, 200))
		w.redeliver(keys[:2]...)
		if _, err := w.store.Redeliver(t.Context(), keys[2:], nil, call.At(time.Now())); err != nil { // not handed over
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		w.crash()
		w.forget()
		w.start(0, endpointNo(1, func(e *Endpoint) { e.InFlight = 8 }))
		time.Sleep(500 * time.Millisecond)
		w.happen(one, 4)
		time.Sleep(time.Minute)
		w.wantSeen("1#2@0 4#1@0.5 2#2@1 3#2@2") // again in the low lane
		w.stop()
	})
}

func TestRedeliveriesBeyondMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(16, endpointNo(1, nil))
		keys := w.finish(calls(1, 100)...)
		w.answers(takes(10*time.Millisecond, 200))
		w.redeliver(keys...)
		if m := w.memory(1); m > 16 {
			t.Errorf("%d in memory", m)
		}
		if n := w.d.redelivering(1); n < 90 {
			t.Errorf("%d outstanding", n)
		}
		time.Sleep(time.Minute)
		w.seen()
		if len(w.requests) != 100 || w.d.redelivering(1) != 0 || w.most["e1.test"] > 8 {
			t.Errorf("%d requests, %d outstanding, %d in flight", len(w.requests), w.d.redelivering(1), w.most["e1.test"])
		}
		w.checkAll(1, 100, store.Delivered)
		w.stop()
	})
}
