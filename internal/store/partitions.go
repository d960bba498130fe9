package store

import (
	"math/bits"

	"github.com/ringback/ringback/internal/call"
)

// PartitionCount is the number of parts into which calls and deliveries are
// divided, so that each has one node that minds its timers and makes its
// requests. It is the same for ever, for every store.
const PartitionCount = 64

// PartitionSet is a set of partitions: bit p stands for partition p.
type PartitionSet uint64

// AllPartitions is the set of a node that has the store to itself.
const AllPartitions = ^PartitionSet(0)

// Has reports whether a partition is in the set.
func (s PartitionSet) Has(p int) bool { return s>>p&1 == 1 }

// With gives the set with a partition in it.
func (s PartitionSet) With(p int) PartitionSet { return s | 1<<p }

// Len is the number of partitions in the set.
func (s PartitionSet) Len() int { return bits.OnesCount64(uint64(s)) }

// List gives the partitions of the set in their order.
func (s PartitionSet) List() []int {
	list := make([]int, 0, s.Len())
	for ; s != 0; s &= s - 1 {
		list = append(list, bits.TrailingZeros64(uint64(s)))
	}
	return list
}

// PartitionOf is the partition of a call: the last bits of its ID, which are
// random, so that whoever makes a call can choose.
func PartitionOf(id call.ID) int { return int(id % PartitionCount) }

// Partition is that of the call, or for an event that is not about a call the
// last bits of the microsecond in the event's ID.
func (k DeliveryKey) Partition() int {
	if k.Call != 0 {
		return PartitionOf(k.Call)
	}
	return int(uint64(k.Sequence) >> 10 % PartitionCount)
}
