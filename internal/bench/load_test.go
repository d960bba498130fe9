package bench

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	epoch := time.Now()
	now := func() int64 { return int64(time.Since(epoch)) }
	var dues []int64
	pace(t.Context(), now, 1000, 0, int64(50*time.Millisecond), func(seq uint64, due int64) {
		if now() < due {
			t.Errorf("call %d came before its time", seq)
		}
		if int(seq) != len(dues)+1 {
			t.Errorf("call %d came as number %d", seq, len(dues)+1)
		}
		dues = append(dues, due)
	})
	if len(dues) != 50 || dues[0] != 0 || dues[49] != int64(49*time.Millisecond) {
		t.Errorf("%d calls, due %v", len(dues), dues)
	}
}

func TestPaceCatchesUp(t *testing.T) {
	// A clock that jumps: all calls of the gap are made, with their own times.
	clock := int64(0)
	n := 0
	pace(t.Context(), func() int64 { return clock }, 10, 0, int64(time.Second), func(seq uint64, due int64) {
		clock = int64(time.Hour)
		if want := int64(seq-1) * int64(100*time.Millisecond); due != want {
			t.Errorf("call %d is due at %d, want %d", seq, due, want)
		}
		n++
	})
	if n != 10 {
		t.Errorf("%d calls", n)
	}
}

func TestPaceEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	pace(ctx, func() int64 { return 0 }, 1, 0, int64(time.Hour), func(uint64, int64) {
		n++
		cancel()
	})
	if n != 1 {
		t.Errorf("%d calls", n)
	}
}

func TestInParallel(t *testing.T) {
	var sum atomic.Int64
	if err := inParallel(3, 10, func(i int) error {
		sum.Add(int64(i))
		return nil
	}); err != nil || sum.Load() != 45 {
		t.Errorf("got %v, %v", sum.Load(), err)
	}
	var n atomic.Int64
	boom := errors.New("boom")
	if err := inParallel(1, 10, func(i int) error {
		n.Add(1)
		if i == 3 {
			return boom
		}
		return nil
	}); err != boom || n.Load() != 4 {
		t.Errorf("got %v after %d", err, n.Load())
	}
}

func TestReason(t *testing.T) {
	for in, want := range map[string]string{
		"read tcp 127.0.0.1:5->127.0.0.1:6: connection reset by peer": "connection reset by peer",
		"closed by the server: slow (4008)":                           "closed by the server: slow (4008)",
	} {
		if got := reason(errors.New(in)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
