package postgres

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

const now = call.Instant(1_790_000_000_123)

// gated is a store whose writer waits at a gate before each batch.
type gated struct {
	*Store
	tokens  chan struct{} // lets one batch pass
	waiting atomic.Bool   // the writer is at the gate
	settled chan int      // sizes of batches
}

// held opens a store with a gate.
func held(t *testing.T, options Options) *gated {
	g := &gated{tokens: make(chan struct{}), settled: make(chan int, 1)}
	free := make(chan struct{})
	options.beforeBatch = func() {
		g.waiting.Store(true)
		select {
		case <-g.tokens:
			g.waiting.Store(false)
		case <-free:
		}
	}
	options.afterTransact = func(n int) { g.settled <- n }
	g.Store = open(t, options)
	t.Cleanup(func() { close(free) })
	return g
}

// together has several commits wait for one batch, in order, and gives their
// errors and the sizes of the batches that it took.
func (g *gated) together(t *testing.T, commits ...func() error) (errs []error, batches []int) {
	t.Helper()
	eventually(t, g.waiting.Load)
	errs = make([]error, len(commits))
	var wg sync.WaitGroup
	for i, commit := range commits {
		wg.Go(func() { errs[i] = commit() })
		eventually(t, func() bool { return len(g.line.Queue) == i+1 })
	}
	for left := len(commits); left > 0; {
		g.tokens <- struct{}{}
		n := <-g.settled
		left, batches = left-n, append(batches, n)
	}
	wg.Wait()
	return errs, batches
}

// created is the commit of a new call, with an event and its delivery.
func created(n int) *store.CallCommit {
	c := call.Evolve(nil, call.CallCreated{
		Actor: call.Actor{User: "alice", Session: "session-of-alice"}, ID: call.NewID(now, uint32(n)), App: 1, At: now,
		Invitees: []call.UserID{"bob"}, Timeout: 90, Mode: call.Advanced,
	})
	return commitOf(c, 0, n)
}

// joined is the commit of another transition of a call.
func joined(c *call.Call, n int) *store.CallCommit {
	user := call.UserID(fmt.Sprint("user", n))
	return commitOf(call.Evolve(c, call.UserJoined{Actor: call.Actor{User: user}, At: now}), c.Version, n)
}

func commitOf(c *call.Call, prior int64, n int) *store.CallCommit {
	return &store.CallCommit{
		CallRecord: store.CallRecord{Call: c, CommitID: uint64(n)}, Prior: prior, NewUsers: []call.UserID{"alice"},
		Events: []*store.Event{{
			App: 1, Call: c.ID, Name: "call_create", At: now, Fields: []byte(fields),
			Deliveries: []store.Subscription{{Endpoint: 1, Sequence: int(c.Version)}},
		}},
	}
}

func calls(t *testing.T, s store.Store, commits ...*store.CallCommit) (list []func() error) {
	for _, c := range commits {
		list = append(list, func() error { return s.CommitCall(t.Context(), c) })
	}
	return list
}

// stored reports whether a call is there, and all of it.
func stored(t *testing.T, s store.Store, n int) bool {
	t.Helper()
	id := created(n).Call.ID
	_, err := s.Call(t.Context(), id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	ds, e := s.DeliveriesOf(t.Context(), id)
	if e != nil || len(ds) == 0 != (err != nil) {
		t.Fatalf("call %d gives %v, but it has %d deliveries (%v)", n, err, len(ds), e)
	}
	return err == nil
}

func TestGroupCommit(t *testing.T) {
	s := held(t, Options{maxBatch: 50})
	var commits []*store.CallCommit
	for n := range 120 {
		commits = append(commits, created(n+1))
	}
	errs, batches := s.together(t, calls(t, s, commits...)...)
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if !slices.Equal(batches, []int{50, 50, 20}) {
		t.Errorf("batches of %v, want 50, 50, 20", batches)
	}
}

// TestGroupOfOne has transitions of one call, repetitions of one request and
// logins of one user come at once: each waits for the one before.
func TestGroupOfOne(t *testing.T) {
	s := held(t, Options{})
	commits := []*store.CallCommit{created(1)}
	for n := 2; n <= 6; n++ {
		commits = append(commits, joined(commits[n-2].Call, n))
	}
	list := append(calls(t, s, commits...), calls(t, s, joined(commits[3].Call, 50), created(1))...) // which are refused
	for n := range 3 {
		c := created(100 + n)
		c.Request = &store.Request{User: "alice", ID: "r", Call: c.Call.ID, Expires: now + 1000}
		list = append(list, calls(t, s, c)...)
		list = append(list, func() error {
			return s.CommitSessions(t.Context(), &store.SessionCommit{App: 1, User: "bob", Prior: int64(n + 1), Login: true})
		})
	}
	errs, batches := s.together(t, list...)
	for i, err := range errs {
		var duplicate *store.DuplicateRequestError
		switch i {
		case 6, 7:
			if !errors.Is(err, store.ErrConflict) {
				t.Errorf("commit %d gives %v", i, err)
			}
		case 10, 12:
			if !errors.As(err, &duplicate) || duplicate.Earlier.Call != created(100).Call.ID {
				t.Errorf("commit %d gives %v", i, err)
			}
		default:
			if err != nil {
				t.Errorf("commit %d gives %v", i, err)
			}
		}
	}
	if batches[0] != 3 { // the call, the request, the user
		t.Errorf("the first batch has %d requests", batches[0])
	}
	r, err := s.Call(t.Context(), commits[0].Call.ID)
	if err != nil || r.CommitID != 6 {
		t.Errorf("the call is %+v (%v)", r, err)
	}
	if events, err := s.EventsOf(t.Context(), r.Call.ID); err != nil || len(events) != 6 {
		t.Errorf("the call has %d events (%v)", len(events), err)
	}
}
