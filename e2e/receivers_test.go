//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/need"
	"github.com/ringback/ringback/protocol"
)

// Secrets of the endpoints; without commas, which separate them.
const (
	newSecret = "e2e + receiver % new"
	oldSecret = "e2e + receiver % old"
)

// receivers are the example receivers. Each runs on 127.0.0.1 at a port.
var receivers = []struct {
	name    string
	tool    string // that runs it
	hint    string // when the tool is missing
	command func(t *testing.T, port string) *exec.Cmd
	end     os.Signal // after which it finishes what is under way
	clean   bool      // and then exits with 0
}{
	{"go", "go", "", func(t *testing.T, _ string) *exec.Cmd {
		out := filepath.Join(t.TempDir(), "receiver")
		if text, err := exec.Command("go", "build", "-o", out, "../examples/receivers/go").CombinedOutput(); err != nil {
			t.Fatalf("building the receiver: %v\n%s", err, text)
		}
		return exec.Command(out)
	}, syscall.SIGTERM, true},
	{"node", "node", "there is no Node.js: run scripts/setup, or install version 18 or later", func(*testing.T, string) *exec.Cmd {
		return exec.Command("node", "../examples/receivers/node/receiver.mjs")
	}, syscall.SIGTERM, true},
	{"python", "python3", "there is no Python: run scripts/setup, or install version 3.9 or later", func(*testing.T, string) *exec.Cmd {
		return exec.Command("python3", "../examples/receivers/python/receiver.py")
	}, syscall.SIGTERM, true},
	{"php", "php", "there is no PHP: run scripts/setup", func(_ *testing.T, port string) *exec.Cmd {
		return exec.Command("php", "-S", "127.0.0.1:"+port, "../examples/receivers/php/receiver.php")
	}, syscall.SIGINT, false},
}

// Each example receiver takes every callback of a real server, in JSON and as
// a form, and nothing else.
func TestReceivers(t *testing.T) {
	t.Parallel()
	for _, r := range receivers {
		t.Run(r.name, func(t *testing.T) {
			if _, err := exec.LookPath(r.tool); err != nil {
				need.Missing(t, r.name, r.hint)
			}
			var running [2]*example
			for i, format := range []string{"json", "form"} {
				_, port, _ := strings.Cut(freeAddress(t), ":")
				cmd := r.command(t, port)
				cmd.Env = append(os.Environ(), "PORT="+port, "RINGBACK_STATE_DIR="+t.TempDir(),
					"RINGBACK_CALLBACK_SECRETS="+newSecret+","+oldSecret)
				running[i] = &example{launch(t, cmd), "http://127.0.0.1:" + port + "/", format}
				running[i].await(`listening on|Development Server .* started`)
			}
			takeCalls(t, running[:])
			for _, to := range running {
				t.Run(to.format, to.refuses)
				to.cmd.Process.Signal(r.end)
				if err := to.wait(); r.clean && err != nil {
					t.Errorf("%s: %v at the end", to.format, err)
				}
			}
		})
	}
}

// example is a running receiver.
type example struct {
	*process
	url    string
	format string // of the bodies that it gets: json or form
}

// event is what a receiver prints of a callback.
type event struct {
	ID       string
	Event    string
	AppID    string
	Attempt  int
	Sequence int
	CallID   string   `json:"call_id"`
	UserID   string   `json:"user_id"`
	UserIDs  []string `json:"user_ids"`
	Caller   string
	Timeout  int
	Reason   string
	Payload  string
	Data     string `json:"extend_data"`
}

// events are those that it has printed, without what differs from run to run.
func (r *example) events(t *testing.T) map[string][]string {
	t.Helper()
	calls := map[string][]string{}
	for line := range strings.Lines(r.printed()) {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s printed %s: %v", r.format, line, err)
		}
		calls[e.CallID] = append(calls[e.CallID], fmt.Sprintf("%d/%d %s %s %v %s %d %s %s %s", e.Sequence, e.Attempt,
			e.Event, e.UserID, e.UserIDs, e.Caller, e.Timeout, e.Reason, e.Payload, e.Data))
	}
	return calls
}

// takeCalls rings calls that end in every way, on a server with one endpoint
// for each receiver.
func takeCalls(t *testing.T, list []*example) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	text := fmt.Sprintf("apps:\n  - id: %d\n    secret: %s\n    login_policy: multi\n    callbacks:\n", appID, secret)
	for _, r := range list {
		text += fmt.Sprintf("      - {url: %q, secret: %q, format: %s}\n", r.url, newSecret, r.format)
	}
	address := freeAddress(t)
	text += fmt.Sprintf("callbacks: {allow_networks: [127.0.0.0/8]}\nlisten: %s\ndata_dir: %s\n", address, filepath.Join(t.TempDir(), "data"))
	file := filepath.Join(t.TempDir(), "ringback.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	server := serve(t, file, address)
	alice, bob, carol := dial(ctx, t, address, "alice", nil), dial(ctx, t, address, "bob", nil), dial(ctx, t, address, "carol", nil)
	defer alice.Close()
	defer bob.Close()
	defer carol.Close()

	const payload = `100 % + "é" \ & =`
	second, minute := 1, 60
	ring := func(timeout *int, users ...string) string {
		t.Helper()
		made, err := alice.Invite(ctx, protocol.Invite{UserIDs: users, Timeout: timeout, ExtendedData: payload})
		if err != nil {
			t.Fatal(err)
		}
		return made.CallID
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want := map[string][]string{}
	created := func(users string, timeout int) string {
		return fmt.Sprintf("1/1 call_create  [%s] alice %d  %s ", users, timeout, payload)
	}

	id := ring(&minute, "bob")
	_, err := bob.Accept(ctx, protocol.CallAction{CallID: id, ExtendedData: payload})
	do(err)
	want[id] = []string{created("bob", 60), "2/1 call_accept bob []  0   " + payload}

	id = ring(&minute, "bob")
	_, err = bob.Reject(ctx, protocol.CallAction{CallID: id, ExtendedData: "busy"})
	do(err)
	want[id] = []string{created("bob", 60), "2/1 call_reject bob []  0   busy"}

	id = ring(&minute, "bob", "carol")
	_, err = alice.Cancel(ctx, protocol.Cancel{CallID: id, UserIDs: []string{"bob", "carol"}, ExtendedData: payload})
	do(err)
	want[id] = []string{created("bob carol", 60), "2/1 call_cancel  [bob carol]  0 caller_cancel " + payload + " "}

	id = ring(&second, "bob")
	want[id] = []string{created("bob", 1), "2/1 call_cancel  [bob]  0 timeout_cancel  "}

	id = ring(&second, "bob", "carol")
	_, err = bob.Reject(ctx, protocol.CallAction{CallID: id})
	do(err)
	want[id] = []string{created("bob carol", 1), "2/1 call_reject bob []  0   ", "3/1 call_timeout  [carol]  0   "}

	// The server has heard of each callback that it is taken, at once.
	const callbacks = 11
	for i := range list {
		line := fmt.Sprintf(`ringback_callback_attempts_total{endpoint="%d",result="delivered"} %d`, i+1, callbacks)
		waitFor(ctx, t, func() bool { return strings.Contains(metrics(ctx, t, address), line) }, "%s", line)
	}
	for line := range strings.Lines(metrics(ctx, t, address)) {
		if strings.HasPrefix(line, "ringback_callback_attempts_total{") && !strings.Contains(line, `"delivered"`) && !strings.HasSuffix(line, " 0\n") {
			t.Errorf("a callback was refused: %s", line)
		}
	}
	for _, r := range list {
		count := func() (n int) {
			for _, events := range r.events(t) {
				n += len(events)
			}
			return n
		}
		waitFor(ctx, t, func() bool { return count() >= callbacks }, "%d events of %s", callbacks, r.format)
		got := r.events(t)
		for id, events := range want {
			if !slices.Equal(got[id], events) {
				t.Errorf("%s printed\n%s\nwant\n%s", r.format, strings.Join(got[id], "\n"), strings.Join(events, "\n"))
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s printed %d calls, want %d", r.format, len(got), len(want))
		}
	}
	server.terminate()
}

func metrics(ctx context.Context, t *testing.T, address string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// forgery is a callback that may be wrong in several ways; zero is a right one.
type forgery struct {
	method  string
	media   string
	secret  string        // that signs the header; newSecret when empty
	inner   string        // that signs the body; newSecret when empty
	age     time.Duration // of both signatures
	replace string        // the body, signed in the header
	alter   bool          // the body after it was signed
	drop    string        // a header
}

// post sends a callback with an ID and gives the status of the answer.
func (r *example) post(t *testing.T, id string, f forgery) int {
	t.Helper()
	at := time.Now().Add(-f.age).Unix()
	inner, outer := newSecret, newSecret
	if f.inner != "" {
		inner = f.inner
	}
	if f.secret != "" {
		outer = f.secret
	}
	media, body := "application/json", fmt.Sprintf(
		`{"appid":"1","event":"call_accept","nonce":"77","signature":"%s","timestamp":%d,"call_id":"%s","user_id":"bob","extend_data":""}`,
		protocol.CallbackSignature(inner, at, "77"), at, id)
	if r.format == "form" {
		media, body = "application/x-www-form-urlencoded", url.Values{
			"appid": {"1"}, "event": {"call_accept"}, "nonce": {"77"}, "signature": {protocol.CallbackSignature(inner, at, "77")},
			"timestamp": {strconv.FormatInt(at, 10)}, "call_id": {id}, "user_id": {"bob"}, "extend_data": {""},
		}.Encode()
	}
	if f.media != "" {
		media = f.media
	}
	if f.replace != "" {
		body = f.replace
	}
	signature := protocol.WebhookSignature(outer, id, at, []byte(body))
	if f.alter {
		body = strings.Replace(body, "bob", "eve", 1)
	}
	method := http.MethodPost
	if f.method != "" {
		method = f.method
	}
	req, err := http.NewRequestWithContext(t.Context(), method, r.url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", media)
	req.Header.Set(protocol.HeaderWebhookID, id)
	req.Header.Set(protocol.HeaderWebhookTimestamp, strconv.FormatInt(at, 10))
	req.Header.Set(protocol.HeaderWebhookSignature, signature)
	if f.drop != "" {
		req.Header.Del(f.drop)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || strings.Contains(string(text), newSecret) {
		t.Errorf("the answer is %q, %v", text, err)
	}
	return resp.StatusCode
}

// refuses checks what a receiver does with callbacks that are not right.
func (r *example) refuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		forgery
		want int
	}{
		{"forged", forgery{secret: "guessed", inner: "guessed"}, 401},
		{"only the body forged", forgery{inner: "guessed"}, 401},
		{"only the header forged", forgery{secret: "guessed"}, 401},
		{"altered", forgery{alter: true}, 401},
		{"replayed late", forgery{age: 10 * time.Minute}, 401},
		{"from the future", forgery{age: -10 * time.Minute}, 401},
		{"without an ID", forgery{drop: protocol.HeaderWebhookID}, 401},
		{"without a signature", forgery{drop: protocol.HeaderWebhookSignature}, 401},
		{"broken JSON", forgery{media: "application/json", replace: `{"event":`}, 400},
		{"no callback", forgery{media: "application/json", replace: `[]`}, 400},
		{"text", forgery{media: "text/plain"}, 415},
		{"huge", forgery{replace: strings.Repeat(" ", 100<<10)}, 413},
		{"PUT", forgery{method: http.MethodPut}, 405},
	} {
		if got := r.post(t, "evt_bad", tt.forgery); got != tt.want {
			t.Errorf("%s: answered %d, want %d", tt.name, got, tt.want)
		}
	}
	for range 3 { // the same one, and then the same again
		if got := r.post(t, "evt_good", forgery{}); got != 204 {
			t.Errorf("answered %d, want 204", got)
		}
	}
	if got := r.post(t, "evt_old", forgery{secret: oldSecret, inner: oldSecret}); got != 204 {
		t.Errorf("signed with the old secret: answered %d, want 204", got)
	}
	r.await(`"evt_old"`)
	got := r.events(t)
	if len(got["evt_good"]) != 1 || len(got["evt_old"]) != 1 || len(got["evt_bad"]) != 0 {
		t.Errorf("printed %d of the good one, %d of the old secret, %d of the bad ones",
			len(got["evt_good"]), len(got["evt_old"]), len(got["evt_bad"]))
	}
}
