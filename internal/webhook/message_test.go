package webhook

import (
	"io"
	"reflect"
	"testing"
	"time"

	"github.com/ringback/ringback/protocol"
)

// A message is what the deliverer sends, byte for byte.
func TestMessage(t *testing.T) {
	at := stamp{timestamp: 1_700_000_000, nonce: "12345"}
	for _, form := range []bool{false, true} {
		to := settingsFor(t, "http://example.test", func(e *Endpoint) { e.Form, e.Secrets = form, []string{"new", "old"} })
		want, err := newCaller(t, nil).request(t.Context(), to, someDelivery, at)
		if err != nil {
			t.Fatal(err)
		}
		wantBody, err := io.ReadAll(want.Body)
		if err != nil {
			t.Fatal(err)
		}
		m := &Message{
			Callback: Callback{someDelivery.Name, someDelivery.Fields}, App: someDelivery.App, ID: int64(someDelivery.Event),
			Attempt: someDelivery.Attempts + 1, Sequence: someDelivery.Sequence, At: time.Unix(at.timestamp, 0),
			Nonce: at.nonce, Secrets: to.Secrets, Form: form, UserAgent: "Ringback/1.2.3",
		}
		header, body, err := m.Sign()
		if err != nil || string(body) != string(wantBody) || !reflect.DeepEqual(header, want.Header) {
			t.Errorf("form %v: %v\n%v\n%s\nwant\n%v\n%s", form, err, header, body, want.Header, wantBody)
		}
	}
}

// A message without a nonce gets a new one each time.
func TestMessageNonce(t *testing.T) {
	m := &Message{Callback: NewCallback(protocol.CallbackTimeout, protocol.CallTimeout{}), App: 1, ID: 1, Attempt: 1, At: time.Unix(1, 0), Secrets: []string{"s"}}
	_, first, err := m.Sign()
	if err != nil {
		t.Fatal(err)
	}
	if _, second, err := m.Sign(); err != nil || string(first) == string(second) {
		t.Errorf("%v: %s, and again %s", err, first, second)
	}
}
