package adminapi

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/registry"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/webhook"
)

// EndpointInput names an endpoint.
type EndpointInput struct {
	Endpoint int64 `path:"endpoint"`
}

func (a *API) registerEndpoints() {
	tags := []string{"Endpoints"}
	huma.Register(a.huma, huma.Operation{
		OperationID: "create-endpoint", Method: http.MethodPost, Path: Path + "/apps/{app}/endpoints", Summary: "Give an app another endpoint",
		Tags: tags, DefaultStatus: http.StatusCreated, Errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict},
	}, func(ctx context.Context, in *struct {
		AppInput
		Body NewEndpoint
	},
	) (*output[Endpoint], error) {
		e := config.DefaultEndpoint()
		e.URL = in.Body.URL
		if err := in.Body.apply(&e); err != nil {
			return nil, err
		}
		app, made, err := a.Registry.AddEndpoint(ctx, in.App, e, by(ctx))
		if err != nil {
			return nil, a.fail(err, "endpoint or app")
		}
		return &output[Endpoint]{viewEndpoint(app, made, a.health(ctx))}, nil
	})

	huma.Register(a.huma, huma.Operation{
		OperationID: "get-endpoint", Method: http.MethodGet, Path: Path + "/endpoints/{endpoint}", Summary: "Show an endpoint", Tags: tags,
		Errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *EndpointInput) (*output[Endpoint], error) {
		app, e, ok := a.Registry.Endpoint(store.EndpointID(in.Endpoint))
		if !ok {
			return nil, a.fail(registry.ErrNotFound, "endpoint")
		}
		return &output[Endpoint]{viewEndpoint(app, e, a.health(ctx))}, nil
	})

	huma.Register(a.huma, huma.Operation{
		OperationID: "update-endpoint", Method: http.MethodPatch, Path: Path + "/endpoints/{endpoint}", Summary: "Change an endpoint",
		Description: "The URL cannot be changed, for an endpoint is known by it: make another one.",
		Tags:        tags, Errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict},
	}, func(ctx context.Context, in *struct {
		EndpointInput
		Body EndpointSettings
	},
	) (*output[Endpoint], error) {
		if err := in.Body.apply(new(config.Endpoint)); err != nil {
			return nil, err
		}
		app, e, err := a.Registry.UpdateEndpoint(ctx, store.EndpointID(in.Endpoint), func(e *config.Endpoint) {
			in.Body.apply(e) // it was tried
		}, by(ctx))
		if err != nil {
			return nil, a.fail(err, "endpoint")
		}
		return &output[Endpoint]{viewEndpoint(app, e, a.health(ctx))}, nil
	})

	huma.Register(a.huma, huma.Operation{
		OperationID: "delete-endpoint", Method: http.MethodDelete, Path: Path + "/endpoints/{endpoint}", Summary: "Take an endpoint away",
		Description: "What it is still due becomes failed.",
		Tags:        tags, Errors: []int{http.StatusNotFound, http.StatusConflict},
	}, func(ctx context.Context, in *EndpointInput) (*struct{}, error) {
		return nil, a.fail(a.Registry.RemoveEndpoint(ctx, store.EndpointID(in.Endpoint), by(ctx)), "endpoint")
	})

	for _, op := range []struct {
		name, summary, description string
		paused                     bool
	}{
		{"pause", "Pause an endpoint", "Its deliveries stay pending and use up no attempts, until it is resumed. This also works for endpoints of the configuration file.", true},
		{"resume", "Resume an endpoint", "What is pending is delivered, for each call in order.", false},
	} {
		huma.Register(a.huma, huma.Operation{
			OperationID: op.name + "-endpoint", Method: http.MethodPost, Path: Path + "/endpoints/{endpoint}/" + op.name,
			Summary: op.summary, Description: op.description, Tags: tags, Errors: []int{http.StatusNotFound},
		}, func(ctx context.Context, in *EndpointInput) (*output[Endpoint], error) {
			app, e, err := a.Registry.Pause(ctx, store.EndpointID(in.Endpoint), op.paused, by(ctx))
			if err != nil {
				return nil, a.fail(err, "endpoint")
			}
			return &output[Endpoint]{viewEndpoint(app, e, a.health(ctx))}, nil
		})
	}

	huma.Register(a.huma, huma.Operation{
		OperationID: "test-endpoint", Method: http.MethodPost, Path: Path + "/endpoints/{endpoint}/test", Summary: "Send an endpoint a synthetic callback",
		Description: "Really signed, through the real deliverer and into the log, whether or not the endpoint asks for that event. It carries Ringback-Test: true.",
		Tags:        tags, DefaultStatus: http.StatusAccepted, Errors: []int{http.StatusBadRequest, http.StatusNotFound},
	}, func(ctx context.Context, in *struct {
		EndpointInput
		Body *Trigger
	},
	) (*output[Triggered], error) {
		app, e, ok := a.Registry.Endpoint(store.EndpointID(in.Endpoint))
		if !ok {
			return nil, a.fail(registry.ErrNotFound, "endpoint")
		}
		out, err := a.trigger(ctx, app, in.Body, func(string, *registry.Endpoint) bool { return true }, e.ID)
		if err != nil {
			return nil, a.fail(err, "endpoint")
		}
		return &output[Triggered]{*out}, nil
	})
}

// apply sets what is given. Values are checked by the rules of the
// configuration, as far as they can be read.
func (s *EndpointSettings) apply(e *config.Endpoint) error {
	set(&e.Format, s.Format)
	set(&e.Events, s.Events)
	set(&e.Ordering, s.Ordering)
	set(&e.WhenDown, s.WhenDown)
	if s.Timeout != nil {
		d, err := duration("timeout", *s.Timeout)
		if err != nil {
			return err
		}
		e.Timeout = d
	}
	if s.Retry != nil {
		e.Retry = make([]time.Duration, len(*s.Retry))
		for i, text := range *s.Retry {
			d, err := duration(fmt.Sprintf("retry[%d]", i), text)
			if err != nil {
				return err
			}
			e.Retry[i] = d
		}
	}
	return nil
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func duration(name, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, huma.Error422UnprocessableEntity(fmt.Sprintf("%s is %.40q, which is not a duration; write one such as 5s", name, text))
	}
	return d, nil
}

// healths is the state of endpoints by ID.
type healths map[store.EndpointID]webhook.EndpointStats

func (a *API) health(ctx context.Context) healths {
	out := make(healths)
	for _, s := range a.Deliverer.Stats(ctx) {
		out[s.Endpoint] = s
	}
	return out
}

func viewEndpoint(app *registry.App, e *registry.Endpoint, health healths) Endpoint {
	out := Endpoint{
		ID: int64(e.ID), AppID: app.ID, Origin: origin(app), URL: e.URL, Format: e.Format, Events: e.Events,
		Timeout: e.Timeout.String(), Retry: make([]string, 0, len(e.Retry)), Ordering: e.Ordering, WhenDown: e.WhenDown,
		Paused: e.Paused, Health: viewHealth(health[e.ID], e.Paused),
	}
	if len(out.Events) == 0 {
		out.Events = config.DefaultEvents()
	}
	for _, d := range e.Retry {
		out.Retry = append(out.Retry, d.String())
	}
	return out
}

func viewHealth(s webhook.EndpointStats, paused bool) Health {
	h := Health{
		State: "ok", Backlog: s.Backlog, OldestPendingMS: int64(s.Oldest), InFlight: s.InFlight,
		LastSuccessMS: int64(s.LastSuccess), LastFailureMS: int64(s.LastFailure),
		ConsecutiveFailures: s.Failures, LastError: s.LastError,
	}
	switch {
	case paused:
		h.State = "paused"
	case s.Down:
		h.State = "down"
	case s.Failures > 0:
		h.State = "failing"
	case s.LastSuccess == call.Instant(0):
		h.State = "unused"
	}
	return h
}
