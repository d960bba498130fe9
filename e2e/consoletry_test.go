//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// handset is the expression for a part of a phone, which is in a shadow tree;
// "": for the phone itself.
func handset(who, part string) string {
	selector := fmt.Sprintf(`[data-testid="phone-%s"]`, who)
	if part != "" {
		selector += fmt.Sprintf(` [data-testid="%s"]`, part)
	}
	return fmt.Sprintf(`document.querySelector("#phones").shadowRoot?.querySelector(%q)`, selector)
}

// becomes waits for a phone to be in a state.
func (o *operator) becomes(who, state string) {
	o.t.Helper()
	o.awaitPhone(who, "dataset.state", state)
}

// says waits until a text is on a phone.
func (o *operator) says(who, text string) {
	o.t.Helper()
	o.awaitPhone(who, "textContent", text)
}

func (o *operator) awaitPhone(who, property, want string) {
	o.t.Helper()
	got := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if got = o.eval(handset(who, "") + "?." + property); strings.Contains(got, want) {
			return
		}
	}
	(&page{t: o.t, ctx: o.ctx}).shot("failed")
	o.t.Fatalf("the phone of %s has %q, not %q", who, got, want)
}

func (o *operator) press(who, part string) {
	o.t.Helper()
	o.do(who+" presses "+part, chromedp.Click(chromedp.JSPath(handset(who, part)), chromedp.NodeVisible))
}

// Phones of an app that was just made ring each other, and the console has the
// call.
func TestConsoleTry(t *testing.T) {
	t.Parallel()
	o := openConsole(t)
	o.signIn()
	o.visit("apps/new")
	o.fill("[name=name]", "Shop")
	o.click("main .primary")
	o.await(".notice", "Keep its secrets now")

	o.visit("try")
	o.do("choose the app", chromedp.SetValue(css("[name=app]"), "1000"))
	o.click("#choose")
	o.await(".notice.warn", "Real users, real calls")
	o.becomes("try-alice", "idle")
	o.becomes("try-bob", "idle")
	o.await("#results", "No calls yet")
	o.press("try-alice", "call")
	o.becomes("try-alice", "calling")
	o.becomes("try-bob", "ringing")
	if title := o.eval("document.title"); !strings.Contains(title, "Bob is ringing") {
		t.Errorf("the title is %q", title)
	}
	// The keyboard gets there, and stays with the phone when its screen changes.
	o.eval(handset("try-bob", "accept") + ".focus()")
	o.do("accept by the keyboard", chromedp.KeyEvent("\r"))
	o.becomes("try-bob", "in-call")
	o.becomes("try-alice", "in-call")
	if within := o.eval(`document.querySelector("#phones").shadowRoot.activeElement?.className`); within != "phone-body" {
		t.Errorf("the focus is at %q", within)
	}
	o.await("#results", "try-alice") // without a reload
	o.await("#results .badge", "accepted")

	// A second device of a user logs the first one out, as the app has it.
	o.press("try-bob", "hang-up")
	o.press("try-bob", "second-device")
	o.becomes("try-bob-2", "idle")
	o.becomes("try-bob", "offline")
	o.fill("#add-user", "no/user")
	o.click("#add-phone button")
	o.says("no/user", "1 to 32 bytes") // no user ID has a slash

	o.visit("calls?app=1000")
	o.await("#results", "try-bob")
	o.click("#results tbody a")
	o.await(".verdict", "They accepted.")
	o.visit("audit")
	o.await("main", "user try-bob of app 1000")
	if minted := o.eval(`[...document.querySelectorAll("main code")].filter((e) => e.textContent === "token.create").length`); minted != "2" {
		t.Errorf("%s tokens were made, want one for each user", minted)
	}

	o.visit("try/phone?app=1000&user=carol&name=Carol")
	o.becomes("carol", "idle")
	o.visit("try?app=9")
	o.await("main", "no such app")
}
