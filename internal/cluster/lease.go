package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/ringback/ringback/internal/store"
)

// lease is what the goroutine that renews it knows.
type lease struct {
	suspended bool          // it ran out, and that was told
	cutOff    bool          // that was told as well
	due       time.Duration // the next renewal; see Member.now
	began     time.Duration // the last one
	again     bool          // another one is due when it is back: it was begun before the latest nudge

	releasing store.PartitionSet // given up, not yet in the store
	number    uint64             // of the change by which that was told
}

// renewal is one that has come back.
type renewal struct {
	membership  store.Membership
	err         error
	released    store.PartitionSet
	sent, taken time.Duration // when it was sent, by Member.now, and how long it took
	wall        time.Time     // when it was sent, by the machine's clock
	stepped     bool          // the machine's clock was set meanwhile
}

// renewal carries out one renewal.
func (m *Member) renewal(ctx context.Context, release store.PartitionSet) renewal {
	r := renewal{released: release, wall: m.opts.Clock.Machine(), sent: m.now()}
	r.membership, r.err = m.opts.Store.RenewNode(ctx, release)
	r.taken, r.stepped = m.sinceWall(r.wall)
	return r
}

// renewAlways renews the lease every quarter of it, sooner when that failed or
// another node has something to offer, and watches it run out meanwhile.
func (m *Member) renewAlways(ctx context.Context) {
	results := make(chan renewal, 1)
	var running bool
	defer func() {
		if running {
			<-results
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		m.expire()
		l := &m.lease
		if release := m.mayRelease(); !running && (m.now() >= l.due || release != 0) {
			running, l.began, l.again = true, m.now(), false
			go func() {
				attempt, cancel := context.WithTimeout(ctx, m.patience())
				defer cancel()
				results <- m.renewal(attempt, release)
			}()
		}
		timer.Reset(m.nextLook(running))
		select {
		case <-ctx.Done():
			return
		case r := <-results:
			running = false
			if r.err == nil {
				m.renewed(&r)
			} else if m.failed(ctx, r.err) {
				return
			}
		case <-m.changes.done: // a release may go ahead
		case <-m.nudged:
			// Several nudges in a row are one look.
			l.due, l.again = min(l.due, l.began+m.opts.Lease/40), running
		case <-timer.C:
		}
	}
}

// ends is when a lease ends that was asked for at sent. A twentieth is given
// away, since the store's clock may run faster than this machine's, and to act
// on a look at Held takes a moment.
func (m *Member) ends(sent time.Duration) time.Duration {
	return sent + m.opts.Lease - m.opts.Lease/20
}

// patience is how long a renewal may take: while the lease lasts, there should
// be time to begin another; afterwards there is no hurry.
func (m *Member) patience() time.Duration {
	if m.now() < time.Duration(m.until.Load()) {
		return m.opts.Lease / 2
	}
	return m.opts.Lease
}

// nextLook is the time until there is something to do.
func (m *Member) nextLook(running bool) time.Duration {
	next := m.now() + m.opts.Lease
	if !running {
		next = m.lease.due
	}
	if !m.lease.suspended {
		next = min(next, time.Duration(m.until.Load()))
	}
	return max(0, next-m.now())
}

// mayRelease is what can be given up in the store, because nobody here works
// on it any more.
func (m *Member) mayRelease() store.PartitionSet {
	if m.lease.releasing == 0 || !m.changes.wasTold(m.lease.number) {
		return 0
	}
	return m.lease.releasing
}

// expire notices that the lease has run out. Until it is renewed this node
// holds nothing, though nobody may have taken it away.
func (m *Member) expire() {
	if m.lease.suspended || m.now() < time.Duration(m.until.Load()) {
		return
	}
	m.suspend()
	m.opts.Logger.Warn("the lease of this node has run out; it leaves all work to others until the store answers", "node", int64(m.self))
}

func (m *Member) suspend() {
	m.lease.suspended = true
	if held := store.PartitionSet(m.held.Swap(0)); held != 0 {
		m.changes.add(Change{Lost: held})
	}
}

// failed notes a renewal that failed, and reports whether it was the last.
func (m *Member) failed(ctx context.Context, err error) (ended bool) {
	if ctx.Err() != nil {
		return true
	}
	fenced := errors.Is(err, store.ErrFenced)
	m.state.Lock()
	m.state.failed = err
	if fenced {
		m.state.fenced = err
	}
	m.state.Unlock()
	if fenced {
		m.until.Store(0)
		m.changes.add(Change{Lost: store.PartitionSet(m.held.Swap(0)), Fenced: err})
		m.opts.Logger.Warn("this incarnation of the node was ended", "node", int64(m.self), "err", err)
		return true
	}
	m.expire()
	if over := m.now() - time.Duration(m.until.Load()); over >= m.opts.Lease && !m.lease.cutOff {
		m.lease.cutOff = true
		m.changes.add(Change{CutOff: true})
	}
	m.opts.Logger.Warn("renewing the lease failed; it is tried again", "node", int64(m.self), "err", err)
	m.lease.due = m.now() + jitter(m.opts.Lease/10)
	return false
}

// renewed takes over how things stand.
func (m *Member) renewed(r *renewal) {
	l := &m.lease
	before := m.look.Load()
	look := &r.membership
	m.adjust(r)
	m.state.Lock()
	m.state.failed = nil
	m.state.Unlock()

	// Whoever found the lease over has read the clock before this. He is to
	// be told that it was, even if nobody else has noticed.
	ends := m.ends(r.sent)
	old := time.Duration(m.until.Swap(int64(ends)))
	now := m.now()
	if !l.suspended && now >= old {
		m.suspend()
	}
	var c Change
	if now < ends {
		c.Missed = l.suspended
		if l.suspended {
			m.opts.Logger.Info("the lease of this node is renewed again", "node", int64(m.self))
		}
		l.suspended, l.cutOff = false, false
	}

	l.releasing &^= r.released
	l.releasing &= look.Held(m.self)
	give := surplus(look, m.self) &^ l.releasing
	had := store.PartitionSet(m.held.Load())
	has := look.Held(m.self) &^ (l.releasing | give)
	if l.suspended {
		has = 0
	}
	m.look.Store(look)
	m.held.Store(uint64(has))
	c.Gained, c.Lost = has&^had, had&^has
	l.releasing |= give
	if before != nil {
		for _, n := range before.Nodes {
			if !lives(look, n.ID) {
				c.Left = append(c.Left, n.ID)
			}
		}
	}
	m.setPeers(before, look)
	if c.Gained|c.Lost != 0 || c.Missed || len(c.Left) > 0 {
		m.changes.add(c)
	}
	if give != 0 {
		l.number = m.changes.last()
	}
	if before == nil || r.released != 0 {
		m.nudge()
	}
	l.due = r.sent + jitter(m.opts.Lease/4)
	if l.again { // it may not have seen what the nudge was about
		l.due = l.began + m.opts.Lease/40
	}
}

// setPeers tells the bus who is there.
func (m *Member) setPeers(before, now *store.Membership) {
	others := make([]store.NodeID, 0, len(now.Nodes))
	for _, n := range now.Nodes {
		if n.ID == m.self {
			continue
		}
		others = append(others, n.ID)
		if before != nil && !lives(before, n.ID) {
			m.opts.Logger.Info("another node is there", "node", int64(m.self), "peer", int64(n.ID), "name", n.Name)
		}
	}
	m.bus.Peers(others)
}

// jitter takes up to a tenth off, so that nodes do not keep step.
func jitter(d time.Duration) time.Duration { return d - rand.N(d/10+1) }
