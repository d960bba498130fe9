package engine

import (
	"slices"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

const (
	// gapLimit is how long news waits for what belongs before it, until the
	// call is read from the store instead.
	gapLimit = 150 * time.Millisecond
	maxEarly = 8 // news of a call that wait
)

// letter is a message that was read.
type letter struct {
	from store.NodeID
	message
}

// past are the calls that were last heard of or in memory, and are no longer:
// news of their creation is old news.
type past struct {
	ids  [4096]call.ID
	at   int
	have map[call.ID]struct{}
}

func (p *past) add(id call.ID) {
	if _, ok := p.have[id]; ok {
		return
	}
	if p.have == nil {
		p.have = make(map[call.ID]struct{}, len(p.ids))
	}
	delete(p.have, p.ids[p.at])
	p.ids[p.at] = id
	p.have[id] = struct{}{}
	p.at = (p.at + 1) % len(p.ids)
}

// first takes news of a call that is not in memory.
func (e *Engine) first(l *letter) {
	n := l.News
	var created call.Event
	if len(n.Events) > 0 {
		if _, ok := n.Events[0].(call.CallCreated); ok {
			created = n.Events[0]
		}
	}
	e.mu.Lock()
	if _, old := e.past.have[n.Call]; old {
		created = nil
	}
	e.past.add(n.Call)
	e.mu.Unlock()
	if created == nil || len(n.Events) > 1 {
		// What is stored is told to devices, and what is to be delivered found.
		if c, err := e.take(e.ctx, n.Call); err == nil {
			if e.holds(n.Call) && len(n.Deliver) > 0 && c.rec.Call != nil {
				e.Callbacks.Wake(c.rec.Call.App)
			}
			e.release(c)
		}
		return
	}
	after := call.Evolve(nil, created)
	if !e.minds(after) {
		return
	}
	c := newEntry(store.CallRecord{Call: after, CommitID: n.Commit, Sequences: n.Sequences})
	e.mu.Lock()
	if e.calls[after.ID] != nil {
		e.mu.Unlock()
		c.mu.Unlock()
		e.read(l)
		return
	}
	e.calls[after.ID] = c
	e.mu.Unlock()
	defer e.release(c)
	e.index(nil, after)
	e.schedule(c)
	e.join(c, n)
	e.Devices.Tell(Transition{After: after, Event: created, Remote: true})
	e.deliver(c, n, nil)
}

// read takes news of a call.
func (e *Engine) read(l *letter) {
	for {
		e.mu.Lock()
		c := e.calls[l.News.Call]
		e.mu.Unlock()
		if c == nil {
			e.first(l)
			return
		}
		c.mu.Lock()
		if c.gone {
			c.mu.Unlock()
			continue
		}
		e.hearOf(c, l)
		e.release(c)
		return
	}
}

// hearOf takes news of a call that is held. News of one commit follows that of
// the commit before; what comes too early waits for a moment.
func (e *Engine) hearOf(c *entry, l *letter) {
	n := l.News
	switch {
	case n.Soft:
		e.hearSoft(c, l)
	case n.Commit == c.rec.CommitID:
		c.audience.add(e.Peers.Self(), n.Nodes...)
		e.findDue(c, n)
	case n.Prior == c.rec.CommitID:
		e.next(c, l)
		e.readEarly(c)
	case n.Version < c.rec.Call.Version: // old
		e.findDue(c, n)
	case n.Prior == 0 || len(c.early) >= maxEarly:
		e.lookAt(c)
	default:
		c.early = append(c.early, l)
		if c.gap == nil {
			id := c.rec.Call.ID
			c.gap = e.after(gapLimit, func() { e.closeGap(id) })
		}
	}
}

// hearSoft tells devices of a soft transition on another node, which will
// write it.
func (e *Engine) hearSoft(c *entry, l *letter) {
	if l.News.Commit == c.rec.CommitID && len(l.News.Events) == 1 {
		e.tellSoft(c, l.News.Events[0])
	}
}

// tellSoft tells devices of a soft transition, unless they know.
func (e *Engine) tellSoft(c *entry, ev call.Event) {
	received, ok := ev.(call.InvitationReceived)
	before := c.shown()
	if u := before.User(received.User); !ok || u == nil || !u.State.Pending() || u.State == call.Received {
		return
	}
	c.told = call.Evolve(before, received)
	e.Devices.Tell(Transition{Before: before, After: c.told, Event: received, Remote: true})
}

// next takes the transition that follows the record.
func (e *Engine) next(c *entry, l *letter) {
	n := l.News
	// What this node itself has not written is not part of it.
	after := c.durable()
	var last call.Event
	for _, last = range n.Events {
		if last == nil {
			e.lookAt(c) // of a later version
			return
		}
		after = call.Evolve(after, last)
		if call.Soft(last) {
			e.tellSoft(c, last)
		}
	}
	before, sequences := c.shown(), c.rec.Sequences
	if c.soft != nil {
		sequences = nil // they count what is not stored
	}
	e.follow(c, store.CallRecord{Call: after, CommitID: n.Commit, Sequences: n.Sequences})
	c.fresh = false // as far as is known
	e.join(c, n)
	if last != nil && !call.Soft(last) {
		e.Devices.Tell(Transition{Before: before, After: c.rec.Call, Event: last, Remote: true})
	}
	e.deliver(c, n, sequences)
}

// deliver hands off what a commit of another node is to have delivered, if it
// is complete: a node that took another one for the holder has told that one.
func (e *Engine) deliver(c *entry, n *news, before map[store.EndpointID]int) {
	if !e.holds(n.Call) {
		return
	}
	due := total(n.Sequences) - total(before)
	for _, ev := range n.Deliver {
		due -= len(ev.Deliveries)
	}
	if due != 0 {
		e.Callbacks.Wake(c.rec.Call.App)
		return
	}
	e.Callbacks.HandOff(n.Deliver)
}

func total(sequences map[store.EndpointID]int) int {
	sum := 0
	for _, n := range sequences {
		sum += n
	}
	return sum
}

// findDue has the deliverer look for deliveries that came too late to be handed
// off in their order.
func (e *Engine) findDue(c *entry, n *news) {
	if len(n.Deliver) > 0 && e.holds(n.Call) {
		e.Callbacks.Wake(c.rec.Call.App)
	}
}

// join takes over who is to be told of a call. That this node is among them
// does not mean that it has been touched: the news may have come late, and be
// of a session that was here before, of which those who looked since have not
// heard.
func (e *Engine) join(c *entry, n *news) {
	c.audience.known = true
	c.audience.add(e.Peers.Self(), n.Nodes...)
}

// readEarly takes what waited for the record as it is now.
func (e *Engine) readEarly(c *entry) {
	for i := 0; i < len(c.early); i++ {
		if l := c.early[i]; l.News.Prior == c.rec.CommitID && !c.gone {
			c.early = slices.Delete(c.early, i, i+1)
			e.next(c, l)
			i = -1
		}
	}
	c.early = slices.DeleteFunc(c.early, func(l *letter) bool { return l.News.Version < c.rec.Call.Version })
	if len(c.early) == 0 && c.gap != nil {
		c.gap.Stop()
		c.gap = nil
	}
}

// closeGap reads a call whose missing news has not come.
func (e *Engine) closeGap(id call.ID) {
	e.mu.Lock()
	c := e.calls[id]
	e.mu.Unlock()
	if c == nil {
		return
	}
	c.mu.Lock()
	defer e.release(c)
	if !c.gone && c.gap != nil {
		c.gap = nil
		e.lookAt(c)
	}
}
