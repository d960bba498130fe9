package registry

import (
	"bytes"
	"log/slog"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/sqlite"
)

var who = By{Actor: "admin", Remote: "192.0.2.7"}

// fixture is a registry on a real store, which can be opened again.
type fixture struct {
	t    *testing.T
	dir  string
	file []config.App
	db   *sqlite.Store
	*Registry
}

func newFixture(t *testing.T, file ...config.App) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir(), file: file}
	f.open()
	t.Cleanup(f.close)
	return f
}

func (f *fixture) open() {
	f.t.Helper()
	db, err := sqlite.Open(f.t.Context(), sqlite.Options{Dir: f.dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.t.Fatal(err)
	}
	f.db = db
	if f.Registry, err = Open(f.t.Context(), Options{Store: db, File: f.file}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) close() {
	f.Close()
	if err := f.db.Close(); err != nil {
		f.t.Error(err)
	}
}

func (f *fixture) reopen() {
	f.t.Helper()
	f.close()
	f.open()
}

// create makes an app.
func (f *fixture) create(in NewApp) *App {
	f.t.Helper()
	app, err := f.Create(f.t.Context(), in, who)
	if err != nil {
		f.t.Fatal(err)
	}
	return app
}

// add gives an app an endpoint.
func (f *fixture) add(app uint32, e config.Endpoint) *Endpoint {
	f.t.Helper()
	_, made, err := f.AddEndpoint(f.t.Context(), app, e, who)
	if err != nil {
		f.t.Fatal(err)
	}
	return made
}

// app reads an app that must be there.
func (f *fixture) app(id uint32) *App {
	f.t.Helper()
	app, ok := f.App(id)
	if !ok {
		f.t.Fatalf("there is no app %d", id)
	}
	return app
}

// audit lists the whole audit log, the newest first.
func (f *fixture) audit() []store.Audit {
	f.t.Helper()
	log, err := f.db.AuditLog(f.t.Context(), 0, 1000)
	if err != nil {
		f.t.Fatal(err)
	}
	return log
}

// hides reports whether none of the secrets of the apps is in the audit log.
func (f *fixture) hides(secrets ...string) {
	f.t.Helper()
	for _, app := range f.Apps() {
		secrets = append(secrets, app.Secret.Current, app.Secret.Previous, app.CallbackSecret.Current, app.CallbackSecret.Previous)
	}
	for _, entry := range f.audit() {
		if entry.Actor != who.Actor || entry.Remote != who.Remote || entry.At == 0 {
			f.t.Errorf("the entry does not say who did it and when: %+v", entry)
		}
		for _, secret := range slices.Compact(slices.Sorted(slices.Values(secrets))) {
			if secret != "" && bytes.Contains(entry.Details, []byte(secret)) {
				f.t.Errorf("%s has a secret: %s", entry.Action, entry.Details)
			}
		}
	}
}

// fileApp is an app of a configuration file.
func fileApp(id uint32, urls ...string) config.App {
	app := config.DefaultApp()
	app.ID, app.Name, app.Secret = id, "from the file", "0123456789abcdef0123456789abcdef"
	for _, url := range urls {
		app.Callbacks = append(app.Callbacks, endpointOf(url))
	}
	return app
}

func endpointOf(url string) config.Endpoint {
	e := config.DefaultEndpoint()
	e.URL = url
	return e
}

// same compares apps, of which a list that is empty may also be absent.
func same(a, b *App) bool {
	plain := func(app *App) *App {
		next := app.clone()
		for i := range next.Endpoints {
			e := &next.Endpoints[i]
			e.Events, e.Retry = append([]string{}, e.Events...), append([]time.Duration{}, e.Retry...)
		}
		next.Endpoints = append([]Endpoint{}, next.Endpoints...)
		return next
	}
	return reflect.DeepEqual(plain(a), plain(b))
}
