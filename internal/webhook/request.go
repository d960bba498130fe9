package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/protocol"
)

// Request is a callback request as it goes over the wire.
type Request struct {
	Method string
	URL    string  // without credentials
	Header []Field // all of it, in the order of the wire
	Body   []byte
}

// Field is one line of a header.
type Field struct{ Name, Value string }

// Sending is what is different for each request about the same event.
type Sending struct {
	Sequence int       // as in store.Subscription
	Attempt  int       // 1-based
	At       time.Time // of the signature, to the second
	Nonce    string    // decimal digits; "": a fresh one
	Version  string    // of the server, for User-Agent
}

// Render builds the request that would bring an event to an endpoint, signed
// and down to the last byte, by what a Deliverer sends itself. The ID of the
// endpoint and how it is delivered to mean nothing. Errors are those of the
// endpoint's settings, and of fields that are not a JSON object.
func Render(ev *store.Event, to Endpoint, as Sending) (*Request, error) {
	s, err := newSettings(to)
	if err != nil {
		return nil, err
	}
	if as.Nonce == "" {
		as.Nonce = newNonce()
	}
	d := deliveryOf(ev, store.Subscription{Endpoint: to.ID, Sequence: as.Sequence})
	m := message{
		delivery: &d, attempt: as.Attempt, form: s.Form, userAgent: userAgent + as.Version, authorization: s.authorization,
		timestamp: as.At.Unix(), nonce: as.Nonce,
	}
	if err := m.sign(s.Secrets); err != nil {
		return nil, err
	}
	return m.render(s.request)
}

// ShownRequest is the request of an attempt as it was sent, from what the
// store has of it, even if the endpoint has other secrets or another format
// today. Only the value of Authorization is masked. target is the URL of the
// endpoint. Errors: [ErrNothingSent], and a record that cannot be read.
func ShownRequest(d *store.Delivery, a *store.Attempt, target string) (*Request, error) {
	m, err := readRecord(a.Request)
	if err != nil {
		return nil, fmt.Errorf("attempt %d of %s: %w", a.Number, d.Event, err)
	}
	base, err := newBase(target)
	if err != nil {
		return nil, fmt.Errorf("attempt %d of %s: its endpoint has no valid URL", a.Number, d.Event)
	}
	m.delivery, m.attempt, m.timestamp = d, a.Number, a.Started.Time().Unix()
	if err := m.encode(); err != nil {
		return nil, err
	}
	return m.render(base)
}

// ErrNothingSent says that an attempt ended before anything was sent, such as
// without a connection, or that it was made by a version that kept no record.
var ErrNothingSent = errors.New("webhook: there is no record of a request")

// userAgent is what User-Agent has before the version.
const userAgent = "Ringback/"

// message is one request about a delivery: what it says, and its signatures.
type message struct {
	delivery      *store.Delivery
	attempt       int
	form          bool
	userAgent     string
	authorization string // "": none
	timestamp     int64  // Unix seconds
	nonce         string // decimal digits

	id         string // of the event, in webhook-id
	signature  string // in the body
	signatures string // the value of webhook-signature
	body       []byte
}

// sign makes the body and the signatures. Every attempt is signed anew, so
// that receivers which check freshness accept a late retry.
func (m *message) sign(secrets []string) error {
	m.signature = protocol.CallbackSignature(secrets[0], m.timestamp, m.nonce)
	if err := m.encode(); err != nil {
		return err
	}
	m.signatures = protocol.WebhookSignature(secrets[0], m.id, m.timestamp, m.body)
	for _, secret := range secrets[1:] {
		m.signatures += " " + protocol.WebhookSignature(secret, m.id, m.timestamp, m.body)
	}
	return nil
}

// encode makes the ID and the body, around a signature that is there.
func (m *message) encode() (err error) {
	m.id = m.delivery.Event.String()
	m.body, err = m.appendBody(make([]byte, 0, len(m.delivery.Fields)+224))
	return err
}

// request builds the request; base is what those of the endpoint have in
// common.
func (m *message) request(ctx context.Context, base *http.Request) *http.Request {
	body := m.body
	req := base.WithContext(ctx)
	req.Header = m.header()
	req.ContentLength = int64(len(body))
	req.Body = io.NopCloser(bytes.NewReader(body))
	// A request of which nothing was written, because the connection turned
	// out to be closed, goes out again on another.
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	return req
}

// headerNames are the headers that a message may have, as net/http keeps them.
var headerNames = [...]string{
	"Content-Type", "User-Agent", "Authorization",
	http.CanonicalHeaderKey(protocol.HeaderWebhookID), http.CanonicalHeaderKey(protocol.HeaderWebhookTimestamp),
	http.CanonicalHeaderKey(protocol.HeaderWebhookSignature),
	protocol.HeaderAttempt, protocol.HeaderSequence, protocol.HeaderTest,
}

func (m *message) header() http.Header {
	// One array holds the values of all headers; "": it is absent.
	values := [len(headerNames)]string{
		contentJSON, m.userAgent, m.authorization,
		m.id, strconv.FormatInt(m.timestamp, 10), m.signatures,
		strconv.Itoa(m.attempt), "", "",
	}
	if m.form {
		values[0] = contentForm
	}
	if m.delivery.Sequence != 0 {
		values[7] = strconv.Itoa(m.delivery.Sequence)
	}
	if m.delivery.Test {
		values[8] = "true"
	}
	h := make(http.Header, 8) // more are rare, and would take a larger map
	for i, name := range headerNames {
		if values[i] != "" {
			h[name] = values[i : i+1 : i+1]
		}
	}
	return h
}

// render writes the request as the transport does, and takes it apart.
func (m *message) render(base *http.Request) (*Request, error) {
	var b bytes.Buffer
	if err := m.request(context.Background(), base).Write(&b); err != nil {
		return nil, fmt.Errorf("render a request: %w", err)
	}
	head, body, _ := bytes.Cut(b.Bytes(), []byte("\r\n\r\n"))
	_, lines, _ := strings.Cut(string(head), "\r\n")
	u := *base.URL
	u.User = nil
	r := &Request{Method: base.Method, URL: u.String(), Body: body}
	for line := range strings.SplitSeq(lines, "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		r.Header = append(r.Header, Field{name, value})
	}
	return r, nil
}

// newBase is what all requests to a URL have in common.
func newBase(target string) (*http.Request, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	return &http.Request{
		Method: http.MethodPost, URL: u, Host: u.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// deliveryOf is an event on its way to an endpoint, before the first attempt.
func deliveryOf(ev *store.Event, to store.Subscription) store.Delivery {
	return store.Delivery{
		Event: ev.ID, Endpoint: to.Endpoint, App: ev.App, Call: ev.Call, Sequence: to.Sequence,
		Name: ev.Name, At: ev.At, Fields: ev.Fields, Test: ev.Test,
	}
}
