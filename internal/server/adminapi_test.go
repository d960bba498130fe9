package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/auth"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/protocol"
)

// TestAdminOperations has every operation of the description answer with
// everything that is described of it, and holds all against the schemas.
func TestAdminOperations(t *testing.T) {
	a := serveAdmin(t, nil)
	alice := dial(t, a.url, "alice")
	defer alice.Close()
	bob := dial(t, a.url, "bob")
	defer bob.Close()
	made, err := alice.Invite(t.Context(), protocol.Invite{UserIDs: []string{"bob"}})
	if err != nil {
		t.Fatal(err)
	}
	a.overview()
	a.nodes()
	a.apps()
	a.endpoints()
	a.deliveries(made.CallID)
	a.redeliveries()
	a.calls(made.CallID)
	a.events()
	a.tokens()
	a.users(bob.SessionID())
	a.auditLog()
	a.doc.complete(t)
}

func (a *admin) tokens() {
	a.refused(http.StatusUnprocessableEntity, "POST", "/apps/1/tokens", `{"user_id":""}`, "user_id", "1 to 32 bytes")
	a.refused(http.StatusNotFound, "POST", "/apps/9/tokens", `{"user_id":"alice"}`, "there is no such app")
	a.refused(http.StatusBadRequest, "POST", "/apps/1/tokens", `{"user_id":`, "JSON")
	made := request[adminapi.Token](a, http.StatusCreated, "POST", "/apps/1/tokens", `{"user_id":"a b#c"}`)
	if _, err := auth.Verify(made.Token, 1, "a b#c", secret, time.Now()); err != nil {
		a.t.Errorf("the token: %v", err)
	}
}

func (a *admin) overview() {
	a.refused(http.StatusUnprocessableEntity, "GET", "/overview?window=1y", nil, "window", "24h")
	if o := get[adminapi.Overview](a, "/overview"); o.Now.LiveCalls != 1 || o.StepS != 10 || len(o.Samples) == 0 {
		a.t.Errorf("the overview is %+v", o)
	}
}

func (a *admin) nodes() {
	n := get[adminapi.Nodes](a, "/nodes")
	if len(n.Items) != 1 || !n.Items[0].Self || n.Items[0].Partitions != n.Partitions || n.Items[0].Name == "" || n.Clustered || n.Unheld != 0 || n.Bus.State != "none" {
		a.t.Errorf("the nodes are %+v", n)
	}
	if age := time.Duration(n.AtMS-n.Items[0].JoinedAtMS) * time.Millisecond; age < 0 || age > patience {
		a.t.Errorf("the server has run for %v", age)
	}
}

func (a *admin) apps() {
	a.refused(http.StatusConflict, "POST", "/apps", `{"id":1}`, "there is such an app already")
	a.refused(http.StatusUnprocessableEntity, "POST", "/apps", `{"login_policy":"any"}`, "login_policy", "single")
	a.refused(http.StatusUnprocessableEntity, "POST", "/apps", `{"nam":"x"}`, "nam")
	a.refused(http.StatusUnprocessableEntity, "POST", "/apps", map[string]string{"name": "a\nb"}, "name", "control characters")
	a.refused(http.StatusBadRequest, "POST", "/apps", `{"name":`, "JSON")
	made := request[adminapi.AppSecrets](a, http.StatusCreated, "POST", "/apps", `{"name":"Shop","join_policy":"invited"}`)
	if made.ID != 1000 || made.Name != "Shop" || made.Origin != "admin" || made.LoginPolicy != "single" || made.JoinPolicy != "invited" ||
		len(made.Secret) != config.SecretLen || len(made.CallbackSecret) != config.SecretLen || made.Secret == made.CallbackSecret {
		a.t.Errorf("the new app is %+v", made)
	}
	if list := get[adminapi.Page[adminapi.App]](a, "/apps"); len(list.Items) != 2 || list.Next != "" || list.Items[0].Origin != "file" || list.Items[1].ID != 1000 {
		a.t.Errorf("the apps are %+v", list)
	}
	if text := a.do(http.StatusOK, "GET", "/apps/1000", nil); strings.Contains(string(text), made.Secret) || strings.Contains(string(text), made.CallbackSecret) {
		a.t.Error("a secret is shown again")
	}
	a.refused(http.StatusBadRequest, "GET", "/apps?cursor=x", nil, "the cursor is not one of this list")
	a.refused(http.StatusBadRequest, "PATCH", "/apps/1000", `[`, "JSON")
	a.refused(http.StatusBadRequest, "POST", "/apps/1000/rotate", `x`, "JSON")
	a.refused(http.StatusUnprocessableEntity, "GET", "/apps?limit=0", nil, "limit")
	a.refused(http.StatusUnprocessableEntity, "GET", "/apps?limit=501", nil, "limit", "500")
	a.refused(http.StatusNotFound, "GET", "/apps/7", nil, "there is no such app")
	a.refused(http.StatusUnprocessableEntity, "GET", "/apps/x", nil, "app")
	if app := request[adminapi.App](a, http.StatusOK, "PATCH", "/apps/1000", `{"login_policy":"multi"}`); app.LoginPolicy != "multi" || app.Name != "Shop" {
		a.t.Errorf("the changed app is %+v", app)
	}
	a.refused(http.StatusNotFound, "PATCH", "/apps/7", `{}`, "there is no such app")
	a.refused(http.StatusConflict, "PATCH", "/apps/1", `{"name":"x"}`, "belongs to the configuration file and is read-only here", "change the file")
	a.refused(http.StatusUnprocessableEntity, "PATCH", "/apps/1000", `{"name":"`+strings.Repeat("n", 65)+`"}`, "name")
	if r := request[adminapi.Rotated](a, http.StatusOK, "POST", "/apps/1000/rotate", `{"secret":"app","overlap":"1h"}`); len(r.Secret) != config.SecretLen || r.Secret == made.Secret || r.OverlapUntilMS == 0 {
		a.t.Errorf("the rotation gives %+v", r)
	}
	if app := get[adminapi.App](a, "/apps/1000"); app.SecretOverlapUntilMS == 0 || app.CallbackSecretOverlapUntilMS != 0 {
		a.t.Errorf("the app is %+v", app)
	}
	a.refused(http.StatusNotFound, "POST", "/apps/7/rotate", `{"secret":"app"}`, "there is no such app")
	a.refused(http.StatusConflict, "POST", "/apps/1/rotate", `{"secret":"app"}`, "configuration file")
	for body, word := range map[string]string{
		`{"secret":"other"}`: "secret", `{"secret":"app","overlap":"soon"}`: "such as 24h", `{"secret":"app","overlap":"721h"}`: "720h",
		`{"secret":"app","overlap":"-1s"}`: "0s", `{}`: "secret",
	} {
		a.refused(http.StatusUnprocessableEntity, "POST", "/apps/1000/rotate", body, word)
	}
}

func (a *admin) endpoints() {
	other := newInbox(a.t)
	e := request[adminapi.Endpoint](a, http.StatusCreated, "POST", "/apps/1000/endpoints",
		fmt.Sprintf(`{"url":%q,"events":["call_end"],"retry":["1m"],"ordering":"strict","timeout":"2s"}`, other.url))
	if e.AppID != 1000 || e.Origin != "admin" || e.URL != other.url || !slices.Equal(e.Events, []string{"call_end"}) ||
		!slices.Equal(e.Retry, []string{"1m0s"}) || e.Ordering != "strict" || e.Format != "json" || e.WhenDown != "retry" || e.Health.State != "unused" {
		a.t.Errorf("the new endpoint is %+v", e)
	}
	a.refused(http.StatusConflict, "POST", "/apps/1000/endpoints", fmt.Sprintf(`{"url":%q}`, other.url), "already")
	a.refused(http.StatusConflict, "POST", "/apps/1/endpoints", `{"url":"https://a.example/"}`, "configuration file")
	a.refused(http.StatusNotFound, "POST", "/apps/7/endpoints", `{"url":"https://a.example/"}`, "there is no such")
	for body, words := range map[string]string{
		`{"url":"ftp://a.example/"}`: "url does not begin with http", `{"url":"https://a.example/","events":["call_ends"]}`: "call_ends",
		`{"url":"https://a.example/","timeout":"5"}`: "such as 5s", `{"url":"https://a.example/","retry":["x"]}`: "retry[0]",
		`{"url":"https://a.example/","timeout":"2m"}`: "timeout is 2m0s", `{}`: "url", `{"url":"https://u:hunter2@a.example/"}`: "url has a user",
	} {
		a.refused(http.StatusUnprocessableEntity, "POST", "/apps/1000/endpoints", body, words)
	}
	a.refused(http.StatusBadRequest, "POST", "/apps/1000/endpoints", `{`, "JSON")
	path, missing := fmt.Sprintf("/endpoints/%d", e.ID), "/endpoints/999"
	ofFile := fmt.Sprintf("/endpoints/%d", a.endpoint())
	if got := get[adminapi.Endpoint](a, path); got.ID != e.ID || got.URL != e.URL {
		a.t.Errorf("the endpoint is %+v", got)
	}
	if got := request[adminapi.Endpoint](a, http.StatusOK, "PATCH", path, `{"format":"form","events":[],"retry":[]}`); got.Format != "form" ||
		!slices.Equal(got.Events, config.DefaultEvents()) || len(got.Retry) != 0 || got.Timeout != "2s" {
		a.t.Errorf("the changed endpoint is %+v", got)
	}
	a.refused(http.StatusUnprocessableEntity, "PATCH", path, `{"url":"https://a.example/"}`, "url")
	a.refused(http.StatusConflict, "PATCH", ofFile, `{"format":"form"}`, "configuration file")
	for _, c := range []struct{ method, path string }{
		{"GET", ""}, {"PATCH", ""}, {"DELETE", ""}, {"POST", "/pause"}, {"POST", "/resume"}, {"POST", "/test"},
	} {
		a.refused(http.StatusNotFound, c.method, missing+c.path, map[string]string{}, "there is no such endpoint")
		a.refused(http.StatusUnprocessableEntity, c.method, "/endpoints/x"+c.path, map[string]string{}, "endpoint")
	}
	for _, p := range []string{path, ofFile} {
		if got := request[adminapi.Endpoint](a, http.StatusOK, "POST", p+"/pause", nil); !got.Paused || got.Health.State != "paused" {
			a.t.Errorf("the paused endpoint is %+v", got)
		}
		if got := request[adminapi.Endpoint](a, http.StatusOK, "POST", p+"/resume", nil); got.Paused {
			a.t.Errorf("the resumed endpoint is %+v", got)
		}
	}
	a.refused(http.StatusBadRequest, "PATCH", path, `{`, "JSON")
	a.refused(http.StatusBadRequest, "POST", path+"/test", `{`, "JSON")
	a.refused(http.StatusBadRequest, "POST", "/apps/1/trigger", `{`, "JSON")
	a.refused(http.StatusUnprocessableEntity, "POST", "/apps/x/trigger", nil, "app")
	// A test reaches an endpoint that does not ask for the event.
	sent := request[adminapi.Triggered](a, http.StatusAccepted, "POST", path+"/test", `{"event":"user_action","fields":{"user_id":"zoë & <co>"}}`)
	got := other.await(a.t, 1)[0]
	if sent.Event != "user_action" || len(sent.Deliveries) != 1 || sent.Deliveries[0].EndpointID != e.ID || !sent.Deliveries[0].Test ||
		got.header.Get(protocol.HeaderTest) != "true" || got.header.Get("webhook-id") != sent.EventID || !strings.Contains(string(got.body), "event=user_action") {
		a.t.Errorf("%+v came as %v %s", sent, got.header, got.body)
	}
	for body, word := range map[string]string{
		`{"event":"call_ends"}`: "call_create", `{"event":"call_create","fields":{"caler":"x"}}`: "caller", `{"event":"call_create","fields":{"timeout":"x"}}`: "timeout",
	} {
		a.refused(http.StatusUnprocessableEntity, "POST", path+"/test", body, word)
		a.refused(http.StatusUnprocessableEntity, "POST", "/apps/1/trigger", body, word)
	}
	gone := "/deliveries/" + sent.Deliveries[0].ID
	until(a, gone, func(d adminapi.DeliveryDetail) bool { return d.Status == "delivered" })
	a.do(http.StatusNoContent, "DELETE", path, nil)
	a.refused(http.StatusConflict, "DELETE", ofFile, nil, "configuration file")
	a.refused(http.StatusNotFound, "GET", path, nil, "there is no such endpoint")

	// The delivery stays in the log, but there is nowhere to repeat it to.
	if d := get[adminapi.DeliveryDetail](a, gone); d.URL != other.url {
		a.t.Errorf("the delivery is %+v", d)
	}
	a.refused(http.StatusConflict, "POST", gone+"/redeliver", nil, "its endpoint was removed")
}

func (a *admin) deliveries(callID string) {
	found := until(a, "/deliveries?status=delivered&event=call_create&from=1h&app=1&call="+callID, func(p adminapi.Page[adminapi.Delivery]) bool {
		return len(p.Items) == 1
	}).Items[0]
	if found.CallID != callID || found.Sequence != 1 || found.LatestAttempt == nil || found.LatestAttempt.Status != 200 || found.URL != a.inbox.url {
		a.t.Errorf("the delivery is %+v", found)
	}
	for _, query := range []string{"status=failed", "event=call_cancel", "until=1h", "app=7", "call=7", "endpoint=99", "from=2999-01-01T00:00:00Z", "from=9223372036854775807", "until=2020-01-01T00:00:00Z"} {
		if p := get[adminapi.Page[adminapi.Delivery]](a, "/deliveries?"+query); len(p.Items) != 0 {
			a.t.Errorf("%s finds %+v", query, p.Items)
		}
	}
	a.refused(http.StatusBadRequest, "GET", "/deliveries?from=yesterday", nil, `from is "yesterday"`, "such as 2h")
	a.refused(http.StatusBadRequest, "GET", "/deliveries?from=x&until=y", nil, "from is", "until is")
	a.refused(http.StatusBadRequest, "GET", "/deliveries?call=x", nil, "call")
	a.refused(http.StatusBadRequest, "GET", "/deliveries?event=call_acept", nil, "call_acept", "call_accept")
	a.refused(http.StatusUnprocessableEntity, "GET", "/deliveries?status=lost", nil, "status", "pending")
	a.refused(http.StatusBadRequest, "GET", "/deliveries?cursor=calls_e30", nil, "cursor")

	d := get[adminapi.DeliveryDetail](a, "/deliveries/"+found.ID)
	arrived := a.arrival(found.EventID)
	if len(d.AttemptLog) != 1 || d.AttemptLog[0].Request == nil || d.AttemptLog[0].Response == nil {
		a.t.Fatalf("the delivery is %+v", d)
	}
	at := d.AttemptLog[0]
	if at.Request.Body != string(arrived.body) || at.Request.Method != "POST" || at.Request.URL != a.inbox.url || at.Error != "" || at.DurationMS < 0 || at.Number != 1 {
		a.t.Errorf("the attempt is %+v, and what came %s", at.Request, arrived.body)
	}
	for _, h := range at.Request.Headers {
		if got := arrived.header.Get(h.Name); h.Name != "Host" && h.Name != "Content-Length" && got != h.Value {
			a.t.Errorf("%s is %q in the log, and came as %q", h.Name, h.Value, got)
		}
	}
	if !strings.HasPrefix(at.Response.Body, "answer ") || at.Response.Status != 200 || len(at.Response.Headers) == 0 || !strings.Contains(string(d.Data), callID) {
		a.t.Errorf("the response is %+v, the data %s", at.Response, d.Data)
	}
	before := a.inbox.count()
	if again := request[adminapi.Delivery](a, http.StatusAccepted, "POST", "/deliveries/"+found.ID+"/redeliver", nil); again.Status == "failed" || again.Attempts != 1 && again.Attempts != 2 {
		a.t.Errorf("the redelivery is %+v", again)
	}
	got := a.inbox.await(a.t, before+1)[before]
	if got.header.Get("webhook-id") != found.EventID || got.header.Get(protocol.HeaderAttempt) != "2" || got.header.Get(protocol.HeaderSequence) != "1" {
		a.t.Errorf("it came again with %v", got.header)
	}
	for _, action := range []struct{ method, path string }{{"GET", ""}, {"POST", "/redeliver"}} {
		a.refused(http.StatusNotFound, action.method, "/deliveries/dlv_5_5"+action.path, nil, "there is no such delivery")
		for _, id := range []string{"x", "dlv_5", "dlv_x_5", "5_5", "dlv_5_5_5"} {
			a.refused(http.StatusBadRequest, action.method, "/deliveries/"+id+action.path, nil, "is not the ID of a delivery", "such as dlv_")
		}
	}
	all := request[struct{ Deliveries []adminapi.Delivery }](a, http.StatusAccepted, "POST", "/calls/"+callID+"/redeliver", nil)
	if len(all.Deliveries) < 1 || all.Deliveries[0].CallID != callID {
		a.t.Errorf("the deliveries of the call are %+v", all)
	}
	a.refused(http.StatusNotFound, "POST", "/calls/"+callID+"/redeliver?endpoint=99", nil, "there are no deliveries of that call")
	a.refused(http.StatusNotFound, "POST", "/calls/7/redeliver", nil, "there are no deliveries")
	a.refused(http.StatusBadRequest, "POST", "/calls/x/redeliver", nil, "call_id")
	a.refused(http.StatusUnprocessableEntity, "POST", "/calls/7/redeliver?endpoint=x", nil, "endpoint")
}

// arrival finds what came for an event.
func (a *admin) arrival(event string) arrival {
	a.t.Helper()
	for _, got := range a.inbox.await(a.t, 1) {
		if got.header.Get("webhook-id") == event {
			return got
		}
	}
	a.t.Fatalf("%s did not come", event)
	return arrival{}
}

func (a *admin) redeliveries() {
	job := request[adminapi.Redelivery](a, http.StatusAccepted, "POST", "/redeliveries", `{"filter":{"app":1,"status":"delivered","from":"1h"},"per_second":1000}`)
	if job.State != "running" || job.PerSecond != 1000 || job.Filter.AppID != 1 || job.Filter.Status != "delivered" || job.Filter.Until == "" {
		a.t.Errorf("the job is %+v", job)
	}
	path := fmt.Sprintf("/redeliveries/%d", job.ID)
	done := until(a, path, func(r adminapi.Redelivery) bool { return r.State == "done" })
	if done.Total < 1 || done.Done < 1 || done.EndedAtMS == 0 {
		a.t.Errorf("the job is %+v", done)
	}
	if list := get[adminapi.Page[adminapi.Redelivery]](a, "/redeliveries"); len(list.Items) != 1 || list.Items[0].ID != job.ID {
		a.t.Errorf("the jobs are %+v", list)
	}
	if stopped := request[adminapi.Redelivery](a, http.StatusOK, "POST", path+"/stop", nil); stopped.State != "done" {
		a.t.Errorf("the job is %+v", stopped)
	}
	for _, c := range []struct{ method, path string }{{"GET", ""}, {"POST", "/stop"}} {
		a.refused(http.StatusNotFound, c.method, "/redeliveries/99"+c.path, nil, "there is no such redelivery")
		a.refused(http.StatusUnprocessableEntity, c.method, "/redeliveries/x"+c.path, nil, "id")
	}
	a.refused(http.StatusBadRequest, "GET", "/redeliveries?cursor=audit_MQ", nil, "cursor")
	a.refused(http.StatusUnprocessableEntity, "GET", "/redeliveries?limit=x", nil, "limit")
	a.refused(http.StatusUnprocessableEntity, "POST", "/redeliveries", `{"filter":{"status":"lost"}}`, "status")
	a.refused(http.StatusUnprocessableEntity, "POST", "/redeliveries", `{"filter":{},"per_second":2001}`, "per_second", "2000")
	a.refused(http.StatusBadRequest, "POST", "/redeliveries", `{"filter":{"until":"x"}}`, "until")
	a.refused(http.StatusBadRequest, "POST", "/redeliveries", `{"filter":{"event":"call_acept"}}`, "call_acept")
}

func (a *admin) calls(callID string) {
	for _, query := range []string{"", "?app=1&user=bob", "?state=live", "?from=1h"} {
		if p := get[adminapi.Page[adminapi.Call]](a, "/calls"+query); len(p.Items) != 1 || p.Items[0].CallID != callID || p.Items[0].Caller != "alice" || len(p.Items[0].Users) != 2 {
			a.t.Errorf("%s finds %+v", query, p)
		}
	}
	for _, query := range []string{"?app=1000", "?state=ended", "?outcome=timeout", "?until=1h", "?app=1&user=carol"} {
		if p := get[adminapi.Page[adminapi.Call]](a, "/calls"+query); len(p.Items) != 0 {
			a.t.Errorf("%s finds %+v", query, p)
		}
	}
	a.refused(http.StatusBadRequest, "GET", "/calls?user=bob", nil, "give app as well")
	a.refused(http.StatusBadRequest, "GET", "/calls?until=x", nil, "until")
	a.refused(http.StatusUnprocessableEntity, "GET", "/calls?state=dead", nil, "state", "live")
	if c := get[adminapi.CallDetail](a, "/calls/"+callID); c.State != "live" || len(c.Verdicts) != 1 || len(c.Timeline) < 3 || len(c.Deliveries) < 1 {
		a.t.Errorf("the call is %+v", c)
	}
	a.refused(http.StatusNotFound, "GET", "/calls/7", nil, "there is no such call")
	a.refused(http.StatusBadRequest, "GET", "/calls/x", nil, "call_id is the decimal digits")
}

func (a *admin) events() {
	// It is written a moment later, and moves cursors even of those who do not
	// want it.
	until(a, "/events?app=1&event=call_received", func(p adminapi.EventPage) bool { return len(p.Items) == 1 })
	const those = "event=call_create&event=user_action&"
	page := get[adminapi.EventPage](a, "/events?app=1&"+those+"limit=1000")
	if len(page.Items) < 3 || page.More || page.Items[0].Event != "user_action" {
		a.t.Errorf("the events are %+v", page)
	}
	if rest := get[adminapi.EventPage](a, "/events?app=1&"+those+"after="+page.Cursor); len(rest.Items) != 0 || rest.Cursor != page.Cursor {
		a.t.Errorf("after all there is %+v", rest)
	}
	begin := get[adminapi.EventPage](a, "/events?after=latest")
	sent := request[adminapi.Triggered](a, http.StatusAccepted, "POST", "/apps/1/trigger", nil)
	if next := get[adminapi.EventPage](a, "/events?wait=20&"+those+"after="+begin.Cursor); len(next.Items) != 1 || next.Items[0].ID != sent.EventID || !next.Items[0].Test {
		a.t.Errorf("after the trigger there is %+v", next)
	}
	if len(sent.Deliveries) != 1 || sent.Event != "call_create" {
		a.t.Errorf("the trigger gives %+v", sent)
	}
	a.refused(http.StatusNotFound, "POST", "/apps/7/trigger", nil, "there is no such app")
	a.refused(http.StatusBadRequest, "GET", "/events?app=1000&after="+page.Cursor, nil, "belongs to app 1")
	a.refused(http.StatusBadRequest, "GET", "/events?after=x", nil, "begin again")
	a.refused(http.StatusBadRequest, "GET", "/events?event=call_acept", nil, "call_acept", "call_accept")
	a.refused(http.StatusBadRequest, "GET", "/events?call=x", nil, "call")
	a.refused(http.StatusUnprocessableEntity, "GET", "/events?wait=61", nil, "wait")
	for path, c := range map[string]struct {
		status int
		word   string
	}{
		"/listen?app=7":            {http.StatusNotFound, "there is no such app"},
		"/listen?endpoint=99":      {http.StatusNotFound, "there is no such"},
		"/listen?event=call_acept": {http.StatusBadRequest, "call_accept"},
		"/listen?after=x":          {http.StatusBadRequest, "begin again"},
		"/listen?call=x":           {http.StatusBadRequest, "call"},
		"/listen?app=x":            {http.StatusUnprocessableEntity, "app"},
		"/listen?app=1000&endpoint=" + a.endpointID(): {http.StatusNotFound, "there is no such"},
	} {
		a.refused(c.status, "GET", path, nil, c.word)
	}
	s := a.listen("", "")
	s.close()
}

func (a *admin) endpointID() string { return fmt.Sprint(a.endpoint()) }

func (a *admin) users(session string) {
	list := get[adminapi.Page[adminapi.User]](a, "/apps/1/users?prefix=b")
	if len(list.Items) != 1 || list.Items[0].UserID != "bob" || list.Items[0].Presence != "online" || list.Items[0].Name != "Name of bob" {
		a.t.Errorf("the users are %+v", list)
	}
	a.refused(http.StatusNotFound, "GET", "/apps/7/users", nil, "there is no such app")
	a.refused(http.StatusBadRequest, "GET", "/apps/1/users?cursor=apps_MQ", nil, "cursor")
	a.refused(http.StatusUnprocessableEntity, "GET", "/apps/1/users?limit=x", nil, "limit")
	a.refused(http.StatusNotFound, "GET", "/apps/1/users/nobody", nil, "there is no such user")
	a.refused(http.StatusUnprocessableEntity, "GET", "/apps/x/users/bob", nil, "app")
	one := get[adminapi.UserDetail](a, "/apps/1/users/bob")
	if len(one.SessionList) != 1 || one.SessionList[0].SessionID != session || !one.SessionList[0].Connected || one.SessionList[0].Platform != "MAC" || one.Sessions != 1 {
		a.t.Errorf("the user is %+v", one)
	}
	a.do(http.StatusNoContent, "DELETE", "/apps/1/users/bob/sessions/"+session, nil)
	a.refused(http.StatusNotFound, "DELETE", "/apps/1/users/bob/sessions/"+session, nil, "there is no such session")
	a.refused(http.StatusUnprocessableEntity, "DELETE", "/apps/x/users/bob/sessions/x", nil, "app")
	a.refused(http.StatusUnprocessableEntity, "DELETE", "/apps/x/users/bob/sessions", nil, "app")
	if got := request[struct{ Ended int }](a, http.StatusOK, "DELETE", "/apps/1/users/alice/sessions", nil); got.Ended != 1 {
		a.t.Errorf("%d sessions of alice ended", got.Ended)
	}
	if u := get[adminapi.UserDetail](a, "/apps/1/users/alice"); u.Presence != "logged_out" || len(u.SessionList) != 0 {
		a.t.Errorf("alice is %+v", u)
	}
}

// auditLog: everything that was changed is there, with from where, and no
// secret.
func (a *admin) auditLog() {
	page := get[adminapi.Page[adminapi.Audit]](a, "/audit?limit=500")
	actions := make(map[string]int)
	for _, e := range page.Items {
		actions[e.Action]++
		if e.Actor != "admin" || e.Remote != "127.0.0.1" || e.AtMS < time.Now().Add(-time.Hour).UnixMilli() || e.Target == "" {
			a.t.Errorf("an entry is %+v", e)
		}
	}
	for _, want := range []string{
		"app.create", "app.update", "app.rotate_secret", "endpoint.create", "endpoint.update", "endpoint.pause", "endpoint.resume", "endpoint.delete",
		"event.trigger", "delivery.redeliver", "call.redeliver", "redelivery.create", "session.kick", "user.kick", "token.create",
	} {
		if actions[want] == 0 {
			a.t.Errorf("the audit log has no %s: %v", want, actions)
		}
	}
	if actions["app.create"] != 1 || actions["endpoint.delete"] != 1 || actions["session.kick"] != 1 || actions["delivery.redeliver"] != 1 || actions["token.create"] != 1 {
		a.t.Errorf("what was refused is in the audit log: %v", actions)
	}
	a.refused(http.StatusUnprocessableEntity, "GET", "/audit?limit=x", nil, "limit")
	a.refused(http.StatusBadRequest, "GET", "/audit?cursor=apps_MQ", nil, "cursor")
}

func TestAdminUnknownPaths(t *testing.T) {
	a := serveAdmin(t, nil)
	for _, c := range []struct{ method, path string }{
		{"GET", "/nothing"}, {"PUT", "/apps"}, {"DELETE", "/apps/1"}, {"POST", "/apps/1/endpoints/"},
	} {
		resp, text := a.send(c.method, adminapi.Path+c.path, nil)
		if resp.StatusCode != http.StatusNotFound || resp.Header.Get("Content-Type") != "application/problem+json" ||
			!strings.Contains(string(text), c.method+" "+adminapi.Path+c.path) || !strings.Contains(string(text), "openapi.json") {
			t.Errorf("%s %s: HTTP %d %s", c.method, c.path, resp.StatusCode, text)
		}
	}
}

// TestAdminTakesWhatCurlSends: no content type needs to be given.
func TestAdminTakesWhatCurlSends(t *testing.T) {
	a := serveAdmin(t, nil)
	for _, kind := range []string{"", "application/x-www-form-urlencoded", "application/json; charset=utf-8"} {
		req := httptest.NewRequest(http.MethodPost, a.url+adminapi.Path+"/apps", strings.NewReader(`{"name":"x"}`))
		req.RequestURI = ""
		req.Header.Set("Authorization", "Bearer "+a.token)
		if kind != "" {
			req.Header.Set("Content-Type", kind)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			t.Errorf("%q: HTTP %d", kind, resp.StatusCode)
		}
	}
}
