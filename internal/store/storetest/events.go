package storetest

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// lastEvent gives the highest ID of any event.
func (f *fixture) lastEvent() store.EventID {
	f.Helper()
	id, err := f.LastEventID(f.ctx())
	f.ok(err)
	return id
}

func (f *fixture) addEvents(events ...*store.Event) {
	f.Helper()
	f.ok(f.AddEvents(f.ctx(), events))
}

// follow reads all events of an app after one, in pages of a size, and gives
// where it stands then.
func (f *fixture) follow(app uint32, after store.EventID, limit int) (events []*store.Event, next store.EventID) {
	f.Helper()
	for {
		page, err := f.EventsAfter(f.ctx(), app, after, limit)
		f.ok(err)
		if len(page.Events) > limit {
			f.Fatalf("a page of %d has %d events", limit, len(page.Events))
		}
		for _, e := range page.Events {
			if e.ID <= after || e.ID > page.Next {
				f.Fatalf("a page from %d to %d has event %d", after, page.Next, e.ID)
			}
			after = e.ID
		}
		if page.More && page.Next == after && len(page.Events) == 0 {
			f.Fatal("a page with more to come does not go on")
		}
		events, after = append(events, page.Events...), page.Next
		if !page.More {
			return events, after
		}
	}
}

// asRead gives events as they are read back.
func asRead(events ...*store.Event) []*store.Event {
	var read []*store.Event
	for _, e := range events {
		e := *e
		e.Deliveries = nil
		read = append(read, &e)
	}
	return read
}

func eventsNumbered(f *fixture) {
	f.equal("last of none", f.lastEvent(), store.EventID(0))
	f.addEvents()
	f.equal("last of none", f.lastEvent(), store.EventID(0))
	begin := call.At(time.Now())
	c := f.ring(now, "alice", "bob")
	all := []*store.Event{f.event(c, now), f.event(c, now)}
	f.create(c, all...)
	login, test := f.event(nil, now), f.event(nil, now)
	f.commitSessions(&store.SessionCommit{App: app, User: "alice", Events: []*store.Event{login}})
	test.ID = 5 // means nothing
	f.addEvents(test)
	all = append(all, login, test)
	last := store.EventID(0)
	for _, e := range all {
		if e.ID <= last {
			f.Fatalf("event %d comes after %d", e.ID, last)
		}
		// Machines have clocks of their own: a minute's difference is no fault.
		if at := e.ID.Instant(); at < begin-60_000 || at > call.At(time.Now())+60_000 {
			f.Fatalf("event %d is of %v", e.ID, at.Time())
		}
		last = e.ID
	}
	f.equal("last", f.lastEvent(), last)
	f.reopen()
	f.equal("last", f.lastEvent(), last)
	after := f.event(nil, now)
	f.addEvents(after)
	if after.ID <= last {
		f.Fatalf("after another start event %d comes after %d", after.ID, last)
	}
}

func eventsRoundTrip(f *fixture) {
	ep := f.endpoints("http://a")[0]
	c := f.ring(now, "alice", "bob")
	var ofCall, all []*store.Event
	for i, s := range odd {
		e := f.event(c, now+call.Instant(i), store.Subscription{Endpoint: ep, Sequence: i + 1})
		e.Name, e.Fields, e.Version = s, []byte(s), int64(i)
		e.Actor = call.Actor{User: call.UserID(s), Session: call.SessionID("s" + s)}
		ofCall = append(ofCall, e)
	}
	f.create(c, ofCall...)
	plain := f.event(nil, now)
	plain.Fields = nil
	test := f.event(nil, now, store.Subscription{Endpoint: ep})
	test.App, test.Test, test.Fields = math.MaxUint32, true, []byte(fmt.Sprintf(`{"call_id":"%s"}`, c.ID))
	f.addEvents(plain, test)
	all = append(append(all, ofCall...), plain, test)

	for _, limit := range []int{1, 3, 1000} {
		got, next := f.follow(0, 0, limit)
		f.equal("events", got, asRead(all...))
		f.equal("next", next, test.ID)
		got, _ = f.follow(app, ofCall[3].ID, limit)
		f.equal("events of an app", got, asRead(all[4:len(all)-1]...))
		got, _ = f.follow(math.MaxUint32, 0, limit)
		f.equal("events of the other app", got, asRead(test))
		got, next = f.follow(app+1, 0, limit)
		f.equal("events of no app", got, []*store.Event(nil))
		f.equal("next", next, test.ID)
	}
	page, err := f.EventsAfter(f.ctx(), 0, test.ID+7, 10)
	f.ok(err)
	f.equal("page after the last", page, store.EventPage{Next: test.ID + 7})
	page, err = f.EventsAfter(f.ctx(), 0, 0, 2)
	f.ok(err)
	f.equal("first page", page, store.EventPage{Events: asRead(all[:2]...), Next: all[1].ID, More: true})

	got, err := f.EventsOf(f.ctx(), c.ID)
	f.ok(err)
	f.equal("events of the call", got, asRead(ofCall...))
	for _, id := range []call.ID{0, c.ID + 1} {
		got, err = f.EventsOf(f.ctx(), id)
		f.ok(err)
		f.equal("events of no call", got, []*store.Event(nil))
	}
	ds := f.pending(ep, now+1000, false, 100)
	f.equal("pending", ds[0].Test, ds[0].Call == 0)
	f.equal("deliveries of the call", f.deliveriesOf(c.ID), deliveriesDue(ofCall...))
}

// eventsFollowed has a reader follow while many write: it sees each event
// once, in order, and those of each call in theirs.
func eventsFollowed(f *fixture) {
	const writers, rounds = 12, 25
	var first sync.WaitGroup // until half is written
	var all sync.WaitGroup
	calls := make([]*call.Call, writers)
	for i := range calls {
		calls[i] = f.ring(now, "alice", "bob")
	}
	written := make([][]*store.Event, writers)
	run := func(from, to int, done *sync.WaitGroup) {
		for i := range writers {
			done.Go(func() {
				for n := from; n < to; n++ {
					events := []*store.Event{{App: app, Call: calls[i].ID, Name: fmt.Sprint(i, n), At: now}, {App: app + uint32(n%2), Name: fmt.Sprint(i, n, "b"), At: now}}
					var err error
					switch {
					case i%3 == 0 && n == 0:
						err = f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: calls[i]}, Events: events})
					case i%3 == 0:
						next := *calls[i]
						next.Version++
						err = f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: &next}, Prior: calls[i].Version, Events: events})
						calls[i] = &next
					case i%3 == 1:
						err = f.CommitSessions(f.ctx(), &store.SessionCommit{App: app, User: "alice", Events: events})
					default:
						err = f.AddEvents(f.ctx(), events)
					}
					if err != nil {
						f.Error(err)
						return
					}
					written[i] = append(written[i], events...)
				}
			})
		}
	}
	var seen, seenOfApp []*store.Event
	var next, nextOfApp store.EventID
	watch := func(done *sync.WaitGroup) {
		ended := make(chan struct{})
		go func() { done.Wait(); close(ended) }()
		for last := false; !last; {
			select {
			case <-ended:
				last = true
			default:
			}
			var events []*store.Event
			events, next = f.follow(0, next, 7)
			seen = append(seen, events...)
			events, nextOfApp = f.follow(app, nextOfApp, 1000)
			seenOfApp = append(seenOfApp, events...)
		}
	}
	run(0, rounds/2, &first)
	watch(&first)
	f.reopen()
	run(rounds/2, rounds, &all)
	watch(&all)

	at := make(map[string]int)
	for i, e := range seen {
		if _, twice := at[e.Name]; twice || i > 0 && e.ID <= seen[i-1].ID {
			f.Fatalf("event %d, %q, is seen again or out of order", e.ID, e.Name)
		}
		at[e.Name] = i
	}
	f.equal("events seen", len(seen), 2*writers*rounds)
	ofApp := 0
	for i := range written {
		last := -1
		for _, e := range written[i] {
			n, ok := at[e.Name]
			if !ok || n < last {
				f.Fatalf("event %q of writer %d is seen at %d (%v), the one before at %d", e.Name, i, n, ok, last)
			}
			f.equal("event seen", seen[n], e)
			if last = n; e.App == app {
				ofApp++
			}
		}
	}
	f.equal("events of the app seen", len(seenOfApp), ofApp)
}
