package certify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/protocol"
)

// findings are the checks that a receiver did not pass, and the others counted.
func findings(t *testing.T, report *Report) map[string]Result {
	t.Helper()
	list := make(map[string]Result)
	counts := make(map[Result]int)
	for _, c := range report.Checks {
		counts[c.Result]++
		if c.Result != Pass {
			list[c.Name] = c.Result
		}
		if passed := c.Result == Pass; c.Title == "" || passed != (c.Problem == "") || passed && c.Why+c.Fix != "" ||
			(c.Result == Warn || c.Result == Fail) && (c.Why == "" || c.Fix == "") {
			t.Errorf("a check does not say what it should: %+v", c)
		}
	}
	if want := map[Result]int{Pass: report.Passed, Warn: report.Warned, Fail: report.Failed, Skip: report.Skipped}; !maps.EqualFunc(want, counts,
		func(a, b int) bool { return a == b }) && len(counts) == 4 {
		t.Errorf("counted %v, want %v", want, counts)
	}
	return list
}

// test certifies a receiver over a real connection.
func test(t *testing.T, f faults, cfg Config) *Report {
	t.Helper()
	server := httptest.NewServer(newReceiver(t, f))
	defer server.Close()
	cfg.URL, cfg.Secret = cmp.Or(cfg.URL, server.URL), secret
	report, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestGoodReceiver(t *testing.T) {
	for _, f := range []faults{{}, {strictOrder: true}} {
		for _, form := range []bool{false, true} {
			var told []*Check
			report := test(t, f, Config{Form: form, AppID: 7, Done: func(c *Check) { told = append(told, c) }})
			if got := findings(t, report); len(got) > 0 || report.Err() != nil || !slices.Equal(told, report.Checks) {
				t.Errorf("form %v: %v, %v", form, got, report.Err())
			}
			for _, c := range report.Checks {
				if c.Name != "http/time" && len(c.Exchanges) == 0 {
					t.Errorf("%s sends nothing", c.Name)
				}
			}
			text, err := json.Marshal(report)
			if err != nil || strings.Contains(string(text), secret) {
				t.Errorf("%v, or the report shows the secret", err)
			}
		}
	}
}

// faulty are receivers with one fault each, and all checks that find it.
var faulty = map[string]struct {
	faults faults
	want   map[string]Result
}{
	"body not verified":   {faults{skipBody: true}, map[string]Result{"signature/body": Skip}},
	"header not verified": {faults{skipHeader: true}, map[string]Result{"signature/header": Warn, "signature/tampered": Warn}},
	"nothing verified": {faults{skipHeader: true, skipBody: true}, map[string]Result{
		"signature/body": Fail, "signature/header": Fail, "signature/tampered": Fail, "signature/none": Fail,
	}},
	"verified if signed":    {faults{lenient: true}, map[string]Result{"signature/none": Fail}},
	"any age":               {faults{anyAge: true}, map[string]Result{"signature/stale": Warn}},
	"first signature only":  {faults{onlyFirst: true}, map[string]Result{"signature/rotation": Fail}},
	"no duplicates":         {faults{noDuplicates: true}, map[string]Result{"delivery/duplicate": Fail}},
	"refused for good":      {faults{forgetful: true}, map[string]Result{"delivery/reordered": Fail}},
	"no late call_create":   {faults{noLateCreate: true}, map[string]Result{"delivery/reordered": Fail}},
	"age of the event":      {faults{ageOfEvent: true}, map[string]Result{"delivery/late": Fail}},
	"known events only":     {faults{knownEvents: true}, map[string]Result{"future/event": Warn}},
	"known fields only":     {faults{knownFields: true}, map[string]Result{"future/field": Warn}},
	"any method":            {faults{anyMethod: true}, map[string]Result{"http/method": Warn}},
	"connections closed":    {faults{closes: true}, map[string]Result{"http/keep-alive": Warn}},
	"crashes instead":       {faults{crashes: true}, map[string]Result{"signature/body": Warn, "signature/header": Warn, "signature/none": Warn, "signature/tampered": Warn, "signature/stale": Warn}},
	"text with percents":    {badText("%zz"), map[string]Result{"payload/url": Fail}},
	"text with quotes":      {badText("'single'"), map[string]Result{"payload/quotes": Fail}},
	"text from the right":   {badText("שלום"), map[string]Result{"payload/rtl": Fail}},
	"text that is JSON":     {badText(`{"type"`), map[string]Result{"payload/json": Fail}},
	"text with NUL":         {badText("\x00"), map[string]Result{"payload/nul": Fail}},
	"text of four bytes":    {faults{bad: func(f fields) bool { return strings.ContainsFunc(f.text(), func(r rune) bool { return r > 0xFFFF }) }}, map[string]Result{"payload/four-bytes": Fail}},
	"long text":             {faults{bad: func(f fields) bool { return len(f.text()) > 2047 }}, map[string]Result{"payload/long": Fail}},
	"user IDs with signs":   {faults{bad: func(f fields) bool { return strings.Contains(strings.Join(f.UserIDs, ""), "&") }}, map[string]Result{"payload/user-ids": Fail}},
	"many users":            {faults{bad: func(f fields) bool { return len(f.UserIDs) > 8 }}, map[string]Result{"payload/invitees": Fail}},
	"call_accept refused":   {faults{refuses: protocol.CallbackAccept, refusesStatus: 422}, refusedText(protocol.CallbackAccept, "delivery/reordered")},
	"call_reject refused":   {faults{refuses: protocol.CallbackReject}, refusedText(protocol.CallbackReject)},
	"call_cancel refused":   {faults{refuses: protocol.CallbackCancel}, refusedText(protocol.CallbackCancel)},
	"call_timeout refused":  {faults{refuses: protocol.CallbackTimeout}, map[string]Result{"event/call_timeout": Fail}},
	"call_invite refused":   {faults{refuses: protocol.CallbackInvite}, map[string]Result{"event/call_invite": Fail}},
	"call_received refused": {faults{refuses: protocol.CallbackReceived}, map[string]Result{"event/call_received": Fail}},
	"call_join refused":     {faults{refuses: protocol.CallbackJoin}, map[string]Result{"event/call_join": Fail}},
	"call_quit refused":     {faults{refuses: protocol.CallbackQuit}, map[string]Result{"event/call_quit": Fail}},
	"call_end refused":      {faults{refuses: protocol.CallbackEnd}, map[string]Result{"event/call_end": Fail}},
	"user_action refused":   {faults{refuses: protocol.CallbackUserAction}, map[string]Result{"event/user_action": Fail}},
}

// badText is a receiver that cannot take extended data with a text in it.
func badText(text string) faults {
	return faults{bad: func(f fields) bool { return strings.Contains(f.text(), text) }}
}

// refusedText is what is found when an event with extended data is refused.
func refusedText(event string, others ...string) map[string]Result {
	list := map[string]Result{"event/" + event: Fail}
	for _, text := range texts {
		list["payload/"+text.name] = Fail
	}
	for _, name := range others {
		list[name] = Fail
	}
	return list
}

func TestFaultyReceivers(t *testing.T) {
	for name, tt := range faulty {
		for _, form := range []bool{false, true} {
			report := test(t, tt.faults, Config{Form: form})
			if got := findings(t, report); !maps.Equal(got, tt.want) {
				t.Errorf("%s, form %v: %v, want %v", name, form, got, tt.want)
			}
			failed := slices.Contains(slices.Collect(maps.Values(tt.want)), Fail)
			if err := report.Err(); (err != nil) != failed {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// Every check can find something: those that no fault above is for are
// reachability, redirects, time, and what depends on the secret.
func TestEveryCheckCanFail(t *testing.T) {
	found := map[string]bool{"reach": true, "redirect": true, "http/time": true, "signature/valid": true, "event/call_create": true}
	for _, tt := range faulty {
		for name := range tt.want {
			found[name] = true
		}
	}
	for _, c := range test(t, faults{}, Config{}).Checks {
		if !found[c.Name] {
			t.Errorf("nothing is known that %s would find", c.Name)
		}
	}
}

// With another secret nothing is accepted, and so no refusal proves anything.
func TestWrongSecret(t *testing.T) {
	report := test(t, faults{secret: "another"}, Config{})
	got := findings(t, report)
	for _, name := range []string{"event/call_create", "event/user_action", "signature/valid", "signature/rotation", "payload/nul"} {
		if got[name] != Fail {
			t.Errorf("%s: %q, want a failure", name, got[name])
		}
	}
	for _, name := range []string{"signature/body", "signature/header", "signature/none", "signature/tampered", "signature/stale"} {
		if got[name] != Skip {
			t.Errorf("%s: %q, want a skip", name, got[name])
		}
	}
}

func TestRedirect(t *testing.T) {
	report := test(t, faults{redirect: true}, Config{})
	got := findings(t, report)
	if got["redirect"] != Fail || report.Failed != 1 || report.Passed != 1 || report.Skipped != len(report.Checks)-2 ||
		!strings.Contains(report.Checks[1].Problem, "308 Permanent Redirect to /elsewhere") {
		t.Errorf("%v, %+v", got, report.Checks[1])
	}
}

func TestNobodyThere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	report := test(t, faults{}, Config{URL: "http://user:hunter2@" + ln.Addr().String()})
	if got := findings(t, report); got["reach"] != Fail || report.Failed != 1 || report.Skipped != len(report.Checks)-1 {
		t.Errorf("%v", got)
	}
	if strings.Contains(report.URL, "hunter2") {
		t.Errorf("the report shows the password: %s", report.URL)
	}
}

func TestBrokenConnection(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer server.Close()
	report := test(t, faults{}, Config{URL: server.URL})
	if c := report.Checks[0]; c.Result != Fail || c.Problem != "the connection was closed without an answer" {
		t.Errorf("%+v", c)
	}
}

// Only the events to which the receiver is subscribed are sent.
func TestEvents(t *testing.T) {
	for _, events := range [][]string{{protocol.CallbackUserAction}, {protocol.CallbackTimeout, protocol.CallbackEnd}, {protocol.CallbackAccept}} {
		f := faults{bad: func(f fields) bool { return !slices.Contains(events, f.Event) && f.Event != "call_something_new" }}
		report := test(t, f, Config{Events: events})
		for name, result := range findings(t, report) {
			if result != Skip || !strings.HasPrefix(name, "payload/") && name != "delivery/reordered" {
				t.Errorf("%v: %s: %s", events, name, result)
			}
		}
		if err := report.Err(); err != nil {
			t.Errorf("%v: %v", events, err)
		}
	}
}

// handlerTransport gives requests to a handler, within the bubble of a test.
type handlerTransport struct{ http.Handler }

func (h handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(w, r)
	}()
	select {
	case <-done:
		return w.Result(), nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func TestSlowReceivers(t *testing.T) {
	slow := func(event string, by time.Duration) func(fields) time.Duration {
		return func(f fields) time.Duration {
			if f.Event == event {
				return by
			}
			return 0
		}
	}
	tests := []struct {
		delay func(fields) time.Duration
		limit time.Duration
		check func(report *Report, got map[string]Result) bool
	}{
		{slow(protocol.CallbackQuit, time.Second), 0, func(_ *Report, got map[string]Result) bool { return got["http/time"] == "" }},
		{slow(protocol.CallbackQuit, 1100*time.Millisecond), 0, func(r *Report, got map[string]Result) bool {
			return got["http/time"] == Warn && got["event/call_quit"] == "" && r.Err() == nil
		}},
		{slow(protocol.CallbackQuit, 6*time.Second), 0, func(_ *Report, got map[string]Result) bool {
			return got["http/time"] == Fail && got["event/call_quit"] == Fail
		}},
		{slow(protocol.CallbackCreate, 6*time.Second), 0, func(r *Report, got map[string]Result) bool {
			return got["reach"] == Fail && r.Skipped == len(r.Checks)-1
		}},
		{slow(protocol.CallbackCreate, 4*time.Second), 10 * time.Second, func(r *Report, got map[string]Result) bool {
			return got["reach"] == "" && got["signature/valid"] == Skip && got["http/time"] == Skip && r.Failed == 0 && !r.OnTime && r.Err() != nil
		}},
	}
	for i, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			cfg := Config{URL: "http://receiver.test", Secret: secret, Limit: tt.limit}
			report, err := runWith(t.Context(), cfg, handlerTransport{newReceiver(t, faults{delay: tt.delay})})
			if err != nil {
				t.Fatal(err)
			}
			// There is no connection that could be used again.
			if got := findings(t, report); !tt.check(report, got) {
				t.Errorf("%d: %v, %v", i, got, report.Err())
			}
			time.Sleep(time.Minute) // the receiver ends
		})
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Run(ctx, Config{URL: "http://127.0.0.1:1", Secret: secret})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestConfigErrors(t *testing.T) {
	for want, cfg := range map[string]Config{
		"needs a URL":         {URL: "ftp://hunter2@host", Secret: secret},
		"such as https://":    {URL: "http://hunter2:%zz@host", Secret: secret},
		"secret":              {URL: "http://host"},
		"cannot be negative":  {URL: "http://host", Secret: secret, Timeout: -1},
		`"call_x" is not an `: {URL: "http://host", Secret: secret, Events: []string{"call_x"}},
	} {
		_, err := Run(t.Context(), cfg)
		if _, ok := errors.AsType[*ConfigError](err); !ok || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// What is sent is within the bounds of what a server sends.
func TestPayloads(t *testing.T) {
	seen := make(map[rune]bool)
	for _, user := range everyCharacter() {
		if !call.UserID(user).Valid() {
			t.Errorf("%q is not a user ID", user)
		}
		for _, r := range user {
			seen[r] = true
		}
	}
	for b := range byte(0x80) {
		if call.UserID(b).Valid() != seen[rune(b)] {
			t.Errorf("%q: sent %v", b, seen[rune(b)])
		}
	}
	for _, text := range texts {
		if !utf8.ValidString(text.text) || len(text.text) > call.MaxExtendedData {
			t.Errorf("%s has %d bytes", text.name, len(text.text))
		}
	}
}
