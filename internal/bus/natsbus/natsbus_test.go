package natsbus

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/bus/bustest"
	"github.com/ringback/ringback/internal/store"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	server := startServer(t, "")
	var count int
	var mu sync.Mutex
	bustest.Run(t, func(t *testing.T) bustest.Network {
		mu.Lock()
		defer mu.Unlock()
		count++
		return &network{server: server, prefix: fmt.Sprintf("test%d", count), nodes: make(map[store.NodeID]*Bus), links: make(map[store.NodeID]*link)}
	})
}

// network is nodes of one cluster on a server, each over a link of its own.
// Clusters of other tests are on the same server.
type network struct {
	server *running
	prefix string
	nodes  map[store.NodeID]*Bus
	links  map[store.NodeID]*link
}

func (n *network) Join(t *testing.T, self store.NodeID, h bus.Handler) bus.Bus {
	n.links[self] = newLink(t, address(n.server))
	n.nodes[self] = join(t, Options{Servers: []string{"nats://" + n.links[self].Addr().String()}, Prefix: n.prefix, Name: fmt.Sprint("node", self)}, self, h)
	return n.nodes[self]
}

func (n *network) Cut(_ *testing.T, id store.NodeID)  { n.links[id].setCut(true) }
func (n *network) Heal(_ *testing.T, id store.NodeID) { n.links[id].setCut(false) }

// Lose gives a message its number and does not send it.
func (n *network) Lose(_ *testing.T, from, to store.NodeID) {
	b := n.nodes[from]
	b.out.mu.Lock()
	defer b.out.mu.Unlock()
	b.out.route(b, to).last++
}

// Settle waits for the answers to pings, which come after the messages.
func (n *network) Settle(t *testing.T, from, to store.NodeID) {
	for _, id := range []store.NodeID{from, to} {
		if err := n.nodes[id].conn.Flush(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestJoinErrors(t *testing.T) {
	t.Parallel()
	open := address(startServer(t, ""))
	user := address(startServer(t, `authorization: { user: ringback, password: "right-s3cret" }`))
	token := address(startServer(t, `authorization: { token: "right-token" }`))
	tight := address(startServer(t, `authorization: { users: [ { user: ringback, password: right, permissions: { publish: "other.>", subscribe: "ringback.>" } } ] }`))
	deafened := address(startServer(t, `authorization: { users: [ { user: ringback, password: right, permissions: { publish: "ringback.>", subscribe: "other.>" } } ] }`))
	mute := address(startServer(t, `authorization: { users: [ { user: ringback, password: right, permissions: { publish: "ringback.>", subscribe: "ringback.node.>" } } ] }`))
	small := address(startServer(t, `max_payload: 64KB`))
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	nobody := freeAddress(t)
	for _, test := range []struct {
		name    string
		options Options
		want    string
	}{
		{"no server", Options{}, "name at least one"},
		{"no URL", Options{Servers: []string{"nats://user:pa:ss#s3cret@host"}}, "number 1 is not the URL of a server"},
		{"a port that is none", Options{Servers: []string{"nats://ok:4222", "nats://user:s3cret/x@host:4222"}}, "number 2 is not the URL of a server"},
		{"another protocol", Options{Servers: []string{"http://s3cret@host:80"}}, "none of NATS"},
		{"prefix", Options{Servers: []string{open}, Prefix: "a.*"}, `"a.*" cannot begin a subject`},
		{"nobody there", Options{Servers: []string{"nats://user:s3cret@" + nobody}}, "NATS at " + nobody + " does not answer: check the address"},
		{"a web server", Options{Servers: []string{"nats://user:s3cret@" + web.Listener.Addr().String()}}, "NATS at " + web.Listener.Addr().String()},
		{"no password", Options{Servers: []string{user}}, "refuses the node's credentials"},
		{"wrong password", Options{Servers: []string{"nats://ringback:wrong-s3cret@" + user}}, "refuses the node's credentials"},
		{"wrong token", Options{Servers: []string{"nats://wrong-s3cret@" + token}}, "refuses the node's credentials"},
		{"may not publish", Options{Servers: []string{"nats://ringback:right@" + tight}}, "permission to publish and to subscribe ringback.>"},
		{"may not subscribe", Options{Servers: []string{"nats://ringback:right@" + deafened}}, "permission to publish and to subscribe ringback.>"},
		{"may not get answers", Options{Servers: []string{"nats://ringback:right@" + mute}}, "permission to publish and to subscribe ringback.>"},
		{"small messages only", Options{Servers: []string{small}}, "raise max_payload there to 1MB"},
		{"no TLS there", Options{Servers: []string{"tls://" + open}}, "has no TLS"},
		{"no credentials file", Options{Servers: []string{open}, Credentials: filepath.Join(t.TempDir(), "none")}, "credentials cannot be read"},
		{"no certificates", Options{Servers: []string{open}, CA: os.DevNull}, "has no certificate in PEM"},
		{"no key", Options{Servers: []string{open}, Cert: filepath.Join(t.TempDir(), "none")}, "certificate of the node for NATS cannot be used"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.options.Logger = quiet()
			b, err := Join(t.Context(), test.options, 1, deaf{})
			if err == nil {
				_ = b.Close()
				t.Fatal("it joined")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %q, want %q in it", err, test.want)
			}
			for _, secret := range []string{"s3cret", "right"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error tells a secret: %q", err)
				}
			}
		})
	}
}

func TestJoinWithSecrets(t *testing.T) {
	t.Parallel()
	user := address(startServer(t, `authorization: { user: ringback, password: "p@ss/w:rd" }`))
	token := address(startServer(t, `authorization: { token: "right-token" }`))
	just := address(startServer(t, `authorization: { users: [ { user: ringback, password: right, permissions: { publish: "pre.fix.>", subscribe: "pre.fix.>" } } ] }`))
	for name, o := range map[string]Options{
		"password":           {Servers: []string{"nats://ringback:p%40ss%2Fw%3Ard@" + user}},
		"token":              {Servers: []string{"nats://right-token@" + token}},
		"just what it needs": {Servers: []string{"nats://ringback:right@" + just}, Prefix: "pre.fix"},
		"one server of two":  {Servers: []string{"nats://" + freeAddress(t), "nats://right-token@" + token}},
	} {
		t.Run(name, func(t *testing.T) {
			b := join(t, o, 1, deaf{})
			if err := b.Connected(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestStay has a server restart: with other credentials, so that the node is
// refused, then with the right ones.
func TestStay(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	conf := func(password string) string {
		return `authorization: { user: ringback, password: "` + password + `" }`
	}
	first := startServer(t, conf("s3cret"))
	wire := newLink(t, address(first))
	heard := &counter{}
	b := join(t, Options{Servers: []string{"nats://ringback:s3cret@" + wire.Addr().String()}, Logger: slog.New(slog.NewTextHandler(&log, nil))}, 1, heard)
	first.Shutdown()
	until(t, "the node notices that the server is gone", func() bool { return errors.Is(b.Connected(), bus.ErrDisconnected) })
	if err := b.Send(2, nil); !errors.Is(err, bus.ErrDisconnected) {
		t.Fatalf("Send: %v", err)
	}
	wire.redirect(address(startServer(t, conf("another"))))
	until(t, "the node tells that its credentials are refused", func() bool {
		err := b.Connected()
		return err != nil && strings.Contains(err.Error(), "refuses the node's credentials")
	})
	wire.setCut(true)
	wire.redirect(address(startServer(t, conf("s3cret"))))
	wire.setCut(false)
	until(t, "the node is back", func() bool { return b.Connected() == nil })
	until(t, "it is told that messages were missed", func() bool { return heard.missed(0) })
	if strings.Contains(log.String(), "s3cret") {
		t.Errorf("the log tells a secret:\n%s", log.String())
	}
}

// TestPermissionsLater takes a permission away from a node that is connected.
func TestPermissionsLater(t *testing.T) {
	t.Parallel()
	conf := `authorization: { users: [ { user: ringback, password: right, permissions: { publish: "%s.>", subscribe: "ringback.>" } } ] }`
	server := startServer(t, fmt.Sprintf(conf, "ringback"))
	b := join(t, Options{Servers: []string{"nats://ringback:right@" + address(server)}}, 1, deaf{})
	server.reload(t, fmt.Sprintf(conf, "other"))
	until(t, "the node tells what it is not allowed", func() bool {
		err := b.Connected()
		return err != nil && strings.Contains(err.Error(), "permission to publish and to subscribe ringback.>")
	})
	server.reload(t, fmt.Sprintf(conf, "ringback"))
	until(t, "the node has what it needs", func() bool { return b.Connected() == nil })
}

// TestStandstill has a network that takes everything and brings nothing.
func TestStandstill(t *testing.T) {
	t.Parallel()
	server := startServer(t, "")
	wire := newLink(t, address(server))
	heard := &counter{}
	a := join(t, Options{Servers: []string{"nats://" + wire.Addr().String()}}, 1, deaf{})
	b := join(t, Options{Servers: []string{address(server)}}, 2, heard)
	a.Peers([]store.NodeID{2})
	b.Peers([]store.NodeID{1})
	wire.stand(true)
	until(t, "the node itself notices", func() bool { return a.Connected() != nil })
	until(t, "the other is told that it may miss messages", func() bool { return heard.missed(1) })
	if err := b.Connected(); err != nil {
		t.Fatalf("the other one: %v", err)
	}
	wire.stand(false)
	until(t, "the node is back", func() bool { return a.Connected() == nil })
}

// TestTwoClusters has nodes of two clusters with the same prefix.
func TestTwoClusters(t *testing.T) {
	t.Parallel()
	o := Options{Servers: []string{address(startServer(t, ""))}}
	var nodes []*Bus
	for range 2 {
		a, b := join(t, o, 1, deaf{}), join(t, o, 2, deaf{})
		a.Peers([]store.NodeID{2})
		b.Peers([]store.NodeID{1})
		nodes = append(nodes, a, b)
	}
	for i, b := range nodes {
		until(t, fmt.Sprintf("node %d notices the other cluster", i), func() bool {
			err := b.Connected()
			return err != nil && strings.Contains(err.Error(), "another Ringback cluster")
		})
	}
	_ = nodes[2].Close()
	_ = nodes[3].Close()
	for i, b := range nodes[:2] {
		until(t, fmt.Sprintf("node %d is alone again", i), func() bool { return b.Connected() == nil })
	}
}

// TestStrangers has others send to a node's subject.
func TestStrangers(t *testing.T) {
	t.Parallel()
	heard := &counter{}
	b := join(t, Options{Servers: []string{address(startServer(t, ""))}}, 1, heard)
	for _, data := range [][]byte{nil, {kindMessage}, bytes.Repeat([]byte{0xff}, headerSize)} {
		if err := b.conn.Publish("ringback.node.1", data); err != nil {
			t.Fatal(err)
		}
	}
	other := join(t, Options{Servers: []string{"nats://" + b.conn.ConnectedAddr()}}, 2, deaf{})
	if err := other.Send(1, []byte("news")); err != nil {
		t.Fatal(err)
	}
	until(t, "a message comes after what is none", func() bool { return heard.received() == 1 })
}

// FuzzParse has anything come in.
func FuzzParse(f *testing.F) {
	b := &Bus{self: 1, incarn: 2}
	f.Add(append(b.header(nil, kindMessage, 3), "text"...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		h, body, ok := parse(data)
		if !ok {
			return
		}
		again := &Bus{self: h.from, incarn: h.incarn}
		if built := append(again.header(nil, h.kind, h.last), body...); !bytes.Equal(built, data) {
			t.Fatalf("%x became %x", data, built)
		}
	})
}

// freeAddress is one where nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// counter is a handler that counts.
type counter struct {
	mu     sync.Mutex
	count  int
	losses map[store.NodeID]bool
}

func (c *counter) Receive(store.NodeID, []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
}

func (c *counter) Answer(store.NodeID, []byte) ([]byte, error) { return nil, nil }

func (c *counter) Missed(from store.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.losses == nil {
		c.losses = make(map[store.NodeID]bool)
	}
	c.losses[from] = true
}

func (c *counter) missed(from store.NodeID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.losses[from]
}

func (c *counter) received() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
