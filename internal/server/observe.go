package server

import (
	"context"

	"github.com/ringback/ringback/internal/engine"
	"github.com/ringback/ringback/internal/stats"
	"github.com/ringback/ringback/internal/webhook"
)

// moved notes what happened to a call.
func (s *Server) moved(t engine.Transition) {
	s.metrics.transition(t)
	switch {
	case t.Before == nil:
		s.stats.Created()
	case t.Before.Live() && !t.After.Live():
		s.stats.Ended(t.After.Outcome())
	default:
		s.stats.Changed()
	}
}

// attempted notes an attempt to deliver a callback.
func (s *Server) attempted(o webhook.Observation) {
	s.metrics.attempt(o)
	s.stats.Attempt(o.Result == webhook.ResultDelivered, o.Latency)
}

// gauges reads what is open. Before everything is, there is nothing.
func (s *Server) gauges(ctx context.Context) stats.Gauges {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	g := stats.Gauges{
		LiveCalls: s.engine.LiveCalls(), Connections: s.devices.Connections(), PresentUsers: s.engine.PresentUsers(),
	}
	for _, e := range s.deliverer.Stats(ctx) {
		g.Backlog += e.Backlog
		g.InFlight += e.InFlight
		if e.Oldest != 0 && (g.Oldest == 0 || e.Oldest < g.Oldest) {
			g.Oldest = e.Oldest
		}
	}
	return g
}
