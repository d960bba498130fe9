package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
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

// remote is what an entry knows beside the call, when there are other nodes.
type remote struct {
	fresh    bool       // the record was read when the entry was taken
	doubtful bool       // a commit failed: read the record before it is used
	told     *call.Call // what devices here were told, when it is not rec.Call
	audience audience
	// touched says that other nodes know, or learn with their next commit,
	// that devices of this one are to be told. It ends when another session
	// comes here, for whoever looked before that may not know of it.
	touched atomic.Bool
	early   []*letter // wait for what belongs before them
	gap     *time.Timer
}

// durable is the call as it is stored.
func (c *entry) durable() *call.Call {
	if len(c.soft) > 0 {
		return c.soft[0].before
	}
	return c.rec.Call
}

// shown is the call as devices here know it.
func (c *entry) shown() *call.Call {
	if c.told != nil {
		return c.told
	}
	return c.rec.Call
}

// tidings is what other nodes are told of a transition when it is committed.
func tidings(c *entry, t Transition) news {
	n := news{Prior: c.rec.CommitID}
	for _, s := range c.soft {
		n.Events = append(n.Events, wrap(s.event))
	}
	if t.Event != nil {
		n.Events = append(n.Events, wrap(t.Event))
	}
	return n
}

// committed notes what a commit has shown about other nodes. Whoever else has
// the call in memory will find his record outdated and read anew who has to be
// told, this node included.
func (e *Engine) committed(c *entry, commit *store.CallCommit, t *Transition) {
	c.told = nil
	c.touched.Store(true)
	switch t.Event.(type) {
	case call.CallCreated:
		c.audience = audience{known: commit.Find}
		e.addHolders(c, commit.Found)
	case call.UsersInvited, call.UserJoined:
		c.audience.known = false // there may be devices that had no part in it
		e.hear(c)
	}
	for i := range commit.Found {
		if s := &commit.Found[i]; s.Node != e.Peers.Self() {
			t.Elsewhere = append(t.Elsewhere, s.User)
		}
	}
}

// outdated reports whether a refusal came from a record that is not the newest.
// Then the newest is there now. The error is that this cannot be told.
func (e *Engine) outdated(ctx context.Context, c *entry, err error) (bool, error) {
	var refused *call.RefusedError
	if e.Peers == nil || c.fresh || !errors.As(err, &refused) {
		return false, nil
	}
	changed, err := e.refresh(ctx, c)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, fmt.Errorf("reading call %s: %w", c.rec.Call.ID, err)
	}
	return changed, nil
}

// refresh reads a call that is held anew, and reports whether it has changed.
func (e *Engine) refresh(ctx context.Context, c *entry) (changed bool, err error) {
	rec, err := e.Store.Call(ctx, c.rec.Call.ID)
	switch {
	case err != nil:
		return false, err
	case rec.CommitID == c.rec.CommitID:
		return false, nil
	}
	before := c.shown()
	e.follow(c, *rec)
	e.missed(c, before)
	e.readEarly(c)
	return true, nil
}

// follow takes over a record that another node has written. Soft transitions
// of this node that were not written are made anew on it, as far as they still
// mean something.
func (e *Engine) follow(c *entry, rec store.CallRecord) {
	before := c.rec.Call
	c.rec, c.told, c.fresh = rec, nil, true
	c.audience.known = false
	soft := c.soft
	c.soft, c.unsaved = nil, nil
	for _, s := range soft {
		at := e.now()
		res, err := call.Apply(c.rec.Call, s.Command, at)
		if err != nil || res.Event == nil {
			continue
		}
		t := Transition{Before: c.rec.Call, After: res.Call, Event: res.Event, At: at}
		c.rec.Call = res.Call
		c.unsaved = append(c.unsaved, e.events(&c.rec, t)...)
		c.soft = append(c.soft, softCommand{s.Command, res.Event, t.Before})
	}
	e.index(before, c.rec.Call)
	if c.rec.Call.Live() {
		e.schedule(c)
	} else {
		e.drop(c, c.rec.Call.ID)
	}
}

// missed tells devices what became of a call since before, when it is not
// known how, and has the deliverer look for what came of it.
func (e *Engine) missed(c *entry, before *call.Call) {
	e.Devices.CatchUp(before, c.rec.Call)
	if e.holds(c.rec.Call.ID) {
		e.Callbacks.Wake(c.rec.Call.App)
	}
}

// touch makes sure, before a call is shown to a device that has come, that
// from now on this node is told of it: it writes the call as it is, which makes
// every other node's record outdated. c is held; afterwards it is as stored.
func (e *Engine) touch(ctx context.Context, c *entry, user call.UserID) error {
	if c.rec.Call == nil {
		return nil
	}
	if !c.fresh {
		if _, err := e.refresh(ctx, c); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	for range maxConflicts {
		if c.touched.Load() || !c.rec.Call.Active(user) {
			return nil
		}
		if err := e.write(ctx, c); err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return store.ErrConflict
}

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
	if len(n.Events) > 0 && n.Events[0].Created != nil {
		created = *n.Events[0].Created
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
	c := &entry{rec: store.CallRecord{Call: after, CommitID: n.Commit, Sequences: n.Sequences}}
	c.mu.Lock()
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
		e.tellSoft(c, l.News.Events[0].unwrap())
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
	for i := range n.Events {
		if last = n.Events[i].unwrap(); last == nil {
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

// join takes over who is to be told of a call. This node may have been told
// only because it holds it.
func (e *Engine) join(c *entry, n *news) {
	c.audience.known = true
	c.audience.add(e.Peers.Self(), n.Nodes...)
	if slices.Contains(n.Nodes, e.Peers.Self()) {
		c.touched.Store(true)
	}
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

// lookAt refreshes a call that is held and forgets what waited.
func (e *Engine) lookAt(c *entry) {
	if _, err := e.refresh(e.ctx, c); err != nil {
		e.logRetry("a call could not be read, it will be tried again", "call_id", c.rec.Call.ID.String(), "error", err)
		e.Resync()
		return
	}
	c.early = nil
	if c.gap != nil {
		c.gap.Stop()
		c.gap = nil
	}
}
