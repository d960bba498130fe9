package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringback/ringback/client"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/serverapi"
	"github.com/ringback/ringback/protocol"
)

// caller is a customer's backend that uses the server API.
type caller struct {
	t      *testing.T
	url    string
	nonces *atomic.Int64
}

var nonces atomic.Int64

func newCaller(t *testing.T, url string) caller { return caller{t, url, &nonces} }

// sign makes a signed query; more are names and values.
func (c caller) sign(action string, more ...string) url.Values {
	q := url.Values{
		"AppId": {"1"}, "SignatureNonce": {fmt.Sprintf("%016x", c.nonces.Add(1))},
		"Timestamp": {strconv.FormatInt(time.Now().Unix(), 10)}, "SignatureVersion": {"2.0"},
	}
	if action != "" {
		q.Set("Action", action)
	}
	for i := 0; i < len(more); i += 2 {
		q.Add(more[i], more[i+1])
	}
	q.Set("Signature", serverapi.Signature("1", q.Get("SignatureNonce"), secret, q.Get("Timestamp")))
	return q
}

// reply is a decoded answer.
type reply struct {
	Code       serverapi.Code
	Message    string
	CallID     string `json:"CallId"`
	ErrorUsers []serverapi.ErrorUser
	ErrorList  []serverapi.ErrorUser
	Result     []serverapi.UserState
	Call       *serverapi.CallInfo
	CallList   []serverapi.CallInfo
	NextFlag   int64
}

func (c caller) send(method, query string, body any) (r reply) {
	c.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+"/?"+query, bytes.NewReader(text))
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil || resp.StatusCode != http.StatusOK {
		c.t.Fatalf("HTTP %d: %v", resp.StatusCode, err)
	}
	return r
}

func (c caller) post(want serverapi.Code, action string, body any) reply {
	c.t.Helper()
	r := c.send(http.MethodPost, c.sign(action).Encode(), body)
	if r.Code != want {
		c.t.Errorf("%s %+v: %d %s, want %d", action, body, r.Code, r.Message, want)
	}
	return r
}

func (c caller) get(want serverapi.Code, action string, more ...string) reply {
	c.t.Helper()
	r := c.send(http.MethodGet, c.sign(action, more...).Encode(), nil)
	if r.Code != want {
		c.t.Errorf("%s %v: %d %s, want %d", action, more, r.Code, r.Message, want)
	}
	return r
}

// events reads a page of the feed.
func (c caller) events(more ...string) (page serverapi.EventPage) {
	c.t.Helper()
	resp, err := http.Get(c.url + serverapi.EventsPath + "?" + c.sign("", more...).Encode())
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		c.t.Fatalf("HTTP %d %s %v", resp.StatusCode, text, err)
	}
	if err := json.Unmarshal(text, &page); err != nil {
		c.t.Fatalf("%s: %v", text, err)
	}
	// When a phone says that it rings is its own business.
	page.Events = slices.DeleteFunc(page.Events, func(ev serverapi.Event) bool { return ev.Event == protocol.CallbackReceived })
	return page
}

// follow logs a device in, and gives what it is told.
func follow(t *testing.T, url, user string) <-chan client.Event {
	t.Helper()
	told := make(chan client.Event, 100)
	dialWith(t, url, user, func(_ *client.Client, ev client.Event) { told <- ev })
	return told
}

// next waits for an event of a type.
func next[E client.Event](t *testing.T, told <-chan client.Event) E {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case ev := <-told:
			if e, ok := ev.(E); ok {
				return e
			}
		case <-timeout:
			var want E
			t.Fatalf("no %T came", want)
		}
	}
}

// TestServerAPIRingsDevices: calls that a backend makes and answers are calls
// like any other, for devices, callbacks and the feed.
func TestServerAPIRingsDevices(t *testing.T) {
	url, b := serve(t)
	c := newCaller(t, url)
	alice, bob := follow(t, url, "alice"), follow(t, url, "bob")
	c.post(0, "UserRegister", serverapi.UserRegister{UserInfo: []serverapi.UserInfo{{UserID: "carol", UserName: "Carol"}}})
	c.post(serverapi.CodeUserExists, "UserRegister", serverapi.UserRegister{UserInfo: []serverapi.UserInfo{{UserID: "carol"}}})
	states := c.get(0, "QueryUserOnlineState", "UserId[]", "alice", "UserId[]", "carol")
	if !slices.Equal(states.Result, []serverapi.UserState{{UserID: "alice", Status: "Online"}}) ||
		!slices.Equal(states.ErrorList, []serverapi.ErrorUser{{UserID: "carol", SubCode: serverapi.CodeNoSuchUser}}) {
		t.Errorf("states are %+v", states)
	}

	made := c.post(0, "CallInvite", serverapi.CallInvite{
		FromUserID: "alice", UserIDs: []string{"bob", "carol", "nobody"}, ExtendedData: "<video>",
		OfflinePush: serverapi.OfflinePush{Enable: true, Title: "Alice"},
	})
	if !slices.Equal(made.ErrorUsers, []serverapi.ErrorUser{{UserID: "nobody", SubCode: serverapi.CodeNoSuchUser}}) {
		t.Errorf("ErrorUsers are %v", made.ErrorUsers)
	}
	if ev := next[*client.Created](t, alice); ev.CallID != made.CallID || ev.ExtendedData != "<video>" {
		t.Errorf("the caller's device was told %+v", ev)
	}
	if ev := next[*client.Invited](t, bob); ev.CallID != made.CallID || ev.Caller != "alice" || ev.Timeout != 90 {
		t.Errorf("the callee's device was told %+v", ev)
	}
	c.get(serverapi.CodeNotInvited, "CallAccept", "FromUserId", "alice", "CallId", made.CallID)
	c.get(0, "CallReject", "FromUserId", "carol", "CallId", made.CallID)
	c.get(0, "CallAccept", "FromUserId", "bob", "CallId", made.CallID, "ExtendedData", "yes & no")
	if ev := next[*client.AnsweredElsewhere](t, bob); ev.CallID != made.CallID || ev.Answer != "accepted" {
		t.Errorf("the callee's device was told %+v", ev)
	}
	c.get(serverapi.CodeCallEnded, "CallReject", "FromUserId", "bob", "CallId", made.CallID)

	bodies := b.await(3)
	page := c.events("wait", "20")
	want := []string{"user_action", "user_action", "call_create", "call_reject", "call_accept"}
	if got := names(page); !slices.Equal(got, want) {
		t.Fatalf("the feed has %v, want %v", got, want)
	}
	for i, body := range bodies {
		var data map[string]any
		if err := json.Unmarshal(page.Events[i+2].Data, &data); err != nil {
			t.Fatal(err)
		}
		for key, value := range data {
			if fmt.Sprint(body[key]) != fmt.Sprint(value) {
				t.Errorf("%s: %s is %v in the feed and %v in the callback", page.Events[i+2].Event, key, value, body[key])
			}
		}
		if ev := page.Events[i+2]; ev.CallID != made.CallID || ev.Version != int64(i+1) || !strings.HasPrefix(ev.ID, "evt_") {
			t.Errorf("event %d is %+v", i, ev)
		}
	}
	call := c.get(0, "QueryCall", "CallId", made.CallID).Call
	if call.Outcome != "accepted" || call.State != 2 || len(call.CallUserList) != 3 || call.CallUserList[1].ExtendedData != "yes & no" {
		t.Errorf("the call is %+v", call)
	}

	cancelled := c.post(0, "CallInvite", serverapi.CallInvite{FromUserID: "carol", UserIDs: []string{"bob"}, Timeout: 600})
	next[*client.Invited](t, bob)
	c.post(0, "CallCancel", serverapi.CallCancel{FromUserID: "carol", CallID: cancelled.CallID, ExtendedData: "bye"})
	if ev := next[*client.Cancelled](t, bob); ev.CallID != cancelled.CallID || ev.ExtendedData != "bye" {
		t.Errorf("the callee's device was told %+v", ev)
	}
	if page := c.events("after", page.Cursor); !slices.Equal(names(page), []string{"call_create", "call_cancel"}) {
		t.Errorf("the feed goes on with %v", names(page))
	}
	first := c.get(0, "QueryCallList", "UserId", "bob", "Count", "1")
	second := c.get(0, "QueryCallList", "UserId", "bob", "Count", "1", "NextFlag", strconv.FormatInt(first.NextFlag, 10))
	if len(first.CallList) != 1 || len(second.CallList) != 1 || second.NextFlag != 0 ||
		!slices.Equal(slices.Sorted(slices.Values([]string{first.CallList[0].CallID, second.CallList[0].CallID})),
			slices.Sorted(slices.Values([]string{made.CallID, cancelled.CallID}))) {
		t.Errorf("the calls of bob are %+v and %+v", first, second)
	}
}

func names(page serverapi.EventPage) (list []string) {
	for _, ev := range page.Events {
		list = append(list, ev.Event)
	}
	return list
}

func TestServerAPIEndsAdvancedCalls(t *testing.T) {
	url, _ := serve(t)
	c := newCaller(t, url)
	alice, bob := dial(t, url, "alice"), follow(t, url, "bob")
	made, err := alice.Invite(t.Context(), protocol.Invite{UserIDs: []string{"bob"}, Mode: 1})
	if err != nil {
		t.Fatal(err)
	}
	next[*client.Invited](t, bob)
	c.post(serverapi.CodeNotInvited, "CallEnd", serverapi.CallEnd{FromUserID: "bob", CallID: made.CallID})
	c.post(0, "CallEnd", serverapi.CallEnd{FromUserID: "alice", CallID: made.CallID, ExtendedData: "bye"})
	if ev := next[*client.Ended](t, bob); ev.CallID != made.CallID || ev.Operator != "alice" || ev.ExtendedData != "bye" {
		t.Errorf("the callee's device was told %+v", ev)
	}
}

// TestLongPollOverHTTP: a poll that waits is answered by the event, and does
// not hold up the end of the server.
func TestLongPollOverHTTP(t *testing.T) {
	url, _ := serve(t)
	c := newCaller(t, url)
	begin := c.events("after", "latest")
	polled := make(chan serverapi.EventPage, 1)
	go func() {
		defer close(polled)
		polled <- c.events("after", begin.Cursor, "wait", "60")
	}()
	dial(t, url, "alice")
	if page := <-polled; !slices.Equal(names(page), []string{"user_action"}) {
		t.Errorf("the poll gives %v", names(page))
	}
	resp, err := http.Get(url + serverapi.OpenAPIPath)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var doc struct{ OpenAPI string }
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil || doc.OpenAPI != "3.1.0" {
		t.Errorf("the description: %+v, %v", doc, err)
	}
	other, err := http.Get(url + "/?x=1")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Body.Close()
	if other.StatusCode != http.StatusNotFound {
		t.Errorf("the root without a parameter of the server API: HTTP %d", other.StatusCode)
	}
}

// TestNoncesSurviveARestart: neither a nonce nor a registered user is
// forgotten, and a call that a backend made goes on.
func TestNoncesSurviveARestart(t *testing.T) {
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	app := config.DefaultApp()
	app.ID, app.Secret = 1, secret
	cfg.Apps = []config.App{app}
	run := func(f func(c caller)) {
		t.Helper()
		s, err := Open(t.Context(), cfg, Options{Logger: slog.New(slog.DiscardHandler), Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, ln) }()
		f(newCaller(t, "http://"+ln.Addr().String()))
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	var query, id string
	run(func(c caller) {
		c.post(0, "UserRegister", serverapi.UserRegister{UserInfo: []serverapi.UserInfo{{UserID: "alice"}, {UserID: "bob"}}})
		id = c.post(0, "CallInvite", serverapi.CallInvite{FromUserID: "alice", UserIDs: []string{"bob"}}).CallID
		query = c.sign("QueryCall", "CallId", id).Encode()
		if r := c.send(http.MethodGet, query, nil); r.Code != 0 {
			t.Errorf("QueryCall: %+v", r)
		}
	})
	run(func(c caller) {
		if r := c.send(http.MethodGet, query, nil); r.Code != serverapi.CodeSignature || !strings.Contains(r.Message, "used before") {
			t.Errorf("the replay after a restart: %+v", r)
		}
		c.get(0, "CallAccept", "FromUserId", "bob", "CallId", id)
	})
}
