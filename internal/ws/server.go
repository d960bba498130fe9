// Package ws serves the WebSocket client protocol: it turns frames of devices
// into commands for the engine, and what happened into events for devices.
package ws

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/clock"
	"github.com/ringback/ringback/internal/engine"
	"github.com/ringback/ringback/internal/peer"
	"github.com/ringback/ringback/internal/trace"
	"github.com/ringback/ringback/protocol"
)

// Engine is what the protocol needs of the engine.
type Engine interface {
	Login(ctx context.Context, in engine.Login) (id call.SessionID, resumed bool, err error)
	Logout(ctx context.Context, app uint32, user call.UserID, id call.SessionID) error
	Lost(app uint32, user call.UserID, id call.SessionID, device engine.Device, lastSign time.Time)
	Invite(ctx context.Context, app uint32, actor call.Actor, in engine.Invitation, ack func(call.Result)) error
	InviteMore(ctx context.Context, app uint32, id call.ID, cmd call.Invite, ack func(call.Result)) error
	Do(ctx context.Context, app uint32, id call.ID, cmd call.Command, ack func(call.Result)) error
	Snapshot(ctx context.Context, app uint32, actor call.Actor, known []call.ID, seen func(*call.Call)) (engine.Snapshot, error)
	History(ctx context.Context, app uint32, user call.UserID, flag int64, count int) ([]*call.Call, int64, error)
}

// App is what the protocol needs to know of an app.
type App struct {
	Secrets     []string // that sign login tokens; several while one is replaced
	InvitedOnly bool     // only invited users may join calls
}

// Options configure a Server.
type Options struct {
	// App finds an app, as it is at this moment.
	App               func(id uint32) (App, bool)
	Logger            *slog.Logger
	HeartbeatInterval time.Duration  // between the pings of the server
	HeartbeatTimeout  time.Duration  // without a sign of life, until a connection counts as lost
	TrustedProxies    []netip.Prefix // whose X-Forwarded-For is believed
	RequestsPerSecond int            // of one connection
	Burst             int
	// Verify checks a login token; see auth.Verify.
	Verify func(token string, appID uint32, userID, secret string, now time.Time) (expires time.Time, err error)
	// Refusal maps an error of Verify to its code at login, 0 if it has none.
	Refusal func(err error) protocol.Code
	// Observe, if set, is called for every request that was answered, with its
	// operation ("" if unknown) and code (0: it was carried out). It must not
	// block.
	Observe func(op string, code protocol.Code, took time.Duration)
	// Trace, if set, is told what devices were sent and said about a call. It
	// must not block.
	Trace func(id call.ID, entries ...trace.Entry)
	Clock *clock.Clock // nil: the machine's
}

// loginLimit is the time that a connection has to log in.
const loginLimit = 10 * time.Second

// Server accepts connections of devices. Its methods may be called
// concurrently.
type Server struct {
	Options
	engine Engine
	hub    hub

	fullLogged atomic.Int64 // when it was last logged that the store is full, Unix seconds

	mu      sync.Mutex
	open    map[*client]struct{}
	closing bool
	away    bool           // devices are sent elsewhere
	work    sync.WaitGroup // readers
	ctx     context.Context
	stop    context.CancelFunc
}

// New makes a Server. Serve must be called with the engine before the first
// connection comes.
func New(o Options) *Server {
	s := &Server{Options: o, open: make(map[*client]struct{})}
	if s.Trace == nil {
		s.Trace = func(call.ID, ...trace.Entry) {}
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Serve has the server use an engine. The two know each other: the engine
// tells devices through [Server.Tell].
func (s *Server) Serve(e Engine) { s.engine = e }

// ServeHTTP upgrades a request to a WebSocket connection and returns; the
// connection lives on by itself.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || r.Header.Get("Upgrade") == "" {
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "this is the WebSocket endpoint of Ringback: connect with a WebSocket client and subprotocol "+protocol.Subprotocol,
			http.StatusUpgradeRequired)
		return
	}
	if s.isClosing() {
		http.Error(w, "the server is going away", http.StatusServiceUnavailable)
		return
	}
	up := ws.HTTPUpgrader{
		Timeout:  loginLimit,
		Protocol: func(name string) bool { return name == protocol.Subprotocol },
	}
	nc, rw, hs, err := up.Upgrade(r, w)
	if err != nil {
		if nc != nil {
			nc.Close()
		}
		s.Logger.Debug("a WebSocket handshake failed", "error", err)
		return
	}
	nc.SetDeadline(time.Time{})
	c := newClient(s, newConn(nc, rw.Reader), peer.Address(r, s.TrustedProxies))
	if !s.enter(c) {
		c.conn.close(protocol.CloseGoingAway, "the server is going away")
	} else if hs.Protocol != protocol.Subprotocol {
		c.conn.close(protocol.CloseProtocol, "ask for the subprotocol "+protocol.Subprotocol)
	}
}

// enter starts the reader of a connection.
func (s *Server) enter(c *client) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c] = struct{}{}
	s.work.Go(func() {
		c.read()
		s.mu.Lock()
		delete(s.open, c)
		s.mu.Unlock()
	})
	return !s.closing && !s.away
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing || s.away
}

// SendAway tells every device to go elsewhere (1001), and takes no others until
// Welcome.
func (s *Server) SendAway() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = true
	for c := range s.open {
		c.conn.close(protocol.CloseGoingAway, "this node cannot do its work: connect to another")
	}
}

// Welcome takes devices again.
func (s *Server) Welcome() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = false
}

// Connections is the number of open connections.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Close tells every device that the server is going away (1001), lets what is
// in flight finish, and returns when all connections are closed or ctx ends.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for c := range s.open {
		c.conn.close(protocol.CloseGoingAway, "the server is going away")
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.work.Wait()
		close(done)
	}()
	select {
	case <-done:
		s.stop()
		return nil
	case <-ctx.Done():
		s.stop()
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.open {
			c.conn.net.Close()
		}
		return errors.New("some connections did not close in time")
	}
}
