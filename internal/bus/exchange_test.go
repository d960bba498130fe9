package bus_test

import (
	"bytes"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/bus/bustest"
	"github.com/ringback/ringback/internal/store"
)

// bubble runs a test over an Exchange.
func bubble(t *testing.T, test func(t *testing.T, x *bus.Exchange, n *bustest.Network)) {
	synctest.Test(t, func(t *testing.T) {
		x := bus.NewExchange()
		test(t, x, &bustest.Network{Join: x.Join, Cut: x.Cut, Mend: x.Mend, Waiting: 1024})
	})
}

func TestExchange(t *testing.T) {
	bustest.Run(t, func(t *testing.T, test func(t *testing.T, n *bustest.Network)) {
		bubble(t, func(t *testing.T, _ *bus.Exchange, n *bustest.Network) { test(t, n) })
	})
}

// TestLost loses single messages, and sees when the receiver finds out.
func TestLost(t *testing.T) {
	bubble(t, func(t *testing.T, x *bus.Exchange, n *bustest.Network) {
		a, b := bustest.Join(t, n, 1), bustest.Join(t, n, 2)
		a.Peers([]store.NodeID{2})
		b.Peers([]store.NodeID{1})
		x.Lose(func(_, _ store.NodeID, data []byte) bool { return bytes.Equal(data, []byte("lost")) })
		send := func(data string) {
			t.Helper()
			if err := a.Send(2, []byte(data)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond) // so that the next is not joined with it
			synctest.Wait()
		}
		send("one")
		send("lost")
		if b.MissedOf(1) != 0 {
			t.Error("it knows what it cannot know")
		}
		send("three")
		if b.MissedOf(1) != 1 || len(b.Got(1)) != 2 {
			t.Errorf("after a gap: missed %d times, got %q", b.MissedOf(1), b.Got(1))
		}
		send("lost")
		time.Sleep(1001 * time.Millisecond)
		synctest.Wait()
		if b.MissedOf(1) != 2 {
			t.Errorf("a second after the last message was lost: missed %d times", b.MissedOf(1))
		}
		send("five")
		time.Sleep(time.Minute)
		if b.MissedOf(1) != 2 || len(b.Got(1)) != 3 {
			t.Errorf("at last: missed %d times, got %q", b.MissedOf(1), b.Got(1))
		}
	})
}

// TestTogether sends a message at once, and what follows soon after together
// with what comes meanwhile.
func TestTogether(t *testing.T) {
	bubble(t, func(t *testing.T, _ *bus.Exchange, n *bustest.Network) {
		a, b := bustest.Join(t, n, 1), bustest.Join(t, n, 2)
		got := 0
		// after waits, sends messages, and says how many have come since.
		after := func(pause time.Duration, messages, come int) {
			t.Helper()
			time.Sleep(pause)
			for i := range messages {
				if err := a.Send(2, []byte{byte(i)}); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			if got += come; len(b.Got(1)) != got {
				t.Fatalf("%d have come, want %d", len(b.Got(1)), got)
			}
		}
		const ms = time.Millisecond
		after(0, 1, 1) // the first goes at once
		after(1*ms, 1, 0)
		after(1*ms, 0, 1) // and what follows when a short pause is over
		after(1*ms, 2, 0)
		after(1*ms, 0, 2) // several: the next pause is long
		after(2*ms, 2, 0)
		after(6*ms, 0, 2)
		after(1000*ms, 1, 1)
		after(0, 1, 0)
		if err := a.Send(2, make([]byte, bustest.Large)); err != nil {
			t.Fatal(err)
		}
		after(0, 0, 2) // a large one waits for nothing
	})
}

// TestGone forgets a node that has gone, and takes what a new one sends.
func TestGone(t *testing.T) {
	bubble(t, func(t *testing.T, _ *bus.Exchange, n *bustest.Network) {
		a, b := bustest.Join(t, n, 1), bustest.Join(t, n, 2)
		a.Peers([]store.NodeID{2})
		b.Peers([]store.NodeID{1})
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		c := bustest.Join(t, n, 3) // sends before the other knows of it
		if err := c.Send(1, []byte("x")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		a.Peers(nil)
		a.Peers([]store.NodeID{3})
		c.Peers([]store.NodeID{1})
		time.Sleep(time.Minute)
		if err := c.Send(1, []byte("y")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(a.Got(3)) != 2 || a.MissedOf(2)+a.MissedOf(3)+a.MissedOf(0) != 0 {
			t.Errorf("got %q, missed %d of the one who left and %d of the new one", a.Got(3), a.MissedOf(2), a.MissedOf(3))
		}
	})
}

// TestFrames sees which messages travel together.
func TestFrames(t *testing.T) {
	bubble(t, func(t *testing.T, x *bus.Exchange, n *bustest.Network) {
		a, b := bustest.Join(t, n, 1), bustest.Join(t, n, 2)
		var frames atomic.Int32
		x.Lose(func(_, _ store.NodeID, _ []byte) bool { frames.Add(1); return false })
		begin := time.Now()
		send := func(messages int) {
			t.Helper()
			for range messages {
				if err := a.Send(2, []byte("news")); err != nil {
					t.Fatal(err)
				}
			}
		}
		steps := []struct {
			at             time.Duration
			send           int
			frames, passed int // by then, without those that are sent
		}{
			{at: 0, send: 1},
			{at: 1 * time.Millisecond, send: 1, frames: 1, passed: 1},   // at once
			{at: 4 * time.Millisecond, send: 1, frames: 2, passed: 2},   // 2 ms after the one before
			{at: 5 * time.Millisecond, send: 2, frames: 3, passed: 3},   // at once, since none was near
			{at: 20 * time.Millisecond, send: 3, frames: 4, passed: 5},  // the two together
			{at: 25 * time.Millisecond, send: 1, frames: 4, passed: 5},  // more are waited for
			{at: 27 * time.Millisecond, send: 1, frames: 5, passed: 9},  // 6 ms from the first of them
			{at: 32 * time.Millisecond, frames: 5, passed: 9},           // again
			{at: 34 * time.Millisecond, send: 1, frames: 6, passed: 10}, // but it came alone
			{at: 36 * time.Millisecond, send: 3, frames: 7, passed: 11},
			{at: 1 * time.Second, send: 1, frames: 8, passed: 14},
			{at: 1001 * time.Millisecond, frames: 9, passed: 15}, // at once, after such a lull
		}
		for _, step := range steps {
			time.Sleep(time.Until(begin.Add(step.at)))
			synctest.Wait()
			if got, in := len(b.Got(1)), int(frames.Load()); in != step.frames || got != step.passed {
				t.Errorf("after %v: %d messages in %d frames, want %d in %d", step.at, got, in, step.passed, step.frames)
			}
			send(step.send)
		}
	})
}
