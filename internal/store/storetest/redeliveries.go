package storetest

import (
	"slices"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

func (f *fixture) redeliver(job *store.Redelivery, at call.Instant, keys ...store.DeliveryKey) []*store.Delivery {
	f.Helper()
	ds, err := f.Redeliver(f.ctx(), keys, job, at)
	f.ok(err)
	return ds
}

func (f *fixture) attemptsOf(key store.DeliveryKey) []store.Attempt {
	f.Helper()
	got, err := f.Attempts(f.ctx(), key)
	f.ok(err)
	return got
}

func redeliver(f *fixture) {
	eps := f.endpoints("http://a", "http://b")
	_, ds := f.deliver(now, eps[0], 4)
	_, others := f.deliver(now, eps[1], 1)
	test := f.event(nil, now, store.Subscription{Endpoint: eps[0]})
	test.Test = true
	f.addEvents(test)
	own := deliveriesDue(test)[0]

	log := []store.Attempt{f.attempt(ds[0], store.Pending, now+5), f.attempt(ds[0], store.Failed, 0)}
	f.attempt(ds[1], store.Delivered, 77)
	f.attempt(own, store.Failed, 0)
	f.attempt(others[0], store.Failed, 0)
	f.endpoints("http://a")
	unknown := store.DeliveryKey{Endpoint: eps[0], Call: ds[0].Call, Sequence: 99}

	got := f.redeliver(nil, now+1000, ds[0].Key(), ds[2].Key(), unknown, others[0].Key(), own.Key(), ds[1].Key(), ds[0].Key())
	for _, d := range []*store.Delivery{ds[0], ds[1], own} {
		d.State, d.Failures, d.Due = store.Pending, 0, now+1000
	}
	f.equal("redelivered", got, []*store.Delivery{ds[0], own, ds[1]})
	f.equal("deliveries", f.deliveriesOf(ds[0].Call), ds)
	f.equal("pending", f.pending(eps[0], now+1000, false, 10), []*store.Delivery{ds[2], ds[3], ds[0], ds[1], own})
	f.equal("removed", f.deliveriesOf(others[0].Call), others)
	f.equal("again", f.redeliver(nil, now+2000, ds[0].Key()), []*store.Delivery(nil))
	f.equal("nothing", f.redeliver(nil, now+2000), []*store.Delivery(nil))

	// The attempts stay as they are, and go on counting.
	f.equal("attempts", f.attemptsOf(ds[0].Key()), log)
	log = append(log, f.attempt(ds[0], store.Pending, now+3000))
	f.equal("attempts", f.attemptsOf(ds[0].Key()), log)
	f.equal("number", log[2].Number, 3)
	log = append(log, f.attempt(ds[0], store.Delivered, 0))
	f.equal("attempts", f.attemptsOf(ds[0].Key()), log)
	f.redeliver(nil, now+4000, ds[0].Key())
	f.equal("attempts", f.attemptsOf(ds[0].Key()), log)
	log = append(log, f.attempt(ds[0], store.Delivered, 0))
	f.equal("attempts", f.attemptsOf(ds[0].Key()), log)

	// One that failed when its endpoint was removed, and never had an attempt.
	f.endpoints()
	f.endpoints("http://a")
	got = f.redeliver(nil, now+5000, ds[3].Key())
	ds[3].Due = now + 5000
	f.equal("redelivered", got, []*store.Delivery{ds[3]})
	f.equal("attempts", f.attemptsOf(ds[3].Key()), []store.Attempt(nil))
}

// jobOf is a job with every field set.
func (f *fixture) jobOf(query store.DeliveryQuery) *store.Redelivery {
	f.Helper()
	job := &store.Redelivery{Query: query, PerSecond: 50, Total: -1, Done: 3, Skipped: 2, CreatedAt: now}
	f.ok(f.PutRedelivery(f.ctx(), job, nil))
	if job.ID == 0 {
		f.Fatal("a job has no ID")
	}
	return job
}

func (f *fixture) job(id int64) *store.Redelivery {
	f.Helper()
	job, err := f.Redelivery(f.ctx(), id)
	f.ok(err)
	return job
}

func redeliveryJobs(f *fixture) {
	_, err := f.Redelivery(f.ctx(), 1)
	f.fails(err, store.ErrNotFound)
	full := store.DeliveryQuery{
		App: 1<<32 - 1, Call: 1<<63 - 1, Endpoint: 1 << 40, Event: odd[4], States: []store.DeliveryState{store.Failed, store.Delivered},
		From: 5, Until: 1<<63 - 1, After: store.DeliveryPlace{Event: 1 << 60, Endpoint: 3}, Oldest: true, Limit: 100,
	}
	first := f.jobOf(full)
	second := f.jobOf(store.DeliveryQuery{States: []store.DeliveryState{}})
	third := f.jobOf(store.DeliveryQuery{})
	f.equal("job", f.job(first.ID), first)
	f.equal("job", f.job(second.ID), second)
	first.Query.After, first.Total, first.PerSecond = store.DeliveryPlace{Event: 9, Endpoint: 1}, 7, 0
	f.ok(f.PutRedelivery(f.ctx(), first, nil))
	f.equal("job", f.job(first.ID), first)
	second.State, second.EndedAt = store.RedeliveryStopped, now+9
	audit := &store.Audit{At: now, Actor: "admin", Action: "redelivery.stop"}
	f.ok(f.PutRedelivery(f.ctx(), second, audit))
	entries, err := f.AuditLog(f.ctx(), 0, 10)
	f.ok(err)
	f.equal("audit", entries, []store.Audit{*audit})
	f.reopen()

	list := func(before int64, limit int) []*store.Redelivery {
		f.Helper()
		jobs, err := f.ListRedeliveries(f.ctx(), before, limit)
		f.ok(err)
		return jobs
	}
	f.equal("jobs", list(0, 10), []*store.Redelivery{third, second, first})
	f.equal("jobs", list(0, 2), []*store.Redelivery{third, second})
	f.equal("jobs", list(second.ID, 2), []*store.Redelivery{first})
	f.equal("jobs", list(first.ID, 2), []*store.Redelivery(nil))

	// What has ended stays so, whatever those who do not know of it write.
	stale := *second
	stale.State, stale.EndedAt = store.RedeliveryRunning, 0
	f.fails(f.PutRedelivery(f.ctx(), &stale, &store.Audit{}), store.ErrConflict)
	unknown := &store.Redelivery{ID: third.ID + 1}
	f.fails(f.PutRedelivery(f.ctx(), unknown, &store.Audit{}), store.ErrNotFound)
	f.equal("job", f.job(second.ID), second)
	entries, err = f.AuditLog(f.ctx(), 0, 10)
	f.ok(err)
	f.equal("audit", len(entries), 1)
}

// redeliverByJob says that a job and what it has done are one transaction.
func redeliverByJob(f *fixture) {
	ep := f.endpoints("http://a")[0]
	_, ds := f.deliver(now, ep, 6)
	var keys []store.DeliveryKey
	for i, d := range ds {
		keys = append(keys, d.Key())
		if i != 2 {
			f.attempt(d, store.Failed, 0)
		}
	}
	job := f.jobOf(store.DeliveryQuery{Oldest: true})
	job.Query.After = store.DeliveryPlace{Event: ds[3].Event, Endpoint: ep}
	f.equal("redelivered", len(f.redeliver(job, now, keys[:4]...)), 3)
	f.equal("job", f.job(job.ID), &store.Redelivery{
		ID: job.ID, Query: store.DeliveryQuery{Oldest: true, After: job.Query.After}, PerSecond: 50, Total: -1, Done: 6, Skipped: 3, CreatedAt: now,
	})
	f.equal("job in place", job, f.job(job.ID))

	stopped := *job
	stopped.State, stopped.EndedAt = store.RedeliveryStopped, now
	f.ok(f.PutRedelivery(f.ctx(), &stopped, nil))
	before := *job
	_, err := f.Redeliver(f.ctx(), keys[4:], job, now)
	f.fails(err, store.ErrConflict)
	f.equal("job in place", job, &before)
	f.equal("job", f.job(job.ID), &stopped)
	_, err = f.Redeliver(f.ctx(), keys[4:], &store.Redelivery{ID: job.ID + 1}, now)
	f.fails(err, store.ErrNotFound)
	failed := slices.DeleteFunc(f.deliveriesOf(ds[0].Call), func(d *store.Delivery) bool { return d.State != store.Failed })
	f.equal("failed", failed, ds[4:])

	last := f.jobOf(store.DeliveryQuery{})
	last.State, last.EndedAt = store.RedeliveryDone, now+1
	f.equal("redelivered", len(f.redeliver(last, now, keys[4:]...)), 2)
	f.equal("job", f.job(last.ID), last)
	f.equal("state", last.State, store.RedeliveryDone)
}
