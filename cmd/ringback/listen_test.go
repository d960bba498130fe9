package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/protocol"
)

// receiver is a backend that verifies callbacks.
type receiver struct {
	*httptest.Server
	t      *testing.T
	screen *screen // has a line for each callback

	mu     sync.Mutex
	status int
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t, screen: newScreen(), status: http.StatusNoContent}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// ServeHTTP verifies a callback and writes down its event, call and sequence.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	id := req.Header.Get(protocol.HeaderWebhookID)
	at, _ := strconv.ParseInt(req.Header.Get(protocol.HeaderWebhookTimestamp), 10, 64)
	if want := protocol.WebhookSignature(testSecret, id, at, body); req.Header.Get(protocol.HeaderWebhookSignature) != want {
		r.t.Errorf("webhook-signature is %q, want %q", req.Header.Get(protocol.HeaderWebhookSignature), want)
	}
	var f struct {
		Event, Nonce, Signature, Payload string
		Timestamp                        int64
		CallID                           string `json:"call_id"`
	}
	if err := json.Unmarshal(body, &f); err != nil || f.Signature != protocol.CallbackSignature(testSecret, f.Timestamp, f.Nonce) {
		r.t.Errorf("%v; the signature in %s is wrong", err, body)
	}
	if req.Method != http.MethodPost || req.Host != r.Listener.Addr().String() || req.ContentLength != int64(len(body)) ||
		len(req.Header["Content-Type"]) != 1 || req.Header.Get("Content-Type") != "application/json" ||
		!strings.HasPrefix(req.UserAgent(), "Ringback/") || req.Header.Get("Accept-Encoding") != "" || req.Header.Get(protocol.HeaderAttempt) == "" {
		r.t.Errorf("%s to %s: %v", req.Method, req.Host, req.Header)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	io.WriteString(r.screen, strings.Join([]string{f.Event, f.CallID, req.Header.Get(protocol.HeaderSequence), f.Payload}, " ")+"\n")
	w.WriteHeader(r.status)
}

// listen shows the callbacks of a call and forwards them byte for byte, in
// order; a receiver that fails does not stop it.
func TestListen(t *testing.T) {
	r, backend := newRig(t), newReceiver(t)
	l := r.begin("listen", "--forward", backend.URL+"/hook", "--headers")
	l.stderr.expect(t, 1, "Ctrl-C ends it")
	for _, want := range []string{
		"Connected to http://" + r.address + ", listening to app 1 (test).\n", "callback secret of app 1:", "Forwarding to " + backend.URL + "/hook.\n",
	} {
		if !strings.Contains(l.stderr.String(), want) {
			t.Errorf("no %q in %s", want, l.stderr)
		}
	}
	alice, bob := r.dial("alice"), r.dial("bob")
	const payload = "100% + <ünï\u2028>"
	id := r.ring(alice, bob, payload)
	l.stdout.expect(t, 2, `<-- call_\w+ +call `+id+` +204 No Content  [\d.]+ ms\n`)
	if got := backend.screen.String(); got != "call_create "+id+" 1 "+payload+"\ncall_accept "+id+" 2 \n" {
		t.Errorf("received %q", got)
	}
	for _, want := range []string{"--> call_create   call " + id + "  alice → bob\n", "--> call_accept   call " + id + "  bob\n", "Webhook-Signature: v1,", "Ringback-Attempt: 1\n", `{"appid":"1"`} {
		if !strings.Contains(l.stdout.String(), want) {
			t.Errorf("no %q in %s", want, l.stdout)
		}
	}

	backend.answer(http.StatusTeapot)
	r.ring(alice, bob, "")
	l.stdout.expect(t, 2, `<-- call_\w+ +call \d+  418 I'm a teapot`)
	backend.Close()
	r.ring(alice, bob, "")
	l.stdout.expect(t, 2, `<-- call_\w+ +call \d+  dial tcp .*connection refused`)
	l.interrupt()
}

// Each line of listen --json is a document.
func TestListenJSON(t *testing.T) {
	r, backend := newRig(t), newReceiver(t)
	l := r.begin("listen", "--json", "--forward", backend.URL, "--event", "call_accept")
	l.stderr.expect(t, 1, "Ctrl-C ends it")
	id := r.ring(r.dial("alice"), r.dial("bob"), "")
	l.stdout.expect(t, 2, "\n")
	l.interrupt()
	var types []string
	for line := range strings.Lines(l.stdout.String()) {
		var doc struct {
			Type   string
			Event  string
			CallID string `json:"call_id"`
			Status int
		}
		if err := json.Unmarshal([]byte(line), &doc); err != nil || doc.Event != "call_accept" || doc.CallID != id {
			t.Errorf("%v: %s", err, line)
		}
		types = append(types, doc.Type+" "+strconv.Itoa(doc.Status))
	}
	if !slices.Equal(types, []string{"callback 0", "forwarded 204"}) {
		t.Errorf("got %q", types)
	}
}

// When the server restarts, listen goes on where it was: what happened while
// it was away comes too, and nothing comes twice.
func TestListenAcrossRestart(t *testing.T) {
	r, backend := newRig(t), newReceiver(t)
	l := r.begin("listen", "--forward", backend.URL)
	l.stderr.expect(t, 1, "Ctrl-C ends it")
	ids := []string{r.ring(r.dial("alice"), r.dial("bob"), "")}
	backend.screen.expect(t, 2, "\n")
	r.stop()
	l.stderr.expect(t, 1, `The connection to http://[\d.:]+ is lost \(.*\)\. Waiting for it`)

	// A server with the same data lives for a moment where nobody listens.
	elsewhere := &rig{t: t, cfg: r.cfg}
	elsewhere.start()
	ids = append(ids, elsewhere.ring(elsewhere.dial("alice"), elsewhere.dial("bob"), ""))
	elsewhere.stop()

	r.start()
	ids = append(ids, r.ring(r.dial("alice"), r.dial("bob"), ""))
	backend.screen.expect(t, 6, "\n")
	l.stderr.expect(t, 1, "Connected again; nothing was missed")
	l.interrupt()
	want := ""
	for _, id := range ids {
		want += "call_create " + id + " 1 \ncall_accept " + id + " 2 \n"
	}
	if got := backend.screen.String(); sorted(got) != sorted(want) {
		t.Errorf("received\n%s, want\n%s", got, want)
	}
	if n := strings.Count(l.stderr.String(), "is lost"); n != 1 {
		t.Errorf("said %d times that the connection is lost", n)
	}
}

func sorted(lines string) string {
	list := slices.Collect(strings.Lines(lines))
	slices.Sort(list)
	return strings.Join(list, "")
}

func TestListenMistakes(t *testing.T) {
	r := newRig(t)
	r.fails(2, `--forward is "ftp://x"; it must be a URL such as`, "listen", "--forward", "ftp://x")
	r.fails(2, `--event is "call_crate"; did you mean call_create?`, "listen", "--event", "call_crate")
	r.fails(1, "there is no such app or endpoint (404)", "listen", "--app", "7")
	r.fails(1, "cursor", "listen", "--after", "nonsense")
}

// A receiver that never answers holds back its call, and no other.
func TestForwardAtTheSameTime(t *testing.T) {
	r := newRig(t)
	hang, hung := make(chan struct{}), make(chan struct{}, 1)
	others := newScreen()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		if strings.Contains(string(body), `"payload":"hang"`) {
			hung <- struct{}{}
			<-hang
		}
		io.WriteString(others, "got one\n")
	}))
	defer backend.Close()
	defer close(hang)
	l := r.begin("listen", "--forward", backend.URL)
	l.stderr.expect(t, 1, "Ctrl-C ends it")
	alice, bob := r.dial("alice"), r.dial("bob")
	id := r.ring(alice, bob, "hang")
	<-hung
	other := r.ring(alice, bob, "")
	l.stdout.expect(t, 2, "<-- call_.*"+other)
	if strings.Contains(l.stdout.String(), "<-- call_accept   call "+id) {
		t.Errorf("the second callback overtook the first:\n%s", l.stdout)
	}
	l.interrupt() // while a request is being made
}

func TestNewForwarder(t *testing.T) {
	for target, want := range map[string]string{
		"localhost:3000/hook": "http://localhost:3000/hook", "https://h/x?y=1": "https://h/x?y=1", "http://": "", "http://h/#f": "", "file:///x": "",
	} {
		f, err := newForwarder(target, nil, func() {})
		if want == "" && err == nil || want != "" && (err != nil || f.url != want) {
			t.Errorf("%s: %v, %+v", target, err, f)
		}
	}
}

// A full queue makes listen wait, says so once and loses nothing.
func TestForwardFull(t *testing.T) {
	const room, callbacks = 3, 12
	let, full := make(chan struct{}), make(chan struct{}, callbacks)
	backend := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-let }))
	defer backend.Close()
	var mu sync.Mutex
	done := make(map[string]int)
	f, err := newForwarder(backend.URL, func(f *forwarded) {
		mu.Lock()
		defer mu.Unlock()
		done[f.Callback.EventID]++
	}, func() { full <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	f.room = make(chan struct{}, room)
	added := make(chan struct{})
	go func() {
		defer close(added)
		for i := range callbacks {
			cb := &adminapi.Callback{EventID: strconv.Itoa(i), CallID: strconv.Itoa(i % 4)}
			if err := f.add(t.Context(), cb); err != nil {
				t.Error(err)
			}
		}
	}()
	<-full
	close(let)
	<-added
	f.wait()
	if len(done) != callbacks || len(full) != 0 {
		t.Errorf("%d of %d callbacks were forwarded, and it was said %d times more that it is full", len(done), callbacks, len(full))
	}
}
