// Package adminclient is the client of the admin API that the command line
// and the console use.
package adminclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ringback/ringback/internal/adminapi"
)

const (
	requestLimit = 90 * time.Second // for one request, over the longest wait for events
	maxAnswer    = 64 << 20         // bytes of one answer
)

// Options say where the server is and who asks.
type Options struct {
	// Server is the URL of the server: http or https, a host, and where a
	// proxy has put it elsewhere than at the root, a path.
	Server string
	// Token is its admin_token; empty where it wants none.
	Token string
	// UserAgent says who asks; optional.
	UserAgent string
	// Transport carries the requests. By default it honours the proxies of the
	// environment, save for loopback addresses.
	Transport http.RoundTripper
}

// Client makes requests to the admin API of one server. Its methods may be
// called concurrently. Their errors are [*Error], [*UnreachableError] and
// [*StrangerError], or that of the context.
type Client struct {
	options Options
	base    string
	http    http.Client
}

// New makes a client. It makes no request, and fails for a URL that is none.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.Server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is not the URL of a server, such as http://127.0.0.1:8080", redacted(o.Server))
	}
	if u.User != nil {
		return nil, errors.New("the URL of the server must not hold a user or a password")
	}
	o.Server = strings.TrimSuffix(o.Server, "/")
	if o.Transport == nil {
		o.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	return &Client{
		options: o, base: o.Server + adminapi.Path,
		http: http.Client{Transport: o.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// redacted leaves out what may be a password.
func redacted(server string) string {
	if before, after, ok := strings.Cut(server, "@"); ok {
		scheme, _, _ := strings.Cut(before, "//")
		return scheme + "//…@" + after
	}
	return server
}

// Server gives the URL of the server.
func (c *Client) Server() string { return c.options.Server }

// do makes a request with in as its body, unless it is nil, and reads the
// answer into out, unless that is nil.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("writing a request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	resp, err := c.send(ctx, method, path, query, body, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return c.lost(ctx, err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return &StrangerError{Server: c.options.Server, Status: resp.StatusCode}
	}
	return nil
}

// send makes a request and gives its answer, if that is a good one.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, body io.Reader, header http.Header) (*http.Response, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.options.UserAgent != "" {
		req.Header.Set("User-Agent", c.options.UserAgent)
	}
	if c.options.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.options.Token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.refused(resp)
}

// lost makes the error of a request that got no answer.
func (c *Client) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // without the URL, which the message has
	}
	return &UnreachableError{Server: c.options.Server, Err: err}
}

// refused makes the error of an answer.
func (c *Client) refused(resp *http.Response) error {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	e := &Error{Status: resp.StatusCode}
	if err != nil || kind != "application/problem+json" || json.Unmarshal(data, e) != nil || e.Detail == "" {
		return &StrangerError{Server: c.options.Server, Status: resp.StatusCode, Location: resp.Header.Get("Location")}
	}
	e.Status = resp.StatusCode
	return e
}

// Error is a refusal by the admin API.
type Error struct {
	Status int    `json:"status"` // of HTTP
	Detail string `json:"detail"` // a sentence
}

// Error gives the sentence and the status.
func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Detail, e.Status) }

// UnreachableError is a request that got no answer.
type UnreachableError struct {
	Server string
	Err    error
}

// Error says which server does not answer, and why.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no answer from %s: %v", e.Server, e.Err)
}

// Unwrap gives the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// StrangerError is an answer that does not come from the admin API.
type StrangerError struct {
	Server   string
	Status   int    // of HTTP
	Location string // to which it redirects, if it does
}

// Error says what may be wrong.
func (e *StrangerError) Error() string {
	switch {
	case e.Location != "":
		return fmt.Sprintf("%s answers with a redirect to %q: is that the URL of the server?", e.Server, e.Location)
	case e.Status == http.StatusNotFound:
		return e.Server + " has no admin API: is it a Ringback server, and has its configuration an admin_token?"
	}
	return fmt.Sprintf("%s answers %d, and not as a Ringback server does", e.Server, e.Status)
}

// final reports whether it is of no use to ask again later.
func final(err error) bool {
	status := 0
	if e, ok := errors.AsType[*Error](err); ok {
		status = e.Status
	} else if e, ok := errors.AsType[*StrangerError](err); ok {
		status = e.Status
	}
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status >= 300 && status < 500
}
