package registry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// other opens another node's registry over the same store.
func (f *fixture) other(change func(*Options)) *Registry {
	f.t.Helper()
	o := Options{Store: f.db, File: f.file}
	if change != nil {
		change(&o)
	}
	r, err := Open(f.t.Context(), o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(r.Close)
	return r
}

func (f *fixture) reload(r *Registry) {
	f.t.Helper()
	if err := r.Reload(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

func TestReload(t *testing.T) {
	f := newFixture(t, fileApp(1, "https://file.example/"))
	told, changed := 0, 0
	far := f.other(func(o *Options) { o.Changed = func() { told++ } })
	f.Watch(func() { changed++ })
	f.reload(f.Registry)
	if changed != 1 { // by Watch itself
		t.Errorf("told of %d changes, want none", changed-1)
	}

	app, err := far.Create(t.Context(), NewApp{Name: "Shop"}, who)
	if err != nil {
		t.Fatal(err)
	}
	_, made, err := far.AddEndpoint(t.Context(), app.ID, endpointOf("https://a.example/"), who)
	if err != nil {
		t.Fatal(err)
	}
	onFile := far.Apps()[0].Endpoints[0].ID
	for i, step := range []func() error{
		func() error { return nil },
		func() error { _, _, err := far.Pause(t.Context(), made.ID, true, who); return err },
		func() error { _, _, err := far.Pause(t.Context(), onFile, true, who); return err },
		func() error { _, err := far.Rotate(t.Context(), app.ID, AppSecret, time.Hour, who); return err },
		func() error { return far.RemoveEndpoint(t.Context(), made.ID, who) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		before := changed
		f.reload(f.Registry)
		f.reload(f.Registry)
		if changed != before+1 {
			t.Errorf("step %d: told %d times", i, changed-before)
		}
		for j, want := range far.Apps() {
			if got := f.Apps()[j]; !same(got, want) {
				t.Errorf("step %d: app %+v, want %+v", i, got, want)
			}
		}
	}
	if told != 6 {
		t.Errorf("other nodes were told %d times, want 6", told)
	}
}

// Changes of two nodes that do not know of each other's are both made.
func TestConflictingNodes(t *testing.T) {
	f := newFixture(t)
	far := f.other(nil)
	app := f.create(NewApp{})
	second, err := far.Create(t.Context(), NewApp{}, who)
	if err != nil || second.ID == app.ID {
		t.Fatalf("app %+v, %v", second, err)
	}
	if _, err := far.Create(t.Context(), NewApp{ID: app.ID}, who); !errors.Is(err, ErrTaken) {
		t.Errorf("an ID that another node has given away: %v", err)
	}
	name, policy := "Shop", "multi"
	if _, err := f.Update(t.Context(), app.ID, AppChange{Name: &name}, who); err != nil {
		t.Fatal(err)
	}
	got, err := far.Update(t.Context(), app.ID, AppChange{LoginPolicy: &policy}, who)
	if err != nil || got.Name != name || got.LoginPolicy != policy {
		t.Errorf("app %+v, %v; want both changes", got, err)
	}
}

// A node whose file lacks an endpoint takes it from all others; they say so.
func TestDifferentFiles(t *testing.T) {
	f := newFixture(t, fileApp(1, "https://file.example/"))
	var log bytes.Buffer
	r := f.other(func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	f.reload(r)
	if log.Len() > 0 {
		t.Errorf("logged %s", &log)
	}
	f.other(func(o *Options) { o.File = nil })
	f.reload(r)
	f.reload(r)
	if n := strings.Count(log.String(), "same apps"); n != 1 {
		t.Errorf("warned %d times: %s", n, &log)
	}
}

// appsOf gives apps as they are set.
type appsOf struct {
	store.Apps
	mu      sync.Mutex
	managed []store.ManagedApp
	fail    error
	gate    chan struct{} // of reading, nil: open
}

// have sets what is read.
func (s *appsOf) have(fail error, managed ...store.ManagedApp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.managed, s.fail = managed, fail
}

func (s *appsOf) ManagedApps(context.Context) ([]store.ManagedApp, error) {
	if s.gate != nil {
		<-s.gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.managed, s.fail
}

func (*appsOf) ListEndpoints(context.Context) ([]store.EndpointRecord, error) { return nil, nil }

func (*appsOf) SyncApps(context.Context, []store.App, call.Instant) ([][]store.EndpointID, error) {
	return nil, nil
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		db := new(appsOf)
		r, err := Open(t.Context(), Options{Store: db, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		go r.Follow(ctx, 10*time.Second)
		rec, err := (&App{ID: 7, version: 1}).record()
		if err != nil {
			t.Fatal(err)
		}
		db.have(store.ErrFull, rec)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if _, ok := r.App(7); ok || !strings.Contains(log.String(), "no space left") {
			t.Errorf("known: %v; logged %q, want why it is not", ok, &log)
		}
		db.have(nil, rec)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if _, ok := r.App(7); !ok {
			t.Error("the app is not known")
		}
		stop()
	})
}

// TestHint reloads at once, and does not end before the reload has.
func TestHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := new(appsOf)
		r, err := Open(t.Context(), Options{Store: db})
		if err != nil {
			t.Fatal(err)
		}
		rec, err := (&App{ID: 7, version: 1}).record()
		if err != nil {
			t.Fatal(err)
		}
		db.have(nil, rec)
		db.gate = make(chan struct{})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			r.Follow(ctx, time.Hour)
			close(ended)
		}()
		for range 3 {
			r.Hint()
		}
		synctest.Wait()
		stop()
		synctest.Wait()
		select {
		case <-ended:
			t.Error("Follow has ended, and a reload goes on")
		default:
		}
		close(db.gate)
		<-ended
		if _, ok := r.App(7); !ok {
			t.Error("the app is not known")
		}
	})
}
