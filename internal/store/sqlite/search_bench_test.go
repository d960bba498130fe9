package sqlite

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// archive is a store with a million deliveries, of half a million calls with
// two transitions each.
type archive struct {
	*Store
	ids   []store.EndpointID
	last  store.EventID
	first store.EventID
	calls []call.ID
}

const (
	archived  = 500_000 // calls
	oneFailed = 10_000  // in so many deliveries
	oneRare   = 20_000  // names and outcomes
	pending   = 500     // of the latest calls
	openCalls = 2_000
)

// newArchive fills a store: app 1 with three endpoints, app 2 with one, which
// gets one delivery in a hundred.
func newArchive(b *testing.B) *archive {
	b.Helper()
	a := &archive{Store: open(b, Options{})}
	ids, err := a.SyncApps(b.Context(), []store.App{{ID: 1, Endpoints: []string{"http://a", "http://b", "http://c"}}, {ID: 2, Endpoints: []string{"http://d"}}}, now)
	if err != nil {
		b.Fatal(err)
	}
	a.ids = slices.Concat(ids...)
	begin := call.Instant(1_790_000_000_000)
	for from := 0; from < archived; from += 1000 {
		err := a.submit(b.Context(), func(w *writer) error {
			for n := from; n < from+1000; n++ {
				if err := a.add(w, n, begin.Add(int64(n)*20)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if a.last, err = a.LastEventID(b.Context()); err != nil {
		b.Fatal(err)
	}
	return a
}

// add writes the nth call.
func (a *archive) add(w *writer, n int, at call.Instant) error {
	app, ep := uint32(1), a.ids[n%3]
	if n%100 == 99 {
		app, ep = 2, a.ids[3]
	}
	c := call.Evolve(nil, call.CallCreated{
		Actor: call.Actor{User: user(uint32(n)), Session: "session-of-alice"}, ID: call.NewID(at, rand.Uint32()), App: app, At: at,
		Invitees: []call.UserID{user(uint32(n) + 7919)}, Timeout: 90, ExtendedData: `{"type":"video","room":"abcdef"}`,
	})
	a.calls = append(a.calls, c.ID)
	var attempts []store.Attempt
	for i := range 2 {
		name, prior := "call_create", int64(0)
		if i == 1 {
			name = "call_accept"
			switch prior = 1; {
			case n%oneRare == 7:
				c = call.Evolve(c, call.CallRejected{Actor: call.Actor{User: c.Users[1].ID}, At: at})
				name = "call_reject"
			case n%(archived/openCalls) == 3:
				c = call.Evolve(c, call.InvitationsUnconfirmed{At: at})
			default:
				c = call.Evolve(c, call.CallAccepted{Actor: call.Actor{User: c.Users[1].ID, Session: "session-of-bob"}, At: at})
			}
		}
		rec := store.CallRecord{Call: c, CommitID: uint64(n), Sequences: map[store.EndpointID]int{ep: i + 1}}
		e := &store.Event{
			App: app, Call: c.ID, Name: name, At: at, Fields: []byte(fields), Version: c.Version, Actor: call.Actor{User: c.Caller, Session: "s"},
			Deliveries: []store.Subscription{{Endpoint: ep, Sequence: i + 1}},
		}
		commit := &store.CallCommit{CallRecord: rec, Prior: prior, Events: []*store.Event{e}}
		if i == 0 {
			commit.NewUsers = []call.UserID{c.Caller, c.Users[1].ID}
		}
		if err := w.commitCall(commit, store.EncodeCall(&rec)); err != nil {
			return err
		}
		if a.first == 0 {
			a.first = e.ID
		}
		state := store.Delivered
		if (2*n+i)%oneFailed == 11 {
			state = store.Failed
		}
		if n < archived-pending/2 {
			attempts = append(attempts, store.Attempt{
				Delivery: store.DeliveryKey{Endpoint: ep, Call: c.ID, Sequence: int64(i + 1)}, Number: 1, Started: at, Duration: 12, Status: 200,
				Response: `{"code":0}`, Header: "Content-Type: application/json\r\nContent-Length: 10\r\n", Request: make([]byte, 40), State: state,
			})
		}
	}
	for i := range attempts {
		if err := w.recordAttempt(&attempts[i]); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkSearch measures every kind of search among a million deliveries: a
// page of 50, from a place that is another each time where places matter.
func BenchmarkSearch(b *testing.B) {
	a := newArchive(b)
	states := func(list ...store.DeliveryState) []store.DeliveryState { return list }
	anywhere := func() store.EventID { return a.first + store.EventID(rand.Int64N(int64(a.last-a.first))) }
	deliveries := func(q func() store.DeliveryQuery) func() (int, error) {
		return func() (int, error) {
			query := q()
			query.Limit = 50
			page, err := a.SearchDeliveries(b.Context(), query)
			return len(page.Deliveries), err
		}
	}
	calls := func(q func() store.CallQuery) func() (int, error) {
		return func() (int, error) {
			query := q()
			query.Limit = 50
			page, err := a.SearchCalls(b.Context(), query)
			return len(page.Calls), err
		}
	}
	anyCall := func() call.ID { return a.calls[rand.IntN(len(a.calls))] }
	anyTime := func() call.Instant { return call.Instant(1_790_000_000_000).Add(rand.Int64N(archived * 20)) }
	for _, kind := range []struct {
		name string
		run  func() (int, error)
	}{
		{"deliveries/any", deliveries(func() store.DeliveryQuery { return store.DeliveryQuery{} })},
		{"deliveries/oldest", deliveries(func() store.DeliveryQuery { return store.DeliveryQuery{Oldest: true} })},
		{"deliveries/app-rare", deliveries(func() store.DeliveryQuery { return store.DeliveryQuery{App: 2} })},
		{"deliveries/endpoint", deliveries(func() store.DeliveryQuery { return store.DeliveryQuery{Endpoint: a.ids[1]} })},
		{"deliveries/failed", deliveries(func() store.DeliveryQuery { return store.DeliveryQuery{States: states(store.Failed)} })},
		{"deliveries/failed-of-app", deliveries(func() store.DeliveryQuery { return store.DeliveryQuery{App: 1, States: states(store.Failed)} })},
		{"deliveries/pending", deliveries(func() store.DeliveryQuery { return store.DeliveryQuery{States: states(store.Pending)} })},
		{"deliveries/unfinished", deliveries(func() store.DeliveryQuery { return store.DeliveryQuery{States: states(store.Pending, store.Failed)} })},
		{"deliveries/delivered", deliveries(func() store.DeliveryQuery {
			return store.DeliveryQuery{States: states(store.Delivered), Until: anywhere()}
		})},
		{"deliveries/event-often", deliveries(func() store.DeliveryQuery { return store.DeliveryQuery{Event: "call_accept", Until: anywhere()} })},
		{"deliveries/event-rare", deliveries(func() store.DeliveryQuery { return store.DeliveryQuery{Event: "call_reject", Until: anywhere()} })},
		{"deliveries/event-never-delivered", deliveries(func() store.DeliveryQuery {
			return store.DeliveryQuery{Event: "none", States: states(store.Delivered), Until: anywhere()}
		})},
		{"deliveries/time", deliveries(func() store.DeliveryQuery {
			from := anywhere()
			return store.DeliveryQuery{From: from, Until: from + (a.last-a.first)/100}
		})},
		{"deliveries/call", deliveries(func() store.DeliveryQuery { return store.DeliveryQuery{Call: anyCall()} })},
		{"deliveries/deep", deliveries(func() store.DeliveryQuery {
			return store.DeliveryQuery{After: store.DeliveryPlace{Event: anywhere(), Endpoint: 1}}
		})},
		{"count/any", func() (int, error) {
			n, _, err := a.CountDeliveries(b.Context(), store.DeliveryQuery{From: anywhere()})
			return n, err
		}},
		{"count/delivered", func() (int, error) {
			n, _, err := a.CountDeliveries(b.Context(), store.DeliveryQuery{From: anywhere(), States: states(store.Delivered), Oldest: true})
			return n, err
		}},
		{"calls/any", calls(func() store.CallQuery { return store.CallQuery{} })},
		{"calls/app-rare", calls(func() store.CallQuery { return store.CallQuery{App: 2, Until: anyTime()} })},
		{"calls/user", calls(func() store.CallQuery { return store.CallQuery{App: 1, User: user(rand.Uint32N(archived))} })},
		{"calls/outcome-rare", calls(func() store.CallQuery { return store.CallQuery{Outcome: call.OutcomeRejected, Until: anyTime()} })},
		{"calls/live", calls(func() store.CallQuery { return store.CallQuery{Live: true} })},
		{"calls/time", calls(func() store.CallQuery { at := anyTime(); return store.CallQuery{From: at, Until: at.Add(60_000)} })},
		{"calls/deep", calls(func() store.CallQuery { return store.CallQuery{After: store.CallPlace{ID: anyCall()}} })},
		{"events/all", func() (int, error) {
			page, err := a.EventsAfter(b.Context(), 0, anywhere(), 50)
			return len(page.Events), err
		}},
		{"events/app-rare", func() (int, error) {
			page, err := a.EventsAfter(b.Context(), 2, anywhere(), 500)
			return len(page.Events), err
		}},
		{"events/call", func() (int, error) { list, err := a.EventsOf(b.Context(), anyCall()); return len(list), err }},
	} {
		b.Run(kind.name, func(b *testing.B) { percentiles(b, kind.run) })
	}
}

// percentiles runs a search again and again and reports how long it takes.
func percentiles(b *testing.B, run func() (int, error)) {
	var times []time.Duration
	found := 0
	for range b.N {
		begin := time.Now()
		n, err := run()
		if err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(begin))
		found += n
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(found)/float64(b.N), "found/op")
	if b.N > 1 && testing.Verbose() {
		b.Logf("the slowest took %v", times[len(times)-1])
	}
}
