package client

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/ringback/ringback/protocol"
)

// network is a network of pipes at the other ends of which a test plays the
// server.
type network struct {
	t     *testing.T
	peers chan *peer
	down  error       // dials fail with it while it is set
	dials []time.Time // of each attempt
	mu    sync.Mutex
}

func newNetwork(t *testing.T) *network {
	return &network{t: t, peers: make(chan *peer, 16)}
}

func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dials = append(n.dials, time.Now())
	if n.down != nil {
		return nil, n.down
	}
	near, far := net.Pipe()
	go func() {
		up := ws.Upgrader{Protocol: func(p []byte) bool { return string(p) == protocol.Subprotocol }}
		if _, err := up.Upgrade(far); err != nil {
			far.Close()
			return
		}
		n.peers <- &peer{n.t, far}
	}()
	return near, nil
}

// setDown makes dials fail, or not, and returns when there were any so far.
func (n *network) setDown(err error) []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = err
	return slices.Clone(n.dials)
}

func (n *network) accept() *peer {
	n.t.Helper()
	select {
	case p := <-n.peers:
		return p
	case <-time.After(time.Hour):
		n.t.Fatal("nobody connected")
		return nil
	}
}

// peer is the server's end of one connection.
type peer struct {
	t  *testing.T
	nc net.Conn
}

// frame reads any frame.
func (p *peer) frame() (ws.OpCode, []byte) {
	p.t.Helper()
	p.nc.SetReadDeadline(time.Now().Add(time.Minute))
	h, err := ws.ReadHeader(p.nc)
	if err != nil {
		p.t.Fatalf("server: %v", err)
	}
	if !h.Masked || h.Length > protocol.MaxFrame {
		p.t.Fatalf("server: bad frame %+v", h)
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(p.nc, payload); err != nil {
		p.t.Fatalf("server: %v", err)
	}
	ws.Cipher(payload, h.Mask, 0)
	return h.OpCode, payload
}

// expect reads a request and checks its operation.
func (p *peer) expect(op string) protocol.Request {
	p.t.Helper()
	code, payload := p.frame()
	var r protocol.Request
	if err := json.Unmarshal(payload, &r); err != nil || code != ws.OpText {
		p.t.Fatalf("server: got frame %v %q, want %s", code, payload, op)
	}
	if r.Op != op {
		p.t.Fatalf("server: got %s, want %s", payload, op)
	}
	return r
}

func (p *peer) text(s string) {
	p.t.Helper()
	if err := wsutil.WriteServerText(p.nc, []byte(s)); err != nil {
		p.t.Fatalf("server: %v", err)
	}
}

func (p *peer) send(v any) {
	p.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		p.t.Fatal(err)
	}
	p.text(string(b))
}

func (p *peer) reply(r protocol.Request, body any) {
	p.t.Helper()
	p.send(map[string]any{"id": r.ID, "body": body})
}

func (p *peer) refuse(r protocol.Request, code protocol.Code) {
	p.t.Helper()
	p.send(protocol.Frame{ID: r.ID, Error: protocol.Errorf(code, "refused")})
}

func (p *peer) event(name string, body any) {
	p.t.Helper()
	p.send(map[string]any{"event": name, "body": body})
}

func (p *peer) close(code protocol.CloseCode) {
	payload := binary.BigEndian.AppendUint16(nil, uint16(code))
	ws.WriteFrame(p.nc, ws.NewFrame(ws.OpClose, true, payload))
	p.nc.Read(make([]byte, 16)) // the answer
	p.nc.Close()
}

// login answers the login with a session s1.
func (p *peer) login(snap protocol.Snapshot) protocol.Login {
	p.t.Helper()
	r := p.expect(protocol.OpLogin)
	var body protocol.Login
	if err := json.Unmarshal(r.Body, &body); err != nil {
		p.t.Fatal(err)
	}
	p.reply(r, protocol.LoginReply{
		SessionID: "s1", Resumed: body.SessionID == "s1", HeartbeatIntervalMS: 10_000, Snapshot: snap,
	})
	return body
}

// recorder is a handler that keeps the events.
type recorder struct{ ch chan Event }

func newRecorder() *recorder { return &recorder{make(chan Event, 4096)} }

func (r *recorder) handle(_ *Client, ev Event) { r.ch <- ev }

// want returns the next event, which must be an E.
func want[E Event](t *testing.T, r *recorder) E {
	t.Helper()
	select {
	case ev := <-r.ch:
		e, ok := ev.(E)
		if !ok {
			t.Fatalf("got event %T %+v, want %T", ev, ev, e)
		}
		return e
	case <-time.After(time.Hour):
		var e E
		t.Fatalf("no event, want %T", e)
		return e
	}
}

// none checks that there is no event.
func (r *recorder) none(t *testing.T) {
	t.Helper()
	synctest.Wait()
	select {
	case ev := <-r.ch:
		t.Fatalf("got event %T %+v, want none", ev, ev)
	default:
	}
}

// rig is a client in a bubble, logged in to a scripted server.
type rig struct {
	*network
	*recorder
	c    *Client
	peer *peer
}

// start connects a client. It must be called in a bubble.
func start(t *testing.T, change func(*Options)) *rig {
	t.Helper()
	n, rec := newNetwork(t), newRecorder()
	opts := Options{AppID: 1, UserID: "alice", Token: "t0", OnEvent: rec.handle, NetDial: n.dial}
	if change != nil {
		change(&opts)
	}
	g := &rig{network: n, recorder: rec}
	dialed := make(chan error, 1)
	go func() {
		var err error
		g.c, err = Dial(t.Context(), "ws://server", opts)
		dialed <- err
	}()
	g.peer = n.accept()
	g.peer.login(protocol.Snapshot{})
	if err := <-dialed; err != nil {
		t.Fatal(err)
	}
	want[*Connected](t, rec)
	want[*Snapshot](t, rec)
	return g
}

// stop ends the client and waits for it.
func (g *rig) stop() {
	g.c.Close()
	<-g.c.Done()
}

// again accepts the next connection and its login.
func (g *rig) again(snap protocol.Snapshot) protocol.Login {
	g.t.Helper()
	g.peer = g.accept()
	return g.peer.login(snap)
}

var errNet = errors.New("network is down")

// ringing is a general call from bob to alice.
func ringing(id string, version int64) protocol.Call {
	return protocol.Call{CallID: id, Version: version, State: 1, Caller: "bob", Inviter: "bob", Users: []protocol.CallUser{
		{UserID: "bob", State: stateAccepted},
		{UserID: "alice", State: stateInviting},
	}}
}
