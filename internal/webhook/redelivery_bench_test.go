package webhook

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/store"
)

// fillDelivered stores n deliveries that were delivered.
func (b *bench) fillDelivered(n int) {
	for n > 0 {
		list := b.commit(min(n, 1000), b.ids...)
		n -= len(list)
		var attempts []store.Attempt
		for _, ev := range list {
			for _, sub := range ev.Deliveries {
				d := deliveryOf(ev, sub)
				attempts = append(attempts, store.Attempt{Delivery: d.Key(), Number: 1, Started: ev.At, Status: 200, State: store.Delivered})
			}
		}
		if err := b.store.RecordAttempts(b.b.Context(), attempts); err != nil {
			b.b.Fatal(err)
		}
	}
}

// BenchmarkLiveBesideBulkRedelivery delivers 200 live callbacks a second, first
// alone, and then while a job redelivers 100,000 at its default pace and, in
// another run, at the highest. The times are from an event, before its commit, to
// the end of its first attempt; each percentile is the median of those of many
// windows, so that a burst of something else on the machine does not count.
func BenchmarkLiveBesideBulkRedelivery(b *testing.B) {
	b.Run("default", func(b *testing.B) { liveBesideBulk(b, DefaultPerSecond) })
	b.Run("highest", func(b *testing.B) { liveBesideBulk(b, MaxPerSecond) })
}

func liveBesideBulk(b *testing.B, pace int) {
	const (
		bulk   = 100_000
		rate   = 200 // live ones a second
		alone  = time.Minute
		window = 5 * rate // live ones
	)
	var mu sync.Mutex
	var took []time.Duration
	redelivered := 0
	w := newIdleBench(b, func(o Observation) {
		mu.Lock()
		defer mu.Unlock()
		if o.Latency == 0 {
			redelivered++ // not a first attempt
			return
		}
		took = append(took, o.Latency)
	}, rawServer(b))
	w.fillDelivered(bulk)
	w.d.Start()
	jobs := NewRedeliverer(w.store, w.d, nil, nil)
	jobs.Start()

	// live delivers until something is over, and gives the median and the 99th
	// percentile.
	live := func(over func() bool) (p50, p99 time.Duration) {
		var medians, tails []time.Duration
		next := func() {
			mu.Lock()
			defer mu.Unlock()
			if len(took) >= window/2 {
				slices.Sort(took)
				medians, tails = append(medians, took[len(took)/2]), append(tails, took[len(took)*99/100])
			}
			took = took[:0]
		}
		next()
		medians, tails = nil, nil
		tick := time.NewTicker(time.Second / rate)
		defer tick.Stop()
		for n := 0; ; n++ {
			<-tick.C
			w.d.HandOff(w.commit(1, w.ids...))
			if n%window == window-1 {
				next()
			}
			if n%rate == 0 && len(tails) > 0 && over() {
				break
			}
		}
		slices.Sort(medians)
		slices.Sort(tails)
		return medians[len(medians)/2], tails[len(tails)/2]
	}
	b.ResetTimer()
	for b.Loop() {
		begin := time.Now()
		quiet50, quiet99 := live(func() bool { return time.Since(begin) > alone })
		job, err := jobs.Begin(b.Context(), store.DeliveryQuery{Endpoint: w.ids[0]}, pace, nil)
		if err != nil {
			b.Fatal(err)
		}
		begin = time.Now()
		busy50, busy99 := live(func() bool {
			job, err = w.store.Redelivery(b.Context(), job.ID)
			if err != nil {
				b.Fatal(err)
			}
			return job.State != store.RedeliveryRunning
		})
		if job.Done < bulk {
			b.Fatalf("the job ended with %+v", job)
		}
		b.ReportMetric(float64(quiet50.Microseconds()), "alone-p50-µs")
		b.ReportMetric(float64(quiet99.Microseconds()), "alone-p99-µs")
		b.ReportMetric(float64(busy50.Microseconds()), "beside-p50-µs")
		b.ReportMetric(float64(busy99.Microseconds()), "beside-p99-µs")
		b.ReportMetric(float64(busy99)/float64(quiet99), "p99-ratio")
		b.ReportMetric(float64(job.Done)/time.Since(begin).Seconds(), "redelivered/s")
	}
	b.StopTimer()
	jobs.Close()
	if err := w.d.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if redelivered < bulk {
		b.Errorf("%d redeliveries", redelivered)
	}
}
