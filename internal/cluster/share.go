package cluster

import (
	"math/bits"
	"slices"

	"github.com/ringback/ringback/internal/store"
)

// surplus is which partitions a node gives up so that others, who have too
// few, can take them. Every node comes to its own part by the same rule: one
// after the other, whoever holds most gives one, the oldest of several first,
// until all could have what is fair.
func surplus(m *store.Membership, self store.NodeID) store.PartitionSet {
	if len(m.Nodes) < 2 {
		return 0
	}
	held := make([]int, len(m.Nodes))
	missing := 0 // what others need to come to the fair share, rounded down
	for i, n := range m.Nodes {
		held[i] = m.Held(n.ID).Len()
		missing += max(0, store.PartitionCount/len(m.Nodes)-held[i])
	}
	for _, owner := range m.Owners {
		if !lives(m, owner) {
			missing-- // it is there to be taken
		}
	}
	give := 0
	for ; missing > 0; missing-- {
		i := slices.Index(held, slices.Max(held))
		held[i]--
		if m.Nodes[i].ID == self {
			give++
		}
	}
	mine := m.Held(self)
	var set store.PartitionSet
	for range give {
		p := bits.Len64(uint64(mine)) - 1
		mine &^= 1 << p
		set = set.With(p)
	}
	return set
}

// lives reports whether a node is among those of a membership.
func lives(m *store.Membership, id store.NodeID) bool {
	return slices.ContainsFunc(m.Nodes, func(n store.Node) bool { return n.ID == id })
}
