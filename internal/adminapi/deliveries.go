package adminapi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/registry"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/webhook"
)

// DeliveryInput names a delivery.
type DeliveryInput struct {
	Delivery string `path:"delivery" example:"dlv_93364000000000_3"`
}

// FilterInput is a DeliveryFilter as query parameters.
type FilterInput struct {
	App      uint32 `query:"app"`
	Call     string `query:"call"`
	Endpoint int64  `query:"endpoint"`
	Event    string `query:"event" doc:"Name of a callback event, such as call_accept"`
	Status   string `query:"status" enum:"pending,delivered,failed"`
	From     string `query:"from" doc:"Not before: Unix milliseconds, RFC 3339, or a duration before now, such as 2h"`
	Until    string `query:"until" doc:"Before: as from"`
}

func (a *API) registerDeliveries() {
	tags := []string{"Deliveries"}
	huma.Register(a.huma, huma.Operation{
		OperationID: "list-deliveries", Method: http.MethodGet, Path: Path + "/deliveries", Summary: "Search the deliveries, the newest first", Tags: tags,
		Errors: []int{http.StatusBadRequest},
	}, func(ctx context.Context, in *struct {
		FilterInput
		PageInput
	},
	) (*output[Page[Delivery]], error) {
		q, err := a.query(DeliveryFilter{
			AppID: in.App, CallID: in.Call, EndpointID: in.Endpoint, Event: in.Event, Status: in.Status, From: in.From, Until: in.Until,
		})
		if err != nil {
			return nil, err
		}
		if q.After, err = decodeCursor[store.DeliveryPlace]("deliveries", in.Cursor); err != nil {
			return nil, err
		}
		q.Limit = in.Limit
		page, err := a.Store.SearchDeliveries(ctx, q)
		if err != nil {
			return nil, a.fail(err, "delivery")
		}
		urls, err := a.urls(ctx)
		if err != nil {
			return nil, a.fail(err, "endpoint")
		}
		out := Page[Delivery]{Items: make([]Delivery, 0, len(page.Deliveries)), Next: encodeCursor("deliveries", page.Next)}
		for _, d := range page.Deliveries {
			out.Items = append(out.Items, viewDelivery(&d.Delivery, d.Latest, urls))
		}
		return &output[Page[Delivery]]{out}, nil
	})

	huma.Register(a.huma, huma.Operation{
		OperationID: "get-delivery", Method: http.MethodGet, Path: Path + "/deliveries/{delivery}", Summary: "Show a delivery with its attempts", Tags: tags,
		Errors: []int{http.StatusBadRequest, http.StatusNotFound},
	}, func(ctx context.Context, in *DeliveryInput) (*output[DeliveryDetail], error) {
		d, err := a.delivery(ctx, in.Delivery)
		if err != nil {
			return nil, a.fail(err, "delivery")
		}
		out, err := a.deliveryDetail(ctx, d)
		if err != nil {
			return nil, a.fail(err, "delivery")
		}
		return &output[DeliveryDetail]{*out}, nil
	})

	huma.Register(a.huma, huma.Operation{
		OperationID: "redeliver", Method: http.MethodPost, Path: Path + "/deliveries/{delivery}/redeliver", Summary: "Deliver once more",
		Description: "A finished delivery becomes pending with a fresh schedule, and its attempts go on counting. One that waits for its next attempt is attempted now.",
		Tags:        tags, DefaultStatus: http.StatusAccepted, Errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict},
	}, func(ctx context.Context, in *DeliveryInput) (*output[Delivery], error) {
		d, err := a.delivery(ctx, in.Delivery)
		if err != nil {
			return nil, a.fail(err, "delivery")
		}
		if _, _, there := a.Registry.Endpoint(d.Endpoint); !there {
			return nil, huma.Error409Conflict("its endpoint was removed: there is nowhere to deliver it to")
		}
		if err := a.redeliver(ctx, by(ctx).Audit("delivery.redeliver", "delivery "+in.Delivery, struct{}{}), d); err != nil {
			return nil, a.fail(err, "delivery")
		}
		if d, err = a.Store.Delivery(ctx, d.Event, d.Endpoint); err != nil {
			return nil, a.fail(err, "delivery")
		}
		urls, err := a.urls(ctx)
		if err != nil {
			return nil, a.fail(err, "endpoint")
		}
		return &output[Delivery]{viewDelivery(d, nil, urls)}, nil
	})

	huma.Register(a.huma, huma.Operation{
		OperationID: "redeliver-call", Method: http.MethodPost, Path: Path + "/calls/{call}/redeliver", Summary: "Deliver all callbacks of a call once more",
		Tags: tags, DefaultStatus: http.StatusAccepted, Errors: []int{http.StatusBadRequest, http.StatusNotFound},
	}, func(ctx context.Context, in *struct {
		CallInput
		Endpoint int64 `query:"endpoint" doc:"Only to this one"`
	},
	) (*output[struct {
		Deliveries []Delivery `json:"deliveries"`
	}], error,
	) {
		id, err := parseCall(in.Call)
		if err != nil {
			return nil, err
		}
		list, err := a.Store.DeliveriesOf(ctx, id)
		if err != nil {
			return nil, a.fail(err, "call")
		}
		var chosen []*store.Delivery
		for _, d := range list {
			if in.Endpoint == 0 || d.Endpoint == store.EndpointID(in.Endpoint) {
				chosen = append(chosen, d)
			}
		}
		if len(chosen) == 0 {
			return nil, huma.Error404NotFound("there are no deliveries of that call")
		}
		audit := by(ctx).Audit("call.redeliver", "call "+in.Call, map[string]any{"endpoint": in.Endpoint})
		if err := a.redeliver(ctx, audit, chosen...); err != nil {
			return nil, a.fail(err, "call")
		}
		urls, err := a.urls(ctx)
		if err != nil {
			return nil, a.fail(err, "endpoint")
		}
		out := new(output[struct {
			Deliveries []Delivery `json:"deliveries"`
		}])
		for _, d := range chosen {
			out.Body.Deliveries = append(out.Body.Deliveries, viewDelivery(d, nil, urls))
		}
		return out, nil
	})
}

// query reads a filter.
func (a *API) query(f DeliveryFilter) (store.DeliveryQuery, error) {
	q := store.DeliveryQuery{App: f.AppID, Endpoint: store.EndpointID(f.EndpointID), Event: f.Event, States: parseStatus(f.Status)}
	if f.CallID != "" {
		id, err := parseCall(f.CallID)
		if err != nil {
			return q, err
		}
		q.Call = id
	}
	if err := checkEvents(f.Event); err != nil {
		return q, err
	}
	from, err1 := a.parseTime("from", f.From)
	until, err2 := a.parseTime("until", f.Until)
	if err := errors.Join(err1, err2); err != nil {
		return q, huma.Error400BadRequest(err.Error())
	}
	if from != 0 {
		q.From = store.EventIDAt(from)
	}
	if until != 0 {
		q.Until = max(store.EventIDAt(until), 1) // 0 would leave it open
	}
	return q, nil
}

// delivery reads the delivery of an ID.
func (a *API) delivery(ctx context.Context, id string) (*store.Delivery, error) {
	event, endpoint, err := parseDeliveryID(id)
	if err != nil {
		return nil, err
	}
	return a.Store.Delivery(ctx, event, endpoint)
}

// redeliver makes deliveries pending that are finished, and hastens those that
// are pending; those of endpoints that were removed stay as they are. What
// they are afterwards is noted in them.
func (a *API) redeliver(ctx context.Context, audit *store.Audit, list ...*store.Delivery) error {
	if err := a.Store.AddAudit(ctx, audit); err != nil {
		return err
	}
	keys := make([]store.DeliveryKey, len(list))
	for i, d := range list {
		keys[i] = d.Key()
	}
	now := audit.At
	made, err := a.Store.Redeliver(ctx, keys, nil, now)
	if err != nil {
		return err
	}
	again := make(map[store.DeliveryKey]*store.Delivery)
	for _, d := range made {
		again[d.Key()] = d
	}
	for _, d := range list {
		if m := again[d.Key()]; m != nil {
			*d = *m
			continue
		}
		if d.State == store.Pending && a.Deliverer.Hasten(d.Key()) {
			d.Due = now
		}
	}
	a.Deliverer.Redeliver(made)
	return nil
}

// urls are those of all endpoints there ever were.
func (a *API) urls(ctx context.Context) (map[store.EndpointID]string, error) {
	list, err := a.Store.ListEndpoints(ctx)
	if err != nil {
		return nil, err
	}
	urls := make(map[store.EndpointID]string, len(list))
	for _, e := range list {
		urls[e.ID] = e.URL
	}
	return urls, nil
}

func viewDelivery(d *store.Delivery, latest *store.Attempt, urls map[store.EndpointID]string) Delivery {
	out := Delivery{
		ID: deliveryID(d.Event, d.Endpoint), EventID: d.Event.String(), Event: d.Name, AppID: d.App, CallID: viewCallID(d.Call),
		EndpointID: int64(d.Endpoint), URL: urls[d.Endpoint], Sequence: d.Sequence, Status: deliveryStates[d.State],
		Attempts: d.Attempts, EventAtMS: int64(d.At), Test: d.Test,
	}
	if d.State == store.Pending {
		out.NextAttemptMS = int64(d.Due)
	}
	if latest != nil {
		s := viewAttemptSummary(latest)
		out.LatestAttempt = &s
	}
	return out
}

func viewCallID(id call.ID) string {
	if id == 0 {
		return ""
	}
	return id.String()
}

func viewAttemptSummary(a *store.Attempt) AttemptSummary {
	return AttemptSummary{Number: a.Number, StartedMS: int64(a.Started), DurationMS: a.Duration, Status: a.Status, Error: a.Error}
}

// deliveryDetail reads the attempts of a delivery.
func (a *API) deliveryDetail(ctx context.Context, d *store.Delivery) (*DeliveryDetail, error) {
	urls, err := a.urls(ctx)
	if err != nil {
		return nil, err
	}
	attempts, err := a.Store.Attempts(ctx, d.Key())
	if err != nil {
		return nil, err
	}
	out := &DeliveryDetail{Delivery: viewDelivery(d, nil, urls), Data: d.Fields, AttemptLog: make([]Attempt, 0, len(attempts))}
	for i := range attempts {
		at := &attempts[i]
		shown := Attempt{AttemptSummary: viewAttemptSummary(at)}
		req, err := webhook.ShownRequest(d, at, urls[d.Endpoint])
		if err == nil {
			shown.Request = &Request{Method: req.Method, URL: req.URL, Body: string(req.Body)}
			for _, f := range req.Header {
				shown.Request.Headers = append(shown.Request.Headers, Header(f))
			}
		} else if !errors.Is(err, webhook.ErrNothingSent) {
			return nil, err
		}
		if at.Status != 0 {
			shown.Response = &Response{Status: at.Status, Headers: viewHeader(at.Header), Body: at.Response}
		}
		out.AttemptLog = append(out.AttemptLog, shown)
	}
	if n := len(out.AttemptLog); n > 0 {
		out.LatestAttempt = &out.AttemptLog[n-1].AttemptSummary
	}
	return out, nil
}

// viewHeader reads the lines of a header.
func viewHeader(lines string) []Header {
	list := []Header{}
	for line := range strings.Lines(lines) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		list = append(list, Header{Name: name, Value: strings.TrimSpace(value)})
	}
	return list
}

// subscribed reports whether an endpoint gets an event.
func subscribed(event string, e *registry.Endpoint) bool {
	for _, name := range viewEvents(e) {
		if name == event {
			return true
		}
	}
	return false
}
