package cluster

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/clock"
	"github.com/ringback/ringback/internal/store"
)

// nodes is what a store knows of its nodes, in memory.
type nodes struct {
	mu     sync.Mutex
	last   store.NodeID
	lease  time.Duration
	live   map[store.NodeID]*record
	owners [store.PartitionCount]store.NodeID
	offset time.Duration // its clock minus the machine's
	faster time.Duration // what its clock gains in a second
	began  time.Time
}

type record struct {
	store.Node
	expires time.Time
}

// conn is one Store: the way of one node to it, which can be slow or broken.
type conn struct {
	*nodes
	mu       sync.Mutex
	self     store.NodeID
	there    time.Duration // until a request arrives
	back     time.Duration // until its answer does
	broken   error
	silent   bool // requests end with their context
	renewals int
	onRenew  func(release store.PartitionSet)
}

func newNodes() *nodes { return &nodes{live: make(map[store.NodeID]*record), began: time.Now()} }

func (n *nodes) now() time.Time {
	gained := time.Duration(time.Since(n.began).Seconds() * float64(n.faster))
	return time.Now().Add(n.offset + gained).Round(0)
}

// travel waits as the connection says.
func (c *conn) travel(ctx context.Context, back bool) error {
	c.mu.Lock()
	d, silent, broken := c.there, c.silent, c.broken
	if back {
		d = c.back
	}
	c.mu.Unlock()
	if broken != nil {
		return broken
	}
	var passed <-chan time.Time
	if !silent {
		passed = time.After(d)
	}
	select {
	case <-passed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// expire ends incarnations that have not renewed their leases.
func (n *nodes) expire(but store.NodeID) {
	for id, r := range n.live {
		if id != but && r.expires.Before(n.now()) {
			n.end(id)
		}
	}
}

func (n *nodes) end(id store.NodeID) {
	delete(n.live, id)
	for p, owner := range n.owners {
		if owner == id {
			n.owners[p] = 0
		}
	}
}

func (c *conn) JoinNode(ctx context.Context, name string, lease time.Duration) (store.NodeID, error) {
	if err := c.travel(ctx, false); err != nil {
		return 0, err
	}
	n := c.nodes
	n.mu.Lock()
	defer n.mu.Unlock()
	n.expire(0)
	for _, r := range n.live {
		if r.Name == name {
			return 0, &store.NodeTakenError{Name: name, Until: r.expires.Sub(n.now())}
		}
	}
	n.last++
	n.lease = lease
	n.live[n.last] = &record{store.Node{ID: n.last, Name: name}, n.now().Add(lease)}
	c.self = n.last
	return n.last, nil
}

func (c *conn) RenewNode(ctx context.Context, release store.PartitionSet) (store.Membership, error) {
	c.mu.Lock()
	c.renewals++
	onRenew := c.onRenew
	c.mu.Unlock()
	if onRenew != nil {
		onRenew(release)
	}
	if err := c.travel(ctx, false); err != nil {
		return store.Membership{}, err
	}
	m, err := c.renew(release)
	if err == nil {
		err = c.travel(ctx, true)
	}
	return m, err
}

func (c *conn) renew(release store.PartitionSet) (store.Membership, error) {
	n := c.nodes
	n.mu.Lock()
	defer n.mu.Unlock()
	self := n.live[c.self]
	if self == nil {
		return store.Membership{}, store.ErrFenced
	}
	self.expires = n.now().Add(n.lease)
	n.expire(c.self)
	share := (store.PartitionCount + len(n.live) - 1) / len(n.live)
	m := store.Membership{At: n.now()}
	held := 0
	for p, owner := range n.owners {
		if owner == c.self && release.Has(p) {
			n.owners[p] = 0
		} else if owner == c.self {
			held++
		}
	}
	for p, owner := range n.owners {
		if owner == 0 && !release.Has(p) && held < share {
			n.owners[p] = c.self
			held++
		}
	}
	for _, r := range n.live {
		m.Nodes = append(m.Nodes, r.Node)
	}
	slices.SortFunc(m.Nodes, func(a, b store.Node) int { return int(a.ID - b.ID) })
	m.Owners = n.owners
	return m, nil
}

func (c *conn) LeaveNode(ctx context.Context) error {
	if err := c.travel(ctx, false); err != nil {
		return err
	}
	c.nodes.mu.Lock()
	defer c.nodes.mu.Unlock()
	if c.live[c.self] == nil {
		return store.ErrFenced
	}
	c.end(c.self)
	return nil
}

func (c *conn) LostSessions(context.Context, call.Instant, store.Session, int) ([]store.Session, error) {
	return nil, errors.New("no test needs it")
}

func (c *conn) Clock(ctx context.Context) (time.Time, error) {
	if err := c.travel(ctx, false); err != nil {
		return time.Time{}, err
	}
	at := c.now()
	return at, c.travel(ctx, true)
}

// set changes what the connection does.
func (c *conn) set(f func(c *conn)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

// fixture is a store, a bus and members, in a bubble.
type fixture struct {
	t *testing.T
	*nodes
	exchange *bus.Exchange
}

// peer is a Member and what it was told.
type peer struct {
	*Member
	t       *testing.T
	conn    *conn
	clock   *clock.Clock
	mu      sync.Mutex
	changes []Change
	told    func(Change) // while it is being told
	left    bool
}

func bubble(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, &fixture{t: t, nodes: newNodes(), exchange: bus.NewExchange()})
	})
}

// prepare makes a peer that has yet to join.
func (f *fixture) prepare() *peer {
	return &peer{t: f.t, conn: &conn{nodes: f.nodes, there: time.Millisecond, back: time.Millisecond}, clock: new(clock.Clock)}
}

func (f *fixture) options(p *peer, name string) Options {
	return Options{
		Store: p.conn, Name: name, Clock: p.clock, Logger: slog.New(slog.DiscardHandler),
		Bus: func(self store.NodeID, h bus.Handler) (bus.Bus, error) { return f.exchange.Join(self, h), nil },
	}
}

// join has a node join and start. It leaves when the test ends.
func (f *fixture) join(name string) *peer {
	f.t.Helper()
	p := f.prepare()
	m, err := Join(f.t.Context(), f.options(p, name))
	if err != nil {
		f.t.Fatal(err)
	}
	p.Member = m
	m.OnChange(p.change)
	f.t.Cleanup(p.leave)
	m.Start()
	return p
}

func (p *peer) leave() {
	if p.left {
		return
	}
	p.left = true
	p.conn.set(func(c *conn) { c.broken, c.silent = nil, false })
	// The context of the test has ended when this is a clean-up.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Leave(ctx); err != nil {
		p.t.Error(err)
	}
}

func (p *peer) change(c Change) {
	p.mu.Lock()
	told := p.told
	p.mu.Unlock()
	if told != nil {
		told(c)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes = append(p.changes, c)
}

// during sets what happens while the peer is being told of a change.
func (p *peer) during(told func(Change)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = told
}

// take gives the changes since it was called before, as one.
func (p *peer) take() Change {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all Change
	for _, c := range p.changes {
		all.add(c)
	}
	p.changes = nil
	return all
}

// after lets time pass until everybody has come to rest.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
