package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// loadPage is how many records are read at a time at the start.
const loadPage = 500

// schedule sets the timer of a call that is held to what is due next.
// With other nodes only the one that holds the call minds its timer.
func (e *Engine) schedule(c *entry) {
	next := c.rec.Call.NextDue()
	if next == 0 || !e.holds(c.rec.Call.ID) {
		if c.due != nil {
			c.due.Stop()
		}
		return
	}
	if c.due == nil {
		id := c.rec.Call.ID
		c.due = e.after(e.until(next), func() { e.expire(id) })
		return
	}
	c.due.Reset(e.until(next))
}

// expire carries out everything that is due for a call. A timer is only a
// hint: what happens, and whether, is decided by the rules.
func (e *Engine) expire(id call.ID) {
	c, err := e.take(e.ctx, id)
	if err != nil {
		e.after(retryDelay, func() { e.expire(id) })
		return
	}
	defer e.release(c)
	for conflicts := 0; c.rec.Call != nil && c.rec.Call.Live() && !c.gone && e.holds(id); {
		next := c.rec.Call.NextDue()
		if next == 0 {
			return
		}
		if next > e.now() {
			e.schedule(c)
			return
		}
		lost := e.connectionLost(userKey{c.rec.Call.App, c.rec.Call.Caller})
		if err := e.apply(e.ctx, c, call.Expire{CallerLost: lost}, ignore); err != nil {
			if conflicts++; e.Peers != nil && errors.Is(err, store.ErrConflict) && conflicts < maxConflicts {
				continue
			}
			e.logRetry("a timer could not be carried out, it will be tried again", "call_id", id.String(), "error", err)
			if !c.gone {
				e.after(retryDelay, func() { e.expire(id) })
			}
			return
		}
	}
}

func ignore(call.Result) {}

// notice applies a command that is the consequence of something outside the
// call, and that must not get lost: it tries again until it is done, refused
// or without meaning.
func (e *Engine) notice(app uint32, id call.ID, cmd call.Command) {
	var refused *call.RefusedError
	err := e.Do(e.ctx, app, id, cmd, ignore)
	if err == nil || errors.As(err, &refused) {
		return
	}
	e.logRetry("a change of presence could not be carried out, it will be tried again", "call_id", id.String(), "error", err)
	e.after(retryDelay, func() { e.notice(app, id, cmd) })
}

// loadCalls brings every live call into memory.
func (e *Engine) loadCalls(ctx context.Context) error {
	var after call.ID
	for {
		records, err := e.Store.LiveCalls(ctx, store.AllPartitions, after, loadPage)
		if err != nil {
			return err
		}
		for _, rec := range records {
			after = rec.Call.ID
			if err := e.adopt(ctx, rec); err != nil {
				return err
			}
		}
		if len(records) < loadPage {
			return nil
		}
	}
}

// adopt takes over a live call at the start. Users who were gone before the
// server stopped are gone now.
func (e *Engine) adopt(ctx context.Context, rec *store.CallRecord) error {
	c := newEntry(*rec)
	defer c.mu.Unlock()
	e.mu.Lock()
	e.calls[rec.Call.ID] = c
	e.mu.Unlock()
	e.index(nil, rec.Call)
	e.schedule(c)
	for i := range rec.Call.Users {
		u := &rec.Call.Users[i]
		if u.State != call.Accepted || e.present(userKey{rec.Call.App, u.ID}) {
			continue
		}
		gone, err := e.wentAway(ctx, rec.Call, u)
		if err != nil {
			return err
		}
		if gone {
			e.work.Go(func() { e.adoptAbsence(rec.Call, u.ID) })
		}
	}
	return nil
}

// wentAway reports whether an accepted user who is not present has gone away
// from the call, as opposed to never having been there: who was brought into
// it by the server API while he was offline, or has never logged in, has no
// device that could be missed.
func (e *Engine) wentAway(ctx context.Context, c *call.Call, u *call.User) (bool, error) {
	known, err := e.Store.Users(ctx, c.App, []call.UserID{u.ID})
	if err != nil || len(known) == 0 || !known[0].LoggedIn {
		return false, err
	}
	if u.Primary != "" {
		return true, nil
	}
	since := max(c.CreatedAt, u.AcceptedAt)
	sessions, _, err := e.Store.SessionsOf(ctx, c.App, u.ID)
	if err != nil {
		return false, err
	}
	return len(sessions) == 0 || slices.ContainsFunc(sessions, func(s store.Session) bool { return s.OfflineAt >= since }), nil
}

// adoptAbsence carries out for one call what left does for all.
func (e *Engine) adoptAbsence(c *call.Call, user call.UserID) {
	if c.Caller == user {
		e.notice(c.App, c.ID, call.CallerGone{})
	}
	e.awaitAbsence(userKey{c.App, user})
}

// janitor drops old sessions, gives up what removed endpoints were still due,
// and prunes what is past its retention, in small steps.
func (e *Engine) janitor() {
	const (
		pause = time.Minute
		step  = 200
		rest  = 20 * time.Millisecond // between steps, for commits
	)
	for {
		wait := pause
		// Of several nodes one is enough.
		if e.Peers == nil || e.Peers.Holds(0) {
			if e.dropOldSessions(step) || e.failRemoved(step) || e.prune(step) {
				wait = rest
			}
		}
		select {
		case <-e.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// failRemoved reports whether there may be more to give up.
func (e *Engine) failRemoved(step int) bool {
	n, err := e.Store.FailRemoved(e.ctx, step)
	if err != nil && e.ctx.Err() == nil {
		e.Logger.Warn("giving up deliveries of removed endpoints failed", "error", err)
	}
	return err == nil && n > 0
}

// prune reports whether there may be more to delete.
func (e *Engine) prune(step int) bool {
	n, err := e.Store.Prune(e.ctx, e.before(e.Retention), step)
	if err != nil && e.ctx.Err() == nil {
		e.Logger.Warn("deleting of old calls failed", "error", err)
	}
	return err == nil && n > 0
}
