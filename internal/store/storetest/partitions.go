package storetest

import (
	"slices"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// partitionSets are sets worth a try.
var partitionSets = []store.PartitionSet{0, 1, 1 << 63, 0b1010, store.AllPartitions &^ (1 << 5), store.AllPartitions}

// ringIn makes a call of a partition.
func (f *fixture) ringIn(partition int, caller call.UserID, invitees ...call.UserID) *call.Call {
	c := f.ring(now+call.Instant(f.calls)*1000, caller, invitees...)
	c.ID = c.ID&^(store.PartitionCount-1) | call.ID(partition)
	return c
}

// callPriorCommit says that a commit may ask for the one before it.
func callPriorCommit(f *fixture) {
	c := f.ring(now, "alice", "bob")
	write := func(c *call.Call, id, prior uint64) error {
		return f.CommitCall(f.ctx(), &store.CallCommit{
			CallRecord: store.CallRecord{Call: c, CommitID: id}, Prior: c.Version, PriorCommit: prior, NewUsers: []call.UserID{"eve"},
			Events: []*store.Event{f.event(c, now)},
		})
	}
	f.ok(f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: c, CommitID: 1<<64 - 1}}))
	f.fails(write(c, 5, 4), store.ErrConflict)
	f.equal("history", f.history("eve"), []call.ID(nil))
	f.equal("last event", f.lastEvent(), store.EventID(0))
	f.ok(write(c, 5, 1<<64-1))
	f.fails(write(c, 6, 1<<64-1), store.ErrConflict)
	f.equal("call", f.call(c.ID), &store.CallRecord{Call: c, CommitID: 5})
	ended := call.Evolve(c, call.CallEnded{Actor: call.Actor{User: c.Caller}, At: now, Reason: call.ByOperator})
	end := func(prior int64, commit uint64) error {
		return f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: ended, CommitID: 7}, Prior: prior, PriorCommit: commit})
	}
	f.fails(end(1, 4), store.ErrConflict)
	f.fails(end(2, 5), store.ErrConflict)
	f.ok(end(1, 5))
}

// liveOfPartitions lists live calls and their heads by partition.
func liveOfPartitions(f *fixture) {
	var live []*store.CallRecord
	for i := range 150 {
		c := f.ringIn(i*7%store.PartitionCount, "alice", "bob")
		commit := f.create(c)
		if i%4 == 0 {
			f.end(c, c.CreatedAt+1)
			continue
		}
		live = append(live, &commit.CallRecord)
	}
	slices.SortFunc(live, func(a, b *store.CallRecord) int { return int(int64(a.Call.ID) - int64(b.Call.ID)) })
	for _, parts := range partitionSets {
		var want []*store.CallRecord
		var heads []store.CallHead
		for _, r := range live {
			if parts.Has(store.PartitionOf(r.Call.ID)) {
				want = append(want, r)
				heads = append(heads, store.CallHead{ID: r.Call.ID, Version: r.Call.Version, CommitID: r.CommitID})
			}
		}
		for _, limit := range []int{7, 1000} {
			var got []*store.CallRecord
			var gotHeads []store.CallHead
			for after := call.ID(0); ; after = got[len(got)-1].Call.ID {
				page, err := f.LiveCalls(f.ctx(), parts, after, limit)
				f.ok(err)
				headPage, err := f.LiveHeads(f.ctx(), parts, after, limit)
				f.ok(err)
				f.equal("heads in the page", len(headPage), len(page))
				if got, gotHeads = append(got, page...), append(gotHeads, headPage...); len(page) < limit {
					break
				}
			}
			f.equal("live calls", got, want)
			f.equal("heads", gotHeads, heads)
		}
	}
}

// liveOfUser lists the live calls that a user is or was part of.
func liveOfUser(f *fixture) {
	of := func(a uint32, user call.UserID) (ids []call.ID) {
		f.Helper()
		records, err := f.LiveCallsOf(f.ctx(), a, user)
		f.ok(err)
		for _, r := range records {
			f.equal("call", r, f.call(r.Call.ID))
			ids = append(ids, r.Call.ID)
		}
		slices.Sort(ids)
		return ids
	}
	f.equal("of nobody", of(app, "alice"), []call.ID(nil))
	past := f.ring(now-1e9, "alice", "bob")
	f.create(past)
	f.end(past, now)
	f.equal("of one with none", of(app, "alice"), []call.ID(nil))
	first, second := f.ring(now-1000, "alice", "bob"), f.ring(now, "carol", "bob")
	f.create(first)
	f.create(second)
	f.equal("of alice", of(app, "alice"), []call.ID{first.ID})
	f.equal("of bob", of(app, "bob"), []call.ID{first.ID, second.ID})
	f.equal("in another app", of(app+1, "bob"), []call.ID(nil))
	joined := call.Evolve(first, call.UserJoined{Actor: call.Actor{User: "dave"}, At: now + 9})
	f.ok(f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: joined}, Prior: 1, NewUsers: []call.UserID{"dave"}}))
	f.equal("of one who joined", of(app, "dave"), []call.ID{first.ID})
	f.end(second, now+10)
	f.equal("of bob", of(app, "bob"), []call.ID{first.ID})
	f.end(joined, now+10)
	f.equal("of bob", of(app, "bob"), []call.ID(nil))
}

// dueOfPartitions lists pending deliveries and counts them by partition.
func dueOfPartitions(f *fixture) {
	eps := f.endpoints("http://a", "http://b")
	var all []*store.Delivery
	for i := range 60 {
		c := f.ringIn(i*11%store.PartitionCount, "alice", "bob")
		events := []*store.Event{
			f.event(c, c.CreatedAt, store.Subscription{Endpoint: eps[i%2], Sequence: 1}),
			f.event(c, c.CreatedAt, store.Subscription{Endpoint: eps[i%2], Sequence: 2}),
		}
		f.create(c, events...)
		own := f.event(nil, c.CreatedAt, store.Subscription{Endpoint: eps[0]})
		f.addEvents(own)
		all = append(all, deliveriesDue(append(events, own)...)...)
	}
	for _, parts := range partitionSets {
		var want []store.Backlog
		for _, ep := range eps {
			var due, strict []*store.Delivery
			for _, d := range all {
				if d.Endpoint == ep && parts.Has(d.Key().Partition()) {
					due = append(due, d)
					if d.Sequence < 2 {
						strict = append(strict, d)
					}
				}
			}
			if len(due) > 0 {
				want = append(want, store.Backlog{Endpoint: ep, Pending: len(due), Oldest: due[0].At, NextDue: due[0].Due})
			}
			for _, limit := range []int{5, 1000} {
				got, err := f.PendingDeliveries(f.ctx(), parts, ep, now+1e9, false, limit)
				f.ok(err)
				f.equal("pending", got, due[:min(limit, len(due)):len(due)])
				got, err = f.PendingDeliveries(f.ctx(), parts, ep, now+1e9, true, limit)
				f.ok(err)
				f.equal("pending, strict", got, strict[:min(limit, len(strict)):len(strict)])
			}
		}
		got, err := f.Backlogs(f.ctx(), parts)
		f.ok(err)
		f.equal("backlogs", got, want)
	}
}

// attemptsNotUndone says that results which come late change nothing.
func attemptsNotUndone(f *fixture) {
	ep := f.endpoints("http://a")[0]
	_, ds := f.deliver(now, ep, 2)
	d := ds[0]
	log := []store.Attempt{f.attempt(d, store.Pending, now+5), f.attempt(d, store.Pending, now+6)}
	record := func(number int, state store.DeliveryState) {
		f.Helper()
		f.ok(f.RecordAttempts(f.ctx(), []store.Attempt{{Delivery: d.Key(), Number: number, State: state, Due: now + 99, Failures: 50, Error: "late"}}))
	}
	record(1, store.Delivered)
	record(1, store.Pending)
	f.equal("deliveries", f.deliveriesOf(d.Call), ds)
	f.equal("attempts", f.attemptsOf(d.Key()), log)
	log = append(log, f.attempt(d, store.Delivered, 0))
	record(3, store.Pending)
	record(4, store.Pending)
	record(2, store.Failed)
	f.equal("deliveries", f.deliveriesOf(d.Call), ds)
	f.equal("attempts", f.attemptsOf(d.Key()), log)
}
