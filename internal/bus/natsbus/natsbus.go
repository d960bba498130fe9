// Package natsbus is the bus over NATS, as it is without JetStream: each node
// has a subject for messages and one for questions.
package natsbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/store"
)

// DefaultPrefix begins the subjects when nothing else is configured.
const DefaultPrefix = "ringback"

const (
	connectLimit = 5 * time.Second
	// A server that does not answer two pings is given up.
	pingInterval  = 2 * time.Second
	reconnectWait = 250 * time.Millisecond
	jitter        = 250 * time.Millisecond
	// pendingMessages and pendingBytes are what waits for the handler; what is
	// beyond is lost, and found out.
	pendingMessages = 1 << 16
	pendingBytes    = 64 << 20
)

// Options say where NATS is.
type Options struct {
	URL    string // of one or several servers, with commas between
	Name   string // of this node, for those who look at the servers
	Prefix string // of the subjects; "": DefaultPrefix. Clusters that share NATS need different ones
	Logger *slog.Logger
}

// conn is a node's bus.
type conn struct {
	nats    *nats.Conn
	lines   *bus.Lines
	prefix  string
	self    store.NodeID
	handler bus.Handler
	log     *slog.Logger
	subs    []*nats.Subscription
	refused atomic.Pointer[error] // what the server does not permit
}

// Join connects a node to the others. It gives an error, which says what to
// do, when NATS cannot be reached or does not permit what is needed; what
// happens later is said by Connected.
func Join(ctx context.Context, o Options, self store.NodeID, h bus.Handler) (bus.Bus, error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	c := &conn{prefix: o.Prefix, self: self, handler: h, log: o.Logger}
	limit := connectLimit
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end))
	}
	var err error
	c.nats, err = nats.Connect(o.URL,
		nats.Name("ringback "+o.Name), nats.Timeout(limit), nats.NoEcho(),
		nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(jitter, jitter),
		nats.ReconnectBufSize(-1), // old news is no news
		nats.PingInterval(pingInterval), nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(c.failed), nats.DisconnectErrHandler(c.disconnected), nats.ReconnectHandler(c.reconnected),
	)
	if err != nil {
		return nil, fmt.Errorf("NATS at %s cannot be used: %w", redacted(o.URL), advise(err))
	}
	c.lines = bus.NewLines(self, h, c.publish, o.Logger)
	if err := c.listen(limit); err != nil {
		c.Close()
		return nil, fmt.Errorf("NATS at %s cannot be used: %w", redacted(o.URL), err)
	}
	return c, nil
}

// listen subscribes, and finds out whether the server permits what is needed.
func (c *conn) listen(limit time.Duration) error {
	messages, err := c.nats.Subscribe(c.subject("node", c.self), func(m *nats.Msg) { c.lines.Take(m.Data) })
	if err != nil {
		return err
	}
	if err := messages.SetPendingLimits(pendingMessages, pendingBytes); err != nil {
		return err
	}
	questions, err := c.nats.Subscribe(c.subject("ask", c.self), c.asked)
	if err != nil {
		return err
	}
	c.subs = []*nats.Subscription{messages, questions}
	// Node 0 is nobody.
	if err := c.nats.Publish(c.subject("node", 0), nil); err != nil {
		return err
	}
	if err := c.nats.FlushTimeout(limit); err != nil {
		return advise(err)
	}
	if refused := c.refused.Load(); refused != nil {
		return *refused
	}
	return nil
}

func (c *conn) subject(kind string, id store.NodeID) string {
	return fmt.Sprintf("%s.%s.%d", c.prefix, kind, int64(id))
}

func (c *conn) publish(to store.NodeID, frame []byte) error {
	if !c.nats.IsConnected() {
		return c.away()
	}
	return c.nats.Publish(c.subject("node", to), frame)
}

// away is the error of sending while this node is cut off.
func (c *conn) away() error {
	if c.nats.IsClosed() {
		return bus.ErrClosed
	}
	return bus.ErrDisconnected
}

// Send implements bus.Bus.
func (c *conn) Send(to store.NodeID, data []byte) error { return c.lines.Send(to, data) }

// Peers implements bus.Bus.
func (c *conn) Peers(ids []store.NodeID) { c.lines.Peers(ids) }

// The header of an answer that is an error.
const errorHeader = "Ringback-Error"

// Ask implements bus.Bus.
func (c *conn) Ask(ctx context.Context, to store.NodeID, data []byte) ([]byte, error) {
	if !c.nats.IsConnected() {
		return nil, c.away()
	}
	m := &nats.Msg{Subject: c.subject("ask", to), Data: data, Header: nats.Header{"Ringback-From": {fmt.Sprint(int64(c.self))}}}
	reply, err := c.nats.RequestMsgWithContext(ctx, m)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, bus.ErrNoNode
	case errors.Is(err, nats.ErrConnectionClosed):
		return nil, bus.ErrClosed
	case errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrConnectionReconnecting):
		return nil, bus.ErrDisconnected
	case err != nil:
		return nil, err
	}
	if text := reply.Header.Get(errorHeader); text != "" {
		return nil, &bus.RemoteError{Node: to, Text: text}
	}
	return reply.Data, nil
}

// asked answers a question.
func (c *conn) asked(m *nats.Msg) {
	var from int64
	if _, err := fmt.Sscan(m.Header.Get("Ringback-From"), &from); err != nil {
		return // not of a node
	}
	go func() {
		data, err := c.handler.Answer(store.NodeID(from), m.Data)
		reply := &nats.Msg{Subject: m.Reply, Data: data}
		if err != nil {
			reply.Header = nats.Header{errorHeader: {strings.Join(strings.Fields(err.Error()), " ")}}
		}
		if err := c.nats.PublishMsg(reply); err != nil {
			c.log.Debug("an answer to another node was not sent", "peer", from, "error", err)
		}
	}()
}

// Connected implements bus.Bus.
func (c *conn) Connected() error {
	if refused := c.refused.Load(); refused != nil {
		return *refused
	}
	if c.nats.IsConnected() {
		return nil
	}
	if err := c.nats.LastError(); err != nil {
		return fmt.Errorf("not connected to NATS, which is tried again: %w", advise(err))
	}
	return errors.New("not connected to NATS, which is tried again")
}

// Close implements bus.Bus.
func (c *conn) Close() error {
	c.lines.Close()
	if c.nats.IsConnected() {
		for _, s := range c.subs {
			_ = s.Unsubscribe() // the connection ends anyway
		}
		_ = c.nats.FlushTimeout(time.Second)
	}
	c.nats.Close()
	return nil
}

// failed is told of what goes wrong on a connection.
func (c *conn) failed(_ *nats.Conn, _ *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		refused := fmt.Errorf("%w: permit publish and subscribe on %s.> (and _INBOX.> for answers) to the user of this node", err, c.prefix)
		if c.refused.Swap(&refused) == nil {
			c.log.Error("NATS does not permit what this node needs", "error", refused)
		}
	case errors.Is(err, nats.ErrSlowConsumer):
		c.log.Warn("messages of other nodes came faster than they were read; what was lost is looked up")
	default:
		c.log.Warn("NATS reports an error", "error", advise(err))
	}
	c.handler.Missed(0)
}

func (c *conn) disconnected(_ *nats.Conn, err error) {
	if err != nil {
		c.log.Warn("the connection to NATS is lost; it is tried again", "error", err)
	}
}

func (c *conn) reconnected(*nats.Conn) {
	c.refused.Store(nil) // it says so again if that is still true
	c.log.Info("connected to NATS again")
	c.handler.Missed(0)
}

// advise adds what to do to an error of NATS.
func advise(err error) error {
	switch {
	case errors.Is(err, nats.ErrNoServers):
		return fmt.Errorf("%w: is the server running there, and does a firewall let this machine reach it?", err)
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		return fmt.Errorf("%w: give user and password, or a token, in the URL (nats://USER:PASSWORD@host)", err)
	case errors.Is(err, nats.ErrTimeout):
		return fmt.Errorf("%w: the server does not answer", err)
	}
	return err
}

// redacted is URLs without passwords.
func redacted(urls string) string {
	var out []string
	for _, text := range strings.Split(urls, ",") {
		u, err := url.Parse(strings.TrimSpace(text))
		switch {
		case err != nil:
			out = append(out, "(a URL that cannot be parsed)")
			continue
		case u.User != nil:
			u.User = url.User("xxxxx") // a token stands where a user does
		}
		out = append(out, u.String())
	}
	return strings.Join(out, ", ")
}
