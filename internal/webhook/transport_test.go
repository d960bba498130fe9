package webhook

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var onLoopback = newTargets([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})

func get(t *testing.T, tr *transport, ctx context.Context, url string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := tr.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.Status + " " + string(body), err
}

// counting is a server that counts its connections.
func counting(t *testing.T, h http.HandlerFunc) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	var conns atomic.Int32
	s := httptest.NewUnstartedServer(h)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s, &conns
}

func echo(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }

func TestTransportReusesConnections(t *testing.T) {
	s, conns := counting(t, echo)
	tr := newTransport(onLoopback)
	defer tr.CloseIdleConnections()
	for range 5 {
		if got, err := get(t, tr, t.Context(), s.URL); got != "200 OK hello" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections for 5 requests", n)
	}
}

func TestTransportNoticesClosedConnections(t *testing.T) {
	s, conns := counting(t, echo)
	tr := newTransport(onLoopback)
	for range 3 {
		if got, err := get(t, tr, t.Context(), s.URL); got != "200 OK hello" {
			t.Fatalf("got %q, %v", got, err)
		}
		s.CloseClientConnections()
		tr.mu.Lock()
		for _, l := range tr.idle[s.URL] {
			l.used = l.used.Add(-2 * freshFor) // as if it had been idle for a while
		}
		tr.mu.Unlock()
	}
	if n := conns.Load(); n != 3 {
		t.Errorf("%d connections for 3 requests with a close after each", n)
	}
}

func TestTransportDoesNotReuse(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"asked to close": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") },
		"body not read": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, strings.Repeat("x", 1<<20))
		},
	}
	for name, answer := range answers {
		s, conns := counting(t, answer)
		tr := newTransport(onLoopback)
		for range 2 {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader("hello"))
			res, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			res.Body.Read(make([]byte, 10))
			res.Body.Close()
		}
		if n := conns.Load(); n != 2 {
			t.Errorf("%s: %d connections for 2 requests", name, n)
		}
	}
}

func TestTransportInterimAnswers(t *testing.T) {
	s, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		echo(w, r)
	})
	if got, err := get(t, newTransport(onLoopback), t.Context(), s.URL); got != "200 OK hello" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTransportDeadlineAndCancel(t *testing.T) {
	release := make(chan struct{})
	s, _ := counting(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	tr := newTransport(onLoopback)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := get(t, tr, ctx, s.URL); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := get(t, tr, ctx, s.URL); !errors.Is(err, context.Canceled) {
		t.Errorf("after the cancel: %v", err)
	}
}

// raw is a server that answers each connection with the same bytes.
func raw(t *testing.T, answer string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					io.WriteString(c, answer)
				}
			}()
		}
	}()
	return "http://" + ln.Addr().String()
}

func TestTransportBadAnswers(t *testing.T) {
	tr := newTransport(onLoopback)
	if _, err := get(t, tr, t.Context(), raw(t, "")); err != io.EOF {
		t.Errorf("no answer: %v", err)
	}
	if _, err := get(t, tr, t.Context(), raw(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 2*maxHeader))); !errors.Is(err, errLongHeader) {
		t.Errorf("endless header: %v", err)
	}
	if _, err := get(t, tr, t.Context(), raw(t, "SMTP ready\r\n\r\n")); err == nil {
		t.Error("what is not HTTP was taken for an answer")
	}
	if _, err := get(t, tr, t.Context(), raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short body: %v", err)
	}
}

func TestTransportTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(echo))
	defer s.Close()
	tr := newTransport(onLoopback)
	if _, err := get(t, tr, t.Context(), s.URL); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("unknown certificate: %v", err)
	}
	tr.tls.RootCAs = x509.NewCertPool()
	tr.tls.RootCAs.AddCert(s.Certificate())
	for range 2 {
		if got, err := get(t, tr, t.Context(), s.URL); got != "200 OK hello" {
			t.Errorf("got %q, %v", got, err)
		}
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if n := len(tr.idle[s.URL]); n != 1 {
		t.Errorf("%d idle connections, want 1", n)
	}
}

func TestTransportRefusesTargets(t *testing.T) {
	s, conns := counting(t, echo)
	var refused *TargetError
	if _, err := get(t, newTransport(newTargets(nil)), t.Context(), s.URL); !errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
	if conns.Load() != 0 {
		t.Error("a refused target was connected to")
	}
}

func TestTransportClosesIdleConnections(t *testing.T) {
	s, _ := counting(t, echo)
	tr := newTransport(onLoopback)
	if _, err := get(t, tr, t.Context(), s.URL); err != nil {
		t.Fatal(err)
	}
	tr.closeIdle(idleTimeout)
	if len(tr.idle[s.URL]) != 1 || tr.sweep == nil {
		t.Error("a connection that was just used was closed")
	}
	tr.CloseIdleConnections()
	if len(tr.idle) != 0 || tr.sweep != nil {
		t.Errorf("idle: %v, sweep %v", tr.idle, tr.sweep)
	}
}
