package webhook

import (
	"context"
	"slices"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// Partitions says which deliveries are this node's, when several share the
// store. Its methods must be cheap.
type Partitions interface {
	// Held is the set of partitions that this node holds at this moment.
	Held() store.PartitionSet
}

// all is for a node that has the store to itself.
type all struct{}

func (all) Held() store.PartitionSet { return store.AllPartitions }

const (
	// dropLimit is how long Drop waits for requests in flight.
	dropLimit = 2 * time.Second
	// missedEvery is the pause between two looks for deliveries that nobody
	// handed off, and missedAfter how long one must be due to count as such.
	missedEvery = 5 * time.Second
	missedAfter = 2 * time.Second
)

// holds reports whether a delivery is this node's.
func (d *Deliverer) holds(key store.DeliveryKey) bool { return d.parts.Held().Has(key.Partition()) }

// Gain takes over partitions that this node holds from now on: it looks into
// the store for what they are due.
func (d *Deliverer) Gain(store.PartitionSet) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, e := range d.targets {
		e.wake()
	}
}

// Drop forgets the deliveries of partitions that this node no longer holds.
// None of them is begun any more. It waits a moment for those in flight, so
// that whoever holds them next does not overtake them; their results are
// written down in any case.
func (d *Deliverer) Drop(parts store.PartitionSet) {
	d.mu.RLock()
	var flights []chan struct{}
	for _, e := range d.targets {
		flights = append(flights, e.lose(parts)...)
	}
	d.mu.RUnlock()
	limit := time.NewTimer(dropLimit)
	defer limit.Stop()
	for _, landed := range flights {
		select {
		case <-landed:
		case <-limit.C:
			return
		}
	}
}

// lose forgets the deliveries of partitions and gives what is closed when those
// in flight have landed.
func (e *endpoint) lose(parts store.PartitionSet) (flights []chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	lost := func(it *item) bool { return parts.Has(it.Key().Partition()) }
	for key, it := range e.owned {
		if !lost(it) {
			continue
		}
		switch it.state {
		case finished:
			continue
		case flying:
			it.landed = make(chan struct{})
			flights = append(flights, it.landed)
			it.next = nil
			continue
		case waiting:
			e.retries.remove(it)
		}
		delete(e.owned, key)
		e.abandon(it)
	}
	for id := range e.chains {
		if parts.Has(store.PartitionOf(id)) {
			delete(e.chains, id)
		}
	}
	e.hold.items = slices.DeleteFunc(e.hold.items, lost)
	e.arrived = slices.DeleteFunc(e.arrived, lost)
	for key := range e.left {
		if parts.Has(key.Partition()) {
			delete(e.left, key)
		}
	}
	for key := range e.early {
		if parts.Has(key.Partition()) {
			delete(e.early, key)
		}
	}
	return flights
}

// abandon makes an item, which is no longer owned, one that all queues pass
// over.
func (e *endpoint) abandon(it *item) {
	it.state, it.chained, it.next = blocked, false, nil
	e.attempted(it)
}

// forget gives up an item that was ready, with all that are behind it, because
// it is no longer this node's.
func (e *endpoint) forget(it *item) {
	for at := it; at != nil; {
		next := at.next
		if e.owned[at.Key()] == at {
			delete(e.owned, at.Key())
		}
		e.abandon(at)
		at = next
	}
	delete(e.chains, it.Call)
}

// seek looks, now and then, for deliveries that were not handed off: whoever
// committed them may have died before he could, or the message got lost.
func (d *Deliverer) seek() {
	tick := time.NewTicker(missedEvery)
	defer tick.Stop()
	for {
		select {
		case <-d.loads.Done():
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(d.loads, missedEvery)
		backlogs, err := d.store.Backlogs(ctx, d.parts.Held())
		cancel()
		if err != nil {
			if d.loads.Err() == nil {
				d.log.Warn("it could not be looked whether callbacks were missed; it is tried again", "err", err)
			}
			continue
		}
		late := call.At(d.clock.Now().Add(-missedAfter))
		d.mu.RLock()
		for _, b := range backlogs {
			if e := d.targets[b.Endpoint]; e != nil && b.NextDue < late && e.pending() < b.Pending {
				e.wake()
			}
		}
		d.mu.RUnlock()
	}
}

// pending is how many deliveries are in memory and not finished.
func (e *endpoint) pending() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(e.arrived)
	for _, it := range e.owned {
		if it.state != finished {
			n++
		}
	}
	return n
}
