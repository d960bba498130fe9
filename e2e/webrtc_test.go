//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// How a browser is given to the tests of WebRTC. Addresses are shown as they
// are, since not every machine has the multicast that hides them, and that of
// the machine itself counts, since not every machine has another one.
var (
	rtcNetwork = []chromedp.ExecAllocatorOption{
		chromedp.Flag("disable-features", "Translate,BlinkGenPropertyTrees,WebRtcHideLocalIpsWithMdns"),
		chromedp.Flag("allow-loopback-in-peer-connection", true),
	}
	rtcCamera = []chromedp.ExecAllocatorOption{
		chromedp.Flag("use-fake-device-for-media-stream", true), chromedp.Flag("use-fake-ui-for-media-stream", true),
	}
)

// watch lets a test see the connections that a page makes and the tracks that
// they send, apart from what the page says of them. %s is more of their
// configuration.
const watch = `window.connections = [];
	window.tracks = [];
	window.RTCPeerConnection = class extends RTCPeerConnection {
		constructor(configuration) { super({...configuration, %s}); connections.push(this); }
		addTrack(track, ...streams) { tracks.push(track); return super.addTrack(track, ...streams); }
		addTransceiver(track, options) { tracks.push(track); return super.addTransceiver(track, options); }
	};`

// talker is a window of the WebRTC example.
type talker struct {
	*page
	root   string // of the server
	script string // that it runs first
}

// openTalkers opens the windows of alice and bob in one browser. configuration
// is what their connections are given beside their own, in JavaScript.
func openTalkers(t *testing.T, configuration string, options ...chromedp.ExecAllocatorOption) (alice, bob talker) {
	t.Helper()
	dev := start(t, "dev", "--listen", "127.0.0.1:0")
	w := talker{&page{t: t}, dev.await(`Open +(\S+)`), fmt.Sprintf(watch, configuration)}
	alice = w.in(browserFor(t, patience, append(options, rtcNetwork...)...), "alice")
	return alice, alice.another("bob")
}

// another opens one more window in the browser.
func (w talker) another(user string) talker {
	w.t.Helper()
	ctx, cancel := chromedp.NewContext(w.ctx)
	w.t.Cleanup(cancel)
	return w.in(ctx, user)
}

func (w talker) in(ctx context.Context, user string) talker {
	w.t.Helper()
	w.page = &page{t: w.t, ctx: ctx, url: w.root + "examples/webrtc/?" + url.Values{"user": {user}}.Encode()}
	w.quiet()
	_, err := chromedp.Run(ctx, func(ctx context.Context, target *chromedp.Target) (cdppage.AddScriptToEvaluateOnNewDocumentResult, error) {
		return cdp.Call(ctx, target, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: w.script})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.do("open the window of "+user, chromedp.Navigate(w.url))
	w.becomes("idle")
	return w
}

// becomes waits for a state of the call.
func (w talker) becomes(state string) {
	w.t.Helper()
	w.do("it becomes "+state, chromedp.WaitReady(css(`body[data-state="%s"]`, state)))
}

func (w talker) press(part string) {
	w.t.Helper()
	w.do("press "+part, chromedp.Click(css(`[data-testid="%s"]`, part), chromedp.NodeVisible))
}

// says waits for a text.
func (w talker) says(part, text string) {
	w.t.Helper()
	w.wait(fmt.Sprintf(`document.querySelector('[data-testid="%s"]').textContent.includes(%q)`, part, text))
}

// received is what a browser counts of the last connection.
type received struct {
	State  string
	Audio  int // bytes
	Frames int // of the picture, decoded
	Shown  int // of them, by the element of the page
}

func (w talker) received() received {
	w.t.Helper()
	text, err := chromedp.Run(w.ctx, chromedp.Evaluate[string](`(async () => {
		const connection = connections.at(-1);
		const reports = [...(await connection.getStats()).values()].filter(({type}) => type === 'inbound-rtp');
		return JSON.stringify({
			State: connection.connectionState,
			Audio: reports.find(({kind}) => kind === 'audio')?.bytesReceived ?? 0,
			Frames: reports.find(({kind}) => kind === 'video')?.framesDecoded ?? 0,
			Shown: document.querySelector('[data-testid="remote"]').getVideoPlaybackQuality().totalVideoFrames,
		});
	})()`, chromedp.EvalAwaitPromise))
	if err != nil {
		w.t.Fatal(err)
	}
	var r received
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// hears waits until voice and picture of the other side arrive, and go on
// arriving.
func (w talker) hears() {
	w.t.Helper()
	w.becomes("connected")
	first := w.received()
	for last := first; ; last = w.received() {
		if last.State == "connected" && last.Audio > first.Audio+500 && last.Frames > first.Frames+3 && last.Shown > first.Shown+3 {
			return
		}
		if w.ctx.Err() != nil {
			w.shot("failed")
			w.t.Fatalf("nothing more arrives: %+v, then %+v", first, last)
		}
		w.do("wait for the next frame", chromedp.WaitReady(chromedp.CSS("body")))
	}
}

// quits waits for the end of the call, with devices and connection let go.
func (w talker) quits(why string) {
	w.t.Helper()
	w.becomes("idle")
	w.says("title", why)
	w.wait(`connections.at(-1).connectionState === 'closed'`)
	w.wait(`tracks.every((track) => track.readyState === 'ended')`)
}

// Two browsers see and hear each other after an accepted invitation, in both
// directions, one call after the other.
func TestWebRTCCall(t *testing.T) {
	t.Parallel()
	alice, bob := openTalkers(t, "", rtcCamera...)
	alice.shot("idle")
	alice.press("ring")
	bob.becomes("ringing")
	alice.says("detail", "It rings there.")
	if bob.is(`connections.length > 0 || tracks.length > 0`) {
		t.Error("the one who is called connects, or uses the camera, before having answered")
	}
	alice.shot("calling")
	bob.shot("ringing")
	bob.press("accept")
	for _, w := range []talker{alice, bob} {
		w.hears()
		if w.is(`document.querySelector('[data-testid="note"]').checkVisibility()`) {
			t.Error("it complains about devices that are there")
		}
		w.says("signalled", "an offer of")
		w.shot("connected")
	}
	bob.press("hang-up")
	bob.quits("You hung up.")
	alice.quits("bob hung up.")

	bob.press("ring")
	alice.becomes("ringing")
	alice.press("accept")
	alice.hears()
	bob.hears()
	alice.press("mute")
	if !alice.is(`tracks.at(-1).kind + tracks.filter(({enabled}) => !enabled).map(({kind}) => kind) === 'videoaudio'`) {
		t.Error("the microphone is not muted, or more than it is")
	}
	bob.press("hang-up")
	bob.quits("You hung up.")
	alice.quits("bob hung up.")
}

// Without a camera there is a test picture, and a word about it.
func TestWebRTCWithoutCamera(t *testing.T) {
	t.Parallel()
	alice, bob := openTalkers(t, "")
	alice.press("ring")
	alice.says("note", "Sent instead: a test picture and a tone.")
	bob.becomes("ringing")
	bob.press("source-test")
	bob.press("accept")
	alice.hears()
	bob.hears()
	alice.shot("connected")
	if bob.is(`document.querySelector('[data-testid="note"]').checkVisibility()`) {
		t.Error("it complains about devices that it was not asked to use")
	}
	alice.press("hang-up")
	bob.quits("alice hung up.")
}

// Calls that come to nothing.
func TestWebRTCNoCall(t *testing.T) {
	t.Parallel()
	alice, bob := openTalkers(t, "", rtcCamera...)
	alice.press("ring")
	bob.becomes("ringing")
	bob.press("reject")
	alice.quits("bob rejected the call.")
	bob.becomes("idle")

	alice.press("ring")
	bob.becomes("ringing")
	alice.press("hang-up")
	alice.quits("You cancelled the call.")
	bob.becomes("idle")
	bob.says("title", "alice cancelled the call.")

	alice.do("ring nobody", chromedp.SetValue(css(`[data-testid="peer"]`), "nobody"))
	alice.press("ring")
	alice.quits("(6000281)")

	// A phone of the demo knows nothing of WebRTC.
	ctx, cancel := chromedp.NewContext(alice.ctx)
	t.Cleanup(cancel)
	carol := &page{t: t, ctx: ctx}
	carol.quiet()
	carol.do("open a phone", chromedp.Navigate(alice.root+"phone?user=carol"))
	carol.state("carol", "idle")
	alice.do("ring it", chromedp.SetValue(css(`[data-testid="peer"]`), "carol"))
	alice.press("ring")
	carol.state("carol", "ringing")
	carol.click("carol", "accept")
	alice.quits("carol accepted on a device that sent no WebRTC answer.")
	carol.outcome("carol", "Alice ended the call")
}

// Both devices of a user ring, and the one that answers has the call. Who has
// a call is busy for others.
func TestWebRTCDevices(t *testing.T) {
	t.Parallel()
	alice, bob := openTalkers(t, "", rtcCamera...)
	second := bob.another("bob")
	alice.press("ring")
	bob.becomes("ringing")
	second.becomes("ringing")
	second.press("accept")
	bob.becomes("idle")
	bob.says("title", "You answered on another device.")
	alice.hears()
	second.hears()

	zoe := bob.another("zoe")
	zoe.do("ring alice", chromedp.SetValue(css(`[data-testid="peer"]`), "alice"))
	zoe.press("ring")
	zoe.quits("alice is busy.")
	alice.hears()
	alice.press("hang-up")
	second.quits("alice hung up.")
}

// A page that is reloaded takes its call along, and rings again.
func TestWebRTCReload(t *testing.T) {
	t.Parallel()
	alice, bob := openTalkers(t, "", rtcCamera...)
	alice.press("ring")
	bob.becomes("ringing")
	bob.do("reload while it rings", chromedp.Reload())
	bob.becomes("ringing")
	bob.press("accept")
	alice.hears()
	bob.hears()
	alice.do("reload while they talk", chromedp.Reload())
	bob.quits("alice hung up.")
	alice.becomes("idle")
	alice.press("ring")
	bob.becomes("ringing")
}

// Browsers that do not reach each other say what that takes.
func TestWebRTCUnreachable(t *testing.T) {
	t.Parallel()
	alice, bob := openTalkers(t, "iceTransportPolicy: 'relay'", rtcCamera...) // and there is no relay
	alice.press("ring")
	bob.becomes("ringing")
	bob.press("accept")
	for _, w := range []talker{alice, bob} {
		w.becomes("failed")
		w.says("detail", "needs a TURN server")
		w.shot("failed-to-connect")
		w.narrow("failed-to-connect-narrow")
	}
	alice.press("hang-up")
	alice.quits("You hung up.")
	bob.quits("alice hung up.")
}

// What goes into extended data comes out of it, or is refused in words.
func TestWebRTCSignal(t *testing.T) {
	alice, _ := openTalkers(t, "")
	text, err := chromedp.Run(alice.ctx, chromedp.Evaluate[string](`(async () => {
		const {LIMIT, pack, unpack} = await import('./signal.js');
		const candidate = (type) => 'a=candidate:' + crypto.getRandomValues(new Uint32Array(4)).join(' 1 ' + type + ' ') + ' typ host\r\n';
		const many = (n) => 'v=0\r\ns=ü ☎\r\n' + Array.from({length: n}, () => candidate('udp')).join('');
		const told = await pack({sdp: many(3) + candidate('tcp')});
		const sdp = many(3);
		const {type, sdp: back} = await unpack('answer', await pack({sdp}));
		const failed = [];
		if (type !== 'answer' || back !== sdp) failed.push('there and back: ' + back);
		if ((await unpack('offer', told)).sdp.includes('tcp')) failed.push('a TCP candidate is sent');
		const error = await pack({sdp: many(200)}).catch((error) => error.message);
		if (!/has 2048\. This machine has very many/.test(error)) failed.push('too much: ' + error);
		for (const other of ['', 'video', '{}', 'null', '{"sdp":7}', '{"sdp":"%"}', '{"sdp":"AAAA"}']) {
			if (await unpack('offer', other) !== null) failed.push('something else: ' + other);
		}
		return failed.join('\n');
	})()`, chromedp.EvalAwaitPromise))
	if err != nil || text != "" {
		t.Error(err, text)
	}
}

// Wide and narrow, light and dark.
func TestWebRTCLooks(t *testing.T) {
	t.Parallel()
	checker := axe(t)
	alice, bob := openTalkers(t, "", rtcCamera...)
	look := func(w talker, what string) {
		t.Helper()
		for _, scheme := range []string{"light", "dark"} {
			_, err := chromedp.Run(w.ctx, func(ctx context.Context, target *chromedp.Target) (cdp.Empty, error) {
				return cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
					{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
				}})
			})
			if err != nil {
				t.Fatal(err)
			}
			w.narrow(what + "-" + scheme + "-narrow")
			w.do("look at it wide", chromedp.EmulateViewport(1280, 900))
			w.shot(what + "-" + scheme)
			(&operator{t: t, ctx: w.ctx}).check(what+", "+scheme, checker)
		}
	}
	look(alice, "idle")
	alice.press("ring")
	bob.becomes("ringing")
	look(bob, "ringing")
	look(alice, "calling")
	bob.press("accept")
	alice.hears()
	look(alice, "connected")
	bob.do("open the page as nobody", chromedp.Navigate(bob.root+"examples/webrtc/"),
		chromedp.WaitVisible(chromedp.CSS("#choose")))
	look(bob, "choose")
	bob.do("as somebody", chromedp.SendKeys(chromedp.CSS("#choose-user"), "zoe"), chromedp.Click(chromedp.CSS("#choose .primary")))
	bob.becomes("idle")
	bob.says("user", "zoe")
}
