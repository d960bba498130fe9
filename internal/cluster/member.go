// Package cluster is a node's part among the nodes that share a store: its
// lease, the partitions that it holds, who else is there, and messages to
// them.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/clock"
	"github.com/ringback/ringback/internal/store"
)

// DefaultLease is how long a node counts as living after it was last heard of.
const DefaultLease = 10 * time.Second

// Options say how to join.
type Options struct {
	Store store.Nodes
	// Name is this node's, and no other's at the same time.
	Name string
	// Lease is the same for all nodes, at least a second; 0: DefaultLease.
	Lease time.Duration
	// Clock is kept at the store's time. It may be nil.
	Clock *clock.Clock
	// Bus connects the node to the others.
	Bus    func(self store.NodeID, h bus.Handler) (bus.Bus, error)
	Logger *slog.Logger
}

// Member is this node among the others. Its methods may be called
// concurrently, but for Handle and OnChange, which come before Start, and
// Start and Leave, each of which is called at most once.
//
// The lease is renewed from Join on, so Start should follow soon: until then
// messages are not taken, and partitions that are held are not worked on.
type Member struct {
	opts Options
	self store.NodeID
	bus  bus.Bus

	base   time.Time // to which until and now() refer
	until  atomic.Int64
	held   atomic.Uint64 // store.PartitionSet, as if the lease lasted for ever
	look   atomic.Pointer[store.Membership]
	offset atomic.Int64 // the store's clock minus the machine's

	lease    lease // of the goroutine that renews
	changes  *changes
	started  atomic.Bool
	handlers [256]handler // by kind; fixed at Start
	onChange []func(Change)
	nudged   chan struct{} // another node has something to offer

	state struct {
		sync.Mutex
		fenced error
		failed error // of the last renewal
	}

	stop     context.CancelFunc
	renewing sync.WaitGroup
	telling  sync.WaitGroup
	stopTell chan struct{}
}

// handler is who takes messages and questions of a kind.
type handler struct {
	receive func(from store.NodeID, data []byte)
	answer  func(from store.NodeID, data []byte) ([]byte, error)
}

// Join begins an incarnation of the node and takes partitions that nobody
// holds. If an incarnation of the same name has just ended without leaving,
// it waits until the lease of that one is over. Errors: a
// *store.NodeTakenError, a *store.LeaseError, others of the store or the bus.
func Join(ctx context.Context, opts Options) (*Member, error) {
	if opts.Lease == 0 {
		opts.Lease = DefaultLease
	}
	m := &Member{
		opts: opts, base: time.Now(), changes: newChanges(),
		nudged: make(chan struct{}, 1), stopTell: make(chan struct{}),
	}
	var err error
	if err = m.setClock(ctx); err != nil {
		return nil, fmt.Errorf("cluster: read the store's clock: %w", err)
	}
	if m.self, err = m.join(ctx); err != nil {
		return nil, fmt.Errorf("cluster: join: %w", err)
	}
	if err = m.connect(ctx); err != nil {
		leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.opts.Lease)
		defer cancel()
		if left := m.opts.Store.LeaveNode(leaving); left != nil {
			err = errors.Join(err, fmt.Errorf("cluster: leave: %w", left))
		}
		return nil, err
	}
	return m, nil
}

// join begins an incarnation, if need be after the lease of a former one.
func (m *Member) join(ctx context.Context) (store.NodeID, error) {
	var waited bool
	for {
		sent := m.now()
		id, err := m.opts.Store.JoinNode(ctx, m.opts.Name, m.opts.Lease)
		var taken *store.NodeTakenError
		switch {
		case err == nil:
			m.until.Store(int64(m.ends(sent)))
			return id, nil
		case !errors.As(err, &taken) || waited:
			return 0, err
		}
		waited = true // if it renews its lease meanwhile, it lives
		m.opts.Logger.Info("a node with the name of this one has not left; waiting until its lease has ended", "name", m.opts.Name, "dur", taken.Until)
		select {
		case <-ctx.Done():
			return 0, err
		case <-time.After(min(taken.Until, m.opts.Lease) + m.opts.Lease/20):
		}
	}
}

// connect joins the bus and renews the lease for the first time.
func (m *Member) connect(ctx context.Context) error {
	var err error
	if m.bus, err = m.opts.Bus(m.self, inbound{m}); err != nil {
		return fmt.Errorf("cluster: join the bus: %w", err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	m.stop = stop
	first, cancel := context.WithTimeout(ctx, m.opts.Lease)
	defer cancel()
	r := m.renewal(first, 0)
	if r.err == nil {
		m.renewed(&r)
	} else {
		stop()
		return errors.Join(fmt.Errorf("cluster: renew the lease: %w", r.err), m.bus.Close())
	}
	m.renewing.Go(func() { m.renewAlways(ctx) })
	return nil
}

// now is the time since base, by a clock that nobody sets and that goes on
// while the process is stopped.
func (m *Member) now() time.Duration { return time.Since(m.base) }

// Self is the ID of this incarnation.
func (m *Member) Self() store.NodeID { return m.self }

// Name is that of the node, in every incarnation.
func (m *Member) Name() string { return m.opts.Name }

// Held is the set of partitions that this node holds at this moment, by a
// lease that has not run out. It costs next to nothing.
func (m *Member) Held() store.PartitionSet {
	// The clock is read first: what is found over here, renewed finds over.
	now := m.now()
	if now >= time.Duration(m.until.Load()) {
		return 0
	}
	return store.PartitionSet(m.held.Load())
}

// Holds reports whether a partition is in Held.
func (m *Member) Holds(p int) bool { return m.Held().Has(p) }

// Holder is who holds a partition, by the latest look at the store; 0: nobody.
func (m *Member) Holder(p int) store.NodeID {
	look := m.look.Load()
	owner := look.Owners[p]
	switch {
	case owner == m.self && !store.PartitionSet(m.held.Load()).Has(p):
		return 0 // it is being given up
	case !lives(look, owner):
		return 0
	}
	return owner
}

// Alive reports whether a node was there at the latest look at the store.
func (m *Member) Alive(id store.NodeID) bool { return lives(m.look.Load(), id) }

// Nodes are those that were there at the latest look, by ID, this one
// included. The caller must not change them.
func (m *Member) Nodes() []store.Node { return m.look.Load().Nodes }

// OnChange adds a handler of changes, before Start. Handlers are called in the
// order in which they were added, with no lock held, for one change at a time,
// the first of which has the partitions that are held at Start. A partition is
// given up for others only when all have returned from the change in which it
// was Lost. They must not wait for Leave.
func (m *Member) OnChange(f func(Change)) { m.onChange = append(m.onChange, f) }

// Handle sets who takes messages and questions of a kind, from 1, before
// Start. Either may be nil. See bus.Handler.
func (m *Member) Handle(kind byte, receive func(from store.NodeID, data []byte), answer func(from store.NodeID, data []byte) ([]byte, error)) {
	m.handlers[kind] = handler{receive, answer}
}

// Start begins to pass on messages and changes.
func (m *Member) Start() {
	m.started.Store(true)
	m.telling.Go(func() { m.changes.tell(m.stopTell, m.onChange) })
}

// Bus is nil while messages pass between this node and the others. Otherwise it
// says what is wrong and what to do. The node does its part all the same: what
// it does not hear it looks up, only later.
func (m *Member) Bus() error {
	if err := m.bus.Connected(); err != nil {
		return fmt.Errorf("cluster: this node does not hear the others, so users on different nodes ring each other late: %w", err)
	}
	return nil
}

// Ready is nil when this node has its lease and agrees with the store about the
// time. Otherwise it says what is wrong and what to do.
func (m *Member) Ready() error {
	m.state.Lock()
	fenced, failed := m.state.fenced, m.state.failed
	m.state.Unlock()
	over := m.now() - time.Duration(m.until.Load())
	switch {
	case fenced != nil:
		return fmt.Errorf("cluster: %w; this node begins again", fenced)
	case over >= 0 && failed != nil:
		return fmt.Errorf("cluster: this node's lease of %v ended %v ago, and it leaves all work to others, because renewing it fails: check that the store can be reached: %w",
			m.opts.Lease, over.Round(100*time.Millisecond), failed)
	case over >= 0:
		return fmt.Errorf("cluster: this node's lease of %v ended %v ago, and it leaves all work to others until it is renewed: the process was stopped, or the store does not answer",
			m.opts.Lease, over.Round(100*time.Millisecond))
	}
	return m.checkClock()
}

// Leave ends the incarnation: handlers are told that all is lost, others take
// over, and the bus is closed. Until the context ends it waits for the
// handlers; then it goes on without them.
func (m *Member) Leave(ctx context.Context) error {
	m.stop()
	m.renewing.Wait()
	if held := store.PartitionSet(m.held.Swap(0)); held != 0 {
		m.changes.add(Change{Lost: held})
	}
	m.until.Store(0)
	close(m.stopTell)
	told := make(chan struct{})
	go func() { m.telling.Wait(); close(told) }()
	var errs []error
	select {
	case <-told:
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("cluster: leave: what this node did had not ended: %w", ctx.Err()))
	}
	// The store must hear of it even so: it is all that lets others begin.
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.opts.Lease/2)
	defer cancel()
	if err := m.opts.Store.LeaveNode(leaving); err != nil && !errors.Is(err, store.ErrFenced) {
		errs = append(errs, fmt.Errorf("cluster: leave: %w", err))
	}
	m.nudge()
	if err := m.bus.Close(); err != nil {
		errs = append(errs, fmt.Errorf("cluster: close the bus: %w", err))
	}
	return errors.Join(errs...)
}
