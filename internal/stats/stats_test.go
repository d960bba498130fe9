package stats

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
)

func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var live atomic.Int32
		r := New(func(context.Context) Gauges { return Gauges{LiveCalls: int(live.Load())} }, nil)
		r.Start()
		defer r.Close()
		live.Store(3)
		r.Created()
		r.Created()
		r.Ended(call.OutcomeAccepted)
		r.Attempt(true, 20*time.Millisecond)
		r.Attempt(false, 0)
		time.Sleep(ShortStep)
		synctest.Wait()
		live.Store(1)
		r.Ended(call.OutcomeTimeout)

		got := r.Report(t.Context(), false)
		if len(got.Samples) != 2 || got.Step != ShortStep || got.Activity != 6 || got.Now.LiveCalls != 1 {
			t.Fatalf("%+v", got)
		}
		first, second := got.Samples[0], got.Samples[1]
		if first.Created != 2 || first.Ended[call.OutcomeAccepted] != 1 || first.Delivered != 1 || first.Failed != 1 || first.LiveCalls != 3 {
			t.Errorf("first: %+v", first)
		}
		if second.Created != 0 || second.Ended[call.OutcomeTimeout] != 1 || second.LiveCalls != 1 || second.P95 != 0 {
			t.Errorf("second: %+v", second)
		}
		if second.At != first.At+call.Instant(ShortStep.Milliseconds()) {
			t.Errorf("the samples begin at %d and %d", first.At, second.At)
		}
		if day := r.Report(t.Context(), true); len(day.Samples) != 1 || day.Samples[0].Created != 2 || day.Step != LongStep {
			t.Errorf("of the day: %+v", day)
		}
	})
}

// However long it runs, an hour and a day are kept.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(func(context.Context) Gauges { return Gauges{} }, nil)
		r.Start()
		defer r.Close()
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		for day, kept := range map[bool]int{false: ShortKept, true: LongKept} {
			got := r.Report(t.Context(), day)
			if len(got.Samples) != kept+1 {
				t.Errorf("%d samples, want %d and the open one", len(got.Samples), kept)
			}
			for i := 1; i < len(got.Samples); i++ {
				if step := got.Samples[i].At - got.Samples[i-1].At; step != call.Instant(got.Step.Milliseconds()) {
					t.Fatalf("sample %d is %d ms after the one before", i, step)
				}
			}
		}
	})
}

func TestQuantiles(t *testing.T) {
	var h histogram
	if q := h.quantile(0.95); q != 0 {
		t.Errorf("of nothing: %v", q)
	}
	for ms := 1; ms <= 1000; ms++ {
		h.add(time.Duration(ms) * time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.95: 950 * time.Millisecond} {
		if got := h.quantile(q); got < want || float64(got) > float64(want)*growth {
			t.Errorf("%v: %v, want %v and a fifth at most", q, got, want)
		}
	}
	h = histogram{}
	h.add(0)
	h.add(time.Hour)
	if low, high := h.quantile(0.5), h.quantile(1); low != 100*time.Microsecond || high < time.Minute {
		t.Errorf("at the ends: %v, %v", low, high)
	}
}
