package server

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/bus/natsbus"
	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/cluster"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/engine"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/postgres"
	"github.com/ringback/ringback/internal/webhook"
)

// Kinds of messages between nodes.
const (
	kindEngine = 'e'
	kindWake   = 'd' // the store has deliveries of these endpoints
	kindApps   = 'a' // apps were changed
)

// followEvery is how often a node looks for events of others while somebody
// reads the feed, and reloadEvery for apps that changed.
const (
	followEvery = 200 * time.Millisecond
	reloadEvery = 10 * time.Second
)

// node is this server's part in a cluster.
type node struct {
	*cluster.Member
	store *postgres.Store
	stop  context.CancelFunc // of work
	work  sync.WaitGroup     // what follows other nodes
}

// Node is the name of this server among those that share its store; "" for the
// embedded store.
func (s *Server) Node() string {
	if s.node == nil {
		return ""
	}
	return s.node.Name()
}

// nodeName is the name of this node: that of the machine, unless the
// configuration has another.
func nodeName(cfg *config.Config) (string, error) {
	if cfg.Node != "" {
		return cfg.Node, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("this machine has no name: set node in the configuration: %w", err)
	}
	return name, nil
}

// joinCluster opens the shared store and joins the nodes that share it.
func (s *Server) joinCluster(ctx context.Context) error {
	name, err := nodeName(s.config)
	if err != nil {
		return err
	}
	db, err := postgres.Open(ctx, postgres.Options{URL: s.config.Store, Logger: s.options.Logger})
	if err != nil {
		return err
	}
	s.store = db
	member, err := cluster.Join(ctx, cluster.Options{
		Store: db, Name: name, Lease: s.config.Lease, Clock: s.clock, Logger: s.options.Logger,
		Bus: func(self store.NodeID, h bus.Handler) (bus.Bus, error) {
			if s.config.NATS == "" {
				return bus.NewExchange().Join(self, h), nil
			}
			files := s.config.NATSTLS
			return natsbus.Join(ctx, natsbus.Options{
				URL: s.config.NATS, Prefix: s.config.NATSPrefix, Name: name, Logger: s.options.Logger,
				Credentials: s.config.NATSCredentials, CA: files.CA, Cert: files.Cert, Key: files.Key,
			}, self, h)
		},
	})
	if err != nil {
		db.Close()
		return err
	}
	s.node = &node{Member: member, store: db}
	return nil
}

// startCluster begins to take part in the work, after everything that does it
// has started.
func (s *Server) startCluster() {
	s.node.Handle(kindEngine, s.engine.Receive, s.engine.Answer)
	s.node.Handle(kindWake, func(_ store.NodeID, data []byte) {
		var endpoints []store.EndpointID
		if json.Unmarshal(data, &endpoints) == nil {
			for _, id := range endpoints {
				s.deliverer.Wake(id)
			}
		}
	}, nil)
	s.node.Handle(kindApps, func(store.NodeID, []byte) { s.registry.Hint() }, nil)
	s.node.OnChange(s.clusterChanged)
	ctx, stop := context.WithCancel(context.Background())
	s.node.stop = stop
	s.node.work.Go(func() { s.feed.Follow(ctx, s.store.LastEventID, followEvery) })
	s.node.work.Go(func() { s.registry.Follow(ctx, reloadEvery) })
	s.node.Start()
}

// clusterReady says why this node cannot do its part.
func (s *Server) clusterReady() error {
	if n := len(s.node.Nodes()); s.config.NATS == "" && n > 1 {
		return fmt.Errorf("%d nodes share this store, but nats is not set here: set it to the same servers on all of them", n)
	}
	return s.node.Ready()
}

// Leave leaves the cluster. It waits for everything that follows what other
// nodes do.
func (n *node) Leave(ctx context.Context) error {
	if n.stop != nil {
		n.stop()
	}
	n.work.Wait()
	return n.Member.Leave(ctx)
}

// partitions says which deliveries are this node's; nil: all.
func (s *Server) partitions() webhook.Partitions {
	if s.node == nil {
		return nil
	}
	return s.node
}

// peers are the other nodes; nil: there are none.
func (s *Server) peers() engine.Peers {
	if s.node == nil {
		return nil
	}
	return peers{s.node, s}
}

// first reports whether this node does what one of them is to do; nil: there
// is no other.
func (s *Server) first() func() bool {
	if s.node == nil {
		return nil
	}
	return func() bool { return s.node.Holds(0) }
}

// tellOfApps tells other nodes that apps were changed here.
func (s *Server) tellOfApps() {
	if s.node != nil {
		s.node.Spread(kindApps, nil)
	}
}

// clusterChanged follows what becomes of this node's part.
func (s *Server) clusterChanged(c cluster.Change) {
	if c.Lost != 0 {
		s.engine.Lose(c.Lost)
		s.deliverer.Drop(c.Lost)
	}
	if c.Gained != 0 {
		s.deliverer.Gain(c.Gained)
		s.engine.Gain(c.Gained)
	}
	if c.Missed {
		s.deliverer.Gain(s.node.Held())
		s.registry.Hint()
	}
	if c.Missed || len(c.Left) > 0 {
		s.engine.Resync()
	}
	switch {
	case s.node.Leased():
		s.devices.Welcome()
	case c.CutOff:
		s.options.Logger.Error("this node has been cut off from the store for too long; its devices are sent to others")
		s.devices.SendAway()
	}
	if c.Fenced != nil {
		s.options.Logger.Error("other nodes have taken over the work of this one; it begins again", "error", c.Fenced)
		s.fence()
	}
}

// elsewhere wakes the nodes that hold deliveries which were made pending here.
func (s *Server) elsewhere(list []*store.Delivery) {
	if s.node == nil {
		return
	}
	byNode := make(map[store.NodeID][]store.EndpointID)
	for _, d := range list {
		holder := s.node.Holder(d.Key().Partition())
		if holder != 0 && holder != s.node.Self() && !slices.Contains(byNode[holder], d.Endpoint) {
			byNode[holder] = append(byNode[holder], d.Endpoint)
		}
	}
	for holder, endpoints := range byNode {
		data, err := json.Marshal(endpoints)
		if err == nil {
			err = s.node.Send(holder, kindWake, data)
		}
		if err != nil {
			s.options.Logger.Debug("a node was not told of redeliveries; it will find them", "error", err)
		}
	}
}

// peers lets the engine use the cluster.
type peers struct {
	*node
	server *Server
}

// Send implements engine.Peers.
func (p peers) Send(to store.NodeID, data []byte) {
	if err := p.Member.Send(to, kindEngine, data); err != nil {
		p.server.options.Logger.Debug("a node could not be told of something; it will look it up", "node", int64(to), "error", err)
	}
}

// Ask implements engine.Peers.
func (p peers) Ask(ctx context.Context, to store.NodeID, data []byte) ([]byte, error) {
	return p.Member.Ask(ctx, to, kindEngine, data)
}

// LostSessions implements engine.Peers.
func (p peers) LostSessions(ctx context.Context, before call.Instant, after store.Session, limit int) ([]store.Session, error) {
	return p.store.LostSessions(ctx, before, after, limit)
}
