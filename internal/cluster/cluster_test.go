package cluster_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/cluster"
	"github.com/ringback/ringback/internal/store"
)

func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a := w.start(t, "a")
		shares(t, []*node{a}, 64)
		if told := a.told(t); len(told) != 1 || told[0].Gained != store.AllPartitions || !told[0].Missed {
			t.Fatalf("the first change: %+v", told)
		}
		// With the bus it takes no time.
		b := w.start(t, "b")
		shares(t, []*node{a, b}, 32, 32)
		c := w.start(t, "c")
		time.Sleep(lease / 4)
		shares(t, []*node{a, b, c}, 22, 22, 20)
		for p := range store.PartitionCount {
			for _, n := range []*node{a, b, c} {
				if holder := n.Holder(p); (holder == b.Self()) != b.Holds(p) {
					t.Fatalf("%s says that %d holds partition %d, which b holds: %v", n.Name(), holder, p, b.Holds(p))
				}
			}
		}
		if nodes := c.Nodes(); len(nodes) != 3 || nodes[0].Name != "a" || !c.Alive(a.Self()) || c.Alive(99) {
			t.Fatalf("c knows of %+v", nodes)
		}
		a.told(t)
		bID := b.Self()
		b.leave(t)
		shares(t, []*node{a, c}, 32, 32)
		var left []store.NodeID
		for _, change := range a.told(t) {
			left = append(left, change.Left...)
		}
		if !slices.Equal(left, []store.NodeID{bID}) || a.Alive(bID) {
			t.Fatalf("a was told that %v left", left)
		}
		if b.Held() != 0 {
			t.Fatal("b holds something after it left")
		}
		a.leave(t)
		c.leave(t)
	})
}

// TestSharesWithoutBus has only the store to learn from.
func TestSharesWithoutBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.x.Drop(func(store.NodeID, store.NodeID, []byte) bool { return true })
		a := w.start(t, "a")
		time.Sleep(lease / 8)
		b := w.start(t, "b")
		time.Sleep(lease/2 + time.Millisecond) // two renewals
		shares(t, []*node{a, b}, 32, 32)
		w.kill(t, a)
		time.Sleep(lease + lease/4)
		shares(t, []*node{b}, 64)
		b.leave(t)
	})
}

func TestGracefulRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a := w.start(t, "a")
		a.told(t)
		var early bool
		a.mu.Lock()
		a.slow = 20 * time.Second // longer than a lease
		a.mu.Unlock()
		a.access.set(func(x *access) {
			x.observe = func(release store.PartitionSet) {
				a.mu.Lock()
				defer a.mu.Unlock()
				early = early || release&a.holds != 0
			}
		})
		b := w.start(t, "b")
		for range 39 {
			time.Sleep(time.Second / 2)
			if got := a.Held().Len(); got != 32 {
				t.Fatalf("a holds %d while it is giving up the rest", got)
			}
			if b.Held() != 0 {
				t.Fatal("b has got what a has not let go of")
			}
		}
		time.Sleep(time.Second)
		shares(t, []*node{a, b}, 32, 32)
		a.mu.Lock()
		a.slow = 0
		if early {
			t.Error("partitions were given up in the store before OnChange had returned")
		}
		a.mu.Unlock()
		time.Sleep(time.Minute)
		shares(t, []*node{a, b}, 32, 32)
		if told := a.told(t); len(told) != 1 || told[0].Lost.Len() != 32 {
			t.Errorf("a was told %+v", told)
		}
		a.leave(t)
		b.leave(t)
	})
}

// TestReleaseUnconfirmed has the store give partitions up and not say so.
func TestReleaseUnconfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a := w.start(t, "a")
		a.access.set(func(x *access) {
			x.observe = func(release store.PartitionSet) {
				a.access.set(func(x *access) { x.deaf = release != 0 && len(x.releases) < 6 })
			}
		})
		b := w.start(t, "b")
		time.Sleep(3 * lease)
		shares(t, []*node{a, b}, 32, 32)
		a.leave(t)
		b.leave(t)
	})
}

func TestSuspension(t *testing.T) {
	for name, down := range map[string]func(*access){
		"refuses":       func(a *access) { a.down = true },
		"hangs":         func(a *access) { a.before = time.Hour },
		"is too slow":   func(a *access) { a.before = 6 * time.Second },
		"loses answers": func(a *access) { a.after = time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				n := w.start(t, "a")
				n.told(t)
				began := time.Now()
				n.access.set(down)
				for n.Held() != 0 {
					time.Sleep(10 * time.Millisecond)
				}
				// The last good renewal was at began, or the one in flight.
				if took := time.Since(began); took > lease || took < lease/2 {
					t.Fatalf("it held for %v", took)
				}
				told := n.told(t)
				if len(told) != 1 || told[0].Lost != store.AllPartitions || told[0].CutOff || told[0].Fenced != nil {
					t.Fatalf("when the lease ran out it was told %+v", told)
				}
				if err := n.Ready(); err == nil || !strings.Contains(err.Error(), "the lease has run out") || !strings.Contains(err.Error(), "check that the database is up") {
					t.Fatalf("Ready: %v", err)
				}
				if n.Holds(0) {
					t.Fatal("it holds a partition")
				}
				time.Sleep(lease - time.Second)
				if told := n.told(t); len(told) != 0 {
					t.Fatalf("too early: %+v", told)
				}
				time.Sleep(2 * time.Second)
				if told := n.told(t); len(told) != 1 || !told[0].CutOff {
					t.Fatalf("after another lease it was told %+v", told)
				}
				time.Sleep(5 * lease)
				if told := n.told(t); len(told) != 0 {
					t.Fatalf("told again: %+v", told)
				}
				n.access.set(func(a *access) { a.down, a.before, a.after = false, 0, 0 })
				time.Sleep(lease)
				if told := n.told(t); len(told) != 1 || told[0].Gained != store.AllPartitions || !told[0].Missed {
					t.Fatalf("when it was back it was told %+v", told)
				}
				if err := n.Ready(); err != nil {
					t.Fatal(err)
				}
				n.leave(t)
			})
		})
	}
}

// TestShortFailure has the store be away for less than a lease.
func TestShortFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n := w.start(t, "a")
		n.told(t)
		for range 5 {
			n.access.set(func(a *access) { a.down = true })
			time.Sleep(lease * 6 / 10)
			n.access.set(func(a *access) { a.down = false })
			time.Sleep(lease)
		}
		if told := n.told(t); len(told) != 0 {
			t.Fatalf("it was told %+v", told)
		}
		n.leave(t)
	})
}

// TestSlowStore has renewals take a large part of the lease.
func TestSlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n := w.start(t, "a")
		n.told(t)
		n.access.set(func(a *access) { a.before, a.after = lease/5, lease/5 })
		for range 100 {
			time.Sleep(time.Second)
			if n.Held() != store.AllPartitions {
				t.Fatalf("it holds %d partitions", n.Held().Len())
			}
		}
		if told := n.told(t); len(told) != 0 {
			t.Fatalf("it was told %+v", told)
		}
		n.leave(t)
	})
}

// TestHeldWithinLease lets a node lose the store in many ways, and compares at
// every moment what it thinks it holds with what the store would give to
// others. The store's clock runs a little faster than the node's.
func TestHeldWithinLease(t *testing.T) {
	for _, fault := range []func(*access){
		func(*access) {},
		func(a *access) { a.before = 3 * time.Second },
		func(a *access) { a.before = 4900 * time.Millisecond },
		func(a *access) { a.before = 5100 * time.Millisecond },
		func(a *access) { a.after = 3 * time.Second },
		func(a *access) { a.after = 4900 * time.Millisecond },
		func(a *access) { a.deaf = true },
	} {
		for _, then := range []time.Duration{0, lease / 4, lease / 3, lease / 2, 3 * lease / 4, lease} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.began, w.faster = time.Now(), 30*time.Millisecond // a second
				n := w.start(t, "a")
				time.Sleep(lease)
				n.access.set(fault)
				failing := time.Now()
				for time.Since(failing) < 4*lease {
					time.Sleep(10 * time.Millisecond)
					if time.Since(failing) >= then {
						n.access.set(func(a *access) { a.down = true })
					}
					w.memory.mu.Lock()
					over := !w.nodes[n.Self()].until.After(w.now())
					w.memory.mu.Unlock()
					if held := n.Held(); over && held != 0 {
						t.Fatalf("its lease is over, and it holds %d partitions", held.Len())
					}
				}
				n.access.set(func(a *access) { a.down, a.deaf, a.before, a.after = false, false, 0, 0 })
				n.leave(t)
			})
		}
	}
}

// TestNudgeInFlight has a node come while another's renewal, which does not
// know of it yet, is being answered.
func TestNudgeInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a := w.start(t, "a")
		a.access.set(func(x *access) { x.after = time.Second })
		time.Sleep(lease/4 + time.Millisecond) // the answer is on its way
		b := w.start(t, "b")
		time.Sleep(3 * time.Second) // that answer, one that knows b, and one to give up what b is to have
		shares(t, []*node{a, b}, 32, 32)
		a.leave(t)
		b.leave(t)
	})
}

func TestFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a, b := w.start(t, "a"), w.start(t, "b")
		a.told(t)
		a.access.set(func(x *access) { x.down = true })
		time.Sleep(2*lease + lease/2)
		shares(t, []*node{b}, 64)
		a.access.set(func(x *access) { x.down = false })
		time.Sleep(lease)
		told := a.told(t)
		if len(told) != 3 || told[0].Lost.Len() != 32 || !told[1].CutOff || !errors.Is(told[2].Fenced, store.ErrFenced) || told[2].Gained|told[2].Lost != 0 {
			t.Fatalf("a was told %+v", told)
		}
		if err := a.Ready(); !errors.Is(err, store.ErrFenced) {
			t.Fatalf("Ready: %v", err)
		}
		a.leave(t)
		again := w.start(t, "a")
		if again.Self() == a.Self() {
			t.Fatal("the new incarnation has the ID of the old one")
		}
		shares(t, []*node{again, b}, 32, 32)
		again.leave(t)
		b.leave(t)
	})
}

// TestFencedWhileHolding has another end an incarnation that thinks it is
// well: somebody removed it by hand.
func TestFencedWhileHolding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a := w.start(t, "a")
		a.told(t)
		w.memory.mu.Lock()
		w.end(a.Self())
		w.memory.mu.Unlock()
		time.Sleep(lease / 4)
		told := a.told(t)
		if len(told) != 1 || told[0].Lost != store.AllPartitions || told[0].Fenced == nil || a.Held() != 0 {
			t.Fatalf("a was told %+v", told)
		}
		a.leave(t)
	})
}

func TestNameTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a := w.start(t, "a")
		_, err := cluster.Join(t.Context(), cluster.Options{Store: &access{memory: w.memory}, Name: "a", Lease: lease, Logger: slog.New(slog.DiscardHandler)})
		var taken *store.NodeTakenError
		if !errors.As(err, &taken) {
			t.Fatalf("a second node of that name: %v", err)
		}
		// One that has died makes its next start wait.
		w.kill(t, a)
		began := time.Now()
		again := w.start(t, "a")
		if took := time.Since(began); took > lease {
			t.Fatalf("it took %v", took)
		}
		shares(t, []*node{again}, 64)
		again.leave(t)

		w.start(t, "b").leave(t)
		began = time.Now()
		b := w.start(t, "b")
		if took := time.Since(began); took != 0 {
			t.Fatalf("after leaving it took %v", took)
		}
		b.leave(t)
	})
}

// TestNoBus has a node that finds no bus leave the store.
func TestNoBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		failure := errors.New("no NATS")
		_, err := cluster.Join(t.Context(), cluster.Options{
			Store: &access{memory: w.memory}, Name: "a", Lease: lease,
			Bus: func(store.NodeID, bus.Handler) (bus.Bus, error) { return nil, failure },
		})
		if !errors.Is(err, failure) || len(w.nodes) != 0 {
			t.Fatalf("%v; registered: %v", err, w.nodes)
		}
	})
}

// TestBeforeStart has a node be registered long before it is started.
func TestBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n := w.prepare(t, "a")
		other := w.start(t, "b")
		time.Sleep(10 * lease)
		if told := n.told(t); len(told) != 0 || n.Held() != 0 {
			t.Fatalf("told %+v, holds %d", told, n.Held().Len())
		}
		if err := n.Ready(); err == nil || !strings.Contains(err.Error(), "still starting") {
			t.Fatalf("Ready: %v", err)
		}
		n.Start()
		time.Sleep(lease / 2)
		shares(t, []*node{n, other}, 32, 32)
		n.leave(t)
		other.leave(t)

		idle := w.prepare(t, "a")
		idle.access.set(func(a *access) { a.down = true })
		time.Sleep(10 * lease)
		idle.access.set(func(a *access) { a.down = false })
		time.Sleep(lease)
		idle.Start()
		time.Sleep(lease)
		shares(t, []*node{idle}, 64)
		idle.leave(t)
		w.prepare(t, "never started").leave(t)
	})
}

func TestMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a, b := w.prepare(t, "a"), w.prepare(t, "b")
		var got []string
		b.Handle('e', func(from store.NodeID, data []byte) { got = append(got, "e "+string(data)) },
			func(from store.NodeID, data []byte) ([]byte, error) { return append(data, '!'), nil })
		b.Handle('d', func(from store.NodeID, data []byte) { got = append(got, "d "+string(data)) }, nil)
		if _, err := a.Ask(t.Context(), b.Self(), 'e', nil); err == nil || !strings.Contains(err.Error(), "still starting") {
			t.Fatalf("a question before Start: %v", err)
		}
		a.Start()
		b.Start()
		time.Sleep(lease)
		b.told(t)
		for _, text := range []string{"1", "2"} {
			if err := a.Send(b.Self(), 'e', []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		a.Spread('d', []byte("3"))
		synctest.Wait()
		if !slices.Equal(got, []string{"e 1", "e 2", "d 3"}) {
			t.Fatalf("b got %q", got)
		}
		if answer, err := a.Ask(t.Context(), b.Self(), 'e', []byte("what")); err != nil || string(answer) != "what!" {
			t.Fatalf("answer %q, %v", answer, err)
		}
		for _, kind := range []byte{'d', 'x'} {
			if _, err := a.Ask(t.Context(), b.Self(), kind, nil); err == nil || !strings.Contains(err.Error(), "does not know questions of that kind") {
				t.Fatalf("a question of kind %c: %v", kind, err)
			}
		}
		if told := b.told(t); len(told) != 0 {
			t.Fatalf("b was told %+v", told)
		}
		// A newer node may send what this one does not know.
		if err := a.Send(b.Self(), 'x', nil); err != nil {
			t.Fatal(err)
		}
		if told := b.told(t); len(told) != 1 || !told[0].Missed {
			t.Fatalf("b was told %+v", told)
		}
		a.leave(t)
		b.leave(t)
	})
}

// TestBusCutOff has a node look at the store instead.
func TestBusCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a := w.start(t, "a")
		a.told(t)
		w.x.Cut(a.Self())
		if a.Connected() {
			t.Fatal("it says that it is connected")
		}
		if err := a.Ready(); !errors.Is(err, bus.ErrDisconnected) {
			t.Fatalf("Ready: %v", err)
		}
		time.Sleep(lease)
		told := a.told(t)
		if len(told) != 4 {
			t.Fatalf("it was told %+v", told)
		}
		for _, change := range told {
			if !change.Missed || change.Gained|change.Lost != 0 {
				t.Fatalf("it was told %+v", change)
			}
		}
		w.x.Heal(a.Self())
		if told := a.told(t); len(told) != 1 || !told[0].Missed {
			t.Fatalf("when it was back it was told %+v", told)
		}
		time.Sleep(lease)
		if told := a.told(t); len(told) != 0 || a.Ready() != nil {
			t.Fatalf("later it was told %+v", told)
		}
		a.leave(t)
	})
}

// TestMissedTogether has many losses be told at once while nobody listens.
func TestMissedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a := w.start(t, "a")
		a.told(t)
		a.mu.Lock()
		a.slow = time.Second
		a.mu.Unlock()
		for range 100 {
			w.x.Cut(a.Self())
			w.x.Heal(a.Self())
			time.Sleep(time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		if told := a.told(t); len(told) != 2 {
			t.Fatalf("it was told %d times", len(told))
		}
		a.leave(t)
	})
}

func TestClock(t *testing.T) {
	for _, offset := range []time.Duration{0, 300 * time.Millisecond, -300 * time.Millisecond, time.Hour, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.offset = offset
			n := w.start(t, "a", func(a *access) { a.before, a.after = time.Millisecond, time.Millisecond })
			if got := n.clock.Offset(); got != offset {
				t.Fatalf("the offset is %v, want %v", got, offset)
			}
			err := n.Ready()
			switch {
			case offset.Abs() < time.Second && err != nil:
				t.Fatal(err)
			case offset == time.Hour && (err == nil || !strings.Contains(err.Error(), "1h0m0s behind the database's")),
				offset == -time.Hour && (err == nil || !strings.Contains(err.Error(), "1h0m0s ahead of the database's")):
				t.Fatalf("Ready: %v", err)
			}
			// A network that takes its time in one direction moves nothing.
			for _, slow := range [][2]time.Duration{{900 * time.Millisecond, 0}, {0, 900 * time.Millisecond}, {2 * time.Second, time.Second}} {
				n.access.set(func(a *access) { a.before, a.after = slow[0], slow[1] })
				time.Sleep(lease)
				if got := n.clock.Offset(); got != offset {
					t.Fatalf("with requests that take %v and answers that take %v the offset became %v from %v", slow[0], slow[1], got, offset)
				}
			}
			// A clock that was set is followed, as exactly as the network allows.
			n.access.set(func(a *access) { a.before, a.after = 3*time.Millisecond, time.Millisecond })
			w.memory.mu.Lock()
			w.offset += 250 * time.Millisecond
			w.memory.mu.Unlock()
			time.Sleep(lease)
			if off := (n.clock.Offset() - w.offset).Abs(); off > 4*time.Millisecond {
				t.Fatalf("the clock is wrong by %v", off)
			}
			n.leave(t)
		})
	}
}

func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a, b := w.start(t, "a"), w.start(t, "b")
		a.told(t)
		a.mu.Lock()
		a.slow = 3 * time.Second
		a.mu.Unlock()
		began := time.Now()
		a.access.set(func(x *access) { x.before = time.Minute })
		time.Sleep(lease / 3) // a renewal is in flight
		a.access.set(func(x *access) { x.before = 0 })
		a.leave(t)
		if took := time.Since(began) - lease/3; took != 3*time.Second {
			t.Fatalf("leaving took %v", took)
		}
		shares(t, []*node{b}, 64)
		if told := a.told(t); len(told) != 1 || told[0].Lost.Len() != 32 {
			t.Fatalf("a was told %+v", told)
		}
		if err := a.Ready(); err == nil {
			t.Fatal("a is ready after it left")
		}
		a.leave(t) // does nothing

		b.mu.Lock()
		b.slow = time.Hour
		b.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Leave(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("leaving with a function that does not return: %v", err)
		}
		time.Sleep(time.Hour)
	})
}

func BenchmarkHolds(b *testing.B) {
	w := newWorld()
	m, err := cluster.Join(b.Context(), cluster.Options{
		Store: &access{memory: w.memory}, Name: "a", Lease: time.Minute,
		Bus: func(self store.NodeID, h bus.Handler) (bus.Bus, error) { return w.x.Join(self, h), nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	m.Start()
	for b.Loop() {
		m.Holds(5)
	}
	if err := m.Leave(b.Context()); err != nil {
		b.Fatal(err)
	}
}
