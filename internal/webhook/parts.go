package webhook

import (
	"context"
	"slices"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

const (
	// lookEvery is how often a node among others looks for deliveries whose
	// hand-off got lost, and lookLate for how long one must have been due.
	lookEvery = 5 * time.Second
	lookLate  = 2 * time.Second
	// dropLimit is how long Drop waits for what is in flight.
	dropLimit = 2 * time.Second
)

// Partitions says which part of the deliveries a node makes at this moment.
// What is not held at the moment of a request is not requested. Its methods
// are cheap and may be called concurrently.
type Partitions interface {
	Holds(partition int) bool
}

// Gain makes the Deliverer mind partitions, and looks for what they are due. A
// Deliverer with Options.Partitions minds none before. It does not wait.
func (d *Deliverer) Gain(parts store.PartitionSet) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.minds |= parts
	for _, e := range d.targets {
		e.gain(parts)
	}
	signal(d.look)
}

// Drop makes the Deliverer forget partitions: nothing of them is begun once it
// has returned. Requests in flight may go on, and their results are written;
// for a short time Drop waits for that, so that whoever minds the partitions
// next does not overtake them.
func (d *Deliverer) Drop(parts store.PartitionSet) {
	p := &parting{over: make(chan struct{}), left: 1}
	d.mu.Lock()
	d.minds &^= parts
	for _, e := range d.targets {
		e.drain(parts, p)
	}
	d.mu.Unlock()
	p.done()
	limit := time.NewTimer(dropLimit)
	defer limit.Stop()
	select {
	case <-p.over:
	case <-limit.C:
	}
}

// mindsAll reports whether a Deliverer has all deliveries to itself.
func (d *Deliverer) mindsAll() bool { return d.parts == nil }

// holds reports whether a delivery may be attempted here at this moment.
func (d *Deliverer) holds(key store.DeliveryKey) bool {
	return d.parts == nil || d.parts.Holds(key.Partition())
}

// gain makes an endpoint mind partitions. Until it has looked into the store,
// hand-offs wait for that: what comes before them may be there.
func (e *endpoint) gain(parts store.PartitionSet) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.minds |= parts
	e.horizon, e.more = 0, e.loading
}

// drain forgets all that is in memory of partitions.
func (e *endpoint) drain(parts store.PartitionSet, p *parting) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.minds &^= parts
	e.dropped |= parts
	for key, it := range e.owned {
		if parts.Has(key.Partition()) {
			e.forget(it, p)
		}
	}
	e.hold.items = slices.DeleteFunc(e.hold.items, func(it *item) bool { return it.forgotten })
	e.arrived = slices.DeleteFunc(e.arrived, func(it *item) bool { return parts.Has(it.Key().Partition()) })
	for key := range e.left {
		if parts.Has(key.Partition()) {
			delete(e.left, key)
		}
	}
	e.proceed()
}

// forget gives up an item whatever its state, and with it those that must not
// be attempted before. One that is in flight goes on by itself. The caller sees
// to hold.items.
func (e *endpoint) forget(it *item, p *parting) {
	if it.chained {
		at := e.chains[it.Call]
		delete(e.chains, it.Call)
		for at != nil {
			next := at.next
			at.chained, at.next = false, nil
			e.forget(at, p)
			at = next
		}
		return
	}
	key := it.Key()
	if e.owned[key] != it {
		return
	}
	delete(e.owned, key)
	e.attempted(it)
	it.forgotten = true
	if p != nil && (it.state == flying || it.open > 0) {
		it.parting = p
		p.add()
	}
	if it.state == waiting {
		e.retries.remove(it)
	}
	if it.state != flying {
		it.state = finished
	}
	if e.hold.doubt == it {
		e.hold.doubt = nil
	}
}

// refuse forgets an item that was just taken, because its partition is not
// held at this moment.
func (e *endpoint) refuse(it *item) {
	if it.probe {
		it.probe = false
		e.hold.probing = false
	}
	e.forget(it, nil)
	e.hold.items = slices.DeleteFunc(e.hold.items, func(it *item) bool { return it.forgotten })
}

// settled is called when nothing of a forgotten item is under way any more.
func (it *item) settled() {
	if it.parting != nil {
		it.parting.done()
		it.parting = nil
	}
}

// runLooks looks into the store for what is due and not in memory, whenever
// partitions were gained and now and then, for a hand-off between nodes may
// get lost.
func (d *Deliverer) runLooks() {
	pause := loadRetry
	for timer := time.NewTimer(lookEvery); ; {
		select {
		case <-d.look:
		case <-timer.C:
		case <-d.loads.Done():
			timer.Stop()
			return
		}
		if err := d.lookOnce(d.loads); err != nil && d.loads.Err() == nil {
			d.log.Error("it cannot be seen which callbacks are pending; it is tried again", "err", err)
			timer.Reset(pause)
			pause = min(2*pause, lookEvery)
			continue
		}
		pause = loadRetry
		timer.Reset(lookEvery)
	}
}

// lookOnce has endpoints load that know that something is in the store, and
// those that have less in memory than they should.
func (d *Deliverer) lookOnce(ctx context.Context) error {
	d.mu.RLock()
	parts := d.minds
	d.mu.RUnlock()
	if parts == 0 {
		return nil
	}
	list, err := d.store.Backlogs(ctx, parts)
	if err != nil {
		return err
	}
	late := call.At(d.clock.Now().Add(-lookLate))
	suspects := make(map[store.EndpointID]int)
	d.eachOf(list, func(e *endpoint, b *store.Backlog) {
		if known, sure := e.knows(); sure && b.NextDue <= late {
			suspects[e.id] = known
		}
	})
	if len(suspects) == 0 {
		return nil
	}
	// What was in memory before this look, and has come since, is all that
	// this look can find.
	if list, err = d.store.Backlogs(ctx, parts); err != nil {
		return err
	}
	d.eachOf(list, func(e *endpoint, b *store.Backlog) {
		if known, ok := suspects[e.id]; ok {
			e.compare(b.Pending, known)
		}
	})
	return nil
}

func (d *Deliverer) eachOf(list []store.Backlog, do func(*endpoint, *store.Backlog)) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for i := range list {
		if e := d.targets[list[i].Endpoint]; e != nil {
			do(e, &list[i])
		}
	}
}

// knows gives how much is in memory, less all that ever came there, if that
// should be everything that is due. Otherwise it has it loaded.
func (e *endpoint) knows() (known int, sure bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.loading || e.horizon <= e.d.now() {
		e.load()
		return 0, false
	}
	// With a horizon in the future there are retries in the store, and the load
	// at the horizon finds everything.
	return len(e.owned) - e.admitted, e.horizon == never
}

// compare looks into the store if that has had more pending than was known by
// then.
func (e *endpoint) compare(pending, known int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if pending > known+e.admitted {
		e.spill()
	}
}
