package client

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/ringback/ringback/protocol"
)

var frames = []string{
	`{"id":1,"body":{"call_id":"9","version":2}}`,
	`{"id":2,"error":{"code":6000276,"message":"no such call \"9\""}}`,
	` { "event" : "call.ended" , "body" : { "a" : [ 1 , "]}\\" , { } ] } } `,
	`{"body":{"x":"\u00e9\"}"},"event":"call.\u0069nvited","more":[1.5e+3,true,null]}`,
	`{"\u0069d":7}`,
	`{"id":1.0}`,
	`{"id":null,"event":null,"error":null,"body":null}`,
	`{}`, `[]`, `{"id":1`, `{"id":1}}`, `{"id":1,}`, `{"event":"\x"}`, `{"id":"1"}`, `null`, ``, `{"body":}`, `{"body":tru}`,
}

func TestParseFrame(t *testing.T) {
	for _, s := range frames {
		compare(t, []byte(s))
	}
}

// compare checks parseFrame against package json, which looks into bodies as
// well and so may refuse what parseFrame lets pass.
func compare(t *testing.T, data []byte) {
	t.Helper()
	var want protocol.Frame
	wantErr := json.Unmarshal(data, &want)
	got, err := parseFrame(data)
	if wantErr != nil {
		return
	}
	if err != nil {
		t.Errorf("%q: %v", data, err)
		return
	}
	if string(want.Body) == "null" {
		want.Body, got.Body = nil, nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q: got %+v, want %+v", data, got, want)
	}
}

func FuzzParseFrame(f *testing.F) {
	for _, s := range frames {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { compare(t, data) })
}

func TestAppendRequest(t *testing.T) {
	b, err := appendRequest(nil, 3, protocol.OpCallReject, protocol.CallAction{CallID: "9", ExtendedData: `"<é`})
	if want := `{"id":3,"op":"call.reject","body":{"call_id":"9","extended_data":"\"\u003cé"}}`; string(b) != want || err != nil {
		t.Errorf("got %s, %v, want %s", b, err, want)
	}
	b, _ = appendRequest(nil, 4, protocol.OpPing, nil)
	if want := `{"id":4,"op":"ping"}`; string(b) != want {
		t.Errorf("got %s, want %s", b, want)
	}
}

var invitation = []byte(`{"event":"call.invited","body":{"call_id":"7512345678901234567","version":1,"mode":0,"state":1,"caller":"alice","inviter":"alice","extended_data":"{\"room\":\"42\"}","timeout":90,"create_time_ms":1790000000000,"end_time_ms":0,"ring_remaining_ms":90000,"users":[{"user_id":"alice","state":1,"extended_data":""},{"user_id":"bob","state":0,"extended_data":""}]}}`)

func BenchmarkInvitation(b *testing.B) {
	c := calls{self: "bob"}
	b.ReportAllocs()
	for b.Loop() {
		f, err := parseFrame(invitation)
		if err != nil {
			b.Fatal(err)
		}
		ev, err := decodeEvent(f.Event, f.Body)
		if err != nil {
			b.Fatal(err)
		}
		c.admit(ev)
	}
}

func BenchmarkInvitationJSON(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		var f protocol.Frame
		if err := json.Unmarshal(invitation, &f); err != nil {
			b.Fatal(err)
		}
		if _, err := decodeEvent(f.Event, f.Body); err != nil {
			b.Fatal(err)
		}
	}
}
