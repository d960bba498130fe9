package load

import (
	"context"
	"errors"
	"net"
	"net/url"
	"sync"

	"github.com/ringback/ringback/client"
	"github.com/ringback/ringback/e2e/history"
	"github.com/ringback/ringback/protocol"
)

// libraryLink is one client of the Go library, over all its connections.
type libraryLink struct {
	d *device

	mu   sync.Mutex
	c    *client.Client
	nc   net.Conn // the latest
	node string
}

// dial makes a client and serves it until it has ended.
func (d *device) dial(ctx context.Context) error {
	session, known := d.known()
	l := &libraryLink{d: d}
	first, err := url.Parse(d.run.node())
	if err != nil {
		return err
	}
	c, err := client.Dial(ctx, first.String(), client.Options{
		AppID: d.run.cfg.AppID, UserID: d.user, SessionID: session, KnownCalls: known,
		TokenSource: func(context.Context) (string, error) { return d.run.cfg.Token(d.user) },
		NetDial:     l.netDial,
		OnEvent:     func(c *client.Client, ev client.Event) { l.event(ctx, c, ev) },
	})
	if err != nil {
		return err
	}
	defer func() { <-c.Done() }()
	defer c.Close()
	select {
	case <-ctx.Done():
	case <-c.Done():
	}
	return c.Err()
}

// netDial connects to a random node, whichever the client's URL names.
func (l *libraryLink) netDial(ctx context.Context, network, _ string) (net.Conn, error) {
	node := l.d.run.node()
	u, err := url.Parse(node)
	if err != nil {
		return nil, err
	}
	nc, err := new(net.Dialer).DialContext(ctx, network, u.Host)
	if err == nil {
		l.mu.Lock()
		l.nc, l.node = nc, node
		l.mu.Unlock()
	}
	return nc, err
}

// event records what the library tells its user.
func (l *libraryLink) event(ctx context.Context, c *client.Client, ev client.Event) {
	l.mu.Lock()
	l.c = c
	rec := history.Record{Kind: history.Event, Node: l.node}
	l.mu.Unlock()
	switch ev := ev.(type) {
	case *client.Connected:
		l.d.up(l, ev.SessionID)
		l.d.record(history.Record{Kind: history.Opened, Node: rec.Node, Session: ev.SessionID})
		return
	case *client.Disconnected:
		if !ev.WillReconnect {
			l.d.down()
		}
		rec.Kind, rec.Code = history.Closed, int(ev.CloseCode)
		if ev.Err != nil {
			rec.Error = ev.Err.Error()
		}
		l.d.record(rec)
		return
	case *client.Snapshot:
		rec.Name, rec.Body = history.Snapshot, bodyOf(ev.Snapshot)
		l.d.record(rec)
		l.d.caughtUp(ctx, &ev.Snapshot)
		return
	case *client.Created:
		rec.Name = protocol.EventCallCreated
	case *client.Invited:
		rec.Name = protocol.EventCallInvited
	case *client.UsersChanged:
		rec.Name = protocol.EventCallUsersChanged
	case *client.Cancelled:
		rec.Name = protocol.EventCallCancelled
	case *client.TimedOut:
		rec.Name = protocol.EventCallTimedOut
	case *client.AnsweredElsewhere:
		rec.Name = protocol.EventCallAnsweredElsewhere
	case *client.Ended:
		rec.Name = protocol.EventCallEnded
	case *client.Kicked:
		rec.Name = protocol.EventSessionKicked
	case *client.TokenExpiring:
		rec.Name = protocol.EventTokenExpiring
	}
	rec.Body = bodyOf(ev) // events embed their bodies
	l.d.record(rec)
	l.d.told(ctx, rec.Name, rec.Body)
}

// do implements link.
func (l *libraryLink) do(ctx context.Context, op string, in any) (any, error) {
	l.mu.Lock()
	c, node := l.c, l.node
	l.mu.Unlock()
	id := l.d.nextID()
	l.d.record(history.Record{Kind: history.Sent, Node: node, ID: id, Name: op, Body: bodyOf(in)})
	reply, err := call(ctx, c, op, in)
	rec := history.Record{Kind: history.Reply, Node: node, ID: id, Name: op, Session: c.SessionID()}
	switch {
	case errors.Is(err, client.ErrConnectionLost) || errors.Is(err, client.ErrClosed):
		rec.Error = err.Error() // even if a repeat was refused
	case err != nil:
		rec = refusal(rec, err)
	default:
		rec.Body = bodyOf(reply)
	}
	l.d.record(rec)
	return reply, err
}

// call calls the method of an operation.
func call(ctx context.Context, c *client.Client, op string, in any) (any, error) {
	switch in := in.(type) {
	case protocol.Invite:
		return c.Invite(ctx, in)
	case protocol.InviteMore:
		return c.InviteMore(ctx, in)
	case protocol.Cancel:
		return c.Cancel(ctx, in)
	case protocol.CallAction:
		switch op {
		case protocol.OpCallAccept:
			return c.Accept(ctx, in)
		case protocol.OpCallReject:
			return c.Reject(ctx, in)
		case protocol.OpCallJoin:
			return c.Join(ctx, in)
		case protocol.OpCallQuit:
			return c.Quit(ctx, in)
		case protocol.OpCallEnd:
			return c.End(ctx, in)
		}
	case protocol.Sync:
		return c.Sync(ctx)
	}
	if op == protocol.OpLogout {
		return struct{}{}, c.Logout(ctx)
	}
	panic("load: no method for " + op)
}

func (l *libraryLink) connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.c != nil && l.c.Connected()
}

func (l *libraryLink) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nc.Close()
}

func (l *libraryLink) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.c.Close()
}
