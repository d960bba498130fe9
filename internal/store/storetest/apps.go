package storetest

import (
	"errors"
	"fmt"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

func appsIDs(f *fixture) {
	sync := func(apps ...store.App) [][]store.EndpointID {
		f.Helper()
		ids, err := f.SyncApps(f.ctx(), apps, now)
		f.ok(err)
		return ids
	}
	a := store.App{ID: 1, Name: "one \u00fc \u2028", Endpoints: []string{"http://a", "http://b"}}
	b := store.App{ID: 1<<32 - 1, Name: "", Endpoints: []string{"http://a"}}
	none := store.App{ID: 3, Name: "three"}
	ids := sync(a, none, b)
	f.equal("shape", fmt.Sprint(len(ids), len(ids[0]), len(ids[1]), len(ids[2])), "3 2 0 1")
	if ids[0][0] == ids[0][1] || ids[0][0] == ids[2][0] || ids[0][1] == ids[2][0] {
		f.Fatalf("endpoints share IDs: %v", ids)
	}
	f.equal("IDs of the same", sync(a, none, b), ids)
	f.equal("IDs in another order", sync(b, a), [][]store.EndpointID{ids[2], ids[0]})
	f.equal("no apps", len(sync()), 0)
	c := store.App{ID: 1, Name: "one", Endpoints: []string{"http://c", "http://b"}}
	later := sync(c, b)
	f.equal("ID of one that came back", later[0][1], ids[0][1])
	f.equal("ID of one that came back", later[1][0], ids[2][0])
	for _, old := range []store.EndpointID{ids[0][0], ids[0][1], ids[2][0]} {
		if later[0][0] == old {
			f.Fatalf("ID %d is used again", old)
		}
	}
	f.reopen()
	f.equal("ID after another start", sync(a), ids[:1])
}

func appsRemoval(f *fixture) {
	eps := f.endpoints("http://a", "http://b")
	_, a := f.deliver(now, eps[0], 3)
	_, b := f.deliver(now, eps[1], 1)
	tried := f.attempt(a[0], store.Pending, now+5)
	f.attempt(a[1], store.Delivered, now)

	f.endpoints("http://b")
	a[0].State, a[2].State = store.Failed, store.Failed
	f.equal("deliveries", f.deliveriesOf(a[0].Call), a)
	f.equal("pending", f.pending(eps[0], now+100, false, 10), []*store.Delivery(nil))
	f.equal("pending of the other", f.pending(eps[1], now+100, false, 10), b)
	got, err := f.Attempts(f.ctx(), a[0].Key())
	f.ok(err)
	f.equal("attempts", got, []store.Attempt{tried})

	// An attempt that was on its way, and a commit that did not know.
	f.attempt(a[0], store.Pending, now+6)
	f.equal("state", f.deliveriesOf(a[0].Call)[0].State, store.Failed)
	late, _ := f.deliver(now+1, eps[0], 1)
	f.equal("state", f.deliveriesOf(late.ID)[0].State, store.Failed)
	f.equal("pending", f.pending(eps[0], now+100, false, 10), []*store.Delivery(nil))

	// It comes back: what failed stays failed, what is new is pending.
	f.equal("IDs", f.endpoints("http://a", "http://b"), eps)
	f.equal("pending", f.pending(eps[0], now+100, false, 10), []*store.Delivery(nil))
	_, again := f.deliver(now+2, eps[0], 1)
	f.equal("pending", f.pending(eps[0], now+100, false, 10), again)

	// A whole app goes, and another start does not forget.
	_, err = f.SyncApps(f.ctx(), []store.App{{ID: app + 1, Endpoints: []string{"http://b"}}}, now)
	f.ok(err)
	f.equal("pending", f.pending(eps[1], now+100, false, 10), []*store.Delivery(nil))
	f.reopen()
	f.attempt(again[0], store.Pending, now+7)
	f.equal("pending", f.pending(eps[0], now+100, false, 10), []*store.Delivery(nil))
}

// appsRemovalOfMany removes endpoints with more pending deliveries than become
// failed with it.
func appsRemovalOfMany(f *fixture) {
	eps := f.endpoints("http://a", "http://b", "http://c")
	subs := []store.Subscription{{Endpoint: eps[0]}, {Endpoint: eps[1]}, {Endpoint: eps[2]}}
	const each = store.FailAtOnce/2 + 10
	events := make([]*store.Event, each)
	for i := range events {
		events[i] = f.event(nil, now+call.Instant(i))
		events[i].Deliveries = subs
	}
	f.commitSessions(&store.SessionCommit{App: app, User: "alice", Events: events})
	count := func(ep int) int {
		f.Helper()
		return len(f.pending(eps[ep], now+1e6, false, 2*each))
	}
	failRemoved := func(limit int) int {
		f.Helper()
		n, err := f.FailRemoved(f.ctx(), limit)
		f.ok(err)
		return n
	}
	f.equal("made failed", failRemoved(100), 0)

	f.endpoints("http://c")
	f.equal("pending", count(0)+count(1), 20)
	f.equal("pending of the other", count(2), each)
	f.equal("made failed", failRemoved(12), 12)
	f.equal("pending", count(0)+count(1), 8)
	f.reopen()
	f.equal("made failed", failRemoved(3), 3)

	// What is left when an endpoint comes back stays pending.
	f.equal("IDs", f.endpoints("http://c", "http://b", "http://a"), []store.EndpointID{eps[2], eps[1], eps[0]})
	f.equal("made failed", failRemoved(100), 0)
	f.equal("pending", count(0)+count(1), 5)
	f.endpoints("http://c")
	f.equal("pending", count(0)+count(1), 0)
	f.equal("made failed", failRemoved(100), 0)
	f.equal("pending of the other", count(2), each)
}

// commitApp commits an app that was made at run time and gives its endpoints.
func (f *fixture) commitApp(c *store.AppCommit) []store.EndpointRecord {
	f.Helper()
	f.ok(f.CommitApp(f.ctx(), c))
	return c.Endpoints
}

// managed makes an app with endpoints of these URLs.
func managed(id uint32, prior int64, urls ...string) *store.AppCommit {
	c := &store.AppCommit{Prior: prior, ManagedApp: store.ManagedApp{ID: id, Name: fmt.Sprint("app", id), CreatedAt: now}}
	for _, url := range urls {
		c.Endpoints = append(c.Endpoints, store.EndpointRecord{URL: url, Settings: []byte(url)})
	}
	return c
}

func (f *fixture) managedApps() []store.ManagedApp {
	f.Helper()
	apps, err := f.ManagedApps(f.ctx())
	f.ok(err)
	return apps
}

func (f *fixture) endpointRecords() []store.EndpointRecord {
	f.Helper()
	list, err := f.ListEndpoints(f.ctx())
	f.ok(err)
	return list
}

// taken fails the test unless err says whose an ID is.
func (f *fixture) taken(err error, want store.AppTakenError) {
	f.Helper()
	var taken *store.AppTakenError
	if !errors.As(err, &taken) || *taken != want {
		f.Fatalf("error is %v, want %v", err, &want)
	}
}

func managedRoundTrip(f *fixture) {
	f.equal("apps", f.managedApps(), []store.ManagedApp(nil))
	f.equal("endpoints", f.endpointRecords(), []store.EndpointRecord(nil))
	var want []store.ManagedApp
	for i, s := range odd {
		c := managed(uint32(i+1), 0, "http://a/"+s, "http://b/"+s)
		c.Name, c.Settings = s, []byte(s)
		c.Endpoints[1].Settings, c.Endpoints[1].Paused = nil, true
		c.Audit = &store.Audit{At: now, Action: "app.create", Target: fmt.Sprint("app ", c.ID)}
		eps := f.commitApp(c)
		if eps[0].ID == 0 || eps[1].ID == 0 || c.Audit.ID == 0 {
			f.Fatalf("no IDs in place: %s %+v", show(c.ManagedApp), c.Audit)
		}
		f.equal("version", c.Version, int64(1))
		f.equal("endpoint", eps[1], store.EndpointRecord{ID: eps[1].ID, App: c.ID, URL: "http://b/" + s, Paused: true})
		want = append(want, c.ManagedApp)
	}
	f.equal("apps", f.managedApps(), want)
	f.reopen()
	f.equal("apps", f.managedApps(), want)
	entries, err := f.AuditLog(f.ctx(), 0, 1000)
	f.ok(err)
	f.equal("audit", len(entries), len(odd))

	// The next version, as a whole.
	next := managed(2, 1, "http://b/"+odd[1], "http://c")
	next.Name, next.CreatedAt = "renamed", now+1
	eps := f.commitApp(next)
	f.equal("ID of one that stays", eps[0].ID, want[1].Endpoints[1].ID)
	f.equal("version", next.Version, int64(2))
	want[1] = next.ManagedApp
	f.equal("paused stays", eps[0].Paused, true)
	f.equal("apps", f.managedApps(), want)
	all := f.endpointRecords()
	f.equal("endpoints", len(all), 2*len(odd)+1)
	for i, e := range all {
		if i > 0 && all[i-1].ID >= e.ID {
			f.Fatalf("endpoint %d comes after %d", e.ID, all[i-1].ID)
		}
		f.equal("removed", e.Removed, e.App == 2 && e.URL == "http://a/"+odd[1])
	}
}

func managedConflict(f *fixture) {
	f.commitApp(managed(1, 0, "http://a"))
	f.commitApp(managed(1, 1, "http://a"))
	stored, endpoints := f.managedApps(), f.endpointRecords()
	for _, prior := range []int64{0, 1, 3} {
		c := managed(1, prior, "http://other")
		c.Audit = &store.Audit{At: now}
		f.fails(f.CommitApp(f.ctx(), c), store.ErrConflict)
		f.equal("ID in place", c.Endpoints[0].ID, store.EndpointID(0))
	}
	f.fails(f.CommitApp(f.ctx(), managed(2, 1, "http://a")), store.ErrConflict)
	// An ID that is another endpoint's.
	wrong := managed(1, 2, "http://a", "http://b")
	wrong.Endpoints[1].ID = endpoints[0].ID
	if err := f.CommitApp(f.ctx(), wrong); err == nil || errors.Is(err, store.ErrConflict) {
		f.Fatalf("an endpoint with the ID of another gives %v", err)
	}
	f.equal("apps", f.managedApps(), stored)
	f.equal("endpoints", f.endpointRecords(), endpoints)
	entries, err := f.AuditLog(f.ctx(), 0, 10)
	f.ok(err)
	f.equal("audit", len(entries), 0)
	same := managed(1, 2, "http://a")
	same.Endpoints[0].ID = endpoints[0].ID
	f.commitApp(same)
}

// managedAndFile says that apps of the two kinds leave each other alone.
func managedAndFile(f *fixture) {
	file := f.endpoints("http://a", "http://b")
	c := managed(app+1, 0, "http://a", "http://b")
	made := f.commitApp(c)
	ids := []store.EndpointID{made[0].ID, made[1].ID}
	before, stored := f.endpointRecords(), f.managedApps()
	f.equal("endpoints", before, []store.EndpointRecord{
		{ID: file[0], App: app, URL: "http://a"},
		{ID: file[1], App: app, URL: "http://b"},
		{ID: ids[0], App: app + 1, URL: "http://a", Settings: []byte("http://a")},
		{ID: ids[1], App: app + 1, URL: "http://b", Settings: []byte("http://b")},
	})

	f.taken(f.CommitApp(f.ctx(), managed(app, 0, "http://c")), store.AppTakenError{ID: app, File: true})
	f.taken(f.CommitApp(f.ctx(), managed(app, 1)), store.AppTakenError{ID: app, File: true})
	_, err := f.SyncApps(f.ctx(), []store.App{{ID: 1, Endpoints: []string{"http://new"}}, {ID: app + 1}}, now)
	f.taken(err, store.AppTakenError{ID: app + 1})
	f.equal("endpoints", f.endpointRecords(), before)
	f.equal("apps", f.managedApps(), stored)
	f.equal("IDs", f.endpoints("http://a", "http://b"), file)

	_, mine := f.deliver(now, ids[0], 1)
	f.deliver(now, file[0], 1)
	_, err = f.SyncApps(f.ctx(), nil, now)
	f.ok(err)
	f.equal("pending of the managed app", f.pending(ids[0], now, false, 10), mine)
	f.equal("pending of the file's", f.pending(file[0], now, false, 10), []*store.Delivery(nil))
	f.reopen()
	f.equal("pending of the managed app", f.pending(ids[0], now, false, 10), mine)

	// An ID that the file has given up is free, and its endpoints come back.
	taken := f.commitApp(managed(app, 0, "http://b"))
	f.equal("ID of one that came back", taken[0].ID, file[1])
	_, again := f.deliver(now, file[1], 1)
	f.equal("pending", f.pending(file[1], now, false, 10), again)
	_, gone := f.deliver(now, file[0], 1)
	f.equal("state", f.deliveriesOf(gone[0].Call)[0].State, store.Failed)
}

// managedRemoval says that endpoints of such apps go and come like others.
func managedRemoval(f *fixture) {
	eps := f.commitApp(managed(app, 0, "http://a", "http://b"))
	other := f.commitApp(managed(app+1, 0, "http://a"))
	_, a := f.deliver(now, eps[0].ID, 2)
	_, b := f.deliver(now, eps[1].ID, 1)
	_, c := f.deliver(now, other[0].ID, 1)
	f.attempt(a[0], store.Pending, now+5)

	f.commitApp(managed(app, 1, "http://b"))
	a[0].State, a[1].State = store.Failed, store.Failed
	f.equal("deliveries", f.deliveriesOf(a[0].Call), a)
	f.equal("pending of the other", f.pending(eps[1].ID, now, false, 10), b)
	f.equal("pending of the other app", f.pending(other[0].ID, now, false, 10), c)
	f.attempt(a[0], store.Pending, now+6)
	f.equal("state", f.deliveriesOf(a[0].Call)[0].State, store.Failed)
	f.reopen()
	late, _ := f.deliver(now, eps[0].ID, 1)
	f.equal("state", f.deliveriesOf(late.ID)[0].State, store.Failed)

	back := managed(app, 2, "http://a", "http://b")
	f.equal("ID of one that came back", f.commitApp(back)[0].ID, eps[0].ID)
	_, again := f.deliver(now+1, eps[0].ID, 1)
	f.equal("pending", f.pending(eps[0].ID, now+1, false, 10), again)
	f.commitApp(managed(app, 3))
	f.equal("pending", f.pending(eps[0].ID, now+1, false, 10), []*store.Delivery(nil))
	f.equal("pending", f.pending(eps[1].ID, now+1, false, 10), []*store.Delivery(nil))
	f.equal("endpoints left", f.managedApps()[0].Endpoints, []store.EndpointRecord(nil))
}

func endpointsPaused(f *fixture) {
	file := f.endpoints("http://a", "http://b")
	made := f.commitApp(managed(app+1, 0, "http://a"))
	paused := func() (ids []store.EndpointID) {
		f.Helper()
		for _, e := range f.endpointRecords() {
			if e.Paused {
				ids = append(ids, e.ID)
			}
		}
		return ids
	}
	pause := func(id store.EndpointID, is bool) {
		f.Helper()
		audit := &store.Audit{At: now, Actor: "admin", Action: "endpoint.pause"}
		f.ok(f.PauseEndpoint(f.ctx(), id, is, audit))
		if audit.ID == 0 {
			f.Fatal("the audit entry has no ID")
		}
	}
	pause(file[0], true)
	pause(made[0].ID, true)
	f.ok(f.PauseEndpoint(f.ctx(), file[1], false, nil))
	f.equal("paused", paused(), []store.EndpointID{file[0], made[0].ID})
	f.endpoints("http://a", "http://b")
	again := f.commitApp(managed(app+1, 1, "http://a"))
	f.equal("paused in place", again[0].Paused, true)
	f.reopen()
	f.equal("paused", paused(), []store.EndpointID{file[0], made[0].ID})
	_, due := f.deliver(now, file[0], 1)
	f.equal("pending", f.pending(file[0], now, false, 10), due) // that it waits is not the store's business
	pause(made[0].ID, false)
	f.equal("paused", paused(), []store.EndpointID{file[0]})

	f.fails(f.PauseEndpoint(f.ctx(), 999, true, &store.Audit{}), store.ErrNotFound)
	f.endpoints("http://b")
	f.fails(f.PauseEndpoint(f.ctx(), file[0], true, &store.Audit{}), store.ErrNotFound)
	f.endpoints("http://a", "http://b")
	f.equal("paused", paused(), []store.EndpointID(nil))
	entries, err := f.AuditLog(f.ctx(), 0, 10)
	f.ok(err)
	f.equal("audit", len(entries), 3)
}

func auditLog(f *fixture) {
	list := func(before int64, limit int) []store.Audit {
		f.Helper()
		entries, err := f.AuditLog(f.ctx(), before, limit)
		f.ok(err)
		return entries
	}
	f.equal("audit", list(0, 10), []store.Audit(nil))
	var want []store.Audit // the newest first
	for i, s := range odd {
		a := store.Audit{At: now - 5, Actor: s, Remote: "r" + s, Action: "a" + s, Target: "t" + s, Details: []byte(s)}
		if i == 0 {
			a.Details = nil
		}
		f.ok(f.AddAudit(f.ctx(), &a))
		if len(want) > 0 && a.ID <= want[0].ID {
			f.Fatalf("entry %d comes after %d", a.ID, want[0].ID)
		}
		want = append([]store.Audit{a}, want...)
	}
	f.reopen()
	f.equal("audit", list(0, 1000), want)
	f.equal("page", list(0, 3), want[:3])
	f.equal("page", list(want[2].ID, 4), want[3:7])
	f.equal("page", list(want[len(want)-1].ID, 4), []store.Audit(nil))
}
