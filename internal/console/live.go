package console

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
)

const (
	liveEvery  = 2 * time.Second  // between looks
	aliveEvery = 15 * time.Second // between signs of life on a stream
	writeLimit = 10 * time.Second // for a browser to take what it is sent
)

// part is a piece of the overview as it is sent.
type part struct {
	name, text string
	since      int // the look at which it became so
}

// hub looks at the server for all overviews that are open: however many there
// are, it looks once. While there is none it does not.
type hub struct {
	api *adminclient.Client
	c   *Console
	day bool

	mu       sync.Mutex
	watchers int
	stop     context.CancelFunc
	done     chan struct{} // closed when the latest run has ended
	looks    int
	parts    []part
	changed  chan struct{} // closed and replaced at each look

	// Of the goroutine only: the activity at the latest look, and at the one
	// before.
	activity, before int64
	live             []adminapi.Call
}

func newHub(c *Console, day bool) *hub {
	return &hub{api: c.client(""), c: c, day: day, changed: make(chan struct{}), activity: -1, before: -1}
}

// join begins to watch.
func (h *hub) join() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers++; h.watchers == 1 {
		ctx, stop := context.WithCancel(h.c.ctx)
		h.stop = stop
		done := make(chan struct{})
		before := h.done
		h.done = done
		go h.run(ctx, before, done)
	}
}

// leave ends that.
func (h *hub) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers--; h.watchers == 0 {
		h.stop()
		h.parts = nil // by the next time they are old
	}
}

// wait waits until nobody looks any more; nobody may join from then on.
func (h *hub) wait() {
	h.mu.Lock()
	done := h.done
	h.mu.Unlock()
	if done != nil {
		<-done
	}
}

// since gives what has changed since a look, the number of the latest one, and
// what is closed at the next.
func (h *hub) since(look int) ([]part, int, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []part
	for _, p := range h.parts {
		if p.since > look {
			list = append(list, p)
		}
	}
	return list, h.looks, h.changed
}

// run looks until the context ends. It begins when the run before has ended.
func (h *hub) run(ctx context.Context, before <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	if before != nil {
		<-before
	}
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	for {
		if err := h.look(ctx); err != nil && ctx.Err() == nil {
			h.c.Logger.Warn("the console cannot look at the server", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look renders the parts anew and tells the watchers of those that differ.
func (h *hub) look(ctx context.Context) error {
	o, err := h.api.Overview(ctx, h.day)
	if err != nil {
		return err
	}
	h.before = h.activity
	if o.Activity != h.activity {
		live, err := h.api.CallsPage(ctx, adminclient.CallQuery{State: "live"}, adminclient.Place{Limit: liveShown})
		if err != nil {
			return err
		}
		h.live, h.activity = live.Items, o.Activity
	}
	nodes, err := h.api.Nodes(ctx)
	if err != nil {
		return err
	}
	view := newOverviewView(o, h.day, h.live, nodes)
	// What is counted is durable a moment later only, so who was told of it is
	// told once more at the next look.
	fresh := []part{{name: "changed", text: fmt.Sprint(h.before, o.Activity)}}
	for _, name := range []string{"tiles", "charts", "trouble", "ringing", "scope", "nodes"} {
		text, err := fragment("overview", name, view)
		if err != nil {
			return err
		}
		fresh = append(fresh, part{name: name, text: text})
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looks++
	for i := range fresh {
		fresh[i].since = h.looks
		if i < len(h.parts) && h.parts[i].text == fresh[i].text {
			fresh[i].since = h.parts[i].since
		}
	}
	h.parts = fresh
	close(h.changed)
	h.changed = make(chan struct{})
	return nil
}

// live is the stream of a page: the parts of the overview, or only that
// something has changed.
func (v *visit) live() error {
	h := v.hubs[v.r.FormValue("window") == "24h"]
	only := v.r.FormValue("only")
	if v.ctx.Err() != nil {
		return nil
	}
	h.join()
	defer h.leave()
	v.w.Header().Set("Content-Type", "text/event-stream")
	v.w.Header().Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(v.w)
	send := func(text []byte) bool {
		out.SetWriteDeadline(time.Now().Add(writeLimit)) // a writer without deadlines, as in tests, is left alone
		_, err := v.w.Write(text)
		return err == nil && out.Flush() == nil
	}
	if !send([]byte("retry: 2000\n\n")) {
		return nil
	}
	defer out.SetWriteDeadline(time.Time{}) // for what comes next on the connection
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	for seen := 0; ; {
		parts, look, changed := h.since(seen)
		seen = look
		var b bytes.Buffer
		for _, p := range parts {
			if only == "" || p.name == only {
				p.write(&b)
			}
		}
		if b.Len() > 0 && !send(b.Bytes()) {
			return nil
		}
		select {
		case <-changed:
		case <-alive.C:
			if !v.sessions.alive(v.session) || !send([]byte(": alive\n\n")) {
				return nil
			}
		case <-v.r.Context().Done():
			return nil
		case <-v.ctx.Done():
			return nil
		}
	}
}

// write writes a part as a server-sent event.
func (p *part) write(b *bytes.Buffer) {
	fmt.Fprintf(b, "event: %s\n", p.name)
	for text := range strings.Lines(p.text) {
		fmt.Fprintf(b, "data: %s\n", strings.TrimRight(text, "\r\n"))
	}
	b.WriteString("\n")
}
