package cluster

import (
	"slices"
	"sync"

	"github.com/ringback/ringback/internal/store"
)

// Change is what has become different for a node. What happens while its
// handlers are busy comes to them as one Change.
type Change struct {
	// Lost are partitions that this node holds no longer: they were given up,
	// or its lease ran out. Gained are those that it holds now. One that is in
	// both was lost first. By the time a handler hears of it, things may have
	// changed again, of which it will hear then; Member.Holds is what counts.
	Gained, Lost store.PartitionSet
	// Left are nodes that were there and are gone.
	Left []store.NodeID
	// Missed: messages may have been lost, or this node was without a lease.
	// What matters has to be looked up in the store.
	Missed bool
	// Fenced, if not nil, is the last: this incarnation was ended, and nothing
	// that it writes goes through. Everything has to be closed and begun again.
	Fenced error
	// CutOff: the lease has been over for as long as it lasts. Devices are
	// better off with another node.
	CutOff bool
}

// add puts what happened later to a change.
func (c *Change) add(d Change) {
	c.Gained = c.Gained&^d.Lost | d.Gained
	c.Lost |= d.Lost
	for _, id := range d.Left {
		if !slices.Contains(c.Left, id) {
			c.Left = append(c.Left, id)
		}
	}
	c.Missed = c.Missed || d.Missed
	c.CutOff = c.CutOff || d.CutOff
	if c.Fenced == nil {
		c.Fenced = d.Fenced
	}
}

// changes passes changes on, one at a time.
type changes struct {
	mu      sync.Mutex
	next    Change
	added   uint64 // number of the last change in next
	taken   uint64 // up to which changes were taken by tell
	told    uint64 // up to which all handlers have returned
	waiting chan struct{}
	done    chan struct{} // has an item after each that was told
}

func newChanges() *changes {
	return &changes{waiting: make(chan struct{}, 1), done: make(chan struct{}, 1)}
}

// add queues a change.
func (c *changes) add(d Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next.add(d)
	c.added++
	signal(c.waiting)
}

// last is the number of the change that was added last.
func (c *changes) last() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.added
}

// wasTold reports whether all handlers have returned from a change.
func (c *changes) wasTold(number uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told >= number
}

// tell passes on what is queued, until stop is closed and nothing is.
func (c *changes) tell(stop <-chan struct{}, handlers []func(Change)) {
	for {
		select {
		case <-c.waiting:
			c.tellNext(handlers)
		case <-stop:
			c.tellNext(handlers)
			return
		}
	}
}

func (c *changes) tellNext(handlers []func(Change)) {
	c.mu.Lock()
	d, number := c.next, c.added
	fresh := number > c.taken
	c.next, c.taken = Change{}, number
	c.mu.Unlock()
	if !fresh {
		return
	}
	for _, h := range handlers {
		h(d)
	}
	c.mu.Lock()
	c.told = number
	c.mu.Unlock()
	signal(c.done)
}

// signal leaves an item in a channel of one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
