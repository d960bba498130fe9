package load

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/ringback/ringback/e2e/history"
	"github.com/ringback/ringback/protocol"
)

// wireLink is one connection of a device that speaks the protocol by itself.
type wireLink struct {
	d    *device
	nc   net.Conn
	conn int64
	node string

	writing sync.Mutex

	mu      sync.Mutex
	lastID  int64
	waiting map[int64]request // nil when the connection is gone
}

// request waits for its reply, of which there is one at most.
type request struct {
	op    string
	reply chan protocol.Frame
}

// errLost is what a request ends with whose connection was lost.
var errLost = errors.New("connection lost")

// connect makes a connection, logs in, and serves it until it is gone.
func (d *device) connect(ctx context.Context) error {
	node := d.run.node()
	dialing, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	dialer := ws.Dialer{Protocols: []string{protocol.Subprotocol}}
	nc, br, _, err := dialer.Dial(dialing, strings.Replace(node, "http", "ws", 1)+protocol.Path)
	if err != nil {
		return err
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	if br == nil {
		br = bufio.NewReader(nc)
	}
	l := &wireLink{d: d, nc: nc, node: node, conn: d.run.conns.Add(1), waiting: make(map[int64]request)}
	d.record(history.Record{Kind: history.Opened, Node: node, Conn: l.conn})
	nc.SetReadDeadline(time.Now().Add(5 * time.Second)) // for the reply to the login
	d.run.acting.Go(func() { l.login(ctx) })
	code, err := l.read(ctx, br)
	d.down()
	l.mu.Lock()
	for _, req := range l.waiting {
		close(req.reply)
	}
	l.waiting = nil
	l.mu.Unlock()
	d.record(history.Record{Kind: history.Closed, Node: node, Conn: l.conn, Code: code, Error: err.Error()})
	return err
}

func (l *wireLink) login(ctx context.Context) {
	session, known := l.d.known()
	token, err := l.d.run.cfg.Token(l.d.user)
	if err == nil {
		_, err = l.do(ctx, protocol.OpLogin, protocol.Login{
			AppID: l.d.run.cfg.AppID, UserID: l.d.user, Token: token, SessionID: session, KnownCalls: known,
		})
	}
	if err != nil {
		l.nc.Close()
	}
}

// read handles frames until the connection is gone, and gives the close code.
func (l *wireLink) read(ctx context.Context, br *bufio.Reader) (int, error) {
	heartbeat := 5 * time.Second
	for {
		f, err := readFrame(br)
		if err != nil {
			return 0, err
		}
		if l.d.online() {
			l.nc.SetReadDeadline(time.Now().Add(3 * heartbeat))
		}
		switch f.Header.OpCode {
		case ws.OpPing:
			l.write(ws.NewPongFrame(f.Payload))
		case ws.OpClose:
			if len(f.Payload) < 2 {
				return 0, errors.New("closed by the server")
			}
			code := binary.BigEndian.Uint16(f.Payload)
			return int(code), fmt.Errorf("closed by the server: %s", f.Payload[2:])
		case ws.OpText:
			var frame protocol.Frame
			if err := json.Unmarshal(f.Payload, &frame); err != nil || !f.Header.Fin {
				return 0, fmt.Errorf("not a frame of the protocol: %q", f.Payload)
			}
			if beat := l.frame(ctx, &frame); beat > 0 {
				heartbeat = beat
			}
		}
	}
}

// readFrame reads a frame, none larger than the protocol has.
func readFrame(br *bufio.Reader) (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(br); err != nil {
		return f, err
	}
	if f.Header.Length > protocol.MaxFrame {
		return f, fmt.Errorf("a frame of %d bytes, the limit is %d", f.Header.Length, protocol.MaxFrame)
	}
	f.Payload = make([]byte, f.Header.Length)
	_, err = io.ReadFull(br, f.Payload)
	return f, err
}

// frame records a frame and passes it on. After a login it gives the interval
// of the server's pings.
func (l *wireLink) frame(ctx context.Context, f *protocol.Frame) (heartbeat time.Duration) {
	if f.Event != "" {
		l.d.record(history.Record{Kind: history.Event, Node: l.node, Conn: l.conn, Name: f.Event, Body: f.Body})
		l.d.told(ctx, f.Event, f.Body)
		if f.Event == protocol.EventCallInvited {
			l.confirm(ctx, f.Body)
		}
		return 0
	}
	l.mu.Lock()
	req := l.waiting[f.ID]
	delete(l.waiting, f.ID)
	l.mu.Unlock()
	rec := history.Record{Kind: history.Reply, Node: l.node, Conn: l.conn, ID: f.ID, Name: req.op, Body: f.Body}
	if f.Error != nil {
		rec.Code = int(f.Error.Code)
	}
	var login protocol.LoginReply
	var snapshot protocol.Snapshot
	switch {
	case req.op == protocol.OpLogin && f.Error == nil && json.Unmarshal(f.Body, &login) == nil:
		l.d.up(l, login.SessionID)
		l.d.record(rec)
		l.catchUp(ctx, &login.Snapshot)
		heartbeat = time.Duration(login.HeartbeatIntervalMS) * time.Millisecond
	case req.op == protocol.OpCallSync && f.Error == nil && json.Unmarshal(f.Body, &snapshot) == nil:
		l.d.record(rec)
		l.catchUp(ctx, &snapshot)
	default:
		l.d.record(rec)
	}
	if req.reply != nil {
		req.reply <- *f
	}
	return heartbeat
}

// catchUp takes over the calls of a snapshot.
func (l *wireLink) catchUp(ctx context.Context, snap *protocol.Snapshot) {
	l.d.caughtUp(ctx, snap)
	for i := range snap.Calls {
		l.confirm(ctx, bodyOf(snap.Calls[i]))
	}
}

// confirm tells the server that the device rings.
func (l *wireLink) confirm(ctx context.Context, body json.RawMessage) {
	var call protocol.Call
	if json.Unmarshal(body, &call) != nil {
		return
	}
	for _, u := range call.Users {
		if u.UserID == l.d.user && (u.State == 0 || u.State == 9) {
			l.d.run.acting.Go(func() { l.do(ctx, protocol.OpCallReceived, protocol.CallAction{CallID: call.CallID}) })
		}
	}
}

// do implements link.
func (l *wireLink) do(ctx context.Context, op string, in any) (any, error) {
	ch := make(chan protocol.Frame, 1)
	l.writing.Lock()
	l.mu.Lock()
	if l.waiting == nil {
		l.mu.Unlock()
		l.writing.Unlock()
		return nil, errLost
	}
	l.lastID++
	id := l.lastID
	l.waiting[id] = request{op, ch}
	l.mu.Unlock()
	frame, err := json.Marshal(protocol.Request{ID: id, Op: op, Body: mustBody(in)})
	if err != nil {
		panic(err) // it was made of JSON
	}
	l.d.record(history.Record{Kind: history.Sent, Node: l.node, Conn: l.conn, ID: id, Name: op, Body: bodyOf(in)})
	err = ws.WriteFrame(l.nc, ws.MaskFrameInPlace(ws.NewTextFrame(frame)))
	l.writing.Unlock()
	if err != nil {
		l.nc.Close()
	}
	select {
	case f, ok := <-ch:
		switch {
		case !ok:
			return nil, errLost
		case f.Error != nil:
			return nil, f.Error
		}
		return decodeReply(op, f.Body)
	case <-ctx.Done():
		return nil, ctx.Err() // its reply is recorded when it comes
	}
}

func mustBody(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("load: encoding %T: %v", v, err)) // types of protocol always encode
	}
	return b
}

// decodeReply decodes the replies that scenarios look at.
func decodeReply(op string, body json.RawMessage) (any, error) {
	if op != protocol.OpCallInvite {
		return nil, nil
	}
	reply := new(protocol.InviteReply)
	return reply, json.Unmarshal(body, reply)
}

func (l *wireLink) write(f ws.Frame) {
	l.writing.Lock()
	defer l.writing.Unlock()
	ws.WriteFrame(l.nc, ws.MaskFrameInPlace(f)) // the reader finds out
}

func (l *wireLink) connected() bool { return true }

func (l *wireLink) cut()   { l.nc.Close() }
func (l *wireLink) leave() { l.nc.Close() }
