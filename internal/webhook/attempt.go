package webhook

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/clock"
	"github.com/ringback/ringback/internal/store"
)

const (
	maxDrain    = 64 << 10 // of an answer's body, so that its connection can be used again
	maxResponse = 1 << 10  // of it for the log
	maxError    = 512      // of an error's text
)

// outcome is what came of an attempt.
type outcome struct {
	started  time.Time
	ended    time.Time
	status   int    // 0: there was no answer
	failure  string // "" when the attempt succeeded
	request  []byte // the record of what was sent; nil: nothing was
	header   string // of the answer, as lines
	response string
	outage   bool // the failure says something about the endpoint, not about this delivery
	aborted  bool // the deliverer was closed: the attempt does not count
}

// caller makes attempts, one at a time. It belongs to one worker.
type caller struct {
	transport http.RoundTripper
	userAgent string
	clock     *clock.Clock
	scratch   [4 << 10]byte // for reading answers
}

// attempt makes one request for a delivery. ctx is that of the deliverer; the
// endpoint's timeout covers everything from name resolution to the last byte
// of the answer that is read.
func (c *caller) attempt(ctx context.Context, to *settings, d *store.Delivery) outcome {
	began := time.Now()
	out := outcome{started: c.clock.Now()}

	attempt, cancel := context.WithTimeout(ctx, to.Timeout)
	defer cancel()
	m := message{
		delivery: d, attempt: d.Attempts + 1, form: to.Form, userAgent: c.userAgent, authorization: to.authorization,
		timestamp: out.started.Unix(), nonce: newNonce(),
	}
	if err := m.sign(to.Secrets); err != nil {
		out.failure = errorText(err)
		return timed(out, began)
	}
	res, err := c.transport.RoundTrip(m.request(attempt, to.request))
	if err == nil || !unsent(err) {
		out.request = m.record()
	}
	if err == nil {
		out.status = res.StatusCode
		out.header = headerLines(res.Header)
		out.response, err = c.read(res.Body)
		res.Body.Close()
	}
	switch {
	case err == nil && out.status/100 == 2:
	case err == nil:
		out.failure = statusText(res)
		out.outage = out.status/100 == 5 || out.status == http.StatusTooManyRequests
	case ctx.Err() != nil:
		out.aborted = true
	case errors.Is(err, os.ErrDeadlineExceeded), attempt.Err() != nil:
		out.failure, out.outage = fmt.Sprintf("no complete answer within %v", to.Timeout), true
	default:
		out.failure, out.outage = errorText(err), true
	}
	return timed(out, began)
}

// timed sets the end of an attempt, by how long it took.
func timed(out outcome, began time.Time) outcome {
	out.ended = out.started.Add(time.Since(began))
	return out
}

// basicAuth is the Authorization header for credentials in an endpoint's URL;
// "" when it has none.
func basicAuth(to *http.Request) string {
	if to.URL.User == nil {
		return ""
	}
	password, _ := to.URL.User.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(to.URL.User.Username()+":"+password))
}

// read reads an answer's body, up to a bound, and gives its beginning.
func (c *caller) read(body io.Reader) (string, error) {
	var kept []byte
	for total := 0; total < maxDrain; {
		n, err := body.Read(c.scratch[:])
		if room := maxResponse - len(kept); room > 0 {
			kept = append(kept, c.scratch[:min(n, room)]...)
		}
		total += n
		if err == io.EOF {
			break
		}
		if err != nil {
			return storable(kept, maxResponse), fmt.Errorf("the answer broke off: %w", err)
		}
	}
	return storable(kept, maxResponse), nil
}

// storable makes text that every store keeps: valid UTF-8 without NUL, at
// most limit bytes.
func storable(b []byte, limit int) string {
	s := strings.ToValidUTF8(string(b), "\uFFFD")
	s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "")
	}
	return s
}

func statusText(res *http.Response) string {
	text := "answered " + strconv.Itoa(res.StatusCode)
	if name := http.StatusText(res.StatusCode); name != "" {
		text += " " + name
	}
	if res.StatusCode/100 == 3 {
		text += "; redirects are not followed"
	}
	return text
}

func errorText(err error) string {
	var refused *TargetError
	if errors.As(err, &refused) {
		return refused.Error()
	}
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "the connection was closed without an answer"
	}
	return storable([]byte(err.Error()), maxError)
}

// attemptOf is the record of an attempt, but for where it leaves its
// delivery.
func attemptOf(d *store.Delivery, out outcome) store.Attempt {
	return store.Attempt{
		Delivery: d.Key(),
		Number:   d.Attempts + 1,
		Started:  call.At(out.started),
		Duration: out.ended.Sub(out.started).Milliseconds(),
		Status:   out.status,
		Error:    out.failure,
		Response: out.response,
		Header:   out.header,
		Request:  out.request,
	}
}
