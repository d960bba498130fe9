package webhook

import (
	"log/slog"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// workerIdle is how long a worker waits for more before it ends.
const workerIdle = 10 * time.Second

// worker makes the attempts of one endpoint, one after another. Its goroutine
// lives on between them, with its grown stack.
type worker struct {
	caller
	e    *endpoint
	work chan *item // has room for one; closed: end
}

// dispatch gives ready items to idle workers and, up to the cap, to new ones.
func (e *endpoint) dispatch() {
	for e.flying < e.conf.InFlight {
		it := e.take()
		if it == nil {
			return
		}
		if n := len(e.idle); n > 0 {
			w := e.idle[n-1]
			e.idle[n-1] = nil
			e.idle = e.idle[:n-1]
			w.work <- it
			continue
		}
		w := &worker{e: e, work: make(chan *item, 1)}
		w.transport, w.userAgent, w.clock = e.d.transport, e.d.userAgent, e.d.clock
		e.workers++
		conf := e.conf
		e.d.tasks.Go(func() { w.run(it, conf) })
	}
}

func (w *worker) run(it *item, conf *settings) {
	idle := time.NewTimer(workerIdle)
	defer idle.Stop()
	for {
		out := w.attempt(w.e.d.flights, conf, &it.Delivery)
		if it, conf = w.next(it, out); it != nil {
			continue
		}
		if conf == nil {
			return
		}
		idle.Reset(workerIdle)
		select {
		case it = <-w.work:
		case <-idle.C:
			it = w.quit()
		}
		if it == nil {
			return
		}
		conf = w.e.settings()
	}
}

// next books the outcome of an attempt and gives the next item; if there is
// none, the worker is idle, or is to end if it gives no settings either.
func (w *worker) next(it *item, out outcome) (*item, *settings) {
	e := w.e
	e.mu.Lock()
	rec, verdict := e.book(it, out)
	next, conf := w.proceed()
	e.mu.Unlock()
	if !out.aborted {
		e.report(&rec, &it.Delivery, out, verdict)
	}
	return next, conf
}

// proceed takes the next item, and lets others take theirs.
func (w *worker) proceed() (*item, *settings) {
	e := w.e
	var next *item
	if e.flying < e.conf.InFlight {
		next = e.take()
	}
	e.proceed()
	switch {
	case next != nil:
		return next, e.conf
	case e.closed || e.workers > e.conf.InFlight:
		e.workers--
		return nil, nil
	}
	e.idle = append(e.idle, w)
	return nil, e.conf
}

// quit ends a worker that has been idle for long. If it was given an item at
// the same moment it goes on with that.
func (w *worker) quit() *item {
	e := w.e
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.idle {
		if e.idle[i] == w {
			e.idle = append(e.idle[:i], e.idle[i+1:]...)
			e.workers--
			return nil
		}
	}
	return <-w.work // an item, or nil because the endpoint was closed
}

func (e *endpoint) settings() *settings {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.conf
}

// book says where an attempt leaves its delivery and the endpoint.
func (e *endpoint) book(it *item, out outcome) (rec store.Attempt, verdict Result) {
	e.flying--
	if it.slot {
		it.slot = false
		e.slots--
	}
	probe := it.probe
	it.probe = false
	if probe {
		e.hold.probing = false
	}
	if out.aborted {
		it.state = blocked // nothing happens any more; the store still has it pending
		it.settled()
		return rec, verdict
	}
	rec = attemptOf(&it.Delivery, out)
	it.Attempts++
	e.attempted(it)
	e.health.note(&rec)
	verdict = e.judge(it, out, probe)
	if e.removed && it.State == store.Pending {
		it.State, it.Due, verdict = store.Failed, 0, ResultFailed
	}
	rec.State, rec.Failures, rec.Due = it.State, it.Failures, it.Due
	it.open++
	e.d.recorder.add(result{Attempt: rec, of: it, by: e})

	if it.State != store.Pending || it.forgotten {
		it.state = finished
	}
	if it.chained && (it.State != store.Pending || !e.conf.Strict) {
		e.unchain(it)
	}
	switch {
	case verdict == ResultDelivered:
		e.answered()
	case it.forgotten:
	case verdict == ResultHeld:
		it.state = held
		e.hold.items = append(e.hold.items, it)
	case it.State == store.Pending:
		pause := time.Duration(it.Due-call.At(out.ended)) * time.Millisecond
		it.due = e.d.now() + pause
		e.schedule(it)
	}
	return rec, verdict
}

// judge sets the delivery's state after an attempt.
func (e *endpoint) judge(it *item, out outcome, probe bool) Result {
	if out.failure == "" {
		it.State, it.Due = store.Delivered, 0
		return ResultDelivered
	}
	if e.conf.Hold && e.absorb(it, out, probe) {
		it.State, it.Due = store.Pending, call.At(out.ended.Add(e.hold.pause))
		return ResultHeld
	}
	it.Failures++
	it.State, it.Due = schedule(e.conf.Retry).after(it.Failures, call.At(out.ended))
	if it.State == store.Pending {
		return ResultRetry
	}
	return ResultFailed
}

// report tells the log and the metrics of an attempt.
func (e *endpoint) report(rec *store.Attempt, d *store.Delivery, out outcome, result Result) {
	o := Observation{
		Endpoint: e.id, App: d.App, Result: result, Status: out.status, Duration: out.ended.Sub(out.started),
	}
	if rec.Number == 1 {
		o.Latency = out.ended.Sub(d.At.Time())
	}
	e.d.observe(o)

	level := slog.LevelDebug
	if result == ResultFailed {
		level = slog.LevelWarn
	}
	if e.d.log.Enabled(e.d.flights, level) {
		e.d.log.Log(e.d.flights, level, "callback "+string(result), "app_id", d.App, "call_id", d.Call.String(), "delivery_id", d.Event.String(),
			"event", d.Name, "endpoint", int64(e.id), "attempt", rec.Number, "dur", o.Duration, "problem", rec.Error)
	}
}
