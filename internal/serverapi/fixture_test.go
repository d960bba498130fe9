package serverapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/engine"
	"github.com/ringback/ringback/internal/feed"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/webhook"
)

const (
	app       = 12345
	secret    = "9193cc662a4c0ec135ec71fb57194b38"
	oldSecret = "00000000000000000000000000000000"
)

// backend is a customer's backend that talks to a server with a real engine.
type backend struct {
	t       *testing.T
	server  *Server
	engine  *engine.Engine
	store   *memory
	feed    *feed.Feed
	log     *bytes.Buffer
	devices *devices
	nonces  atomic.Int64
	mu      sync.Mutex
	seen    []string // actions and codes that were observed
}

func newBackend(t *testing.T, change ...func(*Options)) *backend {
	t.Helper()
	b := &backend{t: t, store: newMemory(), feed: new(feed.Feed), log: new(bytes.Buffer), devices: new(devices)}
	logger := slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	b.engine = engine.New(engine.Options{
		Store: b.store, Devices: b.devices, Callbacks: callbacks{b.feed}, App: func(uint32) (engine.App, bool) { return engine.App{LoginPolicy: engine.PolicyMulti}, true },
		Logger: logger, HeartbeatTimeout: 35 * time.Second, AbsenceTimeout: 2 * time.Minute, MaxCallDuration: 24 * time.Hour,
		SessionTTL: 720 * time.Hour, Retention: 720 * time.Hour,
	})
	if err := b.engine.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := Options{
		Engine: b.engine, Store: b.store, Feed: b.feed, Logger: logger,
		Apps: func(id uint32) (App, bool) {
			return App{ID: id, Secrets: []string{secret, oldSecret}}, id == app || id == app+1
		},
		Observe: func(action string, code Code, _ time.Duration) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.seen = append(b.seen, fmt.Sprintf("%s %d", action, code))
		},
	}
	for _, f := range change {
		f(&o)
	}
	b.server = New(o)
	return b
}

// close ends what newBackend began; inside a bubble it must be called before
// the end.
func (b *backend) close() {
	b.server.Close()
	b.engine.Close()
}

// devices note what devices are told.
type devices struct{ told []engine.Transition }

func (d *devices) Tell(t engine.Transition) { d.told = append(d.told, t) }

// CatchUp implements engine.Devices.
func (d *devices) CatchUp(_, _ *call.Call) {}

// callbacks make the real events, and announce them to the feed.
type callbacks struct{ feed *feed.Feed }

func (callbacks) Events(t engine.Transition) []*store.Event {
	var events []*store.Event
	for _, cb := range webhook.Callbacks(t.Before, t.After, t.Event) {
		events = append(events, &store.Event{Name: cb.Name, Fields: cb.Fields, Version: t.After.Version})
	}
	return events
}

func (callbacks) UserAction(engine.UserAction) *store.Event {
	return &store.Event{Name: "user_action", Fields: []byte(`{}`)}
}

func (callbacks) Subscriptions(uint32, string) []store.EndpointID { return nil }

// Wake implements engine.Callbacks.
func (c callbacks) Wake(uint32) {}

func (c callbacks) HandOff(events []*store.Event) { c.feed.Announce(events) }

// phone is a device.
type phone struct{}

func (phone) Enter(call.SessionID) {}
func (phone) Kick(string)          {}
func (phone) Replace()             {}

func (b *backend) login(users ...string) {
	b.t.Helper()
	for _, user := range users {
		b.loginAs(user)
	}
}

func (b *backend) loginAs(user string) (call.SessionID, *phone) {
	b.t.Helper()
	p := new(phone)
	id, _, err := b.engine.Login(b.t.Context(), engine.Login{App: app, User: call.UserID(user), Platform: "WEB", Device: p})
	if err != nil {
		b.t.Fatal(err)
	}
	return id, p
}

func (b *backend) logout(user string, id call.SessionID) {
	b.t.Helper()
	if err := b.engine.Logout(b.t.Context(), app, call.UserID(user), id); err != nil {
		b.t.Fatal(err)
	}
}

// query makes the signed query of a request; more are names and values.
func (b *backend) query(action string, more ...string) url.Values {
	q := url.Values{}
	if action != "" {
		q.Set("Action", action)
	}
	q.Set("AppId", strconv.Itoa(app))
	q.Set("SignatureNonce", fmt.Sprintf("%016x", b.nonces.Add(1)))
	q.Set("Timestamp", strconv.FormatInt(time.Now().Unix(), 10))
	q.Set("SignatureVersion", "2.0")
	for i := 0; i < len(more); i += 2 {
		q.Add(more[i], more[i+1])
	}
	sign(q, secret)
	return q
}

func sign(q url.Values, secret string) {
	q.Set("Signature", Signature(q.Get("AppId"), q.Get("SignatureNonce"), secret, q.Get("Timestamp")))
}

// result is the answer of an action.
type result map[string]any

func (r result) code() Code { return Code(r["Code"].(float64)) }

func (r result) text(name string) string {
	text, _ := r[name].(string)
	return text
}

// send sends a request with a query as it stands, and a body if it is a POST.
func (b *backend) send(method, query, body string) result {
	b.t.Helper()
	r := httptest.NewRequest(method, "/?"+query, strings.NewReader(body))
	w := httptest.NewRecorder()
	b.server.ServeHTTP(w, r)
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		b.t.Fatalf("HTTP %d %v", w.Code, w.Header())
	}
	var out result
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		b.t.Fatalf("%s: %v", w.Body, err)
	}
	if len(out.text("RequestId")) != 18 || out.text("Message") == "" || out.code() != 0 && !strings.Contains(out.text("Message"), " ") {
		b.t.Errorf("every answer has RequestId and Message: %s", w.Body)
	}
	return out
}

// get runs a GET action.
func (b *backend) get(action string, more ...string) result {
	b.t.Helper()
	return b.send(http.MethodGet, b.query(action, more...).Encode(), "")
}

// post runs a POST action.
func (b *backend) post(action, body string) result {
	b.t.Helper()
	return b.send(http.MethodPost, b.query(action).Encode(), body)
}

// invite makes a call.
func (b *backend) invite(from string, to ...string) string {
	b.t.Helper()
	body, err := json.Marshal(CallInvite{FromUserID: from, UserIDs: to})
	if err != nil {
		b.t.Fatal(err)
	}
	r := b.post("CallInvite", string(body))
	if r.code() != 0 {
		b.t.Fatalf("CallInvite: %v", r)
	}
	return r.text("CallId")
}

// inviteAdvanced has a device make an advanced call.
func (b *backend) inviteAdvanced(from string, session call.SessionID, to ...call.UserID) (id string) {
	b.t.Helper()
	in := engine.Invitation{Invitees: to, Timeout: 90, Mode: call.Advanced}
	err := b.engine.Invite(b.t.Context(), app, call.Actor{User: call.UserID(from), Session: session}, in, func(r call.Result) { id = r.Call.ID.String() })
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

func (b *backend) want(r result, code Code) {
	b.t.Helper()
	if r.code() != code {
		b.t.Errorf("the answer is %v, want code %d", r, code)
	}
}
