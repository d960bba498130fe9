package bench

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	last := -1
	for v := int64(0); v < 1<<40; v += 1 + v/97 {
		i := bucket(v)
		if i < last {
			t.Fatalf("%d is in bucket %d, and less is in bucket %d", v, i, last)
		}
		last = i
		top := bucketTop(i)
		if top < v || bucket(top) != i || bucket(top+1) != i+1 {
			t.Fatalf("%d is in bucket %d, which ends with %d", v, i, top)
		}
		if float64(top-v) > float64(v)/subBuckets {
			t.Fatalf("%d is counted as up to %d", v, top)
		}
	}
}

func TestQuantiles(t *testing.T) {
	var h histogram
	if h.quantile(0.99) != 0 {
		t.Error("an empty histogram has a quantile")
	}
	r := rand.New(rand.NewPCG(1, 2))
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(r.ExpFloat64() * float64(time.Millisecond))
		all = append(all, d)
		h.record(d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[max(0, int(q*10_000)-1)]
		if got := h.quantile(q); got < want || float64(got-want) > float64(want)/subBuckets {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
}

func TestRecordExtremes(t *testing.T) {
	var h histogram
	h.record(-time.Second)
	h.record(1000 * time.Hour)
	if h.quantile(0.5) != 0 || h.quantile(1) <= 30*time.Minute || h.max.Load() != int64(1000*time.Hour) {
		t.Errorf("got %v, %v, %v", h.quantile(0.5), h.quantile(1), h.max.Load())
	}
}
