package engine

import (
	"context"
	"errors"
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
	name    string
	device  Device      // nil: the connection is lost
	timer   *time.Timer // runs while it is lost, until it is offline
	version int64       // of the user's sessions when it came here; with other nodes
}

// present reports whether the user is online, or has lost his connections so
// lately that he is not yet offline.
func (e *Engine) present(key userKey) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.users[key] != nil
}

// presentAnywhere is present, for all nodes.
func (e *Engine) presentAnywhere(key userKey) bool {
	if e.present(key) {
		return true
	}
	if e.Peers == nil {
		return false
	}
	open, err := e.Store.OpenSessionsOf(e.ctx, key.app, []call.UserID{key.user})
	if err != nil {
		e.logRetry("it could not be read whether a user is present; he counts as present", "app_id", key.app, "user_id", string(key.user), "error", err)
		return true
	}
	return len(open) > 0
}

// connectionLost reports whether a user who has logged in, and is not yet
// offline, is without any connection at this moment.
func (e *Engine) connectionLost(key userKey) bool {
	e.mu.Lock()
	p := e.users[key]
	here, lost := p != nil, p != nil && !p.connected()
	e.mu.Unlock()
	if e.Peers == nil || here && !lost {
		return lost
	}
	if !here && !e.presentAnywhere(key) {
		return false
	}
	sessions, err := e.connected(e.ctx, key.app, []call.UserID{key.user})
	return err == nil && len(sessions) == 0
}

// Online gives those of some users who have a session with a live connection,
// on any node.
func (e *Engine) Online(ctx context.Context, app uint32, users []call.UserID) (map[call.UserID]bool, error) {
	sessions, err := e.connected(ctx, app, users)
	if err != nil {
		return nil, fmt.Errorf("reading who is online: %w", err)
	}
	online := make(map[call.UserID]bool, len(sessions))
	for i := range sessions {
		online[sessions[i].User] = true
	}
	return online, nil
}

// connected reports whether one of the sessions has a connection; Engine.mu is
// held.
func (p *presence) connected() bool {
	return slices.ContainsFunc(p.sessions, func(s *session) bool { return s.device != nil })
}

// OnlineHere reports whether a user has a session with a live connection on
// this node. It reads nothing.
func (e *Engine) OnlineHere(app uint32, user call.UserID) bool {
	return len(e.connectedHere(app, []call.UserID{user})) > 0
}

// Connected lists the sessions of a user that have a connection at this
// moment, on any node.
func (e *Engine) Connected(ctx context.Context, app uint32, user call.UserID) ([]call.SessionID, error) {
	sessions, err := e.connected(ctx, app, []call.UserID{user})
	if err != nil {
		return nil, fmt.Errorf("reading which sessions of %s are connected: %w", user, err)
	}
	var ids []call.SessionID
	for i := range sessions {
		ids = append(ids, sessions[i].ID)
	}
	return ids, nil
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
	for id := range e.byUser[key] {
		if c := e.calls[id]; c != nil {
			c.touched.Store(false)
		}
	}
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
			e.awaitReturn(s, e.now())
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
	e.awaitReturn(s, call.At(lastSign.Add(e.Clock.Offset())))
}

// awaitReturn lets a lost session go offline in time.
func (e *Engine) awaitReturn(s *session, lastSign call.Instant) {
	key, id := userKey{s.App, s.User}, s.ID
	d := e.until(lastSign.Add(e.HeartbeatTimeout.Milliseconds()))
	timer := e.after(d, func() { e.offline(key, id, e.self()) })
	e.mu.Lock()
	s.timer = timer
	e.mu.Unlock()
}

// self is this node; 0 when there are no others.
func (e *Engine) self() store.NodeID {
	if e.Peers == nil {
		return 0
	}
	return e.Peers.Self()
}

// offline makes a session that is still lost go offline. It was last on the
// given node, which is this one, or one that is dead.
func (e *Engine) offline(key userKey, id call.SessionID, node store.NodeID) {
	unlock := e.lockUser(key)
	defer unlock()
	var known *session
	if node == e.self() {
		e.mu.Lock()
		if known = e.find(key, id); known == nil || known.device != nil {
			e.mu.Unlock()
			return
		}
		e.mu.Unlock()
	}
	commit, gone, err := e.change(e.ctx, key, func(stored []store.Session) (*store.SessionCommit, error) {
		rec := store.Session{}
		name := ""
		if known != nil {
			rec, name = known.Session, known.name
		}
		if e.Peers != nil {
			i := slices.IndexFunc(stored, func(s store.Session) bool { return s.ID == id && s.Node == node && s.OfflineAt == 0 })
			if i < 0 {
				return nil, nil // it goes on elsewhere, or is gone
			}
			rec = stored[i]
		}
		rec.OfflineAt = e.now()
		ev := e.userAction(UserAction{Session: rec, Name: name, Action: WentOffline})
		return &store.SessionCommit{Put: []store.Session{rec}, Events: []*store.Event{ev}}, nil
	})
	if err != nil {
		e.logRetry("a session could not be recorded as offline, it will be tried again",
			"app_id", key.app, "user_id", string(key.user), "session_id", string(id), "error", err)
		e.after(retryDelay, func() { e.offline(key, id, node) })
		return
	}
	_, last := e.leave(key, id)
	if commit == nil {
		return
	}
	e.HandOff(commit.Events)
	if gone || e.Peers == nil && last {
		e.left(key)
	}
}

// change commits a change of a user's sessions. With several nodes it is
// decided by what is stored, and decided anew when another was first; alone,
// nothing is read, and decide gets nil. Without a commit from decide nothing is
// changed. With several nodes it reports whether the user has thereby no session
// left that is not offline. The user is locked.
func (e *Engine) change(ctx context.Context, key userKey, decide func(stored []store.Session) (*store.SessionCommit, error)) (_ *store.SessionCommit, gone bool, err error) {
	for range maxConflicts {
		var stored []store.Session
		var version int64
		if e.Peers != nil {
			if stored, version, err = e.Store.SessionsOf(ctx, key.app, key.user); err != nil {
				return nil, false, fmt.Errorf("reading sessions of %s: %w", key.user, err)
			}
		}
		commit, err := decide(stored)
		if commit == nil || err != nil {
			return nil, false, err
		}
		commit.App, commit.User, commit.Prior = key.app, key.user, version
		err = e.Store.CommitSessions(ctx, commit)
		if err == nil {
			return commit, e.Peers != nil && !anyOpen(stored, commit), nil
		}
		if e.Peers == nil || !errors.Is(err, store.ErrConflict) {
			return nil, false, err
		}
	}
	return nil, false, fmt.Errorf("sessions of %s: %w after %d tries", key.user, store.ErrConflict, maxConflicts)
}

// anyOpen reports whether any session is not offline after a commit.
func anyOpen(before []store.Session, c *store.SessionCommit) bool {
	open := func(s store.Session) bool { return s.OfflineAt == 0 }
	if slices.ContainsFunc(c.Put, open) {
		return true
	}
	return slices.ContainsFunc(before, func(s store.Session) bool {
		return open(s) && !slices.Contains(c.Drop, s.ID) &&
			!slices.ContainsFunc(c.Put, func(p store.Session) bool { return p.ID == s.ID })
	})
}

// sessionMoved lets go of a session that another node says is no longer here.
func (e *Engine) sessionMoved(n *sessionNews) {
	key := userKey{n.App, n.User}
	unlock := e.lockUser(key)
	defer unlock()
	e.mu.Lock()
	s := e.find(key, n.ID)
	if s == nil || s.version >= n.Version {
		e.mu.Unlock()
		return
	}
	e.mu.Unlock()
	e.letGo(key, n.Kick, n.ID)
	if n.Kick != "" && !e.presentAnywhere(key) {
		e.left(key) // whoever ended it may have looked before a call of his was there
	}
}

// letGo takes sessions out of presence; their devices are told why they were
// pushed out, or that the session goes on elsewhere.
func (e *Engine) letGo(key userKey, kick string, ids ...call.SessionID) (last bool) {
	out, last := e.leave(key, ids...)
	for _, s := range out {
		switch {
		case s.device == nil:
		case kick == "":
			s.device.Replace()
		default:
			s.device.Kick(kick)
		}
	}
	return last
}

// tellHolder tells the node that had a session that it no longer has.
func (e *Engine) tellHolder(s store.Session, version int64, kick string) {
	if e.Peers == nil || s.Node == 0 || s.Node == e.Peers.Self() || s.OfflineAt != 0 || !e.Peers.Alive(s.Node) {
		return
	}
	e.Peers.Send(s.Node, e.letterOf(message{Session: &sessionNews{App: s.App, User: s.User, ID: s.ID, Version: version, Kick: kick}}))
}

// left carries out what follows when a user has no session left that is not
// offline: calls that he is making are taken back, and if he does not return
// within AbsenceTimeout he quits the advanced calls that he is in. Presence is
// changed before the calls are looked at, and a new call looks at presence
// after it was made, so one of the two sees the other.
func (e *Engine) left(key userKey) {
	if e.Peers != nil {
		e.leftAll(key)
		return
	}
	for _, id := range e.callsOf(key) {
		if c := e.peek(id); c != nil && c.Caller == key.user {
			e.notice(key.app, id, call.CallerGone{})
		}
	}
	e.awaitAbsence(key)
}

// leftAll is left for several nodes. Whoever holds a call waits for the return
// of its users.
func (e *Engine) leftAll(key userKey) {
	records, err := e.Store.LiveCallsOf(e.ctx, key.app, key.user)
	if err != nil {
		e.logRetry("the calls of a user who is gone could not be read, it will be tried again",
			"app_id", key.app, "user_id", string(key.user), "error", err)
		e.after(retryDelay, func() { e.leftAll(key) })
		return
	}
	told := make(map[store.NodeID]bool)
	for _, rec := range records {
		c := rec.Call
		if !c.Active(key.user) {
			continue
		}
		if c.Caller == key.user {
			e.notice(key.app, c.ID, call.CallerGone{})
		}
		holder := e.Peers.Holder(store.PartitionOf(c.ID))
		if c.Mode != call.Advanced || told[holder] {
			continue
		}
		told[holder] = true
		if holder == e.Peers.Self() {
			e.awaitAbsence(key)
		} else if holder != 0 {
			e.Peers.Send(holder, e.letterOf(message{Gone: &gone{App: key.app, User: key.user}}))
		}
	}
}

// awaitAbsence makes a user who is away quit the advanced calls that he is in,
// if he does not return within AbsenceTimeout.
func (e *Engine) awaitAbsence(key userKey) {
	e.awaitAbsenceFor(key, e.AbsenceTimeout)
}

func (e *Engine) awaitAbsenceFor(key userKey, d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.users[key] != nil || e.absent[key] != nil || len(e.byUser[key]) == 0 {
		return
	}
	e.absent[key] = e.after(d, func() { e.absence(key) })
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
	if e.Peers != nil {
		since, back, err := e.offlineSince(key)
		if err != nil {
			e.awaitAbsenceFor(key, retryDelay)
			return
		}
		if back {
			return
		}
		if d := e.until(since.Add(e.AbsenceTimeout.Milliseconds())); d > 0 {
			e.awaitAbsenceFor(key, d) // he was here in between
			return
		}
	}
	for _, id := range e.callsOf(key) {
		if e.holds(id) {
			e.notice(key.app, id, call.ParticipantGone{User: key.user})
		}
	}
}

// offlineSince is when a user was last seen by any node; back: he is there.
func (e *Engine) offlineSince(key userKey) (since call.Instant, back bool, err error) {
	sessions, _, err := e.Store.SessionsOf(e.ctx, key.app, key.user)
	for i := range sessions {
		back = back || sessions[i].OfflineAt == 0
		since = max(since, sessions[i].OfflineAt)
	}
	return since, back, err
}

// peek gives the state of a live call, or nil.
func (e *Engine) peek(id call.ID) *call.Call {
	c, err := e.take(e.ctx, id)
	if err != nil {
		return nil
	}
	defer e.release(c)
	return c.rec.Call
}

// dropOldSessions drops sessions that have been offline for SessionTTL, and
// reports whether there may be more.
func (e *Engine) dropOldSessions(limit int) bool {
	old, err := e.Store.OfflineSessions(e.ctx, e.before(e.SessionTTL), limit)
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
	commit, _, err := e.change(e.ctx, key, func(stored []store.Session) (*store.SessionCommit, error) {
		if e.Peers != nil && !slices.Contains(stored, s) {
			return nil, nil
		}
		ev := e.userAction(UserAction{Session: s, Action: LoggedOut, Reason: ReasonExpired})
		return &store.SessionCommit{Drop: []call.SessionID{s.ID}, Events: []*store.Event{ev}}, nil
	})
	if err != nil {
		return fmt.Errorf("dropping session %s: %w", s.ID, err)
	}
	if commit != nil {
		e.HandOff(commit.Events)
	}
	return nil
}

// lockUser makes the logins and logouts of one user run one by one. It gives
// the function that unlocks.
func (e *Engine) lockUser(key userKey) func() {
	mu := e.locks[key.hash()%uint32(len(e.locks))]
	mu.Lock()
	return mu.Unlock
}

func (k userKey) hash() uint32 {
	h := k.app
	for i := range len(k.user) {
		h = (h ^ uint32(k.user[i])) * 16777619
	}
	return h
}
