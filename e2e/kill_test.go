//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringback/ringback/client"
	"github.com/ringback/ringback/internal/auth"
	"github.com/ringback/ringback/protocol"
)

// receiver is a business server that notes which callbacks it got.
type receiver struct {
	*httptest.Server
	t *testing.T

	mu   sync.Mutex
	seen map[string]map[string]int // call ID → event → how often
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{t: t, seen: make(map[string]map[string]int)}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(_ http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // killed in the middle of the request
	}
	var cb struct {
		protocol.CallbackCommon
		CallID string `json:"call_id"`
	}
	if err := json.Unmarshal(body, &cb); err != nil {
		r.t.Errorf("callback %q: %v", body, err)
		return
	}
	if cb.Signature != protocol.CallbackSignature("e2e", cb.Timestamp, cb.Nonce) {
		r.t.Errorf("wrong signature on %s", body)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[cb.CallID] == nil {
		r.seen[cb.CallID] = make(map[string]int)
	}
	r.seen[cb.CallID][cb.Event]++
}

func (r *receiver) got(callID, event string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[callID][event] > 0
}

func token(t *testing.T, user string) string {
	t.Helper()
	tok, err := auth.NewToken04(appID, user, secret, time.Now(), time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// acked is what the server has acknowledged for one call.
type acked struct {
	id     string
	answer string // the callback of the acknowledged answer; "" for none
}

// A server that is killed in the middle of a load has lost nothing that it
// acknowledged: every call is there, every timer fires, every callback comes.
func TestKillUnderLoad(t *testing.T) {
	const (
		callers = 20
		timeout = 8 // seconds, of the calls that ring out
	)
	inbox := newReceiver(t)
	address, dir := freeAddress(t), filepath.Join(t.TempDir(), "data")
	config := configure(t, address, dir, inbox.URL)
	server := serve(t, config, address)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var mu sync.Mutex
	var calls []acked
	var made atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i := range callers {
		wg.Go(func() {
			caller := dial(ctx, t, address, fmt.Sprint("caller", i), nil)
			invited := make(chan string, 16)
			callee := dial(ctx, t, address, fmt.Sprint("callee", i), func(_ *client.Client, ev client.Event) {
				if ev, ok := ev.(*client.Invited); ok {
					invited <- ev.CallID
				}
			})
			defer caller.Close()
			defer callee.Close()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				call, err := oneCall(caller, callee, invited, fmt.Sprint("callee", i), n, timeout)
				if call.id != "" {
					mu.Lock()
					calls = append(calls, call)
					mu.Unlock()
					made.Add(1)
				}
				if err != nil {
					return // the server was killed
				}
			}
		})
	}
	for made.Load() < 400 && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	server.kill()
	close(stop)
	wg.Wait()
	t.Logf("killed after %d acknowledged calls", len(calls))

	server = serve(t, config, address)
	for _, call := range calls {
		want := []string{"call_create"}
		switch call.answer {
		case "":
			// It rings out, or the caller, who does not come back, is gone.
		default:
			want = append(want, call.answer)
		}
		for _, event := range want {
			waitFor(ctx, t, func() bool { return inbox.got(call.id, event) }, "%s of call %s", event, call.id)
		}
		if call.answer == "" {
			waitFor(ctx, t, func() bool {
				return inbox.got(call.id, "call_cancel") || inbox.got(call.id, "call_timeout") ||
					// acknowledged by the server, but the reply was lost with it
					inbox.got(call.id, "call_accept") || inbox.got(call.id, "call_reject")
			}, "an end of call %s", call.id)
		}
	}
	// Every acknowledged call is in its caller's history, and has ended.
	ended := make(map[string]bool)
	for i := range callers {
		caller := dial(ctx, t, address, fmt.Sprint("caller", i), nil)
		for flag := int64(0); ; {
			page, err := caller.Query(ctx, protocol.Query{NextFlag: flag})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range page.Calls {
				ended[c.CallID] = c.State == 2
			}
			if flag = page.NextFlag; flag == 0 {
				break
			}
		}
		caller.Close()
	}
	for _, call := range calls {
		if over, there := ended[call.id]; !there || !over {
			t.Errorf("call %s: in the history %v, ended %v", call.id, there, over)
		}
	}
	server.terminate()
}

// oneCall makes the nth call of a pair: two in three are answered, the third
// rings out. The error is the end of the connection.
func oneCall(caller, callee *client.Client, invited <-chan string, user string, n, timeout int) (acked, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	reply, err := caller.Invite(ctx, protocol.Invite{UserIDs: []string{user}, Timeout: &timeout})
	if err != nil {
		return acked{}, err
	}
	call := acked{id: reply.CallID}
	for rung := ""; rung != reply.CallID; {
		select {
		case rung = <-invited:
		case <-ctx.Done():
			return call, ctx.Err()
		}
	}
	answer := protocol.CallAction{CallID: reply.CallID}
	switch n % 3 {
	case 0:
		if _, err = callee.Accept(ctx, answer); err == nil {
			call.answer = "call_accept"
		}
	case 1:
		if _, err = callee.Reject(ctx, answer); err == nil {
			call.answer = "call_reject"
		}
	}
	var refused *protocol.Error
	if errors.As(err, &refused) {
		err = nil
	}
	return call, err
}

func dial(ctx context.Context, t *testing.T, address, user string, onEvent func(*client.Client, client.Event)) *client.Client {
	t.Helper()
	c, err := client.Dial(ctx, "http://"+address, client.Options{AppID: appID, UserID: user, Token: token(t, user), OnEvent: onEvent})
	if err != nil {
		t.Errorf("login of %s: %v", user, err)
		t.FailNow()
	}
	return c
}

func waitFor(ctx context.Context, t *testing.T, done func() bool, format string, args ...any) {
	t.Helper()
	for !done() {
		if ctx.Err() != nil {
			t.Fatalf("waited in vain for "+format, args...)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
