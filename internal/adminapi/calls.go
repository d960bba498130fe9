package adminapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/timeline"
	"github.com/ringback/ringback/internal/trace"
)

// CallInput names a call.
type CallInput struct {
	Call string `path:"call" doc:"Its ID"`
}

func (a *API) registerCalls() {
	tags := []string{"Calls"}
	huma.Register(a.huma, huma.Operation{
		OperationID: "list-calls", Method: http.MethodGet, Path: Path + "/calls", Summary: "Search the calls, the newest first", Tags: tags,
		Errors: []int{http.StatusBadRequest},
	}, func(ctx context.Context, in *struct {
		App     uint32 `query:"app"`
		User    string `query:"user" doc:"Is or was part of it; needs app"`
		State   string `query:"state" enum:"live,ended"`
		Outcome string `query:"outcome" enum:"accepted,caller_cancel,caller_left,ended,max_duration,timeout,rejected"`
		From    string `query:"from" doc:"Created not before: Unix milliseconds, RFC 3339, or a duration before now, such as 2h"`
		Until   string `query:"until" doc:"Created before: as from"`
		PageInput
	},
	) (*output[Page[Call]], error) {
		if in.User != "" && in.App == 0 {
			return nil, huma.Error400BadRequest("a user is known within an app: give app as well")
		}
		q := store.CallQuery{
			App: in.App, User: call.UserID(in.User), Live: in.State == "live", Ended: in.State == "ended",
			Outcome: call.Outcome(in.Outcome), Limit: in.Limit,
		}
		var err error
		if q.From, err = a.parseTime("from", in.From); err != nil {
			return nil, err
		}
		if q.Until, err = a.parseTime("until", in.Until); err != nil {
			return nil, err
		}
		if q.After, err = decodeCursor[store.CallPlace]("calls", in.Cursor); err != nil {
			return nil, err
		}
		page, err := a.Store.SearchCalls(ctx, q)
		if err != nil {
			return nil, a.fail(err, "call")
		}
		out := Page[Call]{Items: make([]Call, 0, len(page.Calls)), Next: encodeCursor("calls", page.Next)}
		for _, c := range page.Calls {
			out.Items = append(out.Items, viewCall(c))
		}
		return &output[Page[Call]]{out}, nil
	})

	huma.Register(a.huma, huma.Operation{
		OperationID: "get-call", Method: http.MethodGet, Path: Path + "/calls/{call}", Summary: "Show a call and its story", Tags: tags,
		Description: "What happened, what was sent to which device and whether it was confirmed, the callbacks and their attempts; and for everybody whether it rang, and if not, why.",
		Errors:      []int{http.StatusBadRequest, http.StatusNotFound},
	}, func(ctx context.Context, in *CallInput) (*output[CallDetail], error) {
		id, err := parseCall(in.Call)
		if err != nil {
			return nil, err
		}
		r, err := a.record(ctx, id)
		if err != nil {
			return nil, a.fail(err, "call")
		}
		out := CallDetail{
			Call: viewCall(r.Call), ExtendedData: r.Call.ExtendedData,
			Verdicts: []Verdict{}, Timeline: []TimelineEntry{}, Deliveries: []Delivery{},
		}
		for _, v := range timeline.Verdicts(*r) {
			out.Verdicts = append(out.Verdicts, Verdict{UserID: string(v.User), Rang: string(v.Rang), Text: v.Text})
		}
		for _, e := range timeline.Build(*r) {
			out.Timeline = append(out.Timeline, viewEntry(e))
		}
		for _, d := range r.Deliveries {
			urls := map[store.EndpointID]string{d.Endpoint: d.URL}
			var latest *store.Attempt
			if n := len(d.Attempts); n > 0 {
				latest = &d.Attempts[n-1]
			}
			out.Deliveries = append(out.Deliveries, viewDelivery(d.Delivery, latest, urls))
		}
		return &output[CallDetail]{out}, nil
	})
}

// record reads everything that is known of a call. What follows from something
// else is read before it, so that a call which goes on meanwhile has no
// consequence without its cause.
func (a *API) record(ctx context.Context, id call.ID) (*timeline.Record, error) {
	a.FlushTraces(ctx)
	r := new(timeline.Record)
	parts, err := a.Store.TraceOf(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, part := range parts {
		entries, err := trace.Decode(part.Data)
		if err != nil {
			return nil, err
		}
		r.Trace = append(r.Trace, entries...)
	}
	deliveries, err := a.Store.DeliveriesOf(ctx, id)
	if err != nil {
		return nil, err
	}
	urls, err := a.urls(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range deliveries {
		attempts, err := a.Store.Attempts(ctx, d.Key())
		if err != nil {
			return nil, err
		}
		r.Deliveries = append(r.Deliveries, timeline.Delivery{Delivery: d, URL: urls[d.Endpoint], Attempts: attempts})
	}
	if r.Events, err = a.Store.EventsOf(ctx, id); err != nil {
		return nil, err
	}
	rec, err := a.Store.Call(ctx, id)
	if err != nil {
		return nil, err
	}
	r.Call = rec.Call
	return r, nil
}

func viewCall(c *call.Call) Call {
	out := Call{
		CallID: c.ID.String(), AppID: c.App, Mode: "general", State: "live", Outcome: string(c.Outcome()), Caller: string(c.Caller),
		Users: make([]CallUser, 0, len(c.Users)), CreatedAtMS: int64(c.CreatedAt), EndedAtMS: int64(c.EndedAt),
		AcceptedMS: int64(c.FirstAcceptAt), TimeoutS: c.Timeout, Version: c.Version,
	}
	if c.Mode == call.Advanced {
		out.Mode = "advanced"
	}
	if !c.Live() {
		out.State = "ended"
	}
	for i := range c.Users {
		u := &c.Users[i]
		out.Users = append(out.Users, CallUser{
			UserID: string(u.ID), State: strings.ReplaceAll(u.State.String(), " ", "_"), Inviter: string(u.Inviter),
			ExtendedData: u.ExtendedData, SessionID: string(u.Primary),
		})
	}
	return out
}

func viewEntry(e timeline.Entry) TimelineEntry {
	out := TimelineEntry{
		AtMS: int64(e.At), Lane: string(e.Lane), Name: e.Name, Text: e.Text, Bad: e.Bad, Version: e.Version,
		UserID: string(e.User), SessionID: string(e.Session), Attempt: e.Attempt,
	}
	if e.Event != 0 {
		out.EventID = e.Event.String()
	}
	if e.Endpoint != 0 {
		out.DeliveryID = deliveryID(e.Event, e.Endpoint)
	}
	return out
}
