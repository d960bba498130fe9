// Package natsbus is the bus of a cluster, over core NATS.
//
// Every node listens on one subject, <prefix>.node.<id>. NATS keeps nothing
// and drops what it cannot deliver; the numbers in the messages tell the
// receiver when that happened, and a heartbeat every second tells the last
// number. See docs/adr/0011-nats-core-with-sequence-numbers.md.
package natsbus

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/store"
)

// DefaultPrefix begins the subjects of a cluster whose Options have no prefix.
const DefaultPrefix = "ringback"

const (
	// beatEvery is the time between two heartbeats, and so about the longest
	// that a loss goes unnoticed.
	beatEvery = time.Second
	// silentAfter is how long nothing may come from a node that is there.
	silentAfter = 3 * time.Second
	// knownFor is how long a node that is not among the peers, because it is
	// newer or because it is gone, is remembered after its last message.
	knownFor = time.Minute
	// connectTimeout is the longest that one server may take to let a node in.
	connectTimeout = 5 * time.Second
	// writeTimeout is the longest that the network may take nothing before
	// the connection counts as broken.
	writeTimeout = 2 * time.Second
	// pingEvery is how often a server is asked whether it is still there; it
	// is not, when it has not answered that twice.
	pingEvery = 2 * time.Second
	// reconnectWait is the pause before a server is tried again; it gets up
	// to as much again by chance, so that nodes do not come all at once.
	reconnectWait = 250 * time.Millisecond
	// queueMessages and queueBytes bound what waits for the handler.
	queueMessages = 1 << 14
	queueBytes    = 64 << 20
	// answers is the number of questions that are answered at a time.
	answers = 256
)

// Options say where the bus is.
type Options struct {
	// Servers are URLs, nats://host:4222 or tls://host:4222, with
	// user:password@ or token@ in them where the server asks for that. A
	// cluster of servers tells its other members itself.
	Servers []string
	// Prefix begins all subjects. Two Ringback clusters on one NATS need
	// different ones. The node must be allowed to publish and to subscribe
	// <prefix>.>. Empty: DefaultPrefix.
	Prefix string
	// Name is that of the node; NATS shows it in its monitoring.
	Name string
	// Credentials is a file with a JWT and its seed, as nsc writes it.
	Credentials string
	// CA is a PEM file of certificates to trust; empty: those of the system.
	CA string
	// Cert and Key are PEM files that prove to the server who the node is.
	Cert, Key string
	Logger    *slog.Logger // nil: the default one
}

// Bus is a node's access to the others; see bus.Bus.
type Bus struct {
	self    store.NodeID
	incarn  uint64 // random; tells apart what claims to be the same node
	subject string // without the node
	servers string // for people, without secrets
	secrets []string
	handler bus.Handler
	logger  *slog.Logger
	conn    *nats.Conn

	out outbox
	in  inbox

	answering chan struct{} // has a place for each question being answered
	stop      chan struct{}
	beating   sync.WaitGroup
	echoed    chan struct{} // 1 when a heartbeat of our own has come back
	refusals  chan error    // 1 when the server has refused something
	lastEcho  atomic.Int64  // when a heartbeat of our own came back, Unix ns

	mu      sync.Mutex
	trouble trouble

	// calling is held for reading while the handler is called.
	calling sync.RWMutex
	closed  bool
}

// Join connects to NATS and makes sure that a message to this node arrives.
// Errors say what is wrong and what to do, and hold no secret. Once it has
// joined, a node comes back by itself when the connection breaks.
func Join(ctx context.Context, o Options, self store.NodeID, h bus.Handler) (*Bus, error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	b := &Bus{
		self: self, subject: o.Prefix + ".node.", handler: h, logger: o.Logger,
		out: outbox{routes: make(map[store.NodeID]*outlet)}, in: inbox{senders: make(map[store.NodeID]*sender)},
		answering: make(chan struct{}, answers), stop: make(chan struct{}), echoed: make(chan struct{}, 1), refusals: make(chan error, 1),
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	b.incarn = binary.BigEndian.Uint64(random[:])
	options, err := b.options(ctx, o)
	if err != nil {
		return nil, err
	}
	if b.conn, err = options.Connect(); err != nil {
		return nil, b.explain(err)
	}
	err = b.roomy()
	if err == nil {
		err = b.listen(ctx)
	}
	if err != nil {
		b.conn.Close()
		return nil, err
	}
	b.beating.Go(b.beat)
	return b, nil
}

// roomy checks that the server takes messages of every size.
func (b *Bus) roomy() error {
	const need = bus.MaxMessage + headerSize
	if limit := b.conn.MaxPayload(); limit < need {
		return fmt.Errorf("natsbus: NATS at %s takes messages of at most %d bytes, and the nodes need %d: raise max_payload there to 1MB, which is what NATS has when nothing is set", b.servers, limit, need)
	}
	return nil
}

// listen subscribes and waits for a message to come through.
func (b *Bus) listen(ctx context.Context) error {
	sub, err := b.conn.Subscribe(b.subject+b.id(b.self), b.take)
	if err != nil {
		return b.explain(err)
	}
	if err := sub.SetPendingLimits(queueMessages, queueBytes); err != nil {
		return b.explain(err)
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	// A question, because its answer needs everything that is to be allowed.
	arrived := make(chan error, 1)
	go func() {
		_, err := b.request(ctx, b.self, kindHello, nil)
		arrived <- err
	}()
	select {
	case err = <-arrived:
		// The refusal comes just before or after what follows from it.
		select {
		case err = <-b.refusals:
		default:
		}
	case err = <-b.refusals:
	}
	if err != nil {
		return b.explain(err)
	}
	b.lastEcho.Store(time.Now().UnixNano())
	return nil
}

func (b *Bus) id(node store.NodeID) string { return strconv.FormatInt(int64(node), 10) }

// Send sends a message.
func (b *Bus) Send(to store.NodeID, data []byte) error {
	b.out.mu.Lock()
	defer b.out.mu.Unlock()
	r := b.out.route(b, to)
	r.last++ // whether it goes out or not: one that does not is missed there
	if len(data) > bus.MaxMessage {
		return bus.ErrTooLarge
	}
	return b.publish(r, kindMessage, data)
}

// publish sends a message or a heartbeat; out.mu is held.
func (b *Bus) publish(r *outlet, kind byte, data []byte) error {
	b.out.buffer = append(b.header(b.out.buffer[:0], kind, r.last), data...)
	err := b.conn.Publish(r.subject, b.out.buffer)
	if err != nil {
		return b.unsent(err)
	}
	return nil
}

// Ask has another node answer.
func (b *Bus) Ask(ctx context.Context, to store.NodeID, data []byte) ([]byte, error) {
	if len(data) > bus.MaxMessage {
		return nil, bus.ErrTooLarge
	}
	reply, err := b.request(ctx, to, kindQuestion, data)
	if err != nil {
		return nil, b.unsent(err)
	}
	return openReply(reply)
}

func (b *Bus) request(ctx context.Context, to store.NodeID, kind byte, data []byte) ([]byte, error) {
	question := append(b.header(make([]byte, 0, headerSize+len(data)), kind, 0), data...)
	msg, err := b.conn.RequestWithContext(ctx, b.subject+b.id(to), question)
	if err != nil {
		return nil, err
	}
	return msg.Data, nil
}

// Peers says who the other nodes are now.
func (b *Bus) Peers(ids []store.NodeID) {
	for _, id := range b.in.setPeers(ids, time.Now()) {
		b.out.forget(id)
	}
}

// Close sends what is still to be sent and leaves.
func (b *Bus) Close() error {
	b.calling.Lock()
	closed := b.closed
	b.closed = true
	b.calling.Unlock()
	if closed {
		return nil
	}
	close(b.stop)
	b.beating.Wait()
	err := b.conn.FlushTimeout(writeTimeout)
	b.conn.Close()
	if err != nil {
		return fmt.Errorf("natsbus: the last messages may not have gone out: %w", b.explain(err))
	}
	return nil
}

// outbox numbers what is sent.
type outbox struct {
	mu     sync.Mutex
	routes map[store.NodeID]*outlet
	buffer []byte
}

// outlet is the way to one node.
type outlet struct {
	subject string
	last    uint64 // number of the last message
}

func (o *outbox) route(b *Bus, to store.NodeID) *outlet {
	r := o.routes[to]
	if r == nil {
		r = &outlet{subject: b.subject + b.id(to)}
		o.routes[to] = r
	}
	return r
}

func (o *outbox) forget(id store.NodeID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.routes, id)
}
