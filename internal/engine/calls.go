package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

const (
	// softDelay is how long a soft transition waits at most for a commit to
	// ride along with.
	softDelay = 500 * time.Millisecond
	// retryDelay is the pause before a timer whose commit failed tries again.
	retryDelay = time.Second
	// maxConflicts bounds how often a command is applied anew because
	// somebody else was first.
	maxConflicts = 5
)

// entry is a call in memory. Whoever holds mu has the call to himself: its
// commands run one after another, each on the durable state that the one
// before left, and are told in that order.
type entry struct {
	mu   lock
	rec  store.CallRecord // durable but for soft transitions
	gone bool             // no longer in Engine.calls: look the call up again

	soft    []softCommand  // led to soft transitions that are not written
	unsaved []*store.Event // their events
	saver   *time.Timer
	due     *time.Timer

	remote // with other nodes
}

// softCommand is a command and the soft event that it caused.
type softCommand struct {
	call.Command
	event  call.Event
	before *call.Call
}

// newEntry gives an entry that is locked.
func newEntry(rec store.CallRecord) *entry {
	c := &entry{mu: newLock(), rec: rec}
	c.mu.Lock()
	return c
}

func (c *entry) stopTimers() {
	for _, t := range []*time.Timer{c.saver, c.due, c.gap} {
		if t != nil {
			t.Stop()
		}
	}
}

// Do applies a command to a call. Once its outcome is durable it calls ack,
// before anybody else is told; ack must not block, nor call the engine. Errors:
// a *call.RefusedError, and failures of the store or the server, after which
// nothing has happened.
func (e *Engine) Do(ctx context.Context, app uint32, id call.ID, cmd call.Command, ack func(call.Result)) error {
	for range maxConflicts {
		c, err := e.take(ctx, id)
		if err != nil {
			return err
		}
		if c.rec.Call == nil || c.rec.Call.App != app {
			e.release(c)
			_, err := call.Apply(nil, cmd, e.now())
			return err
		}
		err = e.apply(ctx, c, cmd, ack)
		if outdated, failed := e.outdated(ctx, c, err); failed != nil {
			err = failed
		} else if outdated {
			err = e.apply(ctx, c, cmd, ack)
		}
		e.release(c)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("call %s: %w after %d tries", id, store.ErrConflict, maxConflicts)
}

// take gives the entry of a call, locked: release it. Its record has no call
// when there is none of that ID. An entry of a call that has ended, or that
// does not exist, is not kept.
func (e *Engine) take(ctx context.Context, id call.ID) (*entry, error) {
	for {
		e.mu.Lock()
		c := e.calls[id]
		if c == nil {
			c = newEntry(store.CallRecord{})
			e.calls[id] = c
			e.mu.Unlock()
			return c, e.load(ctx, c, id)
		}
		e.mu.Unlock()
		c.mu.Lock()
		if !c.gone {
			c.fresh = false
			return c, e.resolve(ctx, c)
		}
		c.mu.Unlock()
	}
}

// resolve reads a call anew of which it is not known what is stored. On error
// it leaves the entry unlocked.
func (e *Engine) resolve(ctx context.Context, c *entry) error {
	if !c.doubtful {
		return nil
	}
	if _, err := e.refresh(ctx, c); err != nil {
		id := c.rec.Call.ID
		e.release(c)
		return fmt.Errorf("reading call %s: %w", id, err)
	}
	c.doubtful = false
	return nil
}

// release lets go of an entry. One that need not be in memory is dropped.
func (e *Engine) release(c *entry) {
	if e.Peers != nil && !c.gone && c.rec.Call != nil && len(c.soft) == 0 && !e.minds(c.rec.Call) {
		e.index(c.rec.Call, nil)
		e.drop(c, c.rec.Call.ID)
	}
	c.mu.Unlock()
}

// load fills a new entry from the store. On error it leaves the entry dropped
// and unlocked.
func (e *Engine) load(ctx context.Context, c *entry, id call.ID) error {
	rec, err := e.Store.Call(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		e.drop(c, id)
		return nil
	case err != nil:
		e.drop(c, id)
		c.mu.Unlock()
		return fmt.Errorf("reading call %s: %w", id, err)
	}
	c.rec, c.fresh = *rec, true
	if !rec.Call.Live() {
		e.index(rec.Call, rec.Call) // in case it ended unseen
		e.drop(c, id)
		return nil
	}
	e.index(nil, rec.Call)
	e.schedule(c)
	if e.Peers != nil && e.minds(rec.Call) {
		e.missed(c, nil)
	}
	return nil
}

// drop takes an entry out of memory; c is held.
func (e *Engine) drop(c *entry, id call.ID) {
	c.gone = true
	c.stopTimers()
	e.mu.Lock()
	if e.calls[id] == c {
		delete(e.calls, id)
	}
	if e.Peers != nil {
		e.past.add(id)
	}
	e.mu.Unlock()
}

// apply runs a command on a call that is held.
func (e *Engine) apply(ctx context.Context, c *entry, cmd call.Command, ack func(call.Result)) error {
	at := e.now()
	res, err := call.Apply(c.rec.Call, cmd, at)
	if err != nil {
		return err
	}
	t := Transition{Before: c.rec.Call, After: res.Call, Event: res.Event, At: at, Errors: res.Errors}
	switch {
	case res.Event == nil:
		ack(res)
		return nil
	case call.Soft(res.Event):
		e.keepSoft(c, t, cmd)
		ack(res)
		e.announce(t)
		if e.Peers != nil {
			e.spread(c, news{Events: []call.Event{t.Event}, Soft: true}, nil)
		}
		return nil
	}
	return e.commit(ctx, c, t, store.CallCommit{}, func() { ack(res) })
}

// keepSoft takes over a soft transition, to be written with the next commit of
// the call, or after softDelay.
func (e *Engine) keepSoft(c *entry, t Transition, cmd call.Command) {
	c.rec.Call = t.After
	c.unsaved = append(c.unsaved, e.events(&c.rec, t)...)
	c.soft = append(c.soft, softCommand{cmd, t.Event, t.Before})
	if len(c.soft) == 1 {
		c.saver = e.after(softDelay, func() {
			c.mu.Lock()
			defer e.release(c)
			if len(c.soft) > 0 && !c.gone {
				e.flush(c)
			}
		})
	}
}

// flush writes the soft transitions of a call that is held. Losing them does
// no harm, so a failure is only logged.
func (e *Engine) flush(c *entry) {
	err := e.write(context.WithoutCancel(e.ctx), c)
	for range maxConflicts {
		if !errors.Is(err, store.ErrConflict) || c.gone || len(c.soft) == 0 {
			break
		}
		err = e.write(context.WithoutCancel(e.ctx), c)
	}
	if err != nil && len(c.soft) > 0 {
		e.Logger.Warn("recording of received invitations failed", "call_id", c.rec.Call.ID.String(), "error", err)
	}
}

// write commits a call that is held as it is.
func (e *Engine) write(ctx context.Context, c *entry) error {
	return e.commit(ctx, c, Transition{Before: c.rec.Call, After: c.rec.Call}, store.CallCommit{}, func() {})
}

// commit makes a transition durable, then tells everybody: ack first. c is
// held. A transition without an event writes only soft ones from before.
// commit says what the store is to mind beside it, and is filled in.
func (e *Engine) commit(ctx context.Context, c *entry, t Transition, commit store.CallCommit, ack func()) error {
	rec := store.CallRecord{Call: t.After, CommitID: random(), Sequences: maps.Clone(c.rec.Sequences)}
	events := c.unsaved
	if t.Event != nil {
		events = append(events[:len(events):len(events)], e.events(&rec, t)...)
	}
	commit.CallRecord, commit.Events, commit.NewUsers = rec, events, newUsers(t)
	if t.Before != nil {
		commit.Prior = t.Before.Version
	}
	var n news
	if e.Peers != nil {
		n = tidings(c, t)
		commit.PriorCommit, commit.Find = n.Prior, t.Before == nil
		c.touched.Store(true) // unless a session comes before it is done
	}
	if err := e.settle(ctx, c, &commit); err != nil {
		c.touched.Store(false)
		return err
	}
	if c.saver != nil {
		c.saver.Stop()
	}
	c.rec, c.soft, c.unsaved = rec, nil, nil
	e.index(t.Before, t.After)
	if t.After.Live() {
		e.schedule(c)
	} else {
		e.drop(c, t.After.ID)
	}
	if e.Peers != nil {
		e.committed(c, &commit, &t)
	}
	ack()
	if t.Event != nil {
		e.announce(t)
	}
	if e.Peers != nil {
		e.spread(c, n, events)
	}
	e.Callbacks.HandOff(events)
	return nil
}

// settle has the store commit, and finds out what became of a commit whose
// outcome is unknown. When the stored call is not what c holds, c is dropped,
// so that the next command reads it again.
func (e *Engine) settle(ctx context.Context, c *entry, commit *store.CallCommit) error {
	id := commit.Call.ID
	err := e.Store.CommitCall(ctx, commit)
	if errors.Is(err, store.ErrUnknown) {
		stored, readErr := e.Store.Call(context.WithoutCancel(ctx), id)
		switch {
		case readErr == nil && stored.CommitID == commit.CommitID:
			commit.Find = false // what would have been found is not known
			return nil
		case readErr != nil && !errors.Is(readErr, store.ErrNotFound):
			err = fmt.Errorf("%w; reading it back: %w", err, readErr)
		}
	}
	if err == nil {
		return nil
	}
	if e.Peers != nil && commit.Prior > 0 && errors.Is(err, store.ErrConflict) {
		if _, readErr := e.refresh(context.WithoutCancel(ctx), c); readErr == nil {
			return fmt.Errorf("committing call %s: %w", id, err)
		}
	}
	if e.Peers != nil && commit.Prior > 0 {
		// What devices here were shown is not forgotten: whatever happens until
		// the call can be read again, they have to be told of.
		c.doubtful = true
		e.after(retryDelay, func() { e.revive(id) })
		return fmt.Errorf("committing call %s: %w", id, err)
	}
	e.drop(c, id)
	if commit.Prior > 0 {
		// The timers went with the entry; a look at the call brings them back.
		e.after(retryDelay, func() { e.revive(id) })
	}
	return fmt.Errorf("committing call %s: %w", id, err)
}

// revive loads a live call whose entry was dropped, with its timers, or finds
// out what is stored of one that is in doubt.
func (e *Engine) revive(id call.ID) {
	c, err := e.take(e.ctx, id)
	if err != nil {
		e.after(retryDelay, func() { e.revive(id) })
		return
	}
	if len(c.soft) > 0 && !c.gone {
		e.flush(c)
	}
	e.release(c)
}

// events makes the events of a transition and counts their deliveries in rec.
func (e *Engine) events(rec *store.CallRecord, t Transition) []*store.Event {
	events := e.Callbacks.Events(t)
	for _, ev := range events {
		ev.App, ev.Call, ev.At = t.After.App, t.After.ID, t.At
		ev.Version, ev.Actor = t.After.Version, call.By(t.Event)
		for _, endpoint := range e.Callbacks.Subscriptions(ev.App, ev.Name) {
			if rec.Sequences == nil {
				rec.Sequences = make(map[store.EndpointID]int)
			}
			rec.Sequences[endpoint]++
			ev.Deliveries = append(ev.Deliveries, store.Subscription{Endpoint: endpoint, Sequence: rec.Sequences[endpoint]})
		}
	}
	return events
}

func (e *Engine) announce(t Transition) {
	if e.Observe != nil {
		e.Observe(t)
	}
	e.Devices.Tell(t)
}

// index notes in which live calls users are active. It skips users for whom
// nothing has changed since before, if that is given. after is nil when the
// call is no longer in memory.
func (e *Engine) index(before, after *call.Call) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if after == nil {
		for i := range before.Users {
			e.unindex(userKey{before.App, before.Users[i].ID}, before.ID)
		}
		return
	}
	for i := range after.Users {
		id := after.Users[i].ID
		is := after.Active(id)
		if is && before != nil && before.Active(id) {
			continue
		}
		key := userKey{after.App, id}
		if is {
			if e.byUser[key] == nil {
				e.byUser[key] = make(map[call.ID]struct{}, 1)
			}
			e.byUser[key][after.ID] = struct{}{}
			continue
		}
		e.unindex(key, after.ID)
	}
}

func (e *Engine) unindex(key userKey, id call.ID) {
	delete(e.byUser[key], id)
	if len(e.byUser[key]) == 0 {
		delete(e.byUser, key)
	}
}

// callsOf lists the live calls in which a user is active.
func (e *Engine) callsOf(key userKey) []call.ID {
	e.mu.Lock()
	defer e.mu.Unlock()
	ids := make([]call.ID, 0, len(e.byUser[key]))
	for id := range e.byUser[key] {
		ids = append(ids, id)
	}
	return ids
}

// newUsers are those who had no part in the call before.
func newUsers(t Transition) []call.UserID {
	known := 0
	if t.Before != nil {
		known = len(t.Before.Users) // users are only ever added, at the end
	}
	var ids []call.UserID
	for _, u := range t.After.Users[known:] {
		ids = append(ids, u.ID)
	}
	return ids
}
