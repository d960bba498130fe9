package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/bus/bustest"
	"github.com/ringback/ringback/internal/clock"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/postgres"
	"github.com/ringback/ringback/internal/store/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestPostgres has nodes share a real store: they come, one falls silent and is
// fenced, and begins again.
func TestPostgres(t *testing.T) {
	url := pgtest.Database(t)
	exchange := bus.NewExchange()
	join := func(name string, c *clock.Clock) *peer {
		t.Helper()
		log := slog.New(slog.DiscardHandler)
		db, err := postgres.Open(t.Context(), postgres.Options{URL: url, Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		m, err := Join(t.Context(), Options{
			Store: db, Name: name, Lease: 4 * time.Second, Clock: c, Logger: log,
			Bus: func(self store.NodeID, h bus.Handler) (bus.Bus, error) { return exchange.Join(self, h), nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		p := &peer{Member: m, t: t, conn: new(conn), clock: c}
		m.OnChange(p.change)
		t.Cleanup(func() {
			p.leave()
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		m.Start()
		return p
	}
	shared := func(peers ...*peer) func() bool {
		return func() bool {
			var all store.PartitionSet
			sum := 0
			for _, p := range peers {
				held := p.Held()
				if n := held.Len(); n < store.PartitionCount/len(peers) {
					return false
				}
				all |= held
				sum += held.Len()
			}
			return all == store.AllPartitions && sum == store.PartitionCount
		}
	}
	a, b := join("a", new(clock.Clock)), join("b", clock.Wrong(time.Hour))
	c := join("c", new(clock.Clock))
	bustest.Until(t, "three nodes have fair shares", shared(a, b, c))
	if diff := a.clock.Now().Sub(b.clock.Now()).Abs(); diff > 100*time.Millisecond {
		t.Errorf("the clocks of two nodes differ by %v", diff)
	}
	if err := b.Ready(); err == nil {
		t.Error("a machine whose clock is an hour off is ready")
	}
	if err := errors.Join(a.Ready(), c.Ready()); err != nil {
		t.Error(err)
	}

	// What a process that is stopped does: nothing.
	b.stop()
	b.renewing.Wait()
	bustest.Until(t, "two nodes have all", shared(a, c))
	if b.Held() != 0 || a.Alive(b.Self()) {
		t.Error("the silent node still counts")
	}
	r := b.renewal(t.Context(), 0)
	if !errors.Is(r.err, store.ErrFenced) || !b.failed(t.Context(), r.err) {
		t.Errorf("it comes back: %v", r.err)
	}
	bustest.Until(t, "it is told that it was fenced", func() bool { return b.take().Fenced != nil })
	again := join("b", new(clock.Clock))
	bustest.Until(t, "it has its share again", shared(a, again, c))
	if left := fmt.Sprint(a.take().Left); left != fmt.Sprintf("[%d]", b.Self()) {
		t.Errorf("those who left are %s", left)
	}
	a.leave()
	bustest.Until(t, "those who stay have all", shared(again, c))
}
