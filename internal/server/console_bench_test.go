package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/protocol"
)

// What the store of BenchmarkPagesAtAMillion holds.
const (
	benchCalls   = 1_000_000 // of the last 29 days, each with two events and one delivery
	benchLive    = 500       // of them the latest
	benchUsers   = 200_000
	benchApps    = 50     // app 1 has three endpoints and 99 calls in 100, app 2 the others
	benchFailed  = 10_000 // one delivery in so many failed
	benchRare    = 50_000 // one call in so many was rejected
	benchPending = 500    // of the latest deliveries
	benchAudits  = 10_000
	benchJobs    = 200
)

// crowd is a server with a million calls, and a browser at its console.
type crowd struct {
	*Server
	url       string
	http      http.Client
	endpoints []store.EndpointID
	begin     call.Instant
	step      int64 // milliseconds from one call to the next
	calls     [benchCalls]call.ID
	busy      call.ID // one with ten users, whose devices were told much
}

func callerOf(n int) call.UserID { return call.UserID(fmt.Sprintf("user-%06d", n*7919%benchUsers)) }

// calleeOf gives whom the nth call is to: one in ten is to the same user, and
// three are to one who has no others.
func calleeOf(n int) call.UserID {
	switch {
	case n == 17 || n == benchCalls/2 || n == benchCalls-benchCalls/9:
		return "seldom"
	case n%10 == 3:
		return "popular"
	}
	return call.UserID(fmt.Sprintf("user-%06d", (n*104_729+1)%benchUsers))
}

// openCrowd fills a store, or takes the one that an earlier run left in the
// directory that RINGBACK_BENCH_DATA names.
func openCrowd(b *testing.B) *crowd {
	b.Helper()
	cfg := config.Default()
	cfg.DataDir, cfg.AdminToken, cfg.Retention = b.TempDir(), adminToken, 10*365*24*time.Hour
	if dir := os.Getenv("RINGBACK_BENCH_DATA"); dir != "" {
		cfg.DataDir = dir
	}
	for id := range uint32(benchApps) {
		app := config.DefaultApp()
		app.ID, app.Secret, app.Name, app.LoginPolicy = id+1, secret, fmt.Sprint("App ", id+1), "multi"
		endpoints := 1
		if id == 0 {
			endpoints = 3
		}
		for n := range endpoints {
			ep := config.DefaultEndpoint()
			ep.URL = fmt.Sprintf("https://backend-%d.example.com/callbacks/%d", id+1, n)
			app.Callbacks = append(app.Callbacks, ep)
		}
		cfg.Apps = append(cfg.Apps, app)
	}
	s, err := Open(b.Context(), cfg, Options{Logger: slog.New(slog.DiscardHandler), Version: "test"})
	if err != nil {
		b.Fatal(err)
	}
	c := &crowd{Server: s, step: (29 * 24 * time.Hour).Milliseconds() / benchCalls}
	for _, app := range s.registry.Apps() {
		for _, e := range app.Endpoints {
			c.endpoints = append(c.endpoints, e.ID)
			c.must(b, s.store.PauseEndpoint(b.Context(), e.ID, true, nil)) // what is pending stays so
		}
	}
	c.begin = call.At(time.Now()).Add(-benchCalls * c.step)
	marker := filepath.Join(cfg.DataDir, "filled")
	if _, err := os.Stat(marker); err == nil {
		c.remember(b)
	} else {
		c.fill(b)
		c.must(b, os.WriteFile(marker, nil, 0o600))
	}
	c.serve(b)
	c.ring(b)
	return c
}

func (c *crowd) must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// remember reads some IDs of calls of a store that is full already.
func (c *crowd) remember(b *testing.B) {
	b.Helper()
	page, err := c.store.SearchCalls(b.Context(), store.CallQuery{Ended: true, Limit: 500})
	c.must(b, err)
	for n := range c.calls {
		c.calls[n] = page.Calls[n%len(page.Calls)].ID
	}
}

// fill writes everything, by many writers at once, whose commits the store
// makes together.
func (c *crowd) fill(b *testing.B) {
	b.Helper()
	ctx := b.Context()
	parallel(b, benchUsers/1000, func(n int) error {
		var users []store.User
		for i := range 1000 {
			id := call.UserID(fmt.Sprintf("user-%06d", n*1000+i))
			users = append(users, store.User{ID: id, Name: "Name of " + string(id)})
		}
		_, err := c.store.RegisterUsers(ctx, 1, users, c.begin)
		return err
	})
	_, err := c.store.RegisterUsers(ctx, 1, []store.User{{ID: "seldom"}, {ID: "popular"}}, c.begin)
	c.must(b, err)
	parallel(b, benchCalls, func(n int) error { return c.addCall(ctx, n) })
	parallel(b, benchCalls/1000, func(n int) error { return c.deliver(ctx, n*1000, n*1000+1000) })
	parallel(b, benchAudits, func(n int) error {
		return c.store.AddAudit(ctx, &store.Audit{
			At: c.begin.Add(int64(n)), Actor: "console", Remote: "192.0.2.1", Action: "endpoint.pause", Target: fmt.Sprint("endpoint ", n), Details: []byte(`{"n":1}`),
		})
	})
	parallel(b, benchJobs, func(int) error {
		return c.store.PutRedelivery(ctx, &store.Redelivery{State: store.RedeliveryDone, Total: 10, Done: 10, CreatedAt: c.begin, EndedAt: c.begin}, nil)
	})
}

// parallel does n things, many at a time.
func parallel(b *testing.B, n int, do func(int) error) {
	b.Helper()
	var next atomic.Int64
	var group sync.WaitGroup
	var failed atomic.Pointer[error]
	for range 256 {
		group.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || failed.Load() != nil {
					return
				}
				if err := do(i); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
}

// appOf gives the app of the nth call, and the endpoint that is told.
func (c *crowd) appOf(n int) (uint32, store.EndpointID) {
	if n%100 == 99 {
		return 2, c.endpoints[3]
	}
	return 1, c.endpoints[n%3]
}

func (c *crowd) addCall(ctx context.Context, n int) error {
	at := c.begin.Add(int64(n) * c.step)
	app, ep := c.appOf(n)
	caller, callee := callerOf(n), calleeOf(n)
	if caller == callee {
		callee = "popular"
	}
	by := call.Actor{User: caller, Session: "session-of-the-caller"}
	created := call.CallCreated{
		Actor: by, ID: call.NewID(at, rand.Uint32()), App: app, At: at, Invitees: []call.UserID{callee}, Timeout: 90,
		ExtendedData: `{"type":"video","room":"abcdef"}`,
	}
	record := call.Evolve(nil, created)
	c.calls[n] = record.ID
	fields := fmt.Appendf(nil, `{"call_id":"%d","user_ids":[%q],"create_time":%d,"payload":"{}","caller":%q,"timeout":90}`, record.ID, callee, at/1000, caller)
	events := []*store.Event{{
		App: app, Call: record.ID, Name: "call_create", At: at, Fields: fields, Version: record.Version, Actor: by,
		Deliveries: []store.Subscription{{Endpoint: ep, Sequence: 1}},
	}}
	if n < benchCalls-benchLive {
		answer, name := call.Actor{User: callee, Session: "session-of-the-callee"}, "call_accept"
		if n%benchRare == 7 {
			record, name = call.Evolve(record, call.CallRejected{Actor: answer, At: at.Add(3000)}), "call_reject"
		} else {
			record = call.Evolve(record, call.CallAccepted{Actor: answer, At: at.Add(3000)})
		}
		events = append(events, &store.Event{
			App: app, Call: record.ID, Name: name, At: at.Add(3000), Fields: fmt.Appendf(nil, `{"call_id":"%d","user_id":%q,"extend_data":""}`, record.ID, callee),
			Version: record.Version, Actor: answer,
		})
	}
	return c.store.CommitCall(ctx, &store.CallCommit{
		CallRecord: store.CallRecord{Call: record, CommitID: uint64(n + 1), Sequences: map[store.EndpointID]int{ep: 1}},
		Events:     events, NewUsers: []call.UserID{caller, callee},
	})
}

// deliver makes the only delivery of each of some calls delivered, or failed.
func (c *crowd) deliver(ctx context.Context, from, to int) error {
	var attempts []store.Attempt
	for n := from; n < min(to, benchCalls-benchPending); n++ {
		_, ep := c.appOf(n)
		a := store.Attempt{
			Delivery: store.DeliveryKey{Endpoint: ep, Call: c.calls[n], Sequence: 1}, Number: 1, Started: c.begin.Add(int64(n) * c.step), Duration: 12, Status: 200,
			Response: `{"code":0}`, Header: "Content-Type: application/json\r\nContent-Length: 10\r\n", State: store.Delivered,
		}
		if n%benchFailed == 11 {
			a.State, a.Status, a.Error = store.Failed, 500, "the endpoint answered 500"
		}
		attempts = append(attempts, a)
	}
	return c.store.RecordAttempts(ctx, attempts)
}

// serve lets the server listen, and signs in.
func (c *crowd) serve(b *testing.B) {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	c.must(b, err)
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- c.Serve(ctx, ln) }()
	b.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	c.url = "http://" + ln.Addr().String()
	jar, err := cookiejar.New(nil)
	c.must(b, err)
	c.http = http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.http.PostForm(c.url+"/console/sign-in", url.Values{"token": {adminToken}})
	c.must(b, err)
	resp.Body.Close()
}

// ring makes one call with ten users of two devices each.
func (c *crowd) ring(b *testing.B) {
	b.Helper()
	var users []string
	for i := range 9 {
		user := fmt.Sprintf("guest-%d", i)
		users = append(users, user)
		for range 2 {
			device, err := login(b, c.url, 1, user, secret)
			c.must(b, err)
			b.Cleanup(func() { device.Close() })
		}
	}
	host, err := login(b, c.url, 1, "host", secret)
	c.must(b, err)
	b.Cleanup(func() { host.Close() })
	made, err := host.Invite(b.Context(), protocol.Invite{UserIDs: users, Mode: 1, Timeout: new(600), ExtendedData: strings.Repeat("x", 2048)})
	c.must(b, err)
	c.busy, err = call.ParseID(made.CallID)
	c.must(b, err)
}

// look requests a page, and reads it.
func (c *crowd) look(b *testing.B, path string) string {
	resp, err := c.http.Get(c.url + "/console/" + path)
	c.must(b, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	c.must(b, err)
	if resp.StatusCode != http.StatusOK {
		b.Fatalf("%s: %s\n%s", path, resp.Status, body)
	}
	return string(body)
}

// BenchmarkPagesAtAMillion requests every page of the console while the store
// holds a million calls and a million deliveries, and reports how long an
// answer takes. A few hundred requests, as with -benchtime 300x, tell the
// percentiles. Filling the store takes minutes; RINGBACK_BENCH_DATA names a
// directory that keeps it for the next run.
func BenchmarkPagesAtAMillion(b *testing.B) {
	c := openCrowd(b)
	fixed := func(path string) func() string { return func() string { return path } }
	anyUser := func() string { return string(callerOf(rand.IntN(benchUsers))) }
	first := func(list, prefix string) string { // the ID behind the first link of a list
		_, text, found := strings.Cut(c.look(b, list), prefix)
		id, _, _ := strings.Cut(text, `"`)
		if !found {
			b.Fatalf("%s has no link to %s", list, prefix)
		}
		return id
	}
	deliveries := "/console/callbacks/dlv_"
	for _, page := range []struct {
		name string
		path func() string
	}{
		{"overview", fixed("")},
		{"overview/day", fixed("?window=24h")},
		{"calls", fixed("calls")},
		{"calls/live", fixed("calls?state=live")},
		{"calls/ended", fixed("calls?state=ended")},
		{"calls/app", fixed("calls?app=1")},
		{"calls/app-rare", fixed("calls?app=2")},
		{"calls/app-empty", fixed("calls?app=50")},
		{"calls/user", func() string { return "calls?app=1&user=" + anyUser() }},
		{"calls/user-popular", fixed("calls?app=1&user=popular")},
		{"calls/user-rare", fixed("calls?app=1&user=seldom")},
		{"calls/user-popular-rare-outcome", fixed("calls?app=1&user=popular&outcome=rejected")},
		{"calls/user-none", fixed("calls?app=1&user=nobody")},
		{"calls/outcome-often", fixed("calls?outcome=accepted")},
		{"calls/outcome-rare", fixed("calls?outcome=rejected")},
		{"calls/outcome-rare-of-app", fixed("calls?app=2&outcome=rejected")},
		{"calls/outcome-never", fixed("calls?outcome=max_duration")},
		{"calls/time", func() string {
			from := c.begin.Add(rand.Int64N(benchCalls) * c.step)
			return fmt.Sprintf("calls?from=%d&until=%d", from, from.Add(3_600_000))
		}},
		{"calls/time-rare-outcome", fixed("calls?from=168h&until=160h&outcome=rejected")},
		{"call", func() string { return "calls/" + c.calls[rand.IntN(benchCalls)].String() }},
		{"call/ten-users", fixed("calls/" + c.busy.String())},
		{"callbacks", fixed("callbacks")},
		{"callbacks/failed", fixed("callbacks?status=failed")},
		{"callbacks/pending", fixed("callbacks?status=pending")},
		{"callbacks/delivered", fixed("callbacks?status=delivered")},
		{"callbacks/app-rare", fixed("callbacks?app=2")},
		{"callbacks/app-empty", fixed("callbacks?app=50")},
		{"callbacks/failed-of-app-rare", fixed("callbacks?app=2&status=failed")},
		{"callbacks/endpoint", fixed(fmt.Sprint("callbacks?endpoint=", c.endpoints[1]))},
		{"callbacks/endpoint-failed", fixed(fmt.Sprint("callbacks?status=failed&endpoint=", c.endpoints[1]))},
		{"callbacks/event-often", fixed("callbacks?event=call_create")},
		{"callbacks/event-never", fixed("callbacks?event=call_invite")},
		{"callbacks/event-never-delivered", fixed("callbacks?event=call_invite&status=delivered")},
		{"callbacks/call", func() string { return "callbacks?call=" + c.calls[rand.IntN(benchCalls)].String() }},
		{"callbacks/time", fixed("callbacks?from=24h&until=1s")},
		{"delivery", fixed("callbacks/dlv_" + first("callbacks?status=delivered", deliveries))},
		{"delivery/failed", fixed("callbacks/dlv_" + first("callbacks?status=failed", deliveries))},
		{"endpoints", fixed("endpoints")},
		{"endpoint", fixed(fmt.Sprint("endpoints/", c.endpoints[0]))},
		{"redeliveries", fixed("redeliveries")},
		{"redelivery", fixed("redeliveries/1")},
		{"users", fixed("users?app=1")},
		{"users/prefix", fixed("users?app=1&prefix=user-1999")},
		{"user", func() string { return "users/show?app=1&user=" + anyUser() }},
		{"user/popular", fixed("users/show?app=1&user=popular")},
		{"apps", fixed("apps")},
		{"app", fixed("apps/1")},
		{"app/code", fixed("apps/1/code")},
		{"audit", fixed("audit")},
		{"try", fixed("try?app=1")},
		{"search", fixed("go?q=user-00")},
	} {
		b.Run(page.name, func(b *testing.B) {
			var times []time.Duration
			size := 0
			for b.Loop() {
				path := page.path()
				begin := time.Now()
				size += len(c.look(b, path))
				times = append(times, time.Since(begin))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(size)/float64(len(times))/1024, "KiB")
		})
	}
}
