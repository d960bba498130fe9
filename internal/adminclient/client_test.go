package adminclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/adminapi"
)

func TestNew(t *testing.T) {
	for _, server := range []string{"", "localhost:8080", "127.0.0.1", "ftp://h", "http://", "http://h/?x", "http://h/#x", "http://u:hunter2@h", "http://h u:hunter2@h", "\x00"} {
		if _, err := New(Options{Server: server}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", server, err)
		}
	}
	if c, err := New(Options{Server: "https://h/ring/"}); err != nil || c.base != "https://h/ring/admin/v1" || c.Server() != "https://h/ring" {
		t.Errorf("%v, %+v", err, c)
	}
}

// Lists are read page by page, also short and empty ones, up to the limit.
func TestPages(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		if r.URL.Path != "/admin/v1/calls" || r.Header.Get("Authorization") != "Bearer the token" {
			t.Errorf("%s, %v", r.URL, r.Header)
		}
		var page adminapi.Page[adminapi.Call]
		begin, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
		for i := range begin {
			page.Items = append(page.Items, adminapi.Call{CallID: fmt.Sprint(begin, i)})
		}
		if begin < 4 {
			page.Next = strconv.Itoa(begin + 1)
		}
		json.NewEncoder(w).Encode(page)
	})
	for limit, want := range map[int]int{0: 10, 1: 1, 3: 3, 4: 4, 10: 10, 11: 10} {
		asked = nil
		calls, err := Collect(c.Calls(t.Context(), CallQuery{App: 7, State: "live", Limit: limit}))
		if err != nil || len(calls) != want || !strings.HasPrefix(asked[0], "app=7&limit=") {
			t.Errorf("%d: %d calls, %v, after %q", limit, len(calls), err, asked)
		}
	}
	for range c.Calls(t.Context(), CallQuery{}) {
		break
	}
}

func TestErrors(t *testing.T) {
	var status int
	var kind, body string
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		if status == http.StatusFound {
			w.Header().Set("Location", "https://elsewhere/")
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
	const problem = "application/problem+json"
	for _, tt := range []struct {
		status           int
		kind, body, want string
		final            bool
	}{
		{422, problem, `{"detail":"settings are not valid"}`, "settings are not valid (422)", true},
		{500, problem, `{"detail":"its log says why"}`, "its log says why (500)", false},
		{429, problem, `{"detail":"wait a minute"}`, "wait a minute (429)", false},
		{404, "text/plain", "404 page not found", "http://ringback.test has no admin API: is it a Ringback server, and has its configuration an admin_token?", true},
		{502, "text/html", "<p>", "http://ringback.test answers 502, and not as a Ringback server does", false},
		{302, "text/html", "", `http://ringback.test answers with a redirect to "https://elsewhere/": is that the URL of the server?`, true},
		{200, "text/html", "<p>", "http://ringback.test answers 200, and not as a Ringback server does", false},
	} {
		status, kind, body = tt.status, tt.kind, tt.body
		_, err := c.App(t.Context(), 1)
		if err == nil || err.Error() != tt.want || final(err) != tt.final {
			t.Errorf("%d: %v, final: %v", tt.status, err, final(err))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.App(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// script is a server of streams that does one step for each connection.
type script struct {
	t     *testing.T
	steps []func(w http.ResponseWriter, r *http.Request)
	ids   []string // Last-Event-ID of each connection
	at    []time.Duration
	begun time.Time
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.ids = append(s.ids, r.Header.Get("Last-Event-ID"))
	s.at = append(s.at, time.Since(s.begun))
	step := s.steps[min(len(s.ids), len(s.steps))-1]
	step(w, r)
}

// say writes to a stream, and leaves it open until the client goes if that is
// asked for.
func say(text string, open bool) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, text)
		w.(http.Flusher).Flush()
		if open {
			<-r.Context().Done()
		}
	}
}

func refuse(status int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		io.WriteString(w, `{"detail":"no"}`)
	}
}

func callback(id string) string {
	return "id: " + id + "\nevent: callback\ndata: {\"event_id\":\"" + id + "\"}\n\n"
}

const ready = "id: c0\nevent: ready\ndata: {}\n\n"

// A stream is taken up again after what was handed on, whatever broke it:
// half a message, silence, refusals that pass.
func TestListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{t: t, begun: time.Now(), steps: []func(http.ResponseWriter, *http.Request){
			say(ready+": comment\n\n"+callback("c1")+"id: c2\nevent: callback\ndata: {\"event_id\":", false),
			refuse(http.StatusServiceUnavailable),
			say(strings.ReplaceAll("id: c1\nevent: ready\ndata: {}\n\n"+callback("c2"), "\n", "\r\n"), true), // and then nothing
			refuse(http.StatusTooManyRequests),
			say("id: c2\nevent: ready\ndata: {}\n\n"+callback("c3"), false),
			refuse(http.StatusUnauthorized),
		}}
		c := serve(t, s.ServeHTTP)
		var got []string
		lost, back := 0, 0
		err := c.Listen(t.Context(), ListenQuery{After: "c"}, Listener{
			Ready: func(cursor string) { got = append(got, "ready "+cursor) },
			Lost: func(err error) {
				if err != nil {
					lost++
				} else {
					back++
				}
			},
			Callback: func(cb *adminapi.Callback, cursor string) error {
				got = append(got, cb.EventID+" "+cursor)
				return nil
			},
		})
		if e, ok := errors.AsType[*Error](err); !ok || e.Status != http.StatusUnauthorized {
			t.Errorf("got %v", err)
		}
		if want := "ready c0,c1 c1,c2 c2,c3 c3"; strings.Join(got, ",") != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if want := ",c1,c1,c2,c2,c3"; strings.Join(s.ids, ",") != want {
			t.Errorf("Last-Event-ID: %q, want %q", s.ids, want)
		}
		if lost != 3 || back != 2 {
			t.Errorf("told %d times that it is lost, %d times that it is back", lost, back)
		}
		if quiet := s.at[3] - s.at[2]; quiet < silence || quiet > silence+time.Second {
			t.Errorf("a silent stream was given up after %v", quiet)
		}
	})
}

// What fails before the first success is final, and so is the end of the
// context and an error of the listener.
func TestListenEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{t: t, begun: time.Now(), steps: []func(http.ResponseWriter, *http.Request){
			refuse(http.StatusServiceUnavailable), say(ready+callback("c1"), true),
		}}
		c := serve(t, s.ServeHTTP)
		if err := c.Listen(t.Context(), ListenQuery{}, Listener{}); err == nil || err.Error() != "no (503)" {
			t.Errorf("got %v", err)
		}
		stop := errors.New("stop")
		if err := c.Listen(t.Context(), ListenQuery{}, Listener{Callback: func(*adminapi.Callback, string) error { return stop }}); err != stop {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err := c.Listen(ctx, ListenQuery{}, Listener{Callback: func(*adminapi.Callback, string) error {
			cancel()
			return nil
		}})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			after := r.URL.Query().Get("after")
			asked = append(asked, after)
			if len(asked) == 2 {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			json.NewEncoder(w).Encode(adminapi.EventPage{Cursor: after + "x"})
		})
		enough := errors.New("enough")
		pages := 0
		err := c.Follow(t.Context(), EventQuery{After: "c"}, nil, func(*adminapi.EventPage) error {
			if pages++; pages == 3 {
				return enough
			}
			return nil
		})
		if err != enough || strings.Join(asked, " ") != "c cx cx cxx" {
			t.Errorf("%v, asked %q", err, asked)
		}
	})
}

func TestBackoff(t *testing.T) {
	for attempt, low := range map[int]time.Duration{0: minBackoff, 1: time.Second, 4: maxBackoff / 2, 5: maxBackoff / 2, 1000: maxBackoff / 2} {
		for range 100 {
			if wait := backoff(attempt); wait < low || wait > min(2*low, maxBackoff) {
				t.Fatalf("attempt %d: %v", attempt, wait)
			}
		}
	}
}
