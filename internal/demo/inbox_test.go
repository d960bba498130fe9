package demo_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/demo"
	"github.com/ringback/ringback/protocol"
)

// received is what the stream says of a callback.
type received struct {
	ID        int64
	Event     string
	CallID    string `json:"call_id"`
	Attempt   int
	Sequence  int64
	WebhookID string `json:"webhook_id"`
	Signature string
	Checks    []struct{ Name, Problem string }
	Answer    int
	Headers   [][2]string
	Body      string
}

// signed makes a call_accept of a call as a server would send it: the body,
// and its headers in pairs.
func signed(key, callID string, timestamp int64) (body string, headers []string) {
	const nonce = "123412"
	body = fmt.Sprintf(`{"appid":"7","event":"call_accept","nonce":%q,"signature":%q,"timestamp":%d,"call_id":%q,"user_id":"bob","extend_data":""}`,
		nonce, protocol.CallbackSignature(key, timestamp, nonce), timestamp, callID)
	return body, []string{
		"Content-Type", "application/json",
		"webhook-id", "msg_" + callID,
		"webhook-timestamp", strconv.FormatInt(timestamp, 10),
		"webhook-signature", protocol.WebhookSignature(key, "msg_"+callID, timestamp, []byte(body)),
		"Ringback-Attempt", "2",
		"Ringback-Sequence", "3",
	}
}

// deliver posts a good callback of a call and returns the status.
func deliver(t *testing.T, srv *httptest.Server, callID string) int {
	t.Helper()
	body, headers := signed(secret, callID, time.Now().Unix())
	status, _, _ := do(t, "POST", srv.URL+"/demo/callbacks", body, headers...)
	return status
}

// sse is one server-sent event.
type sse struct{ id, name, data string }

// stream is an open inbox.
type stream struct {
	t     *testing.T
	lines *bufio.Reader
	close func()
}

func open(t *testing.T, srv *httptest.Server, lastEventID string) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", srv.URL+"/demo/inbox", nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastEventID != "" {
		req.Header.Set("Last-Event-ID", lastEventID)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if ct := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || ct != "text/event-stream" {
		t.Fatalf("inbox = %d, %q", res.StatusCode, ct)
	}
	return &stream{t, bufio.NewReader(res.Body), func() { cancel(); res.Body.Close() }}
}

// next reads one event, leaving out comments.
func (s *stream) next() (e sse, err error) {
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return e, err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			if e.name != "" {
				return e, nil
			}
		}
	}
}

func (s *stream) want(name string) sse {
	s.t.Helper()
	e, err := s.next()
	if err != nil || e.name != name {
		s.t.Fatalf("event %+v, %v; want %q", e, err, name)
	}
	return e
}

func (s *stream) callback() (string, received) {
	s.t.Helper()
	e := s.want("callback")
	var r received
	if err := json.Unmarshal([]byte(e.data), &r); err != nil {
		s.t.Fatal(err)
	}
	return e.id, r
}

func TestReceiverVerifies(t *testing.T) {
	srv := start(t)
	inbox := open(t, srv, "")
	inbox.want("receiver")
	inbox.want("clear")

	now := time.Now().Unix()
	with := func(headers []string, name, value string) []string {
		for i := 0; i < len(headers); i += 2 {
			if headers[i] == name {
				headers[i+1] = value
			}
		}
		return headers
	}
	tests := []struct {
		name          string
		key           string
		timestamp     int64
		change        func(body string, headers []string) (string, []string)
		body, webhook bool // which signature holds
	}{
		{"good", secret, now, nil, true, true},
		{"other secret", "another", now, nil, false, false},
		{"stale", secret, now - 3600, nil, false, false},
		{"from the future", secret, now + 3600, nil, false, false},
		{"changed body", secret, now, func(b string, h []string) (string, []string) {
			return strings.Replace(b, `"bob"`, `"eve"`, 1), h
		}, true, false},
		{"changed nonce", secret, now, func(b string, h []string) (string, []string) {
			b = strings.Replace(b, "123412", "123413", 1)
			return b, with(h, "webhook-signature", protocol.WebhookSignature(secret, "msg_1", now, []byte(b)))
		}, false, true},
		{"rotated secret", secret, now, func(b string, h []string) (string, []string) {
			return b, with(h, "webhook-signature", protocol.WebhookSignature("older", "msg_1", now, []byte(b))+" "+h[7])
		}, true, true},
		{"other id", secret, now, func(b string, h []string) (string, []string) {
			return b, with(h, "webhook-id", "msg_2")
		}, true, false},
		{"timestamp is no number", secret, now, func(b string, h []string) (string, []string) {
			return b, with(h, "webhook-timestamp", "soon")
		}, true, false},
		{"no headers", secret, now, func(b string, _ []string) (string, []string) { return b, nil }, true, false},
		{"not JSON", secret, now, func(string, []string) (string, []string) { return "event=call_accept", nil }, false, false},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body, headers := signed(tt.key, "1", tt.timestamp)
			if tt.change != nil {
				body, headers = tt.change(body, headers)
			}
			status, _, _ := do(t, "POST", srv.URL+"/demo/callbacks", body, headers...)
			_, got := inbox.callback()

			wantStatus, wantSignature := http.StatusUnauthorized, "bad"
			if tt.body && tt.webhook {
				wantStatus, wantSignature = http.StatusNoContent, "verified"
			}
			if status != wantStatus || got.Answer != wantStatus || got.Signature != wantSignature {
				t.Errorf("answered %d, shown %d %q; want %d %q", status, got.Answer, got.Signature, wantStatus, wantSignature)
			}
			if len(got.Checks) != 2 || (got.Checks[0].Problem == "") != tt.body || (got.Checks[1].Problem == "") != tt.webhook {
				t.Errorf("checks %+v, want signature %v, webhook-signature %v", got.Checks, tt.body, tt.webhook)
			}
			if got.ID != int64(i+1) || got.Body != body {
				t.Errorf("shown %d with body %q, want %d with %q", got.ID, got.Body, i+1, body)
			}
		})
	}
}

func TestReceiverShowsTheRequest(t *testing.T) {
	srv := start(t)
	if status := deliver(t, srv, "42"); status != http.StatusNoContent {
		t.Fatalf("answered %d", status)
	}
	inbox := open(t, srv, "")
	inbox.want("receiver")
	inbox.want("clear")
	_, got := inbox.callback()
	if got.Event != "call_accept" || got.CallID != "42" || got.Attempt != 2 || got.Sequence != 3 || got.WebhookID != "msg_42" {
		t.Errorf("shown %+v", got)
	}
	headers := make(map[string]string)
	for _, h := range got.Headers {
		headers[h[0]] = h[1]
	}
	if headers["Webhook-Id"] != "msg_42" || headers["Ringback-Attempt"] != "2" || headers["Content-Type"] != "application/json" {
		t.Errorf("headers %v", got.Headers)
	}
}

func TestReceiverTellsOfArrivals(t *testing.T) {
	arrivals := make(chan demo.Arrival, 2)
	d := demo.New(demo.Options{AppID: 7, AppSecret: secret, OnCallback: func(a demo.Arrival) { arrivals <- a }})
	srv := httptest.NewServer(d)
	defer srv.Close()
	deliver(t, srv, "42")
	do(t, "POST", srv.URL+"/demo/callbacks", "{}")
	for _, want := range []demo.Arrival{{Event: "call_accept", CallID: "42", Attempt: 2, Verified: true}, {}} {
		if got := <-arrivals; got != want {
			t.Errorf("told of %+v, want %+v", got, want)
		}
	}
}

func TestReceiverLimitsTheBody(t *testing.T) {
	srv := start(t)
	status, _, _ := do(t, "POST", srv.URL+"/demo/callbacks", strings.Repeat("x", 64<<10+1))
	if status != http.StatusRequestEntityTooLarge {
		t.Errorf("answered %d, want 413", status)
	}
}

func TestReceiverModes(t *testing.T) {
	srv := start(t)
	inbox := open(t, srv, "")
	inbox.want("receiver")
	inbox.want("clear")
	set := func(mode string) {
		t.Helper()
		if status, _, body := do(t, "POST", srv.URL+"/demo/receiver", `{"mode":"`+mode+`"}`); status != http.StatusNoContent {
			t.Fatalf("setting %q = %d %s", mode, status, body)
		}
		if e := inbox.want("receiver"); e.data != `{"mode":"`+mode+`"}` {
			t.Fatalf("announced %s, want %q", e.data, mode)
		}
	}

	set("fail")
	if status := deliver(t, srv, "1"); status != http.StatusInternalServerError {
		t.Errorf("answered %d in mode fail, want 500", status)
	}
	if _, got := inbox.callback(); got.Answer != 500 || got.Signature != "verified" {
		t.Errorf("shown %+v", got)
	}

	set("hang")
	answered := make(chan int)
	go func() { answered <- deliver(t, srv, "2") }()
	if _, got := inbox.callback(); got.Answer != 0 {
		t.Errorf("shown with answer %d, want none", got.Answer)
	}
	select {
	case status := <-answered:
		t.Fatalf("answered %d in mode hang", status)
	default:
	}
	set("ok")
	if status := <-answered; status != http.StatusNoContent {
		t.Errorf("answered %d after the switch was moved, want 204", status)
	}

	if status, _, _ := do(t, "POST", srv.URL+"/demo/receiver", `{"mode":"sleep"}`); status != http.StatusBadRequest {
		t.Errorf("unknown mode = %d, want 400", status)
	}
}

func TestInboxReplaysThenGoesLive(t *testing.T) {
	srv := start(t)
	const kept, sent = 200, 203
	for i := range sent {
		deliver(t, srv, strconv.Itoa(i+1))
	}
	inbox := open(t, srv, "")
	inbox.want("receiver")
	inbox.want("clear")
	var last string
	for i := sent - kept; i < sent; i++ {
		id, got := inbox.callback()
		if got.CallID != strconv.Itoa(i+1) {
			t.Fatalf("replayed call %s, want %d", got.CallID, i+1)
		}
		last = id
	}
	deliver(t, srv, "live")
	if _, got := inbox.callback(); got.CallID != "live" {
		t.Errorf("got %q, want the live callback", got.CallID)
	}
	inbox.close()

	// A page that comes back gets what it missed, and nothing twice.
	deliver(t, srv, "missed")
	again := open(t, srv, last)
	again.want("receiver")
	for _, want := range []string{"live", "missed"} {
		if _, got := again.callback(); got.CallID != want {
			t.Errorf("got %q, want %q", got.CallID, want)
		}
	}

	// One that comes from an earlier run starts afresh.
	old := open(t, srv, "EARLIERRUN-5")
	old.want("receiver")
	old.want("clear")
	old.callback()
}

func TestInboxClear(t *testing.T) {
	srv := start(t)
	deliver(t, srv, "1")
	inbox := open(t, srv, "")
	inbox.want("receiver")
	inbox.want("clear")
	id, _ := inbox.callback()
	if status, _, _ := do(t, "DELETE", srv.URL+"/demo/inbox", ""); status != http.StatusNoContent {
		t.Fatalf("clearing = %d", status)
	}
	inbox.want("clear")
	deliver(t, srv, "2")
	inbox.callback()

	// A page that was away when it was cleared learns it.
	again := open(t, srv, id)
	again.want("receiver")
	again.want("clear")
	if _, got := again.callback(); got.CallID != "2" {
		t.Errorf("got %q, want only what came after", got.CallID)
	}
}

func TestInboxLimitsStreams(t *testing.T) {
	srv := start(t)
	for range 32 {
		open(t, srv, "")
	}
	if status, _, _ := do(t, "GET", srv.URL+"/demo/inbox", ""); status != http.StatusServiceUnavailable {
		t.Errorf("one stream too many = %d, want 503", status)
	}
}

func TestCloseEndsStreamsAndHangingReceivers(t *testing.T) {
	d := demo.New(demo.Options{AppID: 7, AppSecret: secret})
	srv := httptest.NewServer(d)
	defer srv.Close()
	inbox := open(t, srv, "")
	inbox.want("receiver")
	inbox.want("clear")
	do(t, "POST", srv.URL+"/demo/receiver", `{"mode":"hang"}`)
	inbox.want("receiver")
	answered := make(chan int)
	go func() { answered <- deliver(t, srv, "1") }()
	inbox.callback()

	d.Close()
	d.Close()
	if e, err := inbox.next(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream gave %+v, %v after Close, want its end", e, err)
	}
	if status := <-answered; status != http.StatusServiceUnavailable {
		t.Errorf("the hanging receiver answered %d, want 503", status)
	}
}

// pipeWriter is a response whose body can be read while it is written.
type pipeWriter struct {
	header http.Header
	*io.PipeWriter
}

func (w pipeWriter) Header() http.Header { return w.header }
func (w pipeWriter) WriteHeader(int)     {}
func (w pipeWriter) Flush()              {}

// serve runs a handler in the bubble of synctest and returns what it writes.
func serve(ctx context.Context, h http.Handler, r *http.Request) *bufio.Reader {
	body, w := io.Pipe()
	go func() {
		h.ServeHTTP(pipeWriter{make(http.Header), w}, r.WithContext(ctx))
		w.Close()
	}()
	return bufio.NewReader(body)
}

func TestInboxHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := demo.New(demo.Options{AppSecret: secret})
		s := &stream{t: t, lines: serve(ctx, d, httptest.NewRequest("GET", "http://localhost/demo/inbox", nil))}
		s.want("receiver")
		s.want("clear")
		begin := time.Now()
		line, err := s.lines.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, ":") {
			t.Errorf("read %q, %v, want a comment", line, err)
		}
		if waited := time.Since(begin); waited != 15*time.Second {
			t.Errorf("the heartbeat came after %v, want 15s", waited)
		}
		cancel()
		_, _ = io.Copy(io.Discard, s.lines)
	})
}

// A page that does not read is let go, without holding up the receiver.
func TestInboxEndsSlowStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := demo.New(demo.Options{AppSecret: secret})
		lines := serve(t.Context(), d, httptest.NewRequest("GET", "http://localhost/demo/inbox", nil))
		synctest.Wait() // it hangs in its first write
		for i := range 100 {
			body, headers := signed(secret, strconv.Itoa(i), time.Now().Unix())
			r := httptest.NewRequest("POST", "http://localhost/demo/callbacks", strings.NewReader(body))
			for i := 0; i < len(headers); i += 2 {
				r.Header.Set(headers[i], headers[i+1])
			}
			w := httptest.NewRecorder()
			d.ServeHTTP(w, r)
			if w.Code != http.StatusNoContent {
				t.Fatalf("callback %d answered %d", i, w.Code)
			}
		}
		s := &stream{t: t, lines: lines}
		s.want("receiver")
		s.want("clear")
		for i := range 64 { // what its queue held
			if _, got := s.callback(); got.CallID != strconv.Itoa(i) {
				t.Fatalf("got call %q, want %d", got.CallID, i)
			}
		}
		if e, err := s.next(); !errors.Is(err, io.EOF) {
			t.Errorf("the stream gave %+v, %v, want its end", e, err)
		}
	})
}
