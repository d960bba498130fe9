package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/registry"
)

// AppInput names an app.
type AppInput struct {
	App uint32 `path:"app"`
}

func (a *API) registerApps() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "list-apps", Method: http.MethodGet, Path: Path + "/apps", Summary: "List the apps", Tags: []string{"Apps"},
		Errors: []int{http.StatusBadRequest},
	}, func(ctx context.Context, in *PageInput) (*output[Page[App]], error) {
		after, err := decodeCursor[uint32]("apps", in.Cursor)
		if err != nil {
			return nil, err
		}
		out := Page[App]{Items: []App{}}
		health := a.health(ctx)
		for _, app := range a.Registry.Apps() {
			if app.ID <= after {
				continue
			}
			if len(out.Items) == in.Limit {
				out.Next = encodeCursor("apps", out.Items[in.Limit-1].ID)
				break
			}
			out.Items = append(out.Items, a.viewApp(app, health))
		}
		return &output[Page[App]]{out}, nil
	})

	huma.Register(a.huma, huma.Operation{
		OperationID: "create-app", Method: http.MethodPost, Path: Path + "/apps", Summary: "Make an app", Tags: []string{"Apps"},
		DefaultStatus: http.StatusCreated, Errors: []int{http.StatusBadRequest, http.StatusConflict},
	}, func(ctx context.Context, in *struct{ Body NewApp }) (*output[AppSecrets], error) {
		app, err := a.Registry.Create(ctx, registry.NewApp(in.Body), by(ctx))
		if err != nil {
			return nil, a.fail(err, "app")
		}
		return &output[AppSecrets]{AppSecrets{
			App: a.viewApp(app, nil), Secret: app.Secret.Current, CallbackSecret: app.CallbackSecret.Current,
		}}, nil
	})

	huma.Register(a.huma, huma.Operation{
		OperationID: "get-app", Method: http.MethodGet, Path: Path + "/apps/{app}", Summary: "Show an app", Tags: []string{"Apps"},
		Errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *AppInput) (*output[App], error) {
		app, ok := a.Registry.App(in.App)
		if !ok {
			return nil, a.fail(registry.ErrNotFound, "app")
		}
		return &output[App]{a.viewApp(app, a.health(ctx))}, nil
	})

	huma.Register(a.huma, huma.Operation{
		OperationID: "update-app", Method: http.MethodPatch, Path: Path + "/apps/{app}", Summary: "Change an app", Tags: []string{"Apps"},
		Errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict},
	}, func(ctx context.Context, in *struct {
		AppInput
		Body AppChange
	},
	) (*output[App], error) {
		app, err := a.Registry.Update(ctx, in.App, registry.AppChange(in.Body), by(ctx))
		if err != nil {
			return nil, a.fail(err, "app")
		}
		return &output[App]{a.viewApp(app, a.health(ctx))}, nil
	})

	huma.Register(a.huma, huma.Operation{
		OperationID: "rotate-secret", Method: http.MethodPost, Path: Path + "/apps/{app}/rotate", Summary: "Replace a secret of an app",
		Description: "The secret before counts too until the overlap ends: login tokens and server API requests are accepted with both; " +
			"callbacks carry one webhook-signature for each, and the signature in their body stays that of the old one until then.",
		Tags: []string{"Apps"}, Errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict},
	}, func(ctx context.Context, in *struct {
		AppInput
		Body Rotation
	},
	) (*output[Rotated], error) {
		overlap, err := time.ParseDuration(in.Body.Overlap)
		if err != nil {
			return nil, huma.Error422UnprocessableEntity("overlap is not a duration; write one such as 24h")
		}
		which := registry.Which(in.Body.Secret)
		app, err := a.Registry.Rotate(ctx, in.App, which, overlap, by(ctx))
		if err != nil {
			return nil, a.fail(err, "app")
		}
		secret := app.Secret
		if which == registry.CallbackSecret {
			secret = app.CallbackSecret
		}
		return &output[Rotated]{Rotated{Secret: secret.Current, OverlapUntilMS: int64(secret.Until)}}, nil
	})
}

func (a *API) viewApp(app *registry.App, health healths) App {
	now := a.Clock.Now()
	out := App{
		ID: app.ID, Name: app.Name, Origin: origin(app), LoginPolicy: app.LoginPolicy, JoinPolicy: app.JoinPolicy,
		CreatedAtMS: int64(app.CreatedAt), Endpoints: make([]Endpoint, 0, len(app.Endpoints)),
		SecretOverlapUntilMS: overlap(app.Secret, now), CallbackSecretOverlapUntilMS: overlap(app.CallbackSecret, now),
	}
	for i := range app.Endpoints {
		out.Endpoints = append(out.Endpoints, viewEndpoint(app, &app.Endpoints[i], health))
	}
	return out
}

func origin(app *registry.App) string {
	if app.File {
		return "file"
	}
	return "admin"
}

// overlap is until when the secret before counts; 0: it does not.
func overlap(s registry.Secret, now time.Time) int64 {
	if s.Previous == "" || s.Until <= call.At(now) {
		return 0
	}
	return int64(s.Until)
}
