//go:build unix

package cluster_test

import (
	"bufio"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/cluster"
	"github.com/ringback/ringback/internal/store"
)

// childVariable makes this test binary the process that is stopped.
const childVariable = "RINGBACK_TEST_STOPPED_NODE"

// TestStoppedProcess stops a process that holds partitions for longer than its
// lease. When it goes on it must not think that it still holds them, even if
// an answer from before was waiting for it.
func TestStoppedProcess(t *testing.T) {
	if os.Getenv(childVariable) != "" {
		stoppedNode(t)
		return
	}
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self, "-test.run=^TestStoppedProcess$", "-test.v")
	child.Env = append(os.Environ(), childVariable+"=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	// A child that does not say what it should is killed, which ends its lines.
	late := time.AfterFunc(30*time.Second, func() { _ = child.Process.Kill() })
	defer late.Stop()
	lines := bufio.NewScanner(out)
	next := func() string {
		for lines.Scan() {
			if line, ok := strings.CutPrefix(lines.Text(), "node: "); ok {
				return line
			}
		}
		return "end"
	}
	if line := next(); line != "gained 64" {
		t.Fatalf("the node says %q", line)
	}
	if err := child.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second) // that is what is being tested
	if err := child.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	want := []string{"lost 64", "gained 64", "end"}
	for _, w := range want {
		line := next()
		for line == "cut off" { // if it was awake before the store answered
			line = next()
		}
		if line != w {
			t.Errorf("the node says %q, want %q", line, w)
		}
	}
	if err := child.Wait(); err != nil {
		t.Errorf("the node: %v", err)
	}
}

// stoppedNode is a node with a renewal in flight at almost every moment.
func stoppedNode(t *testing.T) {
	w := newWorld()
	m, err := cluster.Join(t.Context(), cluster.Options{
		Store: &access{memory: w.memory, after: 200 * time.Millisecond}, Name: "a", Lease: time.Second, Logger: slog.New(slog.DiscardHandler),
		Bus: func(self store.NodeID, h bus.Handler) (bus.Bus, error) { return w.x.Join(self, h), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	again := make(chan struct{})
	var times atomic.Int64 // that it gained
	m.OnChange(func(c cluster.Change) {
		if c.Lost != 0 && times.Load() == 1 {
			fmt.Println("node: lost", c.Lost.Len())
		}
		if c.CutOff {
			fmt.Println("node: cut off")
		}
		if c.Gained != 0 {
			fmt.Println("node: gained", c.Gained.Len())
			if times.Add(1) == 2 {
				close(again)
			}
		}
	})
	m.Start()
	// A look right after the pause must see that the lease is over, if nothing
	// was told meanwhile.
	for last := time.Now(); ; {
		select {
		case <-again:
			if err := m.Leave(t.Context()); err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		now := time.Now()
		if held := m.Held(); now.Sub(last) > 2*time.Second && held != 0 && times.Load() == 1 {
			t.Fatalf("after %v it holds %d partitions", now.Sub(last), held.Len())
		}
		last = now
		time.Sleep(time.Millisecond)
	}
}
