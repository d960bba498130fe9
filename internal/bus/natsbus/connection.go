package natsbus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/store"
)

// trouble is what keeps this node from the others.
type trouble struct {
	down    error // why there is no connection, by the latest attempt
	refused error // what the server did not allow lately
	at      time.Time
	clash   error // another cluster was heard lately
	heard   time.Time
}

// options turns Options into what the client takes.
func (b *Bus) options(ctx context.Context, o Options) (nats.Options, error) {
	out := nats.GetDefaultOptions()
	if err := ctx.Err(); err != nil {
		return out, err
	}
	if len(o.Servers) == 0 {
		return out, errors.New("natsbus: no NATS server is given: name at least one, like nats://localhost:4222")
	}
	if strings.ContainsAny(o.Prefix, " \t\r\n*>") || strings.HasPrefix(o.Prefix, ".") || strings.HasSuffix(o.Prefix, ".") || strings.Contains(o.Prefix, "..") {
		return out, fmt.Errorf("natsbus: %q cannot begin a subject of NATS: use letters, digits, - and _, with single dots between them", o.Prefix)
	}
	hosts := make([]string, 0, len(o.Servers))
	for i, server := range o.Servers {
		u, err := b.server(server)
		if err != nil {
			return out, fmt.Errorf("natsbus: the NATS server number %d %w", i+1, err)
		}
		hosts = append(hosts, u.Host)
		out.Servers = append(out.Servers, u.String())
	}
	b.servers = strings.Join(hosts, ", ")
	out.Name = "ringback " + o.Name
	out.InboxPrefix = o.Prefix + ".reply." + b.id(b.self)
	out.Timeout = connectTimeout
	if deadline, ok := ctx.Deadline(); ok {
		out.Timeout = min(out.Timeout, time.Until(deadline))
	}
	out.MaxReconnect = -1
	out.ReconnectWait = reconnectWait
	out.ReconnectJitter, out.ReconnectJitterTLS = reconnectWait, reconnectWait
	out.ReconnectBufSize = -1 // what cannot be sent now is old news later
	out.IgnoreAuthErrorAbort = true
	out.PingInterval, out.MaxPingsOut = pingEvery, 2
	out.FlusherTimeout, out.ReconnectOnFlusherError = writeTimeout, true
	out.NoCallbacksAfterClientClose = true
	out.AsyncErrorCB = b.onError
	out.DisconnectedErrCB = func(_ *nats.Conn, err error) {
		b.isDown(err)
		b.logger.Warn("the connection to NATS is lost; it is tried again until it is back", "error", b.explain(err))
	}
	out.ReconnectErrCB = func(_ *nats.Conn, err error) { b.isDown(err) }
	out.ReconnectedCB = b.onReconnect
	return out, secure(&out, o)
}

// server checks a URL and notes what in it must not be told.
func (b *Bus) server(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "nats://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/")+u.RawQuery+u.Fragment != "" {
		// The cause would quote what may be a password.
		return nil, errors.New("is not the URL of a server: write nats://host:4222 or nats://user:password@host:4222, with special characters of a password percent-encoded")
	}
	switch u.Scheme {
	case "nats", "tls", "ws", "wss":
	default:
		return nil, errors.New("has a URL that is none of NATS: write nats://host:4222, or tls://host:4222")
	}
	if u.Port() == "" && (u.Scheme == "nats" || u.Scheme == "tls") {
		u.Host += ":4222"
	}
	if password, ok := u.User.Password(); ok {
		b.secrets = append(b.secrets, password)
	} else if u.User != nil {
		b.secrets = append(b.secrets, u.User.Username()) // a token
	}
	return u, nil
}

// secure sets what proves to the server who the node is, and to the node who
// the server is.
func secure(out *nats.Options, o Options) error {
	if o.Credentials != "" {
		if _, err := os.Stat(o.Credentials); err != nil {
			return fmt.Errorf("natsbus: the file of NATS credentials cannot be read: %w", err)
		}
		if err := nats.UserCredentials(o.Credentials)(out); err != nil {
			return fmt.Errorf("natsbus: the file of NATS credentials %s cannot be used: %w", o.Credentials, err)
		}
	}
	if o.CA == "" && o.Cert == "" && o.Key == "" {
		return nil
	}
	out.Secure = true
	out.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return fmt.Errorf("natsbus: the certificates to trust cannot be read: %w", err)
		}
		out.TLSConfig.RootCAs = x509.NewCertPool()
		if !out.TLSConfig.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("natsbus: %s has no certificate in PEM", o.CA)
		}
	}
	if o.Cert != "" || o.Key != "" {
		cert, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return fmt.Errorf("natsbus: the certificate of the node for NATS cannot be used: %w", err)
		}
		out.TLSConfig.Certificates = []tls.Certificate{cert}
	}
	return nil
}

// beat tells others the last numbers, and looks who is silent.
func (b *Bus) beat() {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		b.sendBeats(time.Now())
		select {
		case <-ticker.C:
		case <-b.stop:
			return
		}
		if b.conn.IsConnected() {
			b.reportSilence(time.Now())
		}
	}
}

func (b *Bus) sendBeats(now time.Time) {
	for _, id := range append(b.in.listeners(now), b.self) {
		b.out.mu.Lock()
		err := b.publish(b.out.route(b, id), kindBeat, nil)
		b.out.mu.Unlock()
		if err != nil {
			return // Connected says why
		}
	}
}

func (b *Bus) reportSilence(now time.Time) {
	missed, fell, back := b.in.quiet(now)
	for _, id := range missed {
		b.call(func() { b.handler.Missed(id) })
	}
	for _, id := range fell {
		b.logger.Warn("a registered node is not heard over NATS: it has died, or it has lost its connection, or it is configured with other NATS servers or another prefix", "node", int64(id))
	}
	for _, id := range back {
		b.logger.Info("a node is heard over NATS again", "node", int64(id))
	}
}

// Connected is nil, or says why others cannot be reached and what to do.
func (b *Bus) Connected() error {
	b.mu.Lock()
	t := b.trouble
	b.mu.Unlock()
	echo := time.Since(time.Unix(0, b.lastEcho.Load()))
	switch {
	case b.conn.IsClosed():
		return bus.ErrClosed
	case !b.conn.IsConnected() && t.down != nil:
		return fmt.Errorf("%w: %w", bus.ErrDisconnected, t.down)
	case !b.conn.IsConnected():
		return fmt.Errorf("%w: the connection to NATS at %s is being made again", bus.ErrDisconnected, b.servers)
	case t.clash != nil && time.Since(t.heard) < silentAfter:
		return t.clash
	case t.refused != nil && (time.Since(t.at) < silentAfter || echo > silentAfter):
		return t.refused
	case echo > silentAfter:
		return fmt.Errorf("%w: NATS at %s is connected, but messages do not come through, or this node is too busy to take them", bus.ErrDisconnected, b.servers)
	}
	return nil
}

func (b *Bus) isDown(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trouble.down = nil
	if err != nil {
		b.trouble.down = b.explain(err)
	}
}

func (b *Bus) onReconnect(conn *nats.Conn) {
	// With the answer to a ping the server has taken the subscription too:
	// from then on nothing is missed unnoticed.
	err := conn.FlushTimeout(beatEvery)
	b.mu.Lock()
	b.trouble.refused = nil
	b.mu.Unlock()
	b.call(func() { b.handler.Missed(0) })
	if err == nil {
		b.logger.Info("the connection to NATS is back", "server", conn.ConnectedUrlRedacted())
	}
}

// onError takes what the server says about messages that it did not take, and
// what the client says about those that it had no room for.
func (b *Bus) onError(_ *nats.Conn, _ *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrSlowConsumer) {
		b.logger.Warn("messages of other nodes came faster than they could be taken, and some were dropped")
		b.call(func() { b.handler.Missed(0) })
		return
	}
	if !b.conn.IsConnected() { // credentials, while connecting again
		b.isDown(err)
		return
	}
	explained := b.explain(err)
	b.mu.Lock()
	news := b.trouble.refused == nil || time.Since(b.trouble.at) > knownFor
	b.trouble.refused, b.trouble.at = explained, time.Now()
	b.mu.Unlock()
	select {
	case b.refusals <- err:
	default:
	}
	if news {
		b.logger.Error("NATS refuses something that the node needs", "error", explained)
	}
}

// clash notes that somebody else is using this node's or another one's ID.
func (b *Bus) clash(id store.NodeID) {
	b.mu.Lock()
	news := b.trouble.clash == nil
	b.trouble.heard = time.Now()
	b.trouble.clash = fmt.Errorf("natsbus: two nodes with the number %d use the subjects %s*: another Ringback cluster is on this NATS, give each a prefix of its own", id, b.subject)
	err := b.trouble.clash
	b.mu.Unlock()
	if news {
		b.logger.Error("messages of another cluster come over NATS", "error", err)
	}
}

// unsent says in the terms of the contract why something was not sent.
func (b *Bus) unsent(err error) error {
	switch {
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrDisconnected):
		return bus.ErrDisconnected
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return bus.ErrClosed
	case errors.Is(err, nats.ErrNoResponders):
		return bus.ErrAbsent
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: raise max_payload of the NATS server to at least 1MB", bus.ErrTooLarge)
	}
	return err
}

// explain says what an error means and what to do, without secrets.
func (b *Bus) explain(err error) error {
	var unknown x509.UnknownAuthorityError
	what := "cannot be used"
	switch {
	case err == nil:
		return errors.New("natsbus: the connection was closed by the server")
	case errors.Is(err, nats.ErrNoServers):
		what = "does not answer: check the address, that the server is running, and that no firewall is in between"
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		what = "refuses the node's credentials: check user and password, token or credentials file"
	case errors.Is(err, nats.ErrPermissionViolation):
		what = fmt.Sprintf("does not allow what the node needs: give its user the permission to publish and to subscribe %s>", strings.TrimSuffix(b.subject, "node."))
	case errors.Is(err, nats.ErrSecureConnRequired):
		what = "wants TLS: write tls:// in its URL"
	case errors.Is(err, nats.ErrSecureConnWanted):
		what = "has no TLS: write nats:// in its URL, and leave out certificates, or give the server a certificate"
	case errors.As(err, &unknown):
		what = "has a certificate of an authority that this machine does not trust: give the authority's certificate"
	case errors.Is(err, nats.ErrNoInfoReceived):
		what = "does not speak NATS there: check the port"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		what = "did not answer in time: check that it is not overloaded, and the network"
	}
	return b.redact(fmt.Errorf("natsbus: NATS at %s %s: %w", b.servers, what, err))
}

// redact takes secrets out of an error, should a library have put one in.
func (b *Bus) redact(err error) error {
	text := err.Error()
	clean := text
	for _, secret := range b.secrets {
		if secret != "" {
			clean = strings.ReplaceAll(clean, secret, "[secret]")
		}
	}
	if clean == text {
		return err
	}
	return errors.New(clean)
}
