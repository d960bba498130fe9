package bus_test

import (
	"testing"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/bus/bustest"
	"github.com/ringback/ringback/internal/store"
)

func TestExchange(t *testing.T) {
	bustest.Run(t, func(*testing.T) bustest.Network {
		return &network{Exchange: bus.NewExchange(), nodes: make(map[store.NodeID]bus.Bus)}
	})
}

type network struct {
	*bus.Exchange
	nodes map[store.NodeID]bus.Bus
}

func (n *network) Join(_ *testing.T, self store.NodeID, h bus.Handler) bus.Bus {
	n.nodes[self] = n.Exchange.Join(self, h)
	return n.nodes[self]
}

func (n *network) Cut(_ *testing.T, id store.NodeID)  { n.Exchange.Cut(id) }
func (n *network) Heal(_ *testing.T, id store.NodeID) { n.Exchange.Heal(id) }

func (n *network) Lose(t *testing.T, from, to store.NodeID) {
	n.Drop(func(f, t store.NodeID, _ []byte) bool { return f == from && t == to })
	defer n.Drop(nil)
	if err := n.nodes[from].Send(to, []byte("lost")); err != nil {
		t.Fatal(err)
	}
}

func (*network) Settle(*testing.T, store.NodeID, store.NodeID) {}
