package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/clock"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/store"
)

// MaxOverlap is how long a secret that was replaced may count at most.
const MaxOverlap = 30 * 24 * time.Hour

// firstID is the lowest ID of an app that does not ask for one, so that the
// small numbers stay free for configuration files.
const firstID = 1000

// maxConflicts is how often a change is tried.
const maxConflicts = 5

// By is who changes something, for the audit log.
type By struct {
	Actor  string       // such as "admin"
	Remote string       // from which address
	Clock  *clock.Clock // nil: the machine's
}

// Audit makes an entry of the audit log; its details must encode to a JSON object
// without secrets.
func (b By) Audit(action, target string, what any) *store.Audit {
	return &store.Audit{At: call.At(b.Clock.Now()), Actor: b.Actor, Remote: b.Remote, Action: action, Target: target, Details: details(what)}
}

func details(what any) []byte {
	data, err := json.Marshal(what)
	if err != nil {
		return []byte("{}")
	}
	return data
}

// NewApp is what can be said of an app that is to be made; see config.App for
// the bounds. Empty policies are the defaults.
type NewApp struct {
	ID          uint32 `json:"id,omitempty"` // 0: any
	Name        string `json:"name,omitempty"`
	LoginPolicy string `json:"login_policy,omitempty"`
	JoinPolicy  string `json:"join_policy,omitempty"`
}

// Create makes an app with new secrets. Errors: *InvalidError, ErrTaken.
func (r *Registry) Create(ctx context.Context, in NewApp, by By) (*App, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defaults := config.DefaultApp()
	app := &App{
		ID: in.ID, Name: in.Name, CreatedAt: call.At(r.clock.Now()),
		LoginPolicy: cmp.Or(in.LoginPolicy, defaults.LoginPolicy), JoinPolicy: cmp.Or(in.JoinPolicy, defaults.JoinPolicy),
		Secret: Secret{Current: newSecret()}, CallbackSecret: Secret{Current: newSecret()},
	}
	return retry(func() (*App, error) { // another node may have made one of that ID
		next := app.clone()
		if next.ID == 0 {
			next.ID = r.freeID()
		}
		if _, taken := r.App(next.ID); taken {
			return nil, fmt.Errorf("app %d: %w", next.ID, ErrTaken)
		}
		return r.commit(ctx, next, by.Audit("app.create", appTarget(next.ID), in))
	})
}

// freeID gives the lowest ID from firstID on that is free.
func (r *Registry) freeID() uint32 {
	for id := uint32(firstID); ; id++ {
		if _, taken := r.App(id); !taken {
			return id
		}
	}
}

// AppChange says what is to change about an app; what is nil stays.
type AppChange struct {
	Name        *string `json:"name,omitempty"`
	LoginPolicy *string `json:"login_policy,omitempty"`
	JoinPolicy  *string `json:"join_policy,omitempty"`
}

// Update changes an app. Errors: ErrNotFound, ErrReadOnly, *InvalidError.
func (r *Registry) Update(ctx context.Context, id uint32, c AppChange, by By) (*App, error) {
	return r.change(ctx, id, by.Audit("app.update", appTarget(id), c), func(app *App) error {
		set(&app.Name, c.Name)
		set(&app.LoginPolicy, c.LoginPolicy)
		set(&app.JoinPolicy, c.JoinPolicy)
		return nil
	})
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// Rotate replaces a secret of an app. The one before counts for the overlap,
// from 0 to MaxOverlap; one that was replaced earlier no longer does. Errors
// as of Update.
func (r *Registry) Rotate(ctx context.Context, id uint32, which Which, overlap time.Duration, by By) (*App, error) {
	audit := by.Audit("app.rotate_secret", appTarget(id), map[string]string{"secret": string(which), "overlap": overlap.String()})
	return r.change(ctx, id, audit, func(app *App) error {
		var secret *Secret
		switch which {
		case AppSecret:
			secret = &app.Secret
		case CallbackSecret:
			secret = &app.CallbackSecret
		default:
			return invalid("secret", "is %q; it must be app or callback", string(which))
		}
		if overlap < 0 || overlap > MaxOverlap {
			return invalid("overlap", "is %v; it must be from 0s to %v", overlap, MaxOverlap)
		}
		*secret = Secret{Current: newSecret(), Previous: secret.Current, Until: call.At(r.clock.Now().Add(overlap))}
		if overlap == 0 {
			secret.Previous, secret.Until = "", 0
		}
		return nil
	})
}

// AddEndpoint gives an app another endpoint. Errors as of Update, and ErrTaken.
func (r *Registry) AddEndpoint(ctx context.Context, id uint32, e config.Endpoint, by By) (*App, *Endpoint, error) {
	app, err := r.change(ctx, id, by.Audit("endpoint.create", appTarget(id), loggable(&e)), func(app *App) error {
		if slices.ContainsFunc(app.Endpoints, func(other Endpoint) bool { return other.URL == e.URL }) {
			return fmt.Errorf("an endpoint of app %d with that URL: %w", id, ErrTaken)
		}
		app.Endpoints = append(app.Endpoints, Endpoint{Endpoint: e})
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(app.Endpoints, func(other Endpoint) bool { return other.URL == e.URL })
	return app, &app.Endpoints[i], nil
}

// UpdateEndpoint changes the settings of an endpoint, but not its URL, by
// which it is known. Errors as of Update.
func (r *Registry) UpdateEndpoint(ctx context.Context, id store.EndpointID, change func(*config.Endpoint), by By) (*App, *Endpoint, error) {
	owner, _, ok := r.Endpoint(id)
	if !ok {
		return nil, nil, ErrNotFound
	}
	audit := by.Audit("endpoint.update", endpointTarget(id), nil)
	app, err := r.change(ctx, owner.ID, audit, func(app *App) error {
		e := app.Endpoint(id)
		if e == nil {
			return ErrNotFound
		}
		url := e.URL
		change(&e.Endpoint)
		e.URL = url
		audit.Details = details(loggable(&e.Endpoint))
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return app, app.Endpoint(id), nil
}

// RemoveEndpoint takes an endpoint away; what it is still due becomes failed.
// Errors as of Update.
func (r *Registry) RemoveEndpoint(ctx context.Context, id store.EndpointID, by By) error {
	owner, e, ok := r.Endpoint(id)
	if !ok {
		return ErrNotFound
	}
	_, err := r.change(ctx, owner.ID, by.Audit("endpoint.delete", endpointTarget(id), loggable(&e.Endpoint)), func(app *App) error {
		app.Endpoints = slices.DeleteFunc(app.Endpoints, func(e Endpoint) bool { return e.ID == id })
		return nil
	})
	return err
}

// Pause stops or resumes the deliveries of an endpoint, also of one of the
// configuration file: it says nothing about what the endpoint is. Errors:
// ErrNotFound.
func (r *Registry) Pause(ctx context.Context, id store.EndpointID, paused bool, by By) (*App, *Endpoint, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	owner, _, ok := r.Endpoint(id)
	if !ok {
		return nil, nil, ErrNotFound
	}
	action := "endpoint.resume"
	if paused {
		action = "endpoint.pause"
	}
	if err := r.store.PauseEndpoint(ctx, id, paused, by.Audit(action, endpointTarget(id), struct{}{})); err != nil {
		return nil, nil, fmt.Errorf("pausing endpoint %d: %w", id, err)
	}
	app := owner.clone()
	app.Endpoint(id).Paused = paused
	r.put(app)
	r.tell()
	return app, app.Endpoint(id), nil
}

// change applies a change to a copy of an app, checks the result and makes it
// the current one. It is applied again when another node was faster.
func (r *Registry) change(ctx context.Context, id uint32, audit *store.Audit, apply func(*App) error) (*App, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return retry(func() (*App, error) {
		app, ok := r.App(id)
		switch {
		case !ok:
			return nil, ErrNotFound
		case app.File:
			return nil, ErrReadOnly
		}
		next := app.clone()
		if err := apply(next); err != nil {
			return nil, err
		}
		return r.commit(ctx, next, audit)
	})
}

// retry commits again what came upon something that another node has written
// and that was not known here.
func retry(commit func() (*App, error)) (app *App, err error) {
	for range maxConflicts {
		if app, err = commit(); !errors.Is(err, store.ErrConflict) {
			return app, err
		}
	}
	return app, err
}

// commit checks an app, writes it as its next version and makes it the current
// one; mu is held.
func (r *Registry) commit(ctx context.Context, app *App, audit *store.Audit) (*App, error) {
	if problems := app.check(); len(problems) > 0 {
		return nil, &InvalidError{problems}
	}
	prior := app.version
	app.version++
	rec, err := app.record()
	if err != nil {
		return nil, err
	}
	c := &store.AppCommit{ManagedApp: rec, Prior: prior, Audit: audit}
	err = r.store.CommitApp(ctx, c)
	var taken *store.AppTakenError
	switch {
	case errors.As(err, &taken):
		return nil, fmt.Errorf("app %d: %w", app.ID, ErrTaken)
	case errors.Is(err, store.ErrUnknown), errors.Is(err, store.ErrConflict):
		// What is stored may not be what is known here.
		r.tell()
		return nil, errors.Join(fmt.Errorf("writing app %d: %w", app.ID, err), r.reread(ctx, app.ID))
	case err != nil:
		return nil, fmt.Errorf("writing app %d: %w", app.ID, err)
	}
	for i := range app.Endpoints {
		app.Endpoints[i].ID, app.Endpoints[i].Paused = c.Endpoints[i].ID, c.Endpoints[i].Paused
	}
	slices.SortFunc(app.Endpoints, func(a, b Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	r.put(app)
	r.tell()
	return app, nil
}

// reread makes the stored form of an app the current one; mu is held.
func (r *Registry) reread(ctx context.Context, id uint32) error {
	managed, err := r.store.ManagedApps(context.WithoutCancel(ctx))
	if err != nil {
		return fmt.Errorf("reading the apps: %w", err)
	}
	for _, rec := range managed {
		if rec.ID != id {
			continue
		}
		app, err := fromRecord(rec)
		if err != nil {
			return err
		}
		r.put(app)
	}
	return nil
}

// check holds an app against the rules of the configuration.
func (a *App) check() []config.Problem {
	c := config.App{ID: a.ID, Name: a.Name, Secret: a.Secret.Current, LoginPolicy: a.LoginPolicy, JoinPolicy: a.JoinPolicy}
	problems := c.Check()
	for i := range a.Endpoints {
		e := &a.Endpoints[i].Endpoint
		problems = append(problems, e.Check()...)
		if e.Secret != "" {
			problems = append(problems, config.Problem{Key: "secret", Message: "cannot be given to one endpoint here; the callback secret of the app signs"})
		}
	}
	return problems
}

func invalid(key, format string, args ...any) error {
	return &InvalidError{[]config.Problem{{Key: key, Message: fmt.Sprintf(format, args...)}}}
}

func appTarget(id uint32) string { return "app " + strconv.FormatUint(uint64(id), 10) }

func endpointTarget(id store.EndpointID) string {
	return "endpoint " + strconv.FormatInt(int64(id), 10)
}

// loggable gives what the audit log keeps of an endpoint: everything but its
// secret and what its URL has beyond host and path.
func loggable(e *config.Endpoint) map[string]any {
	shown := ""
	if u, err := url.Parse(e.URL); err == nil {
		shown = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	}
	retry := make([]string, len(e.Retry))
	for i, d := range e.Retry {
		retry[i] = d.String()
	}
	return map[string]any{
		"url": shown, "format": e.Format, "events": e.Events, "timeout": e.Timeout.String(), "retry": retry,
		"ordering": e.Ordering, "when_down": e.WhenDown,
	}
}
