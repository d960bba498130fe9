package ws_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	gws "github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/ringback/ringback/internal/auth"
	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/engine"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/sqlite"
	"github.com/ringback/ringback/internal/ws"
	"github.com/ringback/ringback/protocol"
)

const (
	appID  = 1
	secret = "0123456789abcdef0123456789abcdef"
	// patience bounds the waiting for something that must come.
	patience = 20 * time.Second
)

// site is a whole server but for callbacks: devices, engine and a real store.
type site struct {
	t       *testing.T
	url     string
	devices *ws.Server
}

type settings struct {
	policy      string
	invitedOnly bool
	heartbeat   time.Duration // interval; the timeout is three times as long
	rate, burst int
}

func newSite(t *testing.T, set settings) *site {
	t.Helper()
	if set.policy == "" {
		set.policy = engine.PolicyMulti
	}
	if set.heartbeat == 0 {
		set.heartbeat = 10 * time.Second
	}
	if set.rate == 0 {
		set.rate, set.burst = 200, 400
	}
	log := slog.New(slog.DiscardHandler)
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	devices := ws.New(ws.Options{
		App: func(id uint32) (ws.App, bool) {
			return ws.App{Secrets: []string{secret}, InvitedOnly: set.invitedOnly}, id == appID
		},
		Logger:            log,
		HeartbeatInterval: set.heartbeat, HeartbeatTimeout: 3 * set.heartbeat,
		RequestsPerSecond: set.rate, Burst: set.burst,
		Verify: auth.Verify,
		Refusal: func(err error) protocol.Code {
			if err == auth.ErrExpired {
				return protocol.CodeTokenExpired
			}
			return 0
		},
	})
	eng := engine.New(engine.Options{
		Store: db, Devices: devices, Callbacks: noCallbacks{}, Logger: log,
		App:              func(uint32) (engine.App, bool) { return engine.App{LoginPolicy: set.policy}, true },
		HeartbeatTimeout: 3 * set.heartbeat, AbsenceTimeout: 2 * time.Minute, MaxCallDuration: 24 * time.Hour,
		SessionTTL: 720 * time.Hour, Retention: 720 * time.Hour,
	})
	devices.Serve(eng)
	if err := eng.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(devices)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := devices.Close(ctx); err != nil {
			t.Error(err)
		}
		web.Close()
		eng.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &site{t: t, url: "ws" + strings.TrimPrefix(web.URL, "http"), devices: devices}
}

type noCallbacks struct{}

func (noCallbacks) Events(engine.Transition) []*store.Event { return nil }
func (noCallbacks) UserAction(engine.UserAction) *store.Event {
	return &store.Event{Name: "user_action", Fields: []byte("{}")}
}
func (noCallbacks) Subscriptions(uint32, string) []store.EndpointID { return nil }
func (noCallbacks) HandOff([]*store.Event)                          {}
func (noCallbacks) Wake(uint32)                                     {}

// device is a raw WebSocket peer: it shows just what the server sends.
type device struct {
	t    *testing.T
	conn net.Conn
	r    io.Reader
	next int64
	user string
	// session is set by login.
	session string
	// waiting are frames that were read while looking for another.
	waiting []protocol.Frame
}

func (s *site) dial() *device {
	s.t.Helper()
	return s.dialWith(gws.Dialer{Protocols: []string{protocol.Subprotocol}, Timeout: patience})
}

func (s *site) dialWith(dialer gws.Dialer) *device {
	s.t.Helper()
	conn, br, _, err := dialer.Dial(s.t.Context(), s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	d := &device{t: s.t, conn: conn, r: conn}
	if br != nil {
		d.r = br
	}
	s.t.Cleanup(func() { conn.Close() })
	conn.SetReadDeadline(time.Now().Add(patience))
	return d
}

func token(t *testing.T, user string, ttl time.Duration) string {
	t.Helper()
	return tokenOf(t, user, time.Now(), ttl)
}

func expired(t *testing.T, user string) string {
	t.Helper()
	return tokenOf(t, user, time.Now().Add(-time.Hour), time.Minute)
}

func tokenOf(t *testing.T, user string, issued time.Time, ttl time.Duration) string {
	t.Helper()
	tok, err := auth.NewToken04(appID, user, secret, issued, ttl, "")
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// login dials and logs in.
func (s *site) login(user string) *device {
	s.t.Helper()
	d := s.dial()
	d.login(protocol.Login{AppID: appID, UserID: user, Token: token(s.t, user, time.Hour)})
	return d
}

func (d *device) login(in protocol.Login) protocol.LoginReply {
	d.t.Helper()
	d.user = in.UserID
	var reply protocol.LoginReply
	d.ok(protocol.OpLogin, in, &reply)
	d.session = reply.SessionID
	return reply
}

func (d *device) send(raw string) {
	d.t.Helper()
	if err := wsutil.WriteClientText(d.conn, []byte(raw)); err != nil {
		d.t.Fatal(err)
	}
}

// request sends a request and gives its ID.
func (d *device) request(op string, body any) int64 {
	d.t.Helper()
	d.next++
	raw, err := json.Marshal(body)
	if err != nil {
		d.t.Fatal(err)
	}
	d.send(fmt.Sprintf(`{"id":%d,"op":%q,"body":%s}`, d.next, op, raw))
	return d.next
}

// closed is how a connection was closed.
type closed struct {
	code   protocol.CloseCode
	reason string
}

func (c closed) Error() string { return fmt.Sprintf("closed with %d %q", c.code, c.reason) }

// read gives the next frame from the wire.
func (d *device) read() (protocol.Frame, error) {
	for {
		h, err := gws.ReadHeader(d.r)
		if err != nil {
			return protocol.Frame{}, err
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(d.r, payload); err != nil {
			return protocol.Frame{}, err
		}
		switch h.OpCode {
		case gws.OpPing:
			if err := wsutil.WriteClientMessage(d.conn, gws.OpPong, payload); err != nil {
				return protocol.Frame{}, err
			}
		case gws.OpClose:
			c := closed{code: 1005}
			if len(payload) >= 2 {
				c = closed{protocol.CloseCode(binary.BigEndian.Uint16(payload)), string(payload[2:])}
			}
			return protocol.Frame{}, c
		case gws.OpText:
			var f protocol.Frame
			if err := json.Unmarshal(payload, &f); err != nil {
				return f, fmt.Errorf("%s: %w", payload, err)
			}
			return f, nil
		}
	}
}

// reply gives the reply to a request; events before it wait.
func (d *device) reply(id int64) protocol.Frame {
	d.t.Helper()
	for {
		f, err := d.read()
		if err != nil {
			d.t.Fatalf("%s waits for the reply to %d: %v", d.user, id, err)
		}
		if f.Event == "" && f.ID == id {
			return f
		}
		d.waiting = append(d.waiting, f)
	}
}

// ok makes a request that must succeed.
func (d *device) ok(op string, body, into any) {
	d.t.Helper()
	f := d.reply(d.request(op, body))
	if f.Error != nil {
		d.t.Fatalf("%s of %s: %v", op, d.user, f.Error)
	}
	if into != nil {
		if err := json.Unmarshal(f.Body, into); err != nil {
			d.t.Fatal(err)
		}
	}
}

// refused makes a request that must be refused with the code.
func (d *device) refused(code protocol.Code, op string, body any) {
	d.t.Helper()
	f := d.reply(d.request(op, body))
	if f.Error == nil || f.Error.Code != code || f.Error.Message == "" {
		d.t.Errorf("%s of %s %v: %v (body %s), want code %d", op, d.user, body, f.Error, f.Body, code)
	}
}

// event gives the next frame, which must be that event.
func (d *device) event(name string, into any) {
	d.t.Helper()
	var f protocol.Frame
	if len(d.waiting) > 0 {
		f, d.waiting = d.waiting[0], d.waiting[1:]
	} else {
		var err error
		if f, err = d.read(); err != nil {
			d.t.Fatalf("%s waits for %s: %v", d.user, name, err)
		}
	}
	if f.Event != name {
		d.t.Fatalf("%s got %s%s %s, want %s", d.user, f.Event, f.Error, f.Body, name)
	}
	if into != nil {
		if err := json.Unmarshal(f.Body, into); err != nil {
			d.t.Fatal(err)
		}
	}
}

// changed gives the next frame, which must be call.users_changed, as
// "user:state" texts.
func (d *device) changed() string {
	d.t.Helper()
	var body protocol.UsersChanged
	d.event(protocol.EventCallUsersChanged, &body)
	var parts []string
	for _, u := range body.Users {
		parts = append(parts, fmt.Sprintf("%s:%d", u.UserID, u.State))
	}
	return fmt.Sprintf("v%d %s", body.Version, strings.Join(parts, " "))
}

// sees checks what the next call.users_changed says.
func (d *device) sees(want string) {
	d.t.Helper()
	if got := d.changed(); got != want {
		d.t.Errorf("%s sees %q, want %q", d.user, got, want)
	}
}

// quiet checks that nothing is on its way: a ping's reply comes first.
func (d *device) quiet() {
	d.t.Helper()
	d.ok(protocol.OpPing, struct{}{}, nil)
	for _, f := range d.waiting {
		d.t.Errorf("%s got %s %s", d.user, f.Event, f.Body)
	}
	d.waiting = nil
}

// gone waits for the server to close with the code.
func (d *device) gone(code protocol.CloseCode) {
	d.t.Helper()
	for {
		_, err := d.read()
		var c closed
		switch {
		case err == nil:
		case asClosed(err, &c):
			if c.code != code || c.reason == "" && code != protocol.CloseLogout {
				d.t.Errorf("%s: %v, want %d and a reason", d.user, c, code)
			}
			return
		default:
			d.t.Fatalf("%s waits to be closed with %d: %v", d.user, code, err)
		}
	}
}

func asClosed(err error, into *closed) bool {
	c, ok := err.(closed)
	*into = c
	return ok
}

func (d *device) invite(mode call.Mode, users ...string) protocol.InviteReply {
	d.t.Helper()
	var reply protocol.InviteReply
	d.ok(protocol.OpCallInvite, protocol.Invite{UserIDs: users, Mode: int(mode), ExtendedData: "hello"}, &reply)
	return reply
}

func about(id string) protocol.CallAction { return protocol.CallAction{CallID: id} }
