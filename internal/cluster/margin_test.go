package cluster

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/store"
)

// TestHeldWithinLease lets a node lose the store in many ways, and compares at
// every moment what it thinks it holds with what the store would give to
// others. The store's clock runs faster than the node's.
func TestHeldWithinLease(t *testing.T) {
	for _, fault := range []func(*conn){
		func(*conn) {},
		func(c *conn) { c.there = 3 * time.Second },
		func(c *conn) { c.there = 4900 * time.Millisecond },
		func(c *conn) { c.there = 5100 * time.Millisecond },
		func(c *conn) { c.back = 3 * time.Second },
		func(c *conn) { c.back = 4900 * time.Millisecond },
		func(c *conn) { c.back = time.Hour },
	} {
		for _, then := range []time.Duration{0, DefaultLease / 4, DefaultLease / 3, DefaultLease / 2, 3 * DefaultLease / 4, DefaultLease} {
			bubble(t, func(t *testing.T, f *fixture) {
				f.faster = 30 * time.Millisecond
				p := f.join("a")
				time.Sleep(DefaultLease)
				p.conn.set(fault)
				failing := time.Now()
				for time.Since(failing) < 4*DefaultLease {
					time.Sleep(20 * time.Millisecond)
					if time.Since(failing) >= then {
						p.conn.set(func(c *conn) { c.broken = errors.New("the database is down") })
					}
					f.mu.Lock()
					over := !f.live[p.Self()].expires.After(f.now())
					f.mu.Unlock()
					if held := p.Held(); over && held != 0 {
						t.Fatalf("its lease is over, and it holds %d partitions", held.Len())
					}
				}
				p.conn.set(func(c *conn) { c.there, c.back = 0, 0 })
			})
		}
	}
}

// TestSlowStore has each renewal take a large part of the lease.
func TestSlowStore(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		p := f.join("a")
		synctest.Wait()
		p.conn.set(func(c *conn) { c.there, c.back = DefaultLease/5, DefaultLease/5 })
		for range 100 {
			after(time.Second)
			if p.Held() != store.AllPartitions {
				t.Fatalf("it holds %d partitions", p.Held().Len())
			}
		}
	})
}

// TestNudgeInFlight has a node come while another's renewal, which does not
// know of it, is being answered.
func TestNudgeInFlight(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		a := f.join("a")
		synctest.Wait()
		begun := make(chan struct{}, 10)
		a.conn.set(func(c *conn) {
			c.back = time.Second
			c.onRenew = func(store.PartitionSet) { begun <- struct{}{} }
		})
		<-begun
		after(100 * time.Millisecond)
		b := f.join("b")
		after(3500 * time.Millisecond) // for that answer, one that knows b, and one that gives up b's share
		if a.Held().Len() != 32 || b.Held().Len() != 32 {
			t.Errorf("a has %d, b has %d", a.Held().Len(), b.Held().Len())
		}
	})
}
