package bus_test

import (
	"bytes"
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
