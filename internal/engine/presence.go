package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// presence is a user who has at least one session that is not offline. It is
// guarded by Engine.mu.
type presence struct {
	sessions []*session
}

// session is a session that is not offline: it has a connection, or has lately
// lost it. The pointers' targets are guarded by Engine.mu.
type session struct {
	store.Session
	name   string
	device Device      // nil: the connection is lost
	timer  *time.Timer // runs while it is lost, until it is offline
}

// present reports whether the user is online, or has lost his connections so
// lately that he is not yet offline.
func (e *Engine) present(key userKey) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.users[key] != nil
}

// connectionLost reports whether a user who has logged in is without any
// connection at this moment.
func (e *Engine) connectionLost(key userKey) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.users[key]
	return p != nil && !p.connected()
}

// Online reports whether a user has a session with a live connection.
func (e *Engine) Online(app uint32, user call.UserID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.users[userKey{app, user}]
	return p != nil && p.connected()
}

// connected reports whether one of the sessions has a connection; Engine.mu is
// held.
func (p *presence) connected() bool {
	return slices.ContainsFunc(p.sessions, func(s *session) bool { return s.device != nil })
}

// Connected lists the sessions of a user that have a connection at this
// moment.
func (e *Engine) Connected(app uint32, user call.UserID) []call.SessionID {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.users[userKey{app, user}]
	if p == nil {
		return nil
	}
	var ids []call.SessionID
	for _, s := range p.sessions {
		if s.device != nil {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// find gives a session that is not offline, or nil; Engine.mu is held.
func (e *Engine) find(key userKey, id call.SessionID) *session {
	if p := e.users[key]; p != nil {
		for _, s := range p.sessions {
			if s.ID == id {
				return s
			}
		}
	}
	return nil
}

// enter adds a session, or replaces the one of that ID.
func (e *Engine) enter(s *session) {
	key := userKey{s.App, s.User}
	e.mu.Lock()
	defer e.mu.Unlock()
	if timer := e.absent[key]; timer != nil {
		timer.Stop()
		delete(e.absent, key)
	}
	p := e.users[key]
	if p == nil {
		p = new(presence)
		e.users[key] = p
	}
	p.remove(s.ID)
	p.sessions = append(p.sessions, s)
}

// leave takes sessions out of presence and gives them. It reports whether the
// user is thereby no longer present.
func (e *Engine) leave(key userKey, ids ...call.SessionID) (out []*session, gone bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.users[key]
	if p == nil {
		return nil, false
	}
	for _, id := range ids {
		if s := p.remove(id); s != nil {
			out = append(out, s)
		}
	}
	if len(p.sessions) == 0 {
		delete(e.users, key)
		return out, true
	}
	return out, false
}

func (p *presence) remove(id call.SessionID) *session {
	i := slices.IndexFunc(p.sessions, func(s *session) bool { return s.ID == id })
	if i < 0 {
		return nil
	}
	s := p.sessions[i]
	if s.timer != nil {
		s.timer.Stop()
	}
	p.sessions = slices.Delete(p.sessions, i, i+1)
	return s
}

// loadSessions brings the open sessions into memory, each as having lost its
// connection now.
func (e *Engine) loadSessions(ctx context.Context) error {
	var after store.Session
	for {
		page, err := e.Store.OpenSessions(ctx, after, loadPage)
		if err != nil {
			return err
		}
		for _, rec := range page {
			after = rec
			s := &session{Session: rec}
			e.enter(s)
			e.awaitReturn(s, now())
		}
		if len(page) < loadPage {
			return nil
		}
	}
}

// Lost says that the connection of a session is gone. lastSign is the last
// sign of life from it. The session can be resumed until HeartbeatTimeout
// after that; then it is offline. It does nothing for a device that has been
// replaced, kicked or logged out.
func (e *Engine) Lost(app uint32, user call.UserID, id call.SessionID, device Device, lastSign time.Time) {
	e.mu.Lock()
	s := e.find(userKey{app, user}, id)
	if s == nil || s.device != device || e.closed {
		e.mu.Unlock()
		return
	}
	s.device = nil
	e.mu.Unlock()
	e.awaitReturn(s, call.At(lastSign))
}

// awaitReturn lets a lost session go offline in time.
func (e *Engine) awaitReturn(s *session, lastSign call.Instant) {
	key, id := userKey{s.App, s.User}, s.ID
	d := until(lastSign.Add(e.HeartbeatTimeout.Milliseconds()))
	timer := e.after(d, func() { e.offline(key, id) })
	e.mu.Lock()
	s.timer = timer
	e.mu.Unlock()
}

// offline makes a session that is still lost go offline.
func (e *Engine) offline(key userKey, id call.SessionID) {
	unlock := e.lockUser(key)
	defer unlock()
	e.mu.Lock()
	s := e.find(key, id)
	if s == nil || s.device != nil {
		e.mu.Unlock()
		return
	}
	rec, name := s.Session, s.name
	e.mu.Unlock()

	rec.OfflineAt = now()
	ev := e.userAction(UserAction{Session: rec, Name: name, Action: WentOffline})
	commit := &store.SessionCommit{App: key.app, User: key.user, Put: []store.Session{rec}, Events: []*store.Event{ev}}
	if err := e.Store.CommitSessions(e.ctx, commit); err != nil {
		e.logRetry("a session could not be recorded as offline, it will be tried again",
			"app_id", key.app, "user_id", string(key.user), "session_id", string(id), "error", err)
		e.after(retryDelay, func() { e.offline(key, id) })
		return
	}
	e.Callbacks.HandOff(commit.Events)
	if _, gone := e.leave(key, id); gone {
		e.left(key)
	}
}

// left carries out what follows when a user has no session left that is not
// offline: calls that he is making are taken back, and if he does not return
// within AbsenceTimeout he quits the advanced calls that he is in. Presence is
// changed before the calls are looked at, and a new call looks at presence
// after it was made, so one of the two sees the other.
func (e *Engine) left(key userKey) {
	for _, id := range e.callsOf(key) {
		if c := e.peek(id); c != nil && c.Caller == key.user {
			e.notice(key.app, id, call.CallerGone{})
		}
	}
	e.awaitAbsence(key)
}

// awaitAbsence makes a user who is away quit the advanced calls that he is in,
// if he does not return within AbsenceTimeout.
func (e *Engine) awaitAbsence(key userKey) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.users[key] != nil || e.absent[key] != nil || len(e.byUser[key]) == 0 {
		return
	}
	e.absent[key] = e.after(e.AbsenceTimeout, func() { e.absence(key) })
}

// absence makes a user who has stayed away quit his advanced calls.
func (e *Engine) absence(key userKey) {
	e.mu.Lock()
	delete(e.absent, key)
	back := e.users[key] != nil
	e.mu.Unlock()
	if back {
		return
	}
	for _, id := range e.callsOf(key) {
		e.notice(key.app, id, call.ParticipantGone{User: key.user})
	}
}

// peek gives the state of a live call, or nil.
func (e *Engine) peek(id call.ID) *call.Call {
	c, err := e.take(e.ctx, id)
	if err != nil {
		return nil
	}
	defer c.mu.Unlock()
	return c.rec.Call
}

// dropOldSessions drops sessions that have been offline for SessionTTL, and
// reports whether there may be more.
func (e *Engine) dropOldSessions(limit int) bool {
	old, err := e.Store.OfflineSessions(e.ctx, call.At(time.Now().Add(-e.SessionTTL)), limit)
	for _, s := range old {
		if err == nil {
			err = e.dropSession(s)
		}
	}
	if err != nil && e.ctx.Err() == nil {
		e.Logger.Warn("dropping of old sessions failed", "error", err)
	}
	return err == nil && len(old) == limit
}

func (e *Engine) dropSession(s store.Session) error {
	key := userKey{s.App, s.User}
	unlock := e.lockUser(key)
	defer unlock()
	e.mu.Lock()
	back := e.find(key, s.ID) != nil
	e.mu.Unlock()
	if back {
		return nil
	}
	ev := e.userAction(UserAction{Session: s, Action: LoggedOut, Reason: ReasonExpired})
	commit := &store.SessionCommit{App: s.App, User: s.User, Drop: []call.SessionID{s.ID}, Events: []*store.Event{ev}}
	if err := e.Store.CommitSessions(e.ctx, commit); err != nil {
		return fmt.Errorf("dropping session %s: %w", s.ID, err)
	}
	e.Callbacks.HandOff(commit.Events)
	return nil
}

// lockUser makes the logins and logouts of one user run one by one. It gives
// the function that unlocks.
func (e *Engine) lockUser(key userKey) func() {
	h := key.app
	for i := range len(key.user) {
		h = (h ^ uint32(key.user[i])) * 16777619
	}
	mu := &e.locks[h%uint32(len(e.locks))]
	mu.Lock()
	return mu.Unlock
}
