package registry

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

func TestRotate(t *testing.T) {
	f := newFixture(t)
	before := f.create(NewApp{})
	after, err := f.Rotate(t.Context(), before.ID, CallbackSecret, time.Hour, who)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	oldest, newest := before.CallbackSecret.Current, after.CallbackSecret.Current
	if got := after.CallbackSecret.Active(now); !slices.Equal(got, []string{newest, oldest}) || oldest == newest {
		t.Errorf("the active secrets are %d", len(got))
	}
	if got := after.SigningSecrets(nil, now); !slices.Equal(got, []string{oldest, newest}) {
		t.Error("the body is not signed by the old secret")
	}
	if got := after.SigningSecrets(&Endpoint{}, now.Add(2*time.Hour)); !slices.Equal(got, []string{newest}) {
		t.Error("the old secret signs after the overlap")
	}
	if after.Secret != before.Secret {
		t.Error("the app secret changed as well")
	}
	until := after.CallbackSecret.Until.Time()
	if !slices.Equal(after.CallbackSecret.Active(until), []string{newest}) || len(after.CallbackSecret.Active(until.Add(-time.Millisecond))) != 2 {
		t.Error("the overlap does not end when it says")
	}
	third, err := f.Rotate(t.Context(), before.ID, CallbackSecret, time.Hour, who)
	if err != nil {
		t.Fatal(err)
	}
	if got := third.CallbackSecret.Active(now); len(got) != 2 || got[1] != newest {
		t.Error("the secret before the one before still counts")
	}
	fourth, err := f.Rotate(t.Context(), before.ID, CallbackSecret, 0, who)
	if err != nil {
		t.Fatal(err)
	}
	if s := fourth.CallbackSecret; s.Previous != "" || s.Until != 0 || !slices.Equal(s.Active(now), []string{s.Current}) {
		t.Error("without an overlap the old secret still counts")
	}
	f.reopen()
	if got := f.app(before.ID); got.CallbackSecret != fourth.CallbackSecret {
		t.Error("after opening it again the secret is another")
	}
}

// TestSecretOfAnEndpoint: an endpoint of the file may have a secret of its
// own, which then signs alone.
func TestSecretOfAnEndpoint(t *testing.T) {
	app := fileApp(7, "https://a.example/", "https://b.example/")
	app.Callbacks[1].Secret = "its own"
	f := newFixture(t, app)
	got := f.app(7)
	if s := got.SigningSecrets(&got.Endpoints[0], time.Now()); !slices.Equal(s, []string{app.Secret}) {
		t.Errorf("%d secrets sign for the first", len(s))
	}
	if s := got.SigningSecrets(&got.Endpoints[1], time.Now()); !slices.Equal(s, []string{"its own"}) {
		t.Errorf("%d secrets sign for the second", len(s))
	}
}

// expiring is a store in memory for what the clock does: it takes every
// commit, and gives back one app.
type expiring struct {
	store.Apps
	app []store.ManagedApp
}

func (*expiring) SyncApps(_ context.Context, _ []store.App, _ call.Instant) ([][]store.EndpointID, error) {
	return nil, nil
}
func (*expiring) ListEndpoints(context.Context) ([]store.EndpointRecord, error) { return nil, nil }
func (e *expiring) ManagedApps(context.Context) ([]store.ManagedApp, error)     { return e.app, nil }

func (e *expiring) CommitApp(_ context.Context, c *store.AppCommit) error {
	e.app = []store.ManagedApp{c.ManagedApp}
	return nil
}

func TestExpiryIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &expiring{}
		r, err := Open(t.Context(), Options{Store: s})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var mu sync.Mutex
		var active []int
		r.Watch(func() {
			mu.Lock()
			defer mu.Unlock()
			for _, app := range r.Apps() {
				active = append(active, len(app.Secret.Active(time.Now()))+len(app.CallbackSecret.Active(time.Now())))
			}
		})
		check := func(want ...int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(active, want) {
				t.Errorf("at each change so many secrets counted: %v, want %v", active, want)
			}
		}
		app, err := r.Create(t.Context(), NewApp{}, who)
		if err != nil {
			t.Fatal(err)
		}
		check(2)
		r.Rotate(t.Context(), app.ID, AppSecret, 2*time.Hour, who)
		r.Rotate(t.Context(), app.ID, CallbackSecret, time.Hour, who)
		check(2, 3, 4)
		time.Sleep(time.Hour - time.Millisecond)
		check(2, 3, 4)
		time.Sleep(time.Millisecond)
		check(2, 3, 4, 3)

		// The rest of the overlap goes on after a restart.
		r.Close()
		time.Sleep(30 * time.Minute)
		if r, err = Open(t.Context(), Options{Store: s}); err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		active = nil
		r.Watch(func() {
			mu.Lock()
			defer mu.Unlock()
			active = append(active, len(r.Apps()[0].Secret.Active(time.Now())))
		})
		check(2)
		time.Sleep(30 * time.Minute)
		check(2, 1)

		// A closed registry tells nobody.
		r.Rotate(t.Context(), app.ID, AppSecret, time.Hour, who)
		r.Close()
		active = nil
		time.Sleep(2 * time.Hour)
		check()
	})
}
