package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringback/ringback/client"
	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/feed"
	"github.com/ringback/ringback/protocol"
)

// listener reads a stream.
type listener struct {
	t      *testing.T
	resp   *http.Response
	events chan streamed
}

// streamed is a server-sent event.
type streamed struct {
	id, event string
	callback  adminapi.Callback
}

// listen opens a stream, and reads its first event, which is ready.
func (a *admin) listen(query, lastID string) *listener {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, a.url+adminapi.Path+"/listen?"+query, http.NoBody)
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		a.t.Fatalf("HTTP %d %v", resp.StatusCode, resp.Header)
	}
	op := a.doc.operation(http.MethodGet, adminapi.Path+"/listen")
	a.doc.mu.Lock()
	if a.doc.seen["listen"] == nil {
		a.doc.seen["listen"] = make(map[string]bool)
	}
	a.doc.seen["listen"]["200"] = true
	a.doc.mu.Unlock()
	schema := op["responses"].(object)["200"].(object)["content"].(object)["text/event-stream"].(object)["schema"].(object)
	l := &listener{t: a.t, resp: resp, events: make(chan streamed, 1000)}
	a.t.Cleanup(l.close)
	go func() {
		defer close(l.events)
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		var ev streamed
		var data string
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				ev.id = value
			case "event":
				ev.event = value
			case "data":
				data = value
			case "":
				if ev.event == "" {
					break // a comment
				}
				if ev.event == "callback" {
					var body any
					if json.Unmarshal([]byte(data), &body) != nil || json.Unmarshal([]byte(data), &ev.callback) != nil {
						ev.event = "not JSON: " + data
					}
					for _, problem := range a.doc.validate(schema, body, "listen") {
						a.t.Error(problem)
					}
				}
				l.events <- ev
				ev = streamed{}
			}
		}
	}()
	if ready := l.next(); ready.event != "ready" || ready.id == "" {
		a.t.Fatalf("the stream begins with %+v", ready)
	}
	return l
}

func (l *listener) close() { l.resp.Body.Close() }

func (l *listener) next() streamed {
	l.t.Helper()
	select {
	case ev, ok := <-l.events:
		if !ok {
			l.t.Fatal("the stream has ended")
		}
		return ev
	case <-time.After(patience):
		l.t.Fatal("nothing comes from the stream")
	}
	return streamed{}
}

// talk has two devices make a call and one accept it.
func (a *admin) talk(alice, bob *client.Client) string {
	a.t.Helper()
	made, err := alice.Invite(a.t.Context(), protocol.Invite{UserIDs: []string{"bob"}})
	if err != nil {
		a.t.Fatal(err)
	}
	if _, err := bob.Accept(a.t.Context(), protocol.CallAction{CallID: made.CallID}); err != nil {
		a.t.Fatal(err)
	}
	return made.CallID
}

// header gives the value of a header of a callback.
func (s streamed) header(name string) string {
	for _, h := range s.callback.Headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// common are the parts of a body that each signing makes anew.
type common struct {
	Nonce, Signature string
	Timestamp        int64
}

// TestListen: a listener gets what the endpoint gets, in the order of events,
// with the same numbers and signed by the same secret.
func TestListen(t *testing.T) {
	const own = "the secret of this endpoint only"
	a := serveAdmin(t, func(c *config.Config, _ *Options) { c.Apps[0].Callbacks[0].Secret = own })
	l := a.listen("app=1&event=all", "")
	alice, bob := dial(t, a.url, "alice"), dial(t, a.url, "bob")
	defer alice.Close()
	defer bob.Close()
	for range 3 {
		a.talk(alice, bob)
	}
	events := until(a, "/events?app=1&limit=1000", func(p adminapi.EventPage) bool { return len(p.Items) >= 8 }).Items
	arrived := make(map[string]arrival)
	for _, got := range a.inbox.await(t, len(events)) {
		arrived[got.header.Get("webhook-id")] = got
	}
	for _, ev := range events {
		got := l.next()
		if got.event != "callback" || got.callback.EventID != ev.ID || got.callback.Event != ev.Event || got.callback.CallID != ev.CallID || got.callback.AtMS != ev.AtMS {
			t.Fatalf("the stream has %+v, want %+v", got, ev)
		}
		at := arrived[ev.ID]
		for _, name := range []string{"webhook-id", "Content-Type", "User-Agent", protocol.HeaderSequence, protocol.HeaderAttempt, protocol.HeaderTest} {
			if got.header(name) != at.header.Get(name) {
				t.Errorf("%s: %s is %q in the stream and %q at the endpoint", ev.Event, name, got.header(name), at.header.Get(name))
			}
		}
		var mine common
		if err := json.Unmarshal([]byte(got.callback.Body), &mine); err != nil {
			t.Fatal(err)
		}
		if mine.Signature != protocol.CallbackSignature(own, mine.Timestamp, mine.Nonce) ||
			got.header("webhook-signature") != protocol.WebhookSignature(own, ev.ID, mine.Timestamp, []byte(got.callback.Body)) {
			t.Errorf("%s is not signed as for the endpoint", ev.Event)
		}
		if x, y := fieldsOf(t, []byte(got.callback.Body)), fieldsOf(t, at.body); !maps.EqualFunc(x, y, func(x, y json.RawMessage) bool { return string(x) == string(y) }) {
			t.Errorf("the stream has %s, the endpoint got %s", got.callback.Body, at.body)
		}
	}
}

func fieldsOf(t *testing.T, body []byte) map[string]json.RawMessage {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nonce", "signature", "timestamp"} {
		if fields[name] == nil {
			t.Errorf("%s has no %s", body, name)
		}
		delete(fields, name)
	}
	return fields
}

// TestListenerComesBack: with the ID of what it got last it misses nothing and
// gets nothing twice, and the numbers go on.
func TestListenerComesBack(t *testing.T) {
	a := serveAdmin(t, nil)
	alice, bob := dial(t, a.url, "alice"), dial(t, a.url, "bob")
	defer alice.Close()
	defer bob.Close()
	begin := a.listen("app=1", "")
	a.talk(alice, bob)
	first := begin.next()
	begin.close()
	a.talk(alice, bob)
	ids := []string{first.callback.EventID}
	last := first.id
	for range 3 { // each time one more, and then it goes
		l := a.listen("app=1", last)
		got := l.next()
		l.close()
		ids, last = append(ids, got.callback.EventID), got.id
		if want := map[string]string{"call_create": "1", "call_accept": "2"}[got.callback.Event]; got.header(protocol.HeaderSequence) != want {
			t.Errorf("%s has the sequence %s, want %s", got.callback.Event, got.header(protocol.HeaderSequence), want)
		}
	}
	var want []string
	for _, ev := range get[adminapi.EventPage](a, "/events?app=1&event=call_create&event=call_accept").Items {
		want = append(want, ev.ID)
	}
	if !slices.Equal(ids, want) {
		t.Errorf("the listener got %v, want %v", ids, want)
	}
	// A cursor of all apps is none of one app.
	a.refused(http.StatusBadRequest, "GET", "/listen?app=1&after="+a.place(), nil, "belongs to all apps")
	after := a.listen("app=1&after="+first.id, "")
	if got := after.next(); got.callback.EventID != want[1] {
		t.Errorf("after the first comes %+v", got)
	}
}

// TestListenFilters: events and calls can be chosen, and are numbered as an
// endpoint that asks for the same would see them.
func TestListenFilters(t *testing.T) {
	a := serveAdmin(t, nil)
	accepts, ordinary := a.listen("event=call_accept", ""), a.listen("", "")
	alice, bob := dial(t, a.url, "alice"), dial(t, a.url, "bob")
	defer alice.Close()
	defer bob.Close()
	calls := []string{a.talk(alice, bob), a.talk(alice, bob)}
	for _, id := range calls {
		if got := accepts.next(); got.callback.Event != "call_accept" || got.callback.CallID != id || got.header(protocol.HeaderSequence) != "1" {
			t.Errorf("who asks for accepts gets %+v", got)
		}
		for i, event := range []string{"call_create", "call_accept"} {
			if got := ordinary.next(); got.callback.Event != event || got.callback.CallID != id || got.header(protocol.HeaderSequence) != fmt.Sprint(i+1) {
				t.Errorf("who asks for nothing gets %+v, want %s", got, event)
			}
		}
	}
	second := a.listen("call="+calls[1]+"&event=call_accept&event=call_create&after="+a.place(), "")
	for i, event := range []string{"call_create", "call_accept"} {
		if got := second.next(); got.callback.Event != event || got.callback.CallID != calls[1] || got.header(protocol.HeaderSequence) != fmt.Sprint(i+1) {
			t.Errorf("who asks for the second call gets %+v", got)
		}
	}
	// What is synthetic says so, in its header as well.
	a.do(http.StatusAccepted, "POST", "/apps/1/trigger", `{"event":"call_accept"}`)
	if got := accepts.next(); !got.callback.Test || got.header(protocol.HeaderTest) != "true" || got.header(protocol.HeaderSequence) != "" {
		t.Errorf("a synthetic callback is %+v", got)
	}
}

// place is the cursor before the oldest event of all apps.
func (a *admin) place() string { return feed.EncodeCursor(0, 0) }

// TestListenersDoNotHoldUpTheEnd: the server ends at once, whoever listens.
func TestListenersDoNotHoldUpTheEnd(t *testing.T) {
	var l *listener
	t.Run("serve", func(t *testing.T) {
		a := serveAdmin(t, nil)
		l = a.listen("", "")
	})
	for range l.events { // until it is closed
		t.Error("something came after the end")
	}
}
