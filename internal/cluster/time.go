package cluster

import (
	"context"
	"fmt"
	"time"
)

const (
	// clockReads is how often the store's clock is read to begin with. What
	// they agree on is nearer to the truth than each.
	clockReads = 4
	// maxSkew is how far the machine's clock may be from the store's.
	maxSkew = time.Second
)

// reading is what one look at the store's clock says about the offset of the
// machine's: it lies between low and high, however the time that the look took
// was shared between the way there and back.
type reading struct{ low, high time.Duration }

// read makes a reading of the store's clock at, for a request that was sent at
// wall, by the machine's clock, and took some time.
func read(at, wall time.Time, taken time.Duration) reading {
	high := at.Sub(wall.Round(0)) // without the monotonic clock
	return reading{low: high - taken, high: high}
}

// sinceWall is the time since wall, and whether the machine's clock was set
// meanwhile.
func (m *Member) sinceWall(wall time.Time) (taken time.Duration, stepped bool) {
	now := m.opts.Clock.Machine()
	taken = now.Sub(wall)
	diff := now.Round(0).Sub(wall.Round(0)) - taken
	return taken, diff.Abs() > 10*time.Millisecond
}

// nearest is the offset in a reading that is nearest to one that was taken to
// be right. So the time it took does not shake the clock; only what cannot be
// right is changed.
func (r reading) nearest(offset time.Duration) time.Duration {
	return min(max(offset, r.low), r.high)
}

// setClock finds the offset of the machine's clock.
func (m *Member) setClock(ctx context.Context) error {
	best := reading{}
	for i := range clockReads {
		wall := m.opts.Clock.Machine()
		at, err := m.opts.Store.Clock(ctx)
		if err != nil {
			return err
		}
		taken, _ := m.sinceWall(wall)
		if r := read(at, wall, taken); i == 0 || r.high-r.low < best.high-best.low {
			best = r
		}
	}
	m.setOffset((best.low + best.high) / 2)
	return nil
}

// adjust keeps the offset by what a renewal says.
func (m *Member) adjust(r *renewal) {
	if r.stepped {
		return // the next one will tell
	}
	offset := m.offset.Load()
	m.setOffset(read(r.membership.At, r.wall, r.taken).nearest(time.Duration(offset)))
}

func (m *Member) setOffset(offset time.Duration) {
	m.offset.Store(int64(offset))
	if m.opts.Clock != nil {
		m.opts.Clock.Adjust(offset)
	}
}

// checkClock says whether the machine's clock is too far from the store's.
func (m *Member) checkClock() error {
	offset := time.Duration(m.offset.Load())
	if offset.Abs() <= maxSkew {
		return nil
	}
	where := "behind"
	if offset < 0 {
		where = "ahead of"
	}
	return fmt.Errorf("cluster: the clock of this machine is %v %s the store's: set both by NTP; calls go by the store's meanwhile",
		offset.Abs().Round(100*time.Millisecond), where)
}
