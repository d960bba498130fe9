//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/url"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// set fills in a field of a phone.
func (p *page) set(who, part, value string) {
	p.t.Helper()
	p.do(fmt.Sprintf("%s fills in %s", who, part), chromedp.WaitVisible(phone(who, part)))
	p.is(fmt.Sprintf(`document.querySelector(%q).select() ?? true`, phone(who, part)))
	p.do("type over it", chromedp.SendKeys(phone(who, part), value))
}

// reads waits for a part of a phone to have a text.
func (p *page) reads(who, part, text string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`[...document.querySelectorAll('[data-testid="phone-%s"] [data-testid="%s"]')].some((e) => e.textContent === %q)`, who, part, text))
}

// wait waits for a condition on the page.
func (p *page) wait(condition string) {
	p.t.Helper()
	for !p.is(condition) {
		if p.ctx.Err() != nil {
			p.shot("failed")
			p.t.Fatalf("%s never held", condition)
		}
		p.do("wait for the next frame", chromedp.WaitReady(chromedp.CSS("body")))
	}
}

// add makes a phone on the page.
func (p *page) add(user, name string) {
	p.t.Helper()
	p.do("fill in the user", chromedp.SendKeys(css(`[data-testid="add-user"]`), user))
	if name != "" {
		p.do("fill in the name", chromedp.SetValue(css(`[data-testid="add-name"]`), name))
	}
	p.do("add a phone of "+user, chromedp.Click(css(`[data-testid="add-phone"]`)))
	p.state(user, "idle")
}

// chip chooses a known user in a field of a phone.
func (p *page) chip(who, field, user string) {
	p.t.Helper()
	p.do(fmt.Sprintf("%s chooses %s", who, user), chromedp.Click(
		css(`[data-testid="phone-%s"] .people-field:has([data-testid="%s"]) .chip[value="%s"]`, who, field, user), chromedp.NodeVisible))
}

// Both devices of a user ring; the one that did not answer learns why it stops.
func TestPageSecondDevice(t *testing.T) {
	t.Parallel()
	p := openPage(t)
	p.click("bob", "second-device")
	p.state("bob-2", "idle")
	p.click("alice", "call")
	p.state("bob", "ringing")
	p.state("bob-2", "ringing")
	p.click("bob-2", "accept")
	p.outcome("bob", "Answered on another device")
	p.state("bob-2", "in-call")
	p.state("alice", "in-call")
	p.click("bob-2", "hang-up")
	p.outcome("alice", "Hung up")
	p.click("bob-2", "remove")
	p.do("the phone is gone", chromedp.WaitNotPresent(css(`[data-testid="phone-bob-2"]`)))
	p.do("reload", chromedp.Reload())
	p.state("bob", "idle")
	if p.is(`document.querySelector('[data-testid="phone-bob-2"]') !== null`) {
		t.Error("the phone that was removed is back after a reload")
	}
}

// A group call in advanced mode: people are invited to it, join, leave, come
// back, and one ends it for all.
func TestPageGroup(t *testing.T) {
	t.Parallel()
	p := openPage(t)
	p.add("carol", "Carol")
	p.add("dave", "")
	p.click("alice", "options")
	p.do("alice chooses the advanced mode", chromedp.Click(css(`[data-testid="phone-alice"] label:has([data-testid="mode-advanced"])`)))
	p.chip("alice", "users", "carol")
	p.click("alice", "call")
	p.state("bob", "ringing")
	p.state("carol", "ringing")
	p.click("bob", "accept")
	p.click("carol", "accept")
	p.state("carol", "in-call")
	p.state("alice", "in-call")
	p.chip("bob", "more-users", "dave")
	p.click("bob", "invite-more")
	p.state("dave", "ringing")
	p.shot("invited-more")
	p.click("dave", "accept")
	p.state("dave", "in-call")
	p.click("carol", "quit")
	p.outcome("carol", "You left")
	p.state("carol", "idle")
	p.click("carol", "join-open")
	p.click("carol", "rejoin")
	p.state("carol", "in-call")
	p.click("dave", "quit")
	p.state("dave", "idle")
	id, err := chromedp.Run(p.ctx, chromedp.TextContent(phone("alice", "call-id")))
	if err != nil {
		t.Fatal(err)
	}
	p.click("dave", "join-open")
	p.set("dave", "join-id", id)
	p.click("dave", "join")
	p.state("dave", "in-call")
	p.shot("group")
	p.narrow("group-narrow")
	p.click("alice", "end")
	for _, who := range []string{"bob", "carol", "dave"} {
		p.outcome(who, "Alice ended the call")
	}
	p.inbox("call_end")
}

// The tenth invitee is too many, and a user in a call is not rung for it.
func TestPageTooMany(t *testing.T) {
	p := openPage(t)
	p.click("alice", "options")
	p.set("alice", "users", "a,b,c,d,e,f,g,h,i,j")
	p.click("alice", "call")
	p.wait(`document.querySelector('[data-testid="phone-alice"] [data-testid="note"]').textContent.includes('(6000272)')`)
	p.set("alice", "users", "bob,nobody")
	p.click("alice", "call")
	p.state("bob", "ringing")
	p.reads("alice", "note", "Not rung: nobody (6000281)")
}

// What was missed is listed, and called back.
func TestPageMissed(t *testing.T) {
	t.Parallel()
	p := openPage(t)
	p.click("alice", "options")
	p.set("alice", "timeout", "1")
	p.click("alice", "call")
	p.state("bob", "ringing")
	p.outcome("bob", "No answer")
	p.state("bob", "idle")
	p.reads("bob", "missed-count", "1")
	p.click("bob", "missed-open")
	p.shot("missed")
	p.click("bob", "call-back")
	p.state("alice", "ringing")
	p.click("bob", "cancel")
	p.state("bob", "idle")
	p.click("bob", "clear-missed")
	p.do("reload", chromedp.Reload())
	p.state("bob", "idle")
	p.reads("alice", "missed-count", "1")
	p.reads("bob", "missed-count", "0")
}

// A phone that was away while it rang learns how the call ended.
func TestPageAway(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"online", "network"} {
		t.Run(how, func(t *testing.T) {
			p := openPage(t)
			p.click("alice", "call")
			p.state("bob", "ringing")
			p.click("bob", how)
			p.do("bob is away", chromedp.WaitReady(css(`[data-testid="phone-bob"]:is([data-link="offline"], [data-link="waiting"])`)))
			p.click("alice", "cancel")
			p.state("alice", "outcome")
			p.shot("away")
			p.click("bob", how)
			p.outcome("bob", "Cancelled by Alice")
		})
	}
}

// Who is logged out cannot be rung, and can come back.
func TestPageLogOut(t *testing.T) {
	t.Parallel()
	p := openPage(t)
	p.click("bob", "session")
	p.do("bob is logged out", chromedp.WaitReady(css(`[data-testid="phone-bob"][data-link="stopped"]`)))
	p.click("alice", "call")
	p.outcome("alice", "Bob cannot be rung")
	p.click("bob", "session")
	p.state("bob", "idle")
	p.click("alice", "call")
	p.state("bob", "ringing")
}

// A name is text, whatever it contains.
func TestPageNames(t *testing.T) {
	t.Parallel()
	p := openPage(t)
	p.add("mallory", `<img src=x onerror="document.title='hacked'"><script>document.title='hacked'</script>`)
	p.add("layla", "\u202eليلى 𐍈😀")
	p.click("layla", "options")
	p.set("layla", "users", "mallory")
	p.do("layla says something", chromedp.SendKeys(phone("layla", "extended-data"), "<b>שלום</b>"))
	p.click("layla", "call")
	p.state("mallory", "ringing")
	p.shot("names")
	p.narrow("names-narrow")
	p.click("mallory", "accept")
	p.state("layla", "in-call")
	if p.is(`document.title.includes('hacked') || document.querySelector('.device b, .device script, .device img') !== null`) {
		t.Error("a name or a payload became markup")
	}
	if p.is(`document.body.textContent.includes('\u202e')`) {
		t.Error("a name turns the text around it")
	}
}

// The ringing is heard once the user has done something, unless it is muted.
func TestPageSound(t *testing.T) {
	p := openPage(t)
	sounding := func(want bool) {
		t.Helper()
		p.do(fmt.Sprintf("sounding: %v", want), chromedp.WaitReady(css(`[data-testid="sound"][data-sounding="%v"]`, want)))
	}
	sounding(false)
	p.click("alice", "call")
	sounding(true)
	p.do("mute", chromedp.Click(css(`[data-testid="sound"]`)))
	sounding(false)
	p.do("unmute", chromedp.Click(css(`[data-testid="sound"]`)))
	sounding(true)
	p.click("bob", "reject")
	sounding(false)
}

// Two windows, each with one phone, ring each other.
func TestPageOfOnePhone(t *testing.T) {
	t.Parallel()
	alice := openPage(t)
	ctx, cancel := chromedp.NewContext(alice.ctx)
	t.Cleanup(cancel)
	zoe := &page{t: t, ctx: ctx, url: alice.url}
	zoe.quiet()
	zoe.do("open the page of one phone", chromedp.Navigate(alice.url+"phone"),
		chromedp.SendKeys(css(`[data-testid="choose-user"]`), "zoe", chromedp.NodeVisible), chromedp.Click(css(`[data-testid="choose"]`)))
	zoe.state("zoe", "idle")
	zoe.do("open it by its address", chromedp.Navigate(alice.url+"phone?"+url.Values{"user": {"zoe"}, "name": {"Zoë"}}.Encode()))
	zoe.state("zoe", "idle")
	zoe.click("zoe", "call")
	alice.state("alice", "ringing")
	alice.click("alice", "accept")
	zoe.state("zoe", "in-call")
	alice.click("alice", "hang-up")
	zoe.outcome("zoe", "Hung up")
	zoe.state("zoe", "idle")
	alice.click("alice", "options")
	alice.set("alice", "users", "zoe")
	alice.click("alice", "call")
	zoe.state("zoe", "ringing")
	zoe.narrow("phone")
}

// Ringing shows in the dark, and without motion for those who want none.
func TestPageDark(t *testing.T) {
	p := openPage(t)
	_, err := chromedp.Run(p.ctx, func(ctx context.Context, target *chromedp.Target) (cdp.Empty, error) {
		return cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: "dark"}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
	})
	if err != nil {
		t.Fatal(err)
	}
	p.click("alice", "call")
	p.state("bob", "ringing")
	p.shot("ringing")
	if p.is(`document.getAnimations().length > 0`) {
		t.Error("something moves though the user asked for less motion")
	}
}
