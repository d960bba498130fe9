package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gobwas/ws"

	"github.com/ringback/ringback/protocol"
)

// Bounds of the wait before an attempt to reconnect.
const (
	minBackoff = 500 * time.Millisecond
	maxBackoff = 15 * time.Second
)

// defaultHeartbeat is used when the server does not say how often it pings.
const defaultHeartbeat = 10 * time.Second

// backoff is the wait before an attempt to reconnect, counted from 0. It
// doubles up to maxBackoff, and is drawn from its upper half so that clients
// which lost a server together do not come back together.
func backoff(attempt int) time.Duration {
	ceiling := maxBackoff
	if attempt < 5 {
		ceiling = min(maxBackoff, 2*minBackoff<<attempt)
	}
	return ceiling/2 + rand.N(ceiling/2)
}

// connect makes a connection and logs in. It returns events that came before
// the reply to the login; they are to be looked at after it.
func (c *Client) connect(ctx context.Context, known []string) (*conn, []protocol.Frame, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.DialTimeout)
	defer cancel()
	token, err := c.currentToken(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("token source: %w", err)
	}
	cn, err := dial(ctx, c.url, &c.opts)
	if err != nil {
		return nil, nil, err
	}
	interrupt := context.AfterFunc(ctx, func() { cn.nc.SetDeadline(time.Unix(1, 0)) })
	reply, early, err := c.login(cn, token, known)
	if !interrupt() {
		err = context.Cause(ctx) // the deadline of cn has passed
	}
	if err != nil {
		cn.close()
		return nil, nil, err
	}
	cn.watch(positive(time.Duration(reply.HeartbeatIntervalMS)*time.Millisecond, defaultHeartbeat))

	c.events.found()
	c.calls.adopt(&reply.Snapshot)
	c.push(&Connected{SessionID: reply.SessionID, Resumed: reply.Resumed, ServerTime: time.UnixMilli(reply.ServerTimeMS)})
	c.attach(cn, reply.SessionID, reply.Resumed)
	c.snapshot(reply.Snapshot)
	return cn, early, nil
}

func positive(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}

// login sends the login and reads its reply.
func (c *Client) login(cn *conn, token string, known []string) (*protocol.LoginReply, []protocol.Frame, error) {
	c.mu.Lock()
	c.lastID++
	id, session := c.lastID, c.session
	c.mu.Unlock()
	frame, err := appendRequest(nil, id, protocol.OpLogin, protocol.Login{
		AppID: c.opts.AppID, UserID: c.opts.UserID, UserName: c.opts.UserName, Platform: c.opts.Platform,
		Token: token, SessionID: session, KnownCalls: known,
	})
	if err != nil {
		return nil, nil, err
	}
	cn.send(ws.OpText, frame)
	var early []protocol.Frame
	for {
		data, err := cn.next()
		if err != nil {
			return nil, nil, err
		}
		f, err := parseFrame(data)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("malformed frame: %w", err)
		case f.Event != "" && len(early) < c.opts.EventBuffer:
			f.Body = append(json.RawMessage(nil), f.Body...)
			early = append(early, f)
		case f.Event != "" || f.ID != id:
		case f.Error != nil:
			return nil, nil, f.Error
		default:
			reply := new(protocol.LoginReply)
			if err := json.Unmarshal(f.Body, reply); err != nil {
				return nil, nil, fmt.Errorf("malformed reply to the login: %w", err)
			}
			return reply, early, nil
		}
	}
}

// run reads the connection, and makes the next one when it is lost, until the
// client ends.
func (c *Client) run(cn *conn, early []protocol.Frame) {
	defer close(c.done)
	attempt := 0
	for {
		since := time.Now()
		err := c.serve(cn, early)
		if c.ctx.Err() != nil {
			err = context.Cause(c.ctx)
		}
		if c.ctx.Err() != nil || c.opts.NoReconnect || final(err, c.opts.TokenSource != nil) {
			c.finish(err)
			return
		}
		c.detach()
		c.push(&Disconnected{Err: err, CloseCode: closeCode(err), WillReconnect: true})
		if time.Since(since) >= maxBackoff {
			attempt = 0
		}
		cn, early, err = c.reconnect(&attempt)
		if err != nil {
			c.finish(err)
			return
		}
	}
}

// finish ends the client because of err.
func (c *Client) finish(err error) {
	ended := ErrClosed
	if !errors.Is(err, ErrClosed) {
		ended = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	c.abandon(ended)
	c.cancel(ended)
	c.push(&Disconnected{Err: err, CloseCode: closeCode(err)})
	c.tasks.Wait()
	<-c.events.drained()
}

// reconnect tries until it has a connection, or an error that is final.
func (c *Client) reconnect(attempt *int) (*conn, []protocol.Frame, error) {
	// A handler that is far behind is not helped by more events.
	wait := c.events.room()
	for {
		timer := time.NewTimer(backoff(*attempt))
		*attempt++
		select {
		case <-c.ctx.Done():
			timer.Stop()
			return nil, nil, context.Cause(c.ctx)
		case <-timer.C:
		}
		select {
		case <-c.ctx.Done():
			return nil, nil, context.Cause(c.ctx)
		case <-wait:
		}
		cn, early, err := c.connect(c.ctx, c.calls.shown())
		switch {
		case err == nil:
			return cn, early, nil
		case c.ctx.Err() != nil:
			return nil, nil, context.Cause(c.ctx)
		case final(err, c.opts.TokenSource != nil):
			return nil, nil, err
		}
		c.log.Debug("reconnecting failed", "attempt", *attempt, "err", err)
	}
}

// serve handles what comes by cn until it ends, and closes it.
func (c *Client) serve(cn *conn, early []protocol.Frame) error {
	defer cn.close()
	defer context.AfterFunc(c.ctx, func() { cn.nc.Close() })()
	for i := range early {
		if err := c.receive(&early[i]); err != nil {
			return err
		}
	}
	for {
		data, err := cn.next()
		if err != nil {
			return err
		}
		f, err := parseFrame(data)
		if err != nil {
			return fmt.Errorf("malformed frame: %w", err)
		}
		if err := c.receive(&f); err != nil {
			return err
		}
	}
}

// receive handles a frame.
func (c *Client) receive(f *protocol.Frame) error {
	if f.Event == "" {
		return c.answer(f)
	}
	ev, err := decodeEvent(f.Event, f.Body)
	if err != nil {
		return fmt.Errorf("malformed event %s: %w", f.Event, err)
	}
	switch ev := ev.(type) {
	case nil:
		c.log.Debug("unknown event", "event", f.Event)
		return nil
	case *Kicked:
	case *TokenExpiring:
		c.renew()
	default:
		if c.events.full() || !c.calls.admit(ev) {
			return nil
		}
	}
	if ev, ok := ev.(*Invited); ok {
		c.ring(&ev.Call)
	}
	c.push(ev)
	return nil
}

// push queues an event behind the requests that are settling.
func (c *Client) push(ev Event) {
	c.events.push(ev, c.settling)
	c.settling = nil
}

// snapshot delivers what the server knows.
func (c *Client) snapshot(snap protocol.Snapshot) {
	for i := range snap.Calls {
		c.ring(&snap.Calls[i])
	}
	c.push(&Snapshot{snap})
}

// ring tells the server that the device rings, if the user is being rung and
// the server does not know that yet.
func (c *Client) ring(call *protocol.Call) {
	if c.opts.ManualReceived {
		return
	}
	for _, u := range call.Users {
		if u.UserID == c.opts.UserID && (u.State == stateInviting || u.State == stateNotYetReceived) {
			r := &request{
				op: protocol.OpCallReceived, body: protocol.CallAction{CallID: call.CallID}, reply: new(protocol.CallReply), repeat: always,
			}
			if err := c.submit(r); err != nil {
				c.log.Debug("not told the server that the device rings", "call_id", call.CallID, "err", err)
			}
		}
	}
}

// resync asks for a snapshot after events were lost.
func (c *Client) resync() {
	r := &request{
		op: protocol.OpCallSync, body: protocol.Sync{KnownCalls: c.calls.shown()}, reply: new(protocol.Snapshot), repeat: always,
	}
	if err := c.submit(r); err != nil {
		c.log.Debug("not synced", "err", err)
	}
}

// currentToken is the token to log in with.
func (c *Client) currentToken(ctx context.Context) (string, error) {
	if c.opts.TokenSource != nil {
		return c.opts.TokenSource(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token, nil
}

// renew gets a new token from the source, if there is one, and renews with it.
func (c *Client) renew() {
	c.mu.Lock()
	busy := c.renewing || c.opts.TokenSource == nil
	c.renewing = c.renewing || !busy
	c.mu.Unlock()
	if busy {
		return
	}
	c.tasks.Go(func() {
		token, err := c.opts.TokenSource(c.ctx)
		if err == nil {
			err = c.RenewToken(c.ctx, token)
		}
		if err != nil {
			c.log.Debug("token not renewed", "err", err)
		}
		c.mu.Lock()
		c.renewing = false
		c.mu.Unlock()
	})
}
