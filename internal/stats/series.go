package stats

import (
	"maps"
	"math"
	"time"

	"github.com/ringback/ringback/internal/call"
)

// open is a sample that is not over.
type open struct {
	at                         call.Instant
	created, delivered, failed int
	ended                      map[call.Outcome]int
	latency                    histogram
}

// series is a ring of samples of one length, and the one that is open.
type series struct {
	step    time.Duration
	kept    int
	closed  []Sample // a ring once it is full
	next    int      // where the next one goes in it
	current open
}

func newSeries(step time.Duration, kept int, now call.Instant) *series {
	s := &series{step: step, kept: kept}
	s.begin(now)
	return s
}

// begin opens the sample that now is in.
func (s *series) begin(now call.Instant) {
	step := call.Instant(s.step.Milliseconds())
	s.current = open{at: now / step * step, ended: make(map[call.Outcome]int)}
}

// roll closes the open sample if it is over.
func (s *series) roll(now call.Instant, g Gauges) {
	if now < s.current.at+call.Instant(s.step.Milliseconds()) {
		return
	}
	sample := s.current.sample(g)
	if len(s.closed) < s.kept {
		s.closed = append(s.closed, sample)
	} else {
		s.closed[s.next] = sample
	}
	s.next = (s.next + 1) % s.kept
	s.begin(now)
}

// list gives all samples, the oldest first, the open one last.
func (s *series) list(g Gauges) []Sample {
	list := make([]Sample, 0, len(s.closed)+1)
	if len(s.closed) == s.kept {
		list = append(list, s.closed[s.next:]...)
		list = append(list, s.closed[:s.next]...)
	} else {
		list = append(list, s.closed...)
	}
	return append(list, s.current.sample(g))
}

func (o *open) sample(g Gauges) Sample {
	return Sample{
		At: o.at, Created: o.created, Ended: maps.Clone(o.ended), Delivered: o.delivered, Failed: o.failed,
		P50: o.latency.quantile(0.5), P95: o.latency.quantile(0.95), Gauges: g,
	}
}

// histogram counts durations in buckets that grow by a fifth, from 0.1 ms to
// about two minutes; what is longer counts as that.
type histogram struct {
	total  int
	counts [77]uint32
}

const (
	smallest = float64(100 * time.Microsecond)
	growth   = 1.2
)

func (h *histogram) add(d time.Duration) {
	i := 0
	if float64(d) > smallest {
		i = int(math.Ceil(math.Log(float64(d)/smallest) / math.Log(growth)))
	}
	h.counts[min(i, len(h.counts)-1)]++
	h.total++
}

// quantile gives the upper bound of the bucket in which it is; 0: nothing was
// counted.
func (h *histogram) quantile(q float64) time.Duration {
	rank, seen := int(math.Ceil(q*float64(h.total))), 0
	for i, n := range h.counts {
		if seen += int(n); seen >= rank && rank > 0 {
			return time.Duration(smallest * math.Pow(growth, float64(i)))
		}
	}
	return 0
}
