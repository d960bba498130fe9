package webhook

import (
	"container/heap"

	"github.com/ringback/ringback/internal/store"
)

// lowShare is the part of an endpoint's requests in flight that the low lane
// may take: one in so many, but at least one.
const lowShare = 8

// maxLeft bounds endpoint.left. What is beyond it is known as a redelivery only
// by its attempts when it is loaded.
const maxLeft = 4096

// Redeliver takes deliveries that the store has just made pending again, as it
// gave them. It never waits. They go in a low lane: only while no live one is
// ready, and only in one of eight of the endpoint's requests in flight, for a
// live one may come at any time. A live one that must wait for one of them, in
// strict order, takes it out of that lane. What memory does not take stays in
// the store and is loaded from there, which delays live ones too: a list is
// meant to have some hundreds at most, and a [Redeliverer] brings more. What is
// for other nodes goes to Options.Elsewhere.
func (d *Deliverer) Redeliver(list []*store.Delivery) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var others []*store.Delivery
	for _, again := range list {
		switch e := d.targets[again.Endpoint]; {
		case again.State != store.Pending:
		case !d.minds.Has(again.Key().Partition()):
			others = append(others, again)
		case e != nil:
			e.handOff(&item{Delivery: *again, low: true, awaited: true})
		}
	}
	if len(others) > 0 {
		d.elsewhere(others)
	}
}

// Hasten makes a delivery that waits for its retry due at once, or one that is
// held the next probe of its endpoint. False: it does not wait here; it may be
// on its way, be finished, or wait in the store alone because there are more
// retries than memory takes.
func (d *Deliverer) Hasten(key store.DeliveryKey) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	e := d.targets[key.Endpoint]
	return e != nil && e.hasten(key)
}

// redelivering is how much of an endpoint's low lane was not attempted yet.
func (d *Deliverer) redelivering(id store.EndpointID) int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	e := d.targets[id]
	if e == nil {
		return 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.outstanding()
}

func (e *endpoint) hasten(key store.DeliveryKey) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	it := e.owned[key]
	if it == nil || e.closed {
		return false
	}
	now := e.d.now()
	switch it.state {
	case waiting:
		it.due = now
		heap.Fix(&e.retries, it.index)
	case held:
		e.hold.first = it
		e.hold.probeAt = now
	default:
		return false
	}
	e.proceed()
	return true
}

// lowSlots is how many requests of the low lane may be in flight.
func (e *endpoint) lowSlots() int { return max(e.conf.InFlight/lowShare, 1) }

// outstanding counts redeliveries that were not attempted yet, and what might
// be one.
func (e *endpoint) outstanding() int { return e.awaiting + len(e.left) + len(e.arrived) }

// promote takes items out of the low lane for which a live one of their call
// waits, after it was put into the order of its call.
func (e *endpoint) promote(it *item) {
	for next := it.next; it.low && next != nil; next = next.next {
		it.low = next.low
	}
	if it.low {
		return
	}
	for at := e.chains[it.Call]; at != it; at = at.next {
		if !at.low {
			continue
		}
		at.low = false
		if at.state == ready {
			e.enqueue(at)
		}
	}
}

// attempted says that an item is no longer awaited.
func (e *endpoint) attempted(it *item) {
	if it.awaited {
		it.awaited = false
		e.awaiting--
	}
}

// leave remembers that a redelivery, which is not owned, is in the store.
func (e *endpoint) leave(it *item) {
	if it.awaited && len(e.left) < maxLeft {
		e.left[it.Key()] = struct{}{}
	}
}

// loadedLow reports whether a delivery that was loaded is a redelivery. One
// that was left in the store before a restart shows it by attempts without
// failures, but so do those of an endpoint that holds.
func (e *endpoint) loadedLow(d *store.Delivery) bool {
	if _, ok := e.left[d.Key()]; ok {
		return true
	}
	return d.Attempts > 0 && d.Failures == 0 && !e.conf.Hold
}
