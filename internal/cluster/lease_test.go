package cluster

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/store"
)

// TestSuspension has the store not answer for longer than the lease lasts, but
// nobody end the incarnation.
func TestSuspension(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		p := f.join("a")
		synctest.Wait()
		if c := p.take(); c.Gained != store.AllPartitions || c.Missed {
			t.Errorf("at the start: %+v", c)
		}
		p.conn.set(func(c *conn) { c.silent = true })
		last := time.Duration(p.until.Load())
		after(last - p.now() - 1)
		if !p.Holds(0) || p.Held() != store.AllPartitions || p.take().Lost != 0 {
			t.Error("before the lease has run out it holds nothing")
		}
		time.Sleep(time.Nanosecond) // the very moment, before anybody else can act
		if p.Holds(0) || p.Held() != 0 {
			t.Error("when the lease has run out it still holds something")
		}
		synctest.Wait()
		if c := p.take(); c.Lost != store.AllPartitions || c.CutOff || c.Fenced != nil {
			t.Errorf("when the lease has run out: %+v", c)
		}
		if err := p.Ready(); err == nil || !strings.Contains(err.Error(), "lease of 10s ended 0s ago") {
			t.Errorf("ready: %v", err)
		}
		after(DefaultLease - time.Second)
		if c := p.take(); c.CutOff {
			t.Errorf("too early: %+v", c)
		}
		after(DefaultLease + 3*time.Second)
		if c := p.take(); !c.CutOff || c.Lost|c.Gained != 0 {
			t.Errorf("a lease later: %+v", c)
		}
		if err := p.Ready(); err == nil || !strings.Contains(err.Error(), "check that the store can be reached") || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ready: %v", err)
		}
		after(time.Minute)
		if c := p.take(); c.CutOff {
			t.Errorf("told twice: %+v", c)
		}
		p.conn.set(func(c *conn) { c.silent = false })
		after(DefaultLease + 2*time.Second)
		if c := p.take(); c.Gained != store.AllPartitions || !c.Missed || c.Lost != 0 || p.Held() != store.AllPartitions {
			t.Errorf("when the store answers again: %+v", c)
		}
		if err := p.Ready(); err != nil {
			t.Error(err)
		}
	})
}

// TestShortFailure has renewals fail for less than the lease, which nobody
// needs to know.
func TestShortFailure(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		p := f.join("a")
		synctest.Wait()
		p.take()
		for range 10 {
			p.conn.set(func(c *conn) { c.broken = errors.New("connection refused") })
			after(DefaultLease / 2)
			p.conn.set(func(c *conn) { c.broken = nil })
			after(DefaultLease / 5)
			if p.Held() != store.AllPartitions {
				t.Error("it lost something")
			}
		}
		if c := p.take(); c.Lost|c.Gained != 0 || c.Missed {
			t.Errorf("it was told: %+v", c)
		}
	})
}

// TestUnnoticed has the lease end for a moment in which the node does nothing,
// as when a process is stopped; whoever asked then has to be told.
func TestUnnoticed(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		p := f.join("a")
		synctest.Wait()
		p.take()
		// A renewal that was sent later than the lease lasts, and came back
		// before anything else could run.
		m, err := p.conn.renew(0)
		if err != nil {
			t.Fatal(err)
		}
		p.stop()
		p.renewing.Wait()
		p.until.Store(int64(p.now()))
		if p.Held() != 0 {
			t.Error("it holds something")
		}
		p.renewed(&renewal{membership: m, sent: p.now(), wall: time.Now()})
		synctest.Wait()
		if c := p.take(); c.Lost != store.AllPartitions || c.Gained != store.AllPartitions || !c.Missed {
			t.Errorf("it was told: %+v", c)
		}
	})
}

// TestLateAnswer has the answer to a renewal come when it says nothing any
// more: the lease counts from before it was sent.
func TestLateAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		p := f.join("a")
		synctest.Wait()
		p.conn.set(func(c *conn) { c.back = 3 * time.Second })
		after(time.Minute)
		if p.Held() != store.AllPartitions {
			t.Error("a slow store costs the lease")
		}
		sent := p.now()
		p.stop()
		p.renewing.Wait()
		m, err := p.conn.renew(0)
		if err != nil {
			t.Fatal(err)
		}
		after(DefaultLease + time.Second)
		p.renewed(&renewal{membership: m, sent: sent, wall: time.Now()})
		if p.Held() != 0 {
			t.Error("an answer that came too late renews the lease")
		}
	})
}

// TestFenced has a node come back after others have ended its incarnation.
func TestFenced(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		a, b := f.join("a"), f.join("b")
		after(10 * time.Second)
		a.take()
		b.take()
		a.conn.set(func(c *conn) { c.broken = errors.New("connection refused") })
		began := time.Now()
		for b.Held() != store.AllPartitions {
			if a.Held()&b.Held() != 0 {
				t.Fatal("two nodes hold a partition")
			}
			if time.Since(began) > 2*DefaultLease {
				t.Fatal("b does not take over")
			}
			after(10 * time.Millisecond)
		}
		if took := time.Since(began); took > DefaultLease*5/4+100*time.Millisecond {
			t.Errorf("taking over took %v", took)
		}
		if c := b.take(); len(c.Left) != 1 || c.Left[0] != a.Self() || c.Gained.Len() != 32 {
			t.Errorf("b was told: %+v", c)
		}
		a.conn.set(func(c *conn) { c.broken = nil })
		after(DefaultLease)
		if c := a.take(); !errors.Is(c.Fenced, store.ErrFenced) || c.Lost.Len() != 32 || c.Gained != 0 {
			t.Errorf("a was told: %+v", c)
		}
		if err := a.Ready(); !errors.Is(err, store.ErrFenced) {
			t.Errorf("ready: %v", err)
		}
		tried := a.conn.renewals
		after(time.Minute)
		if a.conn.renewals != tried || a.Held() != 0 {
			t.Error("it goes on")
		}
	})
}

// TestRestart has a node that died come back under its name.
func TestRestart(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		dead := f.prepare()
		if _, err := dead.conn.JoinNode(t.Context(), "a", DefaultLease); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		p := f.join("a")
		if took := time.Since(began); took < DefaultLease-time.Second || took > DefaultLease+time.Second {
			t.Errorf("it began after %v", took)
		}
		began = time.Now()
		other := f.prepare()
		_, err := Join(t.Context(), f.options(other, "a"))
		var taken *store.NodeTakenError
		if !errors.As(err, &taken) || taken.Name != "a" || time.Since(began) > DefaultLease+time.Second {
			t.Errorf("joining beside a living node of that name: %v after %v", err, time.Since(began))
		}
		p.leave()
		began = time.Now()
		f.join("a")
		if took := time.Since(began); took > time.Second {
			t.Errorf("after a node that has left it took %v", took)
		}
	})
}

// TestNoBus has the bus refuse the node, which must not leave its name taken.
func TestNoBus(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		p := f.prepare()
		opts := f.options(p, "a")
		opts.Bus = func(store.NodeID, bus.Handler) (bus.Bus, error) { return nil, errors.New("wrong password") }
		if _, err := Join(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "wrong password") {
			t.Errorf("join: %v", err)
		}
		if len(f.live) != 0 {
			t.Error("the incarnation lives on")
		}
		p.conn.set(func(c *conn) { c.broken = errors.New("no such host") })
		if _, err := Join(t.Context(), f.options(p, "a")); err == nil || !strings.Contains(err.Error(), "no such host") {
			t.Errorf("join without a store: %v", err)
		}
	})
}

// TestLeave has a node leave while it still works on something.
func TestLeave(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		a, b := f.join("a"), f.join("b")
		after(10 * time.Second)
		held := a.Held()
		a.take()
		a.during(func(c Change) {
			time.Sleep(time.Second)
			if f.live[a.Self()] == nil {
				t.Error("it left before the handler was done")
			}
		})
		a.leave()
		after(100 * time.Millisecond)
		if c := a.take(); c.Lost != held || a.Held() != 0 {
			t.Errorf("a was told: %+v", c)
		}
		if b.Held() != store.AllPartitions {
			t.Error("b has not taken over at once")
		}
		if err := a.Send(b.Self(), 'x', nil); !errors.Is(err, bus.ErrClosed) {
			t.Errorf("sending afterwards: %v", err)
		}

		block := make(chan struct{})
		b.during(func(Change) { <-block })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		b.left = true
		if err := b.Leave(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a handler that does not end: %v", err)
		}
		if len(f.live) != 0 {
			t.Error("b lives on")
		}
		close(block)
	})
}

// TestClock keeps a clock at the store's time.
func TestClock(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.offset = -time.Hour
		p := f.join("a")
		off := func() time.Duration { return p.clock.Offset() - f.offset }
		if off() != 0 {
			t.Errorf("at the start the clock is off by %v", off())
		}
		if err := p.Ready(); err == nil || !strings.Contains(err.Error(), "1h0m0s ahead of the store's") {
			t.Errorf("ready: %v", err)
		}
		// Ways of different length, there and back, do not shake it.
		for i := range 40 {
			p.conn.set(func(c *conn) {
				c.there, c.back = time.Duration(1+i*7%30)*time.Millisecond, time.Duration(1+i*11%30)*time.Millisecond
			})
			after(DefaultLease / 4)
			if off() != 0 {
				t.Fatalf("after a slow answer the clock is off by %v", off())
			}
		}
		p.conn.set(func(c *conn) { c.there, c.back = time.Millisecond, 3*time.Millisecond })
		// One that drifts is followed, as far as can be known.
		for range 40 {
			f.mu.Lock()
			f.offset += 500 * time.Microsecond
			f.mu.Unlock()
			after(DefaultLease / 4)
			if off().Abs() > 4*time.Millisecond {
				t.Fatalf("the clock lags by %v", off())
			}
		}
		// One that is set is followed at once.
		f.mu.Lock()
		f.offset = 300 * time.Millisecond
		f.mu.Unlock()
		after(DefaultLease / 4)
		if off().Abs() > 4*time.Millisecond {
			t.Errorf("after it was set the clock is off by %v", off())
		}
		if err := p.Ready(); err != nil {
			t.Error(err)
		}
		f.mu.Lock()
		f.offset = 1100 * time.Millisecond
		f.mu.Unlock()
		after(DefaultLease / 4)
		if err := p.Ready(); err == nil || !strings.Contains(err.Error(), "1.1s behind the store's: set both by NTP") {
			t.Errorf("ready: %v", err)
		}
	})
}

// TestStepped passes over what was measured while the machine's clock was set.
func TestStepped(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		p := f.join("a")
		before := p.clock.Offset()
		p.stop()
		p.renewing.Wait()
		p.adjust(&renewal{membership: store.Membership{At: time.Now().Add(time.Hour)}, wall: time.Now(), stepped: true})
		if p.clock.Offset() != before {
			t.Error("it believes it")
		}
		if _, stepped := p.sinceWall(time.Now().Add(-time.Hour)); stepped {
			t.Error("time passing is taken for a clock being set")
		}
	})
}

// TestJoinWithoutClock uses a Member whose owner has no clock.
func TestJoinWithoutClock(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		p := f.prepare()
		opts := f.options(p, "a")
		opts.Clock, opts.Logger = nil, slog.New(slog.DiscardHandler)
		m, err := Join(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		if m.Held() != store.AllPartitions || m.Name() != "a" {
			t.Errorf("it holds %d partitions", m.Held().Len())
		}
		if err := m.Leave(t.Context()); err != nil { // without Start
			t.Error(err)
		}
	})
}
