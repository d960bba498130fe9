package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// NodeStore is a store that nodes share.
type NodeStore interface {
	store.Store
	store.Nodes
}

// RunNodes runs the suite of back ends whose database several stores open at
// once. The opener gives, for the same directory, another store of the same
// database each time, and closes it at the end of the test.
func RunNodes(t *testing.T, open func(t *testing.T, dir string) NodeStore) {
	for _, test := range []struct {
		name string
		run  func(f *nodesFixture)
	}{
		{"Join", nodesJoin},
		{"Lease", nodesLease},
		{"Shares", nodesShares},
		{"Expire", nodesExpire},
		{"Fenced", nodesFenced},
		{"FencedAmongCommits", nodesFencedAmongCommits},
		{"LostSessions", nodesLostSessions},
		{"Clock", nodesClock},
		{"EventsFollowed", nodesEventsFollowed},
		{"OneWinner", nodesOneWinner},
		{"Presence", nodesPresence},
		{"EndpointRemoved", nodesEndpointRemoved},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			f := &nodesFixture{fixture: &fixture{T: t, dir: dir}, another: func() NodeStore { return open(t, dir) }}
			f.a, f.b = f.another(), f.another()
			f.Store = f.a
			test.run(f)
		})
	}
}

// nodesFixture is two stores of one database; that of the fixture is the first.
type nodesFixture struct {
	*fixture
	a, b    NodeStore
	another func() NodeStore
}

// lease is so long that no node dies unless a test waits for it.
const lease = time.Minute

func (f *nodesFixture) join(s NodeStore, name string, lease time.Duration) store.NodeID {
	f.Helper()
	id, err := s.JoinNode(f.ctx(), name, lease)
	f.ok(err)
	return id
}

func (f *nodesFixture) renew(s NodeStore, release store.PartitionSet) store.Membership {
	f.Helper()
	m, err := s.RenewNode(f.ctx(), release)
	f.ok(err)
	return m
}

func nodesJoin(f *nodesFixture) {
	if _, err := f.a.RenewNode(f.ctx(), 0); err == nil {
		f.Fatal("a store that has not joined renews a lease")
	}
	before := call.At(time.Now())
	a := f.join(f.a, "a \x00ü", lease)
	if _, err := f.a.JoinNode(f.ctx(), "other", lease); err == nil {
		f.Fatal("a store joins twice")
	}
	_, err := f.b.JoinNode(f.ctx(), "a \x00ü", lease)
	var taken *store.NodeTakenError
	if !errors.As(err, &taken) || taken.Name != "a \x00ü" || taken.Until <= 0 || taken.Until > lease {
		f.Fatalf("a name that is taken gives %v", err)
	}
	_, err = f.b.JoinNode(f.ctx(), "b", 2*lease)
	var differs *store.LeaseError
	if !errors.As(err, &differs) || *differs != (store.LeaseError{Theirs: lease, Ours: 2 * lease}) {
		f.Fatalf("another lease gives %v", err)
	}
	if _, err = f.b.JoinNode(f.ctx(), "b", time.Second-1); err == nil {
		f.Fatal("a lease of less than a second is taken")
	}
	b := f.join(f.b, "b", lease)
	if a <= 0 || b <= a {
		f.Fatalf("node %d comes after %d", b, a)
	}
	m := f.renew(f.b, 0)
	f.equal("nodes", len(m.Nodes), 2)
	for i, n := range []store.Node{{ID: a, Name: "a \x00ü"}, {ID: b, Name: "b"}} {
		got := m.Nodes[i]
		if got.JoinedAt < before-60_000 || got.JoinedAt > call.At(time.Now())+60_000 {
			f.Fatalf("a node joined at %v", got.JoinedAt.Time())
		}
		got.JoinedAt = 0
		f.equal("node", got, n)
	}
	// One that leaves makes room for another of its name, with any lease.
	f.ok(f.a.LeaveNode(f.ctx()))
	f.ok(f.b.LeaveNode(f.ctx()))
	c := f.another()
	if id := f.join(c, "a \x00ü", 2*lease); id <= b {
		f.Fatalf("node %d comes after %d", id, b)
	}
	f.equal("nodes", len(f.renew(c, 0).Nodes), 1)
	_, err = f.a.RenewNode(f.ctx(), 0)
	f.fails(err, store.ErrFenced)
}

// nodesLease says that another lease is possible once those with the old one
// are gone, and a dead node's name when its lease has ended.
func nodesLease(f *nodesFixture) {
	dead := f.join(f.a, "a", time.Second)
	f.renew(f.a, 0)
	var id store.NodeID
	f.eventually(func() bool {
		var err error
		id, err = f.b.JoinNode(f.ctx(), "a", 2*time.Second)
		var taken *store.NodeTakenError
		if err != nil && !errors.As(err, &taken) {
			f.Fatal(err)
		}
		return err == nil
	})
	if id <= dead {
		f.Fatalf("node %d comes after %d", id, dead)
	}
	_, err := f.a.RenewNode(f.ctx(), 0)
	f.fails(err, store.ErrFenced)
}

// eventually waits until something is so.
func (f *nodesFixture) eventually(is func() bool) {
	f.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); {
		if time.Now().After(deadline) {
			f.Fatal("it does not happen")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func nodesShares(f *nodesFixture) {
	a := f.join(f.a, "a", lease)
	m := f.renew(f.a, 0)
	f.equal("all", m.Held(a), store.AllPartitions)
	b := f.join(f.b, "b", lease)
	m = f.renew(f.b, 0)
	f.equal("of the second at first", m.Held(b), store.PartitionSet(0))
	f.equal("of the first", m.Held(a), store.AllPartitions)

	half := store.PartitionSet(1<<32 - 1)
	m = f.renew(f.a, half)
	f.equal("of the first", m.Held(a), store.AllPartitions&^half)
	m = f.renew(f.a, 0)
	f.equal("of the first", m.Held(a), store.AllPartitions&^half)
	m = f.renew(f.b, 0)
	f.equal("of the second", m.Held(b), half)
	f.equal("of the first", m.Held(a), store.AllPartitions&^half)

	// What is not one's own is not given up.
	m = f.renew(f.b, store.AllPartitions&^half)
	f.equal("of the first", m.Held(a), store.AllPartitions&^half)

	third := f.another()
	c := f.join(third, "c", lease)
	m = f.renew(third, 0)
	f.equal("of the third at first", m.Held(c), store.PartitionSet(0))
	f.renew(f.a, firstOf(m.Held(a), 10))
	f.renew(f.b, firstOf(m.Held(b), 11))
	m = f.renew(third, 0)
	f.equal("shares", fmt.Sprint(m.Held(a).Len(), m.Held(b).Len(), m.Held(c).Len()), "22 22 20")

	// One leaves: the others take what it had, each up to its share.
	f.ok(f.a.LeaveNode(f.ctx()))
	m = f.renew(third, 0)
	f.equal("of the third", m.Held(c).Len(), 32)
	m = f.renew(f.b, 0)
	f.equal("of the second", m.Held(b).Len(), 32)
	f.equal("together", m.Held(b)|m.Held(c), store.AllPartitions)
	f.equal("nodes", len(m.Nodes), 2)
}

// firstOf gives n partitions of a set.
func firstOf(s store.PartitionSet, n int) (first store.PartitionSet) {
	for ; n > 0; n-- {
		p := bits.TrailingZeros64(uint64(s))
		first, s = first.With(p), s&(s-1)
	}
	return first
}

// nodesExpire has one node stop renewing its lease, and another go on.
func nodesExpire(f *nodesFixture) {
	a, b := f.join(f.a, "a", time.Second), f.join(f.b, "b", time.Second)
	m := f.renew(f.a, 0)
	f.equal("of the first", m.Held(a).Len(), 32)
	var last store.Membership
	f.eventually(func() bool {
		last = f.renew(f.b, 0)
		return last.Held(b) == store.AllPartitions
	})
	f.equal("nodes", len(last.Nodes), 1)
	if lived := last.At.Sub(m.At); lived < time.Second {
		f.Fatalf("a lease of a second ended after %v", lived)
	}
	_, err := f.a.RenewNode(f.ctx(), 0)
	f.fails(err, store.ErrFenced)
	m = f.renew(f.b, 0)
	f.equal("of the second", m.Held(b), store.AllPartitions)
}

// nodesFenced says that nothing goes through of a node that was ended.
func nodesFenced(f *nodesFixture) {
	ep := f.endpoints("http://a")[0]
	c, ds := f.deliver(now, ep, 2)
	f.join(f.a, "a", lease)
	f.join(f.b, "b", lease)
	f.attempt(ds[0], store.Failed, 0) // while it lives
	before, last := f.deliveriesOf(c.ID), f.lastEvent()
	f.ok(f.a.LeaveNode(f.ctx()))

	fresh := f.ring(now, "alice", "bob")
	f.fails(f.a.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: fresh}}), store.ErrFenced)
	f.fails(login(f.a, f.fixture, "alice", "s", 0), store.ErrFenced)
	f.fails(f.a.AddEvents(f.ctx(), []*store.Event{f.event(nil, now)}), store.ErrFenced)
	f.fails(f.a.RecordAttempts(f.ctx(), []store.Attempt{{Delivery: ds[1].Key(), Number: 1, State: store.Delivered}}), store.ErrFenced)
	_, err := f.a.Redeliver(f.ctx(), []store.DeliveryKey{ds[0].Key()}, nil, now)
	f.fails(err, store.ErrFenced)
	_, err = f.a.RenewNode(f.ctx(), 0)
	f.fails(err, store.ErrFenced)

	f.Store = f.b
	_, err = f.Call(f.ctx(), fresh.ID)
	f.fails(err, store.ErrNotFound)
	f.equal("deliveries", f.deliveriesOf(c.ID), before)
	f.equal("last event", f.lastEvent(), last)
	f.equal("sessions", f.sessionsOf("alice"), []store.Session(nil))
	f.create(fresh) // the other goes on
	f.attempt(ds[1], store.Delivered, 0)
	unjoined := f.another() // and so does who is no node
	f.ok(unjoined.AddEvents(f.ctx(), []*store.Event{f.event(nil, now)}))
}

// nodesFencedAmongCommits ends a node while it writes: what it was told is
// written was there when it was ended.
func nodesFencedAmongCommits(f *nodesFixture) {
	f.join(f.a, "a", lease)
	var ended atomic.Bool
	var wg sync.WaitGroup
	for range 8 {
		calls := make([]*call.Call, 400)
		for i := range calls {
			calls[i] = f.ring(now, "alice", "bob")
		}
		wg.Go(func() {
			for _, c := range calls {
				late := ended.Load()
				err := f.a.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: c}, Events: []*store.Event{{App: app, Call: c.ID}}})
				switch {
				case err == nil && late:
					f.Error("a commit goes through after the end of the node")
					return
				case errors.Is(err, store.ErrFenced):
					return
				case err != nil:
					f.Error(err)
					return
				}
			}
		})
	}
	f.Store = f.b
	f.eventually(func() bool { return f.lastEvent() > 0 })
	f.ok(f.a.LeaveNode(f.ctx()))
	ended.Store(true)
	last := f.lastEvent()
	wg.Wait()
	f.equal("last event", f.lastEvent(), last)
}

func nodesLostSessions(f *nodesFixture) {
	a, b := f.join(f.a, "a", lease), f.join(f.b, "b", lease)
	third := f.another()
	c := f.join(third, "c", lease)
	var all []store.Session
	for i := range 30 {
		user := call.UserID(fmt.Sprintf("u%02d", i/2))
		s := store.Session{App: app + uint32(i%3), User: user, ID: call.SessionID(fmt.Sprint(i)), LoginAt: now, Node: []store.NodeID{a, b, c, 0}[i%4]}
		if i%5 == 4 {
			s.OfflineAt = now
		}
		f.Store = third
		f.commitSessions(&store.SessionCommit{App: s.App, User: user, Login: true, Put: []store.Session{s}})
		all = append(all, s)
	}
	lost := func(before call.Instant, limit int) (got []store.Session) {
		f.Helper()
		for after := (store.Session{}); ; after = got[len(got)-1] {
			page, err := third.LostSessions(f.ctx(), before, after, limit)
			f.ok(err)
			if got = append(got, page...); len(page) < limit {
				return got
			}
		}
	}
	slices.SortFunc(all, func(a, b store.Session) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.User, b.User), cmp.Compare(a.ID, b.ID))
	})
	want := func(nodes ...store.NodeID) (list []store.Session) {
		for _, s := range all {
			if s.OfflineAt == 0 && slices.Contains(nodes, s.Node) {
				list = append(list, s)
			}
		}
		return list
	}
	const never = call.Instant(1 << 60)
	f.equal("lost", lost(never, 100), []store.Session(nil))
	before, err := third.Clock(f.ctx())
	f.ok(err)
	f.ok(f.a.LeaveNode(f.ctx()))
	f.equal("lost before", lost(call.At(before), 100), []store.Session(nil))
	f.equal("lost", lost(never, 100), want(a))
	f.ok(f.b.LeaveNode(f.ctx()))
	for _, limit := range []int{1, 3, 100} {
		f.equal("lost", lost(never, limit), want(a, b))
	}
	// One comes back to a node that lives.
	first := slices.IndexFunc(all, func(s store.Session) bool { return s.OfflineAt == 0 && s.Node == a })
	all[first].Node = c
	f.commitSessions(&store.SessionCommit{App: all[first].App, User: all[first].User, Put: all[first : first+1]})
	f.equal("lost", lost(never, 2), want(a, b))
}

func nodesClock(f *nodesFixture) {
	last := time.Time{}
	for range 3 {
		at, err := f.a.Clock(f.ctx())
		f.ok(err)
		if !at.After(last) || time.Since(at).Abs() > time.Minute {
			f.Fatalf("the clock says %v after %v", at, last)
		}
		last = at
	}
	f.join(f.a, "a", lease)
	if m := f.renew(f.a, 0); !m.At.After(last) {
		f.Fatalf("a renewal says %v after %v", m.At, last)
	}
}

// nodesEventsFollowed has a reader follow while many write to two stores.
func nodesEventsFollowed(f *nodesFixture) {
	f.join(f.a, "a", lease)
	f.join(f.b, "b", lease)
	const writers, rounds = 8, 25
	written := make([][]*store.Event, writers)
	var wg sync.WaitGroup
	for i := range writers {
		s := []NodeStore{f.a, f.b}[i%2]
		c := f.ring(now, "alice", "bob")
		wg.Go(func() {
			for n := range rounds {
				events := []*store.Event{{App: app, Name: fmt.Sprint(i, "-", n), At: now}, {App: app, Name: fmt.Sprint(i, "-", n, "b"), At: now}}
				var err error
				switch {
				case i < 4 && n == 0:
					err = s.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: c}, Events: events})
				case i < 4:
					next := *c
					next.Version++
					err = s.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: &next}, Prior: c.Version, Events: events})
					c = &next
				default:
					err = s.AddEvents(f.ctx(), events)
				}
				if err != nil {
					f.Error(err)
					return
				}
				written[i] = append(written[i], events...)
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	f.Store = f.another()
	var seen []*store.Event
	var next store.EventID
	for last := false; !last; {
		select {
		case <-ended:
			last = true
		default:
		}
		var events []*store.Event
		events, next = f.follow(0, next, 5)
		seen = append(seen, events...)
	}
	at := make(map[string]int)
	for i, e := range seen {
		if i > 0 && e.ID <= seen[i-1].ID {
			f.Fatalf("event %d is seen after %d", e.ID, seen[i-1].ID)
		}
		at[e.Name] = i
	}
	f.equal("events seen", len(at), 2*writers*rounds)
	for i := range written {
		for k, e := range written[i] {
			n, ok := at[e.Name]
			if !ok {
				f.Fatalf("event %q is not seen", e.Name)
			}
			f.equal("event seen", seen[n].ID, e.ID)
			if k > 0 && n < at[written[i][k-1].Name] {
				f.Fatalf("event %q is seen before the one before", e.Name)
			}
		}
	}
}

// nodesOneWinner has two stores race for each version of calls and sessions,
// and for a request.
func nodesOneWinner(f *nodesFixture) {
	head := f.ring(now, "alice", "bob")
	f.create(head)
	for v := range 8 {
		var winners atomic.Int32
		var wg sync.WaitGroup
		for w := range 8 {
			s := []NodeStore{f.a, f.b}[w%2]
			fresh := f.ring(now, "alice", "bob")
			wg.Go(func() {
				next := *head
				next.Version++
				err := s.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: &next, CommitID: uint64(w)}, Prior: head.Version})
				if err == nil {
					winners.Add(1)
				} else if !errors.Is(err, store.ErrConflict) {
					f.Error(err)
				}
			})
			wg.Go(func() {
				err := s.CommitCall(f.ctx(), &store.CallCommit{
					CallRecord: store.CallRecord{Call: fresh}, Request: &store.Request{User: "alice", ID: fmt.Sprint(v), Call: fresh.ID, Expires: now + 1000},
				})
				var duplicate *store.DuplicateRequestError
				if err == nil {
					winners.Add(100)
				} else if !errors.As(err, &duplicate) {
					f.Error(err)
				}
			})
		}
		wg.Wait()
		f.equal("winners", winners.Load(), int32(101))
		head = f.call(head.ID).Call
		f.equal("version", head.Version, int64(v+2))
	}
	before := f.lastEvent()
	f.equal("last event", before, store.EventID(0))
	oneSessionWinner(f.fixture, f.a, f.b)
}

func nodesPresence(f *nodesFixture) { meet(f.fixture, f.a, f.b) }

// nodesEndpointRemoved has one store remove an endpoint while another commits
// to it: nothing stays pending.
func nodesEndpointRemoved(f *nodesFixture) {
	for range 4 {
		ep := f.endpoints("http://a")[0]
		var wg sync.WaitGroup
		for range 8 {
			calls := make([]*call.Call, 6)
			for i := range calls {
				calls[i] = f.ring(now, "alice", "bob")
			}
			wg.Go(func() {
				for _, c := range calls {
					e := f.event(c, now, store.Subscription{Endpoint: ep, Sequence: 1})
					commit := &store.CallCommit{CallRecord: store.CallRecord{Call: c}, Events: []*store.Event{e}}
					key := store.DeliveryKey{Endpoint: ep, Call: c.ID, Sequence: 1}
					err := f.b.CommitCall(f.ctx(), commit)
					if err == nil {
						err = f.b.RecordAttempts(f.ctx(), []store.Attempt{{Delivery: key, Number: 1, State: store.Pending, Due: now}})
					}
					if err == nil {
						err = f.b.RecordAttempts(f.ctx(), []store.Attempt{{Delivery: key, Number: 2, State: store.Failed}})
					}
					if err == nil {
						_, err = f.b.Redeliver(f.ctx(), []store.DeliveryKey{key}, nil, now)
					}
					if err != nil {
						f.Error(err)
						return
					}
				}
			})
		}
		f.endpoints()
		wg.Wait()
		f.equal("pending", f.pending(ep, now+1e9, false, 1000), []*store.Delivery(nil))
	}
}
