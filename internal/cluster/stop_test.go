//go:build unix

package cluster

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/bus"
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
			if line, ok := strings.CutPrefix(lines.Text(), "node: "); ok && line != "cut off" {
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
	for _, want := range []string{"lost 64", "gained 64", "end"} {
		if line := next(); line != want {
			t.Errorf("the node says %q, want %q", line, want)
		}
	}
	if err := child.Wait(); err != nil {
		t.Errorf("the node: %v", err)
	}
}

// stoppedNode is a node with a renewal in flight at most moments.
func stoppedNode(t *testing.T) {
	f := &fixture{t: t, nodes: newNodes(), exchange: bus.NewExchange()}
	p := f.prepare()
	p.conn.back = 200 * time.Millisecond
	o := f.options(p, "a")
	o.Lease = time.Second
	m, err := Join(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	again := make(chan struct{})
	var gained atomic.Int64
	m.OnChange(func(c Change) {
		if c.Lost != 0 && gained.Load() == 1 {
			fmt.Println("node: lost", c.Lost.Len())
		}
		if c.CutOff {
			fmt.Println("node: cut off")
		}
		if c.Gained != 0 {
			fmt.Println("node: gained", c.Gained.Len())
			if gained.Add(1) == 2 {
				close(again)
			}
		}
	})
	m.Start()
	// A look right after the pause must see that the lease is over, if it has
	// not been renewed meanwhile.
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
		until := m.until.Load() // before the look
		if held := m.Held(); now.Sub(last) > 2*time.Second && held != 0 && int64(m.now()) > until {
			t.Fatalf("after %v it holds %d partitions", now.Sub(last), held.Len())
		}
		last = now
		time.Sleep(time.Millisecond)
	}
}
