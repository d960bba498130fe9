package cluster

import (
	"sync"

	"github.com/ringback/ringback/internal/store"
)

// changes is the queue of what is to be told to the functions of OnChange.
type changes struct {
	mu     sync.Mutex
	queue  []notice
	closed bool
	wake   chan struct{} // 1 when there is something to do
}

type notice struct {
	Change
	told chan struct{} // closed when every function knows
}

func (c Change) empty() bool {
	return c.Gained == 0 && c.Lost == 0 && len(c.Left) == 0 && !c.Missed && !c.CutOff && c.Fenced == nil
}

// add queues a change and gives what is closed when it has been told. A loss
// of messages is told with what waits to be told anyway.
func (c *changes) add(change Change) (told <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := notice{change, make(chan struct{})}
	switch only := (change.Missed && change.Gained|change.Lost == 0 && change.Left == nil && !change.CutOff && change.Fenced == nil); {
	case c.closed || change.empty():
		close(n.told)
		return n.told
	case only && len(c.queue) > 0:
		last := &c.queue[len(c.queue)-1]
		last.Missed = true
		return last.told
	}
	c.queue = append(c.queue, n)
	c.ring()
	return n.told
}

// close has the teller stop when it has told what is queued.
func (c *changes) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.ring()
}

func (c *changes) ring() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// next takes the first change; none is ready when ok is false.
func (c *changes) next() (n notice, ok, closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return n, false, c.closed
	}
	n = c.queue[0]
	c.queue = c.queue[1:]
	return n, true, false
}

// tell tells of changes until the queue is closed.
func (m *Member) tell() {
	for {
		n, ok, closed := m.changes.next()
		switch {
		case ok:
			for _, f := range m.onChange {
				f(n.Change)
			}
			close(n.told)
		case closed:
			return
		default:
			<-m.changes.wake
		}
	}
}

// gone lists the nodes that are in one list and not in a later one.
func gone(before []store.Node, now *view) []store.NodeID {
	var ids []store.NodeID
	for _, n := range before {
		if !now.alive[n.ID] {
			ids = append(ids, n.ID)
		}
	}
	return ids
}
