package client

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// Client is one device of a user, connected to a server. It is safe for
// concurrent use. It ends by Close, by Logout, or when the server ends the
// session for good.
type Client struct {
	opts   Options
	url    string
	log    *slog.Logger
	calls  calls
	events events

	ctx    context.Context // ends with Close
	cancel context.CancelCauseFunc
	tasks  sync.WaitGroup // renewals of tokens
	done   chan struct{}

	// Of the goroutine that reads, and of Dial before there is one.
	settling []*request // whose methods may not have returned yet

	mu       sync.Mutex
	conn     *conn // nil while not logged in
	session  string
	token    string
	pending  map[int64]*request
	lastID   int64
	renewing bool
	err      error // why the client has ended
}

// Dial connects to a server and logs in. The URL has scheme ws, wss, http or
// https; its path is protocol.Path when it has none. ctx bounds Dial, not the
// client. A login that the server refuses is a *protocol.Error.
func Dial(ctx context.Context, url string, opts Options) (*Client, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	url, err = endpoint(url)
	if err != nil {
		return nil, err
	}
	c := &Client{
		opts:    opts,
		url:     url,
		log:     opts.Logger.With("user_id", opts.UserID),
		calls:   calls{self: opts.UserID},
		done:    make(chan struct{}),
		session: opts.SessionID,
		token:   opts.Token,
		pending: make(map[int64]*request),
	}
	c.events = events{limit: opts.EventBuffer, handle: c.handle, caught: c.resync}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	cn, early, err := c.connect(ctx, opts.KnownCalls)
	if err != nil {
		c.cancel(err)
		return nil, fmt.Errorf("client: dial: %w", err)
	}
	go c.run(cn, early)
	return c, nil
}

// Close drops the connection without a logout: the session stays, and another
// client may resume it by its SessionID. Requests under way fail with
// ErrClosed. Close does not wait; <-c.Done() does. It always returns nil.
func (c *Client) Close() error {
	c.cancel(ErrClosed)
	return nil
}

// Done is closed when the client has ended, for whatever reason, and its last
// event has been handled.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is nil while the client lives, and an ErrClosed that says why after it
// has ended.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// SessionID is the session that the client is or was last logged in to.
func (c *Client) SessionID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// Connected reports whether the client is logged in at this moment.
func (c *Client) Connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn != nil
}

// handle calls the handler of the program.
func (c *Client) handle(ev Event) {
	if c.opts.OnEvent != nil {
		c.opts.OnEvent(c, ev)
	}
}
