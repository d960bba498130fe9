package store_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

func anyString(t *rapid.T, label string) string { return rapid.String().Draw(t, label) }

// anyRecord gives records of any content, whether or not it makes sense.
func anyRecord(t *rapid.T) *store.CallRecord {
	c := rapid.Make[call.Call]().Draw(t, "call")
	c.ExtendedData, c.EndedBy = anyString(t, "extended data"), call.SessionID(anyString(t, "ended by"))
	c.ID &= 1<<63 - 1
	r := &store.CallRecord{Call: &c, Sequences: rapid.MapOf(rapid.Custom(func(t *rapid.T) store.EndpointID {
		return store.EndpointID(rapid.Int64().Draw(t, "endpoint"))
	}), rapid.Int()).Draw(t, "sequences")}
	none := func(what string) bool { return rapid.Bool().Draw(t, "no "+what) }
	if none("sequences") {
		r.Sequences = nil
	}
	if none("users") {
		c.Users = nil
	}
	if none("cancels") {
		c.Cancels = nil
	}
	if none("push") {
		c.Push = nil
	}
	for i := range c.Users {
		c.Users[i].ExtendedData = anyString(t, "extended data of a user")
		if none("earlier") {
			c.Users[i].Earlier = nil
		}
	}
	for i := range c.Cancels {
		if none("names") {
			c.Cancels[i].Names = nil
		}
		if none("errors") {
			c.Cancels[i].Errors = nil
		}
	}
	return r
}

func TestCallRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRecord(t)
		data := store.EncodeCall(r)
		if !json.Valid(data) {
			t.Fatalf("not JSON: %s", data)
		}
		c, sequences, err := store.DecodeCall(data)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(c, r.Call) || !reflect.DeepEqual(sequences, r.Sequences) {
			t.Fatalf("got %#v %v\nwant %#v %v\nfrom %s", c, sequences, r.Call, r.Sequences, data)
		}
	})
}

func TestUserErrorsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(rapid.Custom(func(t *rapid.T) call.UserError {
			return call.UserError{User: call.UserID(anyString(t, "user")), Code: call.Code(rapid.Int().Draw(t, "code"))}
		})).Draw(t, "errors")
		if len(want) == 0 && rapid.Bool().Draw(t, "nil") {
			want = nil
		}
		got, err := store.DecodeUserErrors(store.EncodeUserErrors(want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %#v (%v), want %#v", got, err, want)
		}
	})
}

// stored is what an earlier version has written. It must be readable for
// ever.
const stored = `{"i":3844045877051392001,"a":7,"v":3,"m":1,"s":2,"c":"alice","x":"{\"room\":1}","t":90,"k":true,"p":"eyJ0aXRsZSI6IkhpIn0=",` +
	`"ct":1790000000000,"et":1790000009000,"eb":1790086400000,"fa":1790000004000,"r":true,"ca":true,"er":"ended","eo":"bob","es":"web","ex":"bye",` +
	`"cc":[{"By":"phone","Names":["carol"],"Errors":[{"User":"zoe","Code":6000274}]}],` +
	`"u":[{"i":"alice","s":1,"v":"alice","p":"phone","at":1790000000000},` +
	`{"i":"bob","s":7,"v":"alice","x":"yes","p":"web","it":1790000000000,"dt":1790000090000,"kt":1790000005000,"at":1790000004000,` +
	`"qt":1790000008000,"l":true,"cr":"caller_cancel","lo":4,"lb":"web","e":[{"Op":1,"By":"phone"}]}],"q":{"1":3,"12":1}}`

func storedRecord() *store.CallRecord {
	return &store.CallRecord{
		Call: &call.Call{
			ID: 3844045877051392001, App: 7, Version: 3, Mode: call.Advanced, State: call.Ended, Caller: "alice", ExtendedData: `{"room":1}`,
			Timeout: 90, NotReceivedCheck: true, Push: []byte(`{"title":"Hi"}`), CreatedAt: 1790000000000, EndedAt: 1790000009000,
			EndBy: 1790086400000, FirstAcceptAt: 1790000004000, Responded: true, CancelledAll: true, EndReason: call.ByOperator,
			EndOperator: "bob", EndedBy: "web", EndExtendedData: "bye",
			Users: []call.User{
				{ID: "alice", State: call.Accepted, Inviter: "alice", Primary: "phone", AcceptedAt: 1790000000000},
				{
					ID: "bob", State: call.Quit, Inviter: "alice", ExtendedData: "yes", Primary: "web", InvitedAt: 1790000000000,
					Deadline: 1790000090000, CheckAt: 1790000005000, AcceptedAt: 1790000004000, QuitAt: 1790000008000, Late: true,
					CancelReason: call.CallerCancel, LastOp: call.OpQuit, LastBy: "web",
					Earlier: []call.Deed{{Op: call.OpAccept, By: "phone"}},
				},
			},
			Cancels: []call.Cancellation{{By: "phone", Names: []call.UserID{"carol"}, Errors: []call.UserError{{User: "zoe", Code: call.NotInCall}}}},
		},
		Sequences: map[store.EndpointID]int{1: 3, 12: 1},
	}
}

func TestStoredForm(t *testing.T) {
	want := storedRecord()
	c, sequences, err := store.DecodeCall([]byte(stored))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, want.Call) || !reflect.DeepEqual(sequences, want.Sequences) {
		t.Errorf("got %#v %v\nwant %#v %v", c, sequences, want.Call, want.Sequences)
	}
	if got := store.EncodeCall(want); string(got) != stored {
		t.Errorf("encoded as\n%s\nwant\n%s", got, stored)
	}
}

// TestStoredFormKnowsNoZero fills every field of every type, so that a new
// one cannot be forgotten.
func TestStoredFormKnowsNoZero(t *testing.T) {
	c := *storedRecord().Call
	for _, v := range []any{c, c.Users[1], c.Users[1].Earlier[0], c.Cancels[0], c.Cancels[0].Errors[0]} {
		for i := range reflect.TypeOf(v).NumField() {
			if reflect.ValueOf(v).Field(i).IsZero() {
				t.Errorf("%T.%s has no value in the test of the stored form", v, reflect.TypeOf(v).Field(i).Name)
			}
		}
	}
}

func TestStoredFormOfLaterVersion(t *testing.T) {
	later := `{"new":{"a":[1]},"i":5,"v":1,"s":1,"u":[{"i":"a","new":1.5}],"cc":[{"By":"x","new":null}]}`
	c, sequences, err := store.DecodeCall([]byte(later))
	if err != nil || sequences != nil || c.ID != 5 || len(c.Users) != 1 || c.Users[0].ID != "a" || c.Cancels[0].By != "x" {
		t.Errorf("got %#v, %v, %v", c, sequences, err)
	}
}

// storedQuery is the query of a job that an earlier version has written.
const storedQuery = `{"a":7,"c":5,"p":2,"e":"call_accept","s":[2,0],"f":11,"u":99,"r":{"Event":12,"Endpoint":3},"o":true,"l":100}`

func TestStoredQuery(t *testing.T) {
	want := store.DeliveryQuery{
		App: 7, Call: 5, Endpoint: 2, Event: "call_accept", States: []store.DeliveryState{store.Failed, store.Pending}, From: 11, Until: 99,
		After: store.DeliveryPlace{Event: 12, Endpoint: 3}, Oldest: true, Limit: 100,
	}
	for i := range reflect.TypeOf(want).NumField() {
		if reflect.ValueOf(want).Field(i).IsZero() {
			t.Errorf("%s has no value in the test of the stored form", reflect.TypeOf(want).Field(i).Name)
		}
	}
	got, err := store.DecodeQuery([]byte(storedQuery))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v (%v), want %#v", got, err, want)
	}
	if got := store.EncodeQuery(&want); string(got) != storedQuery {
		t.Errorf("encoded as\n%s\nwant\n%s", got, storedQuery)
	}
	if _, err := store.DecodeQuery(nil); err == nil {
		t.Error("DecodeQuery of nothing gives no error")
	}
}

func TestDecodeDamaged(t *testing.T) {
	for _, data := range []string{"", "{", "null1", stored[:len(stored)-1], `{"i":"x"}`, "\x00"} {
		if _, _, err := store.DecodeCall([]byte(data)); err == nil {
			t.Errorf("DecodeCall(%q) gives no error", data)
		}
	}
	if _, err := store.DecodeUserErrors(nil); err == nil {
		t.Error("DecodeUserErrors of nothing gives no error")
	}
}

func BenchmarkEncodeCall(b *testing.B) {
	r := storedRecord()
	b.ReportAllocs()
	for b.Loop() {
		store.EncodeCall(r)
	}
}

func BenchmarkDecodeCall(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := store.DecodeCall([]byte(stored)); err != nil {
			b.Fatal(err)
		}
	}
}
