package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ringback/ringback/client"
	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/serverapi"
	"github.com/ringback/ringback/protocol"
)

// shop is an app that was made over the API, with an endpoint of its own.
type shop struct {
	*admin
	adminapi.AppSecrets
	inbox    *inbox
	endpoint string // its path
}

func (a *admin) openShop(settings string) shop {
	a.t.Helper()
	s := shop{admin: a, inbox: newInbox(a.t)}
	s.AppSecrets = request[adminapi.AppSecrets](a, http.StatusCreated, "POST", "/apps", `{}`)
	e := request[adminapi.Endpoint](a, http.StatusCreated, "POST", fmt.Sprintf("/apps/%d/endpoints", s.ID), fmt.Sprintf(`{"url":%q%s}`, s.inbox.url, settings))
	s.endpoint = fmt.Sprintf("/endpoints/%d", e.ID)
	return s
}

func (s shop) path(more string) string { return fmt.Sprintf("/apps/%d%s", s.ID, more) }

func (s shop) rotate(secret, overlap string) string {
	s.t.Helper()
	return request[adminapi.Rotated](s.admin, http.StatusOK, "POST", s.path("/rotate"), fmt.Sprintf(`{"secret":%q,"overlap":%q}`, secret, overlap)).Secret
}

func (s shop) trigger() adminapi.Triggered {
	s.t.Helper()
	return request[adminapi.Triggered](s.admin, http.StatusAccepted, "POST", s.path("/trigger"), nil)
}

// TestRotatedAppSecret: tokens of the old secret log in until the overlap
// ends.
func TestRotatedAppSecret(t *testing.T) {
	a := serveAdmin(t, nil)
	s := a.openShop("")
	enter := func(secret string) error {
		c, err := login(t, a.url, s.ID, "alice", secret)
		if err == nil {
			c.Close()
		}
		return err
	}
	if err := enter(s.Secret); err != nil {
		t.Fatalf("with the first secret: %v", err)
	}
	second := s.rotate("app", "1h")
	for name, secret := range map[string]string{"old": s.Secret, "new": second} {
		if err := enter(secret); err != nil {
			t.Errorf("during the overlap, with the %s secret: %v", name, err)
		}
	}
	third := s.rotate("app", "100ms")
	if err := enter(s.Secret); err == nil {
		t.Error("the secret before the one before still logs in")
	}
	for deadline := time.Now().Add(patience); enter(second) == nil; {
		if time.Now().After(deadline) {
			t.Fatal("the old secret logs in after the overlap")
		}
	}
	if err := enter(third); err != nil {
		t.Errorf("after the overlap, with the new secret: %v", err)
	}
	if app := get[adminapi.App](a, s.path("")); app.SecretOverlapUntilMS != 0 {
		t.Errorf("the app still shows an overlap: %+v", app)
	}
}

// TestRotatedCallbackSecret: during the overlap a callback has a signature of
// each secret, and in its body that of the old one.
func TestRotatedCallbackSecret(t *testing.T) {
	a := serveAdmin(t, nil)
	s := a.openShop("")
	signed := func(secrets ...string) bool {
		t.Helper()
		n := s.inbox.count()
		s.trigger()
		got := s.inbox.await(t, n+1)[n]
		var body struct {
			Nonce, Signature string
			Timestamp        int64
		}
		if err := json.Unmarshal(got.body, &body); err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, secret := range secrets {
			want = append(want, protocol.WebhookSignature(secret, got.header.Get("webhook-id"), body.Timestamp, got.body))
		}
		return got.header.Get("webhook-signature") == strings.Join(want, " ") &&
			body.Signature == protocol.CallbackSignature(secrets[0], body.Timestamp, body.Nonce)
	}
	if !signed(s.CallbackSecret) {
		t.Error("a callback is not signed by the callback secret")
	}
	second := s.rotate("callback", "1h")
	if !signed(s.CallbackSecret, second) {
		t.Error("during the overlap a callback is not signed by the old secret and the new one")
	}
	third := s.rotate("callback", "300ms")
	for deadline := time.Now().Add(patience); !signed(third); {
		if time.Now().After(deadline) {
			t.Fatal("after the overlap a callback is not signed by the new secret alone")
		}
	}
	s.rotate("callback", "0s")
	if signed(third) {
		t.Error("without an overlap the old secret still signs")
	}
}

// TestPauseAndResume: what comes meanwhile waits, uses up no attempts, and
// comes afterwards.
func TestPauseAndResume(t *testing.T) {
	a := serveAdmin(t, nil)
	s := a.openShop("")
	a.do(http.StatusOK, "POST", s.endpoint+"/pause", nil)
	var sent []adminapi.Triggered
	for range 3 {
		sent = append(sent, s.trigger())
	}
	// Another endpoint is not held up by it.
	request[adminapi.Triggered](a, http.StatusAccepted, "POST", "/apps/1/trigger", nil)
	a.inbox.await(t, 1)
	paused := until(a, s.endpoint, func(e adminapi.Endpoint) bool { return e.Health.Backlog == 3 })
	if paused.Health.State != "paused" || paused.Health.InFlight != 0 || s.inbox.count() != 0 {
		t.Errorf("the endpoint is %+v, and got %d", paused, s.inbox.count())
	}
	for _, one := range sent {
		if d := get[adminapi.DeliveryDetail](a, "/deliveries/"+one.Deliveries[0].ID); d.Status != "pending" || d.Attempts != 0 || len(d.AttemptLog) != 0 {
			t.Errorf("a delivery is %+v", d)
		}
	}
	a.do(http.StatusOK, "POST", s.endpoint+"/resume", nil)
	s.inbox.await(t, 3)
	for _, one := range sent {
		until(a, "/deliveries/"+one.Deliveries[0].ID, func(d adminapi.DeliveryDetail) bool { return d.Status == "delivered" && d.Attempts == 1 })
	}
	until(a, s.endpoint, func(e adminapi.Endpoint) bool { return e.Health.State == "ok" && e.Health.Backlog == 0 })
}

// TestKick: the device is told and closed with 4001, and the backend learns
// that the user is logged out.
func TestKick(t *testing.T) {
	a := serveAdmin(t, nil)
	reason := make(chan string, 1)
	alice := dialWith(t, a.url, "alice", func(_ *client.Client, ev client.Event) {
		if kicked, ok := ev.(*client.Kicked); ok {
			reason <- kicked.Reason
		}
	})
	a.do(http.StatusNoContent, "DELETE", "/apps/1/users/alice/sessions/"+alice.SessionID(), nil)
	select {
	case <-alice.Done():
	case <-time.After(patience):
		t.Fatal("the device is still connected")
	}
	var closed *client.CloseError
	if !errors.As(alice.Err(), &closed) || closed.Code != protocol.CloseKicked {
		t.Errorf("it was closed with %v", alice.Err())
	}
	if text := <-reason; !strings.Contains(text, "administrator") {
		t.Errorf("the device was told %q", text)
	}
	for _, got := range a.inbox.await(t, 2) {
		var action protocol.UserAction
		if err := json.Unmarshal(got.body, &action); err != nil {
			t.Fatal(err)
		}
		if action.Action == protocol.UserLogout && (action.UserID != "alice" || action.SessionID != alice.SessionID() || action.LogoutReason != "kicked_out") {
			t.Errorf("the backend was told %+v", action)
		}
	}
}

// TestBulkRedelivery: everything that failed comes once more, and the job says
// how far it is.
func TestBulkRedelivery(t *testing.T) {
	a := serveAdmin(t, nil)
	s := a.openShop(`,"retry":[]`)
	s.inbox.answer(http.StatusInternalServerError)
	const n = 30
	for range n {
		s.trigger()
	}
	failed := until(a, fmt.Sprintf("/deliveries?app=%d&status=failed&limit=500", s.ID), func(p adminapi.Page[adminapi.Delivery]) bool { return len(p.Items) == n })
	if at := failed.Items[0].LatestAttempt; at == nil || at.Status != 500 || at.Error == "" {
		t.Errorf("a failed delivery is %+v", failed.Items[0])
	}
	s.inbox.answer(http.StatusOK)
	job := request[adminapi.Redelivery](a, http.StatusAccepted, "POST", "/redeliveries", fmt.Sprintf(`{"filter":{"app":%d,"status":"failed"},"per_second":2000}`, s.ID))
	done := until(a, fmt.Sprintf("/redeliveries/%d", job.ID), func(r adminapi.Redelivery) bool { return r.State == "done" })
	if done.Total != n || done.Done != n || done.Skipped != 0 || done.EndedAtMS < done.CreatedAtMS {
		t.Errorf("the job is %+v", done)
	}
	times := make(map[string]int)
	for _, got := range s.inbox.await(t, 2*n) {
		times[got.header.Get("webhook-id")]++
	}
	for _, d := range failed.Items {
		if times[d.EventID] != 2 {
			t.Errorf("%s came %d times", d.EventID, times[d.EventID])
		}
	}
	until(a, fmt.Sprintf("/deliveries?app=%d&status=delivered&limit=500", s.ID), func(p adminapi.Page[adminapi.Delivery]) bool { return len(p.Items) == n })
}

// TestRedeliveryOfACall: all its callbacks come again, also those that were
// delivered; one that waits for its retry is not left waiting.
func TestRedeliveryOfACall(t *testing.T) {
	a := serveAdmin(t, nil)
	c := newCaller(t, a.url)
	c.post(0, "UserRegister", serverapi.UserRegister{UserInfo: []serverapi.UserInfo{{UserID: "alice"}, {UserID: "bob"}}})
	a.inbox.answer(http.StatusServiceUnavailable)
	id := c.post(0, "CallInvite", serverapi.CallInvite{FromUserID: "alice", UserIDs: []string{"bob"}}).CallID
	a.inbox.await(t, 1)
	waiting := until(a, "/deliveries?call="+id, func(p adminapi.Page[adminapi.Delivery]) bool {
		return len(p.Items) == 1 && p.Items[0].Attempts == 1
	}).Items[0]
	if waiting.Status != "pending" || waiting.NextAttemptMS < time.Now().Add(30*time.Minute).UnixMilli() {
		t.Errorf("the delivery is %+v", waiting)
	}
	a.inbox.answer(http.StatusOK)
	for round := range 2 {
		n := a.inbox.count()
		a.do(http.StatusAccepted, "POST", "/calls/"+id+"/redeliver", nil)
		if got := a.inbox.await(t, n+1)[n]; got.header.Get(protocol.HeaderAttempt) != fmt.Sprint(round+2) {
			t.Errorf("it came with %v", got.header)
		}
		d := until(a, "/deliveries/"+waiting.ID, func(d adminapi.DeliveryDetail) bool { return d.Status == "delivered" && d.Attempts == round+2 })
		if len(d.AttemptLog) != round+2 || d.AttemptLog[0].Status != 503 || d.AttemptLog[round+1].Status != 200 {
			t.Errorf("the attempts are %+v", d.AttemptLog)
		}
	}
}

// TestWhyItDidNotRing: who had no device is told so, with who confirmed, and
// who could not be invited at all.
func TestWhyItDidNotRing(t *testing.T) {
	a := serveAdmin(t, nil)
	newCaller(t, a.url).post(0, "UserRegister", serverapi.UserRegister{UserInfo: []serverapi.UserInfo{{UserID: "carol"}}})
	alice, bob := dial(t, a.url, "alice"), follow(t, a.url, "bob")
	defer alice.Close()
	made, err := alice.Invite(t.Context(), protocol.Invite{UserIDs: []string{"bob", "carol", "nobody"}})
	if err != nil {
		t.Fatal(err)
	}
	next[*client.Invited](t, bob)
	told := until(a, "/calls/"+made.CallID, func(c adminapi.CallDetail) bool {
		return len(c.Verdicts) == 3 && c.Verdicts[0].Rang == "yes" && len(c.Deliveries) >= 2
	})
	for i, want := range []struct{ user, rang, text string }{
		{"bob", "yes", "It rang: bob's device"},
		{"carol", "no", "It has not rung so far: carol had no connected device when invited"},
		{"nobody", "no", "not registered, or logged out when invited (6000281)"},
	} {
		if got := told.Verdicts[i]; got.UserID != want.user || got.Rang != want.rang || !strings.Contains(got.Text, want.text) {
			t.Errorf("the verdict is %+v, want %+v", got, want)
		}
	}
	kinds := make(map[string]bool)
	for i, e := range told.Timeline {
		kinds[e.Lane+" "+e.Name] = true
		if i > 0 && e.AtMS < told.Timeline[i-1].AtMS {
			t.Errorf("the story goes back in time: %+v", e)
		}
		if e.Lane == "callback" && (e.DeliveryID == "" || e.EventID == "") {
			t.Errorf("an entry does not say of which delivery it is: %+v", e)
		}
	}
	for _, want := range []string{
		"transition call_create", "transition call_received", "device sent", "device absent", "device left_out", "device confirmed", "callback call_create",
	} {
		if !kinds[want] {
			t.Errorf("the story has no %s: %+v", want, told.Timeline)
		}
	}
	if _, err := alice.Cancel(t.Context(), protocol.Cancel{CallID: made.CallID}); err != nil {
		t.Fatal(err)
	}
	ended := get[adminapi.CallDetail](a, "/calls/"+made.CallID)
	if v := ended.Verdicts[1]; v.Rang != "no" || !strings.Contains(v.Text, "none came back in time") || !strings.HasSuffix(v.Text, "The caller took the invitation back.") {
		t.Errorf("the verdict is %+v", v)
	}
	if last := ended.Timeline[len(ended.Timeline)-1]; ended.Outcome != "caller_cancel" || ended.State != "ended" || last.AtMS < ended.EndedAtMS {
		t.Errorf("the call is %+v", ended)
	}
}

// TestUsersOfAnyName: every valid ID can be looked up in a path.
func TestUsersOfAnyName(t *testing.T) {
	a := serveAdmin(t, nil)
	c := newCaller(t, a.url)
	ids := []string{" !#$%&()+-:;<=.>?@[]^_{}|~", "%2e", "a%20b", "?x=1", "...", "sessions", ".", ".."}
	for _, id := range ids {
		c.post(0, "UserRegister", serverapi.UserRegister{UserInfo: []serverapi.UserInfo{{UserID: id}}})
		path := "/apps/1/users/" + strings.ReplaceAll(url.PathEscape(id), ".", "%2E")
		resp, text := a.send(http.MethodGet, adminapi.Path+path, nil)
		var u adminapi.UserDetail
		if err := json.Unmarshal(text, &u); err != nil || resp.StatusCode != http.StatusOK || u.UserID != id || u.Presence != "registered" {
			t.Errorf("%q: HTTP %d %s", id, resp.StatusCode, text)
		}
		got := get[adminapi.Page[adminapi.User]](a, "/apps/1/users?prefix="+url.QueryEscape(id))
		if len(got.Items) == 0 || got.Items[0].UserID != id {
			t.Errorf("the prefix %q finds %+v", id, got)
		}
		if resp, text := a.send(http.MethodDelete, adminapi.Path+path+"/sessions", nil); resp.StatusCode != http.StatusOK {
			t.Errorf("kicking %q: HTTP %d %s", id, resp.StatusCode, text)
		}
	}
}
