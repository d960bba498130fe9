package webhook

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/protocol"
)

var update = flag.Bool("update", false, "write the golden callbacks")

// goldenFile is shared with the tests of other packages and languages.
var goldenFile = filepath.Join("..", "..", "protocol", "testdata", "callbacks.json")

// golden are the vectors: what a receiver must accept, and the signatures
// that it must compute.
type golden struct {
	Signatures []signatureVector `json:"signatures"`
	Webhooks   []webhookVector   `json:"webhooks"`
	Requests   []requestVector   `json:"requests"`
}

// signatureVector is the documented signature.
type signatureVector struct {
	Secret    string `json:"secret"`
	Timestamp int64  `json:"timestamp"`
	Nonce     string `json:"nonce"`
	Want      string `json:"want"`
}

// webhookVector is a signature of Standard Webhooks.
type webhookVector struct {
	Secret    string `json:"secret"`
	Key       string `json:"key"` // the secret as the libraries take it
	ID        string `json:"id"`
	Timestamp int64  `json:"timestamp"`
	Body      string `json:"body"`
	Want      string `json:"want"`
}

// requestVector is a whole request.
type requestVector struct {
	Name    string            `json:"name"`
	Secrets []string          `json:"secrets"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

// Signatures that were computed with Python's hashlib and hmac; the first is
// the documented example.
var foreign = golden{
	Signatures: []signatureVector{
		{"secret", 1470820198, "123412", "5bd59fd62953a8059fb7eaba95720f66d19e4517"},
		{"0123456789abcdef0123456789abcdef", 1700000000, "350176", "8c88e944cbbfd435a2ab7700b11b0a7320087407"},
		{"A", 1700000000, "9", "a0412ee4d95d78467decc73b0cbc562260fe2da6"},
		{"15", 1700000000, "16", "9e9afba12d69a88021ef260f21738cedd3c3b474"},
	},
	Webhooks: []webhookVector{
		{"0123456789abcdef0123456789abcdef", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "evt_77", 1700000000, `{"appid":"1"}`, "v1,3sRzSekXO7KPG9oAIKdga7HTlb1xDFhoPbv53YgPxMc="},
		{"secret", "whsec_c2VjcmV0", "evt_1", 1614265330, `{"test": 2432232314}`, "v1,BZyhORzoGmr2pF7JJfaSUfrK8A7M68j92bfTnam+qfY="},
	},
}

func vectors(t *testing.T) golden {
	g := golden{Signatures: foreign.Signatures, Webhooks: foreign.Webhooks}
	odd := `100 % + "tax" & <é> \` + "\n"
	alice := call.Actor{User: "alice", Session: "a"}
	created := call.CallCreated{
		Actor: alice, ID: 3650722201234567890, App: 1, At: noon, Invitees: []call.UserID{"bob", "c+a%r#ol"}, Timeout: 90,
		ExtendedData: odd, Mode: call.Advanced, EndBy: noon.Add(86_400_000),
	}
	c := call.Evolve(nil, created)
	number := store.EventID(1_700_000_000_000_000)
	add := func(name string, cb Callback, sequence int, form bool, secrets ...string) {
		number++
		d := &store.Delivery{Event: number, App: 1, Call: c.ID, Sequence: sequence, Name: cb.Name, Fields: cb.Fields}
		m := message{
			delivery: d, attempt: 1, form: form, userAgent: "Ringback/1.0.0", timestamp: 1_700_000_005, nonce: "4503599627370495",
		}
		if err := m.sign(secrets); err != nil {
			t.Fatal(err)
		}
		headers := make(map[string]string)
		for name, values := range m.header() {
			headers[name] = values[0]
		}
		g.Requests = append(g.Requests, requestVector{name, secrets, headers, string(m.body)})
	}
	sequence := 0
	happens := func(e call.Event) {
		var before *call.Call
		if _, ok := e.(call.CallCreated); !ok {
			before, c = c, call.Evolve(c, e)
		}
		for _, cb := range Callbacks(before, c, e) {
			sequence++
			add(cb.Name, cb, sequence, false, "secret")
			if cb.Name == protocol.CallbackCreate {
				add(cb.Name+", form", cb, sequence, true, "secret")
				add(cb.Name+", two secrets", cb, sequence, false, "new secret", "secret")
			}
		}
	}
	happens(created)
	happens(call.InvitationReceived{Actor: call.Actor{User: "bob"}})
	happens(call.CallAccepted{Actor: call.Actor{User: "bob", Session: "b"}, At: noon.Add(2000), ExtendedData: "yes"})
	happens(call.CallRejected{Actor: call.Actor{User: "c+a%r#ol"}, At: noon.Add(2500)})
	happens(call.UsersInvited{Actor: alice, At: noon.Add(3000), Invitees: []call.UserID{"dave", "eve", "frank"}})
	happens(call.UserJoined{Actor: call.Actor{User: "grace"}, At: noon.Add(3500), ExtendedData: "+1"})
	happens(call.UserQuit{Actor: call.Actor{User: "grace"}, At: noon.Add(4000), ExtendedData: "50%"})
	happens(call.InvitationsCancelled{Actor: alice, At: noon.Add(4500), Users: []call.UserID{"dave"}, Reason: call.CallerCancel, ExtendedData: odd})
	happens(call.InvitationsTimedOut{Users: []call.UserID{"eve"}, At: noon.Add(93_000)})
	happens(call.CallEnded{Actor: alice, At: noon.Add(95_000), Reason: call.ByOperator, ExtendedData: "done"})
	add("call_cancel, timeout", cancel(c, []string{"bob"}, protocol.CancelByTimeout, ""), 12, false, "secret")
	add("user_action", UserAction(protocol.UserAction{
		UserID: "bob", UserName: "Bob + 1", OS: "WEB", Action: protocol.UserOffline, SessionID: "s1", LoginTime: 1_700_000_000,
		Relogin: "0", OfflineTime: 1_700_000_004,
	}), 0, false, "secret")
	return g
}

func TestGoldenCallbacks(t *testing.T) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(vectors(t)); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(goldenFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("the callbacks are not those of %s; receivers must go on working", goldenFile)
	}
}

func TestSignatures(t *testing.T) {
	for _, v := range foreign.Signatures {
		if got := protocol.CallbackSignature(v.Secret, v.Timestamp, v.Nonce); got != v.Want {
			t.Errorf("%+v: %s", v, got)
		}
	}
	for _, v := range foreign.Webhooks {
		if got := protocol.WebhookSignature(v.Secret, v.ID, v.Timestamp, []byte(v.Body)); got != v.Want {
			t.Errorf("%+v: %s", v, got)
		}
		if got := protocol.WebhookSecret(v.Secret); got != v.Key {
			t.Errorf("%+v: key %s", v, got)
		}
	}
	// The vector of the reference libraries of Standard Webhooks, whose key is
	// not text.
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	if got := protocol.WebhookSignature(string(key), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, []byte(`{"test": 2432232314}`)); got != want {
		t.Errorf("the vector of the reference libraries: %s", got)
	}
}
