package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// Device is the connection of a session. The engine calls it while it holds
// the user, so its methods must not block, nor call the engine.
type Device interface {
	// Enter says that the session is durable: from now on the device gets
	// events.
	Enter(id call.SessionID)
	// Kick says that a newer login has pushed the session out.
	Kick(reason string)
	// Replace says that the session goes on on another connection.
	Replace()
}

// Login is a device that asks for a session. Its token has been checked.
type Login struct {
	App      uint32
	User     call.UserID
	Name     string
	Platform string
	Resume   call.SessionID // "": a new session
	Device   Device
}

// Login opens a session or resumes one. It kicks the sessions that the app's
// login policy has no room for, and gives the session's ID and whether it was
// resumed.
func (e *Engine) Login(ctx context.Context, in Login) (id call.SessionID, resumed bool, err error) {
	key := userKey{in.App, in.User}
	unlock := e.lockUser(key)
	defer unlock()
	if in.Resume != "" {
		ok, err := e.resume(ctx, key, in)
		if ok || err != nil {
			return in.Resume, ok, err
		}
	}
	s := &session{
		Session: store.Session{App: in.App, User: in.User, ID: newSessionID(), Platform: in.Platform, LoginAt: e.now(), Node: e.self()},
		name:    in.Name,
		device:  in.Device,
	}
	app, _ := e.App(in.App)
	for range maxConflicts {
		known, version, readErr := e.Store.SessionsOf(ctx, in.App, in.User)
		if readErr != nil {
			return "", false, fmt.Errorf("reading sessions of %s: %w", in.User, readErr)
		}
		out := pushedOut(app.LoginPolicy, known, in.Platform)
		commit := &store.SessionCommit{App: in.App, User: in.User, Prior: e.compared(version), Login: true, Name: in.Name, Put: []store.Session{s.Session}}
		for _, old := range out {
			commit.Drop = append(commit.Drop, old.ID)
			commit.Events = append(commit.Events, e.userAction(UserAction{Session: old, Name: in.Name, Action: LoggedOut, Reason: ReasonKicked}))
		}
		commit.Events = append(commit.Events, e.userAction(UserAction{Session: s.Session, Name: in.Name}))
		err = e.Store.CommitSessions(ctx, commit)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			break
		}
		s.version = version + 1
		e.enter(s)
		in.Device.Enter(s.ID)
		e.letGo(key, newerLogin, commit.Drop...)
		for _, old := range out {
			e.tellHolder(old, s.version, newerLogin)
		}
		e.HandOff(commit.Events)
		return s.ID, false, nil
	}
	return "", false, fmt.Errorf("recording the login of %s: %w", in.User, err)
}

// newerLogin is why the login policy pushes a session out.
const newerLogin = "another device has logged in as this user"

// compared is the version that a commit of sessions must find; alone nobody
// else can have changed it.
func (e *Engine) compared(version int64) int64 {
	if e.Peers == nil {
		return 0
	}
	return version
}

// resume takes a session back if it is one of the user's. A session that is
// not yet offline goes on as if nothing had happened.
func (e *Engine) resume(ctx context.Context, key userKey, in Login) (bool, error) {
	if e.Peers == nil && e.resumeHere(key, in) {
		return true, nil
	}
	for range maxConflicts {
		known, version, err := e.Store.SessionsOf(ctx, key.app, key.user)
		if err != nil {
			return false, fmt.Errorf("reading sessions of %s: %w", key.user, err)
		}
		i := slices.IndexFunc(known, func(s store.Session) bool { return s.ID == in.Resume })
		if i < 0 {
			return false, nil
		}
		old := known[i]
		// That it is still here, only the store knows.
		if e.Peers != nil && old.Node == e.Peers.Self() && old.OfflineAt == 0 && e.resumeHere(key, in) {
			return true, nil
		}
		s := &session{Session: old, name: in.Name, device: in.Device, version: version + 1}
		s.OfflineAt, s.Node = 0, e.self()
		commit := &store.SessionCommit{
			App: key.app, User: key.user, Prior: e.compared(version), Login: true, Name: in.Name, Put: []store.Session{s.Session},
		}
		if old.OfflineAt != 0 {
			commit.Events = append(commit.Events, e.userAction(UserAction{Session: s.Session, Name: in.Name, Relogin: true}))
		}
		switch err := e.Store.CommitSessions(ctx, commit); {
		case errors.Is(err, store.ErrConflict):
			continue
		case err != nil:
			return false, fmt.Errorf("recording the return of %s: %w", key.user, err)
		}
		e.letGo(key, "", s.ID) // what was not known to have gone elsewhere in between
		e.enter(s)
		in.Device.Enter(s.ID)
		e.tellHolder(old, s.version, "")
		e.HandOff(commit.Events)
		return true, nil
	}
	return false, fmt.Errorf("recording the return of %s: %w", key.user, store.ErrConflict)
}

// resumeHere takes a session back that this node has and that is not offline.
func (e *Engine) resumeHere(key userKey, in Login) bool {
	e.mu.Lock()
	s := e.find(key, in.Resume)
	if s == nil {
		e.mu.Unlock()
		return false
	}
	old := s.device
	s.device = in.Device
	if in.Name != "" {
		s.name = in.Name
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	e.mu.Unlock()
	in.Device.Enter(in.Resume)
	if old != nil {
		old.Replace()
	}
	return true
}

// Logout ends a session for good.
func (e *Engine) Logout(ctx context.Context, app uint32, user call.UserID, id call.SessionID) error {
	key := userKey{app, user}
	unlock := e.lockUser(key)
	defer unlock()
	e.mu.Lock()
	s := e.find(key, id)
	if s == nil {
		e.mu.Unlock()
		return nil // kicked meanwhile
	}
	rec, name := s.Session, s.name
	e.mu.Unlock()
	commit, gone, err := e.change(ctx, key, func(stored []store.Session) (*store.SessionCommit, error) {
		if e.Peers != nil && !slices.ContainsFunc(stored, func(s store.Session) bool { return s.ID == id }) {
			return nil, nil // kicked meanwhile
		}
		ev := e.userAction(UserAction{Session: rec, Name: name, Action: LoggedOut, Reason: ReasonLogout})
		return &store.SessionCommit{Drop: []call.SessionID{id}, Events: []*store.Event{ev}}, nil
	})
	if err != nil {
		return fmt.Errorf("recording the logout of %s: %w", user, err)
	}
	_, last := e.leave(key, id)
	if commit == nil {
		return nil
	}
	e.HandOff(commit.Events)
	if gone || e.Peers == nil && last {
		e.left(key)
	}
	return nil
}

// Kick ends a session from outside, as an operator does: its device is told
// why, and the session is gone for good. It reports whether there was such a
// session, online or offline.
func (e *Engine) Kick(ctx context.Context, app uint32, user call.UserID, id call.SessionID, reason string) (bool, error) {
	key := userKey{app, user}
	unlock := e.lockUser(key)
	defer unlock()
	for range maxConflicts {
		known, version, err := e.Store.SessionsOf(ctx, app, user)
		if err != nil {
			return false, fmt.Errorf("reading sessions of %s: %w", user, err)
		}
		i := slices.IndexFunc(known, func(s store.Session) bool { return s.ID == id })
		if i < 0 {
			return false, nil
		}
		ev := e.userAction(UserAction{Session: known[i], Action: LoggedOut, Reason: ReasonKicked})
		commit := &store.SessionCommit{App: app, User: user, Prior: e.compared(version), Drop: []call.SessionID{id}, Events: []*store.Event{ev}}
		switch err := e.Store.CommitSessions(ctx, commit); {
		case errors.Is(err, store.ErrConflict):
			continue
		case err != nil:
			return false, fmt.Errorf("recording the end of a session of %s: %w", user, err)
		}
		e.HandOff(commit.Events)
		last := e.letGo(key, reason, id)
		e.tellHolder(known[i], version+1, reason)
		if e.Peers != nil && !anyOpen(known, commit) || e.Peers == nil && last {
			e.left(key)
		}
		return true, nil
	}
	return false, fmt.Errorf("ending a session of %s: %w", user, store.ErrConflict)
}

// pushedOut picks the sessions for which the policy has no room beside a new
// one on platform. known are the user's sessions, the earliest first.
func pushedOut(policy string, known []store.Session, platform string) []store.Session {
	switch policy {
	case PolicyMulti:
		out := len(known) + 1 - MaxSessions
		if out <= 0 {
			return nil
		}
		byWorth := slices.Clone(known)
		slices.SortStableFunc(byWorth, func(a, b store.Session) int {
			return rank(a) - rank(b)
		})
		return byWorth[:out]
	case PolicyDual:
		return slices.DeleteFunc(slices.Clone(known), func(s store.Session) bool {
			return (s.Platform == web) != (platform == web)
		})
	}
	return known
}

const web = "WEB"

// rank puts offline sessions before the others.
func rank(s store.Session) int {
	if s.OfflineAt != 0 {
		return 0
	}
	return 1
}

func newSessionID() call.SessionID {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return call.SessionID(hex.EncodeToString(b[:]))
}

// Action is what happened to a session.
type Action int

// Actions.
const (
	CameOnline Action = iota
	LoggedOut
	WentOffline
)

// UserAction is a change of a session, as a business server may learn it.
type UserAction struct {
	Session store.Session
	Name    string
	Action  Action
	At      call.Instant
	Relogin bool   // the session was offline and is back
	Reason  string // of a logout: ReasonLogout, ReasonKicked or ReasonExpired
}

// Reasons of a logout.
const (
	ReasonLogout  = "logout"
	ReasonKicked  = "kicked_out"
	ReasonExpired = "session_expired"
)

// userAction makes the event of a change, with its deliveries.
func (e *Engine) userAction(a UserAction) *store.Event {
	if a.Name == "" {
		a.Name = e.storedName(a.Session)
	}
	a.At = e.now()
	ev := e.Callbacks.UserAction(a)
	ev.App, ev.At, ev.Actor = a.Session.App, a.At, call.Actor{User: a.Session.User, Session: a.Session.ID}
	for _, endpoint := range e.Callbacks.Subscriptions(ev.App, ev.Name) {
		ev.Deliveries = append(ev.Deliveries, store.Subscription{Endpoint: endpoint})
	}
	return ev
}

// storedName is the name under which a user logged in before; "" when it
// cannot be read, which must not keep anybody from logging in or out.
func (e *Engine) storedName(s store.Session) string {
	known, err := e.Store.Users(e.ctx, s.App, []call.UserID{s.User})
	if err != nil || len(known) == 0 {
		return ""
	}
	return known[0].Name
}
