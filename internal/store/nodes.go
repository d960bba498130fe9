package store

import (
	"context"
	"fmt"
	"time"

	"github.com/ringback/ringback/internal/call"
)

// Nodes is how the nodes that share a store agree who is there and who minds
// what. A back end that one process has to itself does not implement it.
//
// A start of a node is an incarnation, with an ID of its own. It lives for as
// long as it renews its lease; then any other may end it, and from then on
// nothing that it writes goes through: CommitCall, CommitSessions, AddEvents,
// RecordAttempts and Redeliver of a Store on which JoinNode was called give
// ErrFenced. All times are those of the store's clock.
type Nodes interface {
	// JoinNode begins an incarnation of the node with that name, for the
	// whole Store, which can do it once. While another one of that name lives
	// it gives a *NodeTakenError. The lease, at least a second, is that of all
	// nodes: one that differs from what a living node has gives a
	// *LeaseError.
	JoinNode(ctx context.Context, name string, lease time.Duration) (NodeID, error)
	// RenewNode renews the lease, ends incarnations that have not renewed
	// theirs in time, gives up the given partitions, takes partitions that
	// nobody holds up to a fair share (PartitionCount over the number of living
	// nodes, rounded up), and tells how things stand then. ErrFenced: the
	// incarnation was ended. It never takes away what a living node holds.
	RenewNode(ctx context.Context, release PartitionSet) (Membership, error)
	// LeaveNode ends the incarnation: its partitions are free, its sessions
	// are lost, and its name can be used again.
	LeaveNode(ctx context.Context) error
	// LostSessions lists sessions that are not offline and whose node ended
	// before the instant, with that node, by app, user and ID, beginning after
	// the given one (its zero value: the first), at most limit.
	LostSessions(ctx context.Context, before call.Instant, after Session, limit int) ([]Session, error)
	// Clock reads the store's clock.
	Clock(ctx context.Context) (time.Time, error)
}

// NodeID is an incarnation of a node. IDs grow and are never used again; 0 is
// no node.
type NodeID int64

// Node is a living node.
type Node struct {
	ID       NodeID
	Name     string
	JoinedAt call.Instant
}

// Membership is how things stood at a renewal.
type Membership struct {
	At     time.Time // by the store's clock
	Nodes  []Node    // those that live, by ID, this one included
	Owners [PartitionCount]NodeID
}

// Held is the set of partitions that a node holds.
func (m *Membership) Held(id NodeID) PartitionSet {
	var set PartitionSet
	for p, owner := range m.Owners {
		if owner == id {
			set = set.With(p)
		}
	}
	return set
}

// NodeTakenError says that a living node has the name already.
type NodeTakenError struct {
	Name  string
	Until time.Duration // until its lease ends, unless it renews it
}

// Error says what to do.
func (e *NodeTakenError) Error() string {
	return fmt.Sprintf("store: another node is running under the name %q: give each node a name of its own (if that one has just died, its lease ends in %v)",
		e.Name, e.Until.Round(100*time.Millisecond))
}

// LeaseError says that the nodes of a store are configured with different
// leases.
type LeaseError struct{ Theirs, Ours time.Duration }

// Error says what to do.
func (e *LeaseError) Error() string {
	return fmt.Sprintf("store: the running nodes have a lease of %v, this one is configured with %v: all nodes need the same", e.Theirs, e.Ours)
}
