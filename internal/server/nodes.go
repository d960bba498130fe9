package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// nodes lists the nodes for operators, as this one sees them.
func (s *Server) nodes() adminapi.Nodes {
	out := adminapi.Nodes{AtMS: int64(call.At(s.clock.Now())), Clustered: s.node != nil, Partitions: store.PartitionCount, Bus: adminapi.Bus{State: "none"}}
	if s.node == nil {
		name, err := nodeName(s.config)
		if err != nil {
			name = "this node" // it needs none
		}
		out.Items = []adminapi.Node{{Name: name, Self: true, Partitions: store.PartitionCount, JoinedAtMS: int64(s.began)}}
		return out
	}
	held := s.held()
	for _, n := range s.node.Nodes() {
		out.Items = append(out.Items, adminapi.Node{
			Name: n.Name, Self: n.ID == s.node.Self(), Partitions: held[n.ID], JoinedAtMS: int64(n.JoinedAt),
		})
	}
	out.Unheld = held[0]
	if err := s.clusterReady(); err != nil {
		out.Trouble = err.Error()
	}
	if s.config.NATS != "" {
		out.Bus.State = "connected"
		if err := s.node.Bus(); err != nil {
			out.Bus = adminapi.Bus{State: "disconnected", Trouble: err.Error()}
		}
	}
	return out
}

// held counts the partitions of each node; those of 0 are nobody's, as are
// this one's when its lease has run out.
func (s *Server) held() map[store.NodeID]int {
	counts, mine := make(map[store.NodeID]int), s.node.Held()
	for p := range store.PartitionCount {
		holder := s.node.Holder(p)
		if holder == s.node.Self() && !mine.Has(p) {
			holder = 0
		}
		counts[holder]++
	}
	return counts
}

// registerNodes adds the metrics of a node among others.
func (m *metrics) registerNodes(s *Server) {
	m.registry.MustRegister(
		gauge("ringback_nodes", "Nodes that share the store and live, this one included.", func() int { return len(s.node.Nodes()) }),
		gauge("ringback_partitions_held", "Partitions whose timers and callbacks this node minds.", func() int { return s.node.Held().Len() }),
	)
	if s.config.NATS != "" {
		m.registry.MustRegister(gauge("ringback_bus_connected", "1 while this node hears of the others at once, else 0.", func() int {
			if s.node.Bus() != nil {
				return 0
			}
			return 1
		}))
	}
}

// gauge is a metric that is read when it is asked for.
func gauge(name, help string, read func() int) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(read()) })
}
