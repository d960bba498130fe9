package webhook

import (
	"cmp"
	"slices"
	"time"
)

// Pauses between the probes of an endpoint that is down.
const (
	firstProbe = 2 * time.Second
	lastProbe  = 60 * time.Second
)

// hold is the state of an endpoint whose deliveries are kept while it is down.
type hold struct {
	down    bool
	pause   time.Duration // until the next probe, from the one before
	probeAt time.Duration // on the Deliverer's clock
	probing bool
	items   []*item // those that failed since it is down, in that order
	// doubt is the suspect that failed last, unless the endpoint has answered
	// another since.
	doubt *item
	first *item // is to be the next probe, while it is held
}

// absorb decides about a failure at an endpoint that holds: true: it uses no
// attempt of the schedule, for the endpoint is down. One that failed before in
// this way, and fails again while the endpoint is up, may be the cause
// itself: its failure counts, and marks the endpoint down only if another
// suspect has failed just before it.
func (e *endpoint) absorb(it *item, out outcome, probe bool) bool {
	h := &e.hold
	if h.down && probe {
		h.pause = min(2*h.pause, lastProbe)
		h.probeAt = e.d.now() + h.pause
	}
	if !out.outage {
		h.doubt = nil // it has answered
		return false
	}
	if !h.down && it.suspect && (h.doubt == nil || h.doubt == it) {
		h.doubt = it
		return false
	}
	it.suspect = true
	if !h.down {
		h.down, h.doubt = true, nil
		h.pause = firstProbe
		h.probeAt = e.d.now() + h.pause
		e.d.log.Warn("endpoint is down: its callbacks are held", "app_id", it.App, "endpoint", int64(e.id), "problem", out.failure)
	}
	return true
}

// answered is called when a delivery succeeded.
func (e *endpoint) answered() {
	e.hold.doubt = nil
	if e.hold.down {
		e.d.log.Info("endpoint is up again", "app_id", e.conf.App, "endpoint", int64(e.id))
		e.resume()
	}
}

// resume ends the hold: everything that is ready or held goes in the order of
// events, and within a call one after another. What is ready in the low lane
// has an order already, if it needs one.
func (e *endpoint) resume() {
	list := e.hold.items
	e.hold = hold{}
	for it := e.ready.pop(); it != nil; it = e.ready.pop() {
		list = append(list, it)
	}
	slices.SortFunc(list, func(a, b *item) int { return cmp.Compare(a.Event, b.Event) })
	for _, it := range list {
		it.state = blocked
		it.due = 0
		if it.Call != 0 && !it.chained {
			e.chain(it)
		}
	}
	for _, it := range list {
		if !it.chained || e.chains.isHead(it) {
			e.schedule(it)
		}
	}
}

func (e *endpoint) hasProbe() bool {
	return e.ready.peek() != nil || e.low.peek() != nil || len(e.hold.items) > 0
}

// takeProbe gives the delivery with which to find out whether the endpoint is
// up again, if it is time: the one that somebody asked for, else one that has
// not failed yet, else the one that failed the longest time ago, so that every
// one has its turn.
func (e *endpoint) takeProbe() *item {
	h := &e.hold
	if h.probing || e.d.now() < h.probeAt {
		return nil
	}
	it := e.popFirst()
	if it == nil {
		it = e.ready.pop()
	}
	if it == nil {
		it = e.low.pop()
	}
	if it == nil {
		if len(h.items) == 0 {
			return nil
		}
		it = h.items[0]
		h.items = h.items[1:]
	}
	h.probing = true
	it.probe = true
	return it
}

// popFirst takes the held item that somebody asked for, or nil.
func (e *endpoint) popFirst() *item {
	h := &e.hold
	i := slices.Index(h.items, h.first)
	h.first = nil
	if i < 0 {
		return nil
	}
	it := h.items[i]
	h.items = slices.Delete(h.items, i, i+1)
	return it
}
