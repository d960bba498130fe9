package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/protocol"
)

func TestTrigger(t *testing.T) {
	backend := newReceiver(t)
	r := newRig(t, backend.URL)
	out := r.run("trigger", "call_create", "--field", "user_ids=bob,carol", "--field", "timeout=7", "--field", "payload=7", "--field", `caller="al"`)
	if !strings.Contains(out, "call_create  evt_") || !strings.Contains(out, "to 1 endpoint\n") || !strings.Contains(out, backend.URL+"  204  ") {
		t.Errorf("got %s", out)
	}
	id := read[[]adminapi.Delivery](r, "deliveries", "list")[0].ID
	var data protocol.CallCreate
	detail := read[adminapi.DeliveryDetail](r, "deliveries", "show", id)
	if err := json.Unmarshal(detail.Data, &data); err != nil || strings.Join(data.UserIDs, " ") != "bob carol" || data.Timeout != 7 || data.Payload != "7" || data.Caller != "al" {
		t.Errorf("%v: %s", err, detail.Data)
	}
	sent := read[adminapi.Triggered](r, "trigger", "call_accept")
	if len(sent.Deliveries) != 1 || sent.Deliveries[0].Status != "delivered" || sent.Deliveries[0].LatestAttempt.Status != 204 {
		t.Errorf("got %+v", sent)
	}
	if out := r.run("trigger", "call_end"); !strings.Contains(out, "No endpoint of the app is subscribed to it") {
		t.Errorf("got %s", out)
	}
	if out := r.run("trigger", "call_end", "--endpoint", "1", "--wait=false"); !strings.Contains(out, "dlv_") {
		t.Errorf("got %s", out)
	}
	if out := r.run("endpoints", "test", "1", "--event", "call_quit"); !strings.Contains(out, "  204  ") {
		t.Errorf("got %s", out)
	}
	backend.answer(http.StatusInternalServerError)
	r.fails(1, "1 delivery failed: ", "trigger", "call_create")
	r.fails(2, `--field timeout is "x"; it must be a whole number`, "trigger", "call_create", "--field", "timeout=x")
	r.fails(2, `call_create has no field "user"; its fields are call_id, user_ids, `, "trigger", "call_create", "--field", "user=x")
	r.fails(2, `--field is "x"; it must be NAME=VALUE`, "trigger", "call_create", "--field", "x")
	r.fails(2, `EVENT is "call_crate"; did you mean call_create?`, "trigger", "call_crate")
	r.run("apps", "create", "--name", "shop")
	r.fails(2, "trigger needs --app, for there is more than one: 1 (test), 1000 (shop)", "trigger", "call_create")
}

func TestCallsShow(t *testing.T) {
	backend := newReceiver(t)
	r := newRig(t, backend.URL)
	alice, bob := r.dial("alice"), r.dial("bob")
	reply, err := alice.Invite(t.Context(), protocol.Invite{UserIDs: []string{"bob", "nobody"}})
	if err != nil {
		t.Fatal(err)
	}
	r.begin("events", "--follow", "--call", reply.CallID).stdout.expect(t, 1, "call_received")
	if _, err := bob.Accept(t.Context(), protocol.CallAction{CallID: reply.CallID}); err != nil {
		t.Fatal(err)
	}
	backend.screen.expect(t, 2, "\n")
	r.waitDeliveries(reply.CallID, 2)
	out := r.run("calls", "show", reply.CallID)
	for _, want := range []string{
		"Call " + reply.CallID + "  accepted after ", "general mode, app 1, to ring for ",
		"\n  alice  accepted      called\n  bob    accepted      invited by alice\n",
		"\nDid it ring?\n  ✓ yes    It rang: bob's device ", "\n  ✗ no     nobody was not part of the call: not registered, or logged out",
		"\nWhat happened  ● the call  → to a device",
		" s  ●     alice (on ", " s    →   call.invited was sent to bob's device ", " s    ←   bob's device ",
		" s  ●     bob (on ", " s      ◆ call_create was delivered to",
		" s    ✗   nobody could not be invited",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	for line := range strings.Lines(out) {
		if columns(strings.TrimSuffix(line, "\n")) > 80 {
			t.Errorf("%d columns: %s", columns(line), line)
		}
	}
	detail := read[adminapi.CallDetail](r, "calls", "show", reply.CallID)
	if detail.Outcome != "accepted" || len(detail.Verdicts) != 2 || len(detail.Timeline) < 8 {
		t.Errorf("got %+v", detail)
	}
	if list := read[[]adminapi.Call](r, "calls", "list", "--user", "bob", "--outcome", "accepted", "--from", "1h"); len(list) != 1 {
		t.Errorf("got %+v", list)
	}
	if out := r.run("calls", "list"); !strings.Contains(out, reply.CallID) || !strings.Contains(out, "alice → bob") {
		t.Errorf("got %s", out)
	}
	if out := r.run("calls", "list", "--state", "live"); out != "There are no such calls.\n" {
		t.Errorf("got %q", out)
	}
	r.fails(1, "there is no such call (404)", "calls", "show", "3855899564912691699")
	r.fails(1, `from is "soon"; it must be`, "calls", "list", "--from", "soon")
}

// waitDeliveries waits until n deliveries of a call are finished.
func (r *rig) waitDeliveries(call string, n int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		finished := 0
		for _, d := range read[[]adminapi.Delivery](r, "deliveries", "list", "--call", call) {
			if d.Status != "pending" {
				finished++
			}
		}
		if finished >= n {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			r.t.Fatalf("%d of %d deliveries are finished", finished, n)
		}
	}
}

func TestRedeliver(t *testing.T) {
	backend := newReceiver(t)
	r := newRig(t, backend.URL)
	backend.answer(http.StatusBadGateway)
	alice, bob := r.dial("alice"), r.dial("bob")
	id := r.ring(alice, bob, "")
	r.waitDeliveries(id, 2)
	failed := read[[]adminapi.Delivery](r, "deliveries", "list", "--status", "failed", "--event", "call_create")
	if len(failed) != 1 || failed[0].LatestAttempt.Status != 502 {
		t.Fatalf("got %+v", failed)
	}
	out := r.run("deliveries", "show", failed[0].ID)
	for _, want := range []string{"Delivery " + failed[0].ID + "  failed\n", "\nAttempt 1  ", "  POST " + backend.URL, "    Webhook-Signature: v1,", `      "caller": "alice",`, "  502 Bad Gateway\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if out := r.run("calls", "show", id); !strings.Contains(out, "Callbacks that did not arrive\n") || !strings.Contains(out, "    ✗ call_create to ") {
		t.Errorf("the failures are not shown:\n%s", out)
	}

	// From now on it answers, and writes down the numbers of attempts.
	again := newScreen()
	backend.Config.Handler = http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		io.Copy(io.Discard, req.Body)
		io.WriteString(again, req.Header.Get(protocol.HeaderAttempt)+"\n")
	})
	if out := r.run("deliveries", "redeliver", failed[0].ID); !strings.Contains(out, failed[0].ID) {
		t.Errorf("got %s", out)
	}
	again.expect(t, 1, "2\n")
	r.waitStatus(failed[0].ID, "delivered")
	if list := read[[]adminapi.Delivery](r, "deliveries", "redeliver", "--call", id); len(list) != 2 {
		t.Errorf("got %+v", list)
	}
	again.expect(t, 3, "[23]\n")
	r.waitDeliveries(id, 2)
	job := read[adminapi.Redelivery](r, "deliveries", "redeliver", "--status", "delivered", "--from", "1h", "--per-second", "100")
	if job.State != "done" || job.Done != 2 || job.Total != 2 {
		t.Errorf("got %+v", job)
	}
	again.expect(t, 5, "[234]\n")
	out = r.run("deliveries", "redeliver", "--status", "failed", "--yes")
	if !strings.HasPrefix(out, "Job 2 is done: 0 of 0 made pending again.") {
		t.Errorf("got %s", out)
	}
	if jobs := read[[]adminapi.Redelivery](r, "deliveries", "jobs"); len(jobs) != 2 || jobs[0].ID != 2 {
		t.Errorf("got %+v", jobs)
	}
	if out := r.run("deliveries", "stop", "1"); !strings.Contains(out, "Job 1 is done") {
		t.Errorf("got %s", out)
	}
	r.fails(2, "redeliver needs the IDs of deliveries, or flags", "deliveries", "redeliver")
	r.fails(2, "redeliver takes IDs or a search, not both", "deliveries", "redeliver", "dlv_1_1", "--status", "failed")
	r.fails(1, "dlv_1_1: there is no such delivery (404)", "deliveries", "redeliver", "dlv_1_1")
	r.fails(2, `"x" is not the ID of a job`, "deliveries", "stop", "x")
}

// waitStatus waits until a delivery has a status.
func (r *rig) waitStatus(id, status string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	for tick := time.NewTicker(10 * time.Millisecond); read[adminapi.DeliveryDetail](r, "deliveries", "show", id).Status != status; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			r.t.Fatalf("%s is not %s", id, status)
		}
	}
}

// A job that is interrupted goes on, and says how to look at it.
func TestRedeliverInterrupted(t *testing.T) {
	backend := newReceiver(t)
	r := newRig(t, backend.URL)
	for range 5 {
		r.run("trigger", "call_create")
	}
	// Who asks how the job is knows its number.
	follows := make(chan struct{}, 100)
	passOn := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.address})
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/redeliveries/1") {
			follows <- struct{}{}
		}
		passOn.ServeHTTP(w, req)
	}))
	defer between.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		environ := append(r.environ(), "RINGBACK_SERVER="+between.URL)
		ended <- run(ctx, []string{"deliveries", "redeliver", "--status", "delivered", "--per-second", "1"}, environ, io.Discard, io.Discard)
	}()
	<-follows
	cancel()
	const want = "interrupted; job 1 goes on at the server: ringback deliveries jobs shows it, ringback deliveries stop 1 stops it"
	if err := <-ended; err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if job := read[adminapi.Redelivery](r, "deliveries", "stop", "1"); job.State != "stopped" {
		t.Errorf("got %+v", job)
	}
}

func TestAppsAndEndpoints(t *testing.T) {
	backend := newReceiver(t)
	r := newRig(t, backend.URL)
	if out := r.run("apps", "create", "--name", "shop", "--login-policy", "multi"); !strings.Contains(out, "App 1000 (shop) is made. Keep these secrets now: they are not shown again.") {
		t.Errorf("got %s", out)
	}
	made := read[adminapi.AppSecrets](r, "apps", "create", "--id", "7")
	if made.ID != 7 || len(made.Secret) != 32 || len(made.CallbackSecret) != 32 {
		t.Errorf("got %+v", made)
	}
	if out := r.run("apps", "update", "1000", "--name", "shop two", "--join-policy", "invited"); !strings.Contains(out, "App 1000 (shop two)\n") || !strings.Contains(out, "join policy   invited\n") {
		t.Errorf("got %s", out)
	}
	if out := r.run("apps", "rotate", "1000", "callback", "--overlap", "1h"); !strings.Contains(out, "The new callback secret of app 1000, which is not shown again:") || !strings.Contains(out, "The one before counts too until ") {
		t.Errorf("got %s", out)
	}
	if rotated := read[adminapi.Rotated](r, "apps", "rotate", "1000", "app", "--overlap", "0s"); len(rotated.Secret) != 32 || rotated.OverlapUntilMS != 0 {
		t.Errorf("got %+v", rotated)
	}
	ep := read[adminapi.Endpoint](r, "endpoints", "create", "--app", "1000", "--url", backend.URL+"/b", "--retry", "1s,2s", "--event", "call_create,call_end")
	if ep.ID == 0 || strings.Join(ep.Retry, " ") != "1s 2s" || strings.Join(ep.Events, " ") != "call_create call_end" || ep.Format != "json" {
		t.Errorf("got %+v", ep)
	}
	id := strconv.FormatInt(ep.ID, 10)
	if ep := read[adminapi.Endpoint](r, "endpoints", "update", id, "--retry", "", "--timeout", "3s"); len(ep.Retry) != 0 || ep.Timeout != "3s" || len(ep.Events) != 2 {
		t.Errorf("got %+v", ep)
	}
	if out := r.run("endpoints", "pause", id); !strings.Contains(out, "Endpoint "+id+"  paused\n") {
		t.Errorf("got %s", out)
	}
	if ep := read[adminapi.Endpoint](r, "endpoints", "resume", id); ep.Paused {
		t.Errorf("got %+v", ep)
	}
	if list := read[[]adminapi.Endpoint](r, "endpoints", "list"); len(list) != 2 {
		t.Errorf("got %+v", list)
	}
	if out := r.run("endpoints", "list", "--app", "1000"); !strings.Contains(out, backend.URL+"/b") || strings.Count(out, "\n") != 2 {
		t.Errorf("got %s", out)
	}
	if out := r.run("apps", "list"); !strings.Contains(out, "shop two") || strings.Count(out, "\n") != 4 {
		t.Errorf("got %s", out)
	}
	if app := read[adminapi.App](r, "apps", "show", "1000"); app.Name != "shop two" || len(app.Endpoints) != 1 {
		t.Errorf("got %+v", app)
	}
	if out := r.run("endpoints", "delete", id); out != "Endpoint "+id+" ("+backend.URL+"/b) is gone.\n" {
		t.Errorf("got %s", out)
	}
	actions := ""
	for _, a := range read[[]adminapi.Audit](r, "audit") {
		actions = a.Action + " " + actions
	}
	if want := "app.create app.create app.update app.rotate_secret app.rotate_secret endpoint.create endpoint.update endpoint.pause endpoint.resume endpoint.delete "; actions != want {
		t.Errorf("the audit log is %q, want %q", actions, want)
	}
	if out := r.run("audit", "--limit", "2"); strings.Count(out, "\n") != 4 || !strings.HasSuffix(out, "There are more: see --limit.\n") {
		t.Errorf("got %s", out)
	}
	r.fails(1, "read-only", "apps", "update", "1", "--name", "x")
	r.fails(2, "update needs what to change", "apps", "update", "1000")
	r.fails(2, "update needs what to change", "endpoints", "update", "1")
	r.fails(2, `SECRET is "all"; it must be app or callback`, "apps", "rotate", "1000", "all")
	r.fails(2, "rotate needs a SECRET", "apps", "rotate", "1000")
	r.fails(2, `"x" is not the ID of an app; it must be a number`, "apps", "show", "x")
	r.fails(2, `"x" is not the ID of an endpoint`, "endpoints", "pause", "x")
	r.fails(2, "create needs --url", "endpoints", "create", "--app", "1000")
	r.fails(1, "settings are not valid: ", "endpoints", "create", "--app", "1000", "--url", "ftp://x")
}

func TestUsers(t *testing.T) {
	r := newRig(t)
	alice := r.dial("alice")
	if list := read[[]adminapi.User](r, "users", "list", "--prefix", "al"); len(list) != 1 || list[0].Presence != "online" {
		t.Errorf("got %+v", list)
	}
	user := read[adminapi.UserDetail](r, "users", "show", "alice")
	if len(user.SessionList) != 1 || !user.SessionList[0].Connected {
		t.Fatalf("got %+v", user)
	}
	if out := r.run("users", "show", "alice"); !strings.Contains(out, "User alice  online\n") || !strings.Contains(out, user.SessionList[0].SessionID) {
		t.Errorf("got %s", out)
	}
	if out := r.run("users", "list"); !strings.Contains(out, "alice") {
		t.Errorf("got %s", out)
	}
	if out := r.run("users", "kick", "alice", user.SessionList[0].SessionID); out != "1 session of alice ended.\n" {
		t.Errorf("got %s", out)
	}
	<-alice.Done()
	r.fails(1, "there was no session to end", "users", "kick", "alice")
	r.fails(1, "there is no such user (404)", "users", "show", "a/b c?")
	r.fails(2, "kick takes no more than USER and SESSION", "users", "kick", "a", "b", "c")
}

func TestEvents(t *testing.T) {
	r := newRig(t)
	alice, bob := r.dial("alice"), r.dial("bob")
	id := r.ring(alice, bob, "")
	page := read[adminapi.EventPage](r, "events", "--call", id, "--event", "call_create,call_accept")
	if len(page.Items) != 2 || page.Cursor == "" {
		t.Fatalf("got %+v", page)
	}
	if out := r.run("events", "--event", "call_create", "--limit", "1"); !strings.Contains(out, "call_create   call "+id+"  alice → bob\nGo on with --after ") {
		t.Errorf("got %s", out)
	}
	follow := r.begin("events", "--follow", "--event", "call_create", "--after", page.Cursor)
	id = r.ring(alice, bob, "")
	follow.stdout.expect(t, 1, "call_create   call "+id)
	follow.interrupt()
	if !strings.Contains(follow.stdout.String(), "\nGo on with --after ") || strings.Count(follow.stdout.String(), "\n") != 2 {
		t.Errorf("got %s", follow.stdout)
	}
	lines := r.run("events", "--follow", "--limit", "2", "--json", "--after", page.Cursor)
	dec := json.NewDecoder(strings.NewReader(lines))
	for range 2 {
		var ev adminapi.Event
		if err := dec.Decode(&ev); err != nil || ev.ID == "" {
			t.Errorf("%v in %s", err, lines)
		}
	}
	if dec.More() {
		t.Errorf("more than two in %s", lines)
	}
	r.fails(2, "--limit is -1", "events", "--limit", "-1")
}

func TestConfirm(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "YES\n": true, "n\n": false, "\n": false, "": false, "yo\n": false} {
		var out strings.Builder
		if got := confirm(t.Context(), strings.NewReader(answer), &out, "Sure?"); got != want || out.String() != "Sure? [y/N] " {
			t.Errorf("%q: %v, %q", answer, got, &out)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	in, w := io.Pipe() // nobody answers
	defer w.Close()
	if confirm(ctx, in, io.Discard, "Sure?") {
		t.Error("Ctrl-C is a yes")
	}
}

func TestJobBar(t *testing.T) {
	start := time.UnixMilli(1_000_000)
	job := &adminapi.Redelivery{ID: 7, Total: 1000, Done: 240, Skipped: 10, CreatedAtMS: start.UnixMilli()}
	if got, want := jobBar(job, start.Add(10*time.Second)), "Job 7: [=======                       ]  25%  250 of 1000  30s left"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	job.Total = -1
	if got, want := jobBar(job, start), "Job 7: counting …"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestNodes(t *testing.T) {
	r := newRig(t)
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	out := r.run("nodes")
	if !strings.Contains(out, name) || !strings.Contains(out, "64 of 64") || !strings.Contains(out, "this one") || strings.Contains(out, "bus") || strings.Count(out, "\n") != 2 {
		t.Errorf("got %s", out)
	}
	if n := read[adminapi.Nodes](r, "nodes"); len(n.Items) != 1 || n.Items[0].Name != name || n.Clustered {
		t.Errorf("got %+v", n)
	}
	r.fails(2, "nodes takes flags only", "nodes", "x")
}

// Several nodes are listed with what is wrong.
func TestNodesInTrouble(t *testing.T) {
	var b strings.Builder
	err := printNodes(&printer{Writer: &b}, &adminapi.Nodes{
		Clustered: true, Partitions: 64, Unheld: 1, Trouble: "the lease has ended", Bus: adminapi.Bus{State: "disconnected", Trouble: "no NATS\x1b[2J"},
		Items: []adminapi.Node{{Name: "a", Self: true, Partitions: 31}, {Name: "b", Partitions: 32}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a     31 of 64    -       this one", "b     32 of 64    -", "bus: disconnected: no NATS", "Nobody holds 1 partition of 64: ", "This node: the lease has ended"}
	for _, w := range want {
		if !strings.Contains(b.String(), w) {
			t.Errorf("no %q in\n%s", w, b.String())
		}
	}
	if strings.Contains(b.String(), "\x1b[2J") {
		t.Errorf("it steers the terminal: %q", b.String())
	}
}
