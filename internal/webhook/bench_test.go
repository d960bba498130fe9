package webhook

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/sqlite"
	"github.com/ringback/ringback/protocol"
)

// bench is a Deliverer with a real store and real connections.
type bench struct {
	b     testing.TB
	store *sqlite.Store
	d     *Deliverer
	ids   []store.EndpointID
}

func newBench(b testing.TB, observe func(Observation), urls ...string) *bench {
	w := newIdleBench(b, observe, urls...)
	w.d.Start()
	return w
}

// newIdleBench has a Deliverer that is not started.
func newIdleBench(b testing.TB, observe func(Observation), urls ...string) *bench {
	s, err := sqlite.Open(b.Context(), sqlite.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	ids, err := s.SyncApps(b.Context(), []store.App{{ID: 1, Name: "bench", Endpoints: urls}}, call.At(time.Now()))
	if err != nil {
		b.Fatal(err)
	}
	o := Options{Store: s, AllowNetworks: loopback, Observe: observe}
	for i, url := range urls {
		o.Endpoints = append(o.Endpoints, Endpoint{ID: ids[0][i], App: 1, URL: url, Secrets: []string{"0123456789abcdef0123456789abcdef"}})
	}
	d, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	return &bench{b: b, store: s, d: d, ids: ids[0]}
}

// commit stores n events, which are of no call because that takes a single
// transaction.
func (b *bench) commit(n int, endpoints ...store.EndpointID) []*store.Event {
	list := make([]*store.Event, n)
	cb := answer(protocol.CallbackAccept, "3650722201234567890", "some-user", strings.Repeat("x", 150))
	for i := range list {
		list[i] = &store.Event{App: 1, Name: cb.Name, At: call.At(time.Now()), Fields: cb.Fields}
		for _, id := range endpoints {
			list[i].Deliveries = append(list[i].Deliveries, store.Subscription{Endpoint: id})
		}
	}
	if err := b.store.CommitSessions(b.b.Context(), &store.SessionCommit{App: 1, User: "user", Login: true, Events: list}); err != nil {
		b.b.Fatal(err)
	}
	return list
}

// rawServer answers every request on a connection with 200, for next to no
// CPU, so that what is measured is the client.
func rawServer(b testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 8<<10)
				for {
					if _, err := c.Read(buf); err != nil { // one request is one write
						return
					}
					if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String() + "/callback"
}

func cpuTime(b testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDeliver saturates one endpoint. cpu-µs/op has everything in it:
// signing, the request, the writing of its result, and the receiver.
func BenchmarkDeliver(b *testing.B) {
	var done sync.WaitGroup
	w := newBench(b, func(Observation) { done.Done() }, rawServer(b))
	var cpu time.Duration
	deliver := func(n int) {
		for n > 0 {
			b.StopTimer()
			list := w.commit(min(n, 8192), w.ids...)
			n -= len(list)
			done.Add(len(list))
			b.StartTimer()
			begin := cpuTime(b)
			w.d.HandOff(list)
			done.Wait()
			cpu += cpuTime(b) - begin
		}
	}
	deliver(1000)
	cpu = 0
	b.ResetTimer()
	b.ReportAllocs()
	deliver(b.N)
	b.StopTimer()
	begin := cpuTime(b)
	if err := w.d.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(cpu+cpuTime(b)-begin)/1000/float64(b.N), "cpu-µs/op")
}

// BenchmarkHealthyBesideHanging delivers 500 callbacks a second to a healthy
// endpoint, alone and then beside one that never answers and gets as many.
func BenchmarkHealthyBesideHanging(b *testing.B) {
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer hanging.Close()
	defer close(release)
	for _, beside := range []bool{false, true} {
		name := "alone"
		if beside {
			name = "beside"
		}
		b.Run(name, func(b *testing.B) {
			var mu sync.Mutex
			var took []time.Duration
			var healthy store.EndpointID
			w := newBench(b, func(o Observation) {
				mu.Lock()
				defer mu.Unlock()
				if o.Endpoint == healthy {
					took = append(took, o.Latency)
				}
			}, rawServer(b), hanging.URL)
			ids := w.ids[:1]
			if beside {
				ids = w.ids
			}
			healthy = w.ids[0]
			const rate = 500
			tick := time.NewTicker(time.Second / rate)
			defer tick.Stop()
			b.ResetTimer()
			for range max(b.N, 3*rate) {
				<-tick.C
				w.d.HandOff(w.commit(1, ids...))
			}
			b.StopTimer()
			mu.Lock()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			mu.Unlock()
			ctx, cancel := contextThatEnded()
			defer cancel()
			_ = w.d.Close(ctx) // it aborts what hangs
		})
	}
}
