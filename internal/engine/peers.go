package engine

import (
	"context"
	"slices"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/wire"
)

// Peers are the other nodes that share the store, and this node's part among
// them. Its methods are cheap and do not block, but for Ask and LostSessions.
//
// What they say of others may be behind; what follows from that is put right:
// every commit is compared with what is stored, and news that got lost is
// looked up.
type Peers interface {
	// Self is this node.
	Self() store.NodeID
	// Holds reports whether this node holds a partition at this moment, with
	// a lease that has not run out.
	Holds(partition int) bool
	// Held is the set of those partitions.
	Held() store.PartitionSet
	// Holder is who holds a partition; 0: not known.
	Holder(partition int) store.NodeID
	// Alive reports whether a node lives.
	Alive(id store.NodeID) bool
	// Send has another node's engine Receive data, in the order of sending.
	// It may get lost.
	Send(to store.NodeID, data []byte)
	// Ask has another node's engine Answer.
	Ask(ctx context.Context, to store.NodeID, data []byte) ([]byte, error)
	// LostSessions: see store.Nodes.
	LostSessions(ctx context.Context, before call.Instant, after store.Session, limit int) ([]store.Session, error)
}

// holds reports whether this node minds the timers and the deliveries of a
// call.
func (e *Engine) holds(id call.ID) bool {
	return e.Peers == nil || e.Peers.Holds(store.PartitionOf(id))
}

// minds reports whether a live call is to be kept in memory: this node holds
// it, or one of its users may be told of it here.
func (e *Engine) minds(c *call.Call) bool { return c.Live() && (e.holds(c.ID) || e.watched(c)) }

// watched reports whether a user who is active in a call has a session here.
func (e *Engine) watched(c *call.Call) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range c.Users {
		if e.users[userKey{c.App, c.Users[i].ID}] != nil && c.Active(c.Users[i].ID) {
			return true
		}
	}
	return false
}

// newID makes the ID of a call, in a partition that this node holds, so that
// its timers and deliveries need no other.
func (e *Engine) newID(at call.Instant) call.ID {
	id := call.NewID(at, uint32(random()))
	if e.Peers == nil {
		return id
	}
	held := e.Peers.Held().List()
	if len(held) == 0 {
		return id
	}
	part := held[random()%uint64(len(held))]
	return id - call.ID(store.PartitionOf(id)) + call.ID(part)
}

// audience is which other nodes have devices of a call's users.
type audience struct {
	known bool // false: to be read
	nodes []store.NodeID
}

func (a *audience) add(self store.NodeID, nodes ...store.NodeID) {
	for _, id := range nodes {
		if id != 0 && id != self && !slices.Contains(a.nodes, id) {
			a.nodes = append(a.nodes, id)
		}
	}
}

// hear makes sure that it is known which nodes have devices of a call's users.
// It is read after the commit that is to be told, so a device that has come
// since either is found here, or finds that commit.
func (e *Engine) hear(c *entry) {
	if c.audience.known {
		return
	}
	users := make([]call.UserID, len(c.rec.Call.Users))
	for i := range c.rec.Call.Users {
		users[i] = c.rec.Call.Users[i].ID
	}
	open, err := e.Store.OpenSessionsOf(context.WithoutCancel(e.ctx), c.rec.Call.App, users)
	if err != nil {
		e.logRetry("it could not be read which nodes have devices of a call; they learn of it later", "call_id", c.rec.Call.ID.String(), "error", err)
		return
	}
	c.audience.known = true
	e.addHolders(c, open)
}

func (e *Engine) addHolders(c *entry, open []store.Session) {
	for i := range open {
		c.audience.add(e.Peers.Self(), open[i].Node)
	}
}

// spread tells other nodes what happened to a call that is held. Only the
// node that holds the call gets what is to be delivered.
func (e *Engine) spread(c *entry, n news, deliver []*store.Event) {
	e.hear(c)
	n.Nodes = append([]store.NodeID{e.Peers.Self()}, c.audience.nodes...)
	n.Call, n.Version, n.Commit, n.Sequences = c.rec.Call.ID, c.rec.Call.Version, c.rec.CommitID, c.rec.Sequences
	holder := e.Peers.Holder(store.PartitionOf(c.rec.Call.ID))
	var plain []byte
	for _, node := range c.audience.nodes {
		if node == holder || !e.Peers.Alive(node) {
			continue
		}
		if plain == nil {
			plain = e.letterOf(message{News: &n})
		}
		e.Peers.Send(node, plain)
	}
	if holder != 0 && holder != e.Peers.Self() {
		n.Deliver = deliver
		e.Peers.Send(holder, e.letterOf(message{News: &n}))
	}
}

// HandOff passes on events that have become durable: to the deliverer here,
// and what belongs to partitions of others to those who hold them. Events of a
// call must come in the order of their commits.
func (e *Engine) HandOff(events []*store.Event) {
	e.Callbacks.HandOff(events)
	if e.Peers == nil {
		return
	}
	others := make(map[store.NodeID][]*store.Event)
	for _, ev := range events {
		if len(ev.Deliveries) == 0 {
			continue
		}
		if holder := e.Peers.Holder(partitionOf(ev)); holder != 0 && holder != e.Peers.Self() {
			others[holder] = append(others[holder], ev)
		}
	}
	for holder, list := range others {
		e.Peers.Send(holder, e.letterOf(message{HandOff: list}))
	}
}

func partitionOf(ev *store.Event) int {
	return store.DeliveryKey{Call: ev.Call, Sequence: int64(ev.ID)}.Partition()
}

// connected gives those sessions of users that have a connection at this
// moment, on any node. A node that does not answer counts as having those that
// the store says it has.
func (e *Engine) connected(ctx context.Context, app uint32, users []call.UserID) ([]store.Session, error) {
	if e.Peers == nil {
		return e.connectedHere(app, users), nil
	}
	open, err := e.Store.OpenSessionsOf(ctx, app, users)
	if err != nil {
		return nil, err
	}
	byNode := make(map[store.NodeID][]store.Session)
	for _, s := range open {
		byNode[s.Node] = append(byNode[s.Node], s)
	}
	out := e.connectedHere(app, users)
	for node, sessions := range byNode {
		switch {
		case node == e.Peers.Self() || !e.Peers.Alive(node):
		default:
			out = append(out, e.askConnected(ctx, node, app, sessions)...)
		}
	}
	return out, nil
}

func (e *Engine) askConnected(ctx context.Context, node store.NodeID, app uint32, sessions []store.Session) []store.Session {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	q := question{App: app}
	for _, s := range sessions {
		q.Users = append(q.Users, s.User)
		q.Sessions = append(q.Sessions, s.ID)
	}
	reply, err := e.Peers.Ask(ctx, node, e.letterOf(message{Connected: &q}))
	var a answer
	if err == nil {
		err = wire.Decode(reply, &a, (*answer).values)
	}
	if err != nil {
		e.Logger.Debug("a node did not say which sessions are connected", "node", int64(node), "error", err)
		return sessions
	}
	var out []store.Session
	for _, s := range sessions {
		if slices.Contains(a.Sessions, s.ID) {
			out = append(out, s)
		}
	}
	return out
}

// connectedHere gives the sessions of users that have a connection on this
// node.
func (e *Engine) connectedHere(app uint32, users []call.UserID) []store.Session {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []store.Session
	for _, user := range users {
		p := e.users[userKey{app, user}]
		if p == nil {
			continue
		}
		for _, s := range p.sessions {
			if s.device != nil {
				out = append(out, s.Session)
			}
		}
	}
	return out
}
