package sqlite

import (
	"path/filepath"
	"reflect"
	"testing"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/scan"
)

// TestUpgradeFrom1 opens a database that the first schema has made, with rows
// in it.
func TestUpgradeFrom1(t *testing.T) {
	dir := t.TempDir()
	live := created(1)
	ended := created(2)
	over := call.Evolve(call.Evolve(ended.Call, call.CallAccepted{Actor: call.Actor{User: "bob"}, At: now}),
		call.CallEnded{Actor: call.Actor{User: "alice"}, At: now + 9, Reason: call.ByOperator})
	rejected := call.Evolve(created(3).Call, call.CallEnded{Actor: call.Actor{User: "alice"}, At: now + 9, Reason: call.MaxDuration})

	c, err := (&Store{path: filepath.Join(dir, File)}).connect("", 0)
	if err != nil {
		t.Fatal(err)
	}
	script, err := migrations.ReadFile("migrations/0001_initial.sql")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.keepLog(); err != nil {
		t.Fatal(err)
	}
	if err := c.migrateTo(1, string(script)); err != nil {
		t.Fatal(err)
	}
	const lastID = 1 << 60 // of a clock that was fast
	for _, st := range []*statement{
		c.on("INSERT INTO apps (id, name) VALUES (1, 'one')"),
		c.on("INSERT INTO endpoints (id, app_id, url, removed) VALUES (1, 1, 'http://a', 0), (2, 1, 'http://b', 1)"),
		c.on("INSERT INTO calls (id, app_id, version, commit_id, ended_ms, state) VALUES (?1, 1, 1, 7, NULL, ?2)").
			int(int64(live.Call.ID)).blob(store.EncodeCall(&live.CallRecord)),
		c.on("INSERT INTO calls (id, app_id, version, commit_id, ended_ms, state) VALUES (?1, 1, 3, 8, ?2, ?3), (?4, 1, 2, 9, ?2, ?5)").
			int(int64(over.ID)).int(int64(now) + 9).blob(store.EncodeCall(&store.CallRecord{Call: over})).
			int(int64(rejected.ID)).blob(store.EncodeCall(&store.CallRecord{Call: rejected})),
		c.on("INSERT INTO history (app_id, user_id, create_ms, call_id) VALUES (1, 'bob', ?1, ?2)").int(int64(now)).int(int64(over.ID)),
		c.on("INSERT INTO events (id, app_id, call_id, name, at_ms, fields) VALUES (5, 1, ?1, 'call_create', ?2, x'7b7d'), (?3, 1, 0, 'user_action', ?2, NULL)").
			int(int64(over.ID)).int(int64(now)).int(lastID),
		c.on(`INSERT INTO deliveries (call_id, endpoint_id, sequence, event_id, state, attempts, failures, due_ms, started_ms, duration_ms, status, outcome, error, response)
			VALUES (?1, 1, 1, 5, 2, 2, 2, 0, ?2, 3, 500, 2, 'status 500', 'no'), (0, 2, ?3, ?3, 0, 0, 0, ?2, NULL, NULL, NULL, NULL, NULL, NULL)`).
			int(int64(over.ID)).int(int64(now)).int(lastID),
		c.on(`INSERT INTO attempts (call_id, endpoint_id, sequence, number, started_ms, duration_ms, status, outcome, failures, due_ms, error, response)
			VALUES (?1, 1, 1, 1, ?2, 4, 0, 0, 1, ?2, 'timed out', '')`).int(int64(over.ID)).int(int64(now)),
	} {
		if err := st.run(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}

	s := open(t, Options{Dir: dir})
	equal := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
		}
	}
	page, err := s.EventsAfter(t.Context(), 1, 0, 10)
	equal("error", err, nil)
	equal("events", page.Events, []*store.Event{
		{ID: 5, App: 1, Call: over.ID, Name: "call_create", At: now, Fields: []byte("{}")}, {ID: lastID, App: 1, Name: "user_action", At: now},
	})
	old := store.Delivery{
		Event: 5, Endpoint: 1, App: 1, Call: over.ID, Sequence: 1, Name: "call_create", At: now, Fields: []byte("{}"), State: store.Failed,
		Attempts: 2, Failures: 2,
	}
	attempts, err := s.Attempts(t.Context(), old.Key())
	equal("error", err, nil)
	equal("attempts", attempts, []store.Attempt{
		{Delivery: old.Key(), Number: 1, Started: now, Duration: 4, Error: "timed out", Failures: 1, Due: now},
		{Delivery: old.Key(), Number: 2, Started: now, Duration: 3, Status: 500, Error: "status 500", Response: "no", State: store.Failed, Failures: 2},
	})
	found, err := s.SearchDeliveries(t.Context(), store.DeliveryQuery{States: []store.DeliveryState{store.Failed}, Limit: 10})
	equal("error", err, nil)
	latest := attempts[1]
	latest.Response, latest.Failures = "", 0
	equal("deliveries", found.Deliveries, []*store.LoggedDelivery{{Delivery: old, Latest: &latest}})
	for outcome, want := range map[call.Outcome][]*call.Call{
		call.OutcomeAccepted: {over}, call.OutcomeMaxDuration: {rejected}, call.OutcomeTimeout: nil, "": {rejected, over, live.Call},
	} {
		calls, err := s.SearchCalls(t.Context(), store.CallQuery{Outcome: outcome, Limit: 10})
		equal("error", err, nil)
		equal("calls of outcome "+string(outcome), calls.Calls, want)
	}
	endpoints, err := s.ListEndpoints(t.Context())
	equal("error", err, nil)
	equal("endpoints", endpoints, []store.EndpointRecord{{ID: 1, App: 1, URL: "http://a"}, {ID: 2, App: 1, URL: "http://b", Removed: true}})
	ids, err := s.SyncApps(t.Context(), []store.App{{ID: 1, Name: "one", Endpoints: []string{"http://b"}}}, now)
	equal("error", err, nil)
	equal("IDs", ids, [][]store.EndpointID{{2}})

	// Events go on after the last one.
	next := created(4)
	equal("error", s.CommitCall(t.Context(), next), nil)
	equal("ID", next.Events[0].ID, store.EventID(lastID+1))
}

// TestSearchStops says that one search looks at a bounded number of rows.
func TestSearchStops(t *testing.T) {
	s := open(t, Options{})
	if _, err := s.SyncApps(t.Context(), []store.App{{ID: 1, Endpoints: []string{"http://a"}}}, now); err != nil {
		t.Fatal(err)
	}
	for range 2*scan.Limit/1000 + 1 {
		events := make([]*store.Event, 1000)
		for i := range events {
			events[i] = &store.Event{App: 1, Name: "often", Deliveries: []store.Subscription{{Endpoint: 1}}}
		}
		if err := s.AddEvents(t.Context(), events); err != nil {
			t.Fatal(err)
		}
	}
	failed := []store.DeliveryState{store.Delivered}
	for _, q := range []store.DeliveryQuery{{Event: "rare", Limit: 10}, {States: failed, Limit: 10}, {Event: "rare", States: failed, Oldest: true, Limit: 10}} {
		page, err := s.SearchDeliveries(t.Context(), q)
		if err != nil || len(page.Deliveries) != 0 || page.Next == (store.DeliveryPlace{}) {
			t.Errorf("search %+v gives %d deliveries and goes on at %v (%v)", q, len(page.Deliveries), page.Next, err)
		}
	}
	n, next, err := s.CountDeliveries(t.Context(), store.DeliveryQuery{})
	if err != nil || n > scan.Limit*11/10 || n < scan.Limit*9/10 || next == (store.DeliveryPlace{}) {
		t.Errorf("a count counts %d and goes on at %v (%v)", n, next, err)
	}
	page, err := s.EventsAfter(t.Context(), 2, 0, 10)
	if err != nil || len(page.Events) != 0 || !page.More || page.Next == 0 {
		t.Errorf("events of another app are %d, go on at %d, %v (%v)", len(page.Events), page.Next, page.More, err)
	}
}
