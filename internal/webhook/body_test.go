package webhook

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/protocol"
)

var (
	anyUser = rapid.Custom(func(t *rapid.T) call.UserID {
		const allowed = "abzAZ09 !#$%&()+-:;<=.>?@[]^_{}|~"
		return call.UserID(rapid.StringOfN(rapid.SampledFrom([]rune(allowed)), 1, 32, 32).Draw(t, "user"))
	})
	anyText = rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		"", "%", "+", "%2B", "100 % + tax", `"\%+\"`, "a%00b", "<&>", "\u2028", "{\"a\":\"+%\"}", "\xff%\xfe", "%25", "\x00",
	}))
)

// anyCreate is a callback with strings of all kinds, and what it says.
func anyCreate(t *rapid.T) (*store.Delivery, protocol.CallCreate) {
	users := rapid.SliceOfNDistinct(anyUser, 1, 9, rapid.ID).Draw(t, "invitees")
	text := anyText.Draw(t, "payload")
	e := call.CallCreated{
		Actor: call.Actor{User: anyUser.Draw(t, "caller")}, ID: call.ID(rapid.Uint64Range(1, 1<<63-1).Draw(t, "call")),
		At: noon, Invitees: users, Timeout: 60, ExtendedData: text,
	}
	cb := Callbacks(nil, call.Evolve(nil, e), e)[0]
	return &store.Delivery{Event: 1, App: rapid.Uint32().Draw(t, "app"), Call: e.ID, Sequence: 1, Name: cb.Name, Fields: cb.Fields},
		protocol.CallCreate{
			CallID: e.ID.String(), UserIDs: names(users), CreateTime: 1_700_000_000, Payload: strings.ToValidUTF8(text, "\uFFFD"),
			Caller: string(e.User), Timeout: 60,
		}
}

// anyMessage is a signed message about a delivery.
func anyMessage(t *rapid.T, d *store.Delivery, form bool) *message {
	m := &message{delivery: d, form: form, timestamp: rapid.Int64Range(1, 1<<40).Draw(t, "timestamp"), nonce: newNonce()}
	if err := m.sign([]string{"secret"}); err != nil {
		t.Fatal(err)
	}
	return m
}

type createBody struct {
	protocol.CallbackCommon
	protocol.CallCreate
}

func (b createBody) equal(t *rapid.T, d *store.Delivery, at *message, fields protocol.CallCreate) {
	common := protocol.CallbackCommon{
		AppID: strconv.FormatUint(uint64(d.App), 10), Event: d.Name, Nonce: at.nonce,
		Signature: protocol.CallbackSignature("secret", at.timestamp, at.nonce), Timestamp: at.timestamp,
	}
	if b.CallbackCommon != common {
		t.Fatalf("common fields %+v, want %+v", b.CallbackCommon, common)
	}
	// Each invalid byte becomes one replacement, a run of them may count once.
	squash := strings.NewReplacer("\uFFFD\uFFFD", "\uFFFD")
	b.Payload, fields.Payload = squash.Replace(b.Payload), squash.Replace(fields.Payload)
	users, other := b.UserIDs, fields.UserIDs
	b.UserIDs, fields.UserIDs = nil, nil
	if !slices.Equal(users, other) || b.CallID != fields.CallID || b.CreateTime != fields.CreateTime ||
		b.Caller != fields.Caller || b.Timeout != fields.Timeout || b.Payload != fields.Payload {
		t.Fatalf("fields %+v %q, want %+v %q", b.CallCreate, users, fields, other)
	}
}

func TestBodySurvivesURLDecoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, fields := anyCreate(t)
		at := anyMessage(t, d, false)
		body := at.body
		if decoded, err := url.QueryUnescape(string(body)); err != nil || decoded != string(body) {
			t.Fatalf("URL-decoding %q gives %q, %v", body, decoded, err)
		}
		var got createBody
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		got.equal(t, d, at, fields)
	})
}

func TestFormHasTheSameFields(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, fields := anyCreate(t)
		at := anyMessage(t, d, true)
		body := at.body
		values, err := url.ParseQuery(string(body))
		if err != nil {
			t.Fatal(err)
		}
		number := func(name string) int64 {
			n, err := strconv.ParseInt(values.Get(name), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		got := createBody{
			protocol.CallbackCommon{
				AppID: values.Get("appid"), Event: values.Get("event"), Nonce: values.Get("nonce"),
				Signature: values.Get("signature"), Timestamp: number("timestamp"),
			},
			protocol.CallCreate{
				CallID: values.Get("call_id"), CreateTime: number("create_time"), Payload: values.Get("payload"),
				Caller: values.Get("caller"), Timeout: int(number("timeout")),
			},
		}
		if err := json.Unmarshal([]byte(values.Get("user_ids")), &got.UserIDs); err != nil {
			t.Fatal(err)
		}
		got.equal(t, d, at, fields)
		var order []string
		for pair := range strings.SplitSeq(string(body), "&") {
			name, _, _ := strings.Cut(pair, "=")
			order = append(order, name)
		}
		if want := "appid event nonce signature timestamp call_id user_ids create_time payload caller timeout"; strings.Join(order, " ") != want {
			t.Fatalf("order %v", order)
		}
	})
}

func TestFieldsThatAreNoObject(t *testing.T) {
	for _, fields := range []string{"", "[]", `{"a"`, `{"a":`, `"a"`} {
		d := &store.Delivery{Name: "call_create", Fields: []byte(fields)}
		m := message{delivery: d, form: true, timestamp: 1, nonce: "2"}
		if err := m.sign([]string{"secret"}); err == nil {
			t.Errorf("fields %q: no error", fields)
		}
	}
	for _, fields := range []string{"", "{}"} {
		d := &store.Delivery{App: 1, Name: "x", Fields: []byte(fields)}
		m := message{delivery: d, timestamp: 1, nonce: "2"}
		if err := m.sign([]string{"secret"}); err != nil || !json.Valid(m.body) || !strings.HasSuffix(string(m.body), `"timestamp":1}`) {
			t.Errorf("fields %q: %s, %v", fields, m.body, err)
		}
	}
}

func TestNonceIsANumber(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		nonce := newNonce()
		if n, err := strconv.ParseInt(nonce, 10, 64); err != nil || n >= 1<<53 || strconv.FormatInt(n, 10) != nonce || seen[nonce] {
			t.Fatalf("nonce %q", nonce)
		}
		seen[nonce] = true
	}
}
