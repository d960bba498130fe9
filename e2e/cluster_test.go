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

	"github.com/ringback/ringback/client"
	"github.com/ringback/ringback/e2e/history"
	"github.com/ringback/ringback/e2e/load"
	"github.com/ringback/ringback/internal/auth"
	"github.com/ringback/ringback/protocol"
)

// clusterApp is the app of a cluster, whose callbacks go to a receiver in the
// same network.
func clusterApp(w *network, receiver string) string {
	return fmt.Sprintf(`heartbeat_interval: 1s
heartbeat_timeout: 5s
absence_timeout: 4s
apps:
  - id: %d
    secret: %s
    login_policy: multi
    callbacks:
      - {url: %q, secret: e2e, events: [%s]}
callbacks: {allow_networks: [%s]}
`, appID, secret, receiver, strings.Join(history.CallEvents(), ", "), w.cidr)
}

// recordCallbacks starts the receiver of callbacks, as a host of a network.
func recordCallbacks(t *testing.T, w *network, log *history.Log, seed uint64) *load.Receiver {
	t.Helper()
	r := load.NewReceiver(w.host("receiver").listen(), log, "e2e", seed)
	t.Cleanup(r.Close)
	return r
}

func clusterLoad(c *cluster, log *history.Log, seed uint64, rate float64, d time.Duration, faults func(ctx context.Context) error) load.Config {
	return load.Config{
		Nodes: c.urls(), AdminToken: clusterAdmin, AppID: appID, Secret: secret,
		Token: func(user string) (string, error) {
			return auth.NewToken04(appID, user, secret, time.Now(), time.Hour, "")
		},
		Log: log, Seed: seed, Users: 16, Rate: rate, Duration: d, VanishFor: 7 * time.Second,
		Limits: history.Limits{Events: history.CallEvents()}, Faults: faults,
	}
}

// TestClusterRingsAcross has two users on different nodes call each other.
func TestClusterRingsAcross(t *testing.T) {
	t.Parallel()
	log := history.NewLog()
	w := loopback(t)
	receiver := recordCallbacks(t, w, log, 1)
	c := newCluster(t, w, 2, clusterApp(w, receiver.URL))
	rung := make(chan string, 1)
	bob := dialNode(t, c.nodes[1], "bob", func(cl *client.Client, ev client.Event) {
		if ev, ok := ev.(*client.Invited); ok {
			rung <- ev.CallID
		}
	})
	answered := make(chan protocol.CallUser, 16)
	alice := dialNode(t, c.nodes[0], "alice", func(_ *client.Client, ev client.Event) {
		if ev, ok := ev.(*client.UsersChanged); ok {
			for _, u := range ev.Users {
				answered <- u
			}
		}
	})
	made, err := alice.Invite(t.Context(), protocol.Invite{UserIDs: []string{"bob"}})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case id := <-rung:
		if id != made.CallID {
			t.Errorf("bob rings for call %s, alice made %s", id, made.CallID)
		}
	case <-time.After(patience):
		t.Fatal("bob does not ring")
	}
	if _, err := bob.Accept(t.Context(), protocol.CallAction{CallID: made.CallID, ExtendedData: "on node 2"}); err != nil {
		t.Fatal(err)
	}
	for timeout := time.After(patience); ; {
		select {
		case u := <-answered:
			if u.UserID == "bob" && u.State == 1 && u.ExtendedData == "on node 2" {
				return
			}
		case <-timeout:
			t.Fatal("alice does not learn that bob accepted")
		}
	}
}

// TestClusterTakesOver kills the node that minds a call's timer and delivers
// its callbacks, and reports how late both are.
func TestClusterTakesOver(t *testing.T) {
	t.Parallel()
	log := history.NewLog()
	w := loopback(t)
	receiver := recordCallbacks(t, w, log, 1)
	c := newCluster(t, w, 2, clusterApp(w, receiver.URL))
	rung, over := make(chan string, 1), make(chan string, 1)
	dialNode(t, c.nodes[1], "bob", func(_ *client.Client, ev client.Event) {
		switch ev := ev.(type) {
		case *client.Invited:
			rung <- ev.CallID
		case *client.TimedOut:
			over <- ev.CallID
		}
	})
	alice := dialNode(t, c.nodes[0], "alice", nil)
	timeout := 2
	made, err := alice.Invite(t.Context(), protocol.Invite{UserIDs: []string{"bob"}, Timeout: &timeout})
	if err != nil {
		t.Fatal(err)
	}
	await := func(what string, from <-chan string) {
		t.Helper()
		select {
		case id := <-from:
			if id != made.CallID {
				t.Fatalf("%s: call %s, want %s", what, id, made.CallID)
			}
		case <-time.After(patience):
			t.Fatalf("%s: nothing happened", what)
		}
	}
	await("bob rings", rung)
	due := time.Now().Add(time.Duration(timeout) * time.Second)
	c.nodes[0].kill()
	await("bob is told why he no longer rings", over)
	t.Logf("the timer ran %v late; the lease is 3s", time.Since(due).Round(time.Millisecond))
	for end := time.Now().Add(patience); !callbackOf(log, made.CallID, protocol.CallbackCancel) && !callbackOf(log, made.CallID, protocol.CallbackTimeout); {
		if time.Now().After(end) {
			t.Fatal("the end of the call is not delivered")
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("its callback came %v late", time.Since(due).Round(time.Millisecond))
}

// callbackOf reports whether a receiver has got an event of a call.
func callbackOf(log *history.Log, id, event string) bool {
	for _, r := range log.Records() {
		if r.Kind == history.Callback && strings.Contains(string(r.Body), id) && strings.Contains(string(r.Body), event) {
			return true
		}
	}
	return false
}

func dialNode(t *testing.T, n *clusterNode, user string, on func(*client.Client, client.Event)) *client.Client {
	t.Helper()
	token, err := auth.NewToken04(appID, user, secret, time.Now(), time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(t.Context(), n.url(), client.Options{AppID: appID, UserID: user, Token: token, OnEvent: on})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestClusterFaults lets users call each other in every way while everything
// that can happen to a cluster happens to it, and has the history checked.
func TestClusterFaults(t *testing.T) {
	t.Parallel()
	log := history.NewLog()
	seed := uint64(time.Now().UnixNano())
	w := newNetwork(t)
	receiver := recordCallbacks(t, w, log, seed)
	c := newCluster(t, w, 0, clusterApp(w, receiver.URL))
	c.add("node-1")
	c.add("node-2")
	c.add("node-3", "RINGBACK_TEST_CLOCK_OFFSET=1h")
	for _, n := range c.nodes {
		n.start()
	}
	pause := func(ctx context.Context, d time.Duration) {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
	const lease = 3 * time.Second
	res, err := load.Run(t.Context(), clusterLoad(c, log, seed, 15, 64*time.Second, func(ctx context.Context) error {
		one, two, three := c.nodes[0], c.nodes[1], c.nodes[2]
		pause(ctx, 3*time.Second)
		load.Harm(log, "node-1 killed", func() {
			one.kill()
			pause(ctx, lease+2*time.Second)
			one.start()
		})
		pause(ctx, 3*time.Second)
		load.Harm(log, "node-2 frozen beyond its lease", func() {
			two.cmd.Process.Signal(syscall.SIGSTOP)
			pause(ctx, 2*lease)
			two.cmd.Process.Signal(syscall.SIGCONT)
			two.awaitReady()
		})
		pause(ctx, 3*time.Second)
		load.Harm(log, "PostgreSQL restarted", func() {
			if err := c.postgres.Restart(); err != nil {
				t.Error(err)
			}
			for _, n := range c.nodes {
				n.awaitReady()
			}
		})
		pause(ctx, 3*time.Second)
		load.Harm(log, "NATS stopped", func() {
			c.stopNATS()
			pause(ctx, 3*time.Second)
			c.startNATS()
			for _, n := range c.nodes {
				n.awaitReady()
			}
		})
		pause(ctx, 3*time.Second)
		load.Harm(log, "node-3 cut off from PostgreSQL", func() {
			three.host.cut(c.store)
			pause(ctx, 3*lease)
			three.host.mend(c.store)
			three.awaitReady()
		})
		pause(ctx, 3*time.Second)
		load.Harm(log, "node-1 cut off from NATS", func() {
			one.host.cut(c.bus)
			pause(ctx, 5*time.Second)
			one.host.mend(c.bus)
			one.awaitReady()
		})
		pause(ctx, 3*time.Second)
		load.Harm(log, "node-2 cut off from everybody", func() {
			two.host.isolate()
			pause(ctx, lease+2*time.Second)
			two.host.restore()
			two.awaitReady()
		})
		return nil
	}))
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	report(t, seed, res)
}

// TestClusterRollingRestart restarts every node in turn under load; no call
// may notice, so nothing is forgiven.
func TestClusterRollingRestart(t *testing.T) {
	t.Parallel()
	log := history.NewLog()
	seed := uint64(time.Now().UnixNano())
	w := loopback(t)
	receiver := recordCallbacks(t, w, log, seed)
	c := newCluster(t, w, 2, clusterApp(w, receiver.URL))
	res, err := load.Run(t.Context(), clusterLoad(c, log, seed, 15, 15*time.Second, func(ctx context.Context) error {
		for _, n := range c.nodes {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(2 * time.Second):
			}
			load.Harm(log, n.name+" restarted", func() {
				n.terminate()
				n.start()
			})
		}
		return nil
	}))
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	report(t, seed, res)
}

// TestClusterRefuses starts nodes that cannot take part, and reads why.
func TestClusterRefuses(t *testing.T) {
	t.Parallel()
	w := loopback(t)
	c := newCluster(t, w, 1, clusterApp(w, "http://127.0.0.1:1/"))
	first, err := os.ReadFile(c.nodes[0].config)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		old, new string
		want     string
	}{
		"same name":     {"listen: " + c.nodes[0].address, "listen: " + freeAddress(t), "another node is running under the name \"node-1\""},
		"other lease":   {"lease: 3s", "lease: 4s\n", "all nodes need the same"},
		"no database":   {hostOf(t, c.database), freeAddress(t), "PostgreSQL"},
		"no NATS":       {c.natsAddress(), freeAddress(t), "NATS"},
		"no such table": {"/" + lastPart(c.database), "/nobody_made_this", "nobody_made_this"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(string(first), test.old, test.new, 1)
			if name != "same name" {
				text = strings.Replace(text, "node: node-1", "node: other", 1)
				text = strings.Replace(text, "listen: "+c.nodes[0].address, "listen: "+freeAddress(t), 1)
			}
			config := filepath.Join(t.TempDir(), "ringback.yaml")
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			p := start(t, "serve", "--config", config)
			if err := p.wait(); err == nil {
				t.Error("it ended well")
			}
			if out := p.printed(); !strings.Contains(out, test.want) || strings.Contains(out, secret) {
				t.Errorf("it says %s\nwant %q", out, test.want)
			}
		})
	}
}

func lastPart(url string) string { return url[strings.LastIndex(url, "/")+1:] }
