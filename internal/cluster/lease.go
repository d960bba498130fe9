package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/ringback/ringback/internal/store"
)

// keeper keeps the lease of a Member. It is one goroutine's.
type keeper struct {
	*Member
	next     time.Time // of the next renewal
	inflight bool
	again    bool // the one in flight may be too early to see what is new
	results  chan renewal
	cancel   context.CancelFunc // ends the renewal in flight

	begun bool         // a renewal after Start has succeeded
	nodes []store.Node // as last told

	// surplus is what others are to have: it is lost already, but not given
	// up before everybody knows.
	surplus store.PartitionSet
	told    <-chan struct{} // closed when everybody knows; nil: they do

	suspended bool // the lease ran out, and this was told
	cutOff    bool // likewise
	failures  int  // in a row
}

// renewal is the result of a renewal.
type renewal struct {
	begun, ended time.Time
	released     store.PartitionSet
	membership   store.Membership
	err          error
}

func (k *keeper) run() {
	k.results = make(chan renewal, 1)
	k.next = time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		k.expire(now)
		if !k.inflight && !now.Before(k.next) {
			k.renew()
		}
		timer.Reset(k.idle(now))
		select {
		case <-timer.C:
		case <-k.nudged:
			k.next, k.again = now, k.inflight
		case <-k.told:
			k.told = nil
			k.next, k.again = now, k.inflight
		case r := <-k.results:
			k.inflight = false
			k.cancel()
			if !k.take(r) {
				return
			}
		case <-k.leaving:
			if k.inflight {
				k.cancel()
				<-k.results
			}
			return
		}
	}
}

// idle is how long there is nothing to do, unless something comes.
func (k *keeper) idle(now time.Time) time.Duration {
	idle := k.lease
	if !k.inflight {
		idle = k.next.Sub(now)
	}
	ends := k.ends()
	switch {
	case !k.hasStarted():
	case !k.suspended:
		idle = min(idle, ends.Sub(now))
	case !k.cutOff:
		idle = min(idle, ends.Add(k.lease).Sub(now))
	}
	return max(idle, 0)
}

// ends is when the lease ends.
func (k *keeper) ends() time.Time { return k.base.Add(time.Duration(k.until.Load())) }

// renew begins a renewal. One that has taken half a lease is given up: another
// connection to the store may do better.
func (k *keeper) renew() {
	var release store.PartitionSet
	if k.told == nil {
		release = k.surplus
	}
	ctx, cancel := context.WithTimeout(context.Background(), k.lease/2)
	k.cancel = cancel
	k.inflight = true
	k.running.Go(func() {
		r := renewal{begun: time.Now(), released: release}
		r.membership, r.err = k.store.RenewNode(ctx, release)
		r.ended = time.Now()
		k.results <- r
	})
}

// take does what follows from a renewal, and reports whether there is to be
// another.
func (k *keeper) take(r renewal) bool {
	switch {
	case errors.Is(r.err, store.ErrFenced):
		k.fence(r.err)
		return false
	case r.err != nil:
		k.fail(r)
		return true
	}
	k.next = r.begun.Add(k.lease / renewals)
	if k.again {
		k.next, k.again = r.ended, false
	}
	k.succeed(r)
	return true
}

func (k *keeper) fence(err error) {
	k.until.Store(0)
	lost := store.PartitionSet(k.held.Swap(0))
	k.mu.Lock()
	k.status.fenced = err
	k.mu.Unlock()
	k.logger.Error("this start of the node is over: its lease was not renewed in time, and others have taken over its work", "node", k.name, "error", err)
	k.changes.add(Change{Lost: lost, Fenced: err})
}

func (k *keeper) fail(r renewal) {
	k.next = time.Now().Add(k.lease / (4 * renewals))
	k.mu.Lock()
	k.status.failure = r.err
	k.mu.Unlock()
	if k.failures++; k.failures == 1 {
		k.logger.Warn("the node's lease could not be renewed; it is tried again until the lease ends and after that", "node", k.name, "error", r.err, "dur", time.Until(k.ends()))
	}
}

// expire gives everything up when the lease has run out: others may take it
// from now on.
func (k *keeper) expire(now time.Time) {
	if k.hasStarted() && !k.suspended && !now.Before(k.ends()) {
		k.suspended = true
		lost := store.PartitionSet(k.held.Swap(0))
		k.logger.Error("the node's lease has run out, because the store did not renew it: the node does nothing that others may be doing, until it does", "node", k.name)
		k.changes.add(Change{Lost: lost})
	}
	if k.suspended && !k.cutOff && !now.Before(k.ends().Add(k.lease)) {
		k.cutOff = true
		k.changes.add(Change{CutOff: true})
	}
}

// succeed takes over how things stand.
func (k *keeper) succeed(r renewal) {
	k.expire(time.Now()) // before the lease is extended, so that nothing is held again untold
	k.extend(r.begun)
	k.mu.Lock()
	k.status.renewed, k.status.failure = r.begun, nil
	k.mu.Unlock()
	if k.failures > 0 {
		k.failures = 0
		k.logger.Info("the node's lease is renewed again", "node", k.name)
	}
	k.observe(r.membership.At, r.begun, r.ended)
	v := &view{Membership: r.membership, alive: make(map[store.NodeID]bool)}
	others := make([]store.NodeID, 0, len(v.Nodes))
	for _, n := range v.Nodes {
		v.alive[n.ID] = true
		if n.ID != k.self {
			others = append(others, n.ID)
		}
	}
	k.view.Store(v)
	k.bus.Peers(others)
	if r.released != 0 {
		k.surplus = 0
		k.invite(v)
	}
	if k.hasStarted() && time.Now().Before(k.ends()) {
		k.settle(v)
	}
}

// settle tells what is different, and finds out what others are to have.
func (k *keeper) settle(v *view) {
	held := v.Held(k.self) &^ k.surplus
	before := store.PartitionSet(k.held.Swap(uint64(held)))
	k.changes.add(Change{
		Gained: held &^ before, Lost: before &^ held, Left: gone(k.nodes, v),
		Missed: !k.begun || k.suspended || !k.Connected(),
	})
	first := !k.begun
	k.begun, k.suspended, k.cutOff, k.nodes = true, false, false, v.Nodes
	if first {
		k.Spread(nudge, nil)
	}
	if k.surplus == 0 {
		k.yield(held, held.Len()-fairShare(len(v.Nodes)))
	}
}

// yield loses some of what is held.
func (k *keeper) yield(held store.PartitionSet, n int) {
	if n <= 0 {
		return
	}
	list := held.List()
	for _, p := range list[len(list)-n:] {
		k.surplus = k.surplus.With(p)
	}
	k.held.Store(uint64(held &^ k.surplus))
	k.told = k.changes.add(Change{Lost: k.surplus})
}

// invite tells those nodes that something is free which have less than their
// share.
func (k *keeper) invite(v *view) {
	for _, n := range v.Nodes {
		if n.ID != k.self && v.Membership.Held(n.ID).Len() < fairShare(len(v.Nodes)) {
			_ = k.Send(n.ID, nudge, nil) // without it, it takes until that node's next renewal
		}
	}
}

// fairShare is the most that each of a number of nodes is to hold.
func fairShare(nodes int) int { return (store.PartitionCount + nodes - 1) / max(nodes, 1) }
