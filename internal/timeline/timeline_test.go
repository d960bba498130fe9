package timeline

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/trace"
	"github.com/ringback/ringback/protocol"
)

// happened is an event of a call.
func happened(t *testing.T, at call.Instant, version int64, name string, fields any, actor call.Actor) *store.Event {
	t.Helper()
	data, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return &store.Event{
		ID: store.EventIDAt(at) + store.EventID(version), App: 1, Call: 5, Name: name, At: at, Fields: data, Version: version, Actor: actor,
	}
}

// lines shows a story.
func lines(list []Entry) []string {
	var out []string
	for _, e := range list {
		mark := ""
		if e.Bad {
			mark = "! "
		}
		out = append(out, fmt.Sprintf("%d %s %s v%d %s/%s: %s%s", e.At-t0, e.Lane, e.Name, e.Version, e.User, e.Session, mark, e.Text))
	}
	return out
}

func check(t *testing.T, r Record, want ...string) {
	t.Helper()
	if got := lines(Build(r)); !slices.Equal(got, want) {
		t.Errorf("the story is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestGeneralCall: who was told what, in order, to the end that no event tells.
func TestGeneralCall(t *testing.T) {
	c := ringingCall(call.Ended, bob(call.Accepted, did(call.OpAccept, "phone-of-bob")))
	c.FirstAcceptAt, c.EndedAt, c.EndReason = t0+8000, t0+8000, call.ByOperator
	create := happened(t, t0, 1, protocol.CallbackCreate, protocol.CallCreate{Caller: "alice", UserIDs: []string{"bob", "carol"}, Timeout: 90}, call.Actor{User: "alice", Session: "laptop-of-alice"})
	accept := happened(t, t0+8000, 3, protocol.CallbackAccept, protocol.CallAnswer{UserID: "bob"}, call.Actor{User: "bob", Session: "phone-of-bob"})
	delivery := func(ev *store.Event, state store.DeliveryState, attempts ...store.Attempt) Delivery {
		return Delivery{Delivery: &store.Delivery{Event: ev.ID, Endpoint: 3, Name: ev.Name, At: ev.At, State: state}, URL: "http://a", Attempts: attempts}
	}
	check(
		t,
		Record{
			Call: c, Events: []*store.Event{create, accept},
			Trace: []trace.Entry{
				absent(t0), leftOut("carol", call.NotRegistered),
				{At: t0 + 5000, Kind: trace.Unconfirmed, User: "bob", Version: 2},
				onDevice(trace.CaughtUp, t0+6000, "phone-of-bob"), onDevice(trace.Confirmed, t0+6050, "phone-of-bob"),
				{At: t0 + 8000, Kind: trace.Sent, User: "alice", Session: "laptop-of-alice", Event: protocol.EventCallUsersChanged, Version: 3},
				refused(t0+9000, "tablet-of-bob", "accept", call.NoSuchCall),
			},
			Deliveries: []Delivery{
				delivery(
					create, store.Delivered,
					store.Attempt{Number: 1, Started: t0, Duration: 0, Status: 503, Error: "HTTP 503"},
					store.Attempt{Number: 2, Started: t0 + 2000, Duration: 5000, Error: "no answer within 5s"},
					store.Attempt{Number: 3, Started: t0 + 11_000, Duration: 12, Status: 200},
				),
				delivery(accept, store.Pending),
			},
		},
		`0 transition call_create v1 alice/laptop-of-alice: alice (on laptop-o) invited bob, carol, to ring for 90 s.`,
		`0 device absent v1 bob/: ! bob had no connected device when the invitation went out.`,
		`0 callback call_create v0 /: ! call_create to http://a failed, attempt 1: HTTP 503 (0 ms).`,
		`2 device left_out v1 carol/: ! carol could not be invited: not registered, or logged out (6000281).`,
		`5000 device unconfirmed v2 bob/: ! bob has not confirmed the invitation so far.`,
		`6000 device caught_up v1 bob/phone-of-bob: bob's device phone-of came back and was given the call.`,
		`6050 device confirmed v1 bob/phone-of-bob: bob's device phone-of confirmed the invitation.`,
		`7000 callback call_create v0 /: ! call_create to http://a failed, attempt 2: no answer within 5s (5000 ms).`,
		`8000 transition call_accept v3 bob/phone-of-bob: bob (on phone-of) accepted.`,
		`8000 transition ended v4 /: The call ended: it was accepted.`,
		`8000 device sent v3 alice/laptop-of-alice: call.users_changed was sent to alice's device laptop-o.`,
		`8000 callback call_accept v0 /: call_accept to http://a has not been attempted yet.`,
		`9000 device refused v1 bob/tablet-of-bob: ! bob's device tablet-o was refused to accept (6000276).`,
		`11012 callback call_create v0 /: call_create was delivered to http://a: 200 in 12 ms.`,
	)
}

// TestAdvancedCall: the end is an event of its own, and told once.
func TestAdvancedCall(t *testing.T) {
	c := ringingCall(call.Ended, bob(call.Inviting))
	c.Mode, c.EndedAt, c.EndReason = call.Advanced, t0+60_000, call.ByOperator
	alice := call.Actor{User: "alice", Session: "s-alice"}
	check(
		t,
		Record{Call: c, Events: []*store.Event{
			happened(t, t0, 1, protocol.CallbackCreate, protocol.CallCreate{Caller: "alice", UserIDs: []string{"bob"}, Timeout: 30}, alice),
			happened(t, t0+10, 2, protocol.CallbackReceived, protocol.CallAnswer{UserID: "bob"}, call.Actor{User: "bob", Session: "phone-of-bob"}),
			happened(t, t0+20, 3, protocol.CallbackInvite, protocol.CallInvite{Inviter: "alice", UserIDs: []string{"erin", "dave"}}, alice),
			happened(t, t0+30, 4, protocol.CallbackJoin, protocol.CallAnswer{UserID: "fred"}, call.Actor{User: "fred", Session: "f"}),
			happened(t, t0+40, 5, protocol.CallbackQuit, protocol.CallAnswer{UserID: "fred"}, call.Actor{User: "fred", Session: "f"}),
			happened(t, t0+50, 6, protocol.CallbackReject, protocol.CallAnswer{UserID: "dave"}, call.Actor{User: "dave"}),
			happened(t, t0+30_020, 7, protocol.CallbackTimeout, protocol.CallTimeout{UserIDs: []string{"erin"}}, call.Actor{}),
			happened(t, t0+60_000, 8, protocol.CallbackCancel, protocol.CallCancel{UserIDs: []string{"bob"}, Reason: protocol.CancelByCaller}, alice),
			happened(t, t0+60_000, 8, protocol.CallbackEnd, protocol.CallEnd{Reason: "ended", Operator: "alice"}, alice),
		}},
		`0 transition call_create v1 alice/s-alice: alice (on s-alice) invited bob, to ring for 30 s.`,
		`10 transition call_received v2 bob/phone-of-bob: bob (on phone-of) confirmed that it rings.`,
		`20 transition call_invite v3 alice/s-alice: alice (on s-alice) invited erin, dave as well.`,
		`30 transition call_join v4 fred/f: fred (on f) joined.`,
		`40 transition call_quit v5 fred/f: fred (on f) left.`,
		`50 transition call_reject v6 dave/: dave declined.`,
		`30020 transition call_timeout v7 /: erin did not answer in time.`,
		`60000 transition call_cancel v8 alice/s-alice: The invitations of bob were taken back.`,
		`60000 transition call_end v8 alice/s-alice: The call ended: ended.`,
	)
}

// TestCallerOfTheServerAPI: a caller without a device is named without one.
func TestCallerOfTheServerAPI(t *testing.T) {
	c := ringingCall(call.Ended, bob(call.TimedOut))
	check(
		t,
		Record{Call: c, Events: []*store.Event{
			happened(t, t0, 1, protocol.CallbackCreate, protocol.CallCreate{Caller: "alice", UserIDs: []string{"bob"}, Timeout: 90}, call.Actor{User: "alice"}),
			happened(t, t0+90_000, 2, protocol.CallbackCancel, protocol.CallCancel{UserIDs: []string{"bob"}, Reason: protocol.CancelByTimeout}, call.Actor{}),
		}},
		`0 transition call_create v1 alice/: alice invited bob, to ring for 90 s.`,
		`90000 transition call_cancel v2 /: The invitations of bob ran out.`,
		`90000 transition ended v4 /: The call ended: an invitation ran out.`,
	)
}

func TestEveryOutcomeHasAText(t *testing.T) {
	for _, outcome := range call.Outcomes {
		if outcomeText[outcome] == "" {
			t.Errorf("%s has none", outcome)
		}
	}
}

func TestCallbacksThatFailed(t *testing.T) {
	failed := store.Delivery{Event: 77, Endpoint: 3, Name: "call_create", At: t0, State: store.Failed}
	check(
		t,
		Record{Call: ringingCall(call.Started), Deliveries: []Delivery{
			{Delivery: &failed, URL: "http://a", Attempts: []store.Attempt{
				{Number: 1, Started: t0, Duration: 3, Error: "connection refused"}, {Number: 2, Started: t0 + 2003, Duration: 4, Status: 500, Error: "HTTP 500"},
			}},
			{Delivery: &failed, URL: "http://gone"},
		}},
		`0 callback call_create v0 /: ! call_create to http://gone was given up without an attempt: the endpoint was removed.`,
		`3 callback call_create v0 /: ! call_create to http://a failed, attempt 1: connection refused (3 ms).`,
		`2007 callback call_create v0 /: ! call_create to http://a failed, attempt 2: HTTP 500 (4 ms). It was given up.`,
	)
	for i, e := range Build(Record{Call: ringingCall(call.Started), Deliveries: []Delivery{{Delivery: &failed, Attempts: []store.Attempt{{Number: 1}, {Number: 2}}}}}) {
		if e.Event != 77 || e.Endpoint != 3 || e.Attempt != i+1 {
			t.Errorf("the entry does not say which attempt it is: %+v", e)
		}
	}
}

// TestOrder: at the same millisecond a transition comes before what devices
// were told of it, that before callbacks; of each kind in the order of the
// record.
func TestOrder(t *testing.T) {
	r := Record{
		Call: ringingCall(call.Started),
		Events: []*store.Event{
			happened(t, t0, 1, "b", struct{}{}, call.Actor{}), happened(t, t0, 2, "a", struct{}{}, call.Actor{}),
		},
		Trace: []trace.Entry{onDevice(trace.Confirmed, t0, "1"), onDevice(trace.CaughtUp, t0, "2"), onDevice(trace.Sent, t0-1, "3")},
		Deliveries: []Delivery{
			{Delivery: &store.Delivery{Name: "d", At: t0}}, {Delivery: &store.Delivery{Name: "c", At: t0}},
		},
	}
	var got []string
	for _, e := range Build(r) {
		got = append(got, e.Name)
	}
	if want := []string{"sent", "b", "a", "confirmed", "caught_up", "d", "c"}; !slices.Equal(got, want) {
		t.Errorf("the order is %v, want %v", got, want)
	}
}

// TestHostileStrings: what people chose goes through as it is, and takes
// nothing else with it.
func TestHostileStrings(t *testing.T) {
	const user = `<b>%s&"\` + "\n\u202e\x00"
	c := ringingCall(call.Started, call.User{ID: user, State: call.Inviting, InvitedAt: t0})
	r := Record{
		Call: c,
		Events: []*store.Event{
			happened(t, t0, 1, protocol.CallbackCreate, protocol.CallCreate{Caller: user, UserIDs: []string{user}}, call.Actor{User: user, Session: "%d%d%d%d%d"}),
			{At: t0, Name: "call_accept", Fields: []byte("not JSON"), Version: 2},
			{At: t0, Name: "call_" + user, Fields: []byte("{}"), Version: 3},
		},
		Trace:      []trace.Entry{{At: t0, Kind: trace.Sent, User: user, Session: "s", Event: "call.invited"}, {At: t0, Kind: user, User: user}},
		Deliveries: []Delivery{{Delivery: &store.Delivery{Name: "d", At: t0}, URL: "http://a/%s", Attempts: []store.Attempt{{Number: 1, Started: t0, Error: user}}}},
	}
	var got []string
	for _, e := range Build(r) {
		got = append(got, e.Text)
	}
	want := []string{
		user + " (on %d%d%d%d) invited " + user + ", to ring for 0 s.", "call_accept", "call_" + user,
		"call.invited was sent to " + user + "'s device s.", user, "d to http://a/%s failed, attempt 1: " + user + " (0 ms).",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the story is\n%q\nwant\n%q", got, want)
	}
	if v := Verdicts(r); len(v) != 1 || v[0].User != user || !strings.Contains(v[0].Text, user) {
		t.Errorf("the verdicts are %q", v)
	}
}

func TestNothingOnRecord(t *testing.T) {
	check(t, Record{Call: ringingCall(call.Started)})
}
