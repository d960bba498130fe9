package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringback/ringback/client"
	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/auth"
	"github.com/ringback/ringback/internal/config"
)

const adminToken = "the-admin-token-of-these-tests"

// arrival is a request that an inbox got.
type arrival struct {
	header http.Header
	body   []byte
}

// inbox is an endpoint that keeps what it gets, and answers with the status.
type inbox struct {
	url string

	mu     sync.Mutex
	status int
	got    []arrival
	grown  chan struct{}
}

func newInbox(t *testing.T) *inbox {
	b := &inbox{status: http.StatusOK, grown: make(chan struct{})}
	s := httptest.NewServer(b)
	t.Cleanup(s.Close)
	b.url = s.URL
	return b
}

func (b *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = append(b.got, arrival{r.Header, body})
	close(b.grown)
	b.grown = make(chan struct{})
	w.WriteHeader(b.status)
	fmt.Fprintf(w, "answer %d", len(b.got))
}

func (b *inbox) answer(status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status = status
}

func (b *inbox) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.got)
}

// await waits until n requests came.
func (b *inbox) await(t *testing.T, n int) []arrival {
	t.Helper()
	timeout := time.After(patience)
	for {
		b.mu.Lock()
		got, grown := b.got[:len(b.got):len(b.got)], b.grown
		b.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-grown:
		case <-timeout:
			t.Fatalf("%d requests came, want %d", len(got), n)
		}
	}
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// admin is an operator of a whole server, whose app 1 has one endpoint for
// every event.
type admin struct {
	t     *testing.T
	url   string
	token string
	inbox *inbox
	log   *lines
	doc   description
}

func serveAdmin(t *testing.T, change func(*config.Config, *Options)) *admin {
	t.Helper()
	a := &admin{t: t, token: adminToken, inbox: newInbox(t), log: new(lines)}
	cfg := config.Default()
	cfg.DataDir, cfg.AdminToken = t.TempDir(), adminToken
	cfg.Callbacks.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	app, endpoint := config.DefaultApp(), config.DefaultEndpoint()
	app.ID, app.Secret, app.Name = 1, secret, "from the file"
	endpoint.URL, endpoint.Events = a.inbox.url, append(config.DefaultEvents(), config.ExtraEvents()...)
	endpoint.Retry = []time.Duration{time.Hour}
	app.Callbacks = []config.Endpoint{endpoint}
	cfg.Apps = []config.App{app}
	o := Options{Logger: slog.New(slog.NewJSONHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Version: "test"}
	if change != nil {
		change(cfg, &o)
	}
	s, err := Open(t.Context(), cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, hidden := range []string{adminToken, secret} {
			if strings.Contains(a.log.String(), hidden) {
				t.Errorf("the log has a secret:\n%s", a.log)
			}
		}
	})
	a.url = "http://" + ln.Addr().String()
	a.doc = readDescription(t, a)
	return a
}

// send makes a request; a body that is a string goes as it is.
func (a *admin) send(method, path string, body any) (*http.Response, []byte) {
	a.t.Helper()
	text, raw := body.(string)
	if body != nil && !raw {
		data, err := json.Marshal(body)
		if err != nil {
			a.t.Fatal(err)
		}
		text = string(data)
	}
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, strings.NewReader(text))
	if err != nil {
		a.t.Fatal(err)
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return resp, answer
}

// do makes a request whose answer must have the status and be as described.
func (a *admin) do(want int, method, path string, body any) []byte {
	a.t.Helper()
	resp, text := a.send(method, adminapi.Path+path, body)
	if resp.StatusCode != want {
		a.t.Fatalf("%s %s: HTTP %d %s, want %d", method, path, resp.StatusCode, text, want)
	}
	a.doc.check(a.t, method, resp, text)
	return text
}

// refused makes a request that must fail with a sentence that has the words.
func (a *admin) refused(want int, method, path string, body any, words ...string) {
	a.t.Helper()
	var problem struct {
		Status int
		Detail string
	}
	text := a.do(want, method, path, body)
	if err := json.Unmarshal(text, &problem); err != nil {
		a.t.Fatalf("%s %s: %s: %v", method, path, text, err)
	}
	for _, word := range words {
		if problem.Status != want || !strings.Contains(problem.Detail, word) {
			a.t.Errorf("%s %s: %d %q does not say %q", method, path, problem.Status, problem.Detail, word)
		}
	}
}

func request[T any](a *admin, want int, method, path string, body any) (out T) {
	a.t.Helper()
	text := a.do(want, method, path, body)
	if err := json.Unmarshal(text, &out); err != nil {
		a.t.Fatalf("%s %s: %s: %v", method, path, text, err)
	}
	return out
}

func get[T any](a *admin, path string) T {
	a.t.Helper()
	return request[T](a, http.StatusOK, http.MethodGet, path, nil)
}

// until reads something again and again until it is as it should be.
func until[T any](a *admin, path string, ok func(T) bool) T {
	a.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got := get[T](a, path)
		if ok(got) {
			return got
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("%s stays %+v", path, got)
		}
	}
}

// endpoint is the endpoint of app 1.
func (a *admin) endpoint() int64 {
	a.t.Helper()
	return get[adminapi.App](a, "/apps/1").Endpoints[0].ID
}

// login logs a device of an app in.
func login(t testing.TB, url string, app uint32, user, secret string) (*client.Client, error) {
	t.Helper()
	token, err := auth.NewToken04(app, user, secret, time.Now(), time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	return client.Dial(t.Context(), url, client.Options{AppID: app, UserID: user, Platform: "WEB", Token: token})
}
