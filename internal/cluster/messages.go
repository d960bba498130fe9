package cluster

import (
	"context"
	"errors"

	"github.com/ringback/ringback/internal/store"
)

// nudge is the kind of message by which members tell each other that a look
// at the store is worth while at once: that one has come, gone, or given
// something up.
const nudge = 0

// errNotStarted says that a member takes no questions yet.
var errNotStarted = errors.New("cluster: this node is still starting")

// Send sends a message to a node's handler of that kind; see [bus.Bus].
func (m *Member) Send(to store.NodeID, kind byte, data []byte) error {
	return m.bus.Send(to, frame(kind, data))
}

// Spread sends a message to all other nodes that lived at the latest look.
// One that does not reach a node counts as lost there.
func (m *Member) Spread(kind byte, data []byte) {
	framed := frame(kind, data)
	for _, n := range m.Nodes() {
		if n.ID == m.self {
			continue
		}
		if err := m.bus.Send(n.ID, framed); err != nil {
			m.logger.Debug("a message could not be sent to a node", "node", n.Name, "error", err)
		}
	}
}

// Ask has a node's handler of that kind answer.
func (m *Member) Ask(ctx context.Context, to store.NodeID, kind byte, data []byte) ([]byte, error) {
	return m.bus.Ask(ctx, to, frame(kind, data))
}

func frame(kind byte, data []byte) []byte {
	framed := make([]byte, 0, 1+len(data))
	return append(append(framed, kind), data...)
}

// ear is a Member as a bus.Handler.
type ear struct{ m *Member }

func (e ear) Receive(from store.NodeID, data []byte) {
	h, ok := e.handler(data)
	if !ok || h.receive == nil {
		e.Missed(from)
		return
	}
	h.receive(from, data[1:])
}

func (e ear) Answer(from store.NodeID, data []byte) ([]byte, error) {
	h, ok := e.handler(data)
	switch {
	case !e.m.hasStarted():
		return nil, errNotStarted
	case !ok || h.answer == nil:
		return nil, errors.New("cluster: this node does not know questions of that kind")
	}
	return h.answer(from, data[1:])
}

func (e ear) handler(data []byte) (handler, bool) {
	if !e.m.hasStarted() || len(data) == 0 {
		return handler{}, false
	}
	h, ok := e.m.handlers[data[0]]
	return h, ok
}

func (e ear) Missed(store.NodeID) {
	if e.m.hasStarted() {
		e.m.changes.add(Change{Missed: true})
	}
}

func (m *Member) hasStarted() bool {
	select {
	case <-m.started:
		return true
	default:
		return false
	}
}

// renewSoon has the lease renewed without waiting for its turn.
func (m *Member) renewSoon() {
	select {
	case m.nudged <- struct{}{}:
	default:
	}
}
