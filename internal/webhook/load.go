package webhook

import (
	"math"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

const (
	// loadLead is how long before its time a retry that is only in the store
	// is loaded, and loadAhead how much of the future is loaded with it.
	loadLead  = 2 * time.Second
	loadAhead = 10 * time.Second
)

// Pauses between tries to load from a store that fails.
const (
	loadRetry   = 100 * time.Millisecond
	loadRetryTo = 5 * time.Second
)

// load begins to load what the store has pending, if something may be due
// there and half of the memory is free.
func (e *endpoint) load() {
	if !e.started || e.closed || e.loading || e.minds == 0 || !e.wantsLoad() {
		return
	}
	e.loading = true
	e.d.tasks.Go(e.runLoad)
}

func (e *endpoint) wantsLoad() bool {
	if e.horizon == never || e.horizon-loadLead > e.d.now() {
		return false
	}
	half := e.d.capacity / 2
	return len(e.owned) <= half || e.evict() && len(e.owned) <= half
}

func (e *endpoint) runLoad() {
	for pause := loadRetry; ; {
		found, err := e.query()
		if err == nil {
			pause = loadRetry
			if !e.merge(found) {
				return
			}
			continue
		}
		if e.d.loads.Err() != nil {
			return
		}
		e.d.log.Error("pending callbacks cannot be loaded; they are tried again", "endpoint", int64(e.id), "err", err)
		select {
		case <-time.After(pause):
			pause = min(2*pause, loadRetryTo)
		case <-e.d.loads.Done():
			return
		}
	}
}

// found is what a load brought.
type found struct {
	list     []*store.Delivery
	complete bool // it is all that was pending
	heads    bool // it has only the first pending delivery of each call
}

// query reads as many pending deliveries as memory takes. The owned ones are
// among them. If there are more, an endpoint with strict order reads only the
// first of each call, for which nothing is missing before.
func (e *endpoint) query() (found, error) {
	select {
	case e.d.loading <- struct{}{}:
		defer func() { <-e.d.loading }()
	case <-e.d.loads.Done():
		return found{}, e.d.loads.Err()
	}
	e.mu.Lock()
	parts := e.minds
	e.dropped = 0
	e.mu.Unlock()
	const ever = call.Instant(math.MaxInt64)
	limit := e.d.capacity
	list, err := e.d.store.PendingDeliveries(e.d.loads, parts, e.id, ever, false, limit)
	if err != nil {
		return found{}, err
	}
	if len(list) < limit {
		return found{list: list, complete: true}, nil
	}
	if !e.settings().Strict {
		return found{list: list}, nil
	}
	list, err = e.d.store.PendingDeliveries(e.d.loads, parts, e.id, ever, true, limit)
	return found{list: list, heads: true}, err
}

// merge takes what was loaded, then what was handed off meanwhile. It reports
// whether there is more to load at once.
func (e *endpoint) merge(f found) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		e.loading = false
		return false
	}
	switch {
	case f.complete:
		e.horizon = never
	case f.heads && len(f.list) < e.d.capacity:
		e.horizon = never - 1 // nothing is due there until a first one finishes
	default:
		e.horizon = e.d.onClock(f.list[len(f.list)-1].Due)
	}
	for _, d := range f.list {
		key := d.Key()
		if p := key.Partition(); !e.minds.Has(p) || e.dropped.Has(p) {
			continue
		}
		if owned := e.owned[key]; owned != nil && !owned.finishedBefore(d) {
			delete(e.left, key)
			continue
		}
		it := &item{Delivery: *d, loaded: d.Failures == 0}
		it.low = e.loadedLow(d)
		it.awaited = it.low
		due := time.Duration(0) // a first attempt is due whatever the clock says
		if d.Attempts > 0 {
			due = e.d.onClock(d.Due)
		}
		// In strict order nothing of a complete list can be left out, for the
		// first of a call may come after those that must wait for it.
		full := len(e.owned) >= e.d.capacity && !(f.complete && e.conf.Strict)
		if full || !f.complete && due > e.d.now()+loadAhead {
			e.horizon = e.d.onClock(d.Due)
			break
		}
		delete(e.left, key)
		e.admit(it, due)
	}
	if e.horizon == never {
		clear(e.left)
	}

	arrived, gone, more := e.arrived, e.gone, e.more
	e.arrived, e.gone, e.more, e.loading = nil, nil, false, false
	for _, it := range gone {
		e.disown(it)
	}
	for _, it := range arrived {
		switch {
		case e.known(it):
		case e.room() && e.caughtUp(it):
			e.admit(it, 0)
		default:
			e.leave(it)
			more = true
		}
	}
	if more {
		e.horizon = 0
	}
	again := e.wantsLoad()
	e.loading = again
	e.proceed()
	return again
}
