// Package cluster makes a node a member of those that share a store: it keeps
// the node's lease, says which partitions the node holds and who the others
// are, passes messages to them, and keeps the clock that all of them go by.
//
// The store decides; see [store.Nodes]. A member is careful on its side: by
// its own monotonic clock its lease ends before the store lets others take
// over, so at no moment two nodes think that they hold a partition.
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

// DefaultLease is the lease of a node whose Options have none.
const DefaultLease = 10 * time.Second

const (
	// renewals is how often a lease is renewed in its time.
	renewals = 4
	// margin is the part of a lease, one over it, that is given away because
	// clocks do not run equally fast and a look at one does not take no time.
	margin = 20
	// goodbye is the longest that a node which did not get in takes to leave.
	goodbye = 5 * time.Second
)

// Options are what a Member needs.
type Options struct {
	Store store.Nodes
	Name  string        // of the node, which no other has
	Lease time.Duration // at least a second; 0: DefaultLease
	Clock *clock.Clock  // is adjusted to the store's; nil: nobody's
	// Bus joins the bus under the ID that the node has got.
	Bus    func(self store.NodeID, h bus.Handler) (bus.Bus, error)
	Logger *slog.Logger // nil: the default one
}

// Change is what has become different for a node. Several things may have.
type Change struct {
	// Gained are partitions that the node holds from now on.
	Gained store.PartitionSet
	// Lost are partitions that it does not hold any more: because others are
	// to have them, or because its lease ran out.
	Lost store.PartitionSet
	// Left are nodes that are gone.
	Left []store.NodeID
	// Missed says that messages may have been lost, or that the node was not
	// up to date for a while: what matters is to be looked up in the store.
	Missed bool
	// CutOff says that the lease has been over for its whole length again:
	// devices are better off elsewhere.
	CutOff bool
	// Fenced says why the incarnation is over, for good. No other change
	// comes after it.
	Fenced error
}

// Member is this node among the others. Its methods may be called
// concurrently; all but Join, Ask and Leave are quick.
type Member struct {
	store  store.Nodes
	name   string
	self   store.NodeID
	lease  time.Duration
	clock  *clock.Clock
	bus    bus.Bus
	logger *slog.Logger

	base  time.Time     // that until counts from, by the monotonic clock
	held  atomic.Uint64 // partitions, if until has not passed
	until atomic.Int64  // when the lease ends, in nanoseconds from base
	view  atomic.Pointer[view]

	handlers map[byte]handler
	onChange []func(Change)

	started chan struct{}
	nudged  chan struct{} // 1: others have changed something
	leaving chan struct{} // closed when no renewal is to begin any more
	running sync.WaitGroup
	changes changes
	telling sync.WaitGroup

	mu     sync.Mutex
	status status
}

// view is how things stood at the latest renewal.
type view struct {
	store.Membership
	alive map[store.NodeID]bool
}

// status is what Ready tells.
type status struct {
	renewed time.Time // when the latest successful renewal was begun
	failure error     // of the latest renewal
	fenced  error
	left    bool
}

type handler struct {
	receive func(from store.NodeID, data []byte)
	answer  func(from store.NodeID, data []byte) ([]byte, error)
}

// Join makes this process a node. If a living node has the name, it waits for
// the end of that one's lease, because a node that died and starts again finds
// itself. From then on the lease is renewed until Leave; but nothing is held,
// and no message is taken, before Start.
func Join(ctx context.Context, o Options) (*Member, error) {
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	if o.Clock == nil {
		o.Clock = new(clock.Clock)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	m := &Member{
		store: o.Store, name: o.Name, lease: o.Lease, clock: o.Clock, logger: o.Logger, base: time.Now(),
		handlers: make(map[byte]handler), started: make(chan struct{}), nudged: make(chan struct{}, 1), leaving: make(chan struct{}),
		changes: changes{wake: make(chan struct{}, 1)},
	}
	m.view.Store(&view{})
	if err := m.setClock(ctx); err != nil {
		return nil, err
	}
	begun, err := m.join(ctx)
	if err != nil {
		return nil, err
	}
	m.extend(begun)
	m.bus, err = o.Bus(m.self, ear{m})
	if err != nil {
		leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
		defer cancel()
		if left := m.store.LeaveNode(leave); left != nil {
			o.Logger.Warn("the node could not be signed off; its name is free when its lease has ended", "node", m.name, "error", left)
		}
		return nil, err
	}
	m.handlers[nudge] = handler{receive: func(store.NodeID, []byte) { m.renewSoon() }}
	m.running.Go((&keeper{Member: m}).run)
	return m, nil
}

// join begins the incarnation, and says when the request for it was made.
func (m *Member) join(ctx context.Context) (begun time.Time, err error) {
	patience := time.Now().Add(m.lease + m.lease/renewals)
	for {
		begun = time.Now()
		m.self, err = m.store.JoinNode(ctx, m.name, m.lease)
		var taken *store.NodeTakenError
		if !errors.As(err, &taken) || time.Now().Add(taken.Until).After(patience) {
			break
		}
		m.logger.Info("a node of this name is registered; waiting whether it is a former start of this one, whose lease ends", "node", m.name, "dur", taken.Until)
		select {
		case <-time.After(max(taken.Until, m.lease/margin)):
		case <-ctx.Done():
			return begun, ctx.Err()
		}
	}
	if err != nil {
		return begun, fmt.Errorf("joining the other nodes: %w", err)
	}
	return begun, nil
}

// Handle says who takes the messages and the questions of a kind; either may
// be nil. Kinds begin at 1. It must not be called after Start.
func (m *Member) Handle(kind byte, receive func(from store.NodeID, data []byte), answer func(from store.NodeID, data []byte) ([]byte, error)) {
	if _, taken := m.handlers[kind]; taken {
		panic(fmt.Sprintf("cluster: messages of kind %d have a handler already", kind))
	}
	m.handlers[kind] = handler{receive, answer}
}

// OnChange has a function told of changes, in their order and one at a time.
// It may take its time: the lease is renewed meanwhile. Partitions that others
// are to have stay this node's, so that nobody else minds them, until every
// function has returned from being told that they are lost. It must not be
// called after Start.
func (m *Member) OnChange(f func(Change)) { m.onChange = append(m.onChange, f) }

// Start begins to hold partitions, to tell of changes and to take messages.
// The first change says that messages were missed, because those that came
// since Join were.
func (m *Member) Start() {
	m.telling.Go(m.tell)
	close(m.started)
	m.renewSoon()
}

// Self is this node.
func (m *Member) Self() store.NodeID { return m.self }

// Name is this node's name.
func (m *Member) Name() string { return m.name }

// Holds reports whether this node holds a partition at this moment.
func (m *Member) Holds(p int) bool { return m.Held().Has(p) }

// Held is what this node holds at this moment: nothing, when its lease is
// over.
func (m *Member) Held() store.PartitionSet {
	// In this order: what is held is taken away before the lease is extended
	// after it was over.
	until := m.until.Load()
	held := store.PartitionSet(m.held.Load())
	if int64(time.Since(m.base)) >= until {
		return 0
	}
	return held
}

// Holder is who held a partition at the latest look; 0: nobody known.
func (m *Member) Holder(p int) store.NodeID { return m.view.Load().Owners[p] }

// Alive reports whether a node lived at the latest look.
func (m *Member) Alive(id store.NodeID) bool { return m.view.Load().alive[id] }

// Nodes are those that lived at the latest look, by ID, this one included. It
// must not be changed.
func (m *Member) Nodes() []store.Node { return m.view.Load().Nodes }

// Connected reports whether this node has a connection to the others.
func (m *Member) Connected() bool { return m.bus.Connected() == nil }

// extend sets the end of the lease by a request that was begun at a time.
func (m *Member) extend(begun time.Time) {
	m.until.Store(int64(begun.Sub(m.base) + m.lease - m.lease/margin))
}
