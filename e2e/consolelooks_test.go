//go:build e2e

package e2e

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/ringback/ringback/internal/need"
	"github.com/ringback/ringback/protocol"
)

// axeVersion is the checker of accessibility that is fetched for the tests.
const axeVersion = "4.14.1"

// axe gives the program that checks a page.
func axe(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		need.Missing(t, "node", "there is no npm: run scripts/setup")
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "npm", "pack", "--silent", "--pack-destination", dir, "axe-core@"+axeVersion)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm pack axe-core: %v\n%s", err, out)
	}
	f, err := os.Open(filepath.Join(dir, "axe-core-"+axeVersion+".tgz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		head, err := r.Next()
		if err != nil {
			t.Fatalf("the package has no axe.min.js: %v", err)
		}
		if head.Name == "package/axe.min.js" {
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
	}
}

// violation is something that axe finds.
type violation struct {
	ID, Impact, Help string
	Nodes            []struct{ HTML string }
}

// check looks at the page as it is.
func (o *operator) check(what, axe string) {
	o.t.Helper()
	if _, err := chromedp.Run(o.ctx, chromedp.Evaluate[bool]("(() => {"+axe+"})(), true")); err != nil {
		o.t.Fatal(err)
	}
	text, err := chromedp.Run(o.ctx, chromedp.Evaluate[string](`axe.run(document, {preload: false, runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})
		.then((r) => JSON.stringify(r.violations.map((v) => ({ID: v.id, Impact: v.impact, Help: v.help, Nodes: v.nodes.map((n) => ({HTML: n.html}))}))))`,
		chromedp.EvalAwaitPromise))
	if err != nil {
		o.t.Fatal(err)
	}
	var found []violation
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		o.t.Fatal(err)
	}
	for _, v := range found {
		if v.Impact == "serious" || v.Impact == "critical" {
			o.t.Errorf("%s: %s (%s, %d places, such as %.300s)", what, v.Help, v.ID, len(v.Nodes), v.Nodes[0].HTML)
		}
	}
}

// inert reports harm that hostile texts did, and a page or navigation that is
// too wide.
func (o *operator) inert(what string) {
	o.t.Helper()
	if harm := o.eval(`typeof hacked + document.querySelectorAll("main script, main [onerror], main [onmouseover], main img[src=x]").length`); harm != "undefined0" {
		o.t.Errorf("%s: a text has become a part of the page: %s", what, harm)
	}
	if wide := o.eval(`document.documentElement.scrollWidth > innerWidth`); wide != "false" {
		widest := o.eval(`[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 120)).slice(0, 3).join("\n")`)
		o.t.Errorf("%s is wider than the window:\n%s", what, widest)
	}
	if hidden := o.eval(`[...document.querySelectorAll(".side, .segments")].some((e) => e.scrollWidth > e.clientWidth)`); hidden != "false" {
		o.t.Errorf("%s: a part of the navigation is out of sight", what)
	}
}

// Every page, full and with hostile texts, wide and narrow, light and dark:
// accessible, readable and inert. RINGBACK_TEST_SHOTS keeps pictures.
func TestConsoleLooks(t *testing.T) {
	t.Parallel()
	o := openConsole(t)
	checker := axe(t)
	o.visit("")
	o.check("sign-in", checker)
	(&page{t: t, ctx: o.ctx}).shot("sign-in")
	o.signIn()
	for _, empty := range []string{"", "calls", "callbacks", "redeliveries", "users", "audit", "try"} {
		o.visit(empty)
		o.check("empty "+empty, checker)
		(&page{t: t, ctx: o.ctx}).shot("empty-" + strings.Trim(empty, "/"))
	}

	o.visit("apps/new")
	o.fill("[name=name]", hostileApp)
	o.click("main .primary")
	o.await(".notice", "Keep its secrets now")
	o.inert("the secrets of an app")
	o.check("secrets", checker)
	(&page{t: t, ctx: o.ctx}).shot("secrets")
	o.visit("apps/1000/endpoints/new")
	o.fill("[name=url]", o.backend.URL+"/made?with=a&query="+strings.Repeat("long", 60))
	o.click("main .primary")
	o.await(".notice", "The endpoint has been made")

	users := []string{hostileUser, longUser, "..", "a?b#c&d=e %2e"}
	for _, user := range users {
		o.device(appID, secret, user, nil)
	}
	alice, bob := o.device(appID, secret, "alice", nil), o.device(appID, secret, "bob", nil)
	data := `{"html":"` + strings.ReplaceAll(hostileName, `"`, `\"`) + `","turned":"` + turnedName + `","long":"` + strings.Repeat("x", 1800) + `"}`
	o.backend.status.Store(http.StatusServiceUnavailable)
	hostile := o.invite(alice, data, users...)
	o.visit("callbacks?status=failed")
	o.await("#results", "call_create")
	failed := o.eval(`document.querySelector("#results tbody a").id`)
	o.backend.status.Store(http.StatusNoContent)
	for i := range 6 {
		id := o.invite(alice, "", "bob")
		var err error
		if i%2 == 0 {
			_, err = bob.Accept(t.Context(), protocol.CallAction{CallID: id})
		} else {
			_, err = bob.Reject(t.Context(), protocol.CallAction{CallID: id})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	o.visit("endpoints/1")
	o.click("#pause")
	o.await(".notice", "The endpoint is paused")
	bob.Close()
	late := o.invite(alice, "", "bob")
	o.visit("callbacks?status=failed")
	o.await("#results", "call_create")
	o.click("#bulk summary")
	o.click("#bulk .primary")
	o.await("#job", "done")

	pages := map[string]string{
		"overview": "", "overview-day": "?window=24h", "calls": "calls", "calls-none": "calls?app=1&user=nobody", "calls-wrong": "calls?from=yesterday",
		"call": "calls/" + hostile, "call-late": "calls/" + late, "callbacks": "callbacks", "delivery": "callbacks/" + failed, "endpoints": "endpoints", "endpoint": "endpoints/2",
		"endpoint-file": "endpoints/1", "endpoint-new": "apps/1000/endpoints/new", "redeliveries": "redeliveries", "redelivery": "redeliveries/1", "users": "users?app=1",
		"user": "users/show?app=1&user=" + queryEscape(hostileUser), "user-odd": "users/show?app=1&user=" + queryEscape("a?b#c&d=e %2e"),
		"search": "go?q=" + queryEscape("<nobody>"), "apps": "apps", "app": "apps/1000", "app-file": "apps/1", "app-new": "apps/new", "code": "apps/1000/code", "audit": "audit", "try": "try", "try-app": "try?app=1",
		"try-phone": "try/phone?app=1&user=" + queryEscape(hostileUser) + "&name=" + queryEscape(turnedName+hostileName),
		"not-found": "nothing", "no-call": "calls/1",
	}
	for _, theme := range []string{"light", "dark"} {
		o.do("any width", chromedp.EmulateViewport(1280, 900))
		o.visit("apps")
		o.click(".theme [value=" + theme + "]")
		o.do("it is "+theme, chromedp.WaitReady(css("[data-theme=%s]", theme)))
		for _, width := range []int64{1280, 360} {
			o.do("another width", chromedp.EmulateViewport(width, 800))
			for name, path := range pages {
				o.visit(path)
				what := fmt.Sprintf("%s, %s, %d px", name, theme, width)
				o.inert(what)
				o.check(what, checker)
				(&page{t: t, ctx: o.ctx}).shot(fmt.Sprintf("%s-%s-%d", name, theme, width))
			}
		}
	}
}

// queryEscape escapes a value of a query, also where Go would not need to.
func queryEscape(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}
