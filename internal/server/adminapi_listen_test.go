package server

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/adminapi"
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
