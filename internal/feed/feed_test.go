package feed

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ringback/ringback/internal/store"
)

func event(app uint32, id store.EventID) []*store.Event { return []*store.Event{{App: app, ID: id}} }

func TestWait(t *testing.T) {
	tests := []struct {
		name  string
		watch uint32
		news  []*store.Event
		wakes bool
	}{
		{"its app", 1, event(1, 6), true},
		{"any app", 0, event(1, 6), true},
		{"another app", 2, event(1, 6), false},
		{"an ID that was seen", 1, event(1, 5), false},
		{"the second of two", 1, append(event(2, 9), event(1, 10)...), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f Feed
				w := f.Watch(tt.watch)
				defer w.Stop()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- w.Wait(ctx, 5) }()
				synctest.Wait()
				f.Announce(tt.news)
				if err := <-done; (err == nil) != tt.wakes || err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Wait: %v", err)
				}
			})
		})
	}
}

// TestNewsBeforeWait: what is announced between the look at the store and the
// wait is not lost, even when it comes out of order.
func TestNewsBeforeWait(t *testing.T) {
	var f Feed
	w := f.Watch(1)
	defer w.Stop()
	f.Announce(event(1, 8))
	f.Announce(event(1, 7))
	if err := w.Wait(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Wait(ctx, 8); !errors.Is(err, context.Canceled) {
		t.Errorf("there is nothing after 8, but Wait gives %v", err)
	}
}

func TestStop(t *testing.T) {
	var f Feed
	w := f.Watch(3)
	w.Stop()
	w.Stop()
	if f.watching.Load() != 0 || len(f.watches) != 0 {
		t.Errorf("%d watches are left: %v", f.watching.Load(), f.watches)
	}
	f.Announce(event(3, 1))
	if w.latest.Load() != 0 {
		t.Error("a stopped watch was told")
	}
}

// journal is a store of events as far as a reader knows it.
type journal struct {
	mu     sync.Mutex
	events []*store.Event
}

func (j *journal) add(ev *store.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	ev.ID = store.EventID(len(j.events) + 1)
	j.events = append(j.events, ev)
}

func (j *journal) after(id store.EventID) []*store.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.events[id:])
}

// TestNoLostWakeups has writers and readers race. A reader that were not woken
// would never end.
func TestNoLostWakeups(t *testing.T) {
	const writers, readers, each = 4, 6, 500
	var f Feed
	var j journal
	var work sync.WaitGroup
	for range readers {
		work.Go(func() {
			var seen store.EventID
			for seen < writers*each {
				w := f.Watch(1)
				page := j.after(seen)
				if len(page) == 0 {
					if err := w.Wait(t.Context(), seen); err != nil {
						t.Errorf("after %d: %v", seen, err)
						w.Stop()
						return
					}
					page = j.after(seen)
				}
				w.Stop()
				for _, ev := range page {
					if ev.ID != seen+1 {
						t.Errorf("after %d came %d", seen, ev.ID)
					}
					seen = ev.ID
				}
			}
		})
	}
	for range writers {
		work.Go(func() {
			for range each {
				ev := &store.Event{App: 1}
				j.add(ev)
				f.Announce([]*store.Event{ev})
			}
		})
	}
	work.Wait()
}

func TestCursorRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		app := rapid.Uint32().Draw(t, "app")
		id := store.EventID(rapid.Int64Min(0).Draw(t, "id"))
		cursor := EncodeCursor(app, id)
		if got, err := DecodeCursor(app, cursor); err != nil || got != id {
			t.Fatalf("%s gives %d, %v; want %d", cursor, got, err, id)
		}
		if _, err := DecodeCursor(app+1, cursor); err == nil {
			t.Fatalf("%s of app %d was taken for one of app %d", cursor, app, app+1)
		}
	})
}

// TestCursorForm: cursors that readers keep are valid for ever.
func TestCursorForm(t *testing.T) {
	const kept = "c1_AAAAAQAAAAAAAAAqtxUb-g"
	if got := EncodeCursor(1, 42); got != kept {
		t.Errorf("EncodeCursor gives %s, want %s", got, kept)
	}
	if got, err := DecodeCursor(1, kept); err != nil || got != 42 {
		t.Errorf("%s gives %d, %v", kept, got, err)
	}
}

func TestCursorErrors(t *testing.T) {
	good := EncodeCursor(1, 42)
	flipped := []byte(good)
	flipped[10] ^= 1
	for _, tt := range []struct{ cursor, says string }{
		{"", "form"},
		{"evt_42", "form"},
		{"c2_" + good[3:], "form"},
		{good[:len(good)-2], "damaged"},
		{good + "A", "damaged"},
		{string(flipped), "damaged"},
		{"c1_!", "damaged"},
		{EncodeCursor(1, -1), "damaged"},
		{EncodeCursor(7, 42), "belongs to app 7, not to app 1"},
		{EncodeCursor(0, 42), "belongs to all apps"},
	} {
		_, err := DecodeCursor(1, tt.cursor)
		var wrong *CursorError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "begin again") {
			t.Errorf("%q gives %v", tt.cursor, err)
		}
	}
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f Feed
		var last, asked atomic.Int64
		var fail atomic.Bool
		ctx, stop := context.WithCancel(t.Context())
		go f.Follow(ctx, func(context.Context) (store.EventID, error) {
			asked.Add(1)
			if fail.Load() {
				return 0, store.ErrFull
			}
			return store.EventID(last.Load()), nil
		}, 200*time.Millisecond)
		last.Store(7)
		time.Sleep(time.Hour)
		if n := asked.Load(); n != 0 {
			t.Errorf("asked %d times while nobody watches", n)
		}

		w := f.Watch(3)
		begin := time.Now()
		if err := w.Wait(ctx, 6); err != nil || time.Since(begin) != 0 {
			t.Errorf("the first look: %v after %v", err, time.Since(begin))
		}
		fail.Store(true)
		time.AfterFunc(time.Second+50*time.Millisecond, func() {
			last.Store(8)
			fail.Store(false)
		})
		if err := w.Wait(ctx, 7); err != nil || time.Since(begin) != 1200*time.Millisecond {
			t.Errorf("an event of another node: %v after %v", err, time.Since(begin))
		}
		w.Stop()
		time.Sleep(time.Second)
		n := asked.Load()
		time.Sleep(time.Hour)
		if asked.Load() > n+1 {
			t.Errorf("asked %d times after the last watch", asked.Load()-n)
		}
		stop()
	})
}
