package serverapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/ringback/ringback/internal/feed"
	"github.com/ringback/ringback/internal/store"
)

// Bounds of a poll.
const (
	defaultEvents = 100
	maxEvents     = 1000
	maxWait       = 60 // seconds
	latest        = "latest"
)

// EventPage is a part of an app's events. Where nothing happened it has none,
// but its cursor leads on.
type EventPage struct {
	Events []Event `json:"events" nullable:"false"`
	Cursor string  `json:"cursor" doc:"Where to go on: give it as after"`
	More   bool    `json:"more" doc:"There are more events by now: ask again at once"`
}

// Event is something that happened, as callbacks tell it.
type Event struct {
	ID      string          `json:"id" doc:"Names the event for ever: the key to tell repetitions by; the same as webhook-id of its callbacks" example:"evt_1234567890"`
	Event   string          `json:"event" doc:"As in callbacks" example:"call_accept"`
	CallID  string          `json:"call_id" doc:"Empty for what is not about a call"`
	TimeMS  int64           `json:"time_ms" doc:"When it happened, Unix milliseconds"`
	Version int64           `json:"version" doc:"Of the call after it; 0 for what is not about a call"`
	Data    json.RawMessage `json:"data" doc:"The fields of the callback beyond the common ones"`
}

// poll is what a reader of the feed asks for.
type poll struct {
	app   uint32
	after store.EventID
	limit int
	wait  time.Duration
}

// Events gives the handler of the feed.
func (s *Server) Events() http.Handler { return http.HandlerFunc(s.events) }

func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	rq, err := s.authenticate(r, false)
	var page *EventPage
	var waited time.Duration
	if err == nil {
		page, waited, err = s.poll(r, rq)
	}
	rq.action = actionEvents
	code := CodeSuccess
	if err != nil {
		var failure Answer
		s.finish(&failure, r, rq, err)
		code = failure.Code
		write(w, statusOf(code), failure)
	} else {
		write(w, http.StatusOK, page)
	}
	s.observe(actionEvents, code, time.Since(began)-waited)
}

// statusOf maps the code of a poll that failed to its HTTP status.
func statusOf(code Code) int {
	switch code {
	case CodeExpired, CodeSignature, CodeAppUnknown:
		return http.StatusUnauthorized
	case CodeTooManyRequests:
		return http.StatusTooManyRequests
	case CodeGeneral:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// poll answers an authenticated poll, and says how much of the time it only
// waited.
func (s *Server) poll(r *http.Request, rq request) (*EventPage, time.Duration, error) {
	if err := s.limits.take(rq.app.ID, actionEvents); err != nil {
		return nil, 0, err
	}
	p, err := s.parsePoll(r.Context(), rq)
	if err != nil {
		return nil, 0, err
	}
	if err := s.polls.begin(p.app); err != nil {
		return nil, 0, err
	}
	defer s.polls.end(p.app)
	return s.read(r.Context(), p)
}

func (s *Server) parsePoll(ctx context.Context, rq request) (p poll, err error) {
	p.app = rq.app.ID
	if p.limit, err = number(rq.params, "limit", defaultEvents, 1, maxEvents); err != nil {
		return p, err
	}
	seconds, err := number(rq.params, "wait", 0, 0, maxWait)
	if err != nil {
		return p, err
	}
	p.wait = time.Duration(seconds) * time.Second
	switch after := rq.params.get("after"); after {
	case "":
	case latest:
		if p.after, err = s.Store.LastEventID(ctx); err != nil {
			return p, fmt.Errorf("reading the last event: %w", err)
		}
	default:
		if p.after, err = feed.DecodeCursor(p.app, after); err != nil {
			return p, &fault{CodeInput, err.Error()}
		}
	}
	return p, nil
}

// number reads an optional integer parameter.
func number(ps params, name string, absent, low, high int) (int, error) {
	text := ps.get(name)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return 0, faultf(CodeInput, "%s must be an integer from %d to %d", name, low, high)
	}
	return n, nil
}

// read gives the first page that has events, or, when the time to wait is over
// or the server closes, an empty one.
func (s *Server) read(ctx context.Context, p poll) (*EventPage, time.Duration, error) {
	page := &EventPage{Events: []Event{}}
	waiting, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	// Watch before read: what becomes durable after the read is announced to
	// the watch.
	watch := s.Feed.Watch(p.app)
	defer watch.Stop()
	var waited time.Duration
	for {
		announced := watch.Latest()
		found, err := s.Store.EventsAfter(ctx, p.app, p.after, p.limit)
		if err != nil {
			return nil, waited, fmt.Errorf("reading events: %w", err)
		}
		for _, ev := range found.Events {
			if !ev.Test {
				page.Events = append(page.Events, viewEvent(ev))
			}
		}
		p.after, page.More = max(p.after, found.Next), found.More
		page.Cursor = feed.EncodeCursor(p.app, p.after)
		if len(page.Events) > 0 || waiting.Err() != nil {
			return page, waited, nil
		}
		if page.More {
			continue
		}
		began := time.Now()
		err = watch.Wait(waiting, max(p.after, announced))
		waited += time.Since(began)
		if ctx.Err() != nil {
			return nil, waited, ctx.Err() // nobody is there any more
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			return nil, waited, err
		}
	}
}

func viewEvent(ev *store.Event) Event {
	view := Event{
		ID: ev.ID.String(), Event: ev.Name, TimeMS: int64(ev.At), Version: ev.Version, Data: json.RawMessage(ev.Fields),
	}
	if ev.Call != 0 {
		view.CallID = ev.Call.String()
	}
	return view
}
