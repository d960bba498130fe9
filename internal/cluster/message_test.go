package cluster

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/store"
)

// inbox keeps what comes.
type inbox struct {
	mu  sync.Mutex
	got []string
}

func (i *inbox) receive(from store.NodeID, data []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.got = append(i.got, fmt.Sprintf("%d: %s", from, data))
}

func TestMessages(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		var e, d inbox
		with := func(name string) *peer {
			p := f.prepare()
			m, err := Join(t.Context(), f.options(p, name))
			if err != nil {
				t.Fatal(err)
			}
			p.Member = m
			m.Handle('e', e.receive, func(from store.NodeID, data []byte) ([]byte, error) {
				return fmt.Appendf(nil, "%s of %d", data, from), nil
			})
			m.Handle('d', d.receive, nil)
			m.OnChange(p.change)
			t.Cleanup(p.leave)
			return p
		}
		a, b := with("a"), with("b")
		a.Start()
		after(10 * time.Second)
		a.take()

		// Before Start nothing is taken, but it is known that there was something.
		if err := a.Send(b.Self(), 'e', []byte("early")); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Ask(t.Context(), b.Self(), 'e', nil); !errors.As(err, new(*bus.RemoteError)) {
			t.Errorf("asking before Start: %v", err)
		}
		synctest.Wait()
		b.Start()
		synctest.Wait()
		if c := b.take(); !c.Missed || len(e.got) != 0 {
			t.Errorf("at the start: %+v, %v", c, e.got)
		}

		if err := errors.Join(a.Send(b.Self(), 'e', []byte("one")), a.Send(b.Self(), 'd', []byte("two"))); err != nil {
			t.Fatal(err)
		}
		after(50 * time.Millisecond)
		b.Spread('e', []byte("three"))
		after(50 * time.Millisecond)
		if got := fmt.Sprint(e.got, d.got); got != "[1: one 2: three] [1: two]" {
			t.Errorf("it got %s", got)
		}
		if reply, err := b.Ask(t.Context(), a.Self(), 'e', []byte("question")); err != nil || string(reply) != "question of 2" {
			t.Errorf("the answer is %q, %v", reply, err)
		}
		if _, err := b.Ask(t.Context(), a.Self(), 'd', nil); !errors.As(err, new(*bus.RemoteError)) {
			t.Errorf("asking what nobody answers: %v", err)
		}

		f.exchange.Cut(b.Self())
		if b.Connected() || !errors.Is(b.Bus(), bus.ErrDisconnected) || b.Ready() != nil || !a.Connected() {
			t.Errorf("cut off: %v, %v", b.Bus(), a.Bus())
		}
		if err := b.Send(a.Self(), 'e', nil); !errors.Is(err, bus.ErrDisconnected) {
			t.Errorf("sending while cut off: %v", err)
		}
		f.exchange.Mend(b.Self())
		synctest.Wait()
		if c := b.take(); !c.Missed || b.Bus() != nil {
			t.Errorf("afterwards: %+v, %v", c, b.Bus())
		}
		after(time.Second)
		if c := a.take(); !c.Missed {
			t.Errorf("what was not sent is not missed: %+v", c)
		}
	})
}

func TestChangeAdd(t *testing.T) {
	for _, c := range []struct{ a, b, want Change }{
		{Change{Gained: 0b11}, Change{Lost: 0b01}, Change{Gained: 0b10, Lost: 0b01}},
		{Change{Lost: 0b11}, Change{Gained: 0b01}, Change{Gained: 0b01, Lost: 0b11}},
		{Change{Missed: true, Left: []store.NodeID{1}}, Change{CutOff: true, Left: []store.NodeID{1, 2}}, Change{Missed: true, CutOff: true, Left: []store.NodeID{1, 2}}},
		{Change{Fenced: store.ErrFenced}, Change{Missed: true}, Change{Fenced: store.ErrFenced, Missed: true}},
	} {
		got := c.a
		got.add(c.b)
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%+v and then %+v are %+v", c.a, c.b, got)
		}
	}
}

// BenchmarkHolds is what the question before every timer costs.
func BenchmarkHolds(b *testing.B) {
	m := &Member{base: time.Now()}
	m.until.Store(int64(time.Hour))
	m.held.Store(uint64(store.AllPartitions))
	for b.Loop() {
		if !m.Holds(7) {
			b.Fatal("it does not")
		}
	}
}
