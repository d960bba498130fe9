package client

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/gobwas/ws"

	"github.com/ringback/ringback/protocol"
)

// maxRepeats bounds how often a request is sent again after a reconnection, so
// that one which breaks connections does not do so for ever.
const maxRepeats = 4

// repeat says whether a request may be sent again after a reconnection.
type repeat uint8

const (
	never     repeat = iota // it may take effect twice, or mean another thing
	always                  // a repeat answers as the first did
	inSession               // so does this one, but only in the same session
)

// request is an operation on its way. Its fields are set before it is
// submitted; those below mu belong to Client.mu.
type request struct {
	op     string
	body   any
	reply  any // decoded into by the reader
	repeat repeat
	ends   bool // success ends the call for this device

	// Of a request for whose reply nobody waits both channels are nil.
	done    chan error    // gets the outcome
	settled chan struct{} // closed when the method is about to return

	// mu
	id    int64
	frame []byte
	sent  int  // how often
	moved bool // it was repeated in a session other than the first
}

// await sends a request and waits for its reply.
func await[R any](ctx context.Context, c *Client, r *request) (*R, error) {
	reply := new(R)
	r.reply = reply
	if err := c.do(ctx, r); err != nil {
		return nil, err
	}
	return reply, nil
}

// do sends a request and waits until it is settled.
func (c *Client) do(ctx context.Context, r *request) error {
	r.done, r.settled = make(chan error, 1), make(chan struct{})
	defer close(r.settled)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("client: %s: %w", r.op, err)
	}
	if err := c.submit(r); err != nil {
		return fmt.Errorf("client: %s: %w", r.op, err)
	}
	var err error
	select {
	case err = <-r.done:
	case <-ctx.Done():
		if c.withdraw(r) {
			err = context.Cause(ctx)
		} else {
			err = <-r.done // the reply is just being read
		}
	}
	if err != nil {
		return fmt.Errorf("client: %s: %w", r.op, err)
	}
	return nil
}

// submit queues a request, and sends it if the client is connected.
func (c *Client) submit(r *request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if len(c.pending) >= c.opts.MaxPending {
		return ErrTooManyPending
	}
	c.lastID++
	frame, err := appendRequest(nil, c.lastID, r.op, r.body)
	if err != nil {
		return err
	}
	if len(frame) > protocol.MaxFrame {
		return protocol.Errorf(protocol.CodeInvalidParameter, "a request of %d bytes is over the limit of %d", len(frame), protocol.MaxFrame)
	}
	r.id, r.frame = c.lastID, frame
	c.pending[r.id] = r
	if c.conn != nil {
		r.sent++
		c.conn.send(ws.OpText, frame)
	}
	return nil
}

// withdraw takes back a request and reports whether it had no reply yet.
func (c *Client) withdraw(r *request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending[r.id] != r {
		return false
	}
	delete(c.pending, r.id)
	return true
}

// answer settles the request to which f is the reply.
func (c *Client) answer(f *protocol.Frame) error {
	c.mu.Lock()
	r := c.pending[f.ID]
	delete(c.pending, f.ID)
	moved := r != nil && r.moved
	c.mu.Unlock()
	if r == nil {
		return nil // its context ended first
	}
	switch {
	case f.Error != nil && moved && r.repeat == inSession:
		// The repeat is refused also if the first was heard.
		c.settle(r, fmt.Errorf("%w; the repeat was refused: %w", ErrConnectionLost, f.Error))
		return nil
	case f.Error != nil:
		c.settle(r, f.Error)
		return nil
	}
	if r.reply != nil {
		if err := json.Unmarshal(f.Body, r.reply); err != nil {
			err = fmt.Errorf("malformed reply: %w", err)
			c.settle(r, err)
			return err
		}
		c.calls.replied(r)
	}
	switch r.op {
	case protocol.OpLogout:
		c.settle(r, nil)
		return &CloseError{Code: protocol.CloseLogout, Reason: "logged out"}
	case protocol.OpCallSync:
		snap := *r.reply.(*protocol.Snapshot) // the method's caller may change it
		c.settle(r, nil)
		c.snapshot(snap)
	default:
		c.settle(r, nil)
	}
	return nil
}

// settle gives a request its outcome. Events from now on wait until its
// method is about to return.
func (c *Client) settle(r *request, err error) {
	if r.done == nil {
		if err != nil {
			c.log.Debug("request failed", "op", r.op, "err", err)
		}
		return
	}
	c.settling = slices.DeleteFunc(c.settling, func(r *request) bool {
		select {
		case <-r.settled:
			return true
		default:
			return false
		}
	})
	c.settling = append(c.settling, r)
	r.done <- err
}

// sorted are the pending requests in the order in which they were made. The
// caller holds c.mu.
func (c *Client) sorted() []*request {
	return slices.SortedFunc(maps.Values(c.pending), func(a, b *request) int { return cmp.Compare(a.id, b.id) })
}

// attach makes cn the connection of the client and sends on it what waits to
// be sent, for the first time or again.
func (c *Client) attach(cn *conn, session string, resumed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = session
	c.conn = cn
	for _, r := range c.sorted() {
		r.moved = r.moved || r.sent > 0 && !resumed
		r.sent++
		cn.send(ws.OpText, r.frame)
	}
}

// detach takes away the lost connection, and fails the requests that were
// sent on it and are not safe to repeat.
func (c *Client) detach() {
	c.mu.Lock()
	c.conn = nil
	var lost []*request
	for _, r := range c.sorted() {
		if r.sent > 0 && (r.repeat == never || r.sent > maxRepeats) {
			delete(c.pending, r.id)
			lost = append(lost, r)
		}
	}
	c.mu.Unlock()
	for _, r := range lost {
		c.settle(r, ErrConnectionLost)
	}
}

// abandon ends the client: every request, pending or to come, fails with err.
func (c *Client) abandon(err error) {
	c.mu.Lock()
	c.conn = nil
	c.err = err
	left := c.sorted()
	clear(c.pending)
	c.mu.Unlock()
	for _, r := range left {
		if r.sent > 0 {
			c.settle(r, fmt.Errorf("%w: %w", err, ErrConnectionLost))
		} else {
			c.settle(r, err)
		}
	}
}
