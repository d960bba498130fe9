package webhook

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// jobs starts a Redeliverer over a world.
func (w *world) jobs(log *slog.Logger) *Redeliverer {
	r := NewRedeliverer(w.store, w.d, log, nil)
	r.Start()
	return r
}

func (w *world) beginJob(r *Redeliverer, q store.DeliveryQuery, perSecond int) int64 {
	w.t.Helper()
	job, err := r.Begin(w.t.Context(), q, perSecond, &store.Audit{Action: "begin"})
	if err != nil {
		w.t.Fatal(err)
	}
	return job.ID
}

func (w *world) wantJob(id int64, state store.RedeliveryState, total, done, skipped int) {
	w.t.Helper()
	synctest.Wait()
	if j := w.job(id); j.State != state || j.Total != total || j.Done != done || j.Skipped != skipped || (j.EndedAt == 0) != (state == store.RedeliveryRunning) {
		w.t.Errorf("job %+v; want state %d, %d in all, %d done, %d skipped", j, state, total, done, skipped)
	}
}

var failedOnes = store.DeliveryQuery{States: []store.DeliveryState{store.Failed}}

func TestJobRedeliversTheOldestFirst(t *testing.T) {
	for _, look := range []int{0, 7} {
		t.Run(fmt.Sprintf("look=%d", look), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.store.look = look
				w.answer = func(_ context.Context, r *request) int {
					if n := r.number(); n <= 100 && r.attempt == 1 || n > 150 {
						return 404
					}
					return 200
				}
				w.start(0, endpointNo(1, func(e *Endpoint) { e.Retry = []time.Duration{} }))
				w.finish(calls(1, 150)...)
				r := w.jobs(nil)
				id := w.beginJob(r, failedOnes, 40)
				// What fails later is not part of it.
				w.happen(one, calls(201, 3)...)
				time.Sleep(30 * time.Second)
				w.wantJob(id, store.RedeliveryDone, 100, 100, 0)
				w.seen()
				last, begin := 0, time.Duration(0)
				for _, req := range w.requests {
					if req.number() > 150 {
						continue
					}
					if req.number() != last+1 || req.attempt != 2 {
						t.Errorf("request %+v after event %d", req, last)
					}
					last = req.number()
					if last == 1 {
						begin = req.start
					}
					// 40 a second, in transactions of 2.
					if want := begin + time.Duration(last-1)/2*50*time.Millisecond; req.start < want || look == 0 && req.start > want {
						t.Errorf("event %d at %v, want %v", last, req.start, want)
					}
				}
				if last != 100 {
					t.Errorf("the last was %d", last)
				}
				w.checkAll(1, 150, store.Delivered)
				if d := w.store.get(key(1, 1, 201)); d.State != store.Failed {
					t.Errorf("a later one: %+v", d)
				}
				if len(w.store.audits) != 1 {
					t.Errorf("audit %+v", w.store.audits)
				}
				r.Close()
				w.stop()
			})
		})
	}
}

func TestJobSkipsWhatIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(0, endpointNo(1, nil))
		w.finish(1, 2, 3)
		w.answers(always(500))
		w.happen(one, 4, 5)
		synctest.Wait()
		w.answers(nil)
		r := w.jobs(nil)
		id := w.beginJob(r, store.DeliveryQuery{}, 0)
		time.Sleep(time.Second)
		w.wantJob(id, store.RedeliveryDone, 5, 3, 2)
		r.Close()
		w.stop()
	})
}

func TestJobsRunOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(0, endpointNo(1, nil), endpointNo(2, nil))
		for range 20 {
			w.happen([]store.EndpointID{1, 2}, 7)
		}
		time.Sleep(time.Minute)
		w.forget()
		r := w.jobs(nil)
		a := w.beginJob(r, store.DeliveryQuery{Endpoint: 2}, 20)
		b := w.beginJob(r, store.DeliveryQuery{Endpoint: 1}, 20)
		time.Sleep(910 * time.Millisecond)
		w.wantJob(a, store.RedeliveryRunning, 20, 19, 0)
		w.wantJob(b, store.RedeliveryRunning, -1, 0, 0)
		time.Sleep(time.Minute)
		w.wantJob(a, store.RedeliveryDone, 20, 20, 0)
		w.wantJob(b, store.RedeliveryDone, 20, 20, 0)
		r.Close()
		w.stop()
	})
}

func TestJobStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(0, endpointNo(1, nil))
		w.finish(calls(1, 100)...)
		r := w.jobs(nil)
		id := w.beginJob(r, store.DeliveryQuery{}, 5)
		second := w.beginJob(r, store.DeliveryQuery{}, MaxPerSecond)
		time.Sleep(2*time.Second + recordLinger + 10*time.Millisecond) // the result of the last is written
		job, err := r.Stop(t.Context(), id, &store.Audit{Action: "stop"})
		if err != nil || job.State != store.RedeliveryStopped || job.Done != 11 {
			t.Errorf("stopped: %+v, %v", job, err)
		}
		if job, err = r.Stop(t.Context(), id, &store.Audit{Action: "stop"}); err != nil || job.State != store.RedeliveryStopped {
			t.Errorf("stopped again: %+v, %v", job, err)
		}
		time.Sleep(time.Minute)
		w.wantJob(id, store.RedeliveryStopped, 100, 11, 0)
		w.wantJob(second, store.RedeliveryDone, 100, 100, 0)
		if n := len(w.store.audits); n != 3 {
			t.Errorf("%d audit entries", n)
		}
		if _, err := r.Stop(t.Context(), 99, nil); err == nil {
			t.Error("stopped what is not there")
		}
		for _, pace := range []int{-1, MaxPerSecond + 1} {
			if _, err := r.Begin(t.Context(), store.DeliveryQuery{}, pace, nil); err == nil {
				t.Errorf("began with %d a second", pace)
			}
		}
		r.Close()
		w.stop()
	})
}

func TestJobWaitsForItsEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(0, endpointNo(1, nil))
		w.finish(calls(1, 1000)...)
		if err := w.d.SetEndpoints([]Endpoint{endpointNo(1, func(e *Endpoint) { e.Paused = true })}); err != nil {
			t.Fatal(err)
		}
		r := w.jobs(nil)
		id := w.beginJob(r, store.DeliveryQuery{}, MaxPerSecond)
		time.Sleep(time.Hour)
		if n := w.d.redelivering(1); n <= window || n > window+maxChunk || w.job(id).Done != n {
			t.Errorf("%d outstanding, job %+v", n, w.job(id))
		}
		if err := w.d.SetEndpoints([]Endpoint{endpointNo(1, nil)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.wantJob(id, store.RedeliveryDone, 1000, 1000, 0)
		w.checkAll(1, 1000, store.Delivered)
		r.Close()
		w.stop()
	})
}

func TestJobStopsWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(0, endpointNo(1, nil))
		w.finish(calls(1, 1000)...)
		if err := w.d.SetEndpoints([]Endpoint{endpointNo(1, func(e *Endpoint) { e.Paused = true })}); err != nil {
			t.Fatal(err)
		}
		r := w.jobs(nil)
		id := w.beginJob(r, store.DeliveryQuery{}, MaxPerSecond)
		time.Sleep(time.Hour)
		if _, err := r.Stop(t.Context(), id, nil); err != nil {
			t.Fatal(err)
		}
		done := w.job(id).Done
		time.Sleep(time.Hour)
		w.wantJob(id, store.RedeliveryStopped, 1000, done, 0)
		r.Close()
		w.stop()
	})
}

func TestJobGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(0, endpointNo(1, nil))
		w.finish(calls(1, 100)...)
		r := w.jobs(nil)
		id := w.beginJob(r, store.DeliveryQuery{}, 20)
		time.Sleep(2010 * time.Millisecond)
		r.Close()
		w.crash()
		w.wantJob(id, store.RedeliveryRunning, 100, 41, 0)
		w.start(0, endpointNo(1, nil))
		r = w.jobs(nil)
		time.Sleep(time.Minute)
		w.wantJob(id, store.RedeliveryDone, 100, 100, 0)
		w.checkAll(1, 100, store.Delivered)
		w.seen()
		for _, req := range w.requests {
			if req.attempt != 2 {
				t.Errorf("request %+v", req)
			}
		}
		r.Close()
		w.stop()
	})
}

func TestJobOutlivesAFailingStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w := newWorld(t)
		w.start(0, endpointNo(1, nil))
		w.finish(calls(1, 100)...)
		r := w.jobs(slog.New(slog.NewTextHandler(&log, nil)))
		id := w.beginJob(r, store.DeliveryQuery{}, 50)
		time.Sleep(time.Second)
		w.weather(0, store.ErrFull)
		time.Sleep(150 * time.Second)
		synctest.Wait()
		if n := strings.Count(log.String(), "it is tried again"); n != 3 {
			t.Errorf("%d lines for 150 s: %s", n, log.String())
		}
		w.weather(0, nil)
		time.Sleep(time.Minute)
		w.wantJob(id, store.RedeliveryDone, 100, 100, 0)
		w.checkAll(1, 100, store.Delivered)
		r.Close()
		w.stop()
	})
}

func TestJobWhoseStepWasWrittenUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(0, endpointNo(1, nil))
		w.finish(calls(1, 10)...)
		w.store.unknown = true
		r := w.jobs(nil)
		id := w.beginJob(r, store.DeliveryQuery{}, 100)
		time.Sleep(time.Minute)
		w.wantJob(id, store.RedeliveryDone, 10, 10, 0)
		w.seen()
		if len(w.requests) != 10 {
			t.Errorf("%d requests", len(w.requests))
		}
		w.checkAll(1, 10, store.Delivered)
		r.Close()
		w.stop()
	})
}

func TestCloseOfIdleJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(0, endpointNo(1, nil))
		r := w.jobs(nil)
		synctest.Wait()
		r.Close()
		r = w.jobs(nil)
		w.weather(0, store.ErrFull)
		if _, err := r.Begin(t.Context(), store.DeliveryQuery{}, 0, nil); err == nil {
			t.Error("no error")
		}
		r.Close()
		w.weather(0, nil)
		w.stop()
	})
}

// A job beside live callbacks does not delay them.
func TestLiveCallbacksBesideAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(0, endpointNo(1, nil))
		w.finish(calls(1, 3000)...)
		w.answers(takes(20*time.Millisecond, 200))
		r := w.jobs(nil)
		id := w.beginJob(r, store.DeliveryQuery{}, MaxPerSecond)
		type moment struct{ at time.Duration }
		due := make(map[int]moment)
		for i := range 1000 {
			w.happen(one, call.ID(10_000+i))
			due[3001+i] = moment{time.Since(w.begin)}
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		w.wantJob(id, store.RedeliveryDone, 3000, 3000, 0)
		w.seen()
		for _, req := range w.requests {
			if m, ok := due[req.number()]; ok && req.start != m.at {
				t.Errorf("event %d happened at %v, and was sent at %v", req.number(), m.at, req.start)
			}
		}
		r.Close()
		w.stop()
	})
}
