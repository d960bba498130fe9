package engine

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/postgres"
	"github.com/ringback/ringback/internal/store/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// BenchmarkCalls makes complete calls (invite, received, accept) over
// PostgreSQL, between users of one node and of two. It reports the CPU time of
// this process for each, without PostgreSQL's.
func BenchmarkCalls(b *testing.B) {
	for _, nodes := range []int{1, 2} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) { benchmarkCalls(b, nodes) })
	}
}

// pair is the Peers of two engines in one process; its messages are read by a
// goroutine, in order.
type pair struct {
	self    store.NodeID
	nodes   int
	engines *[2]*Engine
	out     chan []byte
}

func (p *pair) Self() store.NodeID { return p.self }
func (p *pair) Held() (set store.PartitionSet) {
	for part := range store.PartitionCount {
		if p.Holder(part) == p.self {
			set = set.With(part)
		}
	}
	return set
}
func (p *pair) Holds(part int) bool           { return p.Holder(part) == p.self }
func (p *pair) Holder(part int) store.NodeID  { return store.NodeID(part%p.nodes + 1) }
func (p *pair) Alive(store.NodeID) bool       { return true }
func (p *pair) Send(_ store.NodeID, d []byte) { p.out <- d }
func (p *pair) LostSessions(context.Context, call.Instant, store.Session, int) ([]store.Session, error) {
	return nil, nil
}

func (p *pair) Ask(_ context.Context, to store.NodeID, d []byte) ([]byte, error) {
	return p.engines[to-1].Answer(p.self, d)
}

type silent struct {
	notes
	received func(t Transition)
}

func (s *silent) Tell(t Transition)           { s.received(t) }
func (s *silent) CatchUp(_, after *call.Call) {}
func (s *silent) HandOff([]*store.Event)      {}
func (s *silent) Wake(uint32)                 {}

func benchmarkCalls(b *testing.B, nodes int) {
	url := pgtest.Database(b)
	var engines [2]*Engine
	var rung sync.Map
	for i := range nodes {
		db, err := postgres.Open(b.Context(), postgres.Options{URL: url, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		p := &pair{self: store.NodeID(i + 1), nodes: nodes, engines: &engines, out: make(chan []byte, 1<<16)}
		mine := i == nodes-1 // who is rung is on the last node
		dev := &silent{received: func(t Transition) {
			if created, ok := t.Event.(call.CallCreated); ok && mine {
				if ch, ok := rung.Load(created.Invitees[0]); ok {
					ch.(chan call.ID) <- created.ID
				}
			}
		}}
		e := New(Options{
			Store: db, Devices: dev, Callbacks: dev, App: func(uint32) (App, bool) { return App{LoginPolicy: PolicyMulti}, true }, Logger: slog.New(slog.DiscardHandler),
			HeartbeatTimeout: 35 * time.Second, AbsenceTimeout: 2 * time.Minute, MaxCallDuration: 24 * time.Hour, SessionTTL: sessionTTL, Retention: 720 * time.Hour,
			Peers: p,
		})
		engines[i] = e
		if err := e.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		defer e.Close()
		go func() {
			for d := range p.out {
				engines[nodes-int(p.self)].Receive(p.self, d)
			}
		}()
	}
	const pairs = 64
	from, to := engines[0], engines[nodes-1]
	var callers, callees []*phone
	for i := range pairs {
		login := func(e *Engine, user string) *phone {
			p := &phone{w: &world{Engine: e}, user: call.UserID(user)}
			if _, _, err := e.Login(b.Context(), Login{App: app, User: p.user, Platform: "WEB", Device: p}); err != nil {
				b.Fatal(err)
			}
			return p
		}
		callers = append(callers, login(from, fmt.Sprint("a", i)))
		callees = append(callees, login(to, fmt.Sprint("b", i)))
		rung.Store(callees[i].user, make(chan call.ID, 4))
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	before := cpuTime()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range pairs {
		wg.Go(func() {
			ch, _ := rung.Load(callees[i].user)
			for left.Add(-1) >= 0 {
				err := from.Invite(b.Context(), app, callers[i].actor(), Invitation{Invitees: []call.UserID{callees[i].user}, Timeout: 90}, ignore)
				if err != nil {
					b.Error(err)
					return
				}
				id := <-ch.(chan call.ID)
				if err := to.Do(b.Context(), app, id, call.Receive{Actor: callees[i].actor()}, ignore); err != nil {
					b.Error(err)
				}
				if err := to.Do(b.Context(), app, id, call.Accept{Actor: callees[i].actor()}, ignore); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N), "cpu-µs/call")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
