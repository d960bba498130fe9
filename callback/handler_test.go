package callback

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/protocol"
)

// Every vector reaches the handler of its event, with its fields, and no
// other.
func TestHandlerOfEachEvent(t *testing.T) {
	var got []string
	note := func(m Meta, fields any) error {
		got = append(got, fmt.Sprintf("%s %s %T", m.ID, m.Event, fields))
		return nil
	}
	answer := func(_ context.Context, m Meta, f *protocol.CallAnswer) error { return note(m, f) }
	h := newHandler(t, Options{
		OnCallCreate:   func(_ context.Context, m Meta, f *protocol.CallCreate) error { return note(m, f) },
		OnCallCancel:   func(_ context.Context, m Meta, f *protocol.CallCancel) error { return note(m, f) },
		OnCallAccept:   answer,
		OnCallReject:   answer,
		OnCallTimeout:  func(_ context.Context, m Meta, f *protocol.CallTimeout) error { return note(m, f) },
		OnCallInvite:   func(_ context.Context, m Meta, f *protocol.CallInvite) error { return note(m, f) },
		OnUserAction:   func(_ context.Context, m Meta, f *protocol.UserAction) error { return note(m, f) },
		OnCallReceived: answer,
		OnCallJoin:     answer,
		OnCallQuit:     answer,
		OnCallEnd:      func(_ context.Context, m Meta, f *protocol.CallEnd) error { return note(m, f) },
		OnOther:        func(_ context.Context, e *Event) error { return note(e.Meta, nil) },
	})
	var want []string
	events := map[string]bool{}
	for _, v := range readVectors(t).Requests {
		name, _, _ := strings.Cut(v.Name, ",")
		events[name] = true
		want = append(want, fmt.Sprintf("%s %s %T", v.Headers["Webhook-Id"], name, fieldsOf(name)))
		wantStatus(t, send(h, v.request(secret)), http.StatusNoContent)
	}
	if !slices.Equal(got, want) {
		t.Errorf("handled\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(events) != 11 {
		t.Errorf("%d events have vectors, want all 11", len(events))
	}
}

// An event that nobody asked for is answered so that it is not repeated, and
// goes to OnOther where there is one.
func TestOtherEvents(t *testing.T) {
	wantStatus(t, send(newHandler(t, Options{}), accept("evt_1", "1", 1)), http.StatusNoContent)
	var got []string
	h := newHandler(t, Options{OnOther: func(_ context.Context, e *Event) error {
		got = append(got, e.Event+" "+e.CallID())
		return nil
	}})
	wantStatus(t, send(h, accept("evt_1", "1", 1)), http.StatusNoContent)
	body := `{"appid":"1","event":"call_hold","timestamp":1,"call_id":"1"}`
	header := http.Header{"Content-Type": {"application/json"}, "Webhook-Id": {"evt_2"}}
	wantStatus(t, send(h, resign(header, body, time.Now(), secret)), http.StatusNoContent)
	if want := []string{"call_accept 1", "call_hold "}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRefusals(t *testing.T) {
	good := func() *http.Request { return accept("evt_1", "1", 1) }
	for _, tt := range []struct {
		name   string
		make   func() *http.Request
		kind   error
		status int
		text   string
	}{
		{"GET", func() *http.Request { return httptest.NewRequest(http.MethodGet, "/", nil) }, ErrMethod, 405, "POST"},
		{"unsigned", func() *http.Request { return httptest.NewRequest(http.MethodPost, "/", nil) }, ErrUnsigned, 401, "webhook-id"},
		{"forged", func() *http.Request { return accepted("evt_1", "1", 1, "guessed", time.Now()) }, ErrSignature, 401, "compare"},
		{"stale", func() *http.Request { return accepted("evt_1", "1", 1, secret, time.Now().Add(-time.Hour)) }, ErrStale, 401, "replay"},
		{"broken JSON", func() *http.Request { return resign(good().Header, `{"event":`, time.Now(), secret) }, ErrMalformed, 400, "not JSON"},
		{"text", func() *http.Request {
			r := good()
			r.Header.Set("Content-Type", "text/plain")
			return r
		}, ErrMediaType, 415, "application/json"},
		{"huge", func() *http.Request {
			return resign(good().Header, strings.Repeat(" ", DefaultMaxBody+1), time.Now(), secret)
		}, ErrTooLarge, 413, "65536"},
		{"broken off", func() *http.Request {
			r := good()
			r.Body = io.NopCloser(io.MultiReader(r.Body, &failingReader{}))
			return r
		}, ErrMalformed, 400, "broke off"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var told error
			h := newHandler(t, Options{
				OnOther: func(context.Context, *Event) error {
					t.Error("it was handled")
					return nil
				},
				OnError: func(_ *http.Request, err error) { told = err },
			})
			w := send(h, tt.make())
			wantStatus(t, w, tt.status)
			if !strings.Contains(w.Body.String(), tt.text) || strings.Contains(w.Body.String(), secret) {
				t.Errorf("answered %q, want %q in it", w.Body, tt.text)
			}
			if !errors.Is(told, tt.kind) {
				t.Errorf("OnError got %v, want %v", told, tt.kind)
			}
			if allow := w.Header().Get("Allow"); (tt.status == 405) != (allow == "POST") {
				t.Errorf("Allow: %q", allow)
			}
		})
	}
}

type failingReader struct{}

func (*failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestOptionsOutOfRange(t *testing.T) {
	for _, o := range []Options{{Require: 9}, {Require: -1}, {Tolerance: -1}, {MaxBody: -1}} {
		o.Secrets = []string{secret}
		if _, err := NewHandler(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

// During a rotation the receiver accepts the old secret and the new one,
// whichever the server signs with.
func TestRotation(t *testing.T) {
	v := vectorOf(t, "call_create")
	for _, tt := range []struct {
		receiver, server []string
		want             int
	}{
		{[]string{"new", "old"}, []string{"old"}, 204},
		{[]string{"new", "old"}, []string{"new", "old"}, 204},
		{[]string{"old"}, []string{"new", "old"}, 204},
		{[]string{"new"}, []string{"new", "old"}, 204},
		{[]string{"new"}, []string{"old"}, 401},
		{[]string{protocol.WebhookSecret("new")}, []string{"new", "old"}, 204},
	} {
		h := newHandler(t, Options{Secrets: tt.receiver})
		if w := send(h, v.request(tt.server...)); w.Code != tt.want {
			t.Errorf("receiver %v, server %v: answered %d, want %d", tt.receiver, tt.server, w.Code, tt.want)
		}
	}
}

// A callback that was handled is not handled again, however often it comes;
// one that failed is.
func TestDuplicates(t *testing.T) {
	calls := 0
	var told []string
	h := newHandler(t, Options{
		OnCallAccept: func(context.Context, Meta, *protocol.CallAnswer) error {
			if calls++; calls == 1 {
				return errors.New("the database at db.internal is down")
			}
			return nil
		},
		OnError: func(_ *http.Request, err error) { told = append(told, err.Error()) },
	})
	w := send(h, accept("evt_1", "1", 1))
	wantStatus(t, w, http.StatusInternalServerError)
	if strings.Contains(w.Body.String(), "db.internal") {
		t.Errorf("the answer says %q", w.Body)
	}
	for range 3 {
		wantStatus(t, send(h, accept("evt_1", "1", 1)), http.StatusNoContent)
	}
	if calls != 2 {
		t.Errorf("handled %d times, want 2", calls)
	}
	if want := []string{"callback: handling call_accept: the database at db.internal is down"}; !slices.Equal(told, want) {
		t.Errorf("OnError got %q, want %q", told, want)
	}
	// Another ID is another callback.
	wantStatus(t, send(h, accept("evt_2", "1", 2)), http.StatusNoContent)
	if calls != 3 {
		t.Errorf("handled %d times, want 3", calls)
	}
}

// A handler may give any error, also one of this package: its text stays here.
func TestHandlerErrorStaysInside(t *testing.T) {
	h := newHandler(t, Options{OnOther: func(context.Context, *Event) error {
		return fmt.Errorf("asking: %w", problem(ErrStale, "private"))
	}})
	w := send(h, accept("evt_1", "1", 1))
	wantStatus(t, w, http.StatusInternalServerError)
	if strings.Contains(w.Body.String(), "private") {
		t.Errorf("the answer says %q", w.Body)
	}
}

// A panic leaves the callback to be handled again, and its call in order.
func TestPanic(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		calls := 0
		h := newHandler(t, Options{Ordered: ordered, OnOther: func(context.Context, *Event) error {
			if calls++; calls == 1 {
				panic("oh")
			}
			return nil
		}})
		func() {
			defer func() {
				if recover() != "oh" {
					t.Error("the panic did not go on")
				}
			}()
			send(h, accept("evt_1", "1", 1))
		}()
		wantStatus(t, send(h, accept("evt_1", "1", 1)), http.StatusNoContent)
		if calls != 2 {
			t.Errorf("handled %d times, want 2", calls)
		}
	}
}

// The same callback while it is being handled waits for the end, and is
// handled again only if that failed.
func TestConcurrentDuplicates(t *testing.T) {
	for _, tt := range []struct {
		name  string
		takes time.Duration
		fails bool
		want  []int // of the first, and of two that come during it
		calls int
	}{
		{"quick", time.Second, false, []int{204, 204, 204}, 1},
		{"quick failure", time.Second, true, []int{500, 204, 204}, 2},
		{"slow", 10 * time.Second, false, []int{204, 409, 409}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				calls := 0
				h := newHandler(t, Options{OnOther: func(context.Context, *Event) error {
					mu.Lock()
					calls++
					first := calls == 1
					mu.Unlock()
					if first {
						time.Sleep(tt.takes)
						if tt.fails {
							return errors.New("failed")
						}
					}
					return nil
				}})
				got := make([]int, 3)
				var group sync.WaitGroup
				for i := range got {
					group.Go(func() { got[i] = send(h, accept("evt_1", "1", 1)).Code })
					synctest.Wait()
				}
				group.Wait()
				if !slices.Equal(got, tt.want) || calls != tt.calls {
					t.Errorf("answered %v after %d calls, want %v after %d", got, calls, tt.want, tt.calls)
				}
				wantStatus(t, send(h, accept("evt_1", "1", 1)), http.StatusNoContent)
			})
		})
	}
}

// A server that breaks off does not undo what the handler did, and one that
// waits for another gives up.
func TestBrokenOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		h := newHandler(t, Options{Store: contextStore{&MemoryStore{}}, OnOther: func(context.Context, *Event) error {
			calls++
			time.Sleep(2 * time.Second)
			return nil
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go send(h, accept("evt_1", "1", 1).WithContext(ctx))
		synctest.Wait()
		wantStatus(t, send(h, accept("evt_1", "1", 1).WithContext(ctx)), http.StatusConflict)
		wantStatus(t, send(h, accept("evt_1", "1", 1)), http.StatusNoContent)
		if calls != 1 {
			t.Errorf("handled %d times, want once", calls)
		}
	})
}

// contextStore heeds its context, as a database does.
type contextStore struct{ Store }

func (s contextStore) Finish(ctx context.Context, id string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.Store.Finish(ctx, id)
}

// Without an ID, as the original hosted product sends them, each one is
// handled.
func TestWithoutID(t *testing.T) {
	calls := 0
	h := newHandler(t, Options{Require: RequireEither, OnOther: func(context.Context, *Event) error {
		calls++
		return nil
	}})
	for range 2 {
		r := accept("evt_1", "1", 0)
		for _, name := range []string{protocol.HeaderWebhookID, protocol.HeaderWebhookTimestamp, protocol.HeaderWebhookSignature} {
			r.Header.Del(name)
		}
		wantStatus(t, send(h, r), http.StatusNoContent)
	}
	if calls != 2 {
		t.Errorf("handled %d times, want 2", calls)
	}
}

// brokenStore fails where it is told to.
type brokenStore struct {
	MemoryStore
	claim, finish, release error
	state                  State
}

func (s *brokenStore) Claim(ctx context.Context, id string) (State, error) {
	if s.claim != nil || s.state != 0 {
		return s.state, s.claim
	}
	return s.MemoryStore.Claim(ctx, id)
}

func (s *brokenStore) Finish(ctx context.Context, id string) error {
	if s.finish != nil {
		return s.finish
	}
	return s.MemoryStore.Finish(ctx, id)
}

func (s *brokenStore) Release(ctx context.Context, id string) error {
	return errors.Join(s.release, s.MemoryStore.Release(ctx, id))
}

func TestStoreFailures(t *testing.T) {
	broken := errors.New("no connection to db.internal")
	for _, tt := range []struct {
		name  string
		store *brokenStore
		want  int
		told  string
		calls int
	}{
		{"claim", &brokenStore{claim: broken}, 500, "callback: claiming evt_1: no connection to db.internal", 0},
		{"finish", &brokenStore{finish: broken}, 500, "callback: finishing evt_1: no connection to db.internal", 1},
		{"release", &brokenStore{finish: broken, release: broken}, 500, "callback: releasing evt_1: no connection to db.internal", 1},
		{"busy elsewhere", &brokenStore{state: Busy}, 409, "callback: this callback is being handled: send it again later", 0},
		{"unknown state", &brokenStore{state: 7}, 500, "callback: claiming evt_1: the store gave the unknown state 7", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			var told []string
			h := newHandler(t, Options{
				Store:   tt.store,
				OnOther: func(context.Context, *Event) error { calls++; return nil },
				OnError: func(_ *http.Request, err error) { told = append(told, err.Error()) },
			})
			w := send(h, accept("evt_1", "1", 1))
			wantStatus(t, w, tt.want)
			if !slices.Contains(told, tt.told) || calls != tt.calls || strings.Contains(w.Body.String(), "db.internal") {
				t.Errorf("after %d calls OnError got %q, the sender %q", calls, told, w.Body)
			}
			// When the store is well again, so is everything.
			*tt.store = brokenStore{}
			wantStatus(t, send(h, accept("evt_1", "1", 1)), http.StatusNoContent)
		})
	}
}

func TestMeta(t *testing.T) {
	var got Meta
	h := newHandler(t, Options{OnCallAccept: func(_ context.Context, m Meta, _ *protocol.CallAnswer) error {
		got = m
		return nil
	}})
	r := accept("evt_1", "1", 3)
	r.Header.Set(protocol.HeaderAttempt, "2")
	r.Header.Set(protocol.HeaderTest, "true")
	now := time.Now().Unix()
	wantStatus(t, send(h, r), http.StatusNoContent)
	if age := got.Timestamp.Unix() - now; age < -1 || age > 1 {
		t.Errorf("timestamp %v", got.Timestamp)
	}
	got.Timestamp = time.Time{}
	if want := (Meta{ID: "evt_1", Event: "call_accept", AppID: "1", Attempt: 2, Sequence: 3, Test: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
