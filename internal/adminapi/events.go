package adminapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/feed"
	"github.com/ringback/ringback/internal/registry"
	"github.com/ringback/ringback/internal/store"
)

// latest, in the place of a cursor, is the end of the feed at this moment.
const latest = "latest"

// EventFilter says which events are meant.
type EventFilter struct {
	App   uint32   `query:"app" doc:"Default: all apps"`
	Event []string `query:"event,explode" doc:"Names of events; default: all"`
	Call  string   `query:"call"`
}

// check says what is wrong with a filter.
func (f *EventFilter) check() error {
	if f.Call != "" {
		if _, err := parseCall(f.Call); err != nil {
			return err
		}
	}
	return checkEvents(f.Event...)
}

// checkEvents says which name is not that of an event; "" is any.
func checkEvents(names ...string) error {
	known := append(config.DefaultEvents(), config.ExtraEvents()...)
	for _, name := range names {
		if name != "" && !slices.Contains(known, name) {
			return huma.Error400BadRequest(fmt.Sprintf("%.40q is not an event; the events are %s", name, strings.Join(known, ", ")))
		}
	}
	return nil
}

func (f *EventFilter) matches(ev *store.Event) bool {
	return (len(f.Event) == 0 || slices.Contains(f.Event, ev.Name)) && (f.Call == "" || ev.Call.String() == f.Call)
}

// EventPage is a part of the events, in the order in which they became
// durable.
type EventPage struct {
	Items  []Event `json:"items"`
	Cursor string  `json:"cursor" doc:"Where to go on"`
	More   bool    `json:"more" doc:"There are more events by now"`
}

func (a *API) registerEvents() {
	tags := []string{"Events"}
	huma.Register(a.huma, huma.Operation{
		OperationID: "list-events", Method: http.MethodGet, Path: Path + "/events", Summary: "Read events in order", Tags: tags,
		Description: "Every event, whether or not an endpoint is subscribed. Nothing is skipped by going on from the cursor.",
		Errors:      []int{http.StatusBadRequest},
	}, func(ctx context.Context, in *struct {
		EventFilter
		After string `query:"after" doc:"A cursor, or latest; default: the oldest event that is kept"`
		Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
		Wait  int    `query:"wait" minimum:"0" maximum:"60" doc:"Seconds to wait for an event when there is none"`
	},
	) (*output[EventPage], error) {
		if err := in.check(); err != nil {
			return nil, err
		}
		after, err := a.place(ctx, in.App, in.After)
		if err != nil {
			return nil, a.fail(err, "event")
		}
		ctx, cancel := context.WithTimeout(ctx, time.Duration(in.Wait)*time.Second)
		defer cancel()
		out := EventPage{Items: []Event{}, Cursor: feed.EncodeCursor(in.App, after)}
		r := a.read(&in.EventFilter, after)
		defer r.close()
		for {
			events, more, err := r.next(context.WithoutCancel(ctx), in.Limit)
			if err != nil {
				return nil, a.fail(err, "event")
			}
			for _, ev := range events {
				out.Items = append(out.Items, viewEvent(ev))
			}
			out.Cursor, out.More = feed.EncodeCursor(in.App, r.after), more
			if len(out.Items) > 0 || in.Wait == 0 || !more && r.wait(ctx, a.ctx) != nil {
				return &output[EventPage]{out}, nil
			}
		}
	})

	huma.Register(a.huma, huma.Operation{
		OperationID: "trigger", Method: http.MethodPost, Path: Path + "/apps/{app}/trigger", Summary: "Send a synthetic event to an app's endpoints",
		Description: "Really signed, through the real deliverer and into the log, to the endpoints that ask for that event and to whoever listens. It carries Ringback-Test: true, and no call knows of it.",
		Tags:        tags, DefaultStatus: http.StatusAccepted, Errors: []int{http.StatusBadRequest, http.StatusNotFound},
	}, func(ctx context.Context, in *struct {
		AppInput
		Body *Trigger
	},
	) (*output[Triggered], error) {
		app, ok := a.Registry.App(in.App)
		if !ok {
			return nil, a.fail(registry.ErrNotFound, "app")
		}
		out, err := a.trigger(ctx, app, in.Body, subscribed, 0)
		if err != nil {
			return nil, a.fail(err, "app")
		}
		return &output[Triggered]{*out}, nil
	})
	a.registerListen()
}

// place reads where to begin among the events of an app.
func (a *API) place(ctx context.Context, app uint32, cursor string) (store.EventID, error) {
	switch cursor {
	case "":
		return 0, nil
	case latest:
		return a.Store.LastEventID(ctx)
	}
	after, err := feed.DecodeCursor(app, cursor)
	if err != nil {
		return 0, huma.Error400BadRequest(err.Error())
	}
	return after, nil
}

// reader follows the events that match a filter.
type reader struct {
	store  store.Events
	filter *EventFilter
	after  store.EventID
	seen   store.EventID // up to which the latest read saw everything
	watch  *feed.Watch
}

// read begins to follow. The watch comes before the first look at the store,
// so that nothing is missed in between.
func (a *API) read(f *EventFilter, after store.EventID) *reader {
	return &reader{store: a.Store, filter: f, after: after, watch: a.Feed.Watch(f.App)}
}

func (r *reader) close() { r.watch.Stop() }

// next gives what there is after the place of the reader, and whether there
// may be more at once.
func (r *reader) next(ctx context.Context, limit int) ([]*store.Event, bool, error) {
	announced := r.watch.Latest()
	page, err := r.store.EventsAfter(ctx, r.filter.App, r.after, limit)
	if err != nil {
		return nil, false, err
	}
	r.after = page.Next
	if r.seen = r.after; !page.More {
		r.seen = max(r.after, announced)
	}
	return slices.DeleteFunc(page.Events, func(ev *store.Event) bool { return !r.filter.matches(ev) }), page.More, nil
}

// wait waits for the next event of the app, until either context ends.
func (r *reader) wait(ctx, or context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(or, cancel)()
	return r.watch.Wait(ctx, r.seen)
}

func viewEvent(ev *store.Event) Event {
	return Event{
		ID: ev.ID.String(), Event: ev.Name, AppID: ev.App, CallID: viewCallID(ev.Call), AtMS: int64(ev.At), Version: ev.Version,
		UserID: string(ev.Actor.User), SessionID: string(ev.Actor.Session), Test: ev.Test, Data: ev.Fields,
	}
}

// viewEvents lists the events that an endpoint gets.
func viewEvents(e *registry.Endpoint) []string {
	if len(e.Events) == 0 {
		return config.DefaultEvents()
	}
	return e.Events
}

// trigger makes a synthetic event for those endpoints of an app that want it,
// or for one only.
func (a *API) trigger(ctx context.Context, app *registry.App, in *Trigger, wants func(string, *registry.Endpoint) bool, only store.EndpointID) (*Triggered, error) {
	now := call.At(a.Clock.Now())
	if in == nil {
		in = new(Trigger)
	}
	ev, err := synthetic(*in, now)
	if err != nil {
		return nil, err
	}
	ev.App = app.ID
	urls := make(map[store.EndpointID]string)
	for i := range app.Endpoints {
		e := &app.Endpoints[i]
		if wants(ev.Name, e) && (only == 0 || only == e.ID) {
			ev.Deliveries = append(ev.Deliveries, store.Subscription{Endpoint: e.ID})
			urls[e.ID] = e.URL
		}
	}
	target := "app " + call.ID(app.ID).String()
	if only != 0 {
		target = "endpoint " + call.ID(only).String()
	}
	if err := a.Store.AddAudit(ctx, by(ctx).Audit("event.trigger", target, map[string]string{"event": ev.Name})); err != nil {
		return nil, err
	}
	if err := a.Store.AddEvents(ctx, []*store.Event{ev}); err != nil {
		return nil, err
	}
	a.HandOff([]*store.Event{ev})
	out := &Triggered{EventID: ev.ID.String(), Event: ev.Name, Deliveries: []Delivery{}}
	for _, sub := range ev.Deliveries {
		out.Deliveries = append(out.Deliveries, viewDelivery(&store.Delivery{
			Event: ev.ID, Endpoint: sub.Endpoint, App: ev.App, Name: ev.Name, At: ev.At, Due: ev.At, Test: true,
		}, nil, urls))
	}
	return out, nil
}
