package certify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"time"

	"github.com/ringback/ringback/protocol"
)

const (
	maxAnswer = 64 << 10 // bytes of an answer that are read, so that its connection can be used again
	maxKept   = 120      // of them for the report
)

// Exchange is a request, and what came back.
type Exchange struct {
	Sent         string  `json:"sent"`   // in words
	Status       int     `json:"status"` // 0: there was no answer
	Error        string  `json:"error,omitempty"`
	Answer       string  `json:"answer,omitempty"` // the beginning of its body
	Location     string  `json:"location,omitempty"`
	Milliseconds float64 `json:"ms"`

	took     time.Duration
	timedOut bool
	reused   bool // the connection was one from before
}

// ok reports a 2xx that came as a whole.
func (e *Exchange) ok() bool { return e.Error == "" && e.Status/100 == 2 }

// outcome says what came back, in words.
func (e *Exchange) outcome() string {
	switch {
	case e.Error != "":
		return e.Error
	case e.Status/100 == 3 && e.Location != "":
		return fmt.Sprintf("%d %s to %s", e.Status, http.StatusText(e.Status), e.Location)
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status)))
}

// Outcome says what came back, in words, with the time that it took and the
// beginning of the answer.
func (e *Exchange) Outcome() string {
	text := fmt.Sprintf("%s in %.1f ms", e.outcome(), e.Milliseconds)
	if e.Answer != "" {
		text += fmt.Sprintf(": %q", e.Answer)
	}
	return text
}

// newTransport connects as the server does: HTTP/1.1, without proxies,
// redirects or compression.
func newTransport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{DisableCompression: true, Protocols: protocols}
}

// send sends a callback that is as it should be, and notes how long the answer
// took.
func (r *run) send(c *Check, m *message, what string) *Exchange {
	ex := r.forge(c, m, what, nil)
	if ex.took > r.slowest && r.ctx.Err() == nil {
		r.slowest, r.slow = ex.took, ex.Sent
	}
	return ex
}

// forge sends a callback after change, which may be nil, has spoilt it: that
// may alter the headers, and gives the body.
func (r *run) forge(c *Check, m *message, what string, change func(h http.Header, body []byte) []byte) *Exchange {
	header, body, err := m.sign()
	if err != nil {
		panic(fmt.Sprintf("certify: signing %s: %v", m.Name, err)) // the fields are those of this package
	}
	if change != nil {
		body = change(header, body)
	}
	return r.post(c, http.MethodPost, header, body, what)
}

// post makes a request and adds it to the check.
func (r *run) post(c *Check, method string, header http.Header, body []byte, what string) *Exchange {
	ex := Exchange{Sent: what}
	ctx, cancel := context.WithTimeout(r.ctx, r.cfg.Timeout)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { ex.reused = i.Reused }})
	req, err := http.NewRequestWithContext(ctx, method, r.target.String(), bytes.NewReader(body))
	if err != nil {
		panic(fmt.Sprintf("certify: making a request: %v", err)) // the URL was parsed before
	}
	header.Set(protocol.HeaderTest, "true") // also on what is no callback
	req.Header = header
	if user := r.target.User; user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	started := time.Now()
	res, err := r.transport.RoundTrip(req)
	if err == nil {
		ex.Status, ex.Location = res.StatusCode, res.Header.Get("Location")
		ex.Answer, err = read(res.Body)
		res.Body.Close()
	}
	ex.took = time.Since(started)
	ex.Milliseconds = float64(ex.took.Microseconds()) / 1000
	switch {
	case err == nil:
	case ctx.Err() != nil:
		ex.timedOut = true
		ex.Error = fmt.Sprintf("no complete answer within %v", r.cfg.Timeout)
	case errors.Is(err, io.EOF):
		ex.Error = "the connection was closed without an answer"
	default:
		ex.Error = err.Error()
	}
	c.Exchanges = append(c.Exchanges, ex)
	return &c.Exchanges[len(c.Exchanges)-1]
}

// read reads an answer, and gives its beginning.
func read(body io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(body, maxAnswer))
	return strings.ToValidUTF8(string(b[:min(len(b), maxKept)]), "\uFFFD"), err
}

// mustSucceed judges an exchange that must be answered with 2xx.
func (c *Check) mustSucceed(ex *Exchange, result Result, why, fix string) bool {
	if !ex.ok() {
		c.judge(result, "it was answered with: "+ex.outcome(), why, fix)
	}
	return ex.ok()
}

// mustBeRefused judges an exchange that must not be answered with 2xx. When it
// is, the check has the given result.
func (c *Check) mustBeRefused(ex *Exchange, result Result, why, fix string) {
	switch {
	case ex.ok():
		c.judge(result, "it was accepted: "+ex.outcome(), why, fix)
	case ex.Error != "" || ex.Status/100 != 4 && ex.Status != http.StatusNotImplemented:
		c.judge(Warn, "it was not accepted, but not refused either: "+ex.outcome(),
			"what looks like a failure of the receiver hides real ones, and may be one", "refuse it with a status such as 401 or 405")
	}
}
