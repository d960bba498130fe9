package scan

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// attic is what a prune goes through, in memory.
type attic struct {
	calls    []StoredCall // by ID
	pending  map[call.ID]bool
	events   []Event // by ID
	requests int
	nonces   int

	looked  int   // events
	largest int   // of the steps that delete
	err     error // of whatever deletes
	gate    chan struct{}
}

func (a *attic) OldCalls(_ context.Context, after, below call.ID, before call.Instant, limit int) (list []StoredCall, err error) {
	for _, c := range a.calls {
		found, _, err := store.DecodeCall(c.State)
		if err != nil {
			return nil, err
		}
		if c.ID > after && c.ID < below && found.EndedAt < before && !a.pending[c.ID] && len(list) < limit {
			list = append(list, c)
		}
	}
	return list, nil
}

func (a *attic) DeleteCalls(_ context.Context, calls []*call.Call, _ call.Instant) (int, error) {
	before := len(a.calls)
	a.calls = slices.DeleteFunc(a.calls, func(c StoredCall) bool {
		return slices.ContainsFunc(calls, func(d *call.Call) bool { return d.ID == c.ID })
	})
	return a.deleted(before - len(a.calls))
}

func (a *attic) Events(_ context.Context, after store.EventID, limit int, each func(Event) bool) error {
	for _, e := range a.events {
		if e.ID > after && limit > 0 {
			limit--
			a.looked++
			if !each(e) {
				break
			}
		}
	}
	return nil
}

func (a *attic) DeleteEvents(_ context.Context, events []Event) error {
	a.events = slices.DeleteFunc(a.events, func(e Event) bool { return slices.Contains(events, e) })
	_, err := a.deleted(len(events))
	return err
}

func (a *attic) DeleteRequests(_ context.Context, _ call.Instant, limit int) (int, error) {
	n := min(a.requests, limit)
	a.requests -= n
	return a.deleted(n)
}

func (a *attic) DeleteNonces(_ context.Context, _ call.Instant, limit int) (int, error) {
	if a.gate != nil {
		<-a.gate
	}
	n := min(a.nonces, limit)
	a.nonces -= n
	return a.deleted(n)
}

func (a *attic) deleted(n int) (int, error) {
	if a.err != nil {
		return 0, a.err
	}
	a.largest = max(a.largest, n)
	return n, nil
}

// newAttic has so many calls, events of no call, requests and nonces, one call
// and one event a second.
func newAttic(t *testing.T, n int) *attic {
	a := &attic{requests: n, nonces: n, pending: make(map[call.ID]bool)}
	for i := range n {
		at := second + call.Instant(i*1000)
		place, state := stored(t, at, 1, true)
		a.calls = append(a.calls, StoredCall{ID: place.ID, State: state})
		a.events = append(a.events, Event{ID: store.EventID(i + 1), At: at})
	}
	return a
}

var steps = Steps{Calls: 4, Events: 8, Expired: 16}

// prune prunes, and says how many were deleted.
func prune(t *testing.T, p *Pruner, before call.Instant, limit int) int {
	t.Helper()
	n, err := p.Prune(t.Context(), before, limit)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestPrune(t *testing.T) {
	a := newAttic(t, 50)
	p := NewPruner(a, steps)
	sum := 0
	for range 1000 {
		n := prune(t, p, second+30_000, 7)
		if sum += n; n > 7 {
			t.Errorf("a prune of 7 deletes %d", n)
		}
		if n == 0 {
			break
		}
	}
	if sum != 30+30+50+50 || len(a.calls) != 20 || len(a.events) != 20 {
		t.Errorf("%d were deleted; left are %d calls, %d events, %d requests, %d nonces", sum, len(a.calls), len(a.events), a.requests, a.nonces)
	}
	if a.largest > 7 {
		t.Errorf("a step deletes %d", a.largest)
	}
	prune(t, p, second+50_000, 1000)
	if len(a.calls)+len(a.events) != 0 || a.largest > steps.Events {
		t.Errorf("left are %d calls, %d events; a step deletes %d", len(a.calls), len(a.events), a.largest)
	}
}

// TestPruneGoesOn says that what must stay is looked at once in a round, and
// looked at again when the round is over.
func TestPruneGoesOn(t *testing.T) {
	a := newAttic(t, 0)
	for i := range 100 {
		a.events = append(a.events, Event{ID: store.EventID(i + 1), At: second, Needed: i < 80})
	}
	p := NewPruner(a, steps)
	for range 4 {
		if n := prune(t, p, second+1, 5); n != 5 {
			t.Errorf("%d were deleted", n)
		}
	}
	if a.looked != 100 {
		t.Errorf("%d events were looked at for a round of 100", a.looked)
	}
	for i := range a.events {
		a.events[i].Needed = false
	}
	if n := prune(t, p, second+1, 1000); n != 80 {
		t.Errorf("%d were deleted of what is old by now", n)
	}
	a.looked = 0
	a.events = []Event{{ID: 200, At: second + 1}, {ID: 201, At: second}}
	if n := prune(t, p, second+1, 1000); n != 0 || a.looked != 1 {
		t.Errorf("%d were deleted, %d looked at behind one that is young", n, a.looked)
	}
}

// TestPruneKeepsPending passes over calls that cannot go.
func TestPruneKeepsPending(t *testing.T) {
	a := newAttic(t, 20)
	for i := range 10 {
		a.pending[a.calls[i].ID] = true
	}
	a.events, a.requests, a.nonces = nil, 0, 0
	p := NewPruner(a, steps)
	for _, want := range []int{3, 3, 3, 1, 0, 0} {
		if n := prune(t, p, second+1e6, 3); n != want {
			t.Errorf("%d were deleted, want %d", n, want)
		}
	}
	clear(a.pending)
	if n := prune(t, p, second+1e6, 100); n != 10 {
		t.Errorf("%d were deleted, want 10", n)
	}
}

// TestPruneFails stays where it was, and says what was deleted by then.
func TestPruneFails(t *testing.T) {
	a := newAttic(t, 0)
	a.events = []Event{{ID: 1, At: second}}
	p := NewPruner(a, steps)
	a.err = errors.New("broken")
	kept := slices.Clone(a.events)
	if n, err := p.Prune(t.Context(), second+1, 10); n != 0 || !errors.Is(err, a.err) {
		t.Errorf("gives %d, %v", n, err)
	}
	a.events, a.err = kept, nil
	if n := prune(t, p, second+1, 10); n != 1 {
		t.Errorf("%d were deleted after that", n)
	}
	a.calls = []StoredCall{{ID: 1, State: []byte("?")}}
	a.pending[1] = false
	if _, err := p.Prune(t.Context(), second+1, 10); err == nil {
		t.Error("a call that cannot be read gives no error")
	}
}

// TestPruneTakesTurns has a second prune wait for the first, as long as its
// context lasts.
func TestPruneTakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAttic(t, 0)
		a.nonces, a.gate = 2, make(chan struct{})
		p := NewPruner(a, Steps{Calls: 1, Events: 1, Expired: 1})
		results := make(chan int)
		one := func() {
			n, err := p.Prune(t.Context(), second, 1)
			if err != nil {
				t.Error(err)
			}
			results <- n
		}
		go one()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			if _, err := p.Prune(ctx, second, 1); !errors.Is(err, context.Canceled) {
				t.Errorf("a prune whose context has ended gives %v", err)
			}
			results <- 0
		}()
		synctest.Wait()
		cancel()
		<-results
		go one()
		synctest.Wait()
		if a.nonces != 2 {
			t.Errorf("the other prune has begun: %d are left", a.nonces)
		}
		close(a.gate)
		if n := <-results + <-results; n != 2 {
			t.Errorf("%d were deleted", n)
		}
	})
}
