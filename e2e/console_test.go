//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/chromedp"

	"github.com/ringback/ringback/client"
	"github.com/ringback/ringback/internal/auth"
	"github.com/ringback/ringback/protocol"
)

const adminToken = "admin-token-of-the-tests-0123456789"

// Names and texts that would do harm where they are not escaped.
const (
	hostileUser = `<img src=x onerror=hacked=1>` // no user ID has slashes or quotes
	hostileName = `"><img src=x onerror=hacked=2></script>`
	turnedName  = "\u202emoc.live\u202c עברית 𝕬𝖑𝖎𝖈𝖊 📞" // turns the direction, and has characters of four bytes
	longUser    = "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW"   // the longest
	hostileApp  = `<b onmouseover=hacked=3>App</b>`
)

// backend answers callbacks with what it is told to.
type backend struct {
	*httptest.Server
	status atomic.Int32
}

func newBackend(t *testing.T) *backend {
	b := new(backend)
	b.status.Store(http.StatusNoContent)
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Hostile", hostileName)
		status := int(b.status.Load())
		w.WriteHeader(status)
		if status != http.StatusNoContent {
			fmt.Fprintf(w, `{"problem":%q}`, "</pre>"+hostileUser)
		}
	}))
	t.Cleanup(b.Close)
	return b
}

// operator is a browser that looks at the console of a server.
type operator struct {
	t       *testing.T
	ctx     context.Context
	address string
	backend *backend

	mu   sync.Mutex
	said []string // errors in the browser's console
}

// openConsole starts a server whose callbacks are given up after two attempts,
// and a browser.
func openConsole(t *testing.T) *operator {
	t.Helper()
	o := &operator{t: t, address: freeAddress(t), backend: newBackend(t)}
	file := filepath.Join(t.TempDir(), "ringback.yaml")
	text := fmt.Sprintf(`
listen: %s
data_dir: %s
admin_token: %s
apps:
  - id: %d
    name: from the file
    secret: %s
    login_policy: multi
    callbacks:
      - url: %s/callbacks
        retry: [100ms]
callbacks:
  allow_networks: [127.0.0.0/8]
`, o.address, filepath.Join(t.TempDir(), "data"), adminToken, appID, secret, o.backend.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	serve(t, file, o.address)
	o.ctx = browserFor(t, 5*time.Minute)
	o.do("look at nothing", chromedp.Navigate("about:blank"))
	go func() {
		for message, err := range chromedp.Console(o.ctx) {
			if err != nil {
				return
			}
			bad := message.IsException() || message.Type == chromedp.ConsoleError
			if bad && message.Source != "network" { // a page that is an error is one of those
				o.mu.Lock()
				o.said = append(o.said, message.String())
				o.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, text := range o.said {
			t.Errorf("the browser says: %s", text)
		}
	})
	return o
}

func (o *operator) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	o.t.Helper()
	o.must(what, chromedp.Do(o.ctx, steps...))
}

func (o *operator) must(what string, err error) {
	o.t.Helper()
	if err != nil {
		(&page{t: o.t, ctx: o.ctx}).shot("failed")
		o.t.Fatalf("%s: %v", what, err)
	}
}

// visit opens a page and waits until it is there.
func (o *operator) visit(path string) {
	o.t.Helper()
	o.do("open "+path, chromedp.Navigate("http://"+o.address+"/console/"+path), chromedp.WaitVisible(css("h1")))
}

// await waits until a text is within an element.
func (o *operator) await(selector, text string) {
	o.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got, err := chromedp.Run(o.ctx, chromedp.Evaluate[string](fmt.Sprintf(
			`[...document.querySelectorAll(%q)].map((e) => e.textContent).join("\n")`, selector)))
		if err == nil && strings.Contains(got, text) {
			return
		}
		if time.Now().After(deadline) || o.ctx.Err() != nil {
			(&page{t: o.t, ctx: o.ctx}).shot("failed")
			o.t.Logf("the page is %s", o.eval(`location + ": " + document.querySelector("main")?.innerText.slice(0, 1000)`))
			o.t.Fatalf("%s does not say %q: %q, %v", selector, text, got, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// click clicks at an element. What is live on a page may be replaced between
// finding it and clicking: then at what is there instead.
func (o *operator) click(selector string) {
	o.t.Helper()
	const noNode = -32000
	click := chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible)
	err := chromedp.Do(o.ctx, click)
	var answer *cdproto.Error
	for range 3 {
		if !errors.As(err, &answer) || answer.Code != noNode {
			break
		}
		err = chromedp.Do(o.ctx, click)
	}
	o.must("click "+selector, err)
}

func (o *operator) fill(selector, text string) {
	o.t.Helper()
	o.do("fill "+selector, chromedp.Clear(chromedp.CSS(selector)), chromedp.SendKeys(chromedp.CSS(selector), text))
}

func (o *operator) eval(expression string) string {
	o.t.Helper()
	got, err := chromedp.Run(o.ctx, chromedp.Evaluate[string]("String("+expression+")"))
	if err != nil {
		o.t.Fatalf("%s: %v", expression, err)
	}
	return got
}

func (o *operator) signIn() {
	o.t.Helper()
	o.visit("")
	o.fill("#token", adminToken)
	o.click(".sign-in button")
	o.await("h1", "Overview")
}

// device logs a user in.
func (o *operator) device(app uint32, appSecret, user string, answer func(*client.Client, client.Event)) *client.Client {
	o.t.Helper()
	token, err := auth.NewToken04(app, user, appSecret, time.Now(), time.Hour, "")
	if err != nil {
		o.t.Fatal(err)
	}
	c, err := client.Dial(o.t.Context(), "http://"+o.address, client.Options{
		AppID: app, UserID: user, UserName: turnedName + hostileName, Platform: "WEB", Token: token, OnEvent: answer,
	})
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { c.Close() })
	return c
}

func (o *operator) invite(c *client.Client, data string, users ...string) string {
	o.t.Helper()
	reply, err := c.Invite(o.t.Context(), protocol.Invite{UserIDs: users, ExtendedData: data})
	if err != nil {
		o.t.Fatal(err)
	}
	return reply.CallID
}

func TestConsoleSignIn(t *testing.T) {
	o := openConsole(t)
	o.visit("calls?state=live")
	o.await("h1", "Sign in")
	o.fill("#token", "not the token")
	o.click(".sign-in button")
	o.await("[role=alert]", "not the admin token")
	o.fill("#token", adminToken)
	o.click(".sign-in button")
	o.await("h1", "Calls")
	if state := o.eval(`document.querySelector("[name=state]").value`); state != "live" {
		t.Errorf("the page that was asked for is forgotten: state %q", state)
	}
	if seen := o.eval("document.cookie"); strings.Contains(seen, "ringback_console") {
		t.Error("scripts can read the cookie of the session")
	}
	o.click(".theme [value=dark]")
	o.do("it is dark", chromedp.WaitReady(css(`[data-theme=dark]`)), chromedp.WaitVisible(css("h1")))
	o.do("press /", chromedp.KeyEvent("/"))
	if focused := o.eval("document.activeElement.id"); focused != "jump" {
		t.Errorf("/ leads to %q", focused)
	}
	o.click(".out button")
	o.await("h1", "Sign in")
	o.visit("apps")
	o.await("h1", "Sign in")
}

func TestConsoleApp(t *testing.T) {
	t.Parallel()
	o := openConsole(t)
	o.signIn()
	o.visit("apps/new")
	o.fill("[name=name]", hostileApp)
	o.click("main .primary")
	o.await(".notice", "Keep its secrets now")
	appSecret := o.eval(`document.querySelector(".secret code").textContent`)
	app := strings.TrimPrefix(o.eval("location.pathname"), "/console/apps/")
	o.visit("apps/" + app)
	if notices := o.eval(`document.querySelectorAll(".notice:not([hidden])").length`); notices != "0" {
		t.Error("the secrets are shown again")
	}
	var id uint32
	if _, err := fmt.Sscan(app, &id); err != nil {
		t.Fatal(err)
	}
	o.device(id, appSecret, "alice", nil)

	o.click("#rotate-app summary")
	o.click("#rotate-app .primary")
	o.await(".notice", "There is a new secret")
	rotated := o.eval(`document.querySelector(".secret code").textContent`)
	if rotated == appSecret {
		t.Error("the secret is the same as before")
	}
	o.device(id, rotated, "bob", nil)
	o.device(id, appSecret, "carol", nil) // the one before counts too

	o.visit("apps/" + app + "/endpoints/new")
	o.fill("[name=url]", "ftp://example.com/")
	o.click("main .primary")
	o.await("[role=alert]", "url")
	o.fill("[name=url]", o.backend.URL+"/made")
	o.click("main .primary")
	o.await(".notice", "The endpoint has been made")
	o.click("#test")
	o.await(".notice", "The test is on the way")
	o.await("#delivery .title", "delivered")
	o.visit("audit")
	for _, action := range []string{"app.create", "app.rotate", "endpoint.create", "event.trigger"} {
		o.await("main code", action)
	}
	o.visit("apps/" + fmt.Sprint(appID))
	o.await("main", "read-only here")
}

func TestConsoleCall(t *testing.T) {
	t.Parallel()
	o := openConsole(t)
	o.signIn()
	accept := make(chan string, 1)
	o.device(appID, secret, "bob", func(c *client.Client, e client.Event) {
		if id, ok := <-accept; ok {
			if _, err := c.Accept(context.Background(), protocol.CallAction{CallID: id}); err != nil {
				t.Error(err)
			}
		}
	})
	alice := o.device(appID, secret, "alice", nil)
	o.await("#tile-connections", "2")
	o.await(`[data-swap="ringing"]`, "Nobody calls")
	id := o.invite(alice, "hello", "bob")
	o.await(`[data-swap="ringing"]`, id) // without a reload
	o.await("#tile-live strong", "1")
	accept <- id
	close(accept)
	o.await(`[data-swap="ringing"]`, "Nobody calls")
	o.await("#chart-outcomes .legend", "accepted 1")

	o.fill("#jump", id)
	o.do("jump", chromedp.KeyEvent("\r"))
	o.await("h1", id)
	o.await(".verdict", "It rang: bob's device")
	o.await(".verdict", "They accepted.")
	o.await(".story", "alice")
	o.await(".story", "call_accept was delivered")
	if lanes := o.eval(`document.querySelectorAll(".lane-plot[role=img]").length`); lanes != "3" {
		t.Errorf("there are %s lanes, want two users and the callbacks", lanes)
	}
	if zone := o.eval(`document.querySelector("time[data-local]").title`); !strings.HasSuffix(zone, " UTC") {
		t.Errorf("a time has the title %q", zone)
	}

	o.visit("calls")
	o.fill("[name=user]", "nobody")
	o.await("#results", "No call matches")
	if query := o.eval("location.search"); query != "?user=nobody" {
		t.Errorf("the filters are in the URL as %q", query)
	}
	o.do("go back", chromedp.NavigateBack())
	o.await("#results", id)
}

func TestConsoleRedeliver(t *testing.T) {
	t.Parallel()
	o := openConsole(t)
	o.signIn()
	o.backend.status.Store(http.StatusInternalServerError)
	alice, _ := o.device(appID, secret, "alice", nil), o.device(appID, secret, "bob", nil)
	id := o.invite(alice, "hello", "bob")
	o.visit("callbacks?status=failed")
	o.await("#results", "call_create")
	o.click("#results tbody a")
	o.await("#delivery .title", "failed")
	o.await("#attempt-2", "500")
	o.await("#attempt-2 pre", id)
	if text := o.eval(`document.querySelector("#attempt-2 [aria-label='Body of the request']").textContent.match(/"signature": "(.*)"/)[1]`); len(text) > 12 {
		t.Errorf("the signature is shown whole: %s", text)
	}
	o.backend.status.Store(http.StatusNoContent)
	o.click("#redeliver")
	o.await("#delivery .title", "delivered")
	o.await("#attempt-3", "succeeded")

	o.visit("endpoints")
	o.click("main tbody a")
	o.click("#pause")
	o.await(".notice", "The endpoint is paused")
	if _, err := alice.Cancel(t.Context(), protocol.Cancel{CallID: id}); err != nil {
		t.Fatal(err)
	}
	o.visit("")
	o.await(`[data-swap="trouble"]`, "paused")
	o.await("#tile-backlog strong", "1")
	o.visit("endpoints/1")
	o.click("#resume")
	o.await(".notice", "no longer paused")
	o.visit("callbacks?event=call_cancel")
	o.await("#results", "delivered")

	o.visit("callbacks?call=" + id)
	o.click("#bulk summary")
	o.click("#bulk .primary")
	o.await("#job", "done")
	o.await("#job strong", "2")

	o.visit("users?app=1&prefix=bo")
	o.click("#results tbody a")
	o.await("h1", "bob")
	o.click("td .confirm summary")
	o.click("td .confirm .danger:not(summary)")
	o.await(".notice", "disconnected")
	o.await("main", "No device is logged in")
}
