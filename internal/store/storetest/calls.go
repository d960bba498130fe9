package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// records are calls of every shape.
func (f *fixture) records() []*store.CallRecord {
	full := f.ring(now, "alice", "bob", "carol")
	full.Push, full.NotReceivedCheck, full.ExtendedData = []byte(`{"title": "spaces  kept"}`), true, `{"a":"ü"}`
	full.Users[1].CheckAt = now + 5000
	full = call.Evolve(full, call.CallAccepted{Actor: call.Actor{User: "bob", Session: "web"}, At: now + 1, ExtendedData: "yes", Joined: true})
	full = call.Evolve(full, call.InvitationsCancelled{
		Actor: call.Actor{User: "alice", Session: "s"}, At: now + 2, Users: []call.UserID{"carol"}, Names: []call.UserID{"carol", "zoe"},
		Errors: []call.UserError{{User: "zoe", Code: call.NotInCall}}, Reason: call.CallerCancel,
	})
	full = call.Evolve(full, call.UserJoined{Actor: call.Actor{User: "dave", Session: "d"}, At: now + 3})
	full = call.Evolve(full, call.UserQuit{Actor: call.Actor{User: "bob", Session: "web"}, At: now + 4, ExtendedData: "bye"})
	ended := call.Evolve(full, call.CallEnded{Actor: call.Actor{User: "dave", Session: "d"}, At: now + 5, Reason: call.ByOperator, ExtendedData: "x"})
	ended.ID++
	f.calls++
	records := []*store.CallRecord{
		{Call: f.ring(now, "alice", "bob")},
		{Call: full, CommitID: 1<<64 - 1, Sequences: map[store.EndpointID]int{1: 4, 9: 2, 1 << 40: 1}},
		{Call: ended},
		{Call: &call.Call{ID: 1<<63 - 1, App: 1<<32 - 1, Version: 1, State: call.Started, Push: []byte{}}, Sequences: map[store.EndpointID]int{}},
		{Call: &call.Call{
			ID: call.NewID(now, 1<<31-1), Version: 1 << 40, State: call.Ended, EndedAt: 1 << 50, Users: []call.User{}, Cancels: []call.Cancellation{},
		}},
		{Call: &call.Call{
			ID: call.NewID(now, 1<<31-2), Version: 1, State: call.Started, CancelledAll: true, Responded: true,
			Cancels: []call.Cancellation{{}, {By: "b", Names: []call.UserID{}, Errors: []call.UserError{}}},
		}, Sequences: map[store.EndpointID]int{3: 0}},
	}
	for _, s := range odd {
		c := f.ring(now, "alice", call.UserID("u"+s))
		c.ExtendedData, c.Push, c.EndExtendedData, c.EndedBy = s, []byte(s), s+s, call.SessionID(s)
		c.Users[1].ExtendedData, c.Users[1].Primary, c.Users[1].LastBy = s, call.SessionID(s), call.SessionID(s)
		c.Users[1].Earlier = []call.Deed{{Op: call.OpAccept, By: call.SessionID(s)}}
		c.EndReason, c.EndOperator, c.Users[1].CancelReason = call.Reason(s), call.UserID(s), call.Reason(s)
		c.Cancels = []call.Cancellation{{By: call.SessionID(s), Names: []call.UserID{call.UserID(s)}, Errors: []call.UserError{{User: call.UserID(s), Code: 1}}}}
		records = append(records, &store.CallRecord{Call: c, CommitID: 3})
	}
	return records
}

func callRoundTrip(f *fixture) {
	for _, r := range f.records() {
		f.ok(f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: *r}))
		f.equal("call as stored", f.call(r.Call.ID), r)
	}
}

func callNotFound(f *fixture) {
	_, err := f.Call(f.ctx(), 1)
	f.fails(err, store.ErrNotFound)
	calls, next, err := f.CallsOf(f.ctx(), app, "nobody", 0, 10)
	if len(calls) != 0 || next != 0 || err != nil {
		f.Fatalf("CallsOf gives %v, %d, %v", calls, next, err)
	}
	_, err = f.Requested(f.ctx(), app, "nobody", "r", now)
	f.fails(err, store.ErrNotFound)
}

func callConflict(f *fixture) {
	c := f.ring(now, "alice", "bob")
	f.create(c)
	stored := f.call(c.ID)

	f.fails(f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: c, CommitID: 5}}), store.ErrConflict)
	next := call.Evolve(c, call.CallAccepted{Actor: call.Actor{User: "bob"}, At: now})
	for _, prior := range []int64{2, 3, -1} {
		f.fails(f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: next, CommitID: 6}, Prior: prior}), store.ErrConflict)
	}
	f.equal("call after conflicts", f.call(c.ID), stored)

	unknown := call.Evolve(f.ring(now, "alice", "bob"), call.CallAccepted{Actor: call.Actor{User: "bob"}, At: now})
	f.fails(f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: unknown}, Prior: 1}), store.ErrConflict)
	_, err := f.Call(f.ctx(), unknown.ID)
	f.fails(err, store.ErrNotFound)

	// Several transitions at once.
	later := call.Evolve(next, call.UserQuit{Actor: call.Actor{User: "bob"}, At: now})
	f.ok(f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: later, CommitID: 7}, Prior: 1}))
	f.equal("call after two transitions", f.call(c.ID), &store.CallRecord{Call: later, CommitID: 7})
}

// callOneWinner has writers race for each version of some calls.
func callOneWinner(f *fixture) {
	const writers, versions = 8, 12
	calls := []*call.Call{f.ring(now, "alice", "bob"), f.ring(now, "carol", "dave")}
	heads := make([]*call.Call, len(calls))
	for i, c := range calls {
		f.create(c)
		heads[i] = c
	}
	for v := range versions {
		winners := make([]atomic.Int64, len(calls))
		var wg sync.WaitGroup
		for w := range writers * len(calls) {
			wg.Go(func() {
				i := w % len(calls)
				next := *heads[i]
				next.Version++
				commit := store.CallRecord{Call: &next, CommitID: uint64(1000*v + w + 1)}
				err := f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: commit, Prior: heads[i].Version})
				switch {
				case err == nil:
					if !winners[i].CompareAndSwap(0, int64(commit.CommitID)) {
						f.Errorf("version %d has two winners", next.Version)
					}
				case !errors.Is(err, store.ErrConflict):
					f.Error(err)
				}
			})
		}
		wg.Wait()
		for i, c := range calls {
			r := f.call(c.ID)
			if r.CommitID != uint64(winners[i].Load()) || r.Call.Version != int64(v+2) {
				f.Fatalf("version %d was written by %d, but %d was told so", r.Call.Version, r.CommitID, winners[i].Load())
			}
			heads[i] = r.Call
		}
	}
}

// callAllOrNothing looks for traces of commits that were refused.
func callAllOrNothing(f *fixture) {
	ep := f.endpoints("http://a")[0]
	c := f.ring(now, "alice", "bob")
	f.create(c, f.event(c, now, store.Subscription{Endpoint: ep, Sequence: 1}))
	before := f.lastEvent()

	next := *c
	next.Version = 3
	refused := &store.CallCommit{
		CallRecord: store.CallRecord{Call: &next}, Prior: 2, NewUsers: []call.UserID{"eve"},
		Events:  []*store.Event{f.event(c, now, store.Subscription{Endpoint: ep, Sequence: 2})},
		Request: &store.Request{User: "eve", ID: "r", Call: c.ID, Expires: now + 1000},
	}
	f.fails(f.CommitCall(f.ctx(), refused), store.ErrConflict)

	// What makes this one impossible comes last in it.
	other := f.ring(now, "mallory", "bob")
	twice := f.event(other, now, store.Subscription{Endpoint: ep, Sequence: 1})
	impossible := &store.CallCommit{
		CallRecord: store.CallRecord{Call: other}, NewUsers: []call.UserID{"eve"}, Events: []*store.Event{twice, twice},
		Request: &store.Request{User: "eve", ID: "r", Call: other.ID, Expires: now + 1000},
	}
	var wg sync.WaitGroup
	neighbours := make([]*call.Call, 20)
	for i := range neighbours {
		neighbours[i] = f.ring(now, "zoe")
		wg.Go(func() {
			if err := f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: neighbours[i]}}); err != nil {
				f.Errorf("neighbour of a commit that fails: %v", err)
			}
		})
		if i == len(neighbours)/2 {
			wg.Go(func() {
				err := f.CommitCall(f.ctx(), impossible)
				if err == nil || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrUnknown) || errors.Is(err, store.ErrFull) {
					f.Errorf("commit with the same event twice gives %v", err)
				}
			})
		}
	}
	wg.Wait()
	for _, n := range neighbours {
		f.call(n.ID)
	}

	f.equal("call", f.call(c.ID).Call, c)
	_, err := f.Call(f.ctx(), other.ID)
	f.fails(err, store.ErrNotFound)
	f.equal("history", f.history("eve"), []call.ID(nil))
	_, err = f.Requested(f.ctx(), app, "eve", "r", now)
	f.fails(err, store.ErrNotFound)
	f.equal("deliveries", len(f.pending(ep, now+1000, false, 10)), 1)
	f.equal("last event", f.lastEvent(), before)
}

func callSoftCommit(f *fixture) {
	c := f.ring(now, "alice", "bob")
	f.create(c)
	ep := f.endpoints("http://a")[0]
	soft := call.Evolve(c, call.InvitationReceived{Actor: call.Actor{User: "bob"}, At: now + 1})
	f.ok(f.CommitCall(f.ctx(), &store.CallCommit{
		CallRecord: store.CallRecord{Call: soft, CommitID: 9, Sequences: map[store.EndpointID]int{ep: 1}}, Prior: soft.Version,
		Events: []*store.Event{f.event(c, now+1, store.Subscription{Endpoint: ep, Sequence: 1})},
	}))
	f.equal("call after a soft commit", f.call(c.ID), &store.CallRecord{Call: soft, CommitID: 9, Sequences: map[store.EndpointID]int{ep: 1}})
	f.equal("deliveries", len(f.deliveriesOf(c.ID)), 1)

	next := call.Evolve(soft, call.CallAccepted{Actor: call.Actor{User: "bob"}, At: now + 2})
	f.ok(f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: next, CommitID: 10}, Prior: soft.Version}))
	f.fails(f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: soft, CommitID: 11}, Prior: soft.Version}), store.ErrConflict)
	f.equal("call after a late soft commit", f.call(c.ID), &store.CallRecord{Call: next, CommitID: 10})
}

// callContext says that a context that is done keeps things from happening.
func callContext(f *fixture) {
	ctx, cancel := context.WithCancel(f.ctx())
	cancel()
	c := f.ring(now, "alice", "bob")
	f.fails(f.CommitCall(ctx, &store.CallCommit{CallRecord: store.CallRecord{Call: c}}), context.Canceled)
	_, err := f.Call(f.ctx(), c.ID)
	f.fails(err, store.ErrNotFound)
	_, err = f.Call(ctx, c.ID)
	f.fails(err, context.Canceled)
}

func liveCalls(f *fixture) {
	var live, all []call.ID
	for i := range 25 {
		at := now + call.Instant(i%5*1000)
		c := f.ring(at, "alice", "bob")
		all = append(all, c.ID)
		f.create(c)
		if i%3 == 0 {
			f.end(c, at+1)
			continue
		}
		live = append(live, c.ID)
	}
	slices.Sort(live)
	var got []call.ID
	for after, pages := call.ID(0), 0; ; pages++ {
		records, err := f.LiveCalls(f.ctx(), store.AllPartitions, after, 6)
		f.ok(err)
		if len(records) == 0 {
			f.equal("pages", pages, (len(live)+5)/6)
			break
		}
		for _, r := range records {
			got = append(got, r.Call.ID)
			f.equal("live call", r, f.call(r.Call.ID))
		}
		after = got[len(got)-1]
	}
	f.equal("live calls", got, live)
	for _, id := range all {
		f.call(id) // those that ended are still there
	}
}

func requestDuplicate(f *fixture) {
	for _, errs := range [][]call.UserError{nil, {}, {{User: "x", Code: call.NotRegistered}, {User: "y", Code: call.TooManyUsers}}} {
		for _, id := range odd {
			if len(id) > 64 {
				continue
			}
			user := call.UserID(fmt.Sprintf("user%d", len(errs)))
			if errs == nil {
				user = "nil"
			}
			first := f.ring(now, user, "bob")
			request := store.Request{User: user, ID: id, Call: first.ID, Errors: errs, Expires: now + 1000}
			f.ok(f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: first}, Request: &request}))

			second := f.ring(now+500, user, "bob")
			again := store.Request{User: user, ID: id, Call: second.ID, Expires: now + 2000}
			err := f.CommitCall(f.ctx(), &store.CallCommit{
				CallRecord: store.CallRecord{Call: second}, NewUsers: []call.UserID{"eve"}, Request: &again, Events: []*store.Event{f.event(second, now)},
			})
			var duplicate *store.DuplicateRequestError
			if !errors.As(err, &duplicate) {
				f.Fatalf("repeated request %q gives %v", id, err)
			}
			f.equal("earlier request", duplicate.Earlier, request)
			_, err = f.Call(f.ctx(), second.ID)
			f.fails(err, store.ErrNotFound)

			got, err := f.Requested(f.ctx(), app, user, id, now)
			f.ok(err)
			f.equal("request", got, &request)
		}
	}
	f.equal("history", f.history("eve"), []call.ID(nil))
	f.equal("last event", f.lastEvent(), store.EventID(0))

	// Another user or app may give the same ID.
	c := f.ring(now, "other", "bob")
	f.ok(f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: c}, Request: &store.Request{User: "other", ID: "plain", Call: c.ID, Expires: now + 1}}))
	elsewhere := *f.ring(now, "nil", "bob")
	elsewhere.App++
	f.ok(f.CommitCall(f.ctx(), &store.CallCommit{
		CallRecord: store.CallRecord{Call: &elsewhere}, Request: &store.Request{User: "nil", ID: "plain", Call: elsewhere.ID, Expires: now + 1},
	}))
}

// requestExpires says that a request counts for as long as it has not expired
// when the next call with its ID is created.
func requestExpires(f *fixture) {
	first := f.ring(now, "alice", "bob")
	f.ok(f.CommitCall(f.ctx(), &store.CallCommit{
		CallRecord: store.CallRecord{Call: first}, Request: &store.Request{User: "alice", ID: "r", Call: first.ID, Expires: now + 1000},
	}))
	_, err := f.Requested(f.ctx(), app, "alice", "r", now+999)
	f.ok(err)
	_, err = f.Requested(f.ctx(), app, "alice", "r", now+1000)
	f.fails(err, store.ErrNotFound)

	second := f.ring(now+1000, "alice", "bob")
	request := store.Request{User: "alice", ID: "r", Call: second.ID, Expires: now + 2000}
	f.ok(f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: second}, Request: &request}))
	got, err := f.Requested(f.ctx(), app, "alice", "r", now+1000)
	f.ok(err)
	f.equal("request", got, &request)
}

// requestRace has the same request come several times at once.
func requestRace(f *fixture) {
	for round := range 5 {
		id := fmt.Sprint("r", round)
		var winner atomic.Uint64
		earlier := make([]call.ID, 8)
		var wg sync.WaitGroup
		for i := range earlier {
			c := f.ring(now, "alice", "bob")
			wg.Go(func() {
				err := f.CommitCall(f.ctx(), &store.CallCommit{
					CallRecord: store.CallRecord{Call: c}, Request: &store.Request{User: "alice", ID: id, Call: c.ID, Expires: now + 1000},
				})
				var duplicate *store.DuplicateRequestError
				switch {
				case err == nil:
					if !winner.CompareAndSwap(0, uint64(c.ID)) {
						f.Error("a request made two calls")
					}
				case errors.As(err, &duplicate):
					earlier[i] = duplicate.Earlier.Call
				default:
					f.Error(err)
				}
			})
		}
		wg.Wait()
		for _, id := range earlier {
			if id != 0 && uint64(id) != winner.Load() {
				f.Fatalf("a repeat was told call %s, but %d was made", id, winner.Load())
			}
		}
	}
}
