package webhook

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/protocol"
)

func TestDocumentedSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = always(500)
		w.start(0, endpointNo(1, nil))
		w.happen(one, 7)
		time.Sleep(time.Hour)
		w.wantSeen("1#1@0 1#2@2 1#3@6 1#4@14 1#5@30 1#6@62")
		w.wantState(key(1, 1, 7), store.Failed, 6, 6)
		if got := w.store.log[key(1, 1, 7)]; len(got) != 6 || got[0].Error != "answered 500 Internal Server Error" || got[0].Status != 500 ||
			got[0].Response != "ok" || got[0].Due != call.At(w.begin.Add(2*time.Second)) || got[5].State != store.Failed {
			t.Errorf("log %+v", got)
		}
		w.stop()
	})
}

func TestPausesCountFromTheEndOfTheAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = hang
		w.start(0, endpointNo(1, func(e *Endpoint) { e.Timeout = 3 * time.Second; e.Retry = []time.Duration{time.Second, time.Minute} }))
		w.happen(one, 7)
		time.Sleep(time.Hour)
		w.wantSeen("1#1@0 1#2@4 1#3@67")
		w.wantState(key(1, 1, 7), store.Failed, 3, 3)
		if got := w.store.log[key(1, 1, 7)][0]; got.Error != "no complete answer within 3s" || got.Duration != 3000 {
			t.Errorf("log %+v", got)
		}
		w.stop()
	})
}

func TestWhatCountsAsSuccess(t *testing.T) {
	for status, want := range map[int]store.DeliveryState{
		200: store.Delivered, 202: store.Delivered, 204: store.Delivered, 299: store.Delivered,
		0: store.Failed, 301: store.Failed, 307: store.Failed, 400: store.Failed, 404: store.Failed, 429: store.Failed, 503: store.Failed,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.answer = always(status)
			w.start(0, endpointNo(1, func(e *Endpoint) { e.Retry = []time.Duration{} }))
			w.happen(one, 7)
			w.wantSeen("1#1@0")
			time.Sleep(time.Second)
			if got := w.store.get(key(1, 1, 7)).State; got != want {
				t.Errorf("status %d: state %d, want %d", status, got, want)
			}
			w.stop()
		})
	}
}

func TestFirstAttemptsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = func(ctx context.Context, r *request) int {
			if r.event == "evt_1" {
				time.Sleep(time.Second)
				return 500
			}
			time.Sleep(100 * time.Millisecond)
			return 200
		}
		w.start(0, endpointNo(1, nil))
		w.happen(one, 7, 7, 7, 8)
		time.Sleep(time.Hour)
		// Event 4 is of another call; 2 and 3 wait for the first attempts only.
		w.wantSeen("1#1@0 4#1@0 2#1@1 3#1@1.1 1#2@3 1#3@8 1#4@17 1#5@34 1#6@67")
		w.stop()
	})
}

func TestStrictOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = func(ctx context.Context, r *request) int {
			switch {
			case r.event == "evt_1", r.event == "evt_2" && r.attempt == 1:
				return 500
			}
			return 200
		}
		w.start(0, endpointNo(1, func(e *Endpoint) { e.Strict = true; e.Retry = []time.Duration{2 * time.Second} }))
		w.happen(one, 7, 7, 7, 8)
		time.Sleep(time.Hour)
		// 2 waits until 1 is given up, 3 until 2 is delivered.
		w.wantSeen("1#1@0 4#1@0 1#2@2 2#1@2 2#2@4 3#1@4")
		w.stop()
	})
}

func TestCapHoldsNobodyElseUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = func(ctx context.Context, r *request) int {
			if r.endpoint == "e1.test" {
				return hang(ctx, r)
			}
			return 200
		}
		w.start(0, endpointNo(1, func(e *Endpoint) { e.InFlight = 4; e.Retry = []time.Duration{} }), endpointNo(2, nil))
		for id := range call.ID(40) {
			w.happen([]store.EndpointID{1, 2}, id+1)
		}
		w.seen()
		healthy := 0
		for _, r := range w.requests {
			if r.endpoint == "e2.test" {
				healthy++
			}
		}
		if healthy != 40 || w.most["e1.test"] != 4 {
			t.Errorf("%d of 40 delivered at once beside a hanging endpoint, which has %d in flight (cap 4)", healthy, w.most["e1.test"])
		}
		if s := w.d.Stats(t.Context()); s[0].InFlight != 4 || s[0].Backlog != 40 || s[1].Backlog != 0 {
			t.Errorf("stats %+v", s)
		}
		time.Sleep(time.Hour)
		// What was over the cap waited without using up attempts.
		w.wantState(key(1, 1, 40), store.Failed, 1, 1)
		w.stop()
	})
}

func TestUserActionsHaveNoOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = takes(time.Second, 200)
		w.start(0, endpointNo(1, func(e *Endpoint) { e.Strict = true }))
		w.happen(one, 0, 0)
		w.wantSeen("1#1@0 2#1@0")
		if w.requests[0].sequence != 0 {
			t.Error("a user_action has a sequence")
		}
		time.Sleep(2 * time.Second)
		w.wantState(store.DeliveryKey{Endpoint: 1, Sequence: 2}, store.Delivered, 1, 0)
		w.stop()
	})
}

func TestRestartKeepsCountAndSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = always(500)
		ep := endpointNo(1, nil)
		w.start(0, ep)
		w.happen(one, 7)
		time.Sleep(3 * time.Second)
		w.stop() // after attempt 2, the next is due at 6 s
		w.start(0, ep)
		time.Sleep(time.Second)
		w.wantSeen("1#1@0 1#2@2")
		time.Sleep(5 * time.Second)
		w.wantSeen("1#1@0 1#2@2 1#3@6")
		w.crash()
		time.Sleep(time.Minute)
		w.start(0, ep) // attempt 4 is overdue
		w.wantSeen("1#1@0 1#2@2 1#3@6 1#4@69")
		w.stop()
	})
}

func TestUnrecordedAttemptIsRepeatedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = takes(time.Second, 200)
		w.start(0, endpointNo(1, nil))
		w.happen(one, 7, 7)
		time.Sleep(500 * time.Millisecond)
		w.crash() // in flight
		w.start(0, endpointNo(1, nil))
		time.Sleep(1001 * time.Millisecond)
		w.crash() // answered, not written
		w.start(0, endpointNo(1, nil))
		time.Sleep(time.Minute)
		w.wantSeen("1#1@0 1#1@0.5 2#1@1.5 1#1@1.501 2#1@2.501")
		w.wantState(key(1, 2, 7), store.Delivered, 1, 0)
		w.stop()
	})
}

func TestCloseLetsAttemptsFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = func(ctx context.Context, r *request) int {
			if r.event == "evt_2" {
				return hang(ctx, r)
			}
			time.Sleep(time.Second)
			return 200
		}
		w.start(0, endpointNo(1, func(e *Endpoint) { e.Timeout = time.Hour; e.InFlight = 2 }))
		w.happen(one, 7, 8, 9)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := w.d.Close(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(w.begin); took != 3*time.Second {
			t.Errorf("closed after %v", took)
		}
		w.wantState(key(1, 1, 7), store.Delivered, 1, 0)
		w.wantState(key(1, 1, 8), store.Pending, 0, 0) // aborted: does not count
		w.wantState(key(1, 1, 9), store.Pending, 0, 0) // never begun
		w.d.HandOff([]*store.Event{w.store.commit(10, 1)})
		w.wantSeen("1#1@0 2#1@0")
	})
}

func TestRetriesDoNotWaitForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = always(500)
		w.start(0, endpointNo(1, nil))
		w.happen(one, 7)
		synctest.Wait()
		w.weather(700*time.Millisecond, store.ErrFull)
		time.Sleep(100 * time.Second)
		w.wantSeen("1#1@0 1#2@2 1#3@6 1#4@14 1#5@30 1#6@62")
		w.weather(0, nil)
		time.Sleep(recordRetryTo)
		w.wantState(key(1, 1, 7), store.Failed, 6, 6)
		if n := len(w.store.log[key(1, 1, 7)]); n != 6 {
			t.Errorf("%d attempts in the log", n)
		}
		w.stop()
	})
}

func TestCloseReportsUnwrittenResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(0, endpointNo(1, nil))
		w.happen(one, 7)
		synctest.Wait()
		w.weather(0, errors.New("disk on fire"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.d.Close(ctx); err == nil {
			t.Error("no error")
		}
		if took := time.Since(w.begin); took != time.Second+recordGrace {
			t.Errorf("closed after %v", took)
		}
	})
}

func TestMergeKeepsTheLatest(t *testing.T) {
	a, b := new(item), new(item)
	queue := []result{{of: a}, {of: b}, {of: a, merged: 2}, {of: a}}
	queue[3].Number, queue[1].Number = 5, 1
	got := merge(queue)
	if len(got) != 2 || got[0].of != b || got[0].merged != 0 || got[1].of != a || got[1].Number != 5 || got[1].merged != 4 {
		t.Errorf("merged: %+v", got)
	}
}

func TestResultsAreWrittenInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(0, endpointNo(1, nil))
		for id := range call.ID(2000) {
			w.happen(one, id+1)
		}
		time.Sleep(time.Second)
		w.stop()
		if w.store.writes > 10 {
			t.Errorf("%d writes for 2000 results", w.store.writes)
		}
	})
}

func TestSubscriptions(t *testing.T) {
	d, err := New(Options{Store: newFakeStore(), Endpoints: []Endpoint{
		endpointNo(1, nil),
		endpointNo(2, func(e *Endpoint) {
			e.Events = []string{protocol.CallbackUserAction, protocol.CallbackEnd, protocol.CallbackAccept}
		}),
		endpointNo(3, func(e *Endpoint) { e.App = 2 }),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		app   uint32
		event string
		want  []store.EndpointID
	}{
		{1, protocol.CallbackCreate, one},
		{1, protocol.CallbackAccept, []store.EndpointID{1, 2}},
		{1, protocol.CallbackUserAction, []store.EndpointID{2}},
		{1, protocol.CallbackEnd, []store.EndpointID{2}},
		{1, protocol.CallbackReceived, nil},
		{2, protocol.CallbackTimeout, []store.EndpointID{3}},
		{3, protocol.CallbackTimeout, nil},
	} {
		if got := d.Subscriptions(test.app, test.event); !slices.Equal(got, test.want) {
			t.Errorf("Subscriptions(%d, %s) = %v, want %v", test.app, test.event, got, test.want)
		}
	}
}

func TestWrongEndpoints(t *testing.T) {
	for name, change := range map[string]func(*Endpoint){
		"scheme":    func(e *Endpoint) { e.URL = "ftp://e1.test" },
		"no host":   func(e *Endpoint) { e.URL = "http:///callback" },
		"malformed": func(e *Endpoint) { e.URL = "http://%zz" },
		"no secret": func(e *Endpoint) { e.Secrets = nil },
		"twice":     func(e *Endpoint) { e.ID = 2 },
	} {
		if _, err := New(Options{Store: newFakeStore(), Endpoints: []Endpoint{endpointNo(2, nil), endpointNo(1, change)}}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRemovedEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = takes(time.Second, 500)
		w.start(0, endpointNo(1, nil), endpointNo(2, nil))
		w.happen([]store.EndpointID{1, 2, 99}, 7, 7)
		time.Sleep(100 * time.Millisecond)
		if err := w.d.SetEndpoints([]Endpoint{endpointNo(2, func(e *Endpoint) { e.Retry = []time.Duration{} })}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.wantSeen("1#1@0 1#1@0 2#1@1")
		w.wantState(key(1, 1, 7), store.Failed, 1, 1)
		w.wantState(key(2, 1, 7), store.Failed, 1, 1) // by its new settings
		// It comes back: what the store has pending is delivered.
		if err := w.d.SetEndpoints([]Endpoint{endpointNo(1, nil), endpointNo(2, nil)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := len(w.requests); got != 4 {
			t.Errorf("%d requests", got)
		}
		w.stop()
	})
}

func TestRedeliveryByHandGoesOnCounting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var up atomic.Bool
		w.answer = func(context.Context, *request) int {
			if up.Load() {
				return http.StatusOK
			}
			return http.StatusNotFound
		}
		w.start(0, endpointNo(1, func(e *Endpoint) { e.Retry = []time.Duration{} }))
		w.happen(one, 7)
		w.wantState(key(1, 1, 7), store.Failed, 1, 1)
		up.Store(true)
		time.Sleep(time.Minute - time.Since(w.begin))
		w.redeliver(key(1, 1, 7))
		w.wantSeen("1#1@0 1#2@60")
		w.wantState(key(1, 1, 7), store.Delivered, 2, 0)
		w.stop()
	})
}

func TestObservations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var got []Observation
		w := newWorld(t)
		w.answer = func(_ context.Context, r *request) int {
			time.Sleep(300 * time.Millisecond)
			return []int{500, 200}[r.attempt-1]
		}
		d, err := New(Options{
			Store: w.store, Endpoints: []Endpoint{endpointNo(1, nil)}, transport: w,
			Observe: func(o Observation) {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, o)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		w.d = d
		ev := w.store.commit(7, 1)
		time.Sleep(time.Second)
		d.Start()
		synctest.Wait()
		d.HandOff([]*store.Event{ev}) // it was loaded already
		time.Sleep(time.Minute)
		w.stop()
		want := []Observation{
			{Endpoint: 1, App: 1, Result: ResultRetry, Status: 500, Duration: 300 * time.Millisecond, Latency: 1300 * time.Millisecond},
			{Endpoint: 1, App: 1, Result: ResultDelivered, Status: 200, Duration: 300 * time.Millisecond},
		}
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(got, want) {
			t.Errorf("observed %+v, want %+v", got, want)
		}
	})
}
