package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/clock"
	"github.com/ringback/ringback/internal/cluster"
	"github.com/ringback/ringback/internal/store"
)

const lease = 10 * time.Second

var errDown = errors.New("the database is down")

// memory keeps what the nodes of a test agree on.
type memory struct {
	mu     sync.Mutex
	offset time.Duration // of its clock to that of the machines
	faster time.Duration // that it gains in a second
	began  time.Time
	latest store.NodeID
	nodes  map[store.NodeID]*registered
	owners [store.PartitionCount]store.NodeID
}

type registered struct {
	store.Node
	until time.Time
}

func (m *memory) now() time.Time {
	gained := time.Duration(time.Since(m.began).Seconds() * float64(m.faster))
	return time.Now().Round(0).Add(m.offset + gained)
}

func (m *memory) end(id store.NodeID) {
	delete(m.nodes, id)
	for p, owner := range m.owners {
		if owner == id {
			m.owners[p] = 0
		}
	}
}

// access is one node's access to the memory, with faults.
type access struct {
	*memory
	self store.NodeID

	mu       sync.Mutex
	down     bool          // nothing is done
	deaf     bool          // what is done is not confirmed
	before   time.Duration // that a request takes
	after    time.Duration // that an answer takes
	releases []store.PartitionSet
	observe  func(release store.PartitionSet)
	lease    time.Duration
}

func (a *access) request(ctx context.Context, do func() error) error {
	a.mu.Lock()
	down, deaf, before, after := a.down, a.deaf, a.before, a.after
	a.mu.Unlock()
	if err := pause(ctx, before); err != nil {
		return err
	}
	if down {
		return errDown
	}
	a.memory.mu.Lock()
	err := do()
	a.memory.mu.Unlock()
	if deaf {
		<-ctx.Done()
		return ctx.Err()
	}
	if late := pause(ctx, after); late != nil {
		return late
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *access) JoinNode(ctx context.Context, name string, lease time.Duration) (store.NodeID, error) {
	return a.self, a.request(ctx, func() error {
		for id, n := range a.nodes {
			if n.Name != name {
				continue
			}
			if left := n.until.Sub(a.now()); left > 0 {
				return &store.NodeTakenError{Name: name, Until: left}
			}
			a.end(id)
		}
		a.latest++
		a.self = a.latest
		a.lease = lease
		a.nodes[a.self] = &registered{store.Node{ID: a.self, Name: name, JoinedAt: call.Instant(a.now().UnixMilli())}, a.now().Add(lease)}
		return nil
	})
}

func (a *access) RenewNode(ctx context.Context, release store.PartitionSet) (store.Membership, error) {
	a.mu.Lock()
	observe := a.observe
	a.mu.Unlock()
	if observe != nil {
		observe(release)
	}
	var out store.Membership
	return out, a.request(ctx, func() error {
		me := a.nodes[a.self]
		if me == nil {
			return store.ErrFenced
		}
		a.releases = append(a.releases, release)
		me.until = a.now().Add(a.lease)
		for id, n := range a.nodes {
			if !n.until.After(a.now()) {
				a.end(id)
			}
		}
		out.At = a.now()
		mine := 0
		for p, owner := range a.owners {
			if owner == a.self && release.Has(p) {
				a.owners[p] = 0
			} else if owner == a.self {
				mine++
			}
		}
		fair := (store.PartitionCount + len(a.nodes) - 1) / len(a.nodes)
		for p, owner := range a.owners {
			if owner == 0 && mine < fair && !release.Has(p) {
				a.owners[p] = a.self
				mine++
			}
		}
		for _, n := range a.nodes {
			out.Nodes = append(out.Nodes, n.Node)
		}
		slices.SortFunc(out.Nodes, func(x, y store.Node) int { return int(x.ID - y.ID) })
		out.Owners = a.owners
		return nil
	})
}

func (a *access) LeaveNode(ctx context.Context) error {
	return a.request(ctx, func() error { a.end(a.self); return nil })
}

func (a *access) LostSessions(context.Context, call.Instant, store.Session, int) ([]store.Session, error) {
	return nil, nil
}

func (a *access) Clock(ctx context.Context) (at time.Time, err error) {
	err = a.request(ctx, func() error { at = a.now(); return nil })
	return at, err
}

func (a *access) set(f func(a *access)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(a)
}

// world is a store and a bus in a bubble.
type world struct {
	*memory
	x *bus.Exchange
}

func newWorld() *world {
	return &world{&memory{nodes: make(map[store.NodeID]*registered), began: time.Now()}, bus.NewExchange()}
}

// node is a member with what it was told.
type node struct {
	*cluster.Member
	access *access
	clock  *clock.Clock

	mu      sync.Mutex
	changes []cluster.Change
	holds   store.PartitionSet // by what it was told
	slow    time.Duration      // that OnChange takes
	wrong   []string
}

// prepare is a node that has not been started.
func (w *world) prepare(t *testing.T, name string, set ...func(*access)) *node {
	t.Helper()
	n := &node{access: &access{memory: w.memory}, clock: new(clock.Clock)}
	for _, f := range set {
		f(n.access)
	}
	m, err := cluster.Join(t.Context(), cluster.Options{
		Store: n.access, Name: name, Lease: lease, Clock: n.clock, Logger: slog.New(slog.DiscardHandler),
		Bus: func(self store.NodeID, h bus.Handler) (bus.Bus, error) { return w.x.Join(self, h), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Member = m
	m.OnChange(n.change)
	return n
}

// start is a node that is there until the test ends, or it leaves.
func (w *world) start(t *testing.T, name string, set ...func(*access)) *node {
	t.Helper()
	n := w.prepare(t, name, set...)
	n.Start()
	synctest.Wait()
	return n
}

func (n *node) change(c cluster.Change) {
	n.mu.Lock()
	slow := n.slow
	n.mu.Unlock()
	time.Sleep(slow)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.holds&c.Gained != 0 {
		n.wrong = append(n.wrong, fmt.Sprintf("gained what it holds: %v", (n.holds&c.Gained).List()))
	}
	if c.Lost&^(n.holds|c.Gained) != 0 {
		n.wrong = append(n.wrong, fmt.Sprintf("lost what it does not hold: %v", (c.Lost&^n.holds).List()))
	}
	n.holds = n.holds&^c.Lost | c.Gained
	n.changes = append(n.changes, c)
}

// told gives the changes since it was last called.
func (n *node) told(t *testing.T) []cluster.Change {
	t.Helper()
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.wrong) > 0 {
		t.Fatalf("%s: %v", n.Name(), n.wrong)
	}
	out := n.changes
	n.changes = nil
	return out
}

func (n *node) leave(t *testing.T) {
	t.Helper()
	if err := n.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// kill has a node be gone without a word.
func (w *world) kill(t *testing.T, n *node) {
	t.Helper()
	n.access.set(func(a *access) { a.down = true })
	w.x.Cut(n.Self())
	if err := n.Leave(t.Context()); !errors.Is(err, errDown) {
		t.Fatalf("leaving without the database: %v", err)
	}
}

// shares checks that every partition has one holder among the nodes, who was
// told so, and that they hold so many each.
func shares(t *testing.T, nodes []*node, counts ...int) {
	t.Helper()
	synctest.Wait()
	var all store.PartitionSet
	var got []int
	for _, n := range nodes {
		held := n.Held()
		if all&held != 0 {
			t.Fatalf("%s holds what another holds too: %v", n.Name(), (all & held).List())
		}
		all |= held
		got = append(got, held.Len())
		n.mu.Lock()
		if n.holds != held {
			t.Fatalf("%s was told that it holds %v, and holds %v", n.Name(), n.holds.List(), held.List())
		}
		n.mu.Unlock()
		for p := range store.PartitionCount {
			if n.Holds(p) != held.Has(p) {
				t.Fatalf("%s: Holds(%d) is %v, Held says %v", n.Name(), p, n.Holds(p), held.List())
			}
		}
	}
	slices.Sort(got)
	slices.Sort(counts)
	if !slices.Equal(got, counts) {
		t.Fatalf("the nodes hold %v, want %v", got, counts)
	}
}
