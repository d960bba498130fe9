package webhook

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/sqlite"
	"github.com/ringback/ringback/protocol"
)

func contextThatEnded() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx, cancel
}

// receiver is a business server that checks every signature.
type receiver struct {
	t       *testing.T
	secret  string
	fail    int // how many times it refuses each callback
	mu      sync.Mutex
	got     map[string][]string // by call ID: event#sequence#attempt
	refused map[string]int
	want    int // callbacks, repetitions aside
	seen    map[string]bool
	all     chan struct{}
}

func newReceiver(t *testing.T, secret string, fail, want int) (*receiver, string) {
	r := &receiver{
		t: t, secret: secret, fail: fail, want: want,
		got: make(map[string][]string), refused: make(map[string]int), seen: make(map[string]bool), all: make(chan struct{}),
	}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	return r, server.URL
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	var fields struct {
		protocol.CallbackCommon
		CallID string `json:"call_id"`
	}
	if err := json.Unmarshal(body, &fields); err != nil {
		r.t.Errorf("%q: %v", body, err)
	}
	id := req.Header.Get(protocol.HeaderWebhookID)
	timestamp, _ := strconv.ParseInt(req.Header.Get(protocol.HeaderWebhookTimestamp), 10, 64)
	if fields.Signature != protocol.CallbackSignature(r.secret, fields.Timestamp, fields.Nonce) ||
		req.Header.Get(protocol.HeaderWebhookSignature) != protocol.WebhookSignature(r.secret, id, timestamp, body) ||
		timestamp != fields.Timestamp {
		r.t.Errorf("bad signature of %q", body)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused[id] < r.fail {
		r.refused[id]++
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	r.got[fields.CallID] = append(r.got[fields.CallID],
		fields.Event+"#"+req.Header.Get(protocol.HeaderSequence)+"#"+req.Header.Get(protocol.HeaderAttempt))
	if r.seen[id] {
		return
	}
	r.seen[id] = true
	if len(r.seen) == r.want {
		close(r.all)
	}
}

func (r *receiver) wait() {
	r.t.Helper()
	select {
	case <-r.all:
	case <-time.After(time.Minute):
		r.t.Fatal("not everything was delivered within a minute")
	}
}

// TestWithSQLite lets calls happen, with two endpoints, one of which refuses
// each callback once, and a restart in between.
func TestWithSQLite(t *testing.T) {
	const calls = 40
	const secret = "0123456789abcdef0123456789abcdef"
	good, goodURL := newReceiver(t, secret, 0, 2*calls)
	fussy, fussyURL := newReceiver(t, secret, 1, 2*calls)
	dir := t.TempDir()
	open := func() (*sqlite.Store, *Deliverer) {
		s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		ids, err := s.SyncApps(t.Context(), []store.App{{ID: 1, Name: "one", Endpoints: []string{goodURL, fussyURL}}}, call.At(time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		var endpoints []Endpoint
		for i, url := range []string{goodURL, fussyURL} {
			endpoints = append(endpoints, Endpoint{
				ID: ids[0][i], App: 1, URL: url, Secrets: []string{secret}, Strict: i == 1, Retry: []time.Duration{time.Millisecond},
			})
		}
		d, err := New(Options{Store: s, Endpoints: endpoints, AllowNetworks: loopback, Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		d.Start()
		return s, d
	}

	s, d := open()
	var number uint64
	for i := range call.ID(calls) {
		if i == calls/2 {
			ctx, cancel := contextThatEnded()
			if err := d.Close(ctx); err != nil { // in the middle of its work
				t.Error(err)
			}
			cancel()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s, d = open()
		}
		var c *call.Call
		rec := store.CallRecord{Sequences: make(map[store.EndpointID]int)}
		for _, cmd := range []call.Command{
			call.Create{Actor: call.Actor{User: "alice", Session: "a"}, ID: i + 1, App: 1, Invitees: []call.UserID{"bob"}, Timeout: 60},
			call.Accept{Actor: call.Actor{User: "bob", Session: "b"}},
		} {
			res, err := call.Apply(c, cmd, call.At(time.Now()))
			if err != nil {
				t.Fatal(err)
			}
			rec.Call = res.Call
			number++
			rec.CommitID = number
			commit := &store.CallCommit{CallRecord: rec, Prior: res.Call.Version - 1}
			for _, cb := range Callbacks(c, res.Call, res.Event) {
				ev := &store.Event{App: 1, Call: i + 1, Name: cb.Name, At: call.At(time.Now()), Fields: cb.Fields}
				for _, id := range d.Subscriptions(1, cb.Name) {
					rec.Sequences[id]++
					ev.Deliveries = append(ev.Deliveries, store.Subscription{Endpoint: id, Sequence: rec.Sequences[id]})
				}
				commit.Events = append(commit.Events, ev)
			}
			if err := s.CommitCall(t.Context(), commit); err != nil {
				t.Fatal(err)
			}
			d.HandOff(commit.Events)
			c = res.Call
		}
	}
	good.wait()
	fussy.wait()
	if err := d.Close(t.Context()); err != nil {
		t.Error(err)
	}
	defer s.Close()

	// A restart may repeat what was not recorded, so only the order is exact.
	for name, r := range map[string]*receiver{"good": good, "fussy": fussy} {
		for id, list := range r.got {
			if len(list) < 2 || list[0][:len("call_create#1#")] != "call_create#1#" || list[len(list)-1][:len("call_accept#2#")] != "call_accept#2#" {
				t.Errorf("%s: call %s: %v", name, id, list)
			}
		}
	}
	for i := range call.ID(calls) {
		list, err := s.DeliveriesOf(t.Context(), i+1)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != 4 {
			t.Errorf("call %d: %d deliveries", i+1, len(list))
		}
		for _, d := range list {
			log, err := s.Attempts(t.Context(), d.Key())
			if err != nil {
				t.Fatal(err)
			}
			if d.State != store.Delivered || len(log) != d.Attempts || log[len(log)-1].Status != http.StatusOK {
				t.Errorf("call %d: %+v, log %+v", i+1, d, log)
			}
		}
	}
}
