package webhook

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	dialTimeout   = 30 * time.Second
	idleTimeout   = 30 * time.Second // of a connection that may be used again
	freshFor      = time.Second      // after its use, a connection is not looked at before the next
	maxHeader     = 64 << 10         // bytes of an answer's status line and header
	maxIdleOfHost = 256
)

// transport makes requests over HTTP/1.1, each from beginning to end in the
// goroutine that asks for it. That is what it is for: http.Transport passes a
// request through two goroutines of each connection, which for small requests
// at a high rate costs more than the request. Requests and answers are written
// and read by net/http; this type only keeps the connections.
//
// It has neither proxies nor redirects nor compression, and connects only to
// permitted addresses. A request that fails is not repeated here, since the
// schedule of its delivery does that; a connection that the endpoint has
// closed while it was idle for longer is noticed before it is used.
type transport struct {
	dialer net.Dialer
	tls    *tls.Config

	mu    sync.Mutex
	idle  map[string][]*link // by scheme and host; the latest used last
	sweep *time.Timer        // closes what has been idle for too long; nil: nothing is idle
}

func newTransport(allowed targets) *transport {
	return &transport{
		dialer: net.Dialer{Timeout: dialTimeout, Control: allowed.control},
		tls: &tls.Config{
			MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, ClientSessionCache: tls.NewLRUClientSessionCache(256),
		},
		idle: make(map[string][]*link),
	}
}

// link is a connection to an endpoint.
type link struct {
	t    *transport
	key  string
	conn net.Conn
	tcp  net.Conn // conn, or what is under its TLS
	br   *bufio.Reader
	bw   *bufio.Writer
	left int64     // bytes that may still be read
	used time.Time // when it became idle
}

// RoundTrip implements http.RoundTripper. The body of the response must be
// read to its end, or at least closed; the deadline of the request's context
// covers that too.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	l, err := t.link(ctx, req)
	if err != nil {
		return nil, &unsentError{err}
	}
	deadline, _ := ctx.Deadline() // none: the zero time, which lifts an earlier one
	l.conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { l.tcp.SetDeadline(time.Unix(1, 0)) })
	res, err := l.roundTrip(req)
	if err != nil {
		stop()
		l.conn.Close()
		if cause := ctx.Err(); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	res.Body = &responseBody{ReadCloser: res.Body, l: l, stop: stop, reusable: !res.Close && !req.Close}
	return res, nil
}

// unsentError says that there was no connection: nothing of the request was
// written.
type unsentError struct{ error }

func (e *unsentError) Unwrap() error { return e.error }

func unsent(err error) bool {
	var e *unsentError
	return errors.As(err, &e)
}

// roundTrip writes the request and reads the answer up to its body.
func (l *link) roundTrip(req *http.Request) (*http.Response, error) {
	l.left = maxHeader
	if err := req.Write(l.bw); err != nil {
		return nil, err
	}
	if err := l.bw.Flush(); err != nil {
		return nil, err
	}
	for {
		res, err := http.ReadResponse(l.br, req)
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF) && l.left == maxHeader:
			return nil, io.EOF // closed without a byte
		case err != nil:
			return nil, err
		}
		if res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
			l.left = 1 << 62 // how much of the body is read is up to the caller
			return res, nil
		}
	}
}

var errLongHeader = errors.New("the header of the answer is too long")

// Read implements io.Reader for l.br.
func (l *link) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errLongHeader
	}
	n, err := l.conn.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// responseBody is the body of a response. At its end, or when it is closed, the
// connection becomes idle or is closed.
type responseBody struct {
	io.ReadCloser
	l        *link
	stop     func() bool // ends the watch over the request's context
	reusable bool
	over     bool
}

func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.finish(b.reusable)
	}
	return n, err
}

func (b *responseBody) Close() error {
	b.finish(false)
	return nil
}

func (b *responseBody) finish(reuse bool) {
	if b.over {
		return
	}
	b.over = true
	// When the watch has begun to run, the deadline is spoilt for the next.
	if b.stop() && reuse && b.l.br.Buffered() == 0 {
		b.l.t.keep(b.l)
		return
	}
	b.l.conn.Close()
}

// link gives an idle connection, or a new one.
func (t *transport) link(ctx context.Context, req *http.Request) (*link, error) {
	key := req.URL.Scheme + "://" + req.URL.Host
	for {
		l := t.takeIdle(key)
		if l == nil {
			return t.dial(ctx, key, req)
		}
		if idle := time.Since(l.used); idle < freshFor || idle < idleTimeout && alive(l.tcp) {
			return l, nil
		}
		l.conn.Close()
	}
}

func (t *transport) takeIdle(key string) *link {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.idle[key]
	if len(list) == 0 {
		return nil
	}
	l := list[len(list)-1]
	list[len(list)-1] = nil
	t.idle[key] = list[:len(list)-1]
	return l
}

// keep makes a connection idle.
func (t *transport) keep(l *link) {
	l.used = time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.idle[l.key]) >= maxIdleOfHost {
		l.conn.Close()
		return
	}
	t.idle[l.key] = append(t.idle[l.key], l)
	if t.sweep == nil {
		t.sweep = time.AfterFunc(idleTimeout, func() { t.closeIdle(idleTimeout) })
	}
}

// CloseIdleConnections closes what is idle.
func (t *transport) CloseIdleConnections() { t.closeIdle(0) }

// closeIdle closes what has been idle for so long, and comes back while
// anything is left.
func (t *transport) closeIdle(least time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for key, list := range t.idle {
		kept := list[:0]
		for _, l := range list {
			if now.Sub(l.used) >= least {
				l.conn.Close()
			} else {
				kept = append(kept, l)
			}
		}
		clear(list[len(kept):])
		if t.idle[key] = kept; len(kept) == 0 {
			delete(t.idle, key)
		}
	}
	if t.sweep == nil {
		return
	}
	t.sweep.Stop()
	t.sweep = nil
	if len(t.idle) > 0 {
		t.sweep = time.AfterFunc(idleTimeout, func() { t.closeIdle(idleTimeout) })
	}
}

func (t *transport) dial(ctx context.Context, key string, req *http.Request) (*link, error) {
	host, port := req.URL.Hostname(), req.URL.Port()
	secure := req.URL.Scheme == "https"
	switch {
	case port != "":
	case secure:
		port = "443"
	default:
		port = "80"
	}
	tcp, err := t.dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, err
	}
	l := &link{t: t, key: key, conn: tcp, tcp: tcp}
	if secure {
		conf := t.tls.Clone()
		conf.ServerName = host
		conn := tls.Client(tcp, conf)
		if err := conn.HandshakeContext(ctx); err != nil {
			tcp.Close()
			return nil, err
		}
		l.conn = conn
	}
	l.br, l.bw = bufio.NewReader(l), bufio.NewWriter(l.conn)
	return l, nil
}
