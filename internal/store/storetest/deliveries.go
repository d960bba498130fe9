package storetest

import (
	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// deliver commits a call with so many events, each due to the endpoint.
func (f *fixture) deliver(at call.Instant, ep store.EndpointID, events int) (*call.Call, []*store.Delivery) {
	f.Helper()
	c := f.ring(at, "alice", "bob")
	var es []*store.Event
	for i := range events {
		es = append(es, f.event(c, at, store.Subscription{Endpoint: ep, Sequence: i + 1}))
	}
	f.create(c, es...)
	return c, deliveriesDue(es...)
}

// deliveriesDue gives the deliveries of events that were just committed.
func deliveriesDue(events ...*store.Event) (ds []*store.Delivery) {
	for _, e := range events {
		for _, sub := range e.Deliveries {
			ds = append(ds, &store.Delivery{
				Event: e.ID, Endpoint: sub.Endpoint, App: e.App, Call: e.Call, Sequence: sub.Sequence, Name: e.Name, At: e.At,
				Fields: e.Fields, Test: e.Test, Due: e.At,
			})
		}
	}
	return ds
}

// attempt records an attempt and changes d as it says.
func (f *fixture) attempt(d *store.Delivery, state store.DeliveryState, due call.Instant) store.Attempt {
	f.Helper()
	d.State, d.Due = state, due
	d.Attempts++
	d.Failures++
	a := store.Attempt{
		Delivery: d.Key(), Number: d.Attempts, Started: now + call.Instant(d.Attempts), Duration: 12, Status: 500, Error: "status 500",
		Response: "no", Header: "Retry-After: 1\r\n", Request: []byte{0, byte(d.Attempts)}, State: state, Failures: d.Failures, Due: due,
	}
	f.ok(f.RecordAttempts(f.ctx(), []store.Attempt{a}))
	return a
}

func deliveriesPending(f *fixture) {
	eps := f.endpoints("http://a", "http://b")
	_, first := f.deliver(now+20, eps[0], 2)
	_, second := f.deliver(now+10, eps[0], 2)
	_, other := f.deliver(now+5, eps[1], 1)
	want := []*store.Delivery{second[0], second[1], first[0], first[1]}
	f.equal("pending", f.pending(eps[0], now+100, false, 10), want)
	f.equal("pending now", f.pending(eps[0], now+10, false, 10), want[:2])
	f.equal("pending, three", f.pending(eps[0], now+100, false, 3), want[:3])
	f.equal("pending before", f.pending(eps[0], now+9, false, 10), []*store.Delivery(nil))
	f.equal("pending of the other", f.pending(eps[1], now+100, false, 10), other)

	f.attempt(second[0], store.Pending, now+15)
	f.attempt(second[1], store.Delivered, 0)
	f.attempt(first[0], store.Failed, 0)
	f.equal("pending", f.pending(eps[0], now+100, false, 10), []*store.Delivery{second[0], first[1]})
	f.attempt(second[0], store.Pending, now+50)
	f.equal("pending", f.pending(eps[0], now+100, false, 10), []*store.Delivery{first[1], second[0]})
	// One that is finished stays so, whatever comes late.
	late := store.Attempt{Delivery: first[0].Key(), Number: first[0].Attempts + 1, State: store.Pending, Due: now + 1}
	f.ok(f.RecordAttempts(f.ctx(), []store.Attempt{late}))
	f.equal("pending", f.pending(eps[0], now+100, false, 10), []*store.Delivery{first[1], second[0]})
	again, err := f.Redeliver(f.ctx(), []store.DeliveryKey{first[0].Key()}, nil, now+1)
	f.ok(err)
	first[0] = again[0]
	f.equal("pending", f.pending(eps[0], now+100, false, 10), []*store.Delivery{first[0], first[1], second[0]})
}

func deliveriesStrict(f *fixture) {
	eps := f.endpoints("http://a", "http://b")
	_, x := f.deliver(now, eps[0], 3)
	_, y := f.deliver(now+1, eps[0], 2)
	user := []*store.Event{f.event(nil, now+2, store.Subscription{Endpoint: eps[0]}), f.event(nil, now+2, store.Subscription{Endpoint: eps[0]})}
	f.commitSessions(&store.SessionCommit{App: app, User: "alice", Events: user})
	strict := func() []store.EventID { f.Helper(); return eventsOf(f.pending(eps[0], now+100, true, 10)) }

	f.equal("pending", strict(), []store.EventID{x[0].Event, y[0].Event, user[0].ID, user[1].ID})
	f.attempt(x[0], store.Pending, now+500) // not due yet, and still before the others
	f.attempt(y[0], store.Delivered, 0)
	f.equal("pending", strict(), []store.EventID{y[1].Event, user[0].ID, user[1].ID})
	f.attempt(x[0], store.Failed, 0)
	f.equal("pending", strict(), []store.EventID{x[1].Event, y[1].Event, user[0].ID, user[1].ID})
	f.equal("pending, one", eventsOf(f.pending(eps[0], now+100, true, 1)), []store.EventID{x[1].Event})
}

func deliveriesOfCall(f *fixture) {
	eps := f.endpoints("http://a", "http://b")
	c := f.ring(now, "alice", "bob")
	var events []*store.Event
	for i, fields := range [][]byte{nil, {}, []byte(`{"payload":"\u0000"}`), []byte("\xff\x00not JSON")} {
		e := f.event(c, now+call.Instant(i), store.Subscription{Endpoint: eps[0], Sequence: i + 1}, store.Subscription{Endpoint: eps[1], Sequence: i + 5})
		e.Fields, e.Name = fields, odd[i+2]
		events = append(events, e)
	}
	f.create(c, events...)
	want := deliveriesDue(events...)
	f.equal("deliveries", f.deliveriesOf(c.ID), want)
	f.attempt(want[3], store.Failed, 0)
	f.attempt(want[4], store.Pending, now+99)
	f.equal("deliveries", f.deliveriesOf(c.ID), want)
	f.equal("deliveries of no call", f.deliveriesOf(c.ID+1), []*store.Delivery(nil))
}

func attempts(f *fixture) {
	ep := f.endpoints("http://a")[0]
	_, ds := f.deliver(now, ep, 3)
	list := func(d *store.Delivery) []store.Attempt {
		f.Helper()
		got, err := f.Attempts(f.ctx(), d.Key())
		f.ok(err)
		return got
	}
	f.equal("no attempts", list(ds[0]), []store.Attempt(nil))
	var want []store.Attempt
	for i := range 7 {
		want = append(want, f.attempt(ds[0], store.Pending, now+call.Instant(i)))
		f.equal("attempts", list(ds[0]), want)
	}
	want = append(want, f.attempt(ds[0], store.Failed, 0))
	// By hand, after it was given up, and one that counts nothing.
	by := store.Attempt{Delivery: ds[0].Key(), Number: 9, Started: now + 99, State: store.Delivered, Status: 200, Failures: 8}
	f.ok(f.RecordAttempts(f.ctx(), []store.Attempt{by}))
	want = append(want, by)
	f.equal("attempts", list(ds[0]), want)
	ds[0].State, ds[0].Attempts = store.Delivered, 9
	f.equal("deliveries", f.deliveriesOf(ds[0].Call), ds)

	// The same number again, because its result was not known to be recorded.
	first := f.attempt(ds[1], store.Pending, now+1)
	second := f.attempt(ds[1], store.Pending, now+2)
	second.Status, second.State, second.Error, second.Response = 200, store.Delivered, "", "ok"
	f.ok(f.RecordAttempts(f.ctx(), []store.Attempt{second}))
	f.equal("attempts", list(ds[1]), []store.Attempt{first, second})

	// Several at once, with whatever the other side answers.
	var batch []store.Attempt
	for i, s := range odd {
		batch = append(batch, store.Attempt{Delivery: ds[2].Key(), Number: i + 1, Started: now, Error: s, Response: s + s, Header: s, Request: []byte(s), State: store.Pending, Due: now})
	}
	f.ok(f.RecordAttempts(f.ctx(), batch))
	f.equal("attempts", list(ds[2]), batch)
	f.ok(f.RecordAttempts(f.ctx(), nil))
}

func attemptsUnknown(f *fixture) {
	ep := f.endpoints("http://a")[0]
	_, ds := f.deliver(now, ep, 1)
	gone := store.DeliveryKey{Endpoint: ep, Call: ds[0].Call + 1, Sequence: 1}
	f.ok(f.RecordAttempts(f.ctx(), []store.Attempt{
		{Delivery: gone, Number: 1, State: store.Delivered},
		{Delivery: gone, Number: 2, State: store.Pending},
		{Delivery: ds[0].Key(), Number: 1, State: store.Delivered},
	}))
	got, err := f.Attempts(f.ctx(), gone)
	f.ok(err)
	f.equal("attempts", got, []store.Attempt(nil))
	f.equal("pending", f.pending(ep, now+1, false, 10), []*store.Delivery(nil))
	f.equal("state", f.deliveriesOf(ds[0].Call)[0].State, store.Delivered)
}

func backlogs(f *fixture) {
	eps := f.endpoints("http://a", "http://b", "http://c")
	list := func() []store.Backlog {
		f.Helper()
		got, err := f.Backlogs(f.ctx(), store.AllPartitions)
		f.ok(err)
		return got
	}
	f.equal("backlogs", list(), []store.Backlog(nil))
	_, a := f.deliver(now+10, eps[0], 3)
	f.deliver(now+20, eps[0], 1)
	_, b := f.deliver(now+30, eps[2], 1)
	f.equal("backlogs", list(), []store.Backlog{
		{Endpoint: eps[0], Pending: 4, Oldest: now + 10, NextDue: now + 10},
		{Endpoint: eps[2], Pending: 1, Oldest: now + 30, NextDue: now + 30},
	})
	f.attempt(a[0], store.Pending, now+99)
	f.attempt(a[1], store.Delivered, 0)
	f.attempt(a[2], store.Pending, now+88)
	f.attempt(b[0], store.Failed, 0)
	f.equal("backlogs", list(), []store.Backlog{{Endpoint: eps[0], Pending: 3, Oldest: now + 10, NextDue: now + 20}})
}
