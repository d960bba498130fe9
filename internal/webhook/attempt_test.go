package webhook

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/protocol"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func newCaller(t *testing.T, allow []netip.Prefix) *caller {
	transport := newTransport(newTargets(allow))
	t.Cleanup(transport.CloseIdleConnections)
	return &caller{transport: transport, userAgent: "Ringback/1.2.3"}
}

func settingsFor(t *testing.T, url string, change func(*Endpoint)) *settings {
	s, err := newSettings(endpointNo(1, func(e *Endpoint) {
		e.URL = url
		if change != nil {
			change(e)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var someDelivery = &store.Delivery{Event: 77, App: 1, Call: 42, Sequence: 3, Attempts: 1, Name: "call_accept", Fields: []byte(`{"call_id":"42"}`)}

func TestRequest(t *testing.T) {
	for _, form := range []bool{false, true} {
		got := make(chan *http.Request, 1)
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			got <- r
		}))
		defer server.Close()
		to := settingsFor(t, strings.Replace(server.URL, "//", "//user:pass@", 1)+"/callback?key=1", func(e *Endpoint) {
			e.Form, e.Secrets = form, []string{"new", "old"}
		})
		out := newCaller(t, loopback).attempt(t.Context(), to, someDelivery)
		if out.failure != "" || out.status != 200 {
			t.Fatalf("%+v", out)
		}
		r := <-got
		body, _ := io.ReadAll(r.Body)
		timestamp := out.started.Unix()
		signatures := protocol.WebhookSignature("new", "evt_77", timestamp, body) + " " + protocol.WebhookSignature("old", "evt_77", timestamp, body)
		for name, want := range map[string]string{
			"Content-Type":                  map[bool]string{false: "application/json", true: "application/x-www-form-urlencoded"}[form],
			"User-Agent":                    "Ringback/1.2.3",
			protocol.HeaderWebhookID:        "evt_77",
			protocol.HeaderWebhookSignature: signatures,
			protocol.HeaderAttempt:          "2",
			protocol.HeaderSequence:         "3",
			"Authorization":                 "Basic dXNlcjpwYXNz",
			"Accept-Encoding":               "",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("form %v: %s is %q, want %q", form, name, got, want)
			}
		}
		if r.Method != http.MethodPost || r.URL.String() != "/callback?key=1" || r.ContentLength != int64(len(body)) {
			t.Errorf("form %v: %s %s, %d bytes", form, r.Method, r.URL, r.ContentLength)
		}
	}
}

func TestNoSequenceOutsideOfCalls(t *testing.T) {
	m := message{delivery: &store.Delivery{Event: 1}, timestamp: 1, nonce: "2"}
	h := m.header()
	if _, ok := h[protocol.HeaderSequence]; ok {
		t.Error("there is a sequence")
	}
	if _, ok := h["Authorization"]; ok {
		t.Error("there is an authorization")
	}
}

func TestOutcomes(t *testing.T) {
	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusTemporaryRedirect) })
	mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	mux.HandleFunc("/closed", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/short", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		w.Write([]byte("abc"))
	})
	mux.HandleFunc("/hangs", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	mux.HandleFunc("/drips", func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("a"))
		http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	mux.HandleFunc("/odd", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		w.Write([]byte(strings.Repeat("é\x00\xff", 4000)))
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	defer close(release)

	for _, test := range []struct {
		path     string
		status   int
		failure  string
		response string
		outage   bool
	}{
		{"/ok", 202, "", "", false},
		{"/endless", 200, "", strings.Repeat("\uFFFD", 341), false},
		{"/redirect", 307, "answered 307 Temporary Redirect; redirects are not followed", "", false},
		{"/closed", 0, "the connection was closed without an answer", "", true},
		{"/short", 200, "the answer broke off: unexpected EOF", "abc", true},
		{"/hangs", 0, "no complete answer within 250ms", "", true},
		{"/drips", 200, "no complete answer within 250ms", "a", true},
		{"/odd", 418, "answered 418 I'm a teapot", strings.Repeat("é\uFFFD\uFFFD", 128), false},
	} {
		to := settingsFor(t, server.URL+test.path, func(e *Endpoint) {
			e.Timeout = time.Minute
			if test.path == "/hangs" || test.path == "/drips" {
				e.Timeout = 250 * time.Millisecond
			}
		})
		out := newCaller(t, loopback).attempt(t.Context(), to, someDelivery)
		if out.status != test.status || out.failure != test.failure || out.response != test.response || out.outage != test.outage || out.aborted {
			t.Errorf("%s: %+v", test.path, out)
		}
		if len(out.response) > maxResponse {
			t.Errorf("%s: %d bytes kept", test.path, len(out.response))
		}
	}

	gone := httptest.NewServer(mux)
	gone.Close()
	if out := newCaller(t, loopback).attempt(t.Context(), settingsFor(t, gone.URL, nil), someDelivery); !out.outage || !strings.Contains(out.failure, "refused") {
		t.Errorf("nobody listens: %+v", out)
	}
	const hint = `127.0.0.1 is not a public address: add "127.0.0.0/8" to callbacks.allow_networks`
	if out := newCaller(t, nil).attempt(t.Context(), settingsFor(t, server.URL, nil), someDelivery); !out.outage || out.failure != hint {
		t.Errorf("refused target: %+v", out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if out := newCaller(t, loopback).attempt(ctx, settingsFor(t, server.URL+"/hangs", nil), someDelivery); !out.aborted {
		t.Errorf("aborted: %+v", out)
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		w.Write(make([]byte, 32<<10))
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	c := newCaller(t, loopback)
	for range 20 {
		c.attempt(t.Context(), settingsFor(t, server.URL, nil), someDelivery)
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
