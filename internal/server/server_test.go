package server

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringback/ringback/client"
	"github.com/ringback/ringback/internal/auth"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/protocol"
)

const (
	secret   = "0123456789abcdef0123456789abcdef"
	patience = 20 * time.Second
)

// backend is a business server that notes the callbacks it gets.
type backend struct {
	t      *testing.T
	mu     sync.Mutex
	bodies []map[string]any
	grown  chan struct{}
}

func (b *backend) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		b.t.Error(err)
	}
	var body map[string]any
	if err := json.Unmarshal(text, &body); err != nil {
		b.t.Errorf("%s: %v", text, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bodies = append(b.bodies, body)
	close(b.grown)
	b.grown = make(chan struct{})
}

// await waits until there are n callbacks.
func (b *backend) await(n int) []map[string]any {
	b.t.Helper()
	timeout := time.After(patience)
	for {
		b.mu.Lock()
		bodies, grown := slices.Clone(b.bodies), b.grown
		b.mu.Unlock()
		if len(bodies) >= n {
			return bodies
		}
		select {
		case <-grown:
		case <-timeout:
			b.t.Fatalf("%d callbacks came, want %d: %v", len(bodies), n, bodies)
		}
	}
}

// serve runs a whole server with one endpoint for the events.
func serve(t *testing.T, events ...string) (url string, b *backend) {
	t.Helper()
	b = &backend{t: t, grown: make(chan struct{})}
	receiver := httptest.NewServer(b)
	t.Cleanup(receiver.Close)
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	cfg.Callbacks.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	app, endpoint := config.DefaultApp(), config.DefaultEndpoint()
	app.ID, app.Secret = 1, secret
	endpoint.URL, endpoint.Events = receiver.URL, events
	app.Callbacks = []config.Endpoint{endpoint}
	cfg.Apps = []config.App{app}
	s, err := Open(t.Context(), cfg, Options{Logger: slog.New(slog.DiscardHandler), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(t.Context(), ln) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String(), b
}

func dial(t *testing.T, url, user string) *client.Client {
	t.Helper()
	return dialWith(t, url, user, nil)
}

func dialWith(t *testing.T, url, user string, onEvent func(*client.Client, client.Event)) *client.Client {
	t.Helper()
	token, err := auth.NewToken04(1, user, secret, time.Now(), time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(t.Context(), url, client.Options{
		AppID: 1, UserID: user, UserName: "Name of " + user, Platform: "MAC", Token: token, OnEvent: onEvent,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestUserAction(t *testing.T) {
	url, b := serve(t, protocol.CallbackUserAction)
	alice := dial(t, url, "alice")
	session := alice.SessionID()
	if err := alice.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	bodies := b.await(2)
	slices.SortFunc(bodies, func(x, y map[string]any) int { return int(x["action"].(float64) - y["action"].(float64)) })
	for i, body := range bodies {
		want := map[string]any{
			"appid": "1", "event": "user_action", "user_id": "alice", "user_name": "Name of alice", "os": "MAC",
			"action": float64(i), "session_id": session, "relogin": "0",
		}
		for key, value := range want {
			if body[key] != value {
				t.Errorf("action %d: %s is %v, want %v", i, key, body[key], value)
			}
		}
		if _, there := body["logout_time"]; there != (i == 1) {
			t.Errorf("action %d: %v", i, body)
		}
	}
}

func TestMetrics(t *testing.T) {
	url, b := serve(t)
	alice, bob := dial(t, url, "alice"), dial(t, url, "bob")
	defer bob.Close()
	for i, answer := range []func(id string) error{
		func(id string) error { _, err := bob.Accept(t.Context(), protocol.CallAction{CallID: id}); return err },
		func(id string) error { _, err := bob.Reject(t.Context(), protocol.CallAction{CallID: id}); return err },
		func(id string) error { _, err := alice.Cancel(t.Context(), protocol.Cancel{CallID: id}); return err },
		func(string) error { return alice.Logout(t.Context()) },
	} {
		made, err := alice.Invite(t.Context(), protocol.Invite{UserIDs: []string{"bob"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := answer(made.CallID); err != nil {
			t.Fatal(err)
		}
		b.await(2 * (i + 1))
	}
	resp, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`ringback_calls_created_total{mode="general"} 4`,
		`ringback_calls_ended_total{mode="general",outcome="accepted"} 1`,
		`ringback_calls_ended_total{mode="general",outcome="rejected"} 1`,
		`ringback_calls_ended_total{mode="general",outcome="caller_cancel"} 1`,
		`ringback_calls_ended_total{mode="general",outcome="caller_left"} 1`,
		`ringback_commands_total{code="0",op="call.invite"} 4`,
		`ringback_calls_live 0`,
		`ringback_callback_attempts_total{endpoint="1",result="delivered"} `,
		`ringback_callback_in_flight{app="1",endpoint="1"} `,
		`ringback_callback_oldest_undelivered_seconds{app="1",endpoint="1"} `,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("/metrics does not have %s", want)
		}
	}
	if strings.Contains(string(text), secret) {
		t.Error("/metrics has the secret")
	}
}

func TestOpenRefusesWhatItCannotUse(t *testing.T) {
	cfg := config.Default()
	cfg.DataDir = fmt.Sprintf("%s/nul\x00", t.TempDir())
	if s, err := Open(t.Context(), cfg, Options{Logger: slog.New(slog.DiscardHandler)}); err == nil {
		s.Close()
		t.Error("an impossible directory was accepted")
	}
}
