package cluster

import (
	"log/slog"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/clock"
	"github.com/ringback/ringback/internal/store"
)

// TestLateAnswers has answers be looked at when the lease is over already,
// before anything has noticed that: what a process finds that was stopped.
func TestLateAnswers(t *testing.T) {
	const lease = 10 * time.Second
	m := &Member{
		self: 1, name: "a", lease: lease, clock: new(clock.Clock), logger: slog.New(slog.DiscardHandler),
		base: time.Now().Add(-time.Hour), started: make(chan struct{}), changes: changes{wake: make(chan struct{}, 1)},
	}
	m.bus = bus.NewExchange().Join(1, ear{m})
	defer m.bus.Close()
	m.view.Store(&view{})
	close(m.started)
	m.held.Store(uint64(store.AllPartitions))
	m.extend(time.Now().Add(-15 * time.Second))
	k := &keeper{Member: m, begun: true}
	answer := func(begun time.Time) renewal {
		r := renewal{begun: begun, ended: begun.Add(time.Second), membership: store.Membership{At: time.Now(), Nodes: []store.Node{{ID: 1, Name: "a"}}}}
		for p := range r.membership.Owners {
			r.membership.Owners[p] = 1
		}
		return r
	}

	k.succeed(answer(time.Now().Add(-12 * time.Second)))
	if m.Held() != 0 || m.held.Load() != 0 {
		t.Error("an answer whose lease is over has it hold something")
	}
	if n, ok, _ := m.changes.next(); !ok || n.Lost != store.AllPartitions || n.Gained != 0 {
		t.Errorf("it tells %+v first", n.Change)
	}
	if n, ok, _ := m.changes.next(); ok {
		t.Errorf("then it tells %+v", n.Change)
	}

	k.succeed(answer(time.Now()))
	if m.Held() != store.AllPartitions {
		t.Error("a good answer does not have it hold anything")
	}
	if n, ok, _ := m.changes.next(); !ok || n.Gained != store.AllPartitions || !n.Missed {
		t.Errorf("it tells %+v at last", n.Change)
	}

	m.extend(time.Now().Add(-15 * time.Second))
	k.succeed(answer(time.Now()))
	if n, ok, _ := m.changes.next(); !ok || n.Lost != store.AllPartitions {
		t.Errorf("a lease that was over unnoticed: it tells %+v", n.Change)
	}
	if n, ok, _ := m.changes.next(); !ok || n.Gained != store.AllPartitions || !n.Missed {
		t.Errorf("a lease that was over unnoticed: then it tells %+v", n.Change)
	}
}
