package cluster

import (
	"context"
	"fmt"

	"github.com/ringback/ringback/internal/store"
)

// kindNudge is a message between Members: look at the store now, there may be
// partitions to take or to give.
const kindNudge = 0

// Connected reports whether messages pass between this node and the others.
func (m *Member) Connected() bool { return m.bus.Connected() == nil }

// Send passes data to the handler of that kind on another node; see
// bus.Bus.Send.
func (m *Member) Send(to store.NodeID, kind byte, data []byte) error {
	return m.bus.Send(to, frame(kind, data))
}

// Spread sends data to all other nodes. Those that it does not reach learn
// that they missed something.
func (m *Member) Spread(kind byte, data []byte) {
	framed := frame(kind, data)
	for _, n := range m.Nodes() {
		if n.ID != m.self {
			_ = m.bus.Send(n.ID, framed)
		}
	}
}

// Ask has another node's handler of that kind answer; see bus.Bus.Ask.
func (m *Member) Ask(ctx context.Context, to store.NodeID, kind byte, data []byte) ([]byte, error) {
	return m.bus.Ask(ctx, to, frame(kind, data))
}

// nudge has the others look at the store at once.
func (m *Member) nudge() { m.Spread(kindNudge, nil) }

func frame(kind byte, data []byte) []byte {
	framed := make([]byte, 1+len(data))
	framed[0] = kind
	copy(framed[1:], data)
	return framed
}

// inbound is a Member's bus.Handler.
type inbound struct{ m *Member }

// Receive passes a message to the handler of its kind. What comes before
// Start, or is of a kind that only newer nodes know, is missed.
func (in inbound) Receive(from store.NodeID, data []byte) {
	if len(data) == 0 {
		return
	}
	if data[0] == kindNudge {
		signal(in.m.nudged)
		return
	}
	if !in.m.started.Load() || in.m.handlers[data[0]].receive == nil {
		in.Missed(from)
		return
	}
	in.m.handlers[data[0]].receive(from, data[1:])
}

// Answer has the handler of its kind answer a question.
func (in inbound) Answer(from store.NodeID, data []byte) ([]byte, error) {
	if len(data) == 0 || !in.m.started.Load() || in.m.handlers[data[0]].answer == nil {
		return nil, fmt.Errorf("node %d does not answer that now", in.m.self)
	}
	return in.m.handlers[data[0]].answer(from, data[1:])
}

// Missed tells the handlers of changes to look at the store, whoever's
// messages it was.
func (in inbound) Missed(store.NodeID) { in.m.changes.add(Change{Missed: true}) }
