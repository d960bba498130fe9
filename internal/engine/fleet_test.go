package engine

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/sqlite"
)

// fleet is several nodes over one store, in a bubble. Who holds which
// partition is decided by the test.
type fleet struct {
	t     *testing.T
	db    store.Store
	app   App
	nodes []*world

	mu    sync.Mutex
	owner [store.PartitionCount]store.NodeID
	ended map[store.NodeID]call.Instant
	lose  func(from, to store.NodeID) bool // messages
	delay func(from, to store.NodeID) time.Duration
}

// link is a node's Peers.
type link struct {
	f    *fleet
	self store.NodeID
	out  map[store.NodeID]chan []byte
}

// fleetBubble runs f with n nodes, which hold the partitions in turn.
func fleetBubble(t *testing.T, n int, f func(t *testing.T, f *fleet)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		fl := &fleet{t: t, db: db, app: App{LoginPolicy: PolicyMulti}, ended: make(map[store.NodeID]call.Instant)}
		for p := range fl.owner {
			fl.owner[p] = store.NodeID(p%n + 1)
		}
		for range n {
			fl.join()
		}
		for _, w := range fl.nodes {
			w.startNode()
		}
		f(t, fl)
		for _, w := range fl.nodes {
			if !fl.dead(w.self()) {
				w.Close()
			}
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (f *fleet) join() *world {
	w := &world{t: f.t, store: &faultyStore{Store: f.db}, notes: new(notes), app: f.app}
	l := &link{f: f, self: store.NodeID(len(f.nodes) + 1), out: make(map[store.NodeID]chan []byte)}
	w.Engine = New(Options{
		Store: w.store, Devices: w.notes, Callbacks: w.notes, App: func(id uint32) (App, bool) { return f.app, id == app }, Logger: slog.New(slog.DiscardHandler),
		HeartbeatTimeout: 35 * time.Second, AbsenceTimeout: 2 * time.Minute, MaxCallDuration: 24 * time.Hour,
		SessionTTL: sessionTTL, Retention: 720 * time.Hour, Peers: l,
	})
	f.nodes = append(f.nodes, w)
	return w
}

func (w *world) startNode() {
	w.t.Helper()
	if err := w.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (f *fleet) dead(id store.NodeID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ended[id] != 0
}

// kill ends a node as a kill would, and gives its partitions to another.
func (f *fleet) kill(w *world, heir *world) {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.Engine.stop()
	w.work.Wait()
	f.mu.Lock()
	f.ended[w.self()] = w.now()
	var parts store.PartitionSet
	for p := range f.owner {
		if f.owner[p] == w.self() {
			f.owner[p] = heir.self()
			parts = parts.With(p)
		}
	}
	f.mu.Unlock()
	heir.Gain(parts)
	for _, other := range f.nodes {
		if other != w && !f.dead(other.self()) {
			other.Resync()
		}
	}
}

// move gives all partitions of one node to another.
func (f *fleet) move(from, to *world) {
	f.mu.Lock()
	var parts store.PartitionSet
	for p := range f.owner {
		if f.owner[p] == from.self() {
			f.owner[p] = to.self()
			parts = parts.With(p)
		}
	}
	f.mu.Unlock()
	from.Lose(parts)
	to.Gain(parts)
}

func (f *fleet) losing(lose func(from, to store.NodeID) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lose = lose
}

func (f *fleet) delaying(delay func(from, to store.NodeID) time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delay = delay
}

func (l *link) Self() store.NodeID { return l.self }

func (l *link) Held() store.PartitionSet {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	var set store.PartitionSet
	for p, owner := range l.f.owner {
		if owner == l.self {
			set = set.With(p)
		}
	}
	return set
}

func (l *link) Holds(p int) bool { return l.Held().Has(p) }

func (l *link) Holder(p int) store.NodeID {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	return l.f.owner[p]
}

func (l *link) Alive(id store.NodeID) bool { return !l.f.dead(id) }

func (l *link) Send(to store.NodeID, data []byte) {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	if l.f.lose != nil && l.f.lose(l.self, to) || l.f.ended[to] != 0 {
		return
	}
	var pause time.Duration
	if l.f.delay != nil {
		pause = l.f.delay(l.self, to)
	}
	receiver := l.f.nodes[to-1]
	time.AfterFunc(pause+time.Millisecond, func() { // those of one instant run in the order of their making
		if !l.f.dead(to) {
			receiver.Receive(l.self, data)
		}
	})
}

func (l *link) Ask(_ context.Context, to store.NodeID, data []byte) ([]byte, error) {
	if l.f.dead(to) {
		return nil, errors.New("dead")
	}
	return l.f.nodes[to-1].Answer(l.self, data)
}

func (l *link) LostSessions(ctx context.Context, before call.Instant, after store.Session, limit int) ([]store.Session, error) {
	open, err := l.f.db.OpenSessions(ctx, after, limit)
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	return slices.DeleteFunc(open, func(s store.Session) bool {
		at := l.f.ended[s.Node]
		return at == 0 || at >= before
	}), err
}

// settle lets messages arrive.
func settle() {
	time.Sleep(10 * time.Millisecond)
	synctest.Wait()
}

func wantNotes(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	got = slices.DeleteFunc(got, func(line string) bool {
		return line == "wake 1" || len(line) > 20 && line[:20] == "hand off user_action"
	})
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestCallAcrossNodes(t *testing.T) {
	fleetBubble(t, 2, func(t *testing.T, f *fleet) {
		one, two := f.nodes[0], f.nodes[1]
		alice, bob := one.login("alice"), two.login("bob")
		settle()
		one.notes.take()
		two.notes.take()
		id := alice.invite("bob")
		if !one.holds(id) {
			t.Errorf("the maker of call %s does not hold it", id)
		}
		settle()
		wantNotes(t, "one", one.notes.take(), "ack invite alice", "tell call.CallCreated v1", "hand off call.CallCreated")
		wantNotes(t, "two", two.notes.take(), "tell call.CallCreated v1")
		var commits int
		for _, w := range f.nodes {
			w.store.fail(func(_ *store.CallCommit, real func() error) error { commits++; return real() })
		}
		if err := bob.receive(id); err != nil {
			t.Fatal(err)
		}
		settle()
		wantNotes(t, "one", one.notes.take(), "tell call.InvitationReceived v1")
		wantNotes(t, "two", two.notes.take(), "ack call.Receive bob", "tell call.InvitationReceived v1")
		time.Sleep(time.Second)
		synctest.Wait()
		wantNotes(t, "one, when it is written", one.notes.take(), "hand off call.InvitationReceived")
		wantNotes(t, "two, when it is written", two.notes.take(), "hand off call.InvitationReceived")
		if err := bob.accept(id); err != nil {
			t.Fatal(err)
		}
		settle()
		wantNotes(t, "one", one.notes.take(), "tell call.CallAccepted v2", "hand off call.CallAccepted")
		wantNotes(t, "two", two.notes.take(), "ack call.Accept bob", "tell call.CallAccepted v2", "hand off call.CallAccepted")
		if commits != 2 {
			t.Errorf("%d commits, want one for received and one for accept", commits)
		}
		for i, w := range f.nodes {
			if n := len(w.calls); n != 0 {
				t.Errorf("node %d still has %d calls in memory", i+1, n)
			}
		}
	})
}

func TestRaceAcrossNodes(t *testing.T) {
	for i := range 8 {
		fleetBubble(t, 2, func(t *testing.T, f *fleet) {
			one, two := f.nodes[0], f.nodes[1]
			alice, bob := one.login("alice"), two.login("bob")
			id := alice.invite("bob")
			settle()
			one.notes.take()
			two.notes.take()
			var accepted, cancelled error
			var wg sync.WaitGroup
			wg.Go(func() { accepted = bob.accept(id) })
			wg.Go(func() { cancelled = alice.cancel(id) })
			wg.Wait()
			settle()
			if (accepted == nil) == (cancelled == nil) {
				t.Fatalf("round %d: accept %v, cancel %v", i, accepted, cancelled)
			}
			if code := refusal(errors.Join(accepted, cancelled)); code != call.CannotCancel && code != call.CancelledByOther {
				t.Errorf("the other got %v", errors.Join(accepted, cancelled))
			}
			for j, w := range f.nodes {
				tells := slices.DeleteFunc(w.notes.take(), func(s string) bool { return s[:4] != "tell" && s[:5] != "catch" })
				if len(tells) != 1 {
					t.Errorf("devices of node %d were told %q", j+1, tells)
				}
				if n := len(w.calls); n != 0 {
					t.Errorf("node %d still has %d calls", j+1, n)
				}
			}
		})
	}
}

func TestTimersGoWithThePartition(t *testing.T) {
	fleetBubble(t, 2, func(t *testing.T, f *fleet) {
		one, two := f.nodes[0], f.nodes[1]
		alice := one.login("alice")
		two.login("bob")
		id := alice.invite("bob")
		settle()
		f.move(one, two)
		time.Sleep(91 * time.Second)
		synctest.Wait()
		if s := two.state(id, "bob"); s != call.TimedOut {
			t.Fatalf("bob is %s", s)
		}
		if e, ok := one.notes.last().Event.(call.InvitationsTimedOut); !ok || !one.notes.last().Remote {
			t.Errorf("alice's node was told last of %+v", e)
		}
	})
}

func TestNodeDies(t *testing.T) {
	fleetBubble(t, 3, func(t *testing.T, f *fleet) {
		one, two, three := f.nodes[0], f.nodes[1], f.nodes[2]
		alice := one.login("alice")
		two.login("bob")
		carol := one.login("carol")
		rung := alice.invite("bob")
		talked := carol.inviteWith(Invitation{Invitees: []call.UserID{"bob"}, Timeout: 60, Mode: call.Advanced})
		settle()
		// What one commits is never told.
		f.losing(func(from, _ store.NodeID) bool { return from == one.self() })
		if err := carol.do(talked, call.End{Actor: carol.actor()}); err != nil {
			t.Fatal(err)
		}
		two.notes.take()
		f.kill(one, three)
		settle()
		wantNotes(t, "two", two.notes.take(), "catch up v1-v2")
		time.Sleep(38 * time.Second)
		synctest.Wait()
		if s := two.state(rung, "bob"); s != call.Cancelled {
			t.Errorf("the caller's node died, and bob is %s", s)
		}
		if e, ok := two.notes.last().Event.(call.InvitationsCancelled); !ok || e.Reason != call.CallerLeft {
			t.Errorf("bob's devices were told last of %+v", two.notes.last().Event)
		}
	})
}

func TestNodeDiesAndDeviceReturns(t *testing.T) {
	fleetBubble(t, 2, func(t *testing.T, f *fleet) {
		one, two := f.nodes[0], f.nodes[1]
		alice := one.login("alice")
		bob := two.login("bob")
		id := alice.invite("bob")
		settle()
		f.kill(one, two)
		time.Sleep(20 * time.Second)
		alice.w = two
		alice.back()
		time.Sleep(40 * time.Second)
		synctest.Wait()
		if s := two.state(id, "bob"); s != call.Inviting {
			t.Fatalf("the caller is back, and bob is %s", s)
		}
		if err := bob.accept(id); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSessionMoves(t *testing.T) {
	fleetBubble(t, 2, func(t *testing.T, f *fleet) {
		one, two := f.nodes[0], f.nodes[1]
		alice := one.login("alice")
		bob := two.login("bob")
		id := bob.invite("alice")
		settle()
		old := alice
		alice.w = two
		alice = alice.back()
		settle()
		if !old.moved {
			t.Error("the old connection was not told")
		}
		if one.present(userKey{app, "alice"}) || !two.present(userKey{app, "alice"}) {
			t.Error("alice is not where she is")
		}
		time.Sleep(50 * time.Second)
		synctest.Wait()
		if err := alice.accept(id); err != nil {
			t.Fatal(err)
		}
		for i, w := range f.nodes {
			if online := w.online(app, "alice"); !online {
				t.Errorf("node %d does not know that alice is online", i+1)
			}
		}
		alice.drop()
		for i, w := range f.nodes {
			if online := w.online(app, "alice"); online {
				t.Errorf("node %d does not know that alice is not online", i+1)
			}
		}
	})
}

func TestPolicyAcrossNodes(t *testing.T) {
	fleetBubble(t, 2, func(t *testing.T, f *fleet) {
		f.app.LoginPolicy = PolicySingle
		one, two := f.nodes[0], f.nodes[1]
		for range 10 {
			var a, b *phone
			var wg sync.WaitGroup
			wg.Go(func() { a = one.login("alice") })
			wg.Go(func() { b = two.login("alice") })
			wg.Wait()
			settle()
			if (a.kicked == "") == (b.kicked == "") {
				t.Fatalf("kicked: %q and %q", a.kicked, b.kicked)
			}
			left, _, err := f.db.SessionsOf(t.Context(), app, "alice")
			if err != nil || len(left) != 1 {
				t.Fatalf("%d sessions are left (%v)", len(left), err)
			}
			if a.kicked == "" && left[0].ID != a.session || b.kicked == "" && left[0].ID != b.session {
				t.Fatal("the wrong one was kicked")
			}
		}
	})
}

// TestComesInTheMiddle has a device log in on a node that knew nothing of the
// call; from then on it must hear of everything.
func TestComesInTheMiddle(t *testing.T) {
	fleetBubble(t, 3, func(t *testing.T, f *fleet) {
		one, two, three := f.nodes[0], f.nodes[1], f.nodes[2]
		alice, bob := one.login("alice"), two.login("bob")
		if _, err := f.db.RegisterUsers(t.Context(), app, []store.User{{ID: "carol"}}, one.now()); err != nil {
			t.Fatal(err)
		}
		id := alice.inviteWith(Invitation{Invitees: []call.UserID{"bob", "carol"}, Timeout: 60, Mode: call.Advanced})
		settle()
		carol := three.login("carol")
		snap, err := three.Snapshot(t.Context(), app, carol.actor(), nil, func(*call.Call) {})
		if err != nil || len(snap.Live) != 1 || snap.Live[0].ID != id {
			t.Fatalf("carol is shown %+v (%v)", snap, err)
		}
		three.notes.take()
		// Whatever is lost, two must find out that three listens.
		f.losing(func(from, to store.NodeID) bool { return from == three.self() })
		if err := bob.accept(id); err != nil {
			t.Fatal(err)
		}
		settle()
		wantNotes(t, "three", three.notes.take(), "tell call.CallAccepted v2")
		f.losing(nil)
		if err := alice.do(id, call.End{Actor: alice.actor()}); err != nil {
			t.Fatal(err)
		}
		settle()
		wantNotes(t, "three", three.notes.take(), "tell call.CallEnded v3")
	})
}

func TestNewsOutOfOrder(t *testing.T) {
	fleetBubble(t, 3, func(t *testing.T, f *fleet) {
		one, two, three := f.nodes[0], f.nodes[1], f.nodes[2]
		alice, bob := one.login("alice"), two.login("bob")
		three.login("carol")
		id := alice.inviteAdvanced("bob", "carol")
		settle()
		three.notes.take()
		f.delaying(func(from, to store.NodeID) time.Duration {
			if from == two.self() && to == three.self() {
				return 50 * time.Millisecond
			}
			return 0
		})
		if err := bob.accept(id); err != nil {
			t.Fatal(err)
		}
		settle()
		if err := alice.do(id, call.End{Actor: alice.actor()}); err != nil {
			t.Fatal(err)
		}
		settle()
		wantNotes(t, "three, too early", three.notes.take())
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		wantNotes(t, "three", three.notes.take(), "tell call.CallAccepted v2", "tell call.CallEnded v3")
	})
}

func TestNewsLost(t *testing.T) {
	fleetBubble(t, 2, func(t *testing.T, f *fleet) {
		one, two := f.nodes[0], f.nodes[1]
		alice := one.login("alice")
		two.login("bob")
		f.losing(func(_, _ store.NodeID) bool { return true })
		id := alice.invite("bob")
		settle()
		two.notes.take()
		two.Resync()
		settle()
		wantNotes(t, "two", two.notes.take(), "catch up v0-v1")
		if err := alice.cancel(id); err != nil {
			t.Fatal(err)
		}
		settle()
		wantNotes(t, "two", two.notes.take())
		two.Resync()
		settle()
		wantNotes(t, "two", two.notes.take(), "catch up v1-v2")
	})
}

// TestComesAfterTheEnd has a device come to a node that has not heard of the end
// of a call. What it is shown includes the end, so it is not told of it later.
func TestComesAfterTheEnd(t *testing.T) {
	fleetBubble(t, 2, func(t *testing.T, f *fleet) {
		one, two := f.nodes[0], f.nodes[1]
		alice := one.login("alice")
		two.login("bob")
		id := alice.invite("bob")
		settle()
		f.losing(func(_, _ store.NodeID) bool { return true })
		if err := alice.cancel(id); err != nil {
			t.Fatal(err)
		}
		settle()
		again := two.login("bob")
		two.notes.take()
		var seen []call.ID
		snap, err := two.Snapshot(t.Context(), app, again.actor(), nil, func(c *call.Call) {
			wantNotes(t, "two, before it is shown", two.notes.take(), "catch up v1-v2")
			seen = append(seen, c.ID)
		})
		if err != nil || len(snap.Live)+len(snap.Over) != 0 || !slices.Equal(seen, []call.ID{id}) {
			t.Errorf("shown %+v (%v), seen %v", snap, err, seen)
		}
		two.Resync()
		settle()
		wantNotes(t, "two", two.notes.take())
	})
}

// TestStaleRefusal has a node refuse by a record that is not the newest: it
// looks into the store before it says so, and if it cannot, says that.
func TestStaleRefusal(t *testing.T) {
	fleetBubble(t, 2, func(t *testing.T, f *fleet) {
		one, two := f.nodes[0], f.nodes[1]
		alice, bob := one.login("alice"), two.login("bob")
		tablet := one.loginOn("bob", "ANDROID")
		id := alice.inviteAdvanced("bob")
		settle()
		f.losing(func(_, _ store.NodeID) bool { return true })
		if err := bob.accept(id); err != nil {
			t.Fatal(err)
		}
		settle()
		quit := func() error { return tablet.do(id, call.Leave{Actor: tablet.actor()}) }
		broken := errors.New("broken")
		one.store.failReads(broken)
		if err := quit(); !errors.Is(err, broken) {
			t.Errorf("while the store cannot be read: %v", err)
		}
		one.store.failReads(nil)
		if err := quit(); err != nil {
			t.Errorf("bob, who has accepted elsewhere, cannot quit: %v", err)
		}
		one.store.failReads(store.ErrNotFound)
		if err := tablet.reject(id); refusal(err) == 0 {
			t.Errorf("a call that is no longer stored: %v", err)
		}
	})
}

func TestAbsenceAcrossNodes(t *testing.T) {
	fleetBubble(t, 3, func(t *testing.T, f *fleet) {
		one, two, three := f.nodes[0], f.nodes[1], f.nodes[2]
		alice, bob := one.login("alice"), two.login("bob")
		id := alice.inviteAdvanced("bob")
		settle()
		if err := bob.accept(id); err != nil {
			t.Fatal(err)
		}
		settle()
		bob.drop()
		time.Sleep(35 * time.Second) // offline now
		time.Sleep(60 * time.Second)
		bob.w = three
		bob = bob.back()
		time.Sleep(30 * time.Second)
		bob.drop()
		time.Sleep(35*time.Second + 2*time.Minute - time.Second)
		synctest.Wait()
		if s := one.state(id, "bob"); s != call.Accepted {
			t.Fatalf("bob is %s too early", s)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s := one.state(id, "bob"); s != call.Quit {
			t.Errorf("bob is %s", s)
		}
	})
}

// TestAbsenceSeenByADeadNode has the node die that saw a user go.
func TestAbsenceSeenByADeadNode(t *testing.T) {
	fleetBubble(t, 2, func(t *testing.T, f *fleet) {
		one, two := f.nodes[0], f.nodes[1]
		alice, bob := one.login("alice"), two.login("bob")
		id := alice.inviteAdvanced("bob")
		settle()
		if err := bob.accept(id); err != nil {
			t.Fatal(err)
		}
		settle()
		f.losing(func(_, _ store.NodeID) bool { return true })
		bob.logout()
		f.kill(two, one)
		time.Sleep(2*time.Minute + 10*time.Second)
		synctest.Wait()
		if s := one.state(id, "bob"); s != call.Quit {
			t.Errorf("bob is %s", s)
		}
	})
}

// TestLateNewsAfterReturn has the news of a call come to a node when the device
// that it is for has been on another one and is back. That other one looked in
// between, and believes that nobody is there.
func TestLateNewsAfterReturn(t *testing.T) {
	fleetBubble(t, 3, func(t *testing.T, f *fleet) {
		one, two, three := f.nodes[0], f.nodes[1], f.nodes[2]
		alice, tablet := one.login("alice"), two.loginOn("alice", "PAD")
		bob := three.login("bob")
		settle()
		f.losing(func(from, to store.NodeID) bool { return from == one.self() && to == two.self() })
		f.delaying(func(from, to store.NodeID) time.Duration {
			if from == one.self() && to == three.self() {
				return 100 * time.Millisecond
			}
			return 0
		})
		id := alice.invite("bob")
		f.losing(nil)
		f.delaying(nil)
		move := func(to *world) {
			bob.w = to
			bob = bob.back()
		}
		show := func() {
			t.Helper()
			snap, err := bob.w.Snapshot(t.Context(), app, bob.actor(), nil, func(*call.Call) {})
			if err != nil || len(snap.Live) != 1 {
				t.Fatalf("bob is shown %+v, %v", snap, err)
			}
		}
		move(two)
		show()
		settle()
		move(three)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if !slices.Contains(three.notes.take(), "tell call.CallCreated v1") {
			t.Fatal("the late news has not come")
		}
		show()
		if err := tablet.cancel(id); err != nil {
			t.Fatal(err)
		}
		settle()
		if c := three.notes.last().After; c.Version != 2 {
			t.Errorf("bob's device knows version %d and rings on", c.Version)
		}
	})
}
