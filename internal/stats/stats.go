// Package stats remembers in memory how the last hour and the last day went:
// calls by what they came to, callbacks and their latency, and what was open
// meanwhile. It is for people who look; /metrics is for machines that record.
package stats

import (
	"context"
	"sync"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/clock"
)

// Lengths of samples, and how many are kept.
const (
	ShortStep = 10 * time.Second
	ShortKept = 360 // an hour
	LongStep  = time.Minute
	LongKept  = 1440 // a day
)

// Gauges is what is open at a moment.
type Gauges struct {
	LiveCalls    int
	Connections  int
	PresentUsers int
	Backlog      int          // deliveries that are pending
	InFlight     int          // requests of callbacks
	Oldest       call.Instant // when the oldest pending event happened; 0: there is none
}

// Sample is what happened in a stretch of time, and what was open at its end.
type Sample struct {
	At        call.Instant // its beginning
	Created   int          // calls
	Ended     map[call.Outcome]int
	Delivered int // attempts that succeeded
	Failed    int // attempts that did not
	// Latency of first attempts, from the event to the answer, as quantiles
	// that are right to a fifth; 0: there were none.
	P50, P95 time.Duration
	Gauges
}

// Recorder counts. Its methods may be called concurrently, and do not wait.
type Recorder struct {
	gauges func(context.Context) Gauges
	clock  *clock.Clock

	mu          sync.Mutex
	started     call.Instant
	activity    int64
	short, long *series

	stop context.CancelFunc
	done chan struct{}
}

// New makes a recorder, which counts at once. Gauges gives what is open; it is
// not called before Start. A nil clock is the machine's.
func New(gauges func(context.Context) Gauges, clock *clock.Clock) *Recorder {
	now := call.At(clock.Now())
	return &Recorder{
		gauges: gauges, clock: clock, started: now, done: make(chan struct{}),
		short: newSeries(ShortStep, ShortKept, now), long: newSeries(LongStep, LongKept, now),
	}
}

// Start begins to close samples when they are over. End it with Close.
func (r *Recorder) Start() {
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go r.run(ctx)
}

// Close ends what Start began.
func (r *Recorder) Close() {
	r.stop()
	<-r.done
}

// run closes a sample at every full step.
func (r *Recorder) run(ctx context.Context) {
	defer close(r.done)
	for {
		now := r.clock.Now()
		next := time.NewTimer(now.Truncate(ShortStep).Add(ShortStep).Sub(now))
		select {
		case <-next.C:
		case <-ctx.Done():
			next.Stop()
			return
		}
		g := r.gauges(ctx)
		r.mu.Lock()
		now = r.clock.Now()
		r.short.roll(call.At(now), g)
		r.long.roll(call.At(now), g)
		r.mu.Unlock()
	}
}

// Created counts a call that began.
func (r *Recorder) Created() {
	r.count(func(s *open) { s.created++ })
}

// Ended counts a call that came to an end.
func (r *Recorder) Ended(outcome call.Outcome) {
	r.count(func(s *open) { s.ended[outcome]++ })
}

// Changed notes that something else happened to a call.
func (r *Recorder) Changed() {
	r.count(func(*open) {})
}

// Attempt counts an attempt to deliver a callback. Latency is that of a first
// attempt, 0 for others.
func (r *Recorder) Attempt(delivered bool, latency time.Duration) {
	r.count(func(s *open) {
		if delivered {
			s.delivered++
		} else {
			s.failed++
		}
		if latency > 0 {
			s.latency.add(latency)
		}
	})
}

func (r *Recorder) count(into func(*open)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.activity++
	into(&r.short.current)
	into(&r.long.current)
}

// Report is what a recorder knows.
type Report struct {
	At, Started call.Instant
	Activity    int64 // grows with everything that is counted
	Now         Gauges
	Step        time.Duration
	Samples     []Sample // the oldest first; the last one is not over yet
}

// Report gives what is known, of the last day in steps of a minute or of the
// last hour in steps of ten seconds.
func (r *Recorder) Report(ctx context.Context, day bool) Report {
	g := r.gauges(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.short
	if day {
		s = r.long
	}
	return Report{
		At: call.At(r.clock.Now()), Started: r.started, Activity: r.activity, Now: g, Step: s.step, Samples: s.list(g),
	}
}
