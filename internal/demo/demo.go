// Package demo serves the first page that a newcomer sees under `ringback
// dev`: two phones that ring each other over the web SDK, more of them if
// wanted, and beside them an inbox that receives the callbacks, verifies them
// and shows them as they arrive. /phone is the page of one phone, and
// /examples/webrtc/ the example of that name, which takes its login tokens from
// here too.
//
// The phones are ordinary clients and the inbox is an ordinary receiver;
// nothing here reaches into the server. The page hands out login tokens to
// whoever can load it, so it answers only requests that name a loopback host,
// and none that a foreign page causes.
package demo

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ringback/ringback/examples/webrtc"
	"github.com/ringback/ringback/internal/demo/static"
)

// maxRequest bounds the body of a request from the page, in bytes.
const maxRequest = 1 << 10

// maxUserID is the longest user ID, in bytes.
const maxUserID = 32

// contentSecurityPolicy keeps the page to its own files: no inline script or
// style, no other origin, and no frame around it.
const contentSecurityPolicy = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const htmlType = "text/html; charset=utf-8"

// Options says for which app the page is. AppID, AppSecret and Token are
// required.
type Options struct {
	AppID   uint32
	AppName string
	// AppSecret is handed to the page when a person asks to see it. It is
	// never logged.
	AppSecret string
	// CallbackSecret verifies the callbacks; AppSecret when empty.
	CallbackSecret string
	// Token mints a login token for a user of the app.
	Token func(userID string) (token string, err error)
	// OnCallback, which may be nil, is told of every callback before it is
	// answered. It may be called concurrently and must not block.
	OnCallback func(Arrival)
	// Logger may be nil.
	Logger *slog.Logger
}

// Arrival is a callback that has reached the receiver.
type Arrival struct {
	Event    string // "" when the body is no callback
	CallID   string // "" for an event that belongs to no call
	Attempt  int    // 0 when the header is missing
	Verified bool   // both signatures hold
}

// Demo is the handler of the page, of its assets and of its receiver. Its
// methods may be called concurrently.
type Demo struct {
	opts     Options
	mux      *http.ServeMux
	origin   *http.CrossOriginProtection
	inbox    *inbox
	receiver *receiver

	closing sync.Once
	closed  chan struct{} // closed by Close
}

// user is one of the people on the page.
type user struct {
	ID   string `json:"user_id"`
	Name string `json:"name"`
}

// users are the owners of the two phones.
var users = []user{{"alice", "Alice"}, {"bob", "Bob"}}

// New makes the handler. End it with Close.
func New(o Options) *Demo {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OnCallback == nil {
		o.OnCallback = func(Arrival) {}
	}
	if o.CallbackSecret == "" {
		o.CallbackSecret = o.AppSecret
	}
	inbox := newInbox()
	d := &Demo{
		opts:     o,
		mux:      http.NewServeMux(),
		origin:   http.NewCrossOriginProtection(),
		inbox:    inbox,
		receiver: newReceiver(inbox.announceMode),
		closed:   make(chan struct{}),
	}
	d.mux.HandleFunc("GET /{$}", serveFile(static.Files, "index.html", htmlType))
	d.mux.HandleFunc("GET /phone", serveFile(static.Files, "phone.html", htmlType))
	d.mux.HandleFunc("GET /demo/{asset}", serveAssets(static.Files))
	d.mux.HandleFunc("GET /examples/webrtc/{$}", serveFile(webrtc.Files, "index.html", htmlType))
	d.mux.HandleFunc("GET /examples/webrtc/{asset}", serveAssets(webrtc.Files))
	d.mux.HandleFunc("GET /examples/webrtc/ringback.js", serveFile(static.Files, "ringback.js", "text/javascript; charset=utf-8"))
	d.mux.HandleFunc("GET /demo/config.json", d.serveConfig)
	d.mux.HandleFunc("POST /demo/secret", d.serveSecret)
	d.mux.HandleFunc("POST /demo/token", d.serveToken)
	d.mux.HandleFunc("POST /demo/callbacks", d.serveCallback)
	d.mux.HandleFunc("POST /demo/receiver", d.serveReceiverMode)
	d.mux.HandleFunc("GET /demo/inbox", d.serveInbox)
	d.mux.HandleFunc("DELETE /demo/inbox", d.serveClearInbox)
	return d
}

// Close ends the streams of the inbox and the requests that the receiver
// holds back, so that a server can shut down. It does not wait for them. The
// receiver goes on answering.
func (d *Demo) Close() {
	d.closing.Do(func() { close(d.closed) })
}

// ServeHTTP answers for /, /phone and everything under /demo/ and
// /examples/webrtc/. A request whose Host is not loopback is refused, so that a foreign name which resolves to this
// machine does not reach the tokens; so is one that a page of another origin
// causes, unless it only reads.
func (d *Demo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !loopback(r.Host) {
		http.Error(w, "the demo answers only on a loopback address: open it as http://localhost or http://127.0.0.1 with its port", http.StatusForbidden)
		return
	}
	if err := d.origin.Check(r); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	d.mux.ServeHTTP(w, r)
}

// loopback reports whether a Host header names this machine itself.
func loopback(hostport string) bool {
	host := strings.ToLower((&url.URL{Host: hostport}).Hostname())
	host = strings.TrimSuffix(host, ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// serveFile answers with one file.
func serveFile(files fs.FS, name, contentType string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		http.ServeFileFS(w, r, files, name)
	}
}

// serveAssets answers with the files of a directory, pages apart, for a
// pattern with {asset} at its end.
func serveAssets(files fs.FS) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { static.ServeAsset(w, r, files, r.PathValue("asset")) }
}

func (d *Demo) serveConfig(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, struct {
		AppID   uint32 `json:"app_id"`
		AppName string `json:"app_name"`
		Users   []user `json:"users"`
	}{d.opts.AppID, d.opts.AppName, users})
}

// serveSecret answers the "show" button of the page. It is a POST so that the
// check of the origin stands before it.
func (d *Demo) serveSecret(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, struct {
		AppSecret string `json:"app_secret"`
	}{d.opts.AppSecret})
}

func (d *Demo) serveToken(w http.ResponseWriter, r *http.Request) {
	var req struct {
		UserID string `json:"user_id"`
	}
	if !readJSON(w, r, &req) {
		return
	}
	if n := len(req.UserID); n == 0 || n > maxUserID {
		http.Error(w, "user_id must have 1 to 32 bytes", http.StatusBadRequest)
		return
	}
	token, err := d.opts.Token(req.UserID)
	if err != nil {
		d.opts.Logger.Error("minting a demo token failed", "user_id", req.UserID, "err", err)
		http.Error(w, "the token could not be made; the log of the server says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, struct {
		Token string `json:"token"`
	}{token})
}

// readJSON decodes the small body of a request from the page into v, or
// answers the request and reports false.
func readJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	body, ok := readBody(w, r, maxRequest)
	if !ok {
		return false
	}
	if err := json.Unmarshal(body, v); err != nil {
		http.Error(w, "the body must be a JSON object", http.StatusBadRequest)
		return false
	}
	return true
}

// readBody reads a body of at most limit bytes, or answers the request and
// reports false.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err == nil {
		return body, true
	}
	status := http.StatusBadRequest
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		status = http.StatusRequestEntityTooLarge
	}
	http.Error(w, http.StatusText(status), status)
	return nil, false
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that went away is no concern of the page
}

// untimed lifts the read and write deadlines that the server may have set for
// ordinary requests off one that stays open. A writer without deadlines, as in
// tests, is left alone.
func untimed(rc *http.ResponseController) {
	_ = rc.SetReadDeadline(time.Time{})
	_ = rc.SetWriteDeadline(time.Time{})
}
