// Package cluster keeps a node's place among the nodes that share a store: its
// lease, the partitions that it holds, who else is there, and the clock.
//
// The store decides who holds what; a [Member] asks it every quarter of a
// lease. A node that has not heard from the store for a whole lease, by its own
// monotonic clock and counted from before it asked, holds nothing any more,
// which is before the store gives its part to others.
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

// MaxClockError is how far the machine's clock may be from the store's before
// a node says that it is not ready. Instants are right all the same.
const MaxClockError = time.Second

// Options configure a Member. All but Alone and Clock are needed.
type Options struct {
	Store store.Nodes
	Name  string        // of the node; unique among those that live
	Lease time.Duration // the same for all nodes
	Clock *clock.Clock  // is kept with that of the store; nil: nobody needs it
	// Bus joins the bus, once the node has its ID.
	Bus    func(self store.NodeID, h bus.Handler) (bus.Bus, error)
	Alone  bool // the bus reaches no other node, so there must be none
	Logger *slog.Logger
}

// Change is what has become of a node's part. Several may have come together.
type Change struct {
	Gained store.PartitionSet // held from now on
	Lost   store.PartitionSet // no longer held; others may hold them once OnChange has returned
	Left   []store.NodeID     // nodes that are gone
	// Missed: messages of others may have been lost, or this node was not
	// heard of for a while: what is in memory may be behind the store.
	Missed bool
	// CutOff: the store has not been heard of for two leases.
	CutOff bool
	// Fenced: others have ended this incarnation. It is the last Change; all
	// that is in memory is worthless, and the node must join anew.
	Fenced error
}

func (c *Change) empty() bool {
	return c.Gained == 0 && c.Lost == 0 && len(c.Left) == 0 && !c.Missed && !c.CutOff && c.Fenced == nil
}

// Member is this node among the others. Handle and OnChange come before Start;
// the other methods may be called concurrently.
type Member struct {
	Options
	self    store.NodeID
	bus     bus.Bus
	epoch   time.Time // of the monotonic clock
	receive map[byte]func(from store.NodeID, data []byte)
	answer  map[byte]func(from store.NodeID, data []byte) ([]byte, error)
	changed func(Change)

	held  atomic.Uint64 // a PartitionSet, as long as the lease runs
	until atomic.Int64  // when the lease ends, on the monotonic clock
	view  atomic.Pointer[view]

	kick   chan struct{} // asks for a renewal at once
	missed atomic.Bool
	stop   context.CancelFunc
	ctx    context.Context
	work   sync.WaitGroup

	mu      sync.Mutex
	trouble error // of the last renewal; nil: it went well
	queue   []queued
	queued  chan struct{}
}

// view is a Membership that is made for looking things up.
type view struct {
	store.Membership
	alive map[store.NodeID]bool
}

// queued is a Change that waits to be told.
type queued struct {
	Change
	done chan struct{} // closed when it has been told; may be nil
}

// kindKick asks other nodes to look at once who is there.
const kindKick = 0

// Join begins an incarnation of the node. Errors are those of
// [store.Nodes.JoinNode] and of the bus, worded for operators.
func Join(ctx context.Context, o Options) (*Member, error) {
	m := &Member{
		Options: o, epoch: time.Now(), kick: make(chan struct{}, 1), queued: make(chan struct{}, 1),
		receive: make(map[byte]func(store.NodeID, []byte)), answer: make(map[byte]func(store.NodeID, []byte) ([]byte, error)),
	}
	if m.Clock == nil {
		m.Clock = new(clock.Clock)
	}
	m.view.Store(&view{alive: map[store.NodeID]bool{}})
	if err := m.readClock(ctx); err != nil {
		return nil, fmt.Errorf("join the cluster: reading the store's clock: %w", err)
	}
	self, err := o.Store.JoinNode(ctx, o.Name, o.Lease)
	if err != nil {
		return nil, fmt.Errorf("join the cluster as %q: %w", o.Name, err)
	}
	m.self = self
	if m.bus, err = o.Bus(self, handler{m}); err != nil {
		return nil, fmt.Errorf("join the cluster: %w", errors.Join(err, m.Store.LeaveNode(ctx)))
	}
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.receive[kindKick] = func(store.NodeID, []byte) { m.hurry() }
	return m, nil
}

// Handle sets who takes messages of a kind, which is not 0, and who answers
// questions of it; either may be nil.
func (m *Member) Handle(kind byte, receive func(from store.NodeID, data []byte), answer func(from store.NodeID, data []byte) ([]byte, error)) {
	m.receive[kind], m.answer[kind] = receive, answer
}

// OnChange sets who is told of changes: in their order, one at a time. The node
// keeps its lease while that takes its time.
func (m *Member) OnChange(f func(Change)) { m.changed = f }

// Start begins to take part.
func (m *Member) Start() {
	m.work.Go(m.run)
	m.work.Go(m.tell)
}

// Leave gives everything up: others take over at once.
func (m *Member) Leave(ctx context.Context) error {
	m.stop()
	m.work.Wait()
	m.held.Store(0)
	err := m.Store.LeaveNode(ctx)
	if errors.Is(err, store.ErrFenced) {
		err = nil // others have done it
	}
	m.Spread(kindKick, nil)
	return errors.Join(err, m.bus.Close())
}

// Self is this incarnation.
func (m *Member) Self() store.NodeID { return m.self }

// Held is the set of partitions that this node holds at this moment.
func (m *Member) Held() store.PartitionSet {
	if m.mono() >= time.Duration(m.until.Load()) {
		return 0
	}
	return store.PartitionSet(m.held.Load())
}

// Holds reports whether this node holds a partition at this moment.
func (m *Member) Holds(p int) bool { return m.Held().Has(p) }

// Holder is who held a partition at the last look; 0: nobody who lives.
func (m *Member) Holder(p int) store.NodeID {
	if m.Holds(p) {
		return m.self
	}
	v := m.view.Load()
	if owner := v.Owners[p]; owner != m.self && v.alive[owner] {
		return owner
	}
	return 0
}

// Alive reports whether a node lived at the last look.
func (m *Member) Alive(id store.NodeID) bool { return m.view.Load().alive[id] }

// Nodes lists the nodes that lived at the last look, this one included, by
// ID.
func (m *Member) Nodes() []store.Node { return m.view.Load().Nodes }

// Connected is nil, or says why others cannot be reached.
func (m *Member) Connected() error { return m.bus.Connected() }

// Send passes a message to whoever handles its kind on another node.
func (m *Member) Send(to store.NodeID, kind byte, data []byte) error {
	return m.bus.Send(to, frame(kind, data))
}

// Spread sends a message to all other nodes, as far as they can be reached.
func (m *Member) Spread(kind byte, data []byte) {
	f := frame(kind, data)
	for _, n := range m.Nodes() {
		if n.ID == m.self {
			continue
		}
		if err := m.bus.Send(n.ID, f); err != nil {
			m.Logger.Debug("a node could not be told of something", "node", int64(n.ID), "error", err)
		}
	}
}

// Ask asks whoever answers questions of a kind on another node.
func (m *Member) Ask(ctx context.Context, to store.NodeID, kind byte, data []byte) ([]byte, error) {
	return m.bus.Ask(ctx, to, frame(kind, data))
}

func frame(kind byte, data []byte) []byte {
	return append(append(make([]byte, 0, 1+len(data)), kind), data...)
}

// handler takes what comes by the bus.
type handler struct{ m *Member }

// Receive implements bus.Handler.
func (h handler) Receive(from store.NodeID, data []byte) {
	if len(data) > 0 && h.m.receive[data[0]] != nil {
		h.m.receive[data[0]](from, data[1:])
	}
}

// Answer implements bus.Handler.
func (h handler) Answer(from store.NodeID, data []byte) ([]byte, error) {
	if len(data) == 0 || h.m.answer[data[0]] == nil {
		return nil, errors.New("this node does not answer such questions")
	}
	return h.m.answer[data[0]](from, data[1:])
}

// Missed implements bus.Handler.
func (h handler) Missed(store.NodeID) {
	if !h.m.missed.Swap(true) {
		h.m.hurry()
	}
}

// Ready is nil, or says why this node cannot do its part, and what to do.
func (m *Member) Ready() error {
	m.mu.Lock()
	trouble := m.trouble
	m.mu.Unlock()
	switch {
	case trouble != nil:
		return fmt.Errorf("the lease of this node could not be renewed: %w", trouble)
	case m.mono() >= time.Duration(m.until.Load()):
		return errors.New("this node has not yet heard from the store that it takes part")
	case m.Alone && len(m.Nodes()) > 1:
		return fmt.Errorf("%d nodes share this store, but nats is not set here: set it to the same servers on all of them", len(m.Nodes()))
	}
	if err := m.bus.Connected(); err != nil {
		return fmt.Errorf("other nodes cannot be reached, so their users do not ring here at once: %w", err)
	}
	return nil
}

// ClockError says by how much the machine's clock is ahead of the store's when
// that is more than MaxClockError; else it is nil.
func (m *Member) ClockError() error {
	ahead := -m.Clock.Offset()
	if ahead.Abs() <= MaxClockError {
		return nil
	}
	word := "ahead of"
	if ahead < 0 {
		word = "behind"
	}
	return fmt.Errorf("the clock of this machine is %v %s that of the store: keep both with NTP", ahead.Abs().Round(time.Millisecond), word)
}
