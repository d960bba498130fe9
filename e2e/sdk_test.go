//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/ringback/ringback/client"
	"github.com/ringback/ringback/internal/need"
	"github.com/ringback/ringback/protocol"
)

// The tests of the web SDK in Node.js, against the binary.
func TestSDKInNode(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		need.Missing(t, "node", "there is no Node.js: run scripts/setup")
	}
	if _, err := os.Stat("../sdk/web/node_modules"); err != nil {
		need.Missing(t, "node", "the tools of the web SDK are not installed: run make sdk")
	}
	cmd := exec.CommandContext(t.Context(), "node", "scripts/test.mjs", "integration")
	cmd.Dir = "../sdk/web"
	cmd.Env = append(os.Environ(), "RINGBACK_TEST_BINARY="+binary)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// sdkPage is a page in a browser that runs the built web SDK as one user.
type sdkPage struct {
	t     *testing.T
	ctx   context.Context
	calls int
}

// openSDKPage opens the page and logs it in at a server.
func openSDKPage(t *testing.T, server, user string) *sdkPage {
	t.Helper()
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			http.ServeFile(w, r, "testdata/sdk.html")
		case "/ringback.global.js":
			http.ServeFile(w, r, "../sdk/web/dist/ringback.global.js")
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(files.Close)
	p := &sdkPage{t: t, ctx: browser(t)}
	query := url.Values{"server": {server}, "user": {user}, "token": {token(t, user)}}
	p.do("open the page", chromedp.Navigate(files.URL+"/?"+query.Encode()))
	p.event("loggedIn", "")
	return p
}

func (p *sdkPage) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.t.Fatalf("%s: %v; the page shows %q", what, err, p.events())
	}
}

// event waits until the page was told of an event of a call.
func (p *sdkPage) event(name, callID string) {
	p.t.Helper()
	p.do(name+" arrives", chromedp.WaitReady(css(`li[data-event="%s"][data-call="%s"]`, name, callID)))
}

// events are all events with their calls, in order.
func (p *sdkPage) events() []string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), 5*time.Second)
	defer cancel()
	list, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](`[...document.querySelectorAll('li')].map((li) => li.dataset.event + ' ' + li.dataset.call)`))
	if err != nil {
		p.t.Log(err)
	}
	return list
}

// count says how often an event of a call was told.
func (p *sdkPage) count(name, callID string) int {
	n := 0
	for _, ev := range p.events() {
		if ev == name+" "+callID {
			n++
		}
	}
	return n
}

// call runs a method of the ZIM face and waits until it has succeeded.
func (p *sdkPage) call(expression string) {
	p.t.Helper()
	p.calls++
	n := strconv.Itoa(p.calls)
	script := fmt.Sprintf(`zim.%s.then(() => tell('succeeded', {callID: %q}), (error) => tell('failed', error)); 0`, expression, n)
	if _, err := chromedp.Run(p.ctx, chromedp.Evaluate[int](script)); err != nil {
		p.t.Fatal(err)
	}
	p.event("succeeded", n)
}

// lifecycle freezes the tab, or makes it active again.
func (p *sdkPage) lifecycle(state cdppage.SetWebLifecycleStateState) {
	p.t.Helper()
	_, err := chromedp.Run(p.ctx, func(ctx context.Context, target *chromedp.Target) (cdp.Empty, error) {
		return cdp.Call(ctx, target, cdppage.SetWebLifecycleState, cdppage.SetWebLifecycleStateParams{State: state})
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// cutter is a network that can be cut.
type cutter struct {
	net.Listener
	target string

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]bool
}

func newCutter(t *testing.T, target string) *cutter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: ln, target: target, conns: make(map[net.Conn]bool)}
	go c.run()
	t.Cleanup(func() {
		ln.Close()
		c.cut()
	})
	return c
}

func (c *cutter) run() {
	for {
		near, err := c.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", c.target)
		c.mu.Lock()
		if err != nil || c.down {
			near.Close()
			if far != nil {
				far.Close()
			}
			c.mu.Unlock()
			continue
		}
		c.conns[near], c.conns[far] = true, true
		c.mu.Unlock()
		go c.pipe(near, far)
		go c.pipe(far, near)
	}
}

func (c *cutter) pipe(from, to net.Conn) {
	io.Copy(to, from)
	from.Close()
	to.Close()
	c.mu.Lock()
	delete(c.conns, from)
	c.mu.Unlock()
}

// cut breaks every connection, and those to come until mend.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = true
	for conn := range c.conns {
		conn.Close()
	}
}

func (c *cutter) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = false
}

// sdkServer is a server whose configuration outlives it.
type sdkServer struct {
	t               *testing.T
	config, address string
	*process
}

func newSDKServer(t *testing.T) *sdkServer {
	t.Helper()
	s := &sdkServer{t: t, address: freeAddress(t)}
	s.config = configure(t, s.address, filepath.Join(t.TempDir(), "data"), newReceiver(t).URL)
	s.process = serve(t, s.config, s.address)
	return s
}

func (s *sdkServer) restart() {
	s.t.Helper()
	s.kill()
	s.process = serve(s.t, s.config, s.address)
}

func (s *sdkServer) url() string { return "http://" + s.address }

// dial logs in a caller by the Go client.
func (s *sdkServer) dial(user string) *client.Client {
	s.t.Helper()
	c, err := client.Dial(s.t.Context(), s.url(), client.Options{AppID: appID, UserID: user, Token: token(s.t, user)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// ring calls the user of a page and waits until the page shows it.
func (s *sdkServer) ring(c *client.Client, p *sdkPage, user string) string {
	s.t.Helper()
	reply, err := c.Invite(s.t.Context(), protocol.Invite{UserIDs: []string{user}})
	if err != nil {
		s.t.Fatal(err)
	}
	if p != nil {
		p.event("callInvitationReceived", reply.CallID)
	}
	return reply.CallID
}

func (s *sdkServer) cancel(c *client.Client, callID string) {
	s.t.Helper()
	if _, err := c.Cancel(s.t.Context(), protocol.Cancel{CallID: callID}); err != nil {
		s.t.Fatal(err)
	}
}

// The page rings and is rung, and a call outlives a restart of the server.
func TestSDKInBrowserRestart(t *testing.T) {
	t.Parallel()
	s := newSDKServer(t)
	p, alice := openSDKPage(t, s.url(), "bob"), s.dial("alice")
	first := s.ring(alice, p, "bob")
	p.call(fmt.Sprintf(`callAccept(%q, {extendedData: ''})`, first))

	second := s.ring(alice, p, "bob")
	s.restart()
	p.do("the page comes back", chromedp.WaitReady(css(`[data-event="Connected"] ~ [data-event="Connected"]`)))
	p.call(fmt.Sprintf(`callReject(%q, {extendedData: 'later'})`, second))
	if n := p.count("callInvitationReceived", second); n != 1 {
		t.Errorf("the page rang %d times for one call", n)
	}
	p.call(`callInvite(['alice'], {timeout: 30, mode: 0, extendedData: ''})`)
	p.do("the invitation is told", chromedp.WaitReady(css(`li[data-event="callInvitationCreated"]`)))
}

// What ends while the network is cut is told after it; what was never shown
// is not.
func TestSDKInBrowserCut(t *testing.T) {
	s := newSDKServer(t)
	network := newCutter(t, s.address)
	p, alice := openSDKPage(t, "http://"+network.Addr().String(), "bob"), s.dial("alice")
	shown := s.ring(alice, p, "bob")
	network.cut()
	p.event("Reconnecting", "")
	s.cancel(alice, shown)
	missed := s.ring(alice, nil, "bob")
	s.cancel(alice, missed)
	network.mend()
	p.event("callInvitationCancelled", shown)
	still := s.ring(alice, p, "bob")
	for _, ev := range p.events() {
		if strings.HasSuffix(ev, missed) {
			t.Errorf("the page was told %s, of an invitation that was over", ev)
		}
	}
	p.call(fmt.Sprintf(`callAccept(%q, {extendedData: ''})`, still))
}

// A tab that is frozen in the middle of a ring learns on waking how it ended.
// An invitation that came and went meanwhile does not ring.
func TestSDKInBrowserFrozen(t *testing.T) {
	s := newSDKServer(t)
	p, alice := openSDKPage(t, s.url(), "bob"), s.dial("alice")
	shown := s.ring(alice, p, "bob")
	p.lifecycle(cdppage.SetWebLifecycleStateStateFrozen)
	p.event("freeze", "")
	s.cancel(alice, shown)
	missed := s.ring(alice, nil, "bob")
	s.cancel(alice, missed)
	still := s.ring(alice, nil, "bob")
	if n := p.count("callInvitationCancelled", shown); n != 0 {
		t.Fatalf("the tab was not frozen: it shows %q", p.events())
	}
	p.lifecycle(cdppage.SetWebLifecycleStateStateActive)
	p.event("callInvitationCancelled", shown)
	p.event("callInvitationReceived", still)
	for _, ev := range p.events() {
		if strings.HasPrefix(ev, "callInvitationReceived") && strings.HasSuffix(ev, missed) {
			t.Errorf("the page rang for an invitation that was over; it shows %q", p.events())
		}
	}
	p.call(fmt.Sprintf(`callAccept(%q, {extendedData: ''})`, still))
}
