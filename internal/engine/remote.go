package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// remote is what an entry knows beside the call, when there are other nodes.
type remote struct {
	fresh    bool       // the record was read when the entry was taken
	doubtful bool       // a commit failed: read the record before it is used
	told     *call.Call // what devices here were told, when it is not rec.Call
	audience audience
	// touched says that this node has written the call, or is about to, since a
	// session came here last. So other nodes know, or learn with their next
	// commit, that its devices are to be told.
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
		n.Events = append(n.Events, s.event)
	}
	if t.Event != nil {
		n.Events = append(n.Events, t.Event)
	}
	return n
}

// committed notes what a commit has shown about other nodes. Whoever else has
// the call in memory will find his record outdated and read anew who has to be
// told, this node included.
func (e *Engine) committed(c *entry, commit *store.CallCommit, t *Transition) {
	c.told = nil
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
