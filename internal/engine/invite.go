package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// requestTTL is how long a request ID is remembered.
const requestTTL = 24 * time.Hour

// Invitation is what an inviter asks for; see [call.Create] for the bounds.
type Invitation struct {
	Invitees         []call.UserID
	Timeout          int // seconds
	Mode             call.Mode
	ExtendedData     string
	NotReceivedCheck bool
	Push             []byte
	RequestID        string // "": the request cannot be repeated safely
}

// ErrCallerNotRegistered: the server API makes a call for somebody who is
// unknown or logged out.
var ErrCallerNotRegistered = errors.New("engine: the caller is not registered, or logged out")

// Invite creates a call. ack and the errors are as for [Engine.Do]; a nearly
// full store gives store.ErrFull. A repeat of a request that made a call
// before is answered with that call. With an actor who has no session it is
// the server API that makes the call, for a caller who can be invited himself;
// else it gives ErrCallerNotRegistered.
func (e *Engine) Invite(ctx context.Context, app uint32, actor call.Actor, in Invitation, ack func(call.Result)) error {
	present := e.present(userKey{app, actor.User})
	if actor.Session == "" && !present {
		present = e.presentAnywhere(userKey{app, actor.User})
	}
	if actor.Session == "" && !present {
		unknown, err := e.uninvitable(ctx, app, []call.UserID{actor.User})
		if err != nil {
			return err
		}
		if len(unknown) > 0 {
			return ErrCallerNotRegistered
		}
	}
	cmd := call.Create{
		Actor: actor, App: app, Invitees: in.Invitees, Timeout: in.Timeout, Mode: in.Mode,
		ExtendedData: in.ExtendedData, NotReceivedCheck: in.NotReceivedCheck, Push: in.Push,
		MaxDuration: e.MaxCallDuration.Milliseconds(),
	}
	err := store.ErrConflict
	if e.Peers != nil {
		// Most are on some node; whether they are is seen with the commit.
		err = e.create(ctx, cmd, e.notHere(app, in.Invitees), in.RequestID, present || actor.Session != "", ack)
	}
	for try := 0; errors.Is(err, store.ErrConflict) && try < maxConflicts; try++ {
		if cmd.Uninvitable, err = e.uninvitable(ctx, app, in.Invitees); err != nil {
			return err
		}
		err = e.create(ctx, cmd, nil, in.RequestID, present || actor.Session != "", ack)
	}
	var refused *call.RefusedError
	var duplicate *store.DuplicateRequestError
	switch {
	case errors.As(err, &duplicate):
		return e.repeat(ctx, app, actor, duplicate.Earlier, ack)
	case in.RequestID != "" && (errors.As(err, &refused) || errors.Is(err, store.ErrFull)):
		earlier, readErr := e.Store.Requested(ctx, app, actor.User, in.RequestID, e.now())
		if readErr == nil {
			return e.repeat(ctx, app, actor, *earlier, ack)
		}
	}
	return err
}

// create makes one try at a new call, which is a conflict unless the expected
// users have sessions. wasThere says that the caller had not been offline, so
// that it matters when he is now.
func (e *Engine) create(ctx context.Context, cmd call.Create, expected []call.UserID, requestID string, wasThere bool, ack func(call.Result)) error {
	at := e.now()
	cmd.ID = e.newID(at)
	res, err := call.Apply(nil, cmd, at)
	if err != nil {
		return err
	}
	if err := e.Store.Headroom(); err != nil {
		return err
	}
	var request *store.Request
	if requestID != "" {
		request = &store.Request{
			User: cmd.User, ID: requestID, Call: cmd.ID, Errors: res.Errors,
			Expires: e.before(-requestTTL),
		}
	}
	c := newEntry(store.CallRecord{})
	e.mu.Lock()
	if e.calls[cmd.ID] != nil {
		e.mu.Unlock()
		return store.ErrConflict
	}
	e.calls[cmd.ID] = c
	e.mu.Unlock()
	c.rec.Call = res.Call
	commit := store.CallCommit{Request: request, Expect: expected}
	err = e.commit(ctx, c, Transition{After: res.Call, Event: res.Event, At: at, Errors: res.Errors}, commit, func() { ack(res) })
	e.release(c)
	if err != nil {
		return err
	}
	// The caller may have gone while nobody could know of this call.
	if key := (userKey{cmd.App, cmd.User}); wasThere && !e.presentAnywhere(key) {
		e.left(key)
	}
	return nil
}

// repeat answers a request as it was answered the first time, with the call's
// version of now.
func (e *Engine) repeat(ctx context.Context, app uint32, actor call.Actor, earlier store.Request, ack func(call.Result)) error {
	c, err := e.take(ctx, earlier.Call)
	if err != nil {
		return err
	}
	defer e.release(c)
	if c.rec.Call == nil || c.rec.Call.App != app || c.rec.Call.Caller != actor.User {
		return fmt.Errorf("call %s of an earlier request: %w", earlier.Call, store.ErrNotFound)
	}
	ack(call.Result{Call: c.rec.Call, Errors: earlier.Errors})
	return nil
}

// InviteMore brings more users into a call; ack and errors are as for
// [Engine.Do].
func (e *Engine) InviteMore(ctx context.Context, app uint32, id call.ID, cmd call.Invite, ack func(call.Result)) error {
	uninvitable, err := e.uninvitable(ctx, app, cmd.Invitees)
	if err != nil {
		return err
	}
	cmd.Uninvitable = uninvitable
	return e.Do(ctx, app, id, cmd, ack)
}

// Invitable reports whether a known user can be rung: he has a session, be it
// offline, or has never logged in.
func Invitable(u store.UserRecord) bool { return u.Sessions > 0 || !u.LoggedIn }

// uninvitable picks those users who are unknown or logged out. Online,
// offline and merely registered users can be invited.
func (e *Engine) uninvitable(ctx context.Context, app uint32, ids []call.UserID) ([]call.UserID, error) {
	ask := e.notHere(app, ids)
	if len(ask) == 0 {
		return nil, nil
	}
	known, err := e.Store.Users(ctx, app, ask)
	if err != nil {
		return nil, fmt.Errorf("reading users: %w", err)
	}
	invitable := make(map[call.UserID]bool, len(known))
	for _, u := range known {
		invitable[u.ID] = Invitable(u)
	}
	var out []call.UserID
	for _, id := range ask {
		if !invitable[id] {
			out = append(out, id)
		}
	}
	return out, nil
}

// notHere picks those users who are not present on this node.
func (e *Engine) notHere(app uint32, ids []call.UserID) []call.UserID {
	if len(ids) > call.MaxCancelNames {
		ids = ids[:call.MaxCancelNames] // far more than the rules let through
	}
	var out []call.UserID
	for _, id := range ids {
		if !e.present(userKey{app, id}) && id.Valid() {
			out = append(out, id)
		}
	}
	return out
}
