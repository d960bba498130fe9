package natsbus

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/bus/bustest"
	"github.com/ringback/ringback/internal/store"
)

// serve runs a NATS server in this process and gives its URL.
func serve(t testing.TB, change func(o *server.Options)) (*server.Server, string) {
	t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true}
	if change != nil {
		change(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	return s, s.ClientURL()
}

// logs is a logger whose lines can be looked at.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// wire is the way of one connection to a server, which can be cut.
type wire struct {
	listener net.Listener
	target   string
	work     sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

// newWire gives a wire to the server of a URL, and the URL by which to use it.
func newWire(t testing.TB, to string) (*wire, string) {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, target: u.Host, conns: make(map[net.Conn]bool)}
	w.work.Go(w.accept)
	t.Cleanup(func() {
		l.Close()
		w.set(true)
		w.work.Wait()
	})
	u.Host = l.Addr().String()
	return w, u.String()
}

func (w *wire) accept() {
	for {
		c, err := w.listener.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", w.target)
		if err != nil || !w.add(c, s) {
			c.Close()
			if s != nil {
				s.Close()
			}
			continue
		}
		for _, pair := range [][2]net.Conn{{c, s}, {s, c}} {
			w.work.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				pair[0].Close()
				pair[1].Close()
			})
		}
	}
}

func (w *wire) add(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		w.conns[c] = true
	}
	return !w.cut
}

// set cuts the wire or mends it.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for c := range w.conns {
			c.Close()
		}
		clear(w.conns)
	}
}

// network is a bustest.Network on a server of its own.
func network(t *testing.T) *bustest.Network {
	_, to := serve(t, nil)
	wires := make(map[store.NodeID]*wire)
	return &bustest.Network{
		Join: func(self store.NodeID, h bus.Handler) bus.Bus {
			w, through := newWire(t, to)
			wires[self] = w
			return join(t, Options{URL: through, Logger: slog.New(slog.DiscardHandler)}, self, h)
		},
		Cut:     func(id store.NodeID) { wires[id].set(true) },
		Mend:    func(id store.NodeID) { wires[id].set(false) },
		Waiting: maxWaitingBytes / bustest.Large,
	}
}

func join(t testing.TB, opts Options, self store.NodeID, h bus.Handler) bus.Bus {
	t.Helper()
	b, err := Join(t.Context(), opts, self, h)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hasAll checks a text for what has to be in it, and for what must not be.
func hasAll(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in: %s", part, text)
		}
	}
	if strings.Contains(text, "s3cret") {
		t.Errorf("a secret is in: %s", text)
	}
}
