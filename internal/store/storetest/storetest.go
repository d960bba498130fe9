// Package storetest is what every back end of package store must pass.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// Opener opens the store that belongs to a directory. Opened again with the
// same directory, after a Close, it is the same store; another directory is
// another store, which is empty.
type Opener func(t *testing.T, dir string) store.Store

// Run runs the suite.
func Run(t *testing.T, open Opener) {
	for _, test := range []struct {
		name string
		run  func(f *fixture)
	}{
		{"CallRoundTrip", callRoundTrip},
		{"CallNotFound", callNotFound},
		{"CallConflict", callConflict},
		{"CallOneWinner", callOneWinner},
		{"CallAllOrNothing", callAllOrNothing},
		{"CallSoftCommit", callSoftCommit},
		{"CallPriorCommit", callPriorCommit},
		{"CallContext", callContext},
		{"RequestDuplicate", requestDuplicate},
		{"RequestExpires", requestExpires},
		{"RequestRace", requestRace},
		{"LiveCalls", liveCalls},
		{"LiveOfPartitions", liveOfPartitions},
		{"LiveOfUser", liveOfUser},
		{"HistoryOrder", historyOrder},
		{"HistoryPages", historyPages},
		{"HistoryOfDays", historyOfDays},
		{"HistoryUnderWrites", historyUnderWrites},
		{"Users", users},
		{"UsersRegister", usersRegister},
		{"UsersListed", usersListed},
		{"Sessions", sessions},
		{"SessionsOpen", sessionsOpen},
		{"SessionsOffline", sessionsOffline},
		{"SessionEvents", sessionEvents},
		{"SessionsOpenOf", sessionsOpenOf},
		{"SessionsVersions", sessionsVersions},
		{"SessionsOneWinner", sessionsOneWinner},
		{"FoundSessions", foundSessions},
		{"ExpectedSessions", expectedSessions},
		{"PresenceRace", presenceRace},
		{"EventsNumbered", eventsNumbered},
		{"EventsRoundTrip", eventsRoundTrip},
		{"EventsFollowed", eventsFollowed},
		{"DeliveriesPending", deliveriesPending},
		{"DeliveriesStrict", deliveriesStrict},
		{"DeliveriesOfCall", deliveriesOfCall},
		{"DueOfPartitions", dueOfPartitions},
		{"Attempts", attempts},
		{"AttemptsUnknown", attemptsUnknown},
		{"AttemptsNotUndone", attemptsNotUndone},
		{"Backlogs", backlogs},
		{"SearchDeliveries", searchDeliveries},
		{"SearchBounded", searchBounded},
		{"SearchCalls", searchCalls},
		{"Redeliver", redeliver},
		{"RedeliveryJobs", redeliveryJobs},
		{"RedeliverByJob", redeliverByJob},
		{"AppsIDs", appsIDs},
		{"AppsRemoval", appsRemoval},
		{"AppsRemovalOfMany", appsRemovalOfMany},
		{"ManagedRoundTrip", managedRoundTrip},
		{"ManagedConflict", managedConflict},
		{"ManagedAndFile", managedAndFile},
		{"ManagedRemoval", managedRemoval},
		{"EndpointsPaused", endpointsPaused},
		{"AuditLog", auditLog},
		{"Traces", traces},
		{"Nonces", nonces},
		{"NonceRace", nonceRace},
		{"PruneCalls", pruneCalls},
		{"PruneKeeps", pruneKeeps},
		{"PruneSteps", pruneSteps},
		{"PruneEvents", pruneEvents},
		{"PruneRequests", pruneRequests},
		{"Health", health},
		{"Reopen", reopen},
		{"Closed", closed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			f := &fixture{T: t, Store: open(t, dir), open: open, dir: dir}
			t.Cleanup(func() {
				if err := f.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			test.run(f)
		})
	}
}

// now is when the tests begin.
const now = call.Instant(1_790_000_000_123)

// app is the app of whatever does not say otherwise.
const app = 7

// odd are strings that a careless back end changes.
var odd = []string{
	"", " ", "plain", `quotes ' " and \ and ''`, "null", "NULL", "tab\tnew\nline\r\n", "\x00 \x01 \x1f \x7f",
	"%_?$1:name@x", "ünï çødé", "日本語", "😀👩‍👩‍👧‍👦", "\u2028\u2029\ufeff", "<script>&amp;", "0", "1e3", "-0",
	string(make([]byte, 300)),
}

// fixture is a store under test.
type fixture struct {
	*testing.T
	store.Store
	open  Opener
	dir   string
	calls uint32
}

func (f *fixture) ctx() context.Context { return f.Context() }

func (f *fixture) reopen() {
	f.Helper()
	if err := f.Close(); err != nil {
		f.Fatalf("Close: %v", err)
	}
	f.Store = f.open(f.T, f.dir)
}

// ok fails the test on an error.
func (f *fixture) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// fails fails the test unless err is the expected one.
func (f *fixture) fails(err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Fatalf("error is %v, want %v", err, want)
	}
}

// equal fails the test unless got is what is wanted, nil and empty apart.
func (f *fixture) equal(what string, got, want any) {
	f.Helper()
	if !reflect.DeepEqual(got, want) {
		f.Fatalf("%s:\n got %s\nwant %s", what, show(got), show(want))
	}
}

// show writes a value out, following pointers one step.
func show(v any) string {
	r := reflect.ValueOf(v)
	switch {
	case r.Kind() == reflect.Pointer && !r.IsNil():
		return "&" + show(r.Elem().Interface())
	case r.Kind() == reflect.Slice && r.Len() > 0 && r.Type().Elem().Kind() == reflect.Pointer:
		s := "["
		for i := range r.Len() {
			s += "\n  " + show(r.Index(i).Interface())
		}
		return s + "]"
	}
	return fmt.Sprintf("%#v", v)
}

// ring makes a call that was created at an instant.
func (f *fixture) ring(at call.Instant, caller call.UserID, invitees ...call.UserID) *call.Call {
	f.calls++
	return call.Evolve(nil, call.CallCreated{
		Actor: call.Actor{User: caller, Session: "s-" + call.SessionID(caller)}, ID: call.NewID(at, f.calls), App: app, At: at,
		Invitees: invitees, Timeout: 90, Mode: call.Advanced, EndBy: at.Add(86400_000),
	})
}

// event makes an event of a call with one delivery for each subscription. It
// has no ID before it is committed.
func (f *fixture) event(c *call.Call, at call.Instant, subs ...store.Subscription) *store.Event {
	e := &store.Event{App: app, Name: "call_create", At: at, Fields: []byte(`{"call_id":"1"}`), Deliveries: subs}
	if c != nil {
		e.App, e.Call = c.App, c.ID
	}
	return e
}

// create commits a new call with entries in the history of its users.
func (f *fixture) create(c *call.Call, events ...*store.Event) *store.CallCommit {
	f.Helper()
	commit := &store.CallCommit{CallRecord: store.CallRecord{Call: c, CommitID: uint64(c.ID) + 1}, Events: events}
	for i := range c.Users {
		commit.NewUsers = append(commit.NewUsers, c.Users[i].ID)
	}
	f.ok(f.CommitCall(f.ctx(), commit))
	return commit
}

// end commits the end of a call.
func (f *fixture) end(c *call.Call, at call.Instant, events ...*store.Event) *call.Call {
	f.Helper()
	ended := call.Evolve(c, call.CallEnded{Actor: call.Actor{User: c.Caller}, At: at, Reason: call.ByOperator})
	f.ok(f.CommitCall(f.ctx(), &store.CallCommit{
		CallRecord: store.CallRecord{Call: ended, CommitID: uint64(c.ID) + 2}, Prior: c.Version, Events: events,
	}))
	return ended
}

// endpoints makes the app have endpoints and gives their IDs.
func (f *fixture) endpoints(urls ...string) []store.EndpointID {
	f.Helper()
	ids, err := f.SyncApps(f.ctx(), []store.App{{ID: app, Name: "test", Endpoints: urls}}, now)
	f.ok(err)
	return ids[0]
}

func (f *fixture) call(id call.ID) *store.CallRecord {
	f.Helper()
	r, err := f.Call(f.ctx(), id)
	f.ok(err)
	return r
}

func (f *fixture) pending(id store.EndpointID, due call.Instant, strict bool, limit int) []*store.Delivery {
	f.Helper()
	ds, err := f.PendingDeliveries(f.ctx(), store.AllPartitions, id, due, strict, limit)
	f.ok(err)
	return ds
}

func (f *fixture) deliveriesOf(id call.ID) []*store.Delivery {
	f.Helper()
	ds, err := f.DeliveriesOf(f.ctx(), id)
	f.ok(err)
	return ds
}

func (f *fixture) history(user call.UserID) []call.ID {
	f.Helper()
	calls, _, err := f.CallsOf(f.ctx(), app, user, 0, 1000)
	f.ok(err)
	return idsOf(calls)
}

func idsOf(calls []*call.Call) []call.ID {
	var ids []call.ID
	for _, c := range calls {
		ids = append(ids, c.ID)
	}
	return ids
}

func eventsOf(deliveries []*store.Delivery) []store.EventID {
	var ids []store.EventID
	for _, d := range deliveries {
		ids = append(ids, d.Event)
	}
	return ids
}
