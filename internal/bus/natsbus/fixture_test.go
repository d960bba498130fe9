package natsbus

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/store"
)

// running is a NATS server in this process.
type running struct {
	*natsserver.Server
	file string // its configuration
}

// startServer runs a server as a configuration says, and stops it when the
// test has ended.
func startServer(t testing.TB, conf string) *running {
	t.Helper()
	r := &running{file: filepath.Join(t.TempDir(), "nats.conf")}
	o := r.options(t, conf, natsserver.RANDOM_PORT)
	var err error
	if r.Server, err = natsserver.NewServer(o); err != nil {
		t.Fatal(err)
	}
	r.Start()
	t.Cleanup(func() {
		r.Shutdown()
		r.WaitForShutdown()
	})
	if !r.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	return r
}

func (r *running) options(t testing.TB, conf string, port int) *natsserver.Options {
	t.Helper()
	if err := os.WriteFile(r.file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := natsserver.ProcessConfigFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	o.Host, o.Port, o.NoSigs, o.NoLog = "127.0.0.1", port, true, true
	return o
}

func (r *running) reload(t testing.TB, conf string) {
	t.Helper()
	if err := r.ReloadOptions(r.options(t, conf, r.Addr().(*net.TCPAddr).Port)); err != nil {
		t.Fatal(err)
	}
}

func address(r *running) string { return r.Addr().String() }

// deaf is a handler for tests that look at the connection only.
type deaf struct{}

func (deaf) Receive(store.NodeID, []byte)                {}
func (deaf) Answer(store.NodeID, []byte) ([]byte, error) { return nil, nil }
func (deaf) Missed(store.NodeID)                         {}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// join joins for the length of a test.
func join(t testing.TB, o Options, self store.NodeID, h bus.Handler) *Bus {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet()
	}
	b, err := Join(context.Background(), o, self, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// until polls for what the network or a server brings about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

// link is a wire between a node and a server that can be cut, and on which
// everything can stand still.
type link struct {
	net.Listener

	mu    sync.Mutex
	to    string
	cut   bool
	still chan struct{} // not nil: nothing moves until it is closed
	conns map[net.Conn]bool
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{Listener: ln, to: to, conns: make(map[net.Conn]bool)}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { l.carry(client) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		l.stand(false)
		l.setCut(true)
		serving.Wait()
	})
	return l
}

func (l *link) carry(client net.Conn) {
	l.mu.Lock()
	to := l.to
	l.mu.Unlock()
	server, err := net.Dial("tcp", to)
	if err != nil || !l.keep(client, server) {
		_ = client.Close()
		if err == nil {
			_ = server.Close()
		}
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			_, _ = io.Copy(struct{ io.Writer }{way[0]}, gate{l, way[1]})
			_ = client.Close()
			_ = server.Close()
		})
	}
	both.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, client)
	delete(l.conns, server)
}

// gate reads from a connection while nothing has to stand still.
type gate struct {
	l *link
	net.Conn
}

func (g gate) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	g.l.mu.Lock()
	still := g.l.still
	g.l.mu.Unlock()
	if still != nil {
		<-still
	}
	return n, err
}

func (l *link) keep(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return false
	}
	for _, c := range conns {
		l.conns[c] = true
	}
	return true
}

func (l *link) setCut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	for c := range l.conns {
		if cut {
			_ = c.Close()
		}
	}
}

// redirect has new connections go to another server.
func (l *link) redirect(to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = to
}

// stand has everything stand still, or go on.
func (l *link) stand(still bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case still && l.still == nil:
		l.still = make(chan struct{})
	case !still && l.still != nil:
		close(l.still)
		l.still = nil
	}
}
