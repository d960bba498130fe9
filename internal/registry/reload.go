package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ringback/ringback/internal/store"
)

// Hint says that another node may have changed something: whoever runs
// [Registry.Follow] reloads soon. It does not wait.
func (r *Registry) Hint() {
	select {
	case r.hint <- struct{}{}:
	default: // it is due already
	}
}

// Follow reloads after each [Registry.Hint], and after a pause in case the news
// of another node's change got lost, until ctx ends. When it returns, no reload
// goes on.
func (r *Registry) Follow(ctx context.Context, pause time.Duration) {
	timer := time.NewTicker(pause)
	defer timer.Stop()
	for {
		select {
		case <-r.hint:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if err := r.Reload(ctx); err != nil && ctx.Err() == nil {
			r.log.Error("what other nodes have changed about apps could not be read; it is tried again", "err", err)
		}
	}
}

// Reload takes over what other nodes have changed in the store: apps that were
// made at run time, and which endpoints are paused. Whoever watches is told if
// anything has changed.
func (r *Registry) Reload(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	managed, err := r.store.ManagedApps(ctx)
	if err != nil {
		return fmt.Errorf("reading the apps: %w", err)
	}
	known, err := r.store.ListEndpoints(ctx)
	if err != nil {
		return fmt.Errorf("reading the endpoints: %w", err)
	}
	old := *r.apps.Load()
	apps := maps.Clone(old)
	for _, rec := range managed {
		if app := old[rec.ID]; app != nil && (app.File || app.is(rec)) {
			continue
		}
		if apps[rec.ID], err = fromRecord(rec); err != nil {
			return err
		}
	}
	records := make(map[store.EndpointID]*store.EndpointRecord, len(known))
	for i := range known {
		records[known[i].ID] = &known[i]
	}
	for _, app := range old {
		if app.File {
			apps[app.ID] = r.fileApp(app, records)
		}
	}
	if !maps.Equal(apps, old) {
		r.replace(apps)
	}
	return nil
}

// is reports whether a record says nothing new of an app.
func (a *App) is(rec store.ManagedApp) bool {
	return a.version == rec.Version && slices.EqualFunc(a.Endpoints, rec.Endpoints, func(e Endpoint, rec store.EndpointRecord) bool {
		return e.ID == rec.ID && e.Paused == rec.Paused
	})
}

// fileApp gives an app of the configuration file with its endpoints paused as
// they are stored. It warns of endpoints that the file of another node does not
// have: their deliveries have failed.
func (r *Registry) fileApp(app *App, records map[store.EndpointID]*store.EndpointRecord) *App {
	next := app
	for i := range app.Endpoints {
		e := &app.Endpoints[i]
		rec := records[e.ID]
		if rec == nil {
			continue
		}
		if rec.Removed && !r.warned[e.ID] {
			r.warned[e.ID] = true
			r.log.Warn("another node's configuration file lacks an endpoint of this one's, which gets no callbacks until all nodes are started with the same apps",
				"app_id", app.ID, "endpoint", int64(e.ID))
		}
		if rec.Paused != e.Paused {
			if next == app {
				next = app.clone()
			}
			next.Endpoints[i].Paused = rec.Paused
		}
	}
	return next
}
