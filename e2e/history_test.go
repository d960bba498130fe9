//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringback/ringback/e2e/history"
	"github.com/ringback/ringback/e2e/load"
	"github.com/ringback/ringback/internal/auth"
)

// A server that is killed, frozen, stopped, and whose receiver is away, while
// users call each other in every way, keeps its promises: the history of what
// everybody saw shows none of them broken.
func TestHistory(t *testing.T) {
	t.Parallel()
	const admin = "e2e-history-admin-token"
	log := history.NewLog()
	seed := uint64(time.Now().UnixNano())
	receiver := recordCallbacks(t, loopback(t), log, seed)
	address := freeAddress(t)
	config := filepath.Join(t.TempDir(), "ringback.yaml")
	text := fmt.Sprintf(`
listen: %s
data_dir: %s
admin_token: %s
heartbeat_interval: 1s
heartbeat_timeout: 5s
apps:
  - id: %d
    secret: %s
    login_policy: multi
    callbacks:
      - {url: %q, secret: e2e, events: [%s]}
callbacks: {allow_networks: [127.0.0.0/8]}
`, address, filepath.Join(t.TempDir(), "data"), admin, appID, secret, receiver.URL, strings.Join(history.CallEvents(), ", "))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	server := serve(t, config, address)

	pause := func(ctx context.Context, d time.Duration) {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
	res, err := load.Run(t.Context(), load.Config{
		Nodes: []string{"http://" + address}, AdminToken: admin, AppID: appID, Secret: secret,
		Token: func(user string) (string, error) {
			return auth.NewToken04(appID, user, secret, time.Now(), time.Hour, "")
		},
		Log: log, Seed: seed, Rate: 15, Duration: 16 * time.Second, VanishFor: 7 * time.Second,
		Limits: history.Limits{Events: history.CallEvents()},
		Faults: func(ctx context.Context) error {
			pause(ctx, 2*time.Second)
			load.Harm(log, "killed", func() {
				server.kill()
				server = serve(t, config, address)
			})
			pause(ctx, 2*time.Second)
			load.Harm(log, "frozen", func() {
				server.cmd.Process.Signal(syscall.SIGSTOP)
				pause(ctx, 3*time.Second)
				server.cmd.Process.Signal(syscall.SIGCONT)
			})
			pause(ctx, 2*time.Second)
			receiver.Down(func() { pause(ctx, 2*time.Second) })
			pause(ctx, time.Second)
			load.Harm(log, "stopped", func() {
				server.terminate()
				server = serve(t, config, address)
			})
			return nil
		},
	})
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	server.terminate()
	report(t, seed, res)
}

// report logs what a run did, and fails the test for what it found; then the
// whole history is kept in a file.
func report(t *testing.T, seed uint64, res *load.Result) {
	t.Helper()
	t.Logf("seed %d: %d calls %v, %d events, %d callbacks, %d logins; scenarios %v",
		seed, res.Calls, res.Outcomes, res.Events, res.Callbacks, res.Logins, res.Scenarios)
	for _, outcome := range []string{"accepted", "rejected", "timeout", "caller_cancel", "caller_left"} {
		if res.Outcomes[outcome] == 0 {
			t.Errorf("no call came to %q: the load does not test it", outcome)
		}
	}
	if len(res.Violations) == 0 {
		return
	}
	var text strings.Builder
	history.Print(&text, res.Violations)
	file, err := os.CreateTemp(kept, "ringback-history-*.jsonl")
	if err == nil {
		err = history.Write(file, res.Records)
		file.Close()
	}
	if err != nil {
		t.Errorf("keeping the history: %v", err)
	}
	t.Errorf("%d violations; the whole history is in %s\n%s", len(res.Violations), file.Name(), text.String())
}
