package demo

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of the inbox and of its streams.
const (
	maxKept       = 200              // callbacks
	maxStreams    = 32               // streams at a time
	maxQueued     = 64               // messages that a stream may lag behind before it is ended
	heartbeat     = 15 * time.Second // between comments on a silent stream
	streamTimeout = 10 * time.Second // for one write
)

// Names of the server-sent events.
const (
	streamCallback = "callback" // data: a callback
	streamClear    = "clear"    // forget everything shown
	streamReceiver = "receiver" // data: {"mode":…}
)

// message is one server-sent event, encoded once for all streams.
type message []byte

// inbox keeps the newest callbacks and hands them to the open streams.
type inbox struct {
	// run tells the IDs of this process from those of an earlier one, which a
	// reconnecting page may still name.
	run string

	mu      sync.Mutex
	last    int64     // ID of the newest callback
	cleared int64     // ID of the newest callback that was cleared
	kept    []message // oldest first
	mode    message
	streams map[chan message]struct{}
}

func newInbox() *inbox {
	in := &inbox{run: rand.Text(), streams: make(map[chan message]struct{})}
	in.mode = modeMessage(modeOK)
	return in
}

// add keeps a callback under the next ID and sends it to every stream.
func (in *inbox) add(c callback) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.last++
	c.ID = in.last
	m := event(streamCallback, fmt.Sprintf("%s-%d", in.run, c.ID), c)
	if len(in.kept) == maxKept {
		in.kept = append(in.kept[:0], in.kept[1:]...)
	}
	in.kept = append(in.kept, m)
	in.send(m)
}

func (in *inbox) clear() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.cleared = in.last
	in.kept = nil
	in.send(event(streamClear, "", struct{}{}))
}

// announceMode tells every stream, and those to come, where the switch of the
// receiver stands.
func (in *inbox) announceMode(m mode) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.mode = modeMessage(m)
	in.send(in.mode)
}

func modeMessage(m mode) message {
	return event(streamReceiver, "", struct {
		Mode mode `json:"mode"`
	}{m})
}

// send queues a message on every stream. A stream whose queue is full is
// ended: its page connects again and gets what it missed. in.mu is held.
func (in *inbox) send(m message) {
	for s := range in.streams {
		select {
		case s <- m:
		default:
			delete(in.streams, s)
			close(s)
		}
	}
}

// subscribe opens a stream. It returns what to send first: the callbacks
// after the one that lastEventID names or, when that says nothing, all of
// them. The stream is closed when its reader is too slow. ok is false when
// there are too many.
func (in *inbox) subscribe(lastEventID string) (backlog []message, stream chan message, ok bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.streams) >= maxStreams {
		return nil, nil, false
	}
	backlog = append(backlog, in.mode)
	first := in.last - int64(len(in.kept)) // ID before the oldest kept
	if seen, resumes := in.seen(lastEventID); resumes {
		backlog = append(backlog, in.kept[max(0, seen-first):]...)
	} else {
		backlog = append(backlog, event(streamClear, "", struct{}{}))
		backlog = append(backlog, in.kept...)
	}
	stream = make(chan message, maxQueued)
	in.streams[stream] = struct{}{}
	return backlog, stream, true
}

// seen returns the ID of the newest callback that a page already shows, if it
// comes from this process and was not cleared since.
func (in *inbox) seen(lastEventID string) (id int64, ok bool) {
	text, ok := strings.CutPrefix(lastEventID, in.run+"-")
	if !ok {
		return 0, false
	}
	id, err := strconv.ParseInt(text, 10, 64)
	return id, err == nil && id > in.cleared && id <= in.last
}

// unsubscribe ends a stream. It may have been ended already.
func (in *inbox) unsubscribe(stream chan message) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.streams, stream)
}

// event encodes a server-sent event. Its data is JSON on one line.
func event(name, id string, data any) message {
	text, err := json.Marshal(data)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	var b strings.Builder
	if id != "" {
		fmt.Fprintf(&b, "id: %s\n", id)
	}
	fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", name, text)
	return message(b.String())
}

// serveInbox is the stream of server-sent events behind the inbox of the
// page: what is kept, then what arrives.
func (d *Demo) serveInbox(w http.ResponseWriter, r *http.Request) {
	backlog, stream, ok := d.inbox.subscribe(r.Header.Get("Last-Event-ID"))
	if !ok {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	defer d.inbox.unsubscribe(stream)

	rc := http.NewResponseController(w)
	untimed(rc)
	defer untimed(rc)
	write := func(messages ...message) error {
		_ = rc.SetWriteDeadline(time.Now().Add(streamTimeout))
		for _, m := range messages {
			if _, err := w.Write(m); err != nil {
				return err
			}
		}
		return rc.Flush()
	}

	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	if err := write(backlog...); err != nil {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		var m message
		select {
		case <-r.Context().Done():
			return
		case <-d.closed:
			return
		case m, ok = <-stream:
			if !ok {
				return
			}
		case <-beat.C:
			m = message(": still here\n\n")
		}
		if err := write(m); err != nil {
			return
		}
	}
}

func (d *Demo) serveClearInbox(w http.ResponseWriter, _ *http.Request) {
	d.inbox.clear()
	w.WriteHeader(http.StatusNoContent)
}
