package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/clock"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/store"
)

// Errors that callers distinguish with errors.Is.
var (
	ErrNotFound = errors.New("registry: there is no such app or endpoint")
	// ErrReadOnly: the app belongs to the configuration file.
	ErrReadOnly = errors.New("registry: the app belongs to the configuration file")
	// ErrTaken: there is such an app, or such an endpoint of the app.
	ErrTaken = errors.New("registry: it is there already")
)

// InvalidError says what is wrong with the settings of an app or an endpoint;
// the keys of the problems are those of the configuration file.
type InvalidError struct{ Problems []config.Problem }

// Error gives the problems, one a line.
func (e *InvalidError) Error() string { return (&config.Problems{List: e.Problems}).Error() }

// Options configure a Registry.
type Options struct {
	Store store.Apps
	File  []config.App // checked
	Clock *clock.Clock // nil: the machine's
	// Changed, if set, is called after something may have been changed here
	// that other nodes need to know. It must not wait, nor use the Registry.
	Changed func()
	Logger  *slog.Logger // nil: no log
}

// Registry knows the apps. Its methods may be called concurrently; those that
// change something are carried out one by one.
type Registry struct {
	store store.Apps
	clock *clock.Clock
	log   *slog.Logger
	tell  func()                          // other nodes
	apps  atomic.Pointer[map[uint32]*App] // replaced, never changed
	hint  chan struct{}                   // a reload is due

	mu      sync.Mutex // of changes
	changed func()
	expiry  *time.Timer
	closed  bool
	warned  map[store.EndpointID]bool // as missing on another node
}

// Open tells the store which apps the file has, and reads the others.
func Open(ctx context.Context, o Options) (*Registry, error) {
	r := &Registry{store: o.Store, clock: o.Clock, log: o.Logger, tell: o.Changed, changed: func() {}, warned: make(map[store.EndpointID]bool), hint: make(chan struct{}, 1)}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.tell == nil {
		r.tell = func() {}
	}
	apps, err := r.syncFile(ctx, o.File)
	if err != nil {
		return nil, err
	}
	managed, err := r.store.ManagedApps(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the apps: %w", err)
	}
	for _, rec := range managed {
		if apps[rec.ID], err = fromRecord(rec); err != nil {
			return nil, err
		}
	}
	r.apps.Store(&apps)
	return r, nil
}

// Watch has changed called once now, then whenever the apps have changed, and
// until Close when a secret that was replaced no longer counts. Calls do not
// overlap. It is called once.
func (r *Registry) Watch(changed func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed = changed
	r.awaitExpiry()
	changed()
}

// Close stops waiting for secrets to run out.
func (r *Registry) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.expiry != nil {
		r.expiry.Stop()
	}
}

// syncFile brings the apps of the file into the store.
func (r *Registry) syncFile(ctx context.Context, file []config.App) (map[uint32]*App, error) {
	synced := make([]store.App, len(file))
	for i, app := range file {
		synced[i] = store.App{ID: app.ID, Name: app.Name}
		for _, ep := range app.Callbacks {
			synced[i].Endpoints = append(synced[i].Endpoints, ep.URL)
		}
	}
	ids, err := r.store.SyncApps(ctx, synced, call.At(r.clock.Now()))
	var taken *store.AppTakenError
	if errors.As(err, &taken) {
		return nil, fmt.Errorf("app %d of the configuration file has the ID of an app that was made at run time; give it another id", taken.ID)
	} else if err != nil {
		return nil, fmt.Errorf("recording the apps of the configuration file: %w", err)
	}
	known, err := r.store.ListEndpoints(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the endpoints: %w", err)
	}
	paused := make(map[store.EndpointID]bool)
	for _, e := range known {
		paused[e.ID] = e.Paused
	}
	apps := make(map[uint32]*App)
	for i, f := range file {
		app := &App{
			ID: f.ID, Name: f.Name, File: true, LoginPolicy: f.LoginPolicy, JoinPolicy: f.JoinPolicy,
			Secret: Secret{Current: f.Secret}, CallbackSecret: Secret{Current: f.Secret},
		}
		for j, ep := range f.Callbacks {
			app.Endpoints = append(app.Endpoints, Endpoint{ID: ids[i][j], Paused: paused[ids[i][j]], Endpoint: ep})
		}
		apps[app.ID] = app
	}
	return apps, nil
}

// App gives an app; false: there is none of that ID.
func (r *Registry) App(id uint32) (*App, bool) {
	app, ok := (*r.apps.Load())[id]
	return app, ok
}

// Apps lists the apps by ID.
func (r *Registry) Apps() []*App {
	apps := slices.Collect(maps.Values(*r.apps.Load()))
	slices.SortFunc(apps, func(a, b *App) int { return cmp.Compare(a.ID, b.ID) })
	return apps
}

// Endpoint gives an endpoint and its app; false: there is none.
func (r *Registry) Endpoint(id store.EndpointID) (*App, *Endpoint, bool) {
	for _, app := range *r.apps.Load() {
		if e := app.Endpoint(id); e != nil {
			return app, e, true
		}
	}
	return nil, nil, false
}

// put makes an app the current one of its ID; mu is held.
func (r *Registry) put(app *App) {
	apps := maps.Clone(*r.apps.Load())
	apps[app.ID] = app
	r.replace(apps)
}

// replace makes the apps those that are given; mu is held.
func (r *Registry) replace(apps map[uint32]*App) {
	r.apps.Store(&apps)
	r.awaitExpiry()
	r.changed()
}

// awaitExpiry waits for the next secret that no longer counts; mu is held.
func (r *Registry) awaitExpiry() {
	if r.expiry != nil {
		r.expiry.Stop()
	}
	now := r.clock.Now()
	next := call.Instant(0)
	for _, app := range *r.apps.Load() {
		for _, s := range []Secret{app.Secret, app.CallbackSecret} {
			if len(s.Active(now)) > 1 && (next == 0 || s.Until < next) {
				next = s.Until
			}
		}
	}
	if next == 0 || r.closed {
		return
	}
	r.expiry = time.AfterFunc(next.Time().Sub(now), func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.closed {
			r.awaitExpiry()
			r.changed()
		}
	})
}
