package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/sqlite"
)

func TestAppsOfTheFileAreReadOnly(t *testing.T) {
	f := newFixture(t, fileApp(7, "https://a.example/"))
	endpoint := f.app(7).Endpoints[0].ID
	ctx, name := t.Context(), "other"
	for what, change := range map[string]func() error{
		"update": func() error { _, err := f.Update(ctx, 7, AppChange{Name: &name}, who); return err },
		"rotate": func() error { _, err := f.Rotate(ctx, 7, AppSecret, time.Hour, who); return err },
		"add":    func() error { _, _, err := f.AddEndpoint(ctx, 7, endpointOf("https://b.example/"), who); return err },
		"update an endpoint": func() error {
			_, _, err := f.UpdateEndpoint(ctx, endpoint, func(e *config.Endpoint) { e.Format = "form" }, who)
			return err
		},
		"remove": func() error { return f.RemoveEndpoint(ctx, endpoint, who) },
	} {
		if err := change(); !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v", what, err)
		}
	}
	app := f.app(7)
	if app.Name != "from the file" || !app.File || app.Secret.Previous != "" || len(app.Endpoints) != 1 || app.Endpoints[0].Format != "json" {
		t.Errorf("the app has changed: %+v", app)
	}
	if log := f.audit(); len(log) != 0 {
		t.Errorf("what did not happen is in the audit log: %+v", log)
	}
}

func TestIDsConflict(t *testing.T) {
	f := newFixture(t, fileApp(7), fileApp(1000))
	if _, err := f.Create(t.Context(), NewApp{ID: 7}, who); !errors.Is(err, ErrTaken) {
		t.Errorf("an ID of the file: %v", err)
	}
	first, second := f.create(NewApp{}), f.create(NewApp{ID: 8})
	if first.ID != 1001 || second.ID != 8 {
		t.Errorf("the IDs are %d and %d", first.ID, second.ID)
	}
	if _, err := f.Create(t.Context(), NewApp{ID: 8}, who); !errors.Is(err, ErrTaken) {
		t.Errorf("an ID that is used: %v", err)
	}
	f.Close()
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: f.dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), Options{Store: db, File: []config.App{fileApp(7), fileApp(8)}})
	if err == nil || !strings.Contains(err.Error(), "app 8 of the configuration file") || !strings.Contains(err.Error(), "another id") {
		t.Errorf("a file with the ID of an app that was made: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	f.open()
	if apps := f.Apps(); len(apps) != 4 || f.app(8).File {
		t.Errorf("afterwards there are %+v", apps)
	}
}

// TestCreate: a new app has two secrets that differ, and defaults.
func TestCreate(t *testing.T) {
	f := newFixture(t)
	app := f.create(NewApp{Name: "Shop"})
	if app.Name != "Shop" || app.LoginPolicy != "single" || app.JoinPolicy != "anyone" || app.File || app.CreatedAt == 0 {
		t.Errorf("the app is %+v", app)
	}
	if a, b := app.Secret.Current, app.CallbackSecret.Current; len(a) != config.SecretLen || len(b) != config.SecretLen || a == b {
		t.Errorf("the secrets have %d and %d characters, and are the same: %t", len(a), len(b), a == b)
	}
	name, policy := "", "multi"
	changed, err := f.Update(t.Context(), app.ID, AppChange{Name: &name, LoginPolicy: &policy}, who)
	if err != nil || changed.Name != "" || changed.LoginPolicy != "multi" || changed.JoinPolicy != "anyone" {
		t.Errorf("after an update: %+v, %v", changed, err)
	}
	if app.Name != "Shop" {
		t.Error("an app that somebody holds was changed under his hands")
	}
	f.reopen()
	if got := f.app(app.ID); !same(got, changed) {
		t.Errorf("after opening it again: %+v, want %+v", got, changed)
	}
}

// TestRoundTrip: everything about an app is as it was after opening again.
func TestRoundTrip(t *testing.T) {
	f := newFixture(t)
	id := f.create(NewApp{ID: 42, Name: `"Ünï" <&>`, LoginPolicy: "dual", JoinPolicy: "invited"}).ID
	f.add(id, config.Endpoint{
		URL: "https://b.example/?k=v", Format: "form", Events: []string{"user_action", "call_end"}, Timeout: 1500*time.Millisecond + 250*time.Microsecond,
		Retry: []time.Duration{500 * time.Microsecond, 90 * time.Minute}, Ordering: "strict", WhenDown: "hold",
	})
	once := endpointOf("https://a.example/")
	once.Retry = []time.Duration{}
	f.add(id, once)
	if _, err := f.Rotate(t.Context(), id, CallbackSecret, time.Hour, who); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Pause(t.Context(), f.app(id).Endpoints[0].ID, true, who); err != nil {
		t.Fatal(err)
	}
	want := f.app(id)
	f.reopen()
	got := f.app(id)
	if !same(got, want) {
		t.Errorf("after opening it again:\n%+v, want\n%+v", got, want)
	}
	if got.Endpoints[1].Retry == nil {
		t.Error("an endpoint without retries has none, which is not the default")
	}
	name := "later"
	if _, err := f.Update(t.Context(), id, AppChange{Name: &name}, who); err != nil {
		t.Errorf("a change after opening again: %v", err)
	}
}

func TestEndpoints(t *testing.T) {
	f := newFixture(t)
	ctx, id := t.Context(), f.create(NewApp{}).ID
	a, b := f.add(id, endpointOf("https://a.example/")), f.add(id, endpointOf("https://b.example/"))
	if a.ID == 0 || b.ID == 0 || a.ID == b.ID || a.URL != "https://a.example/" || b.URL != "https://b.example/" {
		t.Fatalf("the endpoints are %+v and %+v", a, b)
	}
	if _, _, err := f.AddEndpoint(ctx, id, endpointOf("https://a.example/"), who); !errors.Is(err, ErrTaken) {
		t.Errorf("the same URL again: %v", err)
	}
	_, changed, err := f.UpdateEndpoint(ctx, a.ID, func(e *config.Endpoint) {
		e.URL, e.Events, e.WhenDown = "https://c.example/", []string{"call_end"}, "hold"
	}, who)
	if err != nil || changed.URL != a.URL || changed.ID != a.ID || !slices.Equal(changed.Events, []string{"call_end"}) || changed.WhenDown != "hold" {
		t.Errorf("after an update: %+v, %v", changed, err)
	}
	if len(a.Events) != 0 {
		t.Error("an endpoint that somebody holds was changed under his hands")
	}
	if _, _, err := f.Pause(ctx, a.ID, true, who); err != nil {
		t.Fatal(err)
	}
	if err := f.RemoveEndpoint(ctx, a.ID, who); err != nil {
		t.Fatal(err)
	}
	if _, _, there := f.Endpoint(a.ID); there || len(f.app(id).Endpoints) != 1 {
		t.Error("the endpoint is still there")
	}
	for what, err := range map[string]error{
		"removing": f.RemoveEndpoint(ctx, a.ID, who),
		"pausing":  second(f.Pause(ctx, a.ID, true, who)),
		"updating": second(f.UpdateEndpoint(ctx, a.ID, func(*config.Endpoint) {}, who)),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s one that was removed: %v", what, err)
		}
	}
	again := f.add(id, endpointOf("https://a.example/"))
	if again.ID != a.ID || again.Paused || len(again.Events) != 0 || again.WhenDown != "retry" {
		t.Errorf("it comes back as %+v", again)
	}
	app, e, there := f.Endpoint(b.ID)
	if !there || app.ID != id || e.URL != b.URL {
		t.Errorf("the other endpoint is %+v of %+v", e, app)
	}
	if list := f.app(id).Endpoints; list[0].ID != a.ID || list[1].ID != b.ID {
		t.Errorf("the endpoints are not in the order of their IDs: %+v", list)
	}
}

func second(_ *App, _ *Endpoint, err error) error { return err }

// TestPause: a pause outlives a restart, also of an endpoint of the file.
func TestPause(t *testing.T) {
	f := newFixture(t, fileApp(7, "https://a.example/", "https://b.example/"))
	own := f.add(f.create(NewApp{}).ID, endpointOf("https://a.example/"))
	ofFile := f.app(7).Endpoints[1]
	set := func(paused bool) {
		t.Helper()
		for _, id := range []Endpoint{*own, ofFile} {
			if _, e, err := f.Pause(t.Context(), id.ID, paused, who); err != nil || e.Paused != paused {
				t.Fatalf("%+v, %v", e, err)
			}
		}
	}
	check := func(paused bool) {
		t.Helper()
		for _, id := range []Endpoint{*own, ofFile} {
			if _, e, ok := f.Endpoint(id.ID); !ok || e.Paused != paused {
				t.Errorf("endpoint %d: %+v", id.ID, e)
			}
		}
		if f.app(7).Endpoints[0].Paused {
			t.Error("another endpoint is paused")
		}
	}
	set(true)
	check(true)
	f.reopen()
	check(true)
	set(false)
	f.reopen()
	check(false)
	if log := f.audit(); log[0].Action != "endpoint.resume" || log[3].Action != "endpoint.pause" || log[0].Target != fmt.Sprintf("endpoint %d", ofFile.ID) {
		t.Errorf("the audit log: %+v", log)
	}
}

func TestInvalid(t *testing.T) {
	f := newFixture(t)
	ctx, id := t.Context(), f.create(NewApp{}).ID
	endpoint := f.add(id, endpointOf("https://a.example/")).ID
	text := func(s string) *string { return &s }
	update := func(change func(*config.Endpoint)) error { return second(f.UpdateEndpoint(ctx, endpoint, change, who)) }
	entries := len(f.audit())
	for key, change := range map[string]func() error{
		"name": func() error {
			_, err := f.Create(ctx, NewApp{Name: strings.Repeat("n", config.MaxName+1)}, who)
			return err
		},
		"login_policy": func() error { _, err := f.Update(ctx, id, AppChange{LoginPolicy: text("any")}, who); return err },
		"join_policy":  func() error { _, err := f.Update(ctx, id, AppChange{JoinPolicy: text("")}, who); return err },
		"secret":       func() error { _, err := f.Rotate(ctx, id, "other", time.Hour, who); return err },
		"overlap":      func() error { _, err := f.Rotate(ctx, id, AppSecret, MaxOverlap+1, who); return err },
		"url":          func() error { return second(f.AddEndpoint(ctx, id, endpointOf("ftp://a.example/"), who)) },
		"format":       func() error { return update(func(e *config.Endpoint) { e.Format = "xml" }) },
		"events[1]":    func() error { return update(func(e *config.Endpoint) { e.Events = []string{"call_end", "call_ends"} }) },
		"timeout":      func() error { return update(func(e *config.Endpoint) { e.Timeout = time.Hour }) },
		"retry[0]":     func() error { return update(func(e *config.Endpoint) { e.Retry = []time.Duration{0} }) },
		"ordering":     func() error { return update(func(e *config.Endpoint) { e.Ordering = "loose" }) },
		"when_down":    func() error { return update(func(e *config.Endpoint) { e.WhenDown = "" }) },
	} {
		var invalid *InvalidError
		if err := change(); !errors.As(err, &invalid) || len(invalid.Problems) != 1 || invalid.Problems[0].Key != key || invalid.Problems[0].Message == "" {
			t.Errorf("%s: %v", key, err)
		}
	}
	own := endpointOf("https://b.example/")
	own.Secret = "of the endpoint"
	var invalid *InvalidError
	if err := second(f.AddEndpoint(ctx, id, own, who)); !errors.As(err, &invalid) || invalid.Problems[0].Key != "secret" || strings.Contains(err.Error(), own.Secret) {
		t.Errorf("a secret that would not be kept: %v", err)
	}
	if _, err := f.Rotate(ctx, id, AppSecret, -1, who); !errors.As(err, &invalid) {
		t.Errorf("an overlap below 0: %v", err)
	}
	if _, err := f.Update(ctx, 99, AppChange{}, who); !errors.Is(err, ErrNotFound) {
		t.Errorf("an app that is not there: %v", err)
	}
	if len(f.Apps()) != 1 || len(f.audit()) != entries {
		t.Errorf("something was changed: %v, %v", f.Apps(), f.audit())
	}
}

func TestAudit(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	made := f.create(NewApp{Name: "Shop"})
	name := "Store"
	f.Update(ctx, made.ID, AppChange{Name: &name}, who)
	f.Rotate(ctx, made.ID, AppSecret, time.Hour, who)
	f.Rotate(ctx, made.ID, CallbackSecret, 0, who)
	e := f.add(made.ID, endpointOf("https://a.example/hook?key=hunter2"))
	f.UpdateEndpoint(ctx, e.ID, func(e *config.Endpoint) { e.Format = "form" }, who)
	f.Pause(ctx, e.ID, true, who)
	f.RemoveEndpoint(ctx, e.ID, who)
	var got []string
	for _, entry := range slices.Backward(f.audit()) {
		got = append(got, entry.Action+" "+entry.Target+" "+string(entry.Details))
	}
	settings := func(format string) string {
		return `{"events":null,"format":"` + format + `","ordering":"first_attempt","retry":["2s","4s","8s","16s","32s"],"timeout":"5s","url":"https://a.example/hook","when_down":"retry"}`
	}
	want := []string{
		`app.create app 1000 {"name":"Shop"}`,
		`app.update app 1000 {"name":"Store"}`,
		`app.rotate_secret app 1000 {"overlap":"1h0m0s","secret":"app"}`,
		`app.rotate_secret app 1000 {"overlap":"0s","secret":"callback"}`,
		`endpoint.create app 1000 ` + settings("json"),
		fmt.Sprintf(`endpoint.update endpoint %d %s`, e.ID, settings("form")),
		fmt.Sprintf(`endpoint.pause endpoint %d {}`, e.ID),
		fmt.Sprintf(`endpoint.delete endpoint %d %s`, e.ID, settings("form")),
	}
	if !slices.Equal(got, want) {
		t.Errorf("the audit log:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	f.hides(made.Secret.Current, made.CallbackSecret.Current, "hunter2")
}

// TestConcurrentChanges: nobody's change is lost, and what is in memory is
// what is stored.
func TestConcurrentChanges(t *testing.T) {
	f := newFixture(t)
	ctx, id := t.Context(), f.create(NewApp{}).ID
	shared := f.add(id, endpointOf("https://shared.example/")).ID
	const workers = 16
	var wg sync.WaitGroup
	for n := range workers {
		wg.Go(func() {
			f.add(id, endpointOf(fmt.Sprintf("https://%d.example/", n)))
			if err := second(f.UpdateEndpoint(ctx, shared, func(e *config.Endpoint) {
				e.Retry = append(slices.Clone(e.Retry), time.Duration(n+1)*time.Minute)
			}, who)); err != nil {
				t.Error(err)
			}
			if _, err := f.Rotate(ctx, id, AppSecret, time.Hour, who); err != nil {
				t.Error(err)
			}
			f.create(NewApp{})
		})
	}
	wg.Wait()
	app := f.app(id)
	if len(app.Endpoints) != workers+1 || len(app.Endpoint(shared).Retry) != workers+5 || len(f.Apps()) != workers+1 {
		t.Errorf("something was lost: %+v of %d apps", app, len(f.Apps()))
	}
	log := f.audit()
	if len(log) != 2+4*workers {
		t.Errorf("the audit log has %d entries", len(log))
	}
	last := slices.IndexFunc(log, func(e store.Audit) bool { return e.Action == "endpoint.update" })
	if n := strings.Count(string(log[last].Details), `m0s"`); n != workers {
		t.Errorf("the entry of the last update says %s", log[last].Details)
	}
	f.reopen()
	if got := f.app(id); !same(got, app) {
		t.Errorf("after opening it again: %+v, want %+v", got, app)
	}
}

// unsure is a store that commits and then cannot tell.
type unsure struct{ store.Apps }

func (u unsure) CommitApp(ctx context.Context, c *store.AppCommit) error {
	if err := u.Apps.CommitApp(ctx, c); err != nil {
		return err
	}
	return store.ErrUnknown
}

// After a commit whose outcome is unknown the registry knows what is stored,
// and the next change is made to that.
func TestUnknownCommit(t *testing.T) {
	f := newFixture(t)
	app := f.create(NewApp{Name: "before"})
	f.store = unsure{f.db}
	name := "after"
	if _, err := f.Update(t.Context(), app.ID, AppChange{Name: &name}, who); !errors.Is(err, store.ErrUnknown) {
		t.Fatalf("error is %v, want %v", err, store.ErrUnknown)
	}
	if app, _ := f.App(app.ID); app.Name != name {
		t.Errorf("the app is known as %q, but %q is stored", app.Name, name)
	}
	f.store = f.db
	name = "last"
	if _, err := f.Update(t.Context(), app.ID, AppChange{Name: &name}, who); err != nil {
		t.Error(err)
	}
}
