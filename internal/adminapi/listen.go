package adminapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/feed"
	"github.com/ringback/ringback/internal/registry"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/webhook"
)

const (
	listenPage  = 100              // events that are read at once
	listenQuiet = 15 * time.Second // between signs of life
	writeLimit  = 10 * time.Second // for one message to be taken
	maxCounted  = 10_000           // calls whose callbacks are being counted
)

// ListenInput are the parameters of a stream.
type ListenInput struct {
	EventFilter
	Endpoint int64  `query:"endpoint" doc:"Sign and format as for this endpoint; default: the app's first one, or its callback secret"`
	After    string `query:"after" doc:"A cursor; default: from now on"`
	LastID   string `header:"Last-Event-ID" doc:"As after, when a stream is taken up again"`
}

func (a *API) registerListen() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "listen", Method: http.MethodGet, Path: Path + "/listen", Summary: "Follow callbacks as they come",
		Description: "Server-sent events. The first one is `ready`; each `callback` has a callback as an endpoint would get it, signed now, " +
			"with all headers and the body byte for byte. The ID of each is a cursor: a stream that is taken up again with it misses nothing. " +
			"Without event, the documented call_* events come; `event=all` stands for all.",
		Tags: []string{"Events"}, Errors: []int{http.StatusBadRequest, http.StatusNotFound},
		Responses: map[string]*huma.Response{"200": {
			Description: "The stream", Content: map[string]*huma.MediaType{"text/event-stream": {
				Schema: a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Callback](), true, "Callback"),
			}},
		}},
	}, func(ctx context.Context, in *ListenInput) (*huma.StreamResponse, error) {
		s, err := a.newStream(ctx, in)
		if err != nil {
			return nil, a.fail(err, "app or endpoint")
		}
		return &huma.StreamResponse{Body: s.serve}, nil
	})
}

// stream is one listener.
type stream struct {
	api      *API
	app      uint32
	filter   *EventFilter
	endpoint store.EndpointID
	after    store.EventID
	counts   map[call.ID]int // callbacks of each call so far
}

func (a *API) newStream(ctx context.Context, in *ListenInput) (*stream, error) {
	if in.App != 0 {
		if _, ok := a.Registry.App(in.App); !ok {
			return nil, registry.ErrNotFound
		}
	}
	if in.Endpoint != 0 {
		app, _, ok := a.Registry.Endpoint(store.EndpointID(in.Endpoint))
		if !ok || in.App != 0 && in.App != app.ID {
			return nil, registry.ErrNotFound
		}
	}
	switch {
	case len(in.Event) == 0:
		in.Event = config.DefaultEvents()
	case slices.Contains(in.Event, "all"):
		in.Event = nil
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	cursor := latest
	for _, given := range []string{in.After, in.LastID} {
		if given != "" {
			cursor = given
		}
	}
	after, err := a.place(ctx, in.App, cursor)
	if err != nil {
		return nil, err
	}
	return &stream{
		api: a, app: in.App, filter: &in.EventFilter, endpoint: store.EndpointID(in.Endpoint), after: after,
		counts: make(map[call.ID]int),
	}, nil
}

// serve writes the stream until the listener goes or the server does.
func (s *stream) serve(hc huma.Context) {
	_, w := humago.Unwrap(hc)
	ctx, cancel := context.WithCancel(hc.Context())
	defer cancel()
	defer context.AfterFunc(s.api.ctx, cancel)()
	hc.SetHeader("Content-Type", "text/event-stream")
	hc.SetHeader("X-Accel-Buffering", "no")
	control := http.NewResponseController(w)
	send := func(format string, args ...any) bool {
		if control.SetWriteDeadline(time.Now().Add(writeLimit)) != nil {
			return false
		}
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return false
		}
		return control.Flush() == nil
	}
	r := s.api.read(s.filter, s.after)
	defer r.close()
	if !send("id: %s\nevent: ready\ndata: {}\n\n", feed.EncodeCursor(s.app, r.after)) {
		return
	}
	for {
		events, more, err := r.next(ctx, listenPage)
		if err != nil {
			if ctx.Err() == nil {
				s.api.Logger.Error("a listener's events cannot be read", "error", err)
			}
			return // it will come back
		}
		for _, ev := range events {
			data, err := s.render(ctx, ev)
			if err != nil {
				s.api.Logger.Error("a callback cannot be shown to a listener", "app_id", ev.App, "event", ev.Name, "error", err)
				continue
			}
			if !send("id: %s\nevent: callback\ndata: %s\n\n", feed.EncodeCursor(s.app, ev.ID), data) {
				return
			}
		}
		if more {
			continue
		}
		quiet, stop := context.WithTimeout(ctx, listenQuiet)
		err = r.wait(quiet, s.api.ctx)
		stop()
		if ctx.Err() != nil {
			io.WriteString(w, ": the server is going away, come back\n\n")
			return
		}
		if err != nil && !send(": still here\n\n") {
			return
		}
	}
}

// render gives a callback as an endpoint would get it now.
func (s *stream) render(ctx context.Context, ev *store.Event) ([]byte, error) {
	app, ok := s.api.Registry.App(ev.App)
	if !ok {
		return nil, fmt.Errorf("app %d: %w", ev.App, registry.ErrNotFound)
	}
	sequence, err := s.count(ctx, ev)
	if err != nil {
		return nil, err
	}
	e := app.Endpoint(s.endpoint)
	if e == nil && len(app.Endpoints) > 0 {
		e = &app.Endpoints[0]
	}
	req, err := webhook.Render(ev, s.api.SigningEndpoint(app, e), webhook.Sending{
		Sequence: sequence, Attempt: 1, At: s.api.Clock.Now(), Version: s.api.Version,
	})
	if err != nil {
		return nil, err
	}
	out := Callback{
		Event: ev.Name, EventID: ev.ID.String(), AppID: ev.App, CallID: viewCallID(ev.Call), AtMS: int64(ev.At), Test: ev.Test,
		Body: string(req.Body),
	}
	for _, f := range req.Header {
		out.Headers = append(out.Headers, Header(f))
	}
	return json.Marshal(out)
}

// count numbers the callbacks of a call, as an endpoint that asks for the same
// events would see them; 0 for what is not about a call.
func (s *stream) count(ctx context.Context, ev *store.Event) (int, error) {
	if ev.Call == 0 {
		return 0, nil
	}
	n, known := s.counts[ev.Call]
	if !known {
		earlier, err := s.api.Store.EventsOf(ctx, ev.Call)
		if err != nil {
			return 0, err
		}
		for _, other := range earlier {
			if other.ID < ev.ID && (len(s.filter.Event) == 0 || slices.Contains(s.filter.Event, other.Name)) {
				n++
			}
		}
		if len(s.counts) >= maxCounted {
			clear(s.counts)
		}
	}
	s.counts[ev.Call] = n + 1
	return n + 1, nil
}
