package callback

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/ringback/ringback/protocol"
)

// Every vector gives its event with all its fields, whatever its format.
func TestParseVectors(t *testing.T) {
	for _, v := range readVectors(t).Requests {
		t.Run(v.Name, func(t *testing.T) {
			e, err := Parse(v.header(), []byte(v.Body))
			if err != nil {
				t.Fatal(err)
			}
			if e.ID != v.Headers["Webhook-Id"] || e.AppID != "1" || e.Attempt != 1 || e.Timestamp.Unix() != 1700000005 || e.Test || e.Late {
				t.Errorf("meta %+v", e.Meta)
			}
			if isCall := strings.HasPrefix(e.Event, "call_"); isCall != (e.Sequence > 0) || isCall != (e.CallID() == "3650722201234567890") {
				t.Errorf("sequence %d of call %q", e.Sequence, e.CallID())
			}
			if v.Headers["Content-Type"] == mediaForm {
				return // compared with its JSON below
			}
			got, err := json.Marshal(e.Fields)
			if err != nil {
				t.Fatal(err)
			}
			var have, want map[string]any
			if err := errors.Join(json.Unmarshal(got, &have), json.Unmarshal([]byte(v.Body), &want)); err != nil {
				t.Fatal(err)
			}
			for _, common := range []string{"appid", "event", "nonce", "signature", "timestamp"} {
				delete(want, common)
			}
			if !reflect.DeepEqual(have, want) {
				t.Errorf("fields %v, want %v", have, want)
			}
		})
	}
}

func TestParseForm(t *testing.T) {
	form, plain := vectorOf(t, "call_create, form"), vectorOf(t, "call_create")
	a, err := Parse(form.header(), []byte(form.Body))
	if err != nil {
		t.Fatal(err)
	}
	b, err := Parse(plain.header(), []byte(plain.Body))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a.Fields, b.Fields) || a.signature != b.signature || a.nonce != b.nonce || a.timestamp != b.timestamp {
		t.Errorf("form %+v, JSON %+v", a.Fields, b.Fields)
	}
	// user_action has numbers that may be absent.
	action := vectorOf(t, "user_action")
	var fields map[string]any
	if err := json.Unmarshal([]byte(action.Body), &fields); err != nil {
		t.Fatal(err)
	}
	values := url.Values{}
	for name, value := range fields {
		text, _ := json.Marshal(value)
		values.Set(name, strings.Trim(string(text), `"`))
	}
	header := action.header()
	header.Set("Content-Type", mediaForm+"; charset=utf-8")
	values.Set("timestamp", "1700000005")
	values.Set("login_time", "1700000000")
	values.Set("offline_time", "1700000004")
	e, err := Parse(header, []byte(values.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	want, err := Parse(action.header(), []byte(action.Body))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(e.Fields, want.Fields) {
		t.Errorf("form %+v, JSON %+v", e.Fields, want.Fields)
	}
}

// A body that was URL-encoded as a whole is read, as the documentation says.
func TestParseEncoded(t *testing.T) {
	v := vectorOf(t, "call_create")
	want, err := Parse(v.header(), []byte(v.Body))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(v.header(), []byte(url.QueryEscape(v.Body)))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Fields, want.Fields) {
		t.Errorf("got %+v", got.Fields)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, media, body string
		kind              error
		text              string
	}{
		{"empty", mediaJSON, ``, ErrMalformed, "not JSON"},
		{"broken", mediaJSON, `{"event":"call_`, ErrMalformed, "not JSON"},
		{"more after it", mediaJSON, `{"event":"x"} {}`, ErrMalformed, "not JSON"},
		{"array", mediaJSON, `[]`, ErrMalformed, "not a JSON object"},
		{"null", mediaJSON, `null`, ErrMalformed, "no event"},
		{"no event", mediaJSON, `{}`, ErrMalformed, "no event"},
		{"wrong type", mediaJSON, `{"event":"call_create","call_id":7}`, ErrMalformed, "call_id"},
		{"no call", mediaJSON, `{"event":"call_create"}`, ErrMalformed, "call_id"},
		{"no user", mediaJSON, `{"event":"user_action"}`, ErrMalformed, "user_id"},
		{"badly encoded", mediaJSON, `%7B%zz`, ErrMalformed, "URL-decoded"},
		{"form", mediaForm, `event=%zz`, ErrMalformed, "URL-decoded"},
		{"form number", mediaForm, `event=call_create&call_id=1&timeout=soon`, ErrMalformed, "timeout"},
		{"form large number", mediaForm, `event=call_create&call_id=1&create_time=soon`, ErrMalformed, "create_time"},
		{"form list", mediaForm, `event=call_create&call_id=1&user_ids=bob`, ErrMalformed, "user_ids"},
		{"form no event", mediaForm, ``, ErrMalformed, "no event"},
		{"text", "text/plain", `{}`, ErrMediaType, mediaForm},
		{"no type", "", `{}`, ErrMediaType, mediaJSON},
		{"broken type", ";;", `{}`, ErrMediaType, mediaJSON},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Parse(http.Header{"Content-Type": {tt.media}}, []byte(tt.body))
			if e != nil || !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("gave %v, %v", e, err)
			}
		})
	}
	for name, value := range map[string]string{
		protocol.HeaderAttempt: "x", protocol.HeaderSequence: "0", protocol.HeaderWebhookTimestamp: "now",
		protocol.HeaderWebhookID: strings.Repeat("x", maxID+1),
	} {
		header := http.Header{"Content-Type": {mediaJSON}}
		header.Set(name, value)
		if _, err := Parse(header, []byte(`{"event":"new"}`)); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s %.10q: %v", name, value, err)
		}
	}
}

// An event of a later version is no mistake.
func TestParseUnknownEvent(t *testing.T) {
	header := http.Header{"Content-Type": {mediaJSON}}
	header.Set(protocol.HeaderTest, "true")
	e, err := Parse(header, []byte(`{"appid":"9","event":"call_hold","timestamp":1700000005,"call_id":"1","music":true}`))
	if err != nil {
		t.Fatal(err)
	}
	if e.Event != "call_hold" || e.Fields != nil || e.CallID() != "" || !e.Test || e.Timestamp.Unix() != 1700000005 || !strings.Contains(string(e.Body), "music") {
		t.Errorf("gave %+v", e)
	}
}

// Whatever comes, the parser gives an event or a problem of its kinds, and
// what it gives can be read again.
func FuzzParse(f *testing.F) {
	for _, v := range readVectors(f).Requests {
		f.Add(v.Headers["Content-Type"] == mediaForm, []byte(v.Body))
		f.Add(false, []byte(url.QueryEscape(v.Body)))
	}
	f.Fuzz(func(t *testing.T, form bool, body []byte) {
		media := mediaJSON
		if form {
			media = mediaForm
		}
		e, err := Parse(http.Header{"Content-Type": {media}}, body)
		if err != nil {
			var refused *Error
			if e != nil || !errors.As(err, &refused) || refused.Status/100 != 4 || refused.Text == "" {
				t.Fatalf("gave %v, %v", e, err)
			}
			return
		}
		if e.Event == "" || (fieldsOf(e.Event) == nil) != (e.Fields == nil) {
			t.Fatalf("gave %+v", e)
		}
		if e.Fields == nil {
			return
		}
		// The same fields as JSON give the same event.
		fields, err := json.Marshal(e.Fields)
		if err != nil {
			t.Fatal(err)
		}
		name, err := json.Marshal(e.Event)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(http.Header{"Content-Type": {mediaJSON}}, []byte(`{"event":`+string(name)+`,`+string(fields[1:])))
		if err != nil {
			t.Fatalf("%s: %v", fields, err)
		}
		if once, _ := json.Marshal(again.Fields); string(once) != string(fields) {
			t.Fatalf("%s became %s", fields, once)
		}
	})
}
