package adminclient

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/ringback/ringback/internal/adminapi"
)

// Latest, in the place of a cursor, is the end of the events at this moment.
const Latest = "latest"

// EventQuery says which events are meant; what is zero means any.
type EventQuery struct {
	App   uint32   `query:"app"`
	Event []string `query:"event"`
	Call  string   `query:"call"`
	After string   `query:"after"` // a cursor, or Latest; "": the oldest event that is kept
	Limit int      `query:"limit"` // of a page
	Wait  int      `query:"wait"`  // seconds, for an event when there is none
}

// Events reads a page of events, in the order in which they became durable.
func (c *Client) Events(ctx context.Context, q EventQuery) (*adminapi.EventPage, error) {
	out := new(adminapi.EventPage)
	if err := c.do(ctx, http.MethodGet, "/events", values(q), nil, out); err != nil {
		return nil, err
	}
	return out, nil
}

// Lost is told once when the server is lost, with the reason, and once when it
// is back, with nil. It may be nil.
type Lost func(err error)

// Follow reads events as they come and hands on pages until handle gives an
// error or the context ends. The first request must succeed; when a later one
// fails, it is made again until it succeeds, unless the API refuses it.
func (c *Client) Follow(ctx context.Context, q EventQuery, lost Lost, handle func(*adminapi.EventPage) error) error {
	r := retry{lost: lost}
	for {
		page, err := c.Events(ctx, q)
		if err != nil {
			if err := r.failed(ctx, err); err != nil {
				return err
			}
			continue
		}
		r.succeeded()
		if err := handle(page); err != nil {
			return err
		}
		q.After = page.Cursor
	}
}

// Bounds of the wait before an attempt to reconnect.
const (
	minBackoff = 500 * time.Millisecond
	maxBackoff = 15 * time.Second
)

// backoff is the wait before an attempt to reconnect, counted from 0. It
// doubles from 0.5–1 s to 7.5–15 s, and is drawn from that so that clients
// which lost a server together do not come back together.
func backoff(attempt int) time.Duration {
	ceiling := maxBackoff
	if attempt < 5 {
		ceiling = min(maxBackoff, 2*minBackoff<<attempt)
	}
	return ceiling/2 + rand.N(ceiling/2)
}

// retry decides what follows a failure.
type retry struct {
	lost     Lost
	once     bool // it has succeeded
	away     bool // lost was told
	failures int  // in a row
}

// failed waits until it is time to try again. It gives an error when that is
// of no use, or the context has ended.
func (r *retry) failed(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case final(err) || !r.once:
		return err
	}
	if !r.away && r.lost != nil {
		r.lost(err)
	}
	r.away = true
	wait := time.NewTimer(backoff(r.failures))
	defer wait.Stop()
	r.failures++
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// succeeded notes that the server is there.
func (r *retry) succeeded() {
	if r.away && r.lost != nil {
		r.lost(nil)
	}
	r.once, r.away, r.failures = true, false, 0
}
