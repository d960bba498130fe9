package storetest

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// searchAll turns the pages of a search until the last.
func (f *fixture) searchAll(q store.DeliveryQuery) (all []*store.LoggedDelivery) {
	f.Helper()
	for range 10_000 {
		page, err := f.SearchDeliveries(f.ctx(), q)
		f.ok(err)
		if len(page.Deliveries) > q.Limit {
			f.Fatalf("a page of %d has %d deliveries", q.Limit, len(page.Deliveries))
		}
		all = append(all, page.Deliveries...)
		if page.Next == (store.DeliveryPlace{}) {
			return all
		}
		q.After = page.Next
	}
	f.Fatal("the search does not come to an end")
	return nil
}

// countAll counts what is left of a search.
func (f *fixture) countAll(q store.DeliveryQuery) (sum int) {
	f.Helper()
	for range 10_000 {
		n, next, err := f.CountDeliveries(f.ctx(), q)
		f.ok(err)
		sum += n
		if next == (store.DeliveryPlace{}) {
			return sum
		}
		q.After = next
	}
	f.Fatal("the count does not come to an end")
	return 0
}

// library makes deliveries of all kinds, to five endpoints of two apps, of
// which one is removed at last, and gives them as a search does.
func (f *fixture) library() (all []*store.LoggedDelivery, eps []store.EndpointID) {
	f.Helper()
	apps := []store.App{{ID: app, Endpoints: []string{"http://a", "http://b", "http://c"}}, {ID: app + 1, Endpoints: []string{"http://a", "http://b"}}}
	ids, err := f.SyncApps(f.ctx(), apps, now)
	f.ok(err)
	names := []string{"call_create", "call_accept", "user_action"}
	for n := range 40 {
		at, own := n%2, n%5 == 4
		var c *call.Call
		if !own {
			c = f.ring(now+call.Instant(n), "alice", "bob")
			c.App = app + uint32(at)
		}
		var events []*store.Event
		for i := range 1 + n%3 {
			e := f.event(c, now+call.Instant(10*n+i))
			e.App, e.Name, e.Test = app+uint32(at), names[(n+i)%3], own && n%2 == 0
			for k, id := range ids[at] {
				if (n+i+k)%4 == 0 {
					continue
				}
				sub := store.Subscription{Endpoint: id}
				if !own {
					sub.Sequence = i + 1
				}
				e.Deliveries = append(e.Deliveries, sub)
			}
			events = append(events, e)
		}
		if own {
			f.addEvents(events...)
		} else {
			f.create(c, events...)
		}
		for _, d := range deliveriesDue(events...) {
			all = append(all, &store.LoggedDelivery{Delivery: *d})
		}
	}
	for i, d := range all {
		var made store.Attempt
		switch i % 7 {
		case 0:
			made = f.attempt(&d.Delivery, store.Failed, 0)
		case 1, 2, 3:
			made = f.attempt(&d.Delivery, store.Delivered, 0)
		case 4:
			f.attempt(&d.Delivery, store.Pending, now+5)
			made = f.attempt(&d.Delivery, store.Pending, now+9000)
		default:
			continue
		}
		made.Header, made.Response, made.Request, made.Failures, made.Due = "", "", nil, 0, 0
		d.Latest = &made
	}
	apps[0].Endpoints = apps[0].Endpoints[:2]
	_, err = f.SyncApps(f.ctx(), apps, now)
	f.ok(err)
	for _, d := range all {
		if d.Endpoint == ids[0][2] && d.State == store.Pending {
			d.State = store.Failed
		}
	}
	slices.SortFunc(all, func(a, b *store.LoggedDelivery) int {
		return cmp.Or(cmp.Compare(a.Event, b.Event), cmp.Compare(a.Endpoint, b.Endpoint))
	})
	return all, slices.Concat(ids...)
}

// found is what a query is to find among all.
func found(q store.DeliveryQuery, all []*store.LoggedDelivery) (want []*store.LoggedDelivery) {
	for _, d := range all {
		if (q.App == 0 || d.App == q.App) && (q.Call == 0 || d.Call == q.Call) && (q.Endpoint == 0 || d.Endpoint == q.Endpoint) &&
			(q.Event == "" || d.Name == q.Event) && (len(q.States) == 0 || slices.Contains(q.States, d.State)) &&
			d.Event >= q.From && (q.Until == 0 || d.Event < q.Until) {
			want = append(want, d)
		}
	}
	if !q.Oldest {
		slices.Reverse(want)
	}
	return want
}

func searchDeliveries(f *fixture) {
	f.equal("deliveries of none", f.searchAll(store.DeliveryQuery{Limit: 5}), []*store.LoggedDelivery(nil))
	all, eps := f.library()
	one := all[len(all)/3]
	var ofCall call.ID
	for _, d := range all {
		if d.Call != 0 {
			ofCall = d.Call
		}
	}
	states := [][]store.DeliveryState{
		nil, {store.Pending}, {store.Delivered}, {store.Failed}, {store.Failed, store.Pending}, {store.Delivered, store.Failed}, {7},
	}
	nonempty, queries := 0, 0
	for _, a := range []uint32{0, app, app + 1, app + 2} {
		for _, ep := range []store.EndpointID{0, eps[1], eps[2], 999} {
			for _, id := range []call.ID{0, ofCall, 1} {
				for _, name := range []string{"", "call_accept", "none"} {
					for i, s := range states {
						if queries++; queries%3 != 0 { // of all combinations
							continue
						}
						q := store.DeliveryQuery{App: a, Endpoint: ep, Call: id, Event: name, States: s, Oldest: i%2 == 0, Limit: 1000}
						if i%3 == 1 {
							q.From = one.Event
						}
						if i%4 == 3 {
							q.Until = all[len(all)*3/4].Event
						}
						want := found(q, all)
						if len(want) > 0 {
							nonempty++
						}
						f.equal(fmt.Sprintf("search %+v", q), f.searchAll(q), want)
						f.equal(fmt.Sprintf("count %+v", q), f.countAll(q), len(want))
						q.Oldest, q.Limit = !q.Oldest, 10
						f.equal(fmt.Sprintf("search %+v", q), f.searchAll(q), found(q, all))
					}
				}
			}
		}
	}
	if nonempty < 30 {
		f.Fatalf("only %d queries find anything", nonempty)
	}
	// From many a place on, whatever is there.
	for _, oldest := range []bool{false, true} {
		for _, s := range states[:6] {
			q := store.DeliveryQuery{States: s, Oldest: oldest, Limit: 1000}
			want := found(store.DeliveryQuery{Oldest: oldest}, all)
			for i, d := range want {
				if i%5 != 0 && i < len(want)-5 {
					continue
				}
				q.After = store.DeliveryPlace{Event: d.Event, Endpoint: d.Endpoint}
				rest := found(store.DeliveryQuery{States: s, Oldest: true}, want[i+1:])
				f.equal(fmt.Sprintf("search %+v", q), f.searchAll(q), rest)
				f.equal(fmt.Sprintf("count %+v", q), f.countAll(q), len(rest))
			}
		}
	}
	// From and until any event, by any plan.
	for i, d := range all {
		for _, q := range []store.DeliveryQuery{{States: states[i%len(states)]}, {Call: d.Call}, {States: states[1], Endpoint: d.Endpoint}} {
			q.From, q.Until, q.Oldest, q.Limit = all[i/2].Event, d.Event, i%2 == 0, 1000
			f.equal(fmt.Sprintf("search %+v", q), f.searchAll(q), found(q, all))
			q.From, q.Until = d.Event, d.Event+1
			f.equal(fmt.Sprintf("search %+v", q), f.searchAll(q), found(q, all))
		}
	}
	for _, q := range []store.DeliveryQuery{{From: math.MaxInt64, Limit: 1}, {From: one.Event, Until: one.Event, Limit: 1}} {
		f.equal("search of nothing", f.searchAll(q), []*store.LoggedDelivery(nil))
	}
	// One by one.
	for _, d := range all {
		got, err := f.Delivery(f.ctx(), d.Event, d.Endpoint)
		f.ok(err)
		f.equal("delivery", got, &d.Delivery)
	}
	for _, at := range []store.DeliveryPlace{{}, {Event: one.Event, Endpoint: 999}, {Event: one.Event + 1, Endpoint: one.Endpoint}} {
		_, err := f.Delivery(f.ctx(), at.Event, at.Endpoint)
		f.fails(err, store.ErrNotFound)
	}
}

// searchBounded has more rows than one search looks at, among which little is
// to be found.
func searchBounded(f *fixture) {
	apps := []store.App{{ID: app, Endpoints: []string{"http://a"}}, {ID: app + 1, Endpoints: []string{"http://a"}}}
	ids, err := f.SyncApps(f.ctx(), apps, now)
	f.ok(err)
	const events = 21_000
	var rare []*store.Event
	for n := 0; n < events; n += 1000 {
		var batch []*store.Event
		for i := range 1000 {
			e := &store.Event{App: app, Name: "often", At: now, Deliveries: []store.Subscription{{Endpoint: ids[0][0]}}}
			if n%5000 == 0 && i == 700 {
				e.App, e.Name, e.Deliveries[0].Endpoint = app+1, "rare", ids[1][0]
				rare = append(rare, e)
			}
			batch = append(batch, e)
		}
		f.addEvents(batch...)
	}
	for _, oldest := range []bool{false, true} {
		for _, limit := range []int{2, 100} {
			q := store.DeliveryQuery{Event: "rare", Oldest: oldest, Limit: limit}
			var got []*store.Delivery
			for _, d := range f.searchAll(q) {
				got = append(got, &d.Delivery)
			}
			if !oldest {
				slices.Reverse(got)
			}
			f.equal("what is rare", got, deliveriesDue(rare...))
		}
	}
	f.equal("pending", f.countAll(store.DeliveryQuery{States: []store.DeliveryState{store.Pending}}), events)
	f.equal("all", f.countAll(store.DeliveryQuery{}), events)
	f.equal("of an app", f.countAll(store.DeliveryQuery{App: app + 1, Oldest: true}), len(rare))
	got, next := f.follow(app+1, 0, 100)
	f.equal("events of an app", got, asRead(rare...))
	f.equal("next", next, f.lastEvent())
}

func searchCalls(f *fixture) {
	var all []*call.Call
	for i := range 60 {
		c := f.ring(now+call.Instant(i*350%4000), "alice", "bob")
		if i%4 == 0 {
			c = f.ring(now+call.Instant(i*350%4000), "carol", "alice")
		}
		c.App = app + uint32(i%3/2)
		f.create(c)
		if i%5 != 0 {
			var e call.Event = call.CallAccepted{Actor: call.Actor{User: c.Users[1].ID}, At: now}
			if i%5 == 1 {
				e = call.CallEnded{Actor: call.Actor{User: c.Caller}, At: now, Reason: call.ByOperator}
			}
			next := call.Evolve(c, e)
			f.ok(f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: next}, Prior: 1}))
			if c = next; i%5 == 2 {
				c = f.end(c, now+1)
			}
		}
		all = append(all, c)
	}
	// One that has ended as it comes to be.
	born := f.ring(now+500, "alice", "bob")
	born.State, born.EndedAt, born.EndReason = call.Ended, now+500, call.MaxDuration
	f.create(born)
	all = append(all, born)

	check := func(q store.CallQuery) int {
		f.Helper()
		var want []*call.Call
		for _, c := range all {
			if (q.App == 0 || c.App == q.App) && (q.User == "" || c.User(q.User) != nil) && (!q.Live || c.Live()) && (!q.Ended || !c.Live()) &&
				(q.Outcome == "" || c.Outcome() == q.Outcome) && c.CreatedAt >= q.From && (q.Until == 0 || c.CreatedAt < q.Until) {
				want = append(want, c)
			}
		}
		slices.SortFunc(want, func(a, b *call.Call) int {
			if q.User != "" {
				return cmp.Or(cmp.Compare(b.CreatedAt, a.CreatedAt), cmp.Compare(b.ID, a.ID))
			}
			return cmp.Compare(b.ID, a.ID)
		})
		for _, limit := range []int{1, 7, 1000} {
			q := q
			q.Limit = limit
			var got []*call.Call
			for range 1000 {
				page, err := f.SearchCalls(f.ctx(), q)
				f.ok(err)
				if len(page.Calls) > limit {
					f.Fatalf("a page of %d has %d calls", limit, len(page.Calls))
				}
				got = append(got, page.Calls...)
				if q.After = page.Next; page.Next == (store.CallPlace{}) {
					break
				}
			}
			f.equal(fmt.Sprintf("search %+v", q), got, want)
		}
		return len(want)
	}
	nonempty, queries := 0, 0
	for _, who := range []struct {
		app  uint32
		user call.UserID
	}{{0, ""}, {app, ""}, {app + 1, ""}, {app + 2, ""}, {app, "alice"}, {app + 1, "bob"}, {app, "carol"}, {app, "nobody"}} {
		for _, is := range []struct{ live, ended bool }{{}, {live: true}, {ended: true}} {
			for _, outcome := range append([]call.Outcome{""}, call.Outcomes...) {
				for _, from := range []call.Instant{0, now, now + 700, now + 1877, now + 1e9} {
					for _, until := range []call.Instant{0, now + 1, now + 1700, now + 2900, (now + 3000) / 1000 * 1000, 1 << 60} {
						if queries++; queries%7 != 0 { // of all combinations
							continue
						}
						if check(store.CallQuery{App: who.app, User: who.user, Live: is.live, Ended: is.ended, Outcome: outcome, From: from, Until: until}) > 0 {
							nonempty++
						}
					}
				}
			}
		}
	}
	if nonempty < 30 {
		f.Fatalf("only %d queries find anything", nonempty)
	}
}
