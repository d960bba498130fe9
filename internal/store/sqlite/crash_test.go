package sqlite

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/call"
)

// TestCrash kills a process in the middle of its commits, several times, and
// looks for all that it was told to be durable.
func TestCrash(t *testing.T) {
	if dir := os.Getenv("RINGBACK_TEST_CRASH"); dir != "" {
		commitForEver(t, dir)
		return
	}
	dir := t.TempDir()
	acknowledged := make(map[int]int64) // call → version
	next := 0
	for round := range 4 {
		child := exec.Command(os.Args[0], "-test.run=^TestCrash$")
		child.Env = append(os.Environ(), "RINGBACK_TEST_CRASH="+dir, "RINGBACK_TEST_FROM="+strconv.Itoa(next))
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for seen := 0; lines.Scan(); seen++ {
			var n int
			var version int64
			if _, err := fmt.Sscanf(lines.Text(), "committed %d %d", &n, &version); err != nil {
				t.Fatalf("the child says %q", lines.Text())
			}
			acknowledged[n] = version
			next = max(next, n+1)
			if seen == 300+100*round {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := child.Wait(); err == nil {
			t.Fatal("the child came to an end by itself")
		}
		verify(t, dir, acknowledged)
		next += 1000 // beyond what was committed and not acknowledged
	}
}

// verify looks for calls in a store that a killed process has left.
func verify(t *testing.T, dir string, acknowledged map[int]int64) {
	t.Helper()
	s, err := Open(t.Context(), Options{Dir: dir, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for n, version := range acknowledged {
		r, err := s.Call(t.Context(), call.NewID(now, uint32(n)))
		if err != nil {
			t.Fatalf("call %d: %v", n, err)
		}
		// The version after may have been written and not acknowledged.
		if r.Call.Version < version || r.Call.Version > version+1 {
			t.Errorf("call %d has version %d, %d was acknowledged", n, r.Call.Version, version)
		}
		ds, err := s.DeliveriesOf(t.Context(), r.Call.ID)
		if err != nil || int64(len(ds)) != r.Call.Version {
			t.Errorf("call %d of version %d has %d deliveries (%v)", n, r.Call.Version, len(ds), err)
		}
	}
	err = s.read(t.Context(), func(c *conn) error {
		st := c.on("PRAGMA integrity_check")
		for st.next() {
			if result := st.ColumnText(0); result != "ok" {
				t.Error(result)
			}
		}
		return st.end()
	})
	if err != nil {
		t.Error(err)
	}
}

// commitForEver commits calls and says so, until it is killed.
func commitForEver(t *testing.T, dir string) {
	s, err := Open(t.Context(), Options{Dir: dir, Reserve: -1, checkpointAt: 100})
	if err != nil {
		t.Fatal(err)
	}
	from, err := strconv.Atoi(os.Getenv("RINGBACK_TEST_FROM"))
	if err != nil {
		t.Fatal(err)
	}
	const committers, versions = 8, 3
	deadline := time.Now().Add(time.Minute)
	var wg sync.WaitGroup
	for i := range committers {
		wg.Go(func() {
			for n := from + i; time.Now().Before(deadline); n += committers {
				c := created(n)
				for v := int64(1); ; v++ {
					if err := s.CommitCall(t.Context(), c); err != nil {
						t.Error(err)
						return
					}
					os.Stdout.WriteString(fmt.Sprintf("committed %d %d\n", n, v))
					if v == versions {
						break
					}
					c = joined(c.Call, n)
				}
			}
		})
	}
	wg.Wait()
}
