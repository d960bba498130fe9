package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
)

// newListenCommand shows callbacks as they come, and forwards them.
func newListenCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "listen",
		Short: "show callbacks as they come, and forward them to your machine",
		Long: "Shows the callbacks of a server as they come, and with --forward posts each to a\n" +
			"URL: header by header and byte by byte what an endpoint would get, signed with\n" +
			"the secret of the app's endpoint. So a backend on your machine gets the callbacks\n" +
			"of a server that cannot reach it, without being configured there.\n\n" +
			"Those of one call are forwarded one after another. What fails here is shown and\n" +
			"not repeated; 'ringback deliveries' is about the endpoints of the server. When\n" +
			"the server goes away, listen waits for it and takes up where it was: nothing is\n" +
			"missed and nothing comes twice. Ctrl-C ends it.",
		Example: "  ringback listen\n" +
			"  ringback listen --forward http://localhost:3000/callbacks\n" +
			"  ringback listen --app 1000 --event call_create,call_accept --headers\n" +
			"  ringback listen --server https://ring.example.com --forward localhost:3000",
		Args: flagsOnly,
	}
	r := remoteFlags(e, cmd)
	l := &listening{e: e}
	flags := cmd.Flags()
	flags.StringVar(&l.target, "forward", "", "post each callback to this `URL`")
	app := appFlag(cmd, 0)
	events := choicesFlag(cmd, "event", "this `EVENT` only; several with commas, or the flag again; all for all (default: the documented call_* events)",
		append(eventNames(), "all")...)
	call := flags.String("call", "", "this call only, by its `ID`")
	endpoint := flags.Int64("endpoint", 0, "sign and format as for this endpoint, by its `ID` (default: the app's first)")
	after := flags.String("after", "", "begin after this `CURSOR` of 'ringback events' (default: now)")
	flags.BoolVar(&l.headers, "headers", false, "show the headers and bodies too")
	flags.BoolVar(&l.json, "json", false, "print one JSON document a line")
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, _ []string) error {
		if *endpoint < 0 {
			return mistake(cmd, "--endpoint is %d; it must be the ID of an endpoint", *endpoint)
		}
		if l.target != "" {
			f, err := newForwarder(l.target, l.answered, func() {
				l.note("%d callbacks wait for %s to answer. More are shown as it does; none is lost.", forwardQueue, l.target)
			})
			if err != nil {
				return mistake(cmd, "--forward is %q; %v", l.target, err)
			}
			l.forwarder = f
		}
		q := adminclient.ListenQuery{App: *app, Event: *events, Call: *call, Endpoint: *endpoint, After: *after}
		return l.run(cmd.Context(), c, q)
	})
	return cmd
}

// listening is a listen command at work.
type listening struct {
	e             *env
	target        string
	headers, json bool
	forwarder     *forwarder // nil: nothing is forwarded

	mu  sync.Mutex // one line at a time
	p   *printer
	err error // of writing
}

// run listens until Ctrl-C.
func (l *listening) run(ctx context.Context, c *adminclient.Client, q adminclient.ListenQuery) error {
	l.p = newPrinter(l.e)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	apps, err := adminclient.Collect(c.Apps(ctx))
	if err != nil {
		if interrupted(ctx, err) {
			return nil
		}
		return err
	}
	err = c.Listen(ctx, q, adminclient.Listener{
		Ready:    func(string) { l.greet(c.Server(), apps, q) },
		Lost:     func(err error) { l.lost(c.Server(), err) },
		Callback: func(cb *adminapi.Callback, cursor string) error { return l.arrived(ctx, cb, cursor) },
	})
	stopped := interrupted(ctx, err)
	if l.forwarder != nil {
		cancel()
		l.forwarder.wait()
	}
	if stopped {
		return nil
	}
	return err
}

// note writes to stderr what is no callback.
func (l *listening) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.e.stderr, format+"\n", args...)
}

// greet says what is listened to.
func (l *listening) greet(server string, apps []adminapi.App, q adminclient.ListenQuery) {
	what := "all apps"
	if q.App != 0 {
		what = fmt.Sprintf("app %d", q.App)
	} else if len(apps) == 1 {
		what = "app " + appTitle(&apps[0])
	}
	l.note("Connected to %s, listening to %s.", server, what)
	l.note("%s", signedWith(apps, q))
	if l.forwarder != nil {
		l.note("Forwarding to %s.", l.forwarder.url)
	}
	l.note("Ctrl-C ends it.\n")
}

// signedWith says with which secret the receiver verifies.
func signedWith(apps []adminapi.App, q adminclient.ListenQuery) string {
	whose := "each app's first endpoint"
	if i := slices.IndexFunc(apps, func(a adminapi.App) bool { return len(apps) == 1 || a.ID == q.App }); i >= 0 {
		app := &apps[i]
		whose = fmt.Sprintf("app %d", app.ID)
		if len(app.Endpoints) > 0 {
			whose = fmt.Sprintf("endpoint %d of app %d", app.Endpoints[0].ID, app.ID)
		}
	}
	if q.Endpoint != 0 {
		whose = fmt.Sprintf("endpoint %d", q.Endpoint)
	}
	return "They are signed with the callback secret of " + whose + ":\nset it as the secret in your backend, such as " + callbackSecretVariable + "=…"
}

// lost says that the server is gone, or back.
func (l *listening) lost(server string, err error) {
	if err == nil {
		l.note("%s", l.p.styled(green, "Connected again; nothing was missed."))
		return
	}
	l.note("%s", l.p.styled(yellow, fmt.Sprintf("The connection to %s is lost (%v). Waiting for it …", server, err)))
}

// listened is a callback as --json shows it.
type listened struct {
	Type   string `json:"type"` // callback
	Cursor string `json:"cursor"`
	*adminapi.Callback
}

// forwardedReport is what came of forwarding as --json shows it.
type forwardedReport struct {
	Type    string  `json:"type"` // forwarded
	EventID string  `json:"event_id"`
	Event   string  `json:"event"`
	CallID  string  `json:"call_id"`
	URL     string  `json:"url"`
	Status  int     `json:"status"`
	Error   string  `json:"error"`
	TookMS  float64 `json:"took_ms"`
}

// arrived shows a callback and hands it to the forwarder.
func (l *listening) arrived(ctx context.Context, cb *adminapi.Callback, cursor string) error {
	if l.json {
		l.writeJSON(listened{"callback", cursor, cb})
	} else {
		l.show(cb)
	}
	if err := l.failed(); err != nil {
		return err
	}
	if l.forwarder == nil {
		return nil
	}
	return l.forwarder.add(ctx, cb)
}

// show prints a callback.
func (l *listening) show(cb *adminapi.Callback) {
	var b strings.Builder
	mark, about := "-->", cb.EventID
	if cb.CallID != "" {
		about = "call " + cb.CallID
	}
	about += summary(cb.Body)
	if cb.Test {
		about += "  (test)"
	}
	fmt.Fprintf(&b, "%s  %s %s %s\n", l.p.styled(faint, time.UnixMilli(cb.AtMS).Format("15:04:05.000")), mark,
		l.p.styled(bold, pad(clean(cb.Event), 13)), clean(about))
	if l.headers {
		for _, h := range cb.Headers {
			if strings.EqualFold(h.Name, "Authorization") {
				h.Value = "…"
			}
			fmt.Fprintf(&b, "    %s %s\n", l.p.styled(faint, clean(h.Name)+":"), clean(h.Value))
		}
		fmt.Fprintf(&b, "    %s\n", clean(cb.Body))
	}
	l.write(b.String())
}

// summary tells from the body of a callback whom it is about.
func summary(body string) string {
	var f struct {
		UserIDs []string `json:"user_ids"`
		UserID  string   `json:"user_id"`
		Caller  string   `json:"caller"`
		Inviter string   `json:"inviter"`
		Reason  string   `json:"reason"`
	}
	if json.Unmarshal([]byte(body), &f) != nil { // of format form
		return ""
	}
	var parts []string
	users := strings.Join(f.UserIDs, ", ")
	switch from := f.Caller + f.Inviter; {
	case from != "":
		parts = append(parts, from+" → "+users)
	case users != "":
		parts = append(parts, users)
	case f.UserID != "":
		parts = append(parts, f.UserID)
	}
	if f.Reason != "" {
		parts = append(parts, f.Reason)
	}
	if len(parts) == 0 {
		return ""
	}
	return "  " + strings.Join(parts, "  ")
}

// answered shows what came of forwarding.
func (l *listening) answered(f *forwarded) {
	ms := float64(f.Took.Microseconds()) / 1000
	if l.json {
		report := forwardedReport{
			Type: "forwarded", EventID: f.Callback.EventID, Event: f.Callback.Event, CallID: f.Callback.CallID,
			URL: l.forwarder.url, Status: f.Status, TookMS: ms,
		}
		if f.Err != nil {
			report.Error = f.Err.Error()
		}
		l.writeJSON(report)
		return
	}
	s, text := green, fmt.Sprintf("%d %s", f.Status, http.StatusText(f.Status))
	if !f.ok() {
		s = red
	}
	if f.Err != nil {
		text = f.Err.Error()
	}
	about := ""
	if f.Callback.CallID != "" {
		about = "call " + f.Callback.CallID + "  "
	}
	l.write(fmt.Sprintf("%s  %s %s %s%s  %s\n", l.p.styled(faint, time.Now().Format("15:04:05.000")), l.p.styled(s, "<--"),
		l.p.styled(plain, pad(clean(f.Callback.Event), 13)), clean(about), l.p.styled(s, clean(text)), l.p.styled(faint, fmt.Sprintf("%.1f ms", ms))))
}

func (l *listening) writeJSON(v any) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		l.mu.Lock()
		l.err = err
		l.mu.Unlock()
		return
	}
	l.write(b.String())
}

// write writes lines together.
func (l *listening) write(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.p.printf("%s", text); err != nil && l.err == nil {
		l.err = err
	}
}

// failed gives the error of writing.
func (l *listening) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
