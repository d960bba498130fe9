package ws

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/protocol"
)

const (
	floodLimit  = 10 * time.Second // of staying over the request limit
	floodPause  = time.Second      // without a refusal, after which a flood is over
	warnBefore  = 30 * time.Second // of a token's expiry
	expiredText = "the token has expired: log in with a new one"
)

// client is a device on a connection: what it asks for, one request after
// another, and what it is sent. The reader carries the requests out itself.
// While it does, it reads nothing, so a peer that sends faster than it is
// served waits, and its silence is not held against it.
type client struct {
	server *Server
	conn   *conn
	remote string // the peer's address
	limit  *rate.Limiter

	busy atomic.Bool // a request is being carried out

	// Set at login and not changed afterwards.
	key     userKey
	session call.SessionID
	in      bool // logged in

	// Of the reader alone.
	floodSince, lastRefusal time.Time

	mu      sync.Mutex
	timer   *time.Timer // the next look at pings and the token
	expires time.Time   // of the token; zero before login
	warned  bool
	nextAt  time.Time // of the next ping
	held    []heldEvent
	holding bool
}

// heldEvent is an event that waits for a snapshot to be sent first.
type heldEvent struct {
	call  call.ID
	frame []byte
}

func newClient(s *Server, c *conn, remote string) *client {
	cl := &client{
		server: s, conn: c, remote: remote,
		limit: rate.NewLimiter(rate.Limit(s.RequestsPerSecond), s.Burst),
	}
	cl.timer = time.AfterFunc(loginLimit, cl.tick)
	return cl
}

// read runs until the connection is gone, then lets the engine know.
func (cl *client) read() {
	for {
		payload, err := cl.conn.next()
		var broken *closeError
		if errors.As(err, &broken) {
			cl.conn.close(broken.code, broken.reason)
			cl.conn.discard()
			break
		}
		if err != nil {
			break
		}
		switch {
		case cl.conn.isClosing():
		case cl.admit():
			cl.serve(payload)
		default:
			cl.refuseFlood(payload)
		}
	}
	cl.end()
}

// admit applies the request limit.
func (cl *client) admit() bool {
	now := time.Now()
	if cl.limit.AllowN(now, 1) {
		return true
	}
	if cl.floodSince.IsZero() || now.Sub(cl.lastRefusal) > floodPause {
		cl.floodSince = now
	}
	cl.lastRefusal = now
	if now.Sub(cl.floodSince) >= floodLimit {
		cl.conn.close(protocol.CloseFlood, "too many requests for too long")
	}
	return false
}

func (cl *client) refuseFlood(payload []byte) {
	req, err := parse(payload)
	if err != nil {
		cl.conn.close(err.code, err.reason)
		return
	}
	refusal := protocol.Errorf(protocol.CodeTooManyRequests,
		"more than %d requests a second: slow down", cl.server.RequestsPerSecond)
	cl.reply(req.ID, nil, refusal)
	cl.conn.flush()
	cl.observe(req.Op, refusal.Code, 0)
}

// serve carries out one request. Those before the login are done in a
// goroutine of their own, because a login needs a deep stack, and the stack of
// the reader, which stays, is most of what an idle connection costs.
func (cl *client) serve(payload []byte) {
	cl.busy.Store(true)
	if cl.in {
		cl.handle(payload)
	} else {
		done := make(chan struct{})
		go func() {
			defer close(done)
			cl.handle(payload)
		}()
		<-done
	}
	cl.conn.flush()
	cl.conn.touch() // what it sent meanwhile has not been read
	cl.busy.Store(false)
}

// end follows the end of the reader: the session counts as lost.
func (cl *client) end() {
	cl.mu.Lock()
	cl.timer.Stop()
	cl.mu.Unlock()
	if cl.in {
		cl.server.hub.remove(cl)
		cl.server.engine.Lost(cl.key.app, cl.key.user, cl.session, cl, cl.server.Clock.Machine().Add(-time.Since(cl.conn.lastSignOfLife())))
	}
	cl.conn.finish()
}

// handle carries out one request. A reply to a request about a call is queued
// by the request's ack, so that it comes before the events that it causes.
func (cl *client) handle(payload []byte) {
	if cl.conn.isClosing() {
		return
	}
	started := time.Now()
	req, broken := parse(payload)
	if broken != nil {
		cl.conn.close(broken.code, broken.reason)
		return
	}
	op, known := operations[req.Op]
	var err error
	switch {
	case !known:
		err = protocol.Errorf(protocol.CodeInvalidParameter, "unknown operation %.64q", req.Op)
	case !cl.in && op.needsLogin:
		err = protocol.Errorf(protocol.CodeNotLoggedIn, "log in first: %s needs a session", req.Op)
	default:
		err = op.run(cl, req)
	}
	code := protocol.Code(0)
	if err != nil {
		refusal := cl.server.wireError(err, req.Op, cl)
		code = refusal.Code
		cl.reply(req.ID, nil, refusal)
		if req.Op == protocol.OpLogin && !cl.in {
			cl.server.Logger.Info("login refused", "remote", cl.remote, "app_id", cl.key.app, "user_id", string(cl.key.user), "code", int(code))
			cl.conn.close(protocol.CloseUnauthenticated, "login refused: "+refusal.Message)
		}
	}
	if !known {
		req.Op = ""
	}
	cl.observe(req.Op, code, time.Since(started))
}

func (cl *client) observe(op string, code protocol.Code, took time.Duration) {
	if cl.server.Observe != nil {
		cl.server.Observe(op, code, took)
	}
}

// reply queues the reply to a request.
func (cl *client) reply(id int64, body any, refusal *protocol.Error) {
	cl.conn.queue(textFrame(mustJSON(struct {
		ID    int64           `json:"id,omitempty"`
		Body  any             `json:"body,omitempty"`
		Error *protocol.Error `json:"error,omitempty"`
	}{id, body, refusal})))
}

// event queues an event about a call, or holds it while a snapshot is being
// made.
func (cl *client) event(id call.ID, frame []byte) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.holding {
		cl.held = append(cl.held, heldEvent{id, frame})
		return
	}
	cl.conn.queue(frame)
}

// hold keeps events back from now on: a snapshot is being made, and on one
// connection the versions of a call never go back.
func (cl *client) hold() {
	cl.mu.Lock()
	cl.holding = true
	cl.mu.Unlock()
}

// seen drops the held events of a call that the snapshot has just read: it
// includes what they say.
func (cl *client) seen(c *call.Call) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	rest := cl.held[:0]
	for _, e := range cl.held {
		if e.call != c.ID {
			rest = append(rest, e)
		}
	}
	cl.held = rest
}

// release queues the events that came meanwhile; the snapshot is queued
// before it is called.
func (cl *client) release() {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	for _, e := range cl.held {
		cl.conn.queue(e.frame)
	}
	cl.held, cl.holding = nil, false
}

// Enter implements engine.Device.
func (cl *client) Enter(id call.SessionID) {
	cl.session = id
	cl.hold()
	cl.server.hub.add(cl)
}

// Kick implements engine.Device.
func (cl *client) Kick(reason string) {
	cl.server.hub.remove(cl)
	cl.conn.queue(eventFrame(protocol.EventSessionKicked, protocol.Kicked{Reason: reason}))
	cl.conn.close(protocol.CloseKicked, reason)
}

// Replace implements engine.Device.
func (cl *client) Replace() {
	cl.server.hub.remove(cl)
	cl.conn.close(protocol.CloseResumed, "the session goes on on another connection")
}

// tick runs when something about the clock is due: the login limit, a ping, a
// peer that has gone silent, a token that runs out.
func (cl *client) tick() {
	now := time.Now()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.conn.isClosing() {
		return
	}
	if cl.expires.IsZero() {
		cl.conn.close(protocol.CloseUnauthenticated, "log in within 10 seconds")
		return
	}
	if silent := now.Sub(cl.conn.lastSignOfLife()); silent >= cl.server.HeartbeatTimeout {
		if !cl.busy.Load() {
			cl.conn.net.Close()
			return
		}
		cl.conn.touch()
	}
	if left := cl.server.Clock.Until(cl.expires); left <= 0 {
		cl.conn.close(protocol.CloseTokenExpired, expiredText)
		return
	} else if left <= warnBefore && !cl.warned {
		cl.warned = true
		cl.conn.queue(eventFrame(protocol.EventTokenExpiring, protocol.TokenExpiring{
			SecondsLeft: int64((left + time.Second - 1) / time.Second),
		}))
	}
	if !now.Before(cl.nextAt) {
		cl.conn.queue(pingFrame)
		cl.nextAt = now.Add(cl.server.HeartbeatInterval)
	}
	cl.conn.flush()
	cl.setTimer(now)
}

// setTimer waits for whatever is due first; mu is held.
func (cl *client) setTimer(now time.Time) {
	next := cl.nextAt
	token := now.Add(cl.server.Clock.Until(cl.expires))
	if !cl.warned {
		token = token.Add(-warnBefore)
	}
	silent := cl.conn.lastSignOfLife().Add(cl.server.HeartbeatTimeout)
	for _, at := range []time.Time{token, silent} {
		if at.Before(next) {
			next = at
		}
	}
	cl.timer.Reset(max(0, next.Sub(now)))
}

// authenticated notes how long the token is good for and starts the pings.
func (cl *client) authenticated(expires time.Time) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	now := time.Now()
	cl.expires, cl.warned = expires, false
	if cl.nextAt.IsZero() {
		cl.nextAt = now.Add(cl.server.HeartbeatInterval)
	}
	cl.setTimer(now)
}
