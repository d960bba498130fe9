// Package natsbus is the bus over NATS: core NATS, at most once, with numbers
// by which a receiver finds out what was lost.
//
// A node listens at PREFIX.node.ID, for messages, and PREFIX.ask.ID, for
// questions; answers come to PREFIX.inbox. So a user of NATS who may publish
// and subscribe to "PREFIX.>" may do all that a node needs.
package natsbus

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
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

// DefaultPrefix begins the subjects of a cluster that has no prefix of its own.
const DefaultPrefix = "ringback"

const (
	// maxWaiting and maxWaitingBytes bound what waits until it is received.
	// What is beyond is dropped, and counts as missed.
	maxWaiting      = 1 << 16
	maxWaitingBytes = 64 << 20
	// joinLimit is how long NATS may take for what Join asks of it.
	joinLimit = 5 * time.Second
	// reopenInterval is between attempts after the server, or the client for
	// an error that it does not know, has closed the connection for good.
	reopenInterval = 2 * time.Second
	// refusedFor is how long a message that NATS refused makes Connected say
	// so. If nothing passes, one is refused each second.
	refusedFor = 5 * time.Second
)

// Options say how to reach NATS. They may hold secrets; nothing of the package
// shows them.
type Options struct {
	// URL is of one server or, with commas, of several of a cluster, as in
	// nats://user:password@host:4222, nats://token@host or tls://host.
	URL string
	// Credentials is a file of credentials (JWT and seed); empty: none.
	Credentials string
	// CA is a PEM file of certificate authorities to be trusted; empty: those of
	// the system. Cert and Key are those of this node's certificate and its key,
	// for servers that want one; empty: none. They are read with each new
	// connection.
	CA, Cert, Key string
	// Prefix begins all subjects: one token or several with dots. Clusters of
	// nodes with different stores need different ones if they share NATS.
	// Empty: DefaultPrefix.
	Prefix string
	// Name is what NATS calls the connection in its own reports.
	Name   string
	Logger *slog.Logger
}

// node is a bus.Bus.
type node struct {
	opts    Options
	hosts   string // of the URL, without secrets
	self    store.NodeID
	handler bus.Handler
	lines   *bus.Lines
	nonce   string // tells this node from another one with its ID

	conn   atomic.Pointer[nats.Conn]
	closed chan struct{}
	once   sync.Once
	work   sync.WaitGroup
	// calling is held while the handler is called, so that Close can wait.
	calling sync.Mutex

	mu        sync.Mutex
	broken    error // why there is no connection
	refused   error // what NATS did not allow
	refusedAt time.Time
	forbidden error // a subscription that NATS did not allow
}

// Join connects a node to the others. It fails, with the cause and what to do,
// if NATS cannot be reached, refuses the node, or does not pass its messages;
// afterwards it connects again whenever the connection is lost.
func Join(ctx context.Context, opts Options, self store.NodeID, h bus.Handler) (bus.Bus, error) {
	if opts.Prefix == "" {
		opts.Prefix = DefaultPrefix
	}
	hosts, err := check(&opts)
	if err != nil {
		return nil, err
	}
	n := &node{opts: opts, hosts: hosts, self: self, handler: h, nonce: rand.Text(), closed: make(chan struct{})}
	n.lines = bus.NewLines(self, h, n.publish, opts.Logger)
	ctx, cancel := context.WithTimeout(ctx, joinLimit)
	defer cancel()
	if err := n.open(ctx); err != nil {
		n.lines.Close()
		return nil, err
	}
	return n, nil
}

// open connects, subscribes, and sees that messages pass.
func (n *node) open(ctx context.Context) error {
	conn, err := n.dial(ctx)
	if err != nil {
		return n.explain(err)
	}
	if err := n.listen(ctx, conn); err != nil {
		conn.Close()
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if conn.IsClosed() { // since, and connClosed did not know it
		return n.explain(nats.ErrConnectionClosed)
	}
	n.conn.Store(conn)
	return nil
}

func (n *node) listen(ctx context.Context, conn *nats.Conn) error {
	if other, err := n.probe(ctx, conn); err == nil && other != n.nonce {
		return fmt.Errorf("natsbus: another node listens at %q already: clusters of nodes with different stores need different subject prefixes, or different NATS servers",
			n.subject("node", n.self))
	}
	messages, err := conn.Subscribe(n.subject("node", n.self), n.take)
	if err == nil {
		err = messages.SetPendingLimits(maxWaiting, maxWaitingBytes)
	}
	if err == nil {
		_, err = conn.Subscribe(n.subject("ask", n.self), n.answer)
	}
	if err == nil {
		err = conn.FlushWithContext(ctx)
	}
	if err != nil {
		return n.explain(err)
	}
	if _, err = n.probe(ctx, conn); err != nil {
		if last := conn.LastError(); last != nil {
			err = last
		}
		return n.explain(err)
	}
	if err := conn.LastError(); errors.Is(err, nats.ErrPermissionViolation) {
		return n.explain(err)
	}
	return nil
}

// take takes a message or a beat.
func (n *node) take(m *nats.Msg) {
	n.calling.Lock()
	defer n.calling.Unlock()
	if !n.isClosed() {
		n.lines.Take(m.Data)
	}
}

// missed says that messages of any node may have been lost.
func (n *node) missed() {
	n.calling.Lock()
	defer n.calling.Unlock()
	if !n.isClosed() {
		n.handler.Missed(0)
	}
}

// probe asks whoever listens as this node for his nonce.
func (n *node) probe(ctx context.Context, conn *nats.Conn) (string, error) {
	// What NATS does not allow leaves a request without an answer.
	ctx, cancel := context.WithTimeout(ctx, joinLimit/3)
	defer cancel()
	reply, err := conn.RequestWithContext(ctx, n.subject("ask", n.self), []byte{askNonce})
	if err != nil {
		return "", err
	}
	return string(reply.Data), nil
}

// subject is where a node listens.
func (n *node) subject(what string, id store.NodeID) string {
	b := make([]byte, 0, 64)
	b = append(b, n.opts.Prefix...)
	b = append(b, '.')
	b = append(b, what...)
	b = append(b, '.')
	return string(strconv.AppendInt(b, int64(id), 10))
}

// Send passes a message on.
func (n *node) Send(to store.NodeID, data []byte) error { return n.lines.Send(to, data) }

func (n *node) publish(to store.NodeID, frame []byte) error {
	conn := n.conn.Load()
	if conn == nil {
		return bus.ErrDisconnected // Join has not come so far
	}
	return n.sendError(conn.Publish(n.subject("node", to), frame))
}

// sendError gives the error of sending something in the words of the bus.
func (n *node) sendError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrConnectionReconnecting):
		return bus.ErrDisconnected
	case errors.Is(err, nats.ErrConnectionClosed):
		if n.isClosed() {
			return bus.ErrClosed
		}
		return bus.ErrDisconnected
	case errors.Is(err, nats.ErrNoResponders):
		return bus.ErrNoNode
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("natsbus: the message is larger than NATS allows; raise max_payload of the server: %w", err)
	}
	return fmt.Errorf("natsbus: %w", err)
}

// What a question is, by its first byte, and an answer, by its.
const (
	askNode  = 'q' // then the asking node, 8 bytes, and the data
	askNonce = 'p' // whose subject is this?

	answerData  = 'a'
	answerError = 'e' // then the text of the error
)

// Ask has another node answer.
func (n *node) Ask(ctx context.Context, to store.NodeID, data []byte) ([]byte, error) {
	question := make([]byte, 0, 9+len(data))
	question = append(question, askNode)
	question = binary.BigEndian.AppendUint64(question, uint64(n.self))
	question = append(question, data...)
	conn := n.conn.Load()
	reply, err := conn.RequestWithContext(ctx, n.subject("ask", to), question)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, n.sendError(err)
	case len(reply.Data) > 0 && reply.Data[0] == answerData:
		return reply.Data[1:], nil
	case len(reply.Data) > 0 && reply.Data[0] == answerError:
		return nil, &bus.RemoteError{Node: to, Text: string(reply.Data[1:])}
	}
	return nil, &bus.RemoteError{Node: to, Text: "its answer is not understood; do all nodes run versions that belong together?"}
}

// answer answers a question.
func (n *node) answer(m *nats.Msg) {
	switch {
	case len(m.Data) == 1 && m.Data[0] == askNonce:
		n.reply(m, []byte(n.nonce))
	case len(m.Data) >= 9 && m.Data[0] == askNode:
		from := store.NodeID(binary.BigEndian.Uint64(m.Data[1:]))
		go func() {
			data, err := n.handler.Answer(from, m.Data[9:])
			if err != nil {
				n.reply(m, append([]byte{answerError}, err.Error()...))
			} else {
				n.reply(m, append([]byte{answerData}, data...))
			}
		}()
	}
}

func (n *node) reply(m *nats.Msg, data []byte) {
	if err := m.Respond(data); err != nil { // who asked will wait no longer than he wants to
		n.opts.Logger.Debug("answering another node failed", "node", int64(n.self), "err", err)
	}
}

// Peers says who is there.
func (n *node) Peers(ids []store.NodeID) { n.lines.Peers(ids) }

func (n *node) isClosed() bool {
	select {
	case <-n.closed:
		return true
	default:
		return false
	}
}

// Close ends the connection.
func (n *node) Close() error {
	n.once.Do(func() {
		n.calling.Lock()
		n.mu.Lock()
		close(n.closed)
		n.mu.Unlock()
		n.calling.Unlock()
		n.lines.Close()
		n.work.Wait()
		conn := n.conn.Load()
		if conn.IsConnected() {
			// What was sent goes out; should NATS not take it now, the
			// receivers look into the store, since this node leaves.
			_ = conn.FlushTimeout(time.Second)
		}
		conn.Close()
	})
	return nil
}
