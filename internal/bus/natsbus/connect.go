package natsbus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ringback/ringback/internal/bus"
)

var prefixForm = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

// check finds mistakes in options, and gives the addresses of the servers. An
// error shows nothing of a URL that could be a secret.
func check(opts *Options) (hosts string, err error) {
	if !prefixForm.MatchString(opts.Prefix) {
		return "", fmt.Errorf("natsbus: %q is no prefix of subjects: use letters, digits, _ and -, with dots between tokens", opts.Prefix)
	}
	var list []string
	for part := range strings.SplitSeq(opts.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(part))
		switch {
		case err != nil, strings.Trim(u.Path, "/")+u.RawQuery+u.Fragment != "":
			// With a / ? or # that is not encoded, part of a password is taken
			// for the host.
			return "", errors.New("natsbus: the URL of NATS cannot be read: it is like nats://user:password@host:4222, with special characters of a password as %XX")
		case u.Scheme != "nats" && u.Scheme != "tls" || u.Hostname() == "":
			return "", errors.New("natsbus: the URL of NATS begins with nats:// or tls:// and has a host, as in nats://host:4222")
		}
		list = append(list, u.Host)
	}
	return strings.Join(list, ", "), nil
}

// dial opens a connection that comes back by itself.
func (n *node) dial(ctx context.Context) (*nats.Conn, error) {
	limit := joinLimit
	if deadline, ok := ctx.Deadline(); ok {
		limit = max(time.Until(deadline), time.Millisecond)
	}
	options := []nats.Option{
		nats.Name(n.opts.Name),
		nats.Timeout(limit),
		nats.CustomInboxPrefix(n.opts.Prefix + ".inbox"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 500*time.Millisecond),
		nats.ReconnectBufSize(-1), // old news is of no use
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(2 * time.Second), // a connection without life is over within 6 s
		nats.MaxPingsOutstanding(2),
		nats.FlusherTimeout(time.Second),
		nats.ReconnectOnFlusherError(),
		nats.ErrorHandler(n.trouble),
		nats.DisconnectErrHandler(n.disconnected),
		nats.ReconnectErrHandler(n.stillDisconnected),
		nats.ReconnectHandler(n.reconnected),
		nats.ClosedHandler(n.connClosed),
	}
	if n.opts.Credentials != "" {
		options = append(options, nats.UserCredentials(n.opts.Credentials))
	}
	if n.opts.CA != "" {
		options = append(options, nats.RootCAs(n.opts.CA))
	}
	if n.opts.Cert != "" {
		options = append(options, nats.ClientCert(n.opts.Cert, n.opts.Key))
	}
	return nats.Connect(n.opts.URL, options...)
}

// explain says what an error of the connection means and what to do.
func (n *node) explain(err error) error {
	var explained *connectionError
	if errors.As(err, &explained) {
		return err
	}
	var (
		fix     string
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		name    x509.HostnameError
		cert    *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		dns     *net.DNSError
		dial    *net.OpError
	)
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked),
		errors.Is(err, nats.ErrAccountAuthExpired), errors.Is(err, nats.ErrNkeysNotSupported):
		fix = "it refuses this node: check user and password, token or credentials"
	case errors.Is(err, nats.ErrPermissionViolation):
		fix = fmt.Sprintf("it does not allow what a node needs: permit its user to publish and subscribe to %q", n.opts.Prefix+".>")
	case errors.Is(err, nats.ErrSecureConnRequired), errors.As(err, &record):
		fix = "one side wants TLS and the other does not: check the URL (tls:// or nats://) and the server's configuration"
	case errors.Is(err, nats.ErrSecureConnWanted):
		fix = "the server has no TLS: use nats:// or give it a certificate"
	case errors.As(err, &unknown), errors.As(err, &invalid), errors.As(err, &name), errors.As(err, &cert):
		fix = "its certificate is not trusted: check the certificate authority and the host in the URL"
	case errors.As(err, &dns):
		fix = "the host is not known: check the URL"
	case errors.Is(err, nats.ErrNoServers), errors.As(err, &dial) && dial.Op == "dial":
		fix = "no server answers there: check the URL, and that NATS is running and not behind a firewall"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		fix = "a file of its credentials or certificates cannot be read"
	case errors.As(err, &dial) && dial.Op == "remote error", errors.Is(err, nats.ErrTLS):
		fix = "it does not accept this node's certificate, or asks for one: check the files of certificate and key"
	case errors.Is(err, nats.ErrDisconnected), errors.Is(err, io.EOF), errors.Is(err, nats.ErrStaleConnection):
		fix = "the connection was lost and is being opened again: check that NATS is running"
	case errors.Is(err, nats.ErrMaxConnectionsExceeded), errors.Is(err, nats.ErrMaxAccountConnectionsExceeded):
		fix = "it has too many connections: raise its limit"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrNoResponders):
		fix = fmt.Sprintf("it does not pass a message to this node itself: check that its user may publish and subscribe to %q, and the load of the server", n.opts.Prefix+".>")
	case n.opts.Credentials+n.opts.CA+n.opts.Cert != "":
		fix = "check the files of credentials and certificates, and the server's log"
	default:
		fix = "see the server's log"
	}
	return &connectionError{hosts: n.hosts, fix: fix, cause: err}
}

// connectionError is an error of the connection to NATS.
type connectionError struct {
	hosts, fix string
	cause      error
}

// Error says what is wrong and what to do.
func (e *connectionError) Error() string {
	return fmt.Sprintf("natsbus: NATS at %s: %s: %v", e.hosts, e.fix, e.cause)
}

// Unwrap gives the cause.
func (e *connectionError) Unwrap() error { return e.cause }

// Connected says why messages do not pass.
func (n *node) Connected() error {
	if n.isClosed() {
		return bus.ErrClosed
	}
	conn := n.conn.Load()
	if !conn.IsConnected() {
		broken := conn.LastError() // when a server was reached that refused
		if broken == nil {
			n.mu.Lock()
			broken = n.broken
			n.mu.Unlock()
		}
		if broken == nil {
			broken = nats.ErrDisconnected
		}
		return n.explain(broken)
	}
	return n.refusal()
}

// refusal is what NATS does not allow, if that was lately.
func (n *node) refusal() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.forbidden != nil:
		return n.explain(n.forbidden)
	case n.refused != nil && time.Since(n.refusedAt) < refusedFor:
		return n.explain(n.refused)
	}
	return nil
}

// trouble hears of errors beside any call.
func (n *node) trouble(conn *nats.Conn, sub *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrSlowConsumer) {
		// What is dropped shows by its number as well, later.
		n.opts.Logger.Warn("messages of other nodes were dropped, because this node does not keep up", "node", int64(n.self))
		n.missed()
		return
	}
	n.mu.Lock()
	first := n.refused == nil
	if errors.Is(err, nats.ErrPermissionViolation) || errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
		n.refused, n.refusedAt = err, time.Now()
		if strings.Contains(err.Error(), "Subscription") || errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
			n.forbidden = err
		}
	}
	n.mu.Unlock()
	if first && !n.isClosed() {
		n.opts.Logger.Warn("trouble with NATS", "node", int64(n.self), "err", n.explain(err))
	}
}

func (n *node) disconnected(_ *nats.Conn, err error) {
	if n.isClosed() {
		return
	}
	if err == nil {
		err = nats.ErrDisconnected
	}
	n.setBroken(err)
	n.opts.Logger.Warn("the connection to NATS is lost; messages to other nodes are not sent until it is back", "node", int64(n.self), "err", err)
}

func (n *node) stillDisconnected(_ *nats.Conn, err error) { n.setBroken(err) }

func (n *node) setBroken(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.broken = err
}

// reconnected tells that there may have been messages meanwhile.
func (n *node) reconnected(*nats.Conn) {
	n.mu.Lock()
	n.broken, n.refused, n.forbidden = nil, nil, nil
	n.mu.Unlock()
	n.opts.Logger.Info("the connection to NATS is back", "node", int64(n.self))
	n.missed()
}

// connClosed has a connection opened anew that does not come back by itself,
// as after an error of the server that the client does not know.
func (n *node) connClosed(conn *nats.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.isClosed() || conn != n.conn.Load() {
		return
	}
	n.broken = conn.LastError()
	n.work.Go(n.reopen)
}

func (n *node) reopen() {
	for {
		select {
		case <-n.closed:
			return
		case <-time.After(reopenInterval):
		}
		attempt, cancel := context.WithTimeout(context.Background(), joinLimit)
		err := n.open(attempt)
		cancel()
		if err == nil {
			n.reconnected(nil)
			return
		}
		n.setBroken(err)
	}
}
