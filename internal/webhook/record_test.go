package webhook

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/protocol"
)

// wiretap answers requests, and gives each as the bytes that came.
func wiretap(t *testing.T) (host string, requests <-chan string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	got := make(chan string, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var seen bytes.Buffer
			req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(c, &seen)))
			if err == nil {
				_, err = io.Copy(io.Discard, req.Body)
			}
			if err != nil {
				t.Error(err)
			}
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nSet-Cookie: sid=hidden\r\nContent-Length: 0\r\nX-One: a\r\nConnection: close\r\n\r\n")
			c.Close()
			got <- seen.String()
		}
	}()
	return l.Addr().String(), got
}

// raw writes a request as it is on the wire.
func (r *Request) raw(path string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", r.Method, path)
	for _, f := range r.Header {
		fmt.Fprintf(&b, "%s: %s\r\n", f.Name, f.Value)
	}
	return b.String() + "\r\n" + string(r.Body)
}

func TestShownRequestIsWhatWasSent(t *testing.T) {
	host, requests := wiretap(t)
	const path = "/call%20back?key=1"
	for name, test := range map[string]struct {
		user    string
		secrets []string
		form    bool
		d       store.Delivery
	}{
		"json":        {"", []string{"first-secret"}, false, *someDelivery},
		"form":        {"", []string{"first-secret"}, true, *someDelivery},
		"two secrets": {"", []string{"first-secret", "other-secret"}, false, *someDelivery},
		"credentials": {"some-user:pass-word@", []string{"first-secret"}, false, *someDelivery},
		"test":        {"some-user:pass-word@", []string{"first-secret"}, false, store.Delivery{Event: 5, App: 1, Call: 1, Sequence: 1, Name: "call_end", Fields: []byte(`{"a":"+%é"}`), Test: true}},
		"no call":     {"", []string{"first-secret"}, false, store.Delivery{Event: 5, App: 1, Name: "user_action", Fields: []byte("{}")}},
	} {
		t.Run(name, func(t *testing.T) {
			to := settingsFor(t, "http://"+test.user+host+path, func(e *Endpoint) { e.Form, e.Secrets = test.form, test.secrets })
			out := newCaller(t, loopback).attempt(t.Context(), to, &test.d)
			if out.failure != "" {
				t.Fatal(out.failure)
			}
			sent := <-requests
			a := attemptOf(&test.d, out)
			later := test.d
			later.Attempts, later.State = 9, store.Delivered

			// Nothing of today's settings is asked.
			shown, err := ShownRequest(&later, &a, to.URL)
			if err != nil {
				t.Fatal(err)
			}
			want := sent
			if test.user != "" {
				want = strings.Replace(sent, to.authorization, "Basic ***", 1)
			}
			if got := shown.raw(path); got != want {
				t.Errorf("shown\n%s\nsent\n%s", got, want)
			}
			if shown.URL != "http://"+host+path {
				t.Errorf("shown for %s", shown.URL)
			}
			for _, secret := range append(test.secrets, "some-user", "pass-word", "c29tZS11c2Vy") {
				if bytes.Contains(a.Request, []byte(secret)) || strings.Contains(shown.raw(""), secret) {
					t.Errorf("%q is in the record", secret)
				}
			}
			if want := "Content-Length: 0\nSet-Cookie: ***\nX-One: a"; a.Header != want {
				t.Errorf("header of the answer: %q, want %q", a.Header, want)
			}

			nonce := strings.SplitN(strings.SplitN(sent, map[bool]string{false: `nonce":"`, true: "nonce="}[test.form], 2)[1], map[bool]string{false: `"`, true: "&"}[test.form], 2)[0]
			ev := &store.Event{ID: test.d.Event, App: test.d.App, Call: test.d.Call, Name: test.d.Name, Fields: test.d.Fields, Test: test.d.Test}
			rendered, err := Render(ev, to.Endpoint, Sending{
				Sequence: test.d.Sequence, Attempt: test.d.Attempts + 1, At: out.started, Nonce: nonce, Version: "1.2.3",
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := rendered.raw(path); got != sent {
				t.Errorf("rendered\n%s\nsent\n%s", got, sent)
			}
		})
	}
}

func TestRenderMakesANonce(t *testing.T) {
	ev := &store.Event{ID: 7, App: 1, Name: protocol.CallbackAccept, Fields: []byte(`{}`)}
	a, err := Render(ev, endpointNo(1, nil), Sending{Attempt: 1, At: time.Unix(1_700_000_000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Render(ev, endpointNo(1, nil), Sending{Attempt: 1, At: time.Unix(1_700_000_000, 0)})
	if err != nil || bytes.Equal(a.Body, b.Body) {
		t.Errorf("%s and %s: %v", a.Body, b.Body, err)
	}
	if _, err := Render(ev, endpointNo(1, func(e *Endpoint) { e.Secrets = nil }), Sending{}); err == nil {
		t.Error("no error without a secret")
	}
	ev.Fields = []byte("[]")
	if _, err := Render(ev, endpointNo(1, func(e *Endpoint) { e.Form = true }), Sending{}); err == nil {
		t.Error("no error for fields that are no object")
	}
}

func TestNoRecordOfWhatWasNotSent(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	d := someDelivery
	for name, to := range map[string]*settings{
		"refused connection": settingsFor(t, "http://"+gone.Addr().String(), nil),
		"refused target":     settingsFor(t, "http://169.254.1.1", nil),
		"no object":          settingsFor(t, "http://127.0.0.1", func(e *Endpoint) { e.Form = true }),
	} {
		if name == "no object" {
			d = &store.Delivery{Event: 1, Fields: []byte("[]")}
		}
		out := newCaller(t, loopback).attempt(t.Context(), to, d)
		a := attemptOf(d, out)
		if out.failure == "" || a.Request != nil {
			t.Errorf("%s: %q, record %x", name, out.failure, a.Request)
		}
		if _, err := ShownRequest(d, &a, to.URL); !errors.Is(err, ErrNothingSent) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, _ := anyCreate(t)
		m := message{
			delivery: d, attempt: 1, form: rapid.Bool().Draw(t, "form"), userAgent: userAgent + rapid.StringMatching(`[0-9a-z.+-]{0,20}`).Draw(t, "version"),
			timestamp: rapid.Int64Range(1, 1<<40).Draw(t, "timestamp"), nonce: strconv.FormatInt(rapid.Int64Range(0, 1<<53-1).Draw(t, "nonce"), 10),
		}
		if rapid.Bool().Draw(t, "authorized") {
			m.authorization = "Basic " + masked
		}
		if err := m.sign(rapid.SliceOfN(rapid.StringN(1, 9, -1), 1, 4).Draw(t, "secrets")); err != nil {
			t.Fatal(err)
		}
		b := m.record()
		got, err := readRecord(b)
		if err != nil {
			t.Fatal(err)
		}
		got.delivery, got.attempt, got.timestamp = d, 1, m.timestamp
		if err := got.encode(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.body, m.body) || got.signatures != m.signatures || got.userAgent != m.userAgent || got.authorization != m.authorization {
			t.Fatalf("got %+v, want %+v", got, m)
		}
	})
}

func FuzzReadRecord(f *testing.F) {
	m := message{delivery: someDelivery, userAgent: "Ringback/1", nonce: "350176", timestamp: 1}
	if err := m.sign([]string{"a", "b"}); err != nil {
		f.Fatal(err)
	}
	b := m.record()
	for n := range b {
		f.Add(b[:n])
	}
	f.Add(append([]byte{0x20}, b[1:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readRecord(b)
		switch {
		case err != nil:
			return
		case len(m.signature) != 40 || !strings.HasPrefix(m.signatures, "v1,"):
			t.Errorf("%x gives %+v", b, m)
		}
	})
}

func TestDamagedRecords(t *testing.T) {
	m := message{delivery: someDelivery, userAgent: userAgent, nonce: "350176", timestamp: 1}
	if err := m.sign([]string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	b := m.record()
	for n := range b {
		if _, err := readRecord(b[:n]); err == nil {
			t.Errorf("the first %d of %d bytes can be read", n, len(b))
		}
	}
	for _, kind := range []byte{0, 0x20, recordVersion | 1<<2} {
		if _, err := readRecord(append([]byte{kind}, b[1:]...)); err == nil {
			t.Errorf("kind %x can be read", kind)
		}
	}
	if _, err := ShownRequest(someDelivery, &store.Attempt{Number: 1, Started: call.Instant(1), Request: b}, "http://%zz"); err == nil {
		t.Error("a URL that cannot be parsed gives no error")
	}
}

func TestHeaderLines(t *testing.T) {
	for want, h := range map[string]http.Header{
		"": {},
		"A: 1\nA: 2\nSet-Cookie: ***\nSet-Cookie: ***\nZ: \uFFFD": {
			"Z": {"\x00"}, "Set-Cookie": {"a=secret", "secret"}, "A": {"1", "2"},
		},
		"Long: " + strings.Repeat("é", 509): {"Long": {strings.Repeat("é", 5000)}, "Zed": {"1"}},
	} {
		if got := headerLines(h); got != want || len(got) > maxResponse {
			t.Errorf("%v: %q, want %q", h, got, want)
		}
	}
}
