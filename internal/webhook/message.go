package webhook

import (
	"net/http"
	"time"

	"github.com/ringback/ringback/internal/store"
)

// Message is one attempt at a callback that is not a delivery of the
// [Deliverer]: what a tool sends to try a receiver.
type Message struct {
	Callback
	App       uint32
	ID        int64     // of the event; webhook-id is made of it
	Attempt   int       // 1-based
	Sequence  int       // 0: not about a call
	At        time.Time // of the attempt, for which it is signed
	Nonce     string    // decimal digits; "": a new one
	Secrets   []string  // the first signs the body, all sign the header; at least one
	Form      bool      // the body is a form, not JSON
	UserAgent string
}

// NewCallback makes a callback of a name and of its fields, which are of a
// type of protocol, or another that is encoded as a JSON object. It panics on
// what cannot be encoded.
func NewCallback(name string, fields any) Callback { return callback(name, fields) }

// Sign gives the headers and the body of the request, as the Deliverer would
// send them.
func (m *Message) Sign() (http.Header, []byte, error) {
	d := &store.Delivery{
		Event: store.EventID(m.ID), App: m.App, Sequence: m.Sequence, Name: m.Name, Fields: m.Fields, Attempts: m.Attempt - 1,
	}
	at := stamp{timestamp: m.At.Unix(), nonce: m.Nonce}
	if at.nonce == "" {
		at.nonce = newNonce()
	}
	body, err := appendBody(nil, d, m.Secrets[0], at, m.Form)
	if err != nil {
		return nil, nil, err
	}
	c := caller{userAgent: m.UserAgent}
	return c.header(&settings{Endpoint: Endpoint{Secrets: m.Secrets, Form: m.Form}}, d, at, body), body, nil
}
