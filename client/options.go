package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/ringback/ringback/protocol"
)

// Options say who logs in and how. AppID, UserID and one of Token and
// TokenSource are required.
type Options struct {
	AppID    uint32
	UserID   string
	UserName string // at most 256 bytes
	// Platform is one of protocol.Platforms; empty counts as WEB.
	Platform string

	// Token is the login token. RenewToken replaces it.
	Token string
	// TokenSource, if set, is asked for a token at each login, and when the
	// server says that the token is about to expire, which then is renewed
	// without further ado. It must return when ctx ends. An error fails Dial;
	// later it counts as a failed attempt to reconnect.
	TokenSource func(ctx context.Context) (string, error)

	// SessionID resumes a session from before, for example that of an earlier
	// process. KnownCalls are the calls that the device still shows of it;
	// the first Snapshot says which of them are over, and why.
	SessionID  string
	KnownCalls []string

	// OnEvent is called with each event, one at a time and in order, the
	// first time before Dial returns or soon after. It may send requests by c
	// and wait for them; it must not wait for c.Done. While it runs up to
	// EventBuffer events wait; when there are more, events of calls are left
	// out, and as soon as it has caught up the client syncs and delivers a
	// Snapshot with what it missed. Nil: events are only used to keep versions.
	OnEvent     func(c *Client, ev Event)
	EventBuffer int // default 1024

	// MaxPending is how many requests may wait for their replies at one time;
	// default 256. More fail with ErrTooManyPending.
	MaxPending int

	// ManualReceived leaves it to the program to call Received when it rings.
	// By default the client does so as soon as an invitation arrives.
	ManualReceived bool
	// NoReconnect makes the first loss of the connection final.
	NoReconnect bool

	// DialTimeout bounds each attempt to connect and log in; default 10 s.
	DialTimeout time.Duration
	// NetDial, if set, makes the network connection, as net.Dialer.DialContext
	// does.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLSConfig is for https and wss URLs. Nil: the defaults of crypto/tls.
	TLSConfig *tls.Config
	// Header is sent with the WebSocket handshake.
	Header http.Header
	// Logger gets what the program does not learn otherwise, such as failed
	// attempts to reconnect, at debug level. Nil: nobody does.
	Logger *slog.Logger
}

// withDefaults checks o and fills in what was left out.
func (o Options) withDefaults() (Options, error) {
	switch {
	case o.AppID == 0:
		return o, errors.New("client: Options.AppID is missing")
	case o.UserID == "":
		return o, errors.New("client: Options.UserID is missing")
	case o.Token == "" && o.TokenSource == nil:
		return o, errors.New("client: Options.Token and Options.TokenSource are missing")
	}
	o.EventBuffer = cmp.Or(o.EventBuffer, 1024)
	o.MaxPending = cmp.Or(o.MaxPending, 256)
	o.DialTimeout = cmp.Or(o.DialTimeout, 10*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// endpoint turns what Dial is given into a WebSocket URL.
func endpoint(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", fmt.Errorf("client: server URL: %w", err)
	}
	switch u.Scheme {
	case "ws", "wss":
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	default:
		return "", fmt.Errorf("client: server URL %q: the scheme must be ws, wss, http or https", raw)
	}
	if u.Host == "" {
		return "", fmt.Errorf("client: server URL %q: the host is missing", raw)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = protocol.Path
	}
	u.Fragment = ""
	return u.String(), nil
}
