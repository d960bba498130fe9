// Package feed lets readers of events wait for new ones, and names places
// among the events.
//
// The store is the truth about events; the feed only says when a look at it is
// worth while. A reader that does these in this order misses nothing: it
// watches, it reads the store, and when there was nothing it waits and reads
// again.
package feed

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringback/ringback/internal/store"
)

// Feed passes on the news of events that have become durable. Its zero value
// is ready to use. Its methods may be called concurrently.
type Feed struct {
	watching atomic.Int32 // how many watches there are
	mu       sync.Mutex
	watches  map[uint32]map[*Watch]struct{} // by app; 0: of all apps
	begun    chan struct{}                  // has room for one: a watch has begun; nil: nobody follows
}

// Announce tells those who wait that events have become durable; their IDs
// must be set. It never blocks, and costs next to nothing while nobody waits.
func (f *Feed) Announce(events []*store.Event) {
	// A reader counts itself before it reads the store. So one that is not
	// seen here will find these events there.
	if f.watching.Load() == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ev := range events {
		for w := range f.watches[ev.App] {
			w.tell(ev.ID)
		}
		for w := range f.watches[0] {
			w.tell(ev.ID)
		}
	}
}

// Watch begins to look out for events of an app; 0: of any. Stop must be
// called when it is no longer needed.
func (f *Feed) Watch(app uint32) *Watch {
	w := &Watch{feed: f, app: app, news: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watches == nil {
		f.watches = make(map[uint32]map[*Watch]struct{})
	}
	if f.watches[app] == nil {
		f.watches[app] = make(map[*Watch]struct{})
	}
	f.watches[app][w] = struct{}{}
	f.watching.Add(1)
	select {
	case f.begun <- struct{}{}:
	default:
	}
	return w
}

// Follow announces what other nodes commit, until ctx ends: while there are
// watches, it asks for the highest ID of an event in the store, again and again
// after a pause, and tells all watches when it has grown. Without watches it
// does nothing. It asks again after errors. It is called once.
func (f *Feed) Follow(ctx context.Context, last func(context.Context) (store.EventID, error), pause time.Duration) {
	begun := make(chan struct{}, 1)
	f.mu.Lock()
	f.begun = begun
	f.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if f.watching.Load() == 0 {
			select {
			case <-begun:
			case <-ctx.Done():
				return
			}
		}
		if id, err := last(ctx); err == nil {
			f.tellAll(id)
		}
		timer.Reset(pause)
	}
}

// tellAll tells all watches.
func (f *Feed) tellAll(id store.EventID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ofApp := range f.watches {
		for w := range ofApp {
			w.tell(id)
		}
	}
}

// Watch is one reader's lookout. Wait is for one goroutine at a time.
type Watch struct {
	feed   *Feed
	app    uint32
	latest atomic.Int64 // the highest ID that was announced
	news   chan struct{}
	stop   sync.Once
}

// tell notes an announced ID; Feed.mu is held.
func (w *Watch) tell(id store.EventID) {
	if int64(id) <= w.latest.Load() {
		return
	}
	w.latest.Store(int64(id))
	select {
	case w.news <- struct{}{}:
	default: // there is news already that was not heard
	}
}

// Wait waits until an event with an ID above after was announced since the
// watch began. It gives the error of ctx when that ends first.
func (w *Watch) Wait(ctx context.Context, after store.EventID) error {
	for w.latest.Load() <= int64(after) {
		select {
		case <-w.news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Latest is the highest ID that was announced since the watch began; 0: none.
// Whatever was announced is in the store, so a reader who asks before he reads
// needs no news of IDs up to this one.
func (w *Watch) Latest() store.EventID { return store.EventID(w.latest.Load()) }

// Stop ends the watch. It may be called more than once.
func (w *Watch) Stop() {
	w.stop.Do(func() {
		f := w.feed
		f.mu.Lock()
		defer f.mu.Unlock()
		f.watching.Add(-1)
		delete(f.watches[w.app], w)
		if len(f.watches[w.app]) == 0 {
			delete(f.watches, w.app)
		}
	})
}
