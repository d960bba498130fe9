package natsbus

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/bus/bustest"
	"github.com/ringback/ringback/internal/store"
)

func TestBus(t *testing.T) {
	bustest.Run(t, func(t *testing.T, test func(t *testing.T, n *bustest.Network)) {
		t.Parallel()
		test(t, network(t))
	})
}

// nobody is a Handler that nothing comes to.
type nobody struct{}

func (nobody) Receive(store.NodeID, []byte)                {}
func (nobody) Answer(store.NodeID, []byte) ([]byte, error) { return nil, errors.New("nobody") }
func (nobody) Missed(store.NodeID)                         {}

// TestLostAtLast has a message lost that no other follows.
func TestLostAtLast(t *testing.T) {
	t.Parallel()
	n := network(t)
	a, b := bustest.Join(t, n, 1), bustest.Join(t, n, 2)
	a.Peers([]store.NodeID{2})
	b.Peers([]store.NodeID{1})
	if err := a.Send(2, make([]byte, 2<<20)); err == nil || !strings.Contains(err.Error(), "max_payload") {
		t.Errorf("a message that is too long: %v", err)
	}
	bustest.Until(t, "the receiver finds out by the beat", func() bool { return b.MissedOf(1) == 1 })
	if b.MissedOf(0) != 0 || a.Connected() != nil {
		t.Error("the connection did not stay")
	}
}

// TestServerRestart has the server go away and come back at its address.
func TestServerRestart(t *testing.T) {
	t.Parallel()
	s, to := serve(t, nil)
	port := s.Addr().(*net.TCPAddr).Port
	n := &bustest.Network{Join: func(self store.NodeID, h bus.Handler) bus.Bus {
		return join(t, Options{URL: to, Logger: slog.New(slog.DiscardHandler)}, self, h)
	}}
	a, b := bustest.Join(t, n, 1), bustest.Join(t, n, 2)
	s.Shutdown()
	s.WaitForShutdown()
	bustest.Until(t, "both know", func() bool { return a.Connected() != nil && b.Connected() != nil })
	bustest.Until(t, "the cause is known", func() bool {
		return strings.Contains(a.Connected().Error(), "no server answers there")
	})
	serve(t, func(o *server.Options) { o.Port = port })
	bustest.Until(t, "both are told", func() bool { return a.MissedOf(0) > 0 && b.MissedOf(0) > 0 })
	if err := a.Send(2, []byte("x")); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "messages pass again", func() bool { return len(b.Got(1)) == 1 })
}

// TestClosedForGood has the server close the connection with an error after
// which the client does not connect again by itself.
func TestClosedForGood(t *testing.T) {
	t.Parallel()
	n := network(t)
	a, b := bustest.Join(t, n, 1), bustest.Join(t, n, 2)
	a.Bus.(*node).conn.Load().Close()
	bustest.Until(t, "it is connected again, and told", func() bool { return a.Connected() == nil && a.MissedOf(0) > 0 })
	if err := b.Send(1, []byte("x")); err != nil {
		t.Fatal(err)
	}
	bustest.Until(t, "messages pass again", func() bool { return len(a.Got(2)) == 1 })
}

func TestPrefixes(t *testing.T) {
	t.Parallel()
	_, to := serve(t, nil)
	opts := Options{URL: to, Logger: slog.New(slog.DiscardHandler)}
	first := join(t, opts, 1, nobody{})
	defer first.Close()
	_, err := Join(t.Context(), opts, 1, nobody{})
	if err == nil {
		t.Fatal("another cluster with the same prefix was not noticed")
	}
	hasAll(t, err.Error(), `"ringback.node.1"`, "different subject prefixes")
	opts.Prefix = "other.cluster"
	second := join(t, opts, 1, nobody{})
	defer second.Close()
	if err := errors.Join(first.Connected(), second.Connected()); err != nil {
		t.Error(err)
	}
}

func TestWrongOptions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		opts Options
		want string
	}{
		"no URL":      {Options{}, "nats://host:4222"},
		"web":         {Options{URL: "https://u:s3cret@host"}, "begins with nats:// or tls://"},
		"unreadable":  {Options{URL: "nats://u:s3cret%@host:4222"}, "special characters"},
		"not encoded": {Options{URL: "nats://u:12/s3cret@host:4222"}, "special characters"},
		"nor this":    {Options{URL: "nats://u:12?s3cret@host:4222"}, "special characters"},
		"nor that":    {Options{URL: "nats://u:12#s3cret@host:4222"}, "special characters"},
		"wrong port":  {Options{URL: "nats://u:s3cret@host:s3cret"}, "cannot be read"},
		"prefix":      {Options{URL: "nats://host", Prefix: "a.>"}, `"a.>" is no prefix`},
		"credentials": {Options{URL: "nats://127.0.0.1:1", Credentials: filepath.Join(t.TempDir(), "none.creds")}, "none.creds"},
	} {
		t.Run(name, func(t *testing.T) {
			c.opts.Logger = slog.New(slog.DiscardHandler)
			_, err := Join(t.Context(), c.opts, 1, nobody{})
			if err == nil {
				t.Fatal("no error")
			}
			hasAll(t, err.Error(), c.want)
			for _, secret := range []string{"s3cret", "u:12"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error tells a secret: %v", err)
				}
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	user := func(name string, p *server.Permissions) *server.User {
		return &server.User{Username: name, Password: "s3cret", Permissions: p}
	}
	allow := func(subjects ...string) *server.SubjectPermission { return &server.SubjectPermission{Allow: subjects} }
	_, to := serve(t, func(o *server.Options) {
		o.Users = []*server.User{
			user("good", &server.Permissions{Publish: allow("ringback.>"), Subscribe: allow("ringback.>")}),
			user("mute", &server.Permissions{Publish: allow("other.>"), Subscribe: allow("ringback.>")}),
			user("deaf", &server.Permissions{Publish: allow("ringback.>"), Subscribe: allow("other.>")}),
			user("half", &server.Permissions{Publish: allow("ringback.>"), Subscribe: allow("ringback.ask.*", "ringback.inbox.>")}),
		}
	})
	host := strings.TrimPrefix(to, "nats://")
	_, closed := serve(t, nil)
	with := func(user string) string { return "nats://" + user + "@" + host }
	for name, c := range map[string]struct {
		url  string
		want []string
	}{
		"no credentials":  {to, []string{host, "refuses this node"}},
		"wrong password":  {with("good:wrong-s3"), []string{host, "refuses this node"}},
		"may not publish": {with("mute:s3cret"), []string{`publish and subscribe to "ringback.>"`}},
		"may not listen":  {with("deaf:s3cret"), []string{`publish and subscribe to "ringback.>"`}},
		"may half":        {with("half:s3cret"), []string{`publish and subscribe to "ringback.>"`}},
		"no TLS there":    {strings.Replace(closed, "nats:", "tls:", 1), []string{"the server has no TLS"}},
		"nobody there":    {"nats://u:s3cret@127.0.0.1:1", []string{"127.0.0.1:1", "no server answers"}},
		"unknown host":    {"nats://u:s3cret@nowhere.invalid", []string{"nowhere.invalid", "not known"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen logs
			_, err := Join(t.Context(), Options{URL: c.url, Logger: seen.logger()}, 1, nobody{})
			if err == nil {
				t.Fatal("no error")
			}
			hasAll(t, err.Error(), c.want...)
			hasAll(t, seen.text())
		})
	}
	t.Run("allowed", func(t *testing.T) {
		b := join(t, Options{URL: with("good:s3cret"), Logger: slog.New(slog.DiscardHandler)}, 1, nobody{})
		if err := errors.Join(b.Connected(), b.Close()); err != nil {
			t.Error(err)
		}
	})
}

// TestRefusedLater takes a node's permission away while it is connected, and
// then its user.
func TestRefusedLater(t *testing.T) {
	t.Parallel()
	users := func(name string, publish ...string) []*server.User {
		return []*server.User{{Username: name, Password: "s3cret", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: []string{"ringback.>"}},
		}}}
	}
	opts := server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, Users: users("node", "ringback.>")}
	s, to := serve(t, func(o *server.Options) { *o = opts })
	opts.Port = s.Addr().(*net.TCPAddr).Port
	var seen logs
	b := join(t, Options{URL: "nats://node:s3cret@" + strings.TrimPrefix(to, "nats://"), Logger: seen.logger()}, 1, nobody{})
	defer b.Close()
	b.Peers([]store.NodeID{2})
	reload := func(users []*server.User) {
		t.Helper()
		o := opts
		o.Users = users
		if err := s.ReloadOptions(&o); err != nil {
			t.Fatal(err)
		}
	}
	says := func(want string) {
		t.Helper()
		bustest.Until(t, "Connected says: "+want, func() bool {
			err := b.Connected()
			return err != nil && strings.Contains(err.Error(), want)
		})
	}
	reload(users("node", "ringback.ask.*"))
	says("permit its user")
	reload(users("another", "ringback.>"))
	says("refuses this node")
	reload(users("node", "ringback.>"))
	bustest.Until(t, "it is allowed again", func() bool { return b.Connected() == nil })
	bustest.Until(t, "the log says so", func() bool { return strings.Contains(seen.text(), "the connection to NATS is back") })
	hasAll(t, seen.text(), "trouble with NATS")
}

// TestContext ends an attempt to join a server that says nothing.
func TestContext(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = Join(ctx, Options{URL: "nats://" + l.Addr().String(), Logger: slog.New(slog.DiscardHandler)}, 1, nobody{})
	if err == nil {
		t.Fatal("no error")
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
}
