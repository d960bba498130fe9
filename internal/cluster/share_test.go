package cluster

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ringback/ringback/internal/store"
)

// TestShares lets nodes come and go, and sees that the work is shared fairly
// within two renewals and stays where it is, and that all come to know where.
func TestShares(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		var peers []*peer
		check := func(when string) {
			t.Helper()
			after(2 * DefaultLease / 4)
			var all store.PartitionSet
			var each []int
			for _, p := range peers {
				held := p.Held()
				if all&held != 0 {
					t.Errorf("%s: partitions are held twice", when)
				}
				all |= held
				each = append(each, held.Len())
				if len(p.Nodes()) != len(peers) {
					t.Errorf("%s: node %d sees %d nodes", when, p.Self(), len(p.Nodes()))
				}
				p.take()
			}
			if all != store.AllPartitions {
				t.Errorf("%s: nobody holds %v", when, (^all).List())
			}
			if slices.Max(each)-slices.Min(each) > 1 {
				t.Errorf("%s: the shares are %v", when, each)
			}
			after(time.Minute)
			for _, p := range peers {
				if c := p.take(); c.Gained|c.Lost != 0 || c.Missed || c.Left != nil {
					t.Errorf("%s: no rest: %+v", when, c)
				}
				for _, part := range p.Held().List() {
					for _, q := range peers {
						if q.Holder(part) != p.Self() {
							t.Errorf("%s: node %d takes node %d for the holder of %d, not node %d", when, q.Self(), q.Holder(part), part, p.Self())
						}
					}
				}
			}
		}
		for i := range 3 {
			peers = append(peers, f.join(fmt.Sprint("node ", i)))
			check(fmt.Sprint(len(peers), " nodes"))
		}
		gone := peers[1]
		gone.leave()
		peers = slices.Delete(peers, 1, 2)
		after(DefaultLease / 4)
		for _, p := range peers {
			if c := p.take(); !slices.Equal(c.Left, []store.NodeID{gone.Self()}) || p.Alive(gone.Self()) {
				t.Errorf("node %d was told: %+v", p.Self(), c)
			}
		}
		check("2 nodes again")
		for i := range 7 {
			peers = append(peers, f.join(fmt.Sprint("late ", i)))
		}
		check("9 nodes")
	})
}

// TestHandover sees how soon a fresh node has its share when the bus works,
// and that without it is not much later.
func TestHandover(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.join("a")
		after(time.Second)
		b := f.join("b")
		after(300 * time.Millisecond)
		if n := b.Held().Len(); n != 32 {
			t.Errorf("by the bus it has %d partitions", n)
		}
		b.leave()
		after(DefaultLease)
		f.exchange.Cut(f.last + 1)
		c := f.join("c")
		after(2*DefaultLease/4 + time.Second)
		if n := c.Held().Len(); n != 32 {
			t.Errorf("without the bus it has %d partitions", n)
		}
	})
}

// TestReleaseOrder holds up the handler that is told of what is lost, and sees
// that nobody else has it until it returns, though the lease is renewed.
func TestReleaseOrder(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		a := f.join("a")
		synctest.Wait()
		a.take()
		hold := make(chan struct{})
		var lost store.PartitionSet
		a.during(func(c Change) {
			if lost |= c.Lost; c.Lost != 0 {
				<-hold
			}
		})
		b := f.join("b")
		after(time.Second)
		if lost.Len() != 32 || a.Held() != ^lost {
			t.Fatalf("the change says %d partitions, %d are held", lost.Len(), a.Held().Len())
		}
		after(3 * DefaultLease)
		if a.Held() != ^lost || b.Held() != 0 {
			t.Fatalf("while the handler works a has %d, b has %d", a.Held().Len(), b.Held().Len())
		}
		if a.Holder(lost.List()[0]) != 0 {
			t.Error("a says who holds what is in between")
		}
		a.conn.set(func(c *conn) {
			c.onRenew = func(release store.PartitionSet) {
				if release != 0 && release != lost {
					t.Errorf("it gives up %v", release.List())
				}
			}
		})
		close(hold)
		after(DefaultLease/40 + 100*time.Millisecond) // nudges make nobody look more often
		if b.Held() != lost {
			t.Errorf("afterwards b has %d", b.Held().Len())
		}
	})
}

// TestSurplus has nodes with any holdings renew in any order, and come to
// fair shares, without ever giving up more than that needs.
func TestSurplus(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := newNodes()
		count := rapid.IntRange(1, 70).Draw(t, "nodes")
		conns := make([]*conn, count)
		for i := range conns {
			id := store.NodeID(i + 1)
			conns[i] = &conn{nodes: n, self: id}
			n.live[id] = &record{store.Node{ID: id}, time.Now().Add(time.Hour)}
		}
		n.lease = time.Hour
		for p := range n.owners {
			n.owners[p] = store.NodeID(rapid.IntRange(0, count).Draw(t, "owner"))
		}
		moves := 0
		round := func() {
			for _, i := range rapid.Permutation(conns).Draw(t, "order") {
				m, err := i.renew(0)
				if err != nil {
					t.Fatal(err)
				}
				if give := surplus(&m, i.self); give != 0 {
					moves += give.Len()
					if give&^m.Held(i.self) != 0 {
						t.Fatal("it gives what it has not")
					}
					if _, err := i.renew(give); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		for range 16 {
			round()
		}
		m := store.Membership{Owners: n.owners}
		least, most := store.PartitionCount, 0
		for _, c := range conns {
			held := m.Held(c.self).Len()
			least, most = min(least, held), max(most, held)
		}
		if most-least > 1 && least < store.PartitionCount/count {
			t.Fatalf("the shares are from %d to %d", least, most)
		}
		before := moves
		round()
		if moves != before {
			t.Fatalf("%d more moves when all is fair", moves-before)
		}
	})
}
