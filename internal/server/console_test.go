package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/auth"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/protocol"
)

// visitor is a browser without scripts.
type visitor struct {
	t    *testing.T
	url  string
	http http.Client
}

// serveConsole runs a server with a console; open: for whoever is here.
func serveConsole(t *testing.T, open bool) *visitor {
	t.Helper()
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	if !open {
		cfg.AdminToken = adminToken
	}
	app := config.DefaultApp()
	app.ID, app.Secret, app.Name = 1, secret, "file"
	cfg.Apps = []config.App{app}
	s, err := Open(t.Context(), cfg, Options{Logger: slog.New(slog.DiscardHandler), Version: "test", OpenAdmin: open})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(t.Context(), ln) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t: t, url: "http://" + ln.Addr().String(), http: http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// ask makes a request and gives the answer with its body read.
func (v *visitor) ask(method, path string, form url.Values, header ...string) (*http.Response, string) {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), method, v.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	resp, err := v.http.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return resp, string(body)
}

// want makes a request and checks its status, and that its page says
// something.
func (v *visitor) want(status int, says, method, path string, form url.Values, header ...string) *http.Response {
	v.t.Helper()
	resp, body := v.ask(method, path, form, header...)
	if resp.StatusCode != status || !strings.Contains(body, says) {
		v.t.Errorf("%s %s: %s, want %d and %q in\n%s", method, path, resp.Status, status, says, body)
	}
	return resp
}

func (v *visitor) signIn() {
	v.t.Helper()
	v.want(http.StatusSeeOther, "", http.MethodPost, "/console/sign-in", url.Values{"token": {adminToken}})
}

func TestConsoleSignIn(t *testing.T) {
	v := serveConsole(t, false)
	for _, path := range []string{"/console/", "/console/calls", "/console/apps/1", "/console/nothing"} {
		resp := v.want(http.StatusSeeOther, "", http.MethodGet, path, nil)
		if got := resp.Header.Get("Location"); got != "/console/sign-in?next="+url.QueryEscape(path) {
			t.Errorf("%s leads to %s", path, got)
		}
	}
	v.want(http.StatusUnauthorized, "", http.MethodGet, "/console/live", nil)
	resp := v.want(http.StatusUnauthorized, "", http.MethodGet, "/console/calls", nil, "HX-Request", "true", "HX-Current-URL", v.url+"/console/calls?state=live")
	if got := resp.Header.Get("HX-Redirect"); got != "/console/sign-in?next=%2Fconsole%2Fcalls%3Fstate%3Dlive" {
		t.Errorf("htmx is led to %q", got)
	}
	v.want(http.StatusUnauthorized, "not the admin token", http.MethodPost, "/console/sign-in", url.Values{"token": {"wrong"}})
	resp = v.want(http.StatusSeeOther, "", http.MethodPost, "/console/sign-in", url.Values{"token": {adminToken}, "next": {"/console/calls?state=live"}})
	if got := resp.Header.Get("Location"); got != "/console/calls?state=live" {
		t.Errorf("the sign-in leads to %s", got)
	}
	resp = v.want(http.StatusOK, "<h1>Overview</h1>", http.MethodGet, "/console/", nil)
	csp := resp.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(csp, "default-src 'none'; script-src 'self'; style-src 'self';") || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the headers are %v", resp.Header)
	}
	v.want(http.StatusSeeOther, "", http.MethodPost, "/console/sign-out", url.Values{})
	v.want(http.StatusSeeOther, "", http.MethodGet, "/console/", nil)
}

// The console counts wrong tokens together with the API.
func TestConsoleCountsWrongTokens(t *testing.T) {
	v := serveConsole(t, false)
	for range 5 {
		v.want(http.StatusUnauthorized, "", http.MethodPost, "/console/sign-in", url.Values{"token": {"wrong"}})
		v.want(http.StatusUnauthorized, "", http.MethodGet, adminapi.Path+"/apps", nil, "Authorization", "Bearer wrong")
	}
	v.want(http.StatusTooManyRequests, "Wait a minute", http.MethodPost, "/console/sign-in", url.Values{"token": {adminToken}})
	v.want(http.StatusTooManyRequests, "", http.MethodGet, adminapi.Path+"/apps", nil, "Authorization", "Bearer "+adminToken)
}

// A page of another site changes nothing, whatever cookies come with it.
func TestConsoleRefusesOtherSites(t *testing.T) {
	v := serveConsole(t, false)
	v.signIn()
	form := url.Values{"name": {"stolen"}, "login_policy": {"single"}, "join_policy": {"anyone"}}
	v.want(http.StatusForbidden, "another site", http.MethodPost, "/console/apps", form, "Origin", "https://elsewhere.example")
	v.want(http.StatusForbidden, "another site", http.MethodPost, "/console/apps", form, "Sec-Fetch-Site", "cross-site")
	v.want(http.StatusForbidden, "another site", http.MethodPost, "/console/sign-in", url.Values{"token": {adminToken}}, "Sec-Fetch-Site", "same-site")
	v.want(http.StatusOK, "configuration file", http.MethodGet, "/console/apps", nil)
	if _, body := v.ask(http.MethodGet, "/console/apps", nil); strings.Contains(body, "stolen") {
		t.Error("an app was made")
	}
	v.want(http.StatusSeeOther, "", http.MethodPost, "/console/apps", form, "Origin", v.url)
}

// Without a token the console is for this machine only.
func TestConsoleOpen(t *testing.T) {
	v := serveConsole(t, true)
	v.want(http.StatusOK, "<h1>Overview</h1>", http.MethodGet, "/console/", nil)
	v.want(http.StatusForbidden, "loopback", http.MethodGet, "/console/", nil, "Host", "rebound.example")
	v.want(http.StatusForbidden, "another site", http.MethodPost, "/console/apps", url.Values{"name": {"x"}}, "Origin", "http://elsewhere.example")
	v.want(http.StatusForbidden, "loopback", http.MethodGet, "/console/static/console.js", nil, "Host", "rebound.example")
}

func TestConsoleIsOff(t *testing.T) {
	url, _ := serve(t)
	resp, err := http.Get(url + "/console/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("without an admin token: %s", resp.Status)
	}
}

// Every page can be shown, and what is changed here is in the audit log.
func TestConsolePages(t *testing.T) {
	v := serveConsole(t, false)
	v.signIn()
	resp := v.want(http.StatusSeeOther, "", http.MethodPost, "/console/apps", url.Values{"name": {"<b>App</b>"}, "login_policy": {"multi"}, "join_policy": {"anyone"}})
	app := resp.Header.Get("Location")
	_, first := v.ask(http.MethodGet, app, nil)
	_, second := v.ask(http.MethodGet, app, nil)
	if !strings.Contains(first, "Callback secret") || strings.Contains(second, "data-copy") || strings.Contains(first, "<b>App") {
		t.Errorf("the secrets are not shown just once, or the name is not escaped:\n%s", first)
	}
	resp = v.want(http.StatusSeeOther, "", http.MethodPost, app+"/endpoints", url.Values{
		"url": {"http://127.0.0.1:9/"}, "format": {"json"}, "timeout": {"1s"}, "retry": {""}, "ordering": {"strict"}, "when_down": {"retry"}, "events": {"call_end"},
	})
	endpoint := resp.Header.Get("Location")
	v.want(http.StatusOK, "strict: each after", http.MethodGet, endpoint, nil)
	v.want(http.StatusUnprocessableEntity, "one event at least", http.MethodPost, endpoint, url.Values{"format": {"json"}})
	v.want(http.StatusUnprocessableEntity, "duration", http.MethodPost, endpoint, url.Values{
		"events": {"call_end"}, "timeout": {"soon"}, "format": {"json"}, "ordering": {"strict"}, "when_down": {"hold"},
	})
	resp = v.want(http.StatusSeeOther, "", http.MethodPost, endpoint+"/test", url.Values{"event": {"call_end"}})
	v.want(http.StatusOK, "call_end", http.MethodGet, resp.Header.Get("Location"), nil)
	v.want(http.StatusSeeOther, "", http.MethodPost, endpoint+"/pause", url.Values{})
	v.want(http.StatusSeeOther, "", http.MethodPost, app+"/rotate", url.Values{"secret": {"callback"}, "overlap": {"1h"}})
	alice := dial(t, v.url, "alice")
	defer alice.Close()
	dial(t, v.url, "bob").Close()
	for _, odd := range []string{".", "..", "a?b#c&d=e %2e"} {
		defer dial(t, v.url, odd).Close()
		v.want(http.StatusOK, "connected", http.MethodGet, "/console/users/show?app=1&user="+url.QueryEscape(odd), nil)
	}
	made, err := alice.Invite(t.Context(), protocol.Invite{UserIDs: []string{"bob"}})
	if err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{
		"/console/": "paused", "/console/?window=24h": "24 hours", "/console/calls": made.CallID, "/console/calls?app=1&user=alice": made.CallID,
		"/console/calls?outcome=nonsense": "role=\"alert\"", "/console/calls?app=x": made.CallID, "/console/calls/" + made.CallID: "alice", "/console/callbacks": "call_end",
		"/console/endpoints": "http://127.0.0.1:9/", "/console/redeliveries": "in bulk", "/console/users": "alice", "/console/users/show?app=1&user=alice": "connected",
		"/console/apps": "&lt;b&gt;App", app: "counts until", app + "/code": "RINGBACK_CALLBACK_SECRET", app + "/endpoints/new": "call_create", "/console/apps/new": "New app",
		"/console/audit": "endpoint.pause", "/console/try": "Open the phones", "/console/try?app=1": made.CallID, "/console/try/phone?app=1&user=zoe": "Phone of", "/console/go?q=ali": "ali", "/console/apps/1": "read-only here",
	} {
		if path == "/console/go?q=ali" {
			v.want(http.StatusSeeOther, "", http.MethodGet, path, nil)
			continue
		}
		v.want(http.StatusOK, says, http.MethodGet, path, nil)
	}
	for _, path := range []string{"/console/nothing", "/console/calls/1", "/console/apps/999", "/console/apps/x", "/console/endpoints/99", "/console/users/show?app=1&user=nobody", "/console/redeliveries/1", "/console/try?app=9", "/console/try/phone?app=x&user=zoe"} {
		v.want(http.StatusNotFound, "Not found", http.MethodGet, path, nil)
	}
	v.want(http.StatusSeeOther, "", http.MethodPost, "/console/apps/1", url.Values{"name": {"x"}, "login_policy": {"multi"}, "join_policy": {"anyone"}})
	v.want(http.StatusOK, "belongs to the configuration file", http.MethodGet, "/console/apps/1", nil)
	v.want(http.StatusBadRequest, "cannot be read", http.MethodGet, "/console/calls?user=%zz", nil)
	v.want(http.StatusRequestEntityTooLarge, "", http.MethodPost, "/console/apps/1", url.Values{"name": {strings.Repeat("x", 1<<20)}})

	_, text := v.ask(http.MethodGet, adminapi.Path+"/audit", nil, "Authorization", "Bearer "+adminToken)
	var log adminapi.Page[adminapi.Audit]
	if err := json.Unmarshal([]byte(text), &log); err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"app.create", "endpoint.create", "endpoint.pause", "event.trigger", "app.rotate_secret"} {
		if !slices.ContainsFunc(log.Items, func(a adminapi.Audit) bool {
			return a.Action == action && a.Actor == "console" && a.Remote == "127.0.0.1"
		}) {
			t.Errorf("the audit log has no %s of the console: %s", action, text)
		}
	}
}

// Phones get their tokens by a request of a page of the console only, and the
// audit log has each, without the token.
func TestConsoleTokens(t *testing.T) {
	v := serveConsole(t, false)
	form := url.Values{"app": {"1"}, "user": {"zoe"}}
	v.want(http.StatusUnauthorized, "", http.MethodPost, "/console/try/token", form, "HX-Request", "true")
	v.signIn()
	v.want(http.StatusForbidden, "another site", http.MethodPost, "/console/try/token", form, "Sec-Fetch-Site", "cross-site")
	v.want(http.StatusNotFound, "", http.MethodGet, "/console/try/token?app=1&user=zoe", nil)
	v.want(http.StatusNotFound, "no such app", http.MethodPost, "/console/try/token", url.Values{"app": {"9"}, "user": {"zoe"}})
	v.want(http.StatusUnprocessableEntity, "1 to 32 bytes", http.MethodPost, "/console/try/token", url.Values{"app": {"1"}, "user": {"zoë"}})
	_, text := v.ask(http.MethodPost, "/console/try/token", form)
	var made adminapi.Token
	if err := json.Unmarshal([]byte(text), &made); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	until, err := auth.Verify(made.Token, 1, "zoe", secret, time.Now())
	if err != nil || time.Until(until) > time.Hour || until.UnixMilli()/1000 != made.ExpiresAtMS/1000 {
		t.Errorf("the token counts until %v: %v", until, err)
	}
	_, text = v.ask(http.MethodGet, adminapi.Path+"/audit", nil, "Authorization", "Bearer "+adminToken)
	if strings.Count(text, "token.create") != 1 || !strings.Contains(text, "user zoe of app 1") || strings.Contains(text, made.Token) {
		t.Errorf("the audit log is %s", text)
	}
}

// The program of the phones is kept by browsers for as long as it is the same.
func TestConsolePhones(t *testing.T) {
	v := serveConsole(t, false)
	v.signIn()
	_, page := v.ask(http.MethodGet, "/console/try?app=1", nil)
	_, path, _ := strings.Cut(page, `data-assets="`)
	path, _, _ = strings.Cut(path, `"`)
	for file, kind := range map[string]string{"phone.js": "text/javascript; charset=utf-8", "style.css": "text/css; charset=utf-8", "icons.svg": "image/svg+xml"} {
		resp := v.want(http.StatusOK, "", http.MethodGet, path+"/"+file, nil)
		if resp.Header.Get("Content-Type") != kind || !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %v", file, resp.Header)
		}
	}
	resp := v.want(http.StatusOK, "", http.MethodGet, "/console/phones/older/phone.js", nil)
	if resp.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("of another version: %v", resp.Header)
	}
	v.want(http.StatusNotFound, "", http.MethodGet, path+"/index.html", nil)
	v.want(http.StatusNotFound, "", http.MethodGet, path+"/static.go", nil)
}

func TestOverview(t *testing.T) {
	v := serveConsole(t, false)
	alice := dial(t, v.url, "alice")
	defer alice.Close()
	bob := dial(t, v.url, "bob")
	defer bob.Close()
	made, err := alice.Invite(t.Context(), protocol.Invite{UserIDs: []string{"bob"}})
	if err != nil {
		t.Fatal(err)
	}
	read := func(window string) (o adminapi.Overview) {
		_, text := v.ask(http.MethodGet, adminapi.Path+"/overview?window="+window, nil, "Authorization", "Bearer "+adminToken)
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return o
	}
	if o := read("1h"); o.Now.LiveCalls != 1 || o.Now.Connections != 2 || o.Now.PresentUsers != 2 || o.StepS != 10 || o.Apps != 1 {
		t.Errorf("while it rings: %+v", o)
	}
	if _, err := bob.Reject(t.Context(), protocol.CallAction{CallID: made.CallID}); err != nil {
		t.Fatal(err)
	}
	for _, window := range []string{"1h", "24h"} {
		created, rejected := 0, 0
		o := read(window)
		// A call that has ended counts while somebody looks at it, as when a
		// device's word that it rings comes late.
		for deadline := time.Now().Add(patience); o.Now.LiveCalls != 0 && time.Now().Before(deadline); {
			o = read(window)
		}
		for _, s := range o.Samples {
			created += s.Created
			rejected += s.Ended["rejected"]
		}
		if created != 1 || rejected != 1 || o.Now.LiveCalls != 0 {
			t.Errorf("%s: %+v", window, o)
		}
	}
}

// The stream tells everybody what changes.
func TestConsoleLive(t *testing.T) {
	v := serveConsole(t, false)
	v.signIn()
	streams := make([]*bufio.Reader, 3)
	for i := range streams {
		resp, err := v.http.Get(v.url + "/console/live")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if kind := resp.Header.Get("Content-Type"); kind != "text/event-stream" {
			t.Fatalf("the stream is %s", kind)
		}
		streams[i] = bufio.NewReader(resp.Body)
	}
	// find reads on to a line that holds a text.
	find := func(r *bufio.Reader, text string) {
		t.Helper()
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("the stream ended before %q: %v", text, err)
			}
			if strings.Contains(line, text) {
				return
			}
		}
	}
	for _, r := range streams {
		find(r, "event: tiles")
		find(r, "Nobody calls")
	}
	alice := dial(t, v.url, "alice")
	defer alice.Close()
	dial(t, v.url, "bob").Close()
	made, err := alice.Invite(t.Context(), protocol.Invite{UserIDs: []string{"bob"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range streams {
		find(r, made.CallID)
	}
}

// Who was told of a change is told once more when nothing has changed since:
// what is counted is durable a moment later only.
func TestConsoleLooksOnceMore(t *testing.T) {
	v := serveConsole(t, false)
	v.signIn()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url+"/console/live?only=changed", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := v.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	alice := dial(t, v.url, "alice")
	defer alice.Close()
	dial(t, v.url, "bob").Close()
	if _, err := alice.Invite(t.Context(), protocol.Invite{UserIDs: []string{"bob"}}); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(resp.Body); ; {
		if !lines.Scan() {
			t.Fatalf("the stream ended: %v", lines.Err())
		}
		var before, now int
		if _, err := fmt.Sscanf(lines.Text(), "data: %d %d", &before, &now); err == nil && before == now && now > 0 {
			return
		}
	}
}
