package serverapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/feed"
	"github.com/ringback/ringback/internal/store"
)

// poll asks the feed; more are names and values.
func (b *backend) poll(ctx context.Context, more ...string) (int, EventPage, result) {
	b.t.Helper()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, EventsPath+"?"+b.query("", more...).Encode(), nil)
	return b.ask(r)
}

func (b *backend) ask(r *http.Request) (status int, page EventPage, failure result) {
	b.t.Helper()
	w := httptest.NewRecorder()
	b.server.Events().ServeHTTP(w, r)
	into := any(&page)
	if w.Code != http.StatusOK {
		into = &failure
	}
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		b.t.Errorf("%s: %v", w.Body, err)
	}
	return w.Code, page, failure
}

// page asks for a page that is there.
func (b *backend) page(more ...string) EventPage {
	b.t.Helper()
	status, page, failure := b.poll(b.t.Context(), more...)
	if status != http.StatusOK {
		b.t.Fatalf("HTTP %d %v", status, failure)
	}
	if page.Cursor == "" || page.Events == nil {
		b.t.Errorf("every page has events and a cursor: %+v", page)
	}
	return page
}

// happen makes events durable and announces them.
func (b *backend) happen(events ...*store.Event) {
	b.t.Helper()
	if err := b.store.AddEvents(b.t.Context(), events); err != nil {
		b.t.Error(err)
	}
	b.feed.Announce(events)
}

func something(app uint32) *store.Event {
	return &store.Event{App: app, Name: "user_action", Fields: []byte(`{"action":0}`), At: call.At(time.Now())}
}

func TestEventsOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		defer b.close()
		b.login("alice", "bob")
		begin := b.page("after", "latest")
		if len(begin.Events) != 0 || begin.More {
			t.Errorf("latest begins with %+v", begin)
		}
		id := b.invite("alice", "bob")
		b.get("CallAccept", "FromUserId", "bob", "CallId", id, "ExtendedData", "<yes>")
		page := b.page("after", begin.Cursor)
		at := time.Now().UnixMilli()
		want := []Event{
			{ID: "evt_3", Event: "call_create", CallID: id, TimeMS: at, Version: 1},
			{ID: "evt_4", Event: "call_accept", CallID: id, TimeMS: at, Version: 2},
		}
		for i, ev := range page.Events {
			data := string(ev.Data)
			ev.Data = nil
			if i >= len(want) || fmt.Sprint(ev) != fmt.Sprint(want[i]) || !strings.HasPrefix(data, `{"call_id":"`+id+`"`) {
				t.Errorf("event %d is %+v %s, want %+v", i, ev, data, want[i])
			}
		}
		if len(page.Events) != 2 || page.More {
			t.Errorf("the page is %+v", page)
		}
		all := b.page()
		if names := eventNames(all); !slices.Equal(names, []string{"user_action", "user_action", "call_create", "call_accept"}) || all.Events[0].CallID != "" {
			t.Errorf("from the beginning: %+v", all)
		}
	})
}

func eventNames(page EventPage) (names []string) {
	for _, ev := range page.Events {
		names = append(names, ev.Event)
	}
	return names
}

// TestEventsResume reads page by page, among events of another app and tests,
// and misses and repeats nothing.
func TestEventsResume(t *testing.T) {
	b := newBackend(t)
	defer b.close()
	var want []string
	for i := range 100 {
		ev := something(app + uint32(i%3)/2)
		ev.Test = i%5 == 0
		b.happen(ev)
		if ev.App == app && !ev.Test {
			want = append(want, ev.ID.String())
		}
	}
	for _, limit := range []string{"1", "3", "1000"} {
		for _, lookedAt := range []int{0, 1, 7} {
			b.store.lookedAt = lookedAt
			var got []string
			page := EventPage{More: true}
			for page.More {
				before := page.Cursor
				page = b.page("after", page.Cursor, "limit", limit)
				if page.Cursor == before {
					t.Fatalf("limit %s, %d at a time: the cursor %s stands still", limit, lookedAt, before)
				}
				for _, ev := range page.Events {
					got = append(got, ev.ID)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("limit %s, %d at a time: %v, want %v", limit, lookedAt, got, want)
			}
		}
	}
}

func TestEventsFaults(t *testing.T) {
	b := newBackend(t, func(o *Options) { o.RequestsPerSecond = 100 })
	defer b.close()
	good := feed.EncodeCursor(app, 1)
	for _, tt := range []struct {
		name   string
		more   []string
		status int
		code   Code
		says   string
	}{
		{"limit 0", []string{"limit", "0"}, 400, CodeInput, "limit must be an integer from 1 to 1000"},
		{"limit 1001", []string{"limit", "1001"}, 400, CodeInput, "limit"},
		{"limit x", []string{"limit", "x"}, 400, CodeInput, "limit"},
		{"wait -1", []string{"wait", "-1"}, 400, CodeInput, "wait must be an integer from 0 to 60"},
		{"wait 61", []string{"wait", "61"}, 400, CodeInput, "wait"},
		{"no cursor", []string{"after", "evt_1"}, 400, CodeInput, "begin again"},
		{"cursor cut short", []string{"after", good[:9]}, 400, CodeInput, "begin again"},
		{"cursor of another app", []string{"after", feed.EncodeCursor(7, 1)}, 400, CodeInput, "belongs to app 7"},
		{"no version", []string{"SignatureVersion", "9"}, 400, CodeSignatureVerWanted, "give 2.0"},
		{"no app", []string{"AppId", "9"}, 401, CodeAppUnknown, "no app 9"},
		{"old", []string{"Timestamp", "1615186943"}, 401, CodeExpired, "clock"},
		{"wrong signature", []string{"Signature", strings.Repeat("0", 32)}, 401, CodeSignature, "Signature is wrong"},
	} {
		q := b.query("")
		for i := 0; i < len(tt.more); i += 2 {
			q.Set(tt.more[i], tt.more[i+1])
		}
		status, _, failure := b.ask(httptest.NewRequest(http.MethodGet, EventsPath+"?"+q.Encode(), nil))
		if status != tt.status || failure.code() != tt.code || !strings.Contains(failure.text("Message"), tt.says) || failure.text("RequestId") == "" {
			t.Errorf("%s: HTTP %d %v", tt.name, status, failure)
		}
	}
	status, _, failure := b.ask(httptest.NewRequest(http.MethodGet, EventsPath, nil))
	if status != http.StatusBadRequest || failure.code() != CodeAppIDFormat {
		t.Errorf("no parameters: HTTP %d %v", status, failure)
	}
	q := b.query("").Encode()
	b.ask(httptest.NewRequest(http.MethodGet, EventsPath+"?"+q, nil))
	status, _, failure = b.ask(httptest.NewRequest(http.MethodGet, EventsPath+"?"+q, nil))
	if status != http.StatusUnauthorized || failure.code() != CodeSignature {
		t.Errorf("a replay: HTTP %d %v", status, failure)
	}
	b.store.fail = errors.New("no disk")
	if status, _, failure := b.poll(t.Context()); status != http.StatusServiceUnavailable || failure.code() != CodeGeneral {
		t.Errorf("a failing store: HTTP %d %v", status, failure)
	}
}

func TestEventsTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t, func(o *Options) { o.RequestsPerSecond = 2 })
		defer b.close()
		b.page()
		b.page()
		if status, _, failure := b.poll(t.Context()); status != http.StatusTooManyRequests || failure.code() != CodeTooManyRequests {
			t.Errorf("HTTP %d %v", status, failure)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		defer b.close()
		var polls sync.WaitGroup
		for range maxPolls {
			polls.Go(func() { b.server.Events().ServeHTTP(httptest.NewRecorder(), b.request("wait", "60")) })
		}
		synctest.Wait()
		if status, _, failure := b.poll(t.Context(), "wait", "1"); status != http.StatusTooManyRequests {
			t.Errorf("HTTP %d %v", status, failure)
		}
		b.server.Close()
		polls.Wait()
		if len(b.server.polls.waiting) != 0 {
			t.Errorf("polls are still counted: %v", b.server.polls.waiting)
		}
	})
}

func (b *backend) request(more ...string) *http.Request {
	return httptest.NewRequest(http.MethodGet, EventsPath+"?"+b.query("", more...).Encode(), nil)
}

func TestLongPoll(t *testing.T) {
	type outcome struct {
		page  EventPage
		after time.Duration
	}
	start := func(b *backend, ctx context.Context, more ...string) <-chan outcome {
		done := make(chan outcome, 1)
		began := time.Now()
		go func() {
			_, page, _ := b.poll(ctx, more...)
			done <- outcome{page, time.Since(began)}
		}()
		synctest.Wait()
		return done
	}
	tests := map[string]func(t *testing.T, b *backend){
		"an event ends it": func(t *testing.T, b *backend) {
			poll := start(b, t.Context(), "wait", "60", "after", "latest")
			time.Sleep(7 * time.Second)
			b.happen(something(app))
			if got := <-poll; len(got.page.Events) != 1 || got.after != 7*time.Second {
				t.Errorf("after %v: %+v", got.after, got.page)
			}
		},
		"others do not, but the cursor goes on": func(t *testing.T, b *backend) {
			poll := start(b, t.Context(), "wait", "30")
			test := something(app)
			test.Test = true
			b.happen(something(app+1), test)
			b.happen(something(app + 1))
			got := <-poll
			if len(got.page.Events) != 0 || got.after != 30*time.Second || got.page.More {
				t.Errorf("after %v: %+v", got.after, got.page)
			}
			if id, err := feed.DecodeCursor(app, got.page.Cursor); err != nil || id != 3 {
				t.Errorf("the cursor is after %d, %v", id, err)
			}
		},
		"what is there needs no wait": func(t *testing.T, b *backend) {
			b.happen(something(app))
			if got := <-start(b, t.Context(), "wait", "60"); len(got.page.Events) != 1 || got.after != 0 {
				t.Errorf("after %v: %+v", got.after, got.page)
			}
		},
		"closing ends it": func(t *testing.T, b *backend) {
			poll := start(b, t.Context(), "wait", "60")
			b.server.Close()
			if got := <-poll; got.page.Cursor == "" || got.after != 0 {
				t.Errorf("after %v: %+v", got.after, got.page)
			}
		},
		"hanging up ends it": func(t *testing.T, b *backend) {
			ctx, cancel := context.WithCancel(t.Context())
			poll := start(b, ctx, "wait", "60")
			cancel()
			if got := <-poll; got.after != 0 || len(b.server.polls.waiting) != 0 || strings.Contains(b.log.String(), "failed") {
				t.Errorf("after %v: %v, log %s", got.after, b.server.polls.waiting, b.log)
			}
		},
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBackend(t)
				defer b.close()
				f(t, b)
			})
		})
	}
}

// TestEventsUnderWrites has readers poll while writers write. A wake-up that
// got lost would cost a reader the whole of its wait, and end in a page
// without events.
func TestEventsUnderWrites(t *testing.T) {
	const writers, each, readers = 3, 200, 3
	b := newBackend(t)
	defer b.close()
	var work sync.WaitGroup
	for range readers {
		work.Go(func() {
			cursor, last := "", store.EventID(0)
			for seen := 0; seen < writers*each; {
				w := httptest.NewRecorder()
				b.server.Events().ServeHTTP(w, b.request("wait", "60", "limit", "7", "after", cursor))
				var page EventPage
				if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != http.StatusOK || len(page.Events) == 0 {
					t.Errorf("after %d events: HTTP %d %s %v", seen, w.Code, w.Body, err)
					return
				}
				for _, ev := range page.Events {
					if last++; ev.ID != last.String() {
						t.Errorf("%s came, want %s", ev.ID, last)
						return
					}
				}
				seen, cursor = seen+len(page.Events), page.Cursor
			}
		})
	}
	for range writers {
		work.Go(func() {
			for range each {
				b.happen(something(app))
			}
		})
	}
	work.Wait()
}
