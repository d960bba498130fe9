package demo

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringback/ringback/protocol"
)

// Bounds of what the receiver takes and keeps of one callback.
const (
	maxCallback    = 64 << 10 // bytes of the body
	maxHeaders     = 32
	maxHeaderValue = 1 << 10 // bytes
)

// maxHang is how long the receiver holds back an answer at most.
const maxHang = time.Minute

// mode is what the receiver does with a callback that it has taken.
type mode string

// Modes of the receiver, by their names on the wire.
const (
	modeOK   mode = "ok"   // answer 204, or 401 when a signature is bad
	modeFail mode = "fail" // answer 500
	modeHang mode = "hang" // do not answer
)

// receiver is the switch of the page.
type receiver struct {
	announce func(mode) // tells the pages; called with mu held, so in order

	mu      sync.Mutex
	mode    mode
	changed chan struct{} // closed and replaced when mode changes
}

func newReceiver(announce func(mode)) *receiver {
	return &receiver{announce: announce, mode: modeOK, changed: make(chan struct{})}
}

// current returns the mode, and a channel that is closed when it changes.
func (rc *receiver) current() (mode, <-chan struct{}) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return rc.mode, rc.changed
}

func (rc *receiver) set(m mode) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if m == rc.mode {
		return
	}
	rc.mode = m
	close(rc.changed)
	rc.changed = make(chan struct{})
	rc.announce(m)
}

// Values of callback.Signature.
const (
	verified = "verified" // all checks hold
	bad      = "bad"
)

// callback is one attempt of a delivery as it stands in the inbox.
type callback struct {
	ID           int64       `json:"id"` // 1, 2, 3… in the order of arrival
	ReceivedAtMS int64       `json:"received_at_ms"`
	Event        string      `json:"event"`   // "" when the body is none
	CallID       string      `json:"call_id"` // "" on user_action
	Attempt      int         `json:"attempt"` // 0 when the header is missing
	Sequence     int64       `json:"sequence"`
	WebhookID    string      `json:"webhook_id"`
	Signature    string      `json:"signature"` // verified or bad
	Checks       []check     `json:"checks"`
	Answer       int         `json:"answer"` // HTTP status; 0 when held back
	Headers      [][2]string `json:"headers"`
	Body         string      `json:"body"`
}

// serveCallback is the receiver: it puts the callback into the inbox, good or
// bad, and then answers as the switch says.
func (d *Demo) serveCallback(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r, maxCallback)
	if !ok {
		return
	}
	m, changed := d.receiver.current()
	c := newCallback(r.Header, body)
	c.Checks = verify(d.opts.CallbackSecret, r.Header, body, time.Now())
	c.Signature = verified
	for _, ch := range c.Checks {
		if ch.Problem != "" {
			c.Signature = bad
			d.opts.Logger.Warn("callback with a bad signature", "event", c.Event, "call_id", c.CallID, "check", ch.Name, "problem", ch.Problem)
		}
	}
	c.Answer = answer(m, c.Signature)
	d.inbox.add(c)
	d.opts.OnCallback(Arrival{Event: c.Event, CallID: c.CallID, Attempt: c.Attempt, Verified: c.Signature == verified})

	status := c.Answer
	if m == modeHang {
		if status = d.hang(w, r, changed, c.Signature); status == 0 {
			return
		}
	}
	w.WriteHeader(status)
}

// answer is the status with which a mode answers; 0 for none.
func answer(m mode, signature string) int {
	switch {
	case m == modeHang:
		return 0
	case m == modeFail:
		return http.StatusInternalServerError
	case signature != verified:
		return http.StatusUnauthorized
	default:
		return http.StatusNoContent
	}
}

// hang holds a request back until the sender gives up, for which it returns
// 0, or until the switch is moved, the demo closes or maxHang has passed.
func (d *Demo) hang(w http.ResponseWriter, r *http.Request, changed <-chan struct{}, signature string) int {
	untimed(http.NewResponseController(w))
	timer := time.NewTimer(maxHang)
	defer timer.Stop()
	select {
	case <-r.Context().Done():
		return 0
	case <-changed:
		m, _ := d.receiver.current()
		if status := answer(m, signature); status != 0 {
			return status
		}
	case <-d.closed:
	case <-timer.C:
	}
	return http.StatusServiceUnavailable
}

// newCallback reads what the inbox shows out of a request. A body that is no
// callback leaves its fields empty.
func newCallback(h http.Header, body []byte) callback {
	var fields struct {
		Event  string `json:"event"`
		CallID string `json:"call_id"`
	}
	_ = json.Unmarshal(body, &fields) // verify reports it
	attempt, _ := strconv.Atoi(h.Get(protocol.HeaderAttempt))
	sequence, _ := strconv.ParseInt(h.Get(protocol.HeaderSequence), 10, 64)
	return callback{
		ReceivedAtMS: time.Now().UnixMilli(),
		Event:        fields.Event,
		CallID:       fields.CallID,
		Attempt:      attempt,
		Sequence:     sequence,
		WebhookID:    truncate(h.Get(protocol.HeaderWebhookID)),
		Headers:      headers(h),
		Body:         strings.ToValidUTF8(string(body), "\uFFFD"),
	}
}

// headers lists the headers by name, bounded in number and length.
func headers(h http.Header) [][2]string {
	list := make([][2]string, 0, len(h))
	for name, values := range h {
		list = append(list, [2]string{name, truncate(strings.Join(values, ", "))})
	}
	slices.SortFunc(list, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return list[:min(len(list), maxHeaders)]
}

func truncate(value string) string {
	if len(value) > maxHeaderValue {
		return strings.ToValidUTF8(value[:maxHeaderValue], "") + "…"
	}
	return value
}

func (d *Demo) serveReceiverMode(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Mode mode `json:"mode"`
	}
	if !readJSON(w, r, &req) {
		return
	}
	switch req.Mode {
	case modeOK, modeFail, modeHang:
	default:
		http.Error(w, `mode must be "ok", "fail" or "hang"`, http.StatusBadRequest)
		return
	}
	d.receiver.set(req.Mode)
	w.WriteHeader(http.StatusNoContent)
}
