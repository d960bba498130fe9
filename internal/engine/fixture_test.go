package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/sqlite"
)

const app = 1

// world is an engine over a real store, with devices and callbacks that only
// take notes. It lives in a synctest bubble, so waiting costs nothing.
type world struct {
	*Engine
	t     *testing.T
	dir   string
	store *faultyStore
	notes *notes
	app   App
}

// sessionTTL is short, since the janitor's rounds until then are real work.
const sessionTTL = time.Hour

// bubble runs f with a new world inside a bubble.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	bubbleWith(t, App{LoginPolicy: PolicyMulti}, f)
}

func bubbleWith(t *testing.T, a App, f func(t *testing.T, w *world)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, dir: dir, app: a}
		w.start()
		defer w.stop()
		f(t, w)
	})
}

func (w *world) start() {
	w.t.Helper()
	db, err := sqlite.Open(w.t.Context(), sqlite.Options{Dir: w.dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = &faultyStore{Store: db}
	w.notes = new(notes)
	w.Engine = New(Options{
		Store: w.store, Devices: w.notes, Callbacks: w.notes, App: func(id uint32) (App, bool) { return w.app, id == app }, Logger: slog.New(slog.DiscardHandler),
		HeartbeatTimeout: 35 * time.Second, AbsenceTimeout: 2 * time.Minute, MaxCallDuration: 24 * time.Hour,
		SessionTTL: sessionTTL, Retention: 720 * time.Hour,
	})
	if err := w.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) stop() {
	w.Close()
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

// crash stops the engine as a kill would: nothing that was not written is.
func (w *world) crash() {
	w.mu.Lock()
	w.closed = true // no more timers
	w.mu.Unlock()
	w.Engine.stop()
	w.work.Wait()
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

// phone is a device of a user.
type phone struct {
	w       *world
	user    call.UserID
	session call.SessionID
	kicked  string
	moved   bool
}

func (p *phone) Enter(id call.SessionID) { p.session = id }
func (p *phone) Kick(reason string)      { p.kicked = reason }
func (p *phone) Replace()                { p.moved = true }

func (p *phone) actor() call.Actor { return call.Actor{User: p.user, Session: p.session} }

// login opens a new session on platform WEB.
func (w *world) login(user call.UserID) *phone { return w.loginOn(user, "WEB") }

func (w *world) loginOn(user call.UserID, platform string) *phone {
	w.t.Helper()
	p := &phone{w: w, user: user}
	_, resumed, err := w.Login(w.t.Context(), Login{App: app, User: user, Platform: platform, Device: p})
	if err != nil || resumed {
		w.t.Fatalf("login of %s: resumed %v, %v", user, resumed, err)
	}
	return p
}

// back resumes the session on a new connection.
func (p *phone) back() *phone {
	p.w.t.Helper()
	again := &phone{w: p.w, user: p.user}
	id, resumed, err := p.w.Login(p.w.t.Context(), Login{App: app, User: p.user, Platform: "WEB", Resume: p.session, Device: again})
	if err != nil || !resumed || id != p.session {
		p.w.t.Fatalf("resuming %s: session %s, resumed %v, %v", p.user, id, resumed, err)
	}
	return again
}

func (p *phone) drop() { p.w.Lost(app, p.user, p.session, p, time.Now()) }

func (p *phone) logout() {
	p.w.t.Helper()
	if err := p.w.Logout(p.w.t.Context(), app, p.user, p.session); err != nil {
		p.w.t.Fatal(err)
	}
}

// invite makes a general call.
func (p *phone) invite(ids ...call.UserID) call.ID {
	p.w.t.Helper()
	return p.inviteWith(Invitation{Invitees: ids, Timeout: 90})
}

func (p *phone) inviteAdvanced(ids ...call.UserID) call.ID {
	p.w.t.Helper()
	return p.inviteWith(Invitation{Invitees: ids, Timeout: 90, Mode: call.Advanced})
}

func (p *phone) inviteWith(in Invitation) call.ID {
	p.w.t.Helper()
	id, err := p.tryInvite(in)
	if err != nil {
		p.w.t.Fatal(err)
	}
	return id
}

func (p *phone) tryInvite(in Invitation) (id call.ID, err error) {
	err = p.w.Invite(p.w.t.Context(), app, p.actor(), in, func(r call.Result) {
		id = r.Call.ID
		p.w.notes.add("ack invite %s", p.user)
	})
	return id, err
}

func (p *phone) accept(id call.ID) error  { return p.do(id, call.Accept{Actor: p.actor()}) }
func (p *phone) reject(id call.ID) error  { return p.do(id, call.Reject{Actor: p.actor()}) }
func (p *phone) receive(id call.ID) error { return p.do(id, call.Receive{Actor: p.actor()}) }
func (p *phone) cancel(id call.ID) error  { return p.do(id, call.Cancel{Actor: p.actor()}) }

func (p *phone) do(id call.ID, cmd call.Command) error {
	return p.w.Do(p.w.t.Context(), app, id, cmd, func(call.Result) { p.w.notes.add("ack %T %s", cmd, p.user) })
}

// get reads the call as it is stored.
func (w *world) get(id call.ID) *call.Call {
	w.t.Helper()
	rec, err := w.store.Call(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return rec.Call
}

func (w *world) state(id call.ID, user call.UserID) call.UserState {
	w.t.Helper()
	return w.get(id).User(user).State
}

// notes write down what devices and business servers are told.
type notes struct {
	mu    sync.Mutex
	lines []string
	told  []Transition
	shown map[call.ID]*call.Call // as devices were last told
	back  []string               // versions that went back
	slow  time.Duration          // that making an event takes
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

// take gives the notes since it was last called.
func (n *notes) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	lines := n.lines
	n.lines = nil
	return lines
}

func (n *notes) last() Transition {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.told[len(n.told)-1]
}

func (n *notes) Tell(t Transition) {
	n.add("tell %T v%d", t.Event, t.After.Version)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = append(n.told, t)
	n.show(t.After)
}

func (n *notes) show(c *call.Call) {
	if n.shown == nil {
		n.shown = make(map[call.ID]*call.Call)
	}
	if last := n.shown[c.ID]; last != nil && last.Version > c.Version {
		n.back = append(n.back, fmt.Sprintf("call %s went from version %d to %d", c.ID, last.Version, c.Version))
	}
	n.shown[c.ID] = c
}

func (n *notes) CatchUp(before, after *call.Call) {
	from := int64(0)
	if before != nil {
		from = before.Version
	}
	n.add("catch up v%d-v%d", from, after.Version)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.show(after)
}

func (n *notes) Wake(app uint32) { n.add("wake %d", app) }

func (n *notes) Events(t Transition) []*store.Event {
	if t.Event == nil {
		return nil
	}
	time.Sleep(n.slow)
	return []*store.Event{{Name: fmt.Sprintf("%T", t.Event), Fields: []byte("{}")}}
}

func (n *notes) UserAction(a UserAction) *store.Event {
	return &store.Event{Name: fmt.Sprintf("user_action %d %s %s%v", a.Action, a.Session.User, a.Reason, a.Relogin), Fields: []byte("{}")}
}

func (n *notes) Subscriptions(uint32, string) []store.EndpointID { return nil }

func (n *notes) HandOff(events []*store.Event) {
	for _, ev := range events {
		n.add("hand off %s", ev.Name)
	}
}

// faultyStore is a store whose commits, and reads of calls, can be made to
// fail.
type faultyStore struct {
	store.Store
	mu       sync.Mutex
	commit   func(c *store.CallCommit, real func() error) error // nil: as the store does
	headroom error
	read     error // of Call
}

func (s *faultyStore) fail(f func(c *store.CallCommit, real func() error) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commit = f
}

// failOnce lets f decide about the next commit.
func (s *faultyStore) failOnce(f func(c *store.CallCommit, real func() error) error) {
	s.fail(func(c *store.CallCommit, real func() error) error {
		s.fail(nil)
		return f(c, real)
	})
}

func (s *faultyStore) CommitCall(ctx context.Context, c *store.CallCommit) error {
	s.mu.Lock()
	f := s.commit
	s.mu.Unlock()
	real := func() error { return s.Store.CommitCall(ctx, c) }
	if f == nil {
		return real()
	}
	return f(c, real)
}

func (s *faultyStore) Call(ctx context.Context, id call.ID) (*store.CallRecord, error) {
	s.mu.Lock()
	err := s.read
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return s.Store.Call(ctx, id)
}

// failReads sets the error of reading calls.
func (s *faultyStore) failReads(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = err
}

func (s *faultyStore) Headroom() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.headroom != nil {
		return s.headroom
	}
	return s.Store.Headroom()
}

// refusal is the code of a refusal, 0 for none.
func refusal(err error) call.Code {
	var refused *call.RefusedError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return 0
}
