//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ringback/ringback/protocol"
)

// arrivals notes the requests of an endpoint, and answers the first ones with
// 500.
type arrivals struct {
	fail  int
	mu    sync.Mutex
	list  []string // "sequence/attempt"
	times []time.Time
	types []string
	forms []url.Values
}

func (a *arrivals) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	a.mu.Lock()
	defer a.mu.Unlock()
	form, _ := url.ParseQuery(string(body))
	a.list = append(a.list, r.Header.Get(protocol.HeaderSequence)+"/"+r.Header.Get(protocol.HeaderAttempt))
	a.times = append(a.times, time.Now())
	a.types = append(a.types, r.Header.Get("Content-Type"))
	a.forms = append(a.forms, form)
	if err != nil || len(a.list) <= a.fail {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

func (a *arrivals) seen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.list)
}

// Endpoints with different options get the same call in their own ways.
func TestEndpointOptions(t *testing.T) {
	t.Parallel()
	plain, strict, hold, form := &arrivals{fail: 1}, &arrivals{fail: 1}, &arrivals{fail: 2}, &arrivals{}
	text := fmt.Sprintf("apps:\n  - id: %d\n    secret: %s\n    login_policy: multi\n    callbacks:\n", appID, secret)
	for _, ep := range []struct {
		*arrivals
		options string
	}{
		{plain, "secret: e2e"},
		{strict, "secret: e2e, ordering: strict"},
		{hold, "secret: e2e, when_down: hold"},
		{form, "secret: e2e, format: form"},
	} {
		server := httptest.NewServer(ep.arrivals)
		t.Cleanup(server.Close)
		text += fmt.Sprintf("      - {url: %q, %s}\n", server.URL, ep.options)
	}
	address := freeAddress(t)
	text += fmt.Sprintf("callbacks: {allow_networks: [127.0.0.0/8]}\nlisten: %s\ndata_dir: %s\n", address, filepath.Join(t.TempDir(), "data"))
	file := filepath.Join(t.TempDir(), "ringback.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	server := serve(t, file, address)
	alice, bob := dial(t.Context(), t, address, "alice", nil), dial(t.Context(), t, address, "bob", nil)
	defer alice.Close()
	defer bob.Close()
	made, err := alice.Invite(t.Context(), protocol.Invite{UserIDs: []string{"bob"}, ExtendedData: "100 % + more"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Accept(t.Context(), protocol.CallAction{CallID: made.CallID}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		*arrivals
		want []string
	}{
		{"plain", plain, []string{"1/1", "2/1", "1/2"}},
		{"strict", strict, []string{"1/1", "1/2", "2/1"}},
		{"form", form, []string{"1/1", "2/1"}},
	} {
		waitFor(t.Context(), t, func() bool { return len(tt.seen()) >= len(tt.want) }, "callbacks of %s", tt.name)
		if got := tt.seen(); !slices.Equal(got, tt.want) {
			t.Errorf("%s got %v, want %v", tt.name, got, tt.want)
		}
	}
	if gap := plain.times[2].Sub(plain.times[0]); gap < 2*time.Second || gap > 5*time.Second {
		t.Errorf("the second attempt came %v after the first, want 2 s", gap)
	}
	if got := form.forms[0]; form.types[0] != "application/x-www-form-urlencoded" ||
		got.Get("payload") != "100 % + more" || got.Get("user_ids") != `["bob"]` || got.Get("event") != "call_create" {
		t.Errorf("form %s %v", form.types[0], got)
	}
	// Held deliveries come in order once the endpoint answers a probe.
	waitFor(t.Context(), t, func() bool {
		got := hold.seen()
		return len(got) >= 4 && slices.ContainsFunc(got[2:], func(s string) bool { return s[0] == '2' })
	}, "the held callbacks, of which came %v", hold.seen())
	server.terminate()
}
