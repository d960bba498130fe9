package storetest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// pruneAll prunes until nothing is left to delete, and gives the sum.
func (f *fixture) pruneAll(before call.Instant, limit int) (sum int) {
	f.Helper()
	for range 1000 {
		n, err := f.Prune(f.ctx(), before, limit)
		f.ok(err)
		if n == 0 {
			return sum
		}
		sum += n
	}
	f.Fatal("Prune does not come to an end")
	return 0
}

func pruneCalls(f *fixture) {
	ep := f.endpoints("http://a")[0]
	old, ds := f.deliver(now, ep, 2)
	f.attempt(ds[0], store.Pending, now)
	f.attempt(ds[0], store.Delivered, 0)
	f.attempt(ds[1], store.Failed, 0)
	f.end(old, now+1000, f.event(old, now+1000))
	young, youngs := f.deliver(now+2000, ep, 1)
	f.attempt(youngs[0], store.Delivered, 0)
	f.end(young, now+3000)
	stored := f.call(young.ID)

	f.equal("pruned", f.pruneAll(now+1000, 10), 0)
	if f.pruneAll(now+3000, 10) == 0 {
		f.Fatal("nothing was pruned")
	}
	_, err := f.Call(f.ctx(), old.ID)
	f.fails(err, store.ErrNotFound)
	f.equal("deliveries", f.deliveriesOf(old.ID), []*store.Delivery(nil))
	got, err := f.Attempts(f.ctx(), ds[0].Key())
	f.ok(err)
	f.equal("attempts", got, []store.Attempt(nil))
	f.equal("history", f.history("bob"), []call.ID{young.ID})
	f.equal("young call", f.call(young.ID), stored)
	f.equal("young deliveries", f.deliveriesOf(young.ID), youngs)
	// The ID is free: nothing of the old call comes back.
	f.create(old)
	f.equal("deliveries", f.deliveriesOf(old.ID), []*store.Delivery(nil))
	f.equal("history", f.history("alice"), []call.ID{young.ID, old.ID})
}

// pruneKeeps says what stays however old it is.
func pruneKeeps(f *fixture) {
	ep := f.endpoints("http://a")[0]
	live, _ := f.deliver(now, ep, 1)
	due, ds := f.deliver(now, ep, 2)
	f.attempt(ds[0], store.Delivered, 0)
	f.end(due, now+1)
	idle := f.event(nil, now, store.Subscription{Endpoint: ep})
	f.commitSessions(&store.SessionCommit{App: app, User: "alice", Events: []*store.Event{idle}})
	pending := f.pending(ep, now+100, false, 10)
	f.equal("pending", len(pending), 3)

	f.equal("pruned", f.pruneAll(now+1e9, 10), 0)
	f.call(live.ID)
	f.call(due.ID)
	f.equal("pending", f.pending(ep, now+100, false, 10), pending)
	f.equal("history", len(f.history("alice")), 2)

	// Once it is delivered it may go.
	f.attempt(ds[1], store.Failed, 0)
	f.pruneAll(now+1e9, 10)
	_, err := f.Call(f.ctx(), due.ID)
	f.fails(err, store.ErrNotFound)
	f.equal("history", f.history("alice"), []call.ID{live.ID})
}

func pruneSteps(f *fixture) {
	var kept []call.ID
	for i := range 60 {
		c := f.ring(now+call.Instant(i*100), "alice", "bob")
		f.create(c, f.event(c, c.CreatedAt))
		if i%5 == 0 {
			kept = append(kept, c.ID)
			continue
		}
		f.end(c, c.CreatedAt+10)
	}
	first, err := f.Prune(f.ctx(), now+1e9, 7)
	f.ok(err)
	if first == 0 || first > 14 {
		f.Fatalf("a prune of about 7 deleted %d", first)
	}
	f.pruneAll(now+1e9, 7)
	slices.Reverse(kept)
	f.equal("history", f.history("alice"), kept)

	// What was passed over before is found when its time comes.
	for _, id := range kept {
		f.end(f.call(id).Call, now+1e6)
	}
	f.pruneAll(now+1e9, 3)
	f.equal("history", f.history("alice"), []call.ID(nil))
}

func pruneEvents(f *fixture) {
	ep := f.endpoints("http://a")[0]
	var events []*store.Event
	for i := range 300 {
		e := f.event(nil, now+call.Instant(i))
		if i%2 == 0 {
			e.Deliveries = []store.Subscription{{Endpoint: ep}}
		}
		events = append(events, e)
	}
	f.commitSessions(&store.SessionCommit{App: app, User: "alice", Events: events})
	pending := f.pending(ep, now+1000, false, 1000)
	f.equal("pending", len(pending), 150)
	for _, d := range pending[:100] {
		f.attempt(d, store.Pending, now)
		f.attempt(d, store.Delivered, 0)
	}
	f.equal("pruned", f.pruneAll(now+250, 40), 225) // 125 without a delivery, 100 delivered
	f.equal("pruned", f.pruneAll(now+250, 40), 0)
	got, err := f.Attempts(f.ctx(), pending[0].Key())
	f.ok(err)
	f.equal("attempts", got, []store.Attempt(nil))
	f.equal("pending", f.pending(ep, now+1000, false, 1000), pending[100:])
}

func pruneRequests(f *fixture) {
	for i := range 20 {
		c := f.ring(now, "alice", "bob")
		f.ok(f.CommitCall(f.ctx(), &store.CallCommit{
			CallRecord: store.CallRecord{Call: c},
			Request:    &store.Request{User: "alice", ID: fmt.Sprint(i), Call: c.ID, Expires: now + call.Instant(i)},
		}))
	}
	f.equal("pruned", f.pruneAll(now+15, 4), 15)
	for i := range 20 {
		_, err := f.Requested(f.ctx(), app, "alice", fmt.Sprint(i), now-1)
		if found := err == nil; found != (i >= 15) || err != nil && !errors.Is(err, store.ErrNotFound) {
			f.Fatalf("request %d gives %v", i, err)
		}
	}
}

func health(f *fixture) {
	f.ok(f.Ping(f.ctx()))
	f.ok(f.Headroom())
}

// reopen looks at everything after another start.
func reopen(f *fixture) {
	ep := f.endpoints("http://a", "http://b")[0]
	c, ds := f.deliver(now, ep, 3)
	f.attempt(ds[0], store.Pending, now+5)
	f.attempt(ds[0], store.Pending, now+6)
	f.attempt(ds[1], store.Delivered, 0)
	f.end(c, now+9)
	live, _ := f.deliver(now+1, ep, 1)
	request := &store.Request{User: "alice", ID: "r", Call: live.ID + 1, Expires: now + 99}
	f.ok(f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: *f.records()[1], Request: request}))
	s := store.Session{App: app, User: "alice", ID: "s", Platform: "WEB", LoginAt: now}
	gone := store.Session{App: app, User: "bob", ID: "s", LoginAt: now, OfflineAt: now + 1}
	f.commitSessions(&store.SessionCommit{App: app, User: "alice", Login: true, Name: "A", Put: []store.Session{s}})
	f.commitSessions(&store.SessionCommit{App: app, User: "bob", Put: []store.Session{gone}})

	look := func() (seen []any) {
		f.Helper()
		see := func(v any, err error) {
			f.Helper()
			f.ok(err)
			seen = append(seen, v)
		}
		r, err := f.Call(f.ctx(), c.ID)
		see(r, err)
		calls, err := f.LiveCalls(f.ctx(), store.AllPartitions, 0, 100)
		see(calls, err)
		history, _, err := f.CallsOf(f.ctx(), app, "alice", 0, 100)
		see(history, err)
		asked, err := f.Requested(f.ctx(), app, "alice", "r", now)
		see(asked, err)
		users, err := f.Users(f.ctx(), app, []call.UserID{"alice", "bob"})
		see(users, err)
		open, err := f.OpenSessions(f.ctx(), store.Session{}, 10)
		see(open, err)
		offline, err := f.OfflineSessions(f.ctx(), now+10, 10)
		see(offline, err)
		due, err := f.PendingDeliveries(f.ctx(), store.AllPartitions, ep, now+100, false, 10)
		see(due, err)
		strict, err := f.PendingDeliveries(f.ctx(), store.AllPartitions, ep, now+100, true, 10)
		see(strict, err)
		backlogs, err := f.Backlogs(f.ctx(), store.AllPartitions)
		see(backlogs, err)
		attempts, err := f.Attempts(f.ctx(), ds[0].Key())
		see(attempts, err)
		deliveries, err := f.DeliveriesOf(f.ctx(), c.ID)
		see(deliveries, err)
		last, err := f.LastEventID(f.ctx())
		see(last, err)
		return seen
	}
	before := look()
	f.reopen()
	f.equal("after another start", look(), before)
}

func closed(f *fixture) {
	c := f.ring(now, "alice", "bob")
	f.ok(f.Close())
	check := func(what string, err error) {
		f.Helper()
		if !errors.Is(err, store.ErrClosed) {
			f.Errorf("%s gives %v after Close, want %v", what, err, store.ErrClosed)
		}
	}
	check("CommitCall", f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: c}}))
	_, err := f.Call(f.ctx(), 1)
	check("Call", err)
	_, err = f.LiveCalls(f.ctx(), store.AllPartitions, 0, 1)
	check("LiveCalls", err)
	_, _, err = f.CallsOf(f.ctx(), app, "alice", 0, 1)
	check("CallsOf", err)
	_, err = f.Requested(f.ctx(), app, "alice", "r", now)
	check("Requested", err)
	check("CommitSessions", f.CommitSessions(f.ctx(), &store.SessionCommit{}))
	_, err = f.RegisterUsers(f.ctx(), app, nil, now)
	check("RegisterUsers", err)
	_, err = f.Users(f.ctx(), app, nil)
	check("Users", err)
	_, _, err = f.SessionsOf(f.ctx(), app, "alice")
	check("SessionsOf", err)
	_, err = f.OpenSessions(f.ctx(), store.Session{}, 1)
	check("OpenSessions", err)
	_, err = f.OfflineSessions(f.ctx(), now, 1)
	check("OfflineSessions", err)
	_, err = f.SyncApps(f.ctx(), nil, now)
	check("SyncApps", err)
	check("RecordAttempts", f.RecordAttempts(f.ctx(), nil))
	_, err = f.PendingDeliveries(f.ctx(), store.AllPartitions, 1, now, false, 1)
	check("PendingDeliveries", err)
	_, err = f.Backlogs(f.ctx(), store.AllPartitions)
	check("Backlogs", err)
	_, err = f.Attempts(f.ctx(), store.DeliveryKey{})
	check("Attempts", err)
	_, err = f.DeliveriesOf(f.ctx(), 1)
	check("DeliveriesOf", err)
	check("Ping", f.Ping(f.ctx()))
	check("Headroom", f.Headroom())
	_, err = f.LastEventID(f.ctx())
	check("LastEventID", err)
	_, err = f.Prune(f.ctx(), now, 1)
	check("Prune", err)
	check("UseNonce", f.UseNonce(f.ctx(), app, "n", now, now))
	_, err = f.SearchCalls(f.ctx(), store.CallQuery{Limit: 1})
	check("SearchCalls", err)
	_, err = f.ListUsers(f.ctx(), app, "", "", 1)
	check("ListUsers", err)
	check("AddEvents", f.AddEvents(f.ctx(), nil))
	_, err = f.EventsAfter(f.ctx(), app, 0, 1)
	check("EventsAfter", err)
	_, err = f.EventsOf(f.ctx(), 1)
	check("EventsOf", err)
	_, err = f.Delivery(f.ctx(), 1, 1)
	check("Delivery", err)
	_, err = f.SearchDeliveries(f.ctx(), store.DeliveryQuery{Limit: 1})
	check("SearchDeliveries", err)
	_, _, err = f.CountDeliveries(f.ctx(), store.DeliveryQuery{})
	check("CountDeliveries", err)
	_, err = f.Redeliver(f.ctx(), nil, nil, now)
	check("Redeliver", err)
	check("PutRedelivery", f.PutRedelivery(f.ctx(), &store.Redelivery{}, nil))
	_, err = f.Redelivery(f.ctx(), 1)
	check("Redelivery", err)
	_, err = f.ListRedeliveries(f.ctx(), 0, 1)
	check("ListRedeliveries", err)
	_, err = f.ManagedApps(f.ctx())
	check("ManagedApps", err)
	check("CommitApp", f.CommitApp(f.ctx(), &store.AppCommit{}))
	_, err = f.ListEndpoints(f.ctx())
	check("ListEndpoints", err)
	check("PauseEndpoint", f.PauseEndpoint(f.ctx(), 1, true, nil))
	check("AddAudit", f.AddAudit(f.ctx(), &store.Audit{}))
	_, err = f.AuditLog(f.ctx(), 0, 1)
	check("AuditLog", err)
	check("AppendTraces", f.AppendTraces(f.ctx(), nil))
	_, err = f.TraceOf(f.ctx(), 1)
	check("TraceOf", err)
	f.ok(f.Close()) // again
}
