package certify

import (
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/webhook"
)

// message is one attempt at a callback, made and signed by what the server
// sends itself.
type message struct {
	webhook.Callback
	app      uint32
	id       store.EventID
	attempt  int       // 1-based
	sequence int       // 0: not about a call
	at       time.Time // for which it is signed
	nonce    string    // decimal digits; "": a new one
	secrets  []string  // the first signs the body, all sign the header
	form     bool
	url      string
	version  string // of the tool
}

// message makes the first attempt at a callback, of an event that is new.
func (r *run) message(cb webhook.Callback, sequence int) *message {
	return &message{
		Callback: cb, app: r.cfg.AppID, id: store.EventID(rand.Int64N(1<<62) + 1), attempt: 1, sequence: sequence, at: time.Now(),
		secrets: []string{r.cfg.Secret}, form: r.cfg.Form, url: r.target.String(), version: r.cfg.Version,
	}
}

// again makes of m its attempt with this number, which is signed anew.
func again(m *message, attempt int) *message {
	next := *m
	next.attempt, next.at, next.nonce = attempt, time.Now(), ""
	return &next
}

// sign gives the headers, but for those that belong to the connection, and
// the body.
func (m *message) sign() (http.Header, []byte, error) {
	ev := &store.Event{ID: m.id, App: m.app, Name: m.Name, Fields: m.Fields, At: 1, Test: true}
	to := webhook.Endpoint{App: m.app, URL: m.url, Secrets: m.secrets, Form: m.form}
	req, err := webhook.Render(ev, to, webhook.Sending{
		Sequence: m.sequence, Attempt: m.attempt, At: m.at, Nonce: m.nonce, Version: m.version,
	})
	if err != nil {
		return nil, nil, err
	}
	header := make(http.Header)
	for _, f := range req.Header {
		switch f.Name {
		case "Host", "Content-Length", "Authorization":
		default:
			header[f.Name] = append(header[f.Name], f.Value)
		}
	}
	return header, req.Body, nil
}
