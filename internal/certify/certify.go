// Package certify tests a receiver of callbacks against the contract: it sends
// it what a server would send, and what a forger would, and says of each what
// came back, whether that is right, and what to do if not.
//
// What it sends carries the header Ringback-Test: true, and is about calls and
// users that do not exist.
package certify

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/ringback/ringback/protocol"
)

// Defaults of [Config].
const (
	DefaultTimeout = 5 * time.Second // as of an endpoint
	DefaultLimit   = 2 * time.Minute
)

// slowAfter is the time after which an answer is slow.
const slowAfter = time.Second

// Events are all that can be sent: the documented ones, then those that an
// endpoint has to name.
var Events = append(slices.Clone(protocol.DocumentedCallbacks),
	protocol.CallbackUserAction, protocol.CallbackReceived, protocol.CallbackJoin, protocol.CallbackQuit, protocol.CallbackEnd)

// Config says what is tested.
type Config struct {
	URL     string        // of the receiver: http or https
	Secret  string        // with which callbacks to it are signed
	AppID   uint32        // 0: 1
	Form    bool          // send forms, not JSON
	Events  []string      // those that it is subscribed to, of Events; none: all
	Timeout time.Duration // of one request, to the end of its answer; 0: DefaultTimeout
	Limit   time.Duration // of everything; what is then left is skipped; 0: DefaultLimit
	Version string        // of the tool, for User-Agent

	// Done gets each check as soon as it is made; nil: nobody does.
	Done func(*Check)
}

// ConfigError is a mistake in a Config.
type ConfigError struct{ message string }

// Error implements error.
func (e *ConfigError) Error() string { return e.message }

// Result is what came of a check.
type Result string

// Results.
const (
	Pass Result = "pass"
	Warn Result = "warn" // allowed, but unwise
	Fail Result = "fail"
	Skip Result = "skip" // could not be judged; Problem says why
)

// Check is one thing that was tested.
type Check struct {
	Name      string     `json:"name"`  // stable, such as "event/call_create"
	Title     string     `json:"title"` // what a good receiver does
	Result    Result     `json:"result"`
	Exchanges []Exchange `json:"exchanges"`
	Problem   string     `json:"problem,omitempty"` // what is wrong; "" when it passed
	Why       string     `json:"why,omitempty"`     // it matters
	Fix       string     `json:"fix,omitempty"`     // what to do
}

// judge sets a result that is not Pass.
func (c *Check) judge(result Result, problem, why, fix string) {
	c.Result, c.Problem, c.Why, c.Fix = result, problem, why, fix
}

// Report is what came of all checks.
type Report struct {
	URL     string   `json:"url"` // without a password
	AppID   uint32   `json:"app_id"`
	Format  string   `json:"format"` // json or form
	Checks  []*Check `json:"checks"`
	Passed  int      `json:"passed"`
	Warned  int      `json:"warned"`
	Failed  int      `json:"failed"`
	Skipped int      `json:"skipped"`
	OnTime  bool     `json:"on_time"` // nothing was skipped because Limit was over
}

// Err says in what the receiver fell short: checks failed, or time ran out.
func (r *Report) Err() error {
	switch {
	case r.Failed == 1:
		return fmt.Errorf("certify: 1 check failed")
	case r.Failed > 1:
		return fmt.Errorf("certify: %d checks failed", r.Failed)
	case !r.OnTime:
		return fmt.Errorf("certify: time ran out before %d checks", r.Skipped)
	}
	return nil
}

// Run tests a receiver. It gives a *ConfigError for a mistake in cfg, and the
// error of ctx when that ends first.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	transport := newTransport()
	defer transport.CloseIdleConnections()
	return runWith(ctx, cfg, transport)
}

func runWith(ctx context.Context, cfg Config, transport http.RoundTripper) (*Report, error) {
	target, err := url.Parse(cfg.URL)
	switch {
	case err != nil || target.Scheme != "http" && target.Scheme != "https" || target.Hostname() == "":
		return nil, &ConfigError{"the receiver needs a URL such as https://backend.example.com/callbacks"} // the given one may hold a password
	case cfg.Secret == "":
		return nil, &ConfigError{"the secret with which callbacks are signed is missing"}
	case cfg.Timeout < 0 || cfg.Limit < 0:
		return nil, &ConfigError{"a time to wait cannot be negative"}
	}
	for _, name := range cfg.Events {
		if !slices.Contains(Events, name) {
			return nil, &ConfigError{fmt.Sprintf("%q is not an event", name)}
		}
	}
	cfg.AppID = cmp.Or(cfg.AppID, 1)
	cfg.Timeout, cfg.Limit = cmp.Or(cfg.Timeout, DefaultTimeout), cmp.Or(cfg.Limit, DefaultLimit)
	if len(cfg.Events) == 0 {
		cfg.Events = Events
	}
	limited, cancel := context.WithTimeout(ctx, cfg.Limit)
	defer cancel()
	format := "json"
	if cfg.Form {
		format = "form"
	}
	r := &run{
		cfg: cfg, ctx: limited, target: target, transport: transport,
		report: &Report{URL: target.Redacted(), AppID: cfg.AppID, Format: format, OnTime: true},
	}
	r.everything()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return r.report, nil
}

// run is one test of a receiver.
type run struct {
	cfg       Config
	ctx       context.Context // ends with the limit
	target    *url.URL
	transport http.RoundTripper
	report    *Report

	stopped string        // why no other check can be judged; "": they can
	refused string        // why it proves nothing that a forgery is refused; "": it does
	slowest time.Duration // answer to a request that is as it should be
	slow    string        // what that was
}

// everything makes all checks, those first on which others depend.
func (r *run) everything() {
	r.reach()
	r.events()
	r.signatures()
	r.deliveries()
	r.payloads()
	r.future()
	r.http()
}

// check makes one check: do judges it, or leaves it as passed. It is skipped
// when the receiver cannot be tested or the time is over.
func (r *run) check(name, title string, do func(c *Check)) {
	c := &Check{Name: name, Title: title, Result: Pass, Exchanges: []Exchange{}}
	switch {
	case r.stopped != "":
		c.judge(Skip, r.stopped, "", "")
	case r.ctx.Err() != nil:
		r.outOfTime(c)
	default:
		do(c)
		if r.ctx.Err() != nil && c.Result != Pass { // cut off: it says nothing about the receiver
			r.outOfTime(c)
		}
	}
	switch c.Result {
	case Pass:
		r.report.Passed++
	case Warn:
		r.report.Warned++
	case Fail:
		r.report.Failed++
	case Skip:
		r.report.Skipped++
	}
	r.report.Checks = append(r.report.Checks, c)
	if r.cfg.Done != nil {
		r.cfg.Done(c)
	}
}

func (r *run) outOfTime(c *Check) {
	r.report.OnTime = false
	c.judge(Skip, fmt.Sprintf("the time for the whole test, %v, was over", r.cfg.Limit), "", "allow more time, or find out why the receiver is slow")
}

// sends reports whether the receiver gets an event.
func (r *run) sends(event string) bool { return slices.Contains(r.cfg.Events, event) }
