package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringback/ringback/client"
	"github.com/ringback/ringback/internal/auth"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/server"
	"github.com/ringback/ringback/protocol"
)

const (
	adminToken = "an-admin-token-of-some-length"
	patience   = 15 * time.Second // for what takes milliseconds
)

// rig is a real server with one app, and a command line that talks to it.
type rig struct {
	t       *testing.T
	cfg     *config.Config
	address string
	stop    func() // ends the server and waits
}

// newRig starts a server whose app has these endpoints.
func newRig(t *testing.T, endpoints ...string) *rig {
	t.Helper()
	r := &rig{t: t, cfg: config.Default()}
	r.cfg.DataDir, r.cfg.AdminToken = t.TempDir(), adminToken
	r.cfg.Callbacks.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	app := config.DefaultApp()
	app.ID, app.Name, app.Secret = 1, "test", testSecret
	for _, url := range endpoints {
		e := config.DefaultEndpoint()
		e.URL, e.Retry = url, []time.Duration{}
		app.Callbacks = append(app.Callbacks, e)
	}
	r.cfg.Apps = []config.App{app}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

// start starts the server, again at the same address.
func (r *rig) start() {
	r.t.Helper()
	address := r.address
	if address == "" {
		address = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.address = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	srv, err := server.Open(ctx, r.cfg, server.Options{Logger: slog.New(slog.DiscardHandler), Version: "test"})
	if err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, ln) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("the server: %v", err)
		}
	})
}

func (r *rig) environ() []string {
	return []string{"RINGBACK_SERVER=http://" + r.address, "RINGBACK_ADMIN_TOKEN=" + adminToken, "COLUMNS=80"}
}

// run runs a command that must succeed, and gives what it prints.
func (r *rig) run(args ...string) string {
	r.t.Helper()
	status, stdout, stderr := ringback(r.t, r.environ(), args...)
	if status != 0 {
		r.t.Fatalf("%q: status %d, stdout %q, stderr %q", args, status, stdout, stderr)
	}
	if strings.Contains(stdout+stderr, adminToken) {
		r.t.Errorf("%q prints the token", args)
	}
	return stdout
}

// fails runs a command that must fail with a message.
func (r *rig) fails(status int, want string, args ...string) {
	r.t.Helper()
	got, stdout, stderr := ringback(r.t, r.environ(), args...)
	if got != status || !strings.Contains(stderr, want) {
		r.t.Errorf("%q: status %d, stdout %q, stderr %q; want %d, %q", args, got, stdout, stderr, status, want)
	}
}

// read runs a command with --json and reads the document.
func read[T any](r *rig, args ...string) T {
	r.t.Helper()
	var out T
	text := r.run(append(args, "--json")...)
	dec := json.NewDecoder(strings.NewReader(text))
	if err := dec.Decode(&out); err != nil || dec.More() {
		r.t.Fatalf("%q: %v in %s", args, err, text)
	}
	return out
}

// dial connects a user.
func (r *rig) dial(user string) *client.Client {
	r.t.Helper()
	token, err := auth.NewToken04(1, user, testSecret, time.Now(), time.Hour, "")
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := client.Dial(r.t.Context(), "http://"+r.address, client.Options{AppID: 1, UserID: user, Token: token})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}

// ring makes a call that is accepted and gives its ID.
func (r *rig) ring(caller, callee *client.Client, payload string) string {
	r.t.Helper()
	reply, err := caller.Invite(r.t.Context(), protocol.Invite{UserIDs: []string{"bob"}, ExtendedData: payload})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := callee.Accept(r.t.Context(), protocol.CallAction{CallID: reply.CallID}); err != nil {
		r.t.Fatal(err)
	}
	return reply.CallID
}

// screen is what a command that goes on prints.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // holds one while there is something new
}

func newScreen() *screen { return &screen{more: make(chan struct{}, 1)} }

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.more <- struct{}{}:
	default:
	}
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// expect waits until the text has n matches of a pattern.
func (s *screen) expect(t *testing.T, n int, pattern string) {
	t.Helper()
	re, deadline := regexp.MustCompile(pattern), time.After(patience)
	for {
		if len(re.FindAllString(s.String(), -1)) >= n {
			return
		}
		select {
		case <-s.more:
		case <-deadline:
			t.Fatalf("no %d of %q in\n%s", n, pattern, s.String())
		}
	}
}

// running is a command that goes on until it is interrupted.
type running struct {
	t              *testing.T
	stdout, stderr *screen
	cancel         context.CancelFunc
	ended          chan error
}

// start runs a command that goes on.
func (r *rig) begin(args ...string) *running {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	c := &running{t: r.t, stdout: newScreen(), stderr: newScreen(), cancel: cancel, ended: make(chan error, 1)}
	go func() { c.ended <- run(ctx, args, r.environ(), c.stdout, c.stderr) }()
	r.t.Cleanup(cancel)
	return c
}

// interrupt is Ctrl-C; the command must end with status 0.
func (c *running) interrupt() {
	c.t.Helper()
	c.cancel()
	if status := report(<-c.ended, io.Discard); status != 0 {
		c.t.Errorf("status %d after Ctrl-C: %s", status, c.stderr)
	}
}

// Every way in which a server cannot be used says what to do.
func TestServerTrouble(t *testing.T) {
	r := newRig(t)
	r.fails(1, "there is no such app (404)", "apps", "show", "7")
	url := "RINGBACK_SERVER=http://" + r.address
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + ln.Addr().String()
	ln.Close()
	for _, tt := range []struct {
		environ, args []string
		status        int
		want          string
	}{
		{[]string{url}, nil, 1, "the server wants a token: set RINGBACK_ADMIN_TOKEN, or --token, to the admin_token"},
		{[]string{url, "RINGBACK_ADMIN_TOKEN=hunter2"}, nil, 1, "the server refuses the token in RINGBACK_ADMIN_TOKEN"},
		{[]string{url}, []string{"--token", "hunter2"}, 1, "the server refuses the token in --token"},
		{[]string{"RINGBACK_SERVER=" + nobody}, nil, 1, "nothing listens at " + nobody + ": is the server running? --server or RINGBACK_SERVER names another"},
		{[]string{url}, []string{"--server", "localhost"}, 2, `--server: "localhost" is not the URL of a server`},
		{[]string{url}, []string{"--server", "http://u:hunter2@h"}, 2, "must not hold a user or a password"},
		{[]string{url}, []string{"--server", "http://" + r.address + "/v1"}, 1, "has no admin API"},
	} {
		for _, command := range [][]string{{"apps", "list"}, {"listen"}, {"events", "--follow"}} {
			status, stdout, stderr := ringback(t, tt.environ, append(command, tt.args...)...)
			if status != tt.status || stdout != "" || !strings.Contains(stderr, tt.want) || strings.Contains(stderr, "hunter2") {
				t.Errorf("%q %q: status %d, stdout %q, stderr %q; want %q", command, tt.args, status, stdout, stderr, tt.want)
			}
		}
	}
}
