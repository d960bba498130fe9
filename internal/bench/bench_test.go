package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// quick is a short run against a fake server.
func quick(fault string) Config {
	return Config{
		Command: fakeCommand(fault), Connections: 10, Rate: 200, Duration: 300 * time.Millisecond,
		settle: time.Millisecond,
	}
}

func mustRun(t *testing.T, cfg Config) *Report {
	t.Helper()
	cfg.Dir = t.TempDir()
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(cfg.Dir); len(left) != 0 {
		t.Errorf("%d files were left behind", len(left))
	}
	return r
}

func TestRunAtARate(t *testing.T) {
	cfg := quick("")
	cfg.Warmup = 100 * time.Millisecond
	var lines bytes.Buffer
	cfg.Progress = &lines
	r := mustRun(t, cfg)
	if err := r.Err(); err != nil {
		t.Errorf("%v: %v", err, r.Errors.ByKind)
	}
	if r.Calls != 60 || r.Connections != 10 || r.ServerExit != exitedWell {
		t.Errorf("got %+v", r)
	}
	// The calls of the warm-up are checked, too, but not measured.
	if c := r.Callbacks; c.Expected != 160 || c.Received != 160 || c.Lost+c.Duplicates+c.OutOfOrder+c.Unexpected != 0 {
		t.Errorf("callbacks %+v", c)
	}
	names := make(map[string]Latency)
	for _, l := range r.Latency {
		names[l.Name] = l
		if l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.Max {
			t.Errorf("%s: quantiles %+v", l.Name, l)
		}
	}
	for name, count := range map[string]int64{
		"invite → ring": 60, "invite → reply": 60, "accept → reply": 60, "started late by": 60,
		"invite → callback": 60, "accept → callback": 60, "transition → callback": 120,
	} {
		if names[name].Count != count {
			t.Errorf("%s was recorded %d times, want %d", name, names[name].Count, count)
		}
	}
	if names["invite → ring"].P50 <= 0 {
		t.Error("a ring took no time")
	}
	if r.Server == nil || r.Server.RSS == 0 {
		t.Errorf("server %+v", r.Server)
	}
	var out bytes.Buffer
	if err := r.Print(&out); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"invite → ring", "160 expected, 160 received, 0 lost", "ended with 0", "none"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in the report:\n%s", want, out.String())
		}
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

func TestRunAsFastAsPossible(t *testing.T) {
	cfg := quick("")
	cfg.Rate, cfg.Concurrency = 0, 8
	r := mustRun(t, cfg)
	if err := r.Err(); err != nil {
		t.Errorf("%v: %v", err, r.Errors.ByKind)
	}
	if r.Calls == 0 || r.CallsPerSecond == 0 || r.Callbacks.Received != 2*int(r.Calls) {
		t.Errorf("got %+v, callbacks %+v", r, r.Callbacks)
	}
}

func TestRunIdle(t *testing.T) {
	cfg := quick("")
	cfg.Idle, cfg.NoCallbacks = true, true
	r := mustRun(t, cfg)
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	if r.Calls != 0 || r.Callbacks != nil || r.Server.RSSConnected == 0 {
		t.Errorf("got %+v, server %+v", r, r.Server)
	}
}

func TestRunWithAHangingEndpoint(t *testing.T) {
	cfg := quick("")
	cfg.Hang = true
	r := mustRun(t, cfg)
	if err := r.Err(); err != nil {
		t.Errorf("%v: %v", err, r.Errors.ByKind)
	}
	if r.Callbacks.Hanging == 0 || r.Callbacks.Expected != 120 {
		t.Errorf("callbacks %+v", r.Callbacks)
	}
}

func TestRunFindsFaults(t *testing.T) {
	for fault, check := range map[string]func(*Report) bool{
		"lose":    func(r *Report) bool { return r.Callbacks.Lost == 6 },
		"twice":   func(r *Report) bool { return r.Callbacks.Duplicates > 0 },
		"reorder": func(r *Report) bool { return r.Callbacks.OutOfOrder == 6 },
		"refuse":  func(r *Report) bool { return r.Errors.ByKind["invite: the disk is full (6000008)"] == 6 },
		"sign":    func(r *Report) bool { return r.Errors.ByKind["callback with a wrong webhook-signature"] == 120 },
		"exit":    func(r *Report) bool { return r.ServerExit == "exit status 4\nit hurts" },
	} {
		t.Run(fault, func(t *testing.T) {
			cfg := quick(fault)
			if fault == "lose" || fault == "sign" {
				cfg.Drain = time.Second // they do not come
			}
			r := mustRun(t, cfg)
			if !check(r) {
				t.Errorf("got %+v, callbacks %+v", r, r.Callbacks)
			}
			if bad := r.Err() != nil; bad != (fault != "twice") { // at least once is the promise
				t.Errorf("Err is %v", r.Err())
			}
		})
	}
}

func TestRunServerThatDoesNotStart(t *testing.T) {
	cfg := quick("start")
	cfg.Dir = t.TempDir()
	_, err := Run(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "the disk is on fire") {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(cfg.Dir); len(left) != 0 {
		t.Errorf("%d files were left behind", len(left))
	}
}

func TestRunInterrupted(t *testing.T) {
	cfg := quick("")
	cfg.Duration = time.Hour
	cfg.Dir = t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Progress = writerFunc(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("calls")) {
			cancel()
		}
		return len(p), nil
	})
	r, err := Run(ctx, cfg)
	if err != nil || r.Calls == 0 || r.ServerExit != exitedWell {
		t.Errorf("got %+v, %v", r, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestConfigMistakes(t *testing.T) {
	for want, cfg := range map[string]Config{
		"another machine":   {URLs: []string{"http://example.com"}, AppID: 1, Secret: "s"},
		"an app":            {URLs: []string{"http://localhost"}},
		"own affair":        {URLs: []string{"http://localhost"}, AppID: 1, Secret: "s", Hang: true},
		"at least 2":        {Command: []string{"x"}, Connections: 1},
		"negative":          {Command: []string{"x"}, Rate: -1},
		"go with the URL":   {Command: []string{"x"}, PIDs: []int{1}},
		"neither the URL":   {},
		"invalid URL escap": {URLs: []string{"http://%zz"}, AppID: 1, Secret: "s"},
	} {
		if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want a word of %s", err, want)
		}
	}
	for _, url := range []string{"http://localhost:1", "ws://127.0.0.9:1", "http://[::1]:1"} {
		if _, err := (Config{URLs: []string{url}, AppID: 1, Secret: "s"}).withDefaults(); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// BenchmarkCall reports what one call costs the bench itself, beside a server
// that does next to nothing.
func BenchmarkCall(b *testing.B) {
	for b.Loop() {
		r, err := Run(b.Context(), Config{
			Command: fakeCommand(""), Dir: b.TempDir(), Connections: 200, Warmup: time.Second, Duration: 5 * time.Second,
		})
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Err(); err != nil {
			b.Fatal(err, r.Errors.ByKind)
		}
		b.ReportMetric(r.Bench.CPUMicrosPerCall, "bench-µs/call")
		b.ReportMetric(r.Server.CPUMicrosPerCall, "server-µs/call")
		b.ReportMetric(r.CallsPerSecond, "calls/s")
	}
}
