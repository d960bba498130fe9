package cluster

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ringback/ringback/internal/store"
)

// mono is the time on a clock that nothing sets.
func (m *Member) mono() time.Duration { return time.Since(m.epoch) }

// hurry has the next renewal come at once.
func (m *Member) hurry() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// state is what only run knows.
type state struct {
	suspended bool // the lease has run out
	cutOff    bool
	releasing store.PartitionSet // no longer held here, and not yet given up
	released  chan struct{}      // closed when they may be
}

// run renews the lease until the node leaves or is fenced.
func (m *Member) run() {
	var s state
	every := m.Lease / 4
	first := true
	for {
		err := m.renew(&s)
		m.mu.Lock()
		m.trouble = err
		m.mu.Unlock()
		if errors.Is(err, store.ErrFenced) {
			lost := store.PartitionSet(m.held.Swap(0))
			m.until.Store(0)
			m.enqueue(Change{Lost: lost, Fenced: err}, nil)
			return
		}
		if err == nil && first {
			first = false
			m.Spread(kindKick, nil) // so that others give up what is too much
		}
		wait := every
		if err != nil {
			if m.ctx.Err() != nil {
				return
			}
			m.Logger.Warn("the lease of this node could not be renewed, it will be tried again", "error", err)
			m.suspend(&s)
			wait = every / 4
		}
		var released chan struct{}
		if s.releasing != 0 {
			released = s.released
		}
		timer := time.NewTimer(m.untilNext(&s, wait))
		select {
		case <-m.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-m.kick:
		case <-released:
		}
		timer.Stop()
	}
}

// untilNext is the time until the next renewal, or until the lease runs out.
func (m *Member) untilNext(s *state, wait time.Duration) time.Duration {
	left := time.Duration(m.until.Load()) - m.mono()
	if s.suspended || left <= 0 {
		return wait
	}
	return min(wait, left)
}

// suspend lets go of everything when the lease has run out.
func (m *Member) suspend(s *state) {
	over := m.mono() - time.Duration(m.until.Load())
	if over < 0 {
		return
	}
	if !s.suspended {
		s.suspended = true
		m.enqueue(Change{Lost: store.PartitionSet(m.held.Swap(0))}, nil)
	}
	if over >= m.Lease && !s.cutOff {
		s.cutOff = true
		m.enqueue(Change{CutOff: true}, nil)
	}
}

// renew renews the lease once.
func (m *Member) renew(s *state) error {
	missed := m.missed.Swap(false)
	give := store.PartitionSet(0)
	if s.releasing != 0 {
		select {
		case <-s.released:
			give = s.releasing
		default:
		}
	}
	ctx, cancel := context.WithTimeout(m.ctx, m.Lease/2)
	defer cancel()
	begin := m.mono()
	wall := m.Clock.Now()
	membership, err := m.Store.RenewNode(ctx, give)
	if err != nil {
		if missed {
			m.missed.Store(true)
		}
		return err
	}
	took := m.mono() - begin
	m.adjust(membership.At, wall, took)
	if begin+m.Lease <= m.mono() { // it took longer than what it is good for
		return errors.New("the store took too long to answer")
	}
	if give != 0 {
		s.releasing = 0
	}
	c := Change{Missed: missed || s.suspended}
	if s.suspended {
		m.Logger.Info("the lease of this node is renewed again")
	}
	before := store.PartitionSet(m.held.Load())
	held := membership.Held(m.self) &^ s.releasing
	c.Gained, c.Lost = held&^before, before&^held
	old := m.view.Load()
	v := &view{Membership: membership, alive: make(map[store.NodeID]bool)}
	peers := make([]store.NodeID, 0, len(membership.Nodes))
	for _, n := range membership.Nodes {
		v.alive[n.ID] = true
		if n.ID != m.self {
			peers = append(peers, n.ID)
		}
	}
	for _, n := range old.Nodes {
		if !v.alive[n.ID] {
			c.Left = append(c.Left, n.ID)
		}
	}
	m.view.Store(v)
	m.until.Store(int64(begin + m.Lease))
	m.held.Store(uint64(held))
	s.suspended, s.cutOff = false, false
	m.bus.Peers(peers)
	m.enqueue(c, nil)
	m.release(s, held, len(membership.Nodes))
	return nil
}

// release stops to hold what is more than a fair share. It is given up by a
// renewal, after those who work on it have let go.
func (m *Member) release(s *state, held store.PartitionSet, nodes int) {
	share := (store.PartitionCount + nodes - 1) / nodes
	if s.releasing != 0 || held.Len() <= share {
		return
	}
	list := held.List()
	for _, p := range list[share:] {
		s.releasing = s.releasing.With(p)
	}
	s.released = make(chan struct{})
	m.held.Store(uint64(held &^ s.releasing))
	m.enqueue(Change{Lost: s.releasing}, s.released)
}

// enqueue has a change told.
func (m *Member) enqueue(c Change, done chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.empty() {
		return
	}
	m.queue = append(m.queue, queued{c, done})
	select {
	case m.queued <- struct{}{}:
	default:
	}
}

// tell tells of changes, in their order.
func (m *Member) tell() {
	for {
		m.mu.Lock()
		list := m.queue
		m.queue = nil
		m.mu.Unlock()
		for _, q := range list {
			m.changed(q.Change)
			if q.done != nil {
				close(q.done)
			}
		}
		if len(list) > 0 {
			continue
		}
		select {
		case <-m.ctx.Done():
			return
		case <-m.queued:
		}
	}
}

// readClock sets the clock by the best of a few looks.
func (m *Member) readClock(ctx context.Context) error {
	type look struct{ offset, took time.Duration }
	var looks []look
	for range 3 {
		begin, wall := m.mono(), m.Clock.Now()
		at, err := m.Store.Clock(ctx)
		if err != nil {
			return err
		}
		took := m.mono() - begin
		looks = append(looks, look{at.Sub(wall.Add(took / 2)), took})
	}
	best := slices.MinFunc(looks, func(a, b look) int { return int(a.took - b.took) })
	m.Clock.Adjust(m.Clock.Offset() + best.offset)
	return nil
}

// clockNoise is what a look at the store's clock may be wrong by, beside half
// of the time that it took.
const clockNoise = 2 * time.Millisecond

// adjust moves the clock towards that of the store, which said at when this
// node's clock said wall and took to answer. A difference within what the look
// may be wrong by is let be, so that the clock does not follow noise.
func (m *Member) adjust(at, wall time.Time, took time.Duration) {
	off := at.Sub(wall.Add(took / 2))
	if off.Abs() <= took/2+clockNoise {
		return
	}
	if off.Abs() < 100*time.Millisecond {
		off /= 2
	}
	m.Clock.Adjust(m.Clock.Offset() + off)
}
