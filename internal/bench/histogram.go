package bench

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// subBuckets is the number of buckets for each power of two: a quantile is
// off by less than 1/subBuckets.
const subBuckets = 64

// histogram counts durations up to some minutes. It is safe for concurrent
// use; its zero value is empty.
type histogram struct {
	counts [subBuckets * 36]atomic.Uint32
	n      atomic.Int64
	max    atomic.Int64
}

// record counts d; a negative one counts as 0.
func (h *histogram) record(d time.Duration) {
	v := max(int64(d), 0)
	h.counts[min(bucket(v), len(h.counts)-1)].Add(1)
	h.n.Add(1)
	for {
		old := h.max.Load()
		if v <= old || h.max.CompareAndSwap(old, v) {
			return
		}
	}
}

// quantile returns the duration that a share q of those recorded does not
// exceed; 0 when there are none.
func (h *histogram) quantile(q float64) time.Duration {
	n := h.n.Load()
	if n == 0 {
		return 0
	}
	rank := int64(q*float64(n) + 0.5)
	rank = min(max(rank, 1), n)
	var seen int64
	for i := range h.counts {
		if seen += int64(h.counts[i].Load()); seen >= rank {
			return min(time.Duration(bucketTop(i)), time.Duration(h.max.Load()))
		}
	}
	return time.Duration(h.max.Load())
}

// bucket returns the bucket of v: the first 2*subBuckets are exact.
func bucket(v int64) int {
	if v < 2*subBuckets {
		return int(v)
	}
	shift := bits.Len64(uint64(v)) - bits.Len64(2*subBuckets-1)
	return shift*subBuckets + int(v>>shift)
}

// bucketTop returns the largest value of a bucket.
func bucketTop(i int) int64 {
	if i < 2*subBuckets {
		return int64(i)
	}
	shift := i/subBuckets - 1
	return (int64(i-shift*subBuckets)+1)<<shift - 1
}
