package protocol

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
)

// Every body decodes from its vector and encodes to the same bytes: the names,
// the order and the presence of the fields are the contract.
func TestFrameVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/frames.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Type string          `json:"type"`
		JSON json.RawMessage `json:"json"`
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	types := map[string]func() any{
		"Login": func() any { return new(Login) }, "LoginReply": func() any { return new(LoginReply) },
		"Sync": func() any { return new(Sync) }, "Snapshot": func() any { return new(Snapshot) },
		"RenewToken": func() any { return new(RenewToken) }, "PingReply": func() any { return new(PingReply) },
		"Invite": func() any { return new(Invite) }, "InviteReply": func() any { return new(InviteReply) },
		"InviteMore": func() any { return new(InviteMore) }, "Cancel": func() any { return new(Cancel) },
		"UsersReply": func() any { return new(UsersReply) }, "CallAction": func() any { return new(CallAction) },
		"CallReply": func() any { return new(CallReply) }, "JoinReply": func() any { return new(JoinReply) },
		"LeaveReply": func() any { return new(LeaveReply) }, "Query": func() any { return new(Query) },
		"QueryReply": func() any { return new(QueryReply) }, "UsersChanged": func() any { return new(UsersChanged) },
		"Cancelled": func() any { return new(Cancelled) }, "TimedOut": func() any { return new(TimedOut) },
		"AnsweredElsewhere": func() any { return new(AnsweredElsewhere) }, "Ended": func() any { return new(Ended) },
		"Kicked": func() any { return new(Kicked) }, "TokenExpiring": func() any { return new(TokenExpiring) },
		"Request": func() any { return new(Request) }, "Frame": func() any { return new(Frame) },
	}
	seen := make(map[string]bool)
	for _, v := range vectors {
		seen[v.Type] = true
		body := types[v.Type]()
		dec := json.NewDecoder(bytes.NewReader(v.JSON))
		dec.DisallowUnknownFields()
		if err := dec.Decode(body); err != nil {
			t.Errorf("%s: %v", v.Type, err)
			continue
		}
		got, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		if err := json.Compact(&want, v.JSON); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s:\n got %s\nwant %s", v.Type, got, want.Bytes())
		}
	}
	for name := range types {
		if !seen[name] {
			t.Errorf("there is no vector for %s", name)
		}
	}
}

// The documented vector of the callback signature.
func TestCallbackSignature(t *testing.T) {
	const want = "5bd59fd62953a8059fb7eaba95720f66d19e4517"
	if got := CallbackSignature("secret", 1470820198, "123412"); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestErrorText(t *testing.T) {
	err := Errorf(CodeNoSuchCall, "no call %d", 5)
	if got := err.Error(); got != "no call 5 (6000276)" {
		t.Errorf("got %q", got)
	}
	if got := WebhookSecret("secret"); got != "whsec_c2VjcmV0" {
		t.Errorf("got %q", got)
	}
}
