package webhook

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/clock"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/protocol"
)

// lease is which partitions a node holds.
type lease struct{ set atomic.Uint64 }

func (l *lease) Holds(p int) bool { return l.held().Has(p) }

func (l *lease) held() store.PartitionSet { return store.PartitionSet(l.set.Load()) }

// node is a Deliverer among others.
type node struct {
	*Deliverer
	lease
}

func (w *world) node(change func(*Options), endpoints ...Endpoint) *node {
	w.t.Helper()
	n := new(node)
	o := Options{Store: w.store, Endpoints: endpoints, Version: "test", transport: w, Partitions: &n.lease}
	if change != nil {
		change(&o)
	}
	d, err := New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	n.Deliverer = d
	d.Start()
	return n
}

func (n *node) gain(parts store.PartitionSet) {
	n.set.Store(uint64(n.held() | parts))
	n.Gain(parts)
}

func (n *node) drop(parts store.PartitionSet) {
	n.Drop(parts)
	n.set.Store(uint64(n.held() &^ parts))
}

func (n *node) stop(t *testing.T) {
	t.Helper()
	if err := n.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func parts(list ...int) (set store.PartitionSet) {
	for _, p := range list {
		set = set.With(p)
	}
	return set
}

// handOff commits an event of each call and hands it to nodes.
func (w *world) handOff(calls []call.ID, nodes ...*node) {
	for _, id := range calls {
		ev := w.store.commit(id, one...)
		for _, n := range nodes {
			n.HandOff([]*store.Event{ev})
		}
	}
}

func TestOnlyWhatIsMinded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.node(nil, endpointNo(1, nil))
		synctest.Wait()
		if w.store.queries+w.store.looks != 0 {
			t.Errorf("%d queries of a node without partitions", w.store.queries+w.store.looks)
		}
		w.handOff([]call.ID{1, 2}, n)
		w.wantSeen("")
		n.gain(parts(1))
		w.wantSeen("1#1@0") // that of call 2 is for another node
		w.handOff([]call.ID{1, 2}, n)
		w.wantSeen("1#1@0 3#1@0")
		n.stop(t)
	})
}

// Moved partitions are looked up; those who drop them let what is in flight
// finish.
func TestMovedPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = takes(300*time.Millisecond, http.StatusInternalServerError)
		a, b := w.node(nil, endpointNo(1, nil)), w.node(nil, endpointNo(1, nil))
		a.gain(parts(1, 2))
		w.handOff([]call.ID{1, 1, 2}, a)
		synctest.Wait()
		a.drop(parts(1))
		if took := time.Since(w.begin); took < 300*time.Millisecond || took > 400*time.Millisecond {
			t.Errorf("Drop took %v, want as long as the request and the writing of its result", took)
		}
		b.gain(parts(1))
		time.Sleep(time.Minute)
		synctest.Wait()
		w.mu.Lock()
		requests := slices.Clone(w.requests)
		w.mu.Unlock()
		// Event 2 was behind event 1 in a; 3 stays there.
		for event, want := range map[int]string{1: "1 2 3", 2: "1 2", 3: "1 2 3"} {
			var got string
			for _, r := range requests {
				if r.number() == event && r.attempt <= 3 && len(got) < len(want) {
					got += fmt.Sprint(r.attempt, " ")
				}
			}
			if got[:len(got)-1] != want {
				t.Errorf("event %d: attempts %s, want %s", event, got, want)
			}
		}
		seen := make(map[string]bool)
		for _, r := range requests {
			id := fmt.Sprint(r.event, r.attempt)
			if seen[id] {
				t.Errorf("%s twice", id)
			}
			seen[id] = true
		}
		a.stop(t)
		b.stop(t)
	})
}

// Nothing is begun while the lease has run out, even if nobody has said so.
func TestRunOutLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var status atomic.Int32
		status.Store(500)
		w.answer = func(context.Context, *request) int { return int(status.Load()) }
		n := w.node(nil, endpointNo(1, func(e *Endpoint) { e.Hold = true }), endpointNo(2, nil))
		n.gain(parts(1, 2))
		n.set.Store(uint64(parts(2)))
		w.handOff([]call.ID{1, 1, 2}, n)
		w.wantSeen("3#1@0")
		if m := len(n.targets[1].owned); m != 1 {
			t.Errorf("%d in memory, want that of partition 2", m)
		}
		n.set.Store(uint64(parts(1, 2)))
		n.Gain(parts(1))
		status.Store(200)
		time.Sleep(time.Minute)
		w.checkAll(1, 3, store.Delivered)
		n.stop(t)
	})
}

// A hand-off that got lost is found, and what follows it in its call does not
// overtake it after a Wake.
func TestLostHandOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.node(nil, endpointNo(1, nil))
		n.gain(parts(1, 2))
		w.handOff([]call.ID{1}, n)
		time.Sleep(lookEvery - time.Second)
		w.handOff([]call.ID{1}) // to nobody
		time.Sleep(lookEvery)   // at the first look it is not late yet
		w.wantSeen("1#1@0")
		time.Sleep(lookEvery)
		w.wantSeen("1#1@0 2#1@10")
		w.handOff([]call.ID{2})
		n.Wake(1)
		w.handOff([]call.ID{2}, n)
		w.wantSeen("1#1@0 2#1@10 3#1@14 4#1@14")
		w.checkOrder(false)
		n.stop(t)
	})
}

// While nothing is missing, looks load nothing, however slow the endpoint is.
func TestLooksAreCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = takes(100*time.Millisecond, 200)
		n := w.node(nil, endpointNo(1, func(e *Endpoint) { e.InFlight = 1 }))
		n.gain(store.AllPartitions)
		synctest.Wait()
		w.handOff([]call.ID{1}, n) // the first load is of this one
		time.Sleep(time.Second)
		synctest.Wait()
		queries, looks := w.store.queries, w.store.looks
		for id := range call.ID(300) {
			w.handOff([]call.ID{id + 1}, n)
		}
		time.Sleep(time.Minute)
		w.checkAll(1, 301, store.Delivered)
		if w.store.queries != queries {
			t.Errorf("%d loads", w.store.queries-queries)
		}
		if got := w.store.looks - looks; got < 12 || got > 24 {
			t.Errorf("%d looks in a minute", got)
		}
		n.stop(t)
	})
}

func TestLooksGoOnAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.node(nil, endpointNo(1, nil))
		w.handOff([]call.ID{1})
		w.weather(0, store.ErrFull)
		n.gain(parts(1))
		time.Sleep(3 * time.Second)
		w.weather(0, nil)
		time.Sleep(lookEvery)
		w.checkAll(1, 1, store.Delivered)
		n.stop(t)
	})
}

// fencedStore is the store of a node whose work others have taken over.
type fencedStore struct{ *fakeStore }

func (fencedStore) RecordAttempts(context.Context, []store.Attempt) error { return store.ErrFenced }

func TestFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.node(func(o *Options) { o.Store = fencedStore{w.store} }, endpointNo(1, nil))
		n.gain(store.AllPartitions)
		w.handOff([]call.ID{1, 2, 3}, n)
		time.Sleep(time.Second)
		begin := time.Now()
		n.drop(store.AllPartitions)
		n.stop(t)
		if took := time.Since(begin); took > 2*recordLinger {
			t.Errorf("closing took %v", took)
		}
		w.wantSeen("1#1@0 2#1@0 3#1@0")
	})
}

func TestRedeliverElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var others []*store.Delivery
		n := w.node(func(o *Options) { o.Elsewhere = func(list []*store.Delivery) { others = append(others, list...) } }, endpointNo(1, nil))
		n.gain(store.AllPartitions)
		w.handOff([]call.ID{1, 2}, n)
		time.Sleep(time.Second)
		n.drop(parts(2))
		w.d = n.Deliverer
		w.redeliver(key(1, 1, 1), key(1, 1, 2))
		w.wantSeen("1#1@0 2#1@0 1#2@1")
		if len(others) != 1 || others[0].Call != 2 {
			t.Errorf("for others: %v, want that of call 2", others)
		}
		n.stop(t)
	})
}

// Partitions that move back and forth under load cost no delivery, keep the
// order of first attempts, and make doubles only when a request outlasts Drop.
func TestPartitionsMoveUnderLoad(t *testing.T) {
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict=%v", strict), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { moveUnderLoad(t, strict) })
		})
	}
}

func moveUnderLoad(t *testing.T, strict bool) {
	const seconds, calls = 15, 40
	w := newWorld(t)
	random := rand.New(rand.NewPCG(1, 2))
	w.answer = func(ctx context.Context, r *request) int {
		if r.number()%7 == 3 && r.attempt < 3 {
			return takes(20*time.Millisecond, 500)(ctx, r)
		}
		return takes(time.Duration(r.number()%50)*time.Millisecond, 200)(ctx, r)
	}
	var nodes []*node
	for range 2 {
		nodes = append(nodes, w.node(func(o *Options) { o.capacity = 64 }, endpointNo(1, func(e *Endpoint) { e.Strict, e.InFlight = strict, 16 })))
	}
	nodes[0].gain(store.AllPartitions)
	var total store.EventID
	for range seconds {
		for range 100 {
			id := call.ID(random.IntN(calls) + 1)
			ev := w.store.commit(id, one...)
			total++
			switch random.IntN(50) {
			case 0: // the message gets lost, and the holder hears of it
				for _, n := range nodes {
					n.Wake(1)
				}
			default:
				for _, n := range nodes {
					n.HandOff([]*store.Event{ev})
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
		from, to := nodes[0], nodes[1]
		if random.IntN(2) == 0 {
			from, to = to, from
		}
		moved := store.PartitionSet(random.Uint64()) & from.held()
		from.drop(moved)
		to.gain(moved)
	}
	time.Sleep(5 * time.Minute)
	w.checkAll(1, total, store.Delivered)
	w.checkOrder(strict)
	made := make(map[string]int)
	for _, r := range w.requests {
		made[fmt.Sprint(r.event, "#", r.attempt)]++
	}
	for what, n := range made {
		if n > 1 {
			t.Errorf("%s was made %d times", what, n)
		}
	}
	for _, n := range nodes {
		n.stop(t)
	}
}

// Callbacks go by the store's clock.
func TestWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = always(500)
		c := clock.Wrong(-time.Hour)
		c.Adjust(time.Hour)
		var stamp atomic.Value
		d, err := New(Options{Store: w.store, Endpoints: []Endpoint{endpointNo(1, nil)}, Clock: c, transport: tripper(func(r *http.Request) (*http.Response, error) {
			stamp.Store(r.Header.Get(protocol.HeaderWebhookTimestamp))
			return w.RoundTrip(r)
		})})
		if err != nil {
			t.Fatal(err)
		}
		w.d = d
		d.Start()
		w.happen(one, 7)
		synctest.Wait()
		if want := fmt.Sprint(w.begin.Unix()); stamp.Load() != want {
			t.Errorf("timestamp %s, want %s", stamp.Load(), want)
		}
		c.Adjust(0) // an hour behind from now on
		time.Sleep(time.Second)
		w.happen(one, 8)
		synctest.Wait()
		if want := fmt.Sprint(w.begin.Add(time.Second - time.Hour).Unix()); stamp.Load() != want {
			t.Errorf("timestamp %s, want %s", stamp.Load(), want)
		}
		time.Sleep(time.Hour)
		w.checkRetries(DefaultRetry, 100*time.Millisecond)
		w.stop()
		if got := w.store.log[key(1, 1, 8)][0].Started; got != call.At(w.begin.Add(time.Second-time.Hour)) {
			t.Errorf("the attempt was noted at %v", got.Time())
		}
	})
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Jobs run on the node that is active, wherever they were begun, and can be
// stopped from everywhere.
func TestJobsOfNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		const half = store.PartitionSet(1<<32 - 1)
		nodes := []*node{w.node(nil, endpointNo(1, nil)), w.node(nil, endpointNo(1, nil))}
		nodes[0].gain(half)
		nodes[1].gain(^half)
		var jobs []*Redeliverer
		for _, n := range nodes {
			r := NewRedeliverer(w.store, n.Deliverer, nil, func() bool { return n.Holds(0) })
			r.Start()
			jobs = append(jobs, r)
		}
		w.handOff(calls(1, 400), nodes...)
		time.Sleep(time.Second)
		all := store.DeliveryQuery{States: []store.DeliveryState{store.Delivered}}
		id := w.beginJob(jobs[1], all, 40)
		time.Sleep(jobPoll + 2*time.Second)
		if done := w.job(id).Done; done < 60 || done > 180 {
			t.Errorf("%d done after two to four seconds", done)
		}
		// The other goes on with it.
		nodes[0].drop(half)
		nodes[1].gain(half)
		time.Sleep(time.Minute)
		w.wantJob(id, store.RedeliveryDone, 400, 400, 0)
		w.checkAll(1, 400, store.Delivered)
		w.wantState(key(1, 1, 399), store.Delivered, 2, 0)

		id = w.beginJob(jobs[1], all, 40)
		time.Sleep(time.Second)
		if _, err := jobs[0].Stop(t.Context(), id, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		done := w.job(id).Done
		time.Sleep(time.Minute)
		if j := w.job(id); j.State != store.RedeliveryStopped || j.Done != done || done == 400 {
			t.Errorf("job %+v; want it stopped", j)
		}
		id = w.beginJob(jobs[0], all, 2000) // the next one runs
		time.Sleep(time.Minute)
		if j := w.job(id); j.State != store.RedeliveryDone {
			t.Errorf("job %+v; want it done", j)
		}
		for i, n := range nodes {
			jobs[i].Close()
			n.stop(t)
		}
	})
}
