package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringback/ringback/protocol"
)

// Paths of the receiver.
const (
	callbackPath = "/callback"
	hangPath     = "/hang" // never answers
)

// maxBody is the largest callback that is read, in bytes.
const maxBody = 64 << 10

// receiver is the business server of the run: it takes callbacks and answers
// them with 200.
type receiver struct {
	secret  string
	verify  bool
	now     func() int64
	tracker *tracker
	errs    *failures

	ln      net.Listener
	srv     *http.Server
	done    chan struct{} // closed when srv has ended
	free    chan struct{} // closed to end the hanging
	once    sync.Once
	hanging atomic.Int64 // requests that were left hanging
}

// listen starts r at an address; an empty one means no receiver, and then the
// other methods do nothing.
func (r *receiver) listen(addr string) error {
	r.free = make(chan struct{})
	if addr == "" {
		return nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("receiver of callbacks: %w", err)
	}
	r.ln = ln
	mux := http.NewServeMux()
	mux.HandleFunc("/", r.callback)
	mux.HandleFunc(hangPath, r.hang)
	r.srv = &http.Server{Handler: mux}
	r.done = make(chan struct{})
	go func() {
		defer close(r.done)
		if err := r.srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			r.errs.add("receiver of callbacks: " + err.Error())
		}
	}()
	return nil
}

func (r *receiver) url(path string) string { return "http://" + r.ln.Addr().String() + path }

// release lets the requests go that hang.
func (r *receiver) release() { r.once.Do(func() { close(r.free) }) }

func (r *receiver) close() {
	r.release()
	if r.srv != nil {
		r.srv.Close()
		<-r.done
	}
}

func (r *receiver) hang(w http.ResponseWriter, req *http.Request) {
	r.hanging.Add(1)
	select {
	case <-r.free:
	case <-req.Context().Done():
	}
	w.WriteHeader(http.StatusServiceUnavailable)
}

// callbackBody is what of a callback is looked at.
type callbackBody struct {
	Event     string `json:"event"`
	Nonce     string `json:"nonce"`
	Signature string `json:"signature"`
	Timestamp int64  `json:"timestamp"`
	CallID    string `json:"call_id"`
}

var bodies = sync.Pool{New: func() any { return new([maxBody]byte) }}

func (r *receiver) callback(w http.ResponseWriter, req *http.Request) {
	at := r.now()
	buf := bodies.Get().(*[maxBody]byte)
	defer bodies.Put(buf)
	n, err := io.ReadFull(req.Body, buf[:])
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		r.refuse(w, http.StatusBadRequest, "callback that cannot be read")
		return
	}
	body := buf[:n]
	var cb callbackBody
	if err := json.Unmarshal(body, &cb); err != nil {
		r.refuse(w, http.StatusBadRequest, "callback that is not JSON")
		return
	}
	if r.verify {
		if kind := r.check(req.Header, &cb, body); kind != "" {
			r.refuse(w, http.StatusUnauthorized, kind)
			return
		}
	}
	r.tracker.callback(cb.CallID, cb.Event, at)
	w.WriteHeader(http.StatusOK)
}

func (r *receiver) refuse(w http.ResponseWriter, status int, kind string) {
	r.errs.add(kind)
	w.WriteHeader(status)
}

// check verifies both signatures, and says what is wrong.
func (r *receiver) check(h http.Header, cb *callbackBody, body []byte) string {
	if cb.Signature != protocol.CallbackSignature(r.secret, cb.Timestamp, cb.Nonce) {
		return "callback with a wrong signature"
	}
	stamp, err := strconv.ParseInt(h.Get(protocol.HeaderWebhookTimestamp), 10, 64)
	if err != nil || time.Since(time.Unix(stamp, 0)).Abs() > 5*time.Minute {
		return "callback with a wrong webhook-timestamp"
	}
	want := protocol.WebhookSignature(r.secret, h.Get(protocol.HeaderWebhookID), stamp, body)
	if got := h.Get(protocol.HeaderWebhookSignature); got != want && !slices.Contains(strings.Fields(got), want) {
		return "callback with a wrong webhook-signature"
	}
	return ""
}
