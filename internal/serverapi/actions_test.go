package serverapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestParameterFaults(t *testing.T) {
	b := newBackend(t)
	defer b.close()
	b.login("alice", "bob")
	long, ids := strings.Repeat("x", 33), func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf("user%d", i))
		}
		return jsonOf(t, list)
	}
	data := strings.Repeat("x", 2049)
	for _, tt := range []struct {
		action, body string
		want         Code
		says         string
	}{
		{"CallInvite", ``, CodeInput, "not JSON"},
		{"CallInvite", `{"FromUserId":"alice"`, CodeInput, "not JSON"},
		{"CallInvite", `{} {}`, CodeInput, "not JSON"},
		{"CallInvite", `[]`, CodeInput, "must be an object"},
		{"CallInvite", `{"FromUserId":7,"UserIds":["bob"]}`, CodeInput, "FromUserId must be a string"},
		{"CallInvite", `{"FromUserId":"alice","UserIds":"bob"}`, CodeInput, "UserIds must be a list"},
		{"CallInvite", `{"FromUserId":"alice","UserIds":["bob",7]}`, CodeInput, "UserIds[1] must be a string"},
		{"CallInvite", `{"FromUserId":"alice","UserIds":["bob"],"Timeout":"90"}`, CodeInput, "Timeout must be an integer"},
		{"CallInvite", `{"FromUserId":"alice","UserIds":["bob"],"Timeout":1.5}`, CodeInput, "Timeout must be an integer"},
		{"CallInvite", `{"FromUserId":"alice","UserIds":["bob"],"OfflinePush":[]}`, CodeInput, "OfflinePush must be an object"},
		{"CallInvite", `{"FromUserId":"alice","UserIds":["bob"],"OfflinePush":{"Enable":2}}`, CodeInput, "Enable must be 0 or 1"},
		{"CallInvite", `{"x":"` + strings.Repeat("x", maxBody) + `"}`, CodeInput, "262144 bytes"},
		{"CallInvite", `{"":1}`, CodeParameter, "FromUserId is missing"},
		{"CallInvite", `{"fromuserid":"alice","UserIds":["bob"]}`, CodeParameter, "FromUserId is missing"},
		{"CallInvite", `{"FromUserId":"al/ice","UserIds":["bob"]}`, CodeParameter, "FromUserId"},
		{"CallInvite", `{"FromUserId":"` + long + `","UserIds":["bob"]}`, CodeUserIDTooLong, "FromUserId has a user ID of 33 bytes"},
		{"CallInvite", `{"FromUserId":"alice"}`, CodeParameter, "UserIds is empty"},
		{"CallInvite", `{"FromUserId":"alice","UserIds":null}`, CodeParameter, "UserIds is empty"},
		{"CallInvite", `{"FromUserId":"alice","UserIds":["bob","` + long + `"]}`, CodeUserIDTooLong, "UserIds has a user ID of 33 bytes"},
		{"CallInvite", `{"FromUserId":"alice","UserIds":["bob",""]}`, CodeParameter, "UserIds"},
		{"CallInvite", `{"FromUserId":"alice","UserIds":["alice","bob"]}`, CodeParameter, "nobody rings himself"},
		{"CallInvite", `{"FromUserId":"alice","UserIds":` + ids(10) + `}`, CodeTooManyCallees, "10 users"},
		{"CallInvite", `{"FromUserId":"alice","UserIds":["bob"],"Timeout":601}`, CodeParameter, "Timeout is 601"},
		{"CallInvite", `{"FromUserId":"alice","UserIds":["bob"],"Timeout":-1}`, CodeParameter, "Timeout is -1"},
		{"CallInvite", `{"FromUserId":"alice","UserIds":["bob"],"ExtendedData":"` + data + `"}`, CodeParameter, "2049 bytes"},
		{"CallInvite", `{"FromUserId":"alice","UserIds":["bob"],"OfflinePush":{"Enable":1,"Payload":"` + data + data + `"}}`, CodeParameter, "OfflinePush has"},
		{"CallInvite", `{"FromUserId":"nobody","UserIds":["bob"]}`, CodeNotRegistered, "not registered"},
		{"CallInvite", `{"FromUserId":"alice","UserIds":["nobody"]}`, CodeNoCallee, "can be rung"},

		{"CallAccept", `{"CallId":"1"}`, CodeParameter, "FromUserId is missing"},
		{"CallAccept", `{"FromUserId":"` + long + `","CallId":"1"}`, CodeUserIDTooLong, "33 bytes"},
		{"CallAccept", `{"FromUserId":"bob"}`, CodeParameter, "CallId is missing"},
		{"CallAccept", `{"FromUserId":"bob","CallId":"x"}`, CodeParameter, "decimal digits"},
		{"CallAccept", `{"FromUserId":"bob","CallId":"1","ExtendedData":"` + data + `"}`, CodeParameter, "2049 bytes"},
		{"CallAccept", `{"FromUserId":"nobody","CallId":"1"}`, CodeNotRegistered, "not registered"},
		{"CallAccept", `{"FromUserId":"bob","CallId":"1"}`, CodeNoSuchCall, "no such call"},
		{"CallReject", `{"FromUserId":"bob","CallId":"1"}`, CodeNoSuchCall, "no such call"},
		{"CallCancel", `{"FromUserId":"alice","CallId":"1"}`, CodeNoSuchCall, "no such call"},
		{"CallCancel", `{"FromUserId":"alice","CallId":1}`, CodeInput, "CallId must be a string"},
		{"CallCancel", `{"FromUserId":"alice","CallId":"1","UserIds":` + ids(65) + `}`, CodeTooManyUsers, "65 users"},
		{"CallCancel", `{"FromUserId":"alice","CallId":"1","UserIds":["` + long + `"]}`, CodeUserIDTooLong, "33 bytes"},
		{"CallEnd", `{"FromUserId":"alice","CallId":"1"}`, CodeNoSuchCall, "no such call"},
		{"QueryCall", `{}`, CodeParameter, "CallId is missing"},
		{"QueryCall", `{"CallId":"1"}`, CodeNoSuchCall, "no call 1"},
		{"QueryCallList", `{}`, CodeParameter, "UserId is missing"},
		{"QueryCallList", `{"UserId":"alice","Count":"many"}`, CodeInput, "Count must be an integer"},
		{"QueryCallList", `{"UserId":"alice","Count":"-1"}`, CodeParameter, "must not be negative"},
		{"QueryCallList", `{"UserId":"alice","NextFlag":"9007199254740992"}`, CodeParameter, "2^53"},
		{"QueryCallList", `{"UserId":"nobody"}`, CodeNoSuchUser, "no user"},

		{"UserRegister", `{}`, CodeParameter, "UserInfo is empty"},
		{"UserRegister", `{"UserInfo":{}}`, CodeInput, "UserInfo must be a list"},
		{"UserRegister", `{"UserInfo":["dave"]}`, CodeInput, "UserInfo[0] must be an object"},
		{"UserRegister", `{"UserInfo":[{"UserId":7}]}`, CodeInput, "UserId must be a string"},
		{"UserRegister", `{"UserInfo":[` + strings.Repeat(`{},`, 100) + `{}]}`, CodeTooManyUsers, "101 users"},
		{"UserRegister", `{"UserInfo":[{"UserId":"` + long + `"}]}`, CodeUserIDTooLong, "33 bytes"},
		{"UserRegister", `{"UserInfo":[{"UserId":"dave","UserName":"` + strings.Repeat("x", 257) + `"}]}`, CodeNameTooLong, "257 bytes"},
		{"UserRegister", `{"UserInfo":[{"UserId":"dave","UserAvatar":"` + strings.Repeat("x", 501) + `"}]}`, CodeAvatarTooLong, "501 bytes"},
		{"UserRegister", `{"UserInfo":[{"UserId":"dave","UserName":"\u0000"}]}`, CodeParameter, "NUL"},
		{"UserRegister", `{"UserInfo":[{"UserId":"alice"}]}`, CodeUserExists, "exists already"},

		{"QueryUserOnlineState", `{}`, CodeParameter, "UserId[] is missing"},
		{"QueryUserOnlineState", `{"UserId[]":` + ids(101) + `}`, CodeTooManyUsers, "101 users"},
	} {
		r := b.run(tt.action, tt.body)
		if r.code() != tt.want || !strings.Contains(r.text("Message"), tt.says) {
			t.Errorf("%s %.120s: %v\nwant code %d and %q", tt.action, tt.body, r, tt.want, tt.says)
		}
	}
	if strings.Contains(b.log.String(), "failed") {
		t.Errorf("what backends do wrong is logged as a failure:\n%s", b.log)
	}
}

// run sends the parameters as the action takes them.
func (b *backend) run(action, parameters string) result {
	b.t.Helper()
	if actions[action].method == http.MethodPost {
		return b.post(action, parameters)
	}
	var named map[string]any
	if err := json.Unmarshal([]byte(parameters), &named); err != nil {
		b.t.Fatal(err)
	}
	var more []string
	for name, value := range named {
		if list, ok := value.([]any); ok {
			for _, item := range list {
				more = append(more, name, item.(string))
			}
			continue
		}
		more = append(more, name, value.(string))
	}
	return b.get(action, more...)
}

func TestWrongMethod(t *testing.T) {
	b := newBackend(t)
	defer b.close()
	for name, a := range actions {
		wrong := http.MethodGet
		if a.method == wrong {
			wrong = http.MethodPost
		}
		for _, method := range []string{wrong, http.MethodPut} {
			r := b.send(method, b.query(name).Encode(), "{}")
			if b.want(r, CodeInput); !strings.Contains(r.text("Message"), "is a "+a.method+" request") {
				t.Errorf("%s %s: %v", method, name, r)
			}
		}
	}
}

func TestCallInvite(t *testing.T) {
	b := newBackend(t)
	defer b.close()
	b.login("bob")
	gone, _ := b.loginAs("gone")
	b.logout("gone", gone)
	b.want(b.post("UserRegister", `{"UserInfo":[{"UserId":"alice","UserName":"Alice"},{"UserId":"carol"}]}`), CodeSuccess)
	r := b.post("CallInvite", `{"FromUserId":"alice","UserIds":["bob","gone","carol","nobody","bob"],"ExtendedData":"<x>","Extra":1,
		"OfflinePush":{"Enable":1,"Title":"Alice","Content":"calls","Payload":"p","Sound":"x"}}`)
	b.want(r, CodeSuccess)
	left := []any{
		map[string]any{"UserId": "gone", "SubCode": float64(CodeNoSuchUser)},
		map[string]any{"UserId": "nobody", "SubCode": float64(CodeNoSuchUser)},
	}
	if !reflect.DeepEqual(r["ErrorUsers"], left) {
		t.Errorf("ErrorUsers are %v, want %v", r["ErrorUsers"], left)
	}
	id, err := call.ParseID(r.text("CallId"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.engine.Call(t.Context(), app, id)
	if err != nil {
		t.Fatal(err)
	}
	if c.Mode != call.General || c.Timeout != 90 || c.Caller != "alice" || len(c.Users) != 3 || c.ExtendedData != "<x>" ||
		string(c.Push) != `{"title":"Alice","content":"calls","payload":"p"}` || float64(c.CreatedAt) != r["CreateTime"] {
		t.Errorf("the call is %+v", c)
	}
	if len(b.devices.told) != 1 || b.devices.told[0].After != c {
		t.Errorf("devices were told %v", b.devices.told)
	}

	r = b.post("CallInvite", `{"FromUserId":"bob","UserIds":["gone","nobody"],"Timeout":0}`)
	if b.want(r, CodeNoCallee); !reflect.DeepEqual(r["ErrorUsers"], left) {
		t.Errorf("nobody can be rung: %v", r)
	}
	b.want(b.post("CallInvite", `{"FromUserId":"gone","UserIds":["bob"]}`), CodeNotRegistered)

	r = b.post("CallInvite", `{"FromUserId":"bob","UserIds":["alice"],"Timeout":600,"OfflinePush":{"Enable":false,"Title":"x"}}`)
	if b.want(r, CodeSuccess); fmt.Sprint(r["ErrorUsers"]) != "[]" {
		t.Errorf("ErrorUsers of a call that left nobody out: %v", r)
	}
	if c := b.devices.told[1].After; c.Push != nil || c.Timeout != 600 {
		t.Errorf("without a push the call is %+v", c)
	}
}

func TestAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		defer b.close()
		b.login("alice", "bob", "carol", "dave")
		id := b.invite("alice", "bob", "carol")
		accept := func(user string) result {
			return b.get("CallAccept", "FromUserId", user, "CallId", id, "ExtendedData", "a+b%&=;é")
		}
		reject := func(user string) result { return b.get("CallReject", "FromUserId", user, "CallId", id) }
		b.want(accept("dave"), CodeNotInvited)
		b.want(accept("alice"), CodeNotInvited)
		b.want(accept("bob"), CodeSuccess)
		b.want(accept("bob"), CodeSuccess) // as it answered the first time
		b.want(reject("bob"), CodeCallEnded)
		b.want(reject("carol"), CodeSuccess)
		b.want(accept("carol"), CodeCallEnded)
		b.want(accept("dave"), CodeNotInvited)
		info := b.get("QueryCall", "CallId", id)["Call"].(map[string]any)
		users := info["CallUserList"].([]any)
		if bob := users[1].(map[string]any); bob["ExtendedData"] != "a+b%&=;é" || bob["State"] != 1.0 || info["Outcome"] != "accepted" {
			t.Errorf("the call is %v", info)
		}

		id = b.invite("alice", "bob")
		time.Sleep(90 * time.Second)
		synctest.Wait()
		b.want(accept("bob"), CodeTimedOut)
		b.want(reject("bob"), CodeTimedOut)
		b.want(reject("dave"), CodeNotInvited)

		id = b.invite("alice", "bob")
		b.want(b.post("CallCancel", `{"FromUserId":"alice","CallId":"`+id+`"}`), CodeSuccess)
		b.want(accept("bob"), CodeCallEnded)
		b.want(accept("dave"), CodeNotInvited)
	})
}

// TestLateByRule: an invitation whose time has come is timed out, even before
// its timer runs.
func TestLateByRule(t *testing.T) {
	c := &call.Call{State: call.Started, Caller: "alice", Users: []call.User{
		{ID: "alice", State: call.Accepted},
		{ID: "bob", State: call.Inviting, InvitedAt: 1, Deadline: 90},
		{ID: "carol", State: call.TimedOut, InvitedAt: 1, Deadline: 80},
	}}
	for _, tt := range []struct {
		actor call.UserID
		at    call.Instant
		want  Code
	}{{"bob", 90, CodeTimedOut}, {"bob", 89, CodeCallEnded}, {"carol", 89, CodeTimedOut}, {"dave", 90, CodeNotInvited}, {"alice", 90, CodeCallEnded}} {
		r := &refusal{&call.RefusedError{Code: call.NoSuchCall}, call.Accept{}, c, tt.actor, tt.at}
		if got := r.code(); got != tt.want {
			t.Errorf("%s at %d: %d, want %d", tt.actor, tt.at, got, tt.want)
		}
	}
}

func TestCallCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		defer b.close()
		b.login("alice", "bob", "carol", "dave")
		id := b.invite("alice", "bob", "carol", "dave")
		cancel := func(from, users string) result {
			return b.post("CallCancel", `{"FromUserId":"`+from+`","CallId":"`+id+`","UserIds":`+users+`,"ExtendedData":"bye"}`)
		}
		b.want(cancel("bob", `[]`), CodeParameter)
		b.want(cancel("alice", `["eve"]`), CodeNotInvited)
		b.get("CallReject", "FromUserId", "dave", "CallId", id)
		r := cancel("alice", `["bob","eve","dave"]`)
		b.want(r, CodeSuccess)
		if want := `[{"SubCode":660900008,"UserId":"eve"},{"SubCode":660900005,"UserId":"dave"}]`; jsonOf(t, r["ErrorUsers"]) != want {
			t.Errorf("ErrorUsers are %v, want %s", r["ErrorUsers"], want)
		}
		b.want(cancel("alice", `[]`), CodeSuccess)
		b.want(cancel("alice", `[]`), CodeSuccess)
		b.want(cancel("alice", `["dave"]`), CodeCallEnded)
		b.want(cancel("bob", `[]`), CodeParameter)

		id = b.invite("alice", "bob", "carol")
		b.get("CallAccept", "FromUserId", "bob", "CallId", id)
		r = cancel("alice", `[]`)
		if b.want(r, CodeCallEnded); !strings.Contains(r.text("Message"), "accepted") {
			t.Errorf("an accepted call: %v", r)
		}
	})
}

func TestCallEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		defer b.close()
		session, _ := b.loginAs("alice")
		b.login("bob")
		end := func(id, from string) result { return b.post("CallEnd", `{"FromUserId":"`+from+`","CallId":"`+id+`"}`) }
		b.want(end(b.invite("alice", "bob"), "alice"), CodeParameter) // general mode
		id := b.inviteAdvanced("alice", session, "bob")
		b.want(end(id, "bob"), CodeNotInvited)
		r := end(id, "alice")
		b.want(r, CodeSuccess)
		if info := b.get("QueryCall", "CallId", id)["Call"].(map[string]any); info["EndTime"] != r["EndTime"] || info["State"] != 2.0 || info["Mode"] != 1.0 {
			t.Errorf("the answer is %v, the call %v", r, info)
		}
		b.want(end(id, "alice"), CodeSuccess) // as it answered the first time
		b.want(end(b.inviteAdvanced("alice", session, "bob"), "alice"), CodeSuccess)
	})
}

func TestQueryCallList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t)
		defer b.close()
		b.login("alice", "bob")
		b.want(b.post("UserRegister", `{"UserInfo":[{"UserId":"carol"}]}`), CodeSuccess)
		var ids []string
		for range 5 {
			ids = append([]string{b.invite("alice", "bob")}, ids...)
			time.Sleep(time.Second)
		}
		flag, got := "0", []string{}
		for range 3 {
			r := b.get("QueryCallList", "UserId", "bob", "Count", "2", "NextFlag", flag)
			b.want(r, CodeSuccess)
			for _, c := range r["CallList"].([]any) {
				got = append(got, c.(map[string]any)["CallId"].(string))
			}
			flag = fmt.Sprint(r["NextFlag"])
		}
		if !reflect.DeepEqual(got, ids) || flag != "0" {
			t.Errorf("pages give %v up to flag %s, want %v", got, flag, ids)
		}
		if r := b.get("QueryCallList", "UserId", "carol"); fmt.Sprint(r["CallList"], r["NextFlag"], r["Code"]) != "[] 0 0" {
			t.Errorf("carol has no calls: %v", r)
		}
		if r := b.get("QueryCallList", "UserId", "alice", "Count", "1000"); len(r["CallList"].([]any)) != 5 {
			t.Errorf("all calls: %v", r)
		}
	})
}

func TestUserRegister(t *testing.T) {
	b := newBackend(t)
	defer b.close()
	b.login("alice")
	r := b.post("UserRegister", `{"UserInfo":[{"UserId":"alice","UserName":"x"},{"UserId":"bad/id"},{"UserId":"dave","UserName":"Dave"},{"UserId":"dave"}]}`)
	b.want(r, CodeSuccess)
	var got []string
	for _, e := range r["ErrorList"].([]any) {
		entry := e.(map[string]any)
		got = append(got, fmt.Sprintf("%v %.0f", entry["UserId"], entry["SubCode"]))
		if entry["SubMessage"] == "" {
			t.Errorf("no SubMessage: %v", entry)
		}
	}
	if want := []string{"alice 660700002", "bad/id 660000002", "dave 660700002"}; !reflect.DeepEqual(got, want) {
		t.Errorf("ErrorList is %v, want %v", got, want)
	}
	if u := b.store.users[userKey(app, "dave")]; u.Name != "Dave" || u.loggedIn {
		t.Errorf("dave is %+v", u)
	}
	r = b.post("UserRegister", `{"UserInfo":[{"UserId":"dave"},{"UserId":"bad/id"}]}`)
	if b.want(r, CodeUserExists); len(r["ErrorList"].([]any)) != 2 {
		t.Errorf("all failed: %v", r)
	}
	if r = b.post("UserRegister", `{"UserInfo":[{"UserId":"erin"}]}`); fmt.Sprint(r["ErrorList"]) != "[]" {
		t.Errorf("none failed: %v", r)
	}
}

func TestQueryUserOnlineState(t *testing.T) {
	b := newBackend(t)
	defer b.close()
	b.login("a")
	session, p := b.loginAs("b;c ")
	b.engine.Lost(app, "b;c ", session, p, time.Now())
	gone, _ := b.loginAs("gone")
	b.logout("gone", gone)
	b.want(b.post("UserRegister", `{"UserInfo":[{"UserId":"registered"}]}`), CodeSuccess)
	want := `[{"Status":"Online","UserId":"a"},{"Status":"Offline","UserId":"b;c "}]`
	wantErrors := `[{"SubCode":660200001,"UserId":"gone"},{"SubCode":660200001,"UserId":"registered"},{"SubCode":660200001,"UserId":"no/body"}]`
	for _, names := range []string{
		"&UserId[]=a&UserId[]=b;c+&UserId[]=gone&UserId[]=registered&UserId[]=no/body&UserId[]=a",
		"&UserId%5B%5D=a&UserId%5b%5d=b%3Bc%20&UserId%5B%5D=gone&UserId[]=registered&UserId[]=no%2Fbody",
		"&UserId[0]=a&UserId%5B1%5D=b;c%20&UserId[2]=gone&UserId[3]=registered&UserId[10]=no/body&UserIdx[]=x&UserId[x]=x&UserId=x",
	} {
		r := b.send(http.MethodGet, b.query("QueryUserOnlineState").Encode()+names, "")
		b.want(r, CodeSuccess)
		if jsonOf(t, r["Result"]) != want || jsonOf(t, r["ErrorList"]) != wantErrors {
			t.Errorf("%s gives %v", names, r)
		}
	}
}

// TestFailingStore: a failure is the operator's business, and no secret of the
// request gets into the log.
func TestFailingStore(t *testing.T) {
	b := newBackend(t)
	defer b.close()
	b.login("alice", "bob")
	b.store.fail = errors.New("the disk is on fire")
	q := b.query("CallInvite")
	r := b.send(http.MethodPost, q.Encode(), `{"FromUserId":"alice","UserIds":["bob"],"ExtendedData":"confidential"}`)
	if b.want(r, CodeGeneral); strings.Contains(r.text("Message"), "fire") || !strings.Contains(r.text("Message"), "CallInvite: try again") {
		t.Errorf("the backend is told %v", r)
	}
	log := b.log.String()
	for _, want := range []string{"level=ERROR", "app_id=12345", "action=CallInvite", "request_id=" + r.text("RequestId"), "the disk is on fire"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not have %s: %s", want, log)
		}
	}
	for _, private := range []string{secret, q.Get("Signature"), q.Get("SignatureNonce"), "confidential"} {
		if strings.Contains(log, private) {
			t.Errorf("the log has %s: %s", private, log)
		}
	}
	b.store.fail = fmt.Errorf("wrapped: %w", store.ErrFull)
	if r := b.get("QueryCall", "CallId", "1"); r.code() != CodeGeneral || !strings.Contains(r.text("Message"), "room") {
		t.Errorf("a full store: %v", r)
	}
	b.store.fail = nil
	if got := strings.Join(b.seen, ","); got != "CallInvite 660000001,QueryCall 660000001" {
		t.Errorf("observed %s", got)
	}
}
