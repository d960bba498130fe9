package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// Snapshot is what a device must know to show the truth about its user's
// calls.
type Snapshot struct {
	Live []*call.Call // in which the user is pending or accepted, the oldest first
	Over []Ending     // of the known calls that are not among them
}

// Ending is how a known call came to its end for the user. Call is nil when
// there is no such call.
type Ending struct {
	ID     call.ID
	Call   *call.Call
	State  call.UserState
	Reason call.Reason
}

// Snapshot reads the calls of a user. While it holds a call it calls seen with
// it, so that the caller can tell which events came before this look at it.
func (e *Engine) Snapshot(ctx context.Context, app uint32, actor call.Actor, known []call.ID, seen func(*call.Call)) (Snapshot, error) {
	shown := make(map[call.ID]bool, len(known))
	for _, id := range known {
		shown[id] = true
	}
	live, err := e.liveCallsOf(ctx, userKey{app, actor.User})
	if err != nil {
		return Snapshot{}, err
	}
	ids := append(live, known...)
	if e.Peers != nil {
		// What this node believes to live is looked at as well: a device that has
		// just come is not told the end of what it never knew, later.
		ids = append(ids, e.callsOf(userKey{app, actor.User})...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	var snap Snapshot
	for _, id := range ids {
		c, err := e.take(ctx, id)
		if err != nil {
			return Snapshot{}, err
		}
		if e.Peers != nil {
			if err := e.touch(ctx, c, actor.User); err != nil {
				e.release(c)
				return Snapshot{}, err
			}
		}
		now := c.rec.Call
		if now != nil && now.App == app && now.User(actor.User) != nil {
			seen(now)
		} else {
			now = nil
		}
		e.release(c)
		switch {
		case now != nil && now.Active(actor.User):
			snap.Live = append(snap.Live, now)
		case !shown[id]:
		case now == nil:
			snap.Over = append(snap.Over, Ending{ID: id, Reason: call.NeverKnown})
		default:
			state, reason := now.Ending(actor.User, actor.Session)
			snap.Over = append(snap.Over, Ending{id, now, state, reason})
		}
	}
	return snap, nil
}

// History lists the calls that a user is or was part of; see
// store.Calls.CallsOf for the order and the flags. Live calls are as they are
// at this moment.
func (e *Engine) History(ctx context.Context, app uint32, user call.UserID, flag int64, count int) ([]*call.Call, int64, error) {
	calls, next, err := e.Store.CallsOf(ctx, app, user, flag, count)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the calls of %s: %w", user, err)
	}
	for i, c := range calls {
		if !c.Live() {
			continue
		}
		live, err := e.take(ctx, c.ID)
		if errors.Is(err, store.ErrNotFound) {
			continue
		} else if err != nil {
			return nil, 0, err
		}
		// What another node has written since is in the list alone.
		if now := live.rec.Call; now != nil && now.Version >= c.Version {
			calls[i] = now
		}
		e.release(live)
	}
	return calls, next, nil
}

// Call reads a call, as it is at this moment; store.ErrNotFound when the app
// has none of that ID.
func (e *Engine) Call(ctx context.Context, app uint32, id call.ID) (*call.Call, error) {
	c, err := e.take(ctx, id)
	if err != nil {
		return nil, err
	}
	defer e.release(c)
	if c.rec.Call == nil || c.rec.Call.App != app {
		return nil, store.ErrNotFound
	}
	if e.Peers != nil && !c.fresh {
		if _, err := e.refresh(ctx, c); err != nil {
			return nil, err
		}
	}
	return c.rec.Call, nil
}
