//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/ringback/ringback/internal/need"
)

// browser opens a headless Chromium. Without one the test fails where
// RINGBACK_TEST_REQUIRE names the browser, and is skipped elsewhere.
func browser(t *testing.T) context.Context {
	t.Helper()
	return browserFor(t, patience)
}

// browserFor opens one for a test that takes longer, or needs more options.
func browserFor(t *testing.T, limit time.Duration, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		need.Missing(t, "browser", "there is no Chromium: run scripts/setup")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true),
		chromedp.WindowSize(1280, 1000))
	options = append(options, more...)
	for attempt := 1; ; attempt++ {
		ctx, err := startBrowser(t, options)
		if err == nil {
			ctx, cancel := context.WithTimeout(ctx, limit)
			t.Cleanup(cancel)
			return ctx
		}
		if attempt == browserAttempts {
			t.Fatalf("Chromium did not start in %d attempts, the last one: %v", browserAttempts, err)
		}
		t.Logf("Chromium did not start, once more: %v", err)
	}
}

// A browser that does not come up says nothing of Ringback: on a machine with
// all its cores at work, or just after its installation, one now and then does not.
const (
	browserAttempts = 3
	browserStart    = 40 * time.Second
)

// startBrowser has a browser running when it returns. Started by the first
// step of a test instead, one that fails is started again by the next step,
// in the same chromedp context, which panics when both have ended.
func startBrowser(t *testing.T, options []chromedp.ExecAllocatorOption) (context.Context, error) {
	t.Helper()
	allocator, cancelAllocator := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...) // the cleanups still look at the page
	ctx, cancel := chromedp.NewContext(allocator)
	late := time.AfterFunc(browserStart, cancelAllocator)
	err := chromedp.Do(ctx)
	if !late.Stop() && err == nil {
		err = fmt.Errorf("it took over %v", browserStart)
	}
	if err != nil {
		cancelAllocator() // without waiting for a process that may not even exist
		return nil, err
	}
	t.Cleanup(cancelAllocator)
	t.Cleanup(cancel)
	return ctx, nil
}

// page is the demo page of a running dev server.
type page struct {
	t   *testing.T
	ctx context.Context
	url string
}

func openPage(t *testing.T) *page {
	t.Helper()
	dev := start(t, "dev", "--listen", "127.0.0.1:0")
	p := &page{t: t, ctx: browser(t), url: dev.await(`Open +(\S+)`)}
	p.quiet()
	p.do("open the page", chromedp.Navigate(p.url))
	for _, who := range []string{"alice", "bob"} {
		p.state(who, "idle")
	}
	return p
}

// quiet makes the test fail if anything on the page throws, is not found or
// breaks the content policy.
func (p *page) quiet() {
	const end = "the end of the test"
	messages := chromedp.Console(p.ctx)
	p.t.Cleanup(func() {
		if _, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool](`console.log("`+end+`") ?? true`)); err != nil {
			p.t.Error(err)
			return
		}
		for m, err := range messages {
			if err != nil {
				p.t.Error(err)
			}
			if err != nil || m.Text == end {
				return
			}
			if m.Type == chromedp.ConsoleException || m.Type == chromedp.ConsoleError {
				p.t.Errorf("the console says: %s %s", m.Type, m.Text)
			}
		}
	})
}

func (p *page) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience/2) // the other half is for the picture
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.shot("failed")
		p.t.Fatalf("%s: %v", what, err)
	}
}

// shot keeps a picture where RINGBACK_TEST_SHOTS says, if it does.
func (p *page) shot(name string) {
	dir := os.Getenv("RINGBACK_TEST_SHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		p.t.Log(err)
		return
	}
	file := filepath.Join(dir, fmt.Sprintf("%s-%s.png", strings.ReplaceAll(p.t.Name(), "/", "-"), name))
	if err := os.WriteFile(file, png, 0o600); err != nil {
		p.t.Log(err)
	}
}

func phone(who, part string) chromedp.CSS {
	return css(`[data-testid="phone-%s"] [data-testid="%s"]`, who, part)
}

func (p *page) click(who, part string) {
	p.t.Helper()
	p.do(who+" clicks "+part, chromedp.Click(phone(who, part), chromedp.NodeVisible))
}

func css(format string, args ...any) chromedp.CSS { return chromedp.CSS(fmt.Sprintf(format, args...)) }

// state waits for a phone to be in a state.
func (p *page) state(who, state string) {
	p.t.Helper()
	p.do(fmt.Sprintf("%s becomes %s", who, state),
		chromedp.WaitReady(css(`[data-testid="phone-%s"][data-state="%s"]`, who, state)))
}

// inbox waits for a callback with good signatures.
func (p *page) inbox(event string) {
	p.t.Helper()
	p.do(event+" arrives", chromedp.WaitVisible(
		css(`[data-testid="inbox-row"][data-event="%s"][data-signature="verified"]`, event)))
}

// outcome waits for what a phone says of how it went.
func (p *page) outcome(who, want string) {
	p.t.Helper()
	p.state(who, "outcome")
	text, err := chromedp.Run(p.ctx, chromedp.Text(phone(who, "outcome")))
	if err != nil {
		p.t.Fatal(err)
	}
	if !strings.Contains(text, want) {
		p.t.Errorf("%s reads %q, want %q", who, text, want)
	}
}

func TestPageAccept(t *testing.T) {
	p := openPage(t)
	p.shot("idle")
	p.click("alice", "call")
	p.state("alice", "calling")
	p.state("bob", "ringing")
	p.shot("ringing")
	p.click("bob", "accept")
	p.state("alice", "in-call")
	p.state("bob", "in-call")
	p.inbox("call_create")
	p.inbox("call_accept")
	p.shot("accepted")
}

func TestPageReject(t *testing.T) {
	p := openPage(t)
	p.click("bob", "call")
	p.state("alice", "ringing")
	p.click("alice", "reject")
	p.outcome("bob", "Alice rejected")
	p.inbox("call_reject")
}

func TestPageCancel(t *testing.T) {
	p := openPage(t)
	p.click("alice", "call")
	p.state("bob", "ringing")
	p.click("alice", "cancel")
	p.outcome("bob", "Cancelled by Alice")
	p.inbox("call_cancel")
}

// A receiver that fails gets the callback again.
func TestPageRetry(t *testing.T) {
	t.Parallel()
	p := openPage(t)
	p.do("let the receiver fail", chromedp.Click(css(`[data-testid="receiver-fail"]`)))
	p.click("alice", "call")
	p.state("bob", "ringing")
	p.do("the second attempt arrives", chromedp.WaitVisible(
		css(`[data-testid="inbox-row"][data-event="call_create"][data-attempt="2"]`)))
	p.do("let the receiver answer", chromedp.Click(css(`[data-testid="receiver-ok"]`)))
	p.do("the third attempt is answered", chromedp.WaitVisible(
		css(`[data-testid="inbox-row"][data-event="call_create"][data-attempt="3"][data-answer="204"]`)))
}

// The page is usable in a narrow window: nothing is wider than it.
func TestPageNarrow(t *testing.T) {
	p := openPage(t)
	p.narrow("narrow")
}

// narrow checks that nothing is wider than a narrow window.
func (p *page) narrow(name string) {
	p.t.Helper()
	p.do("look at it narrow", chromedp.EmulateViewport(360, 780))
	wide := p.is(`document.documentElement.scrollWidth > window.innerWidth`)
	p.shot(name)
	if wide {
		p.t.Error("the page is wider than a narrow window")
	}
}

// is evaluates a condition on the page.
func (p *page) is(condition string) bool {
	p.t.Helper()
	yes, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool](condition))
	if err != nil {
		p.t.Fatalf("%s: %v", condition, err)
	}
	return yes
}
