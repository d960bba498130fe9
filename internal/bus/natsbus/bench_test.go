package natsbus

import (
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/store"
)

// arrivals is a handler that counts what it receives.
type arrivals struct {
	nobody
	count  atomic.Int64
	missed atomic.Int64
	came   chan struct{} // 1 after each, for who waits
}

func (a *arrivals) Receive(store.NodeID, []byte) { a.add() }
func (a *arrivals) Missed(store.NodeID)          { a.missed.Add(1) }

func (a *arrivals) add() {
	a.count.Add(1)
	select {
	case a.came <- struct{}{}:
	default:
	}
}

// BenchmarkSend passes messages of the size of news of a call from one node to
// another, over a server in the same process, through the bus and through the
// bare client. "stream" has up to 1000 on their way, "one" has one.
func BenchmarkSend(b *testing.B) {
	_, url := serve(b, nil)
	log := slog.New(slog.DiscardHandler)
	data := make([]byte, 600)
	for _, way := range []struct {
		name   string
		window int64
	}{{"stream", 1000}, {"one", 1}} {
		b.Run(way.name+"/bus", func(b *testing.B) {
			to := &arrivals{came: make(chan struct{}, 1)}
			nodes := []bus.Bus{join(b, Options{URL: url, Logger: log}, 1, nobody{}), join(b, Options{URL: url, Logger: log}, 2, to)}
			defer nodes[0].Close()
			defer nodes[1].Close()
			nodes[0].Peers([]store.NodeID{2})
			nodes[1].Peers([]store.NodeID{1})
			measure(b, to, way.window, func() error { return nodes[0].Send(2, data) })
		})
		b.Run(way.name+"/client", func(b *testing.B) {
			to := &arrivals{came: make(chan struct{}, 1)}
			var conns [2]*nats.Conn
			for i := range conns {
				var err error
				if conns[i], err = nats.Connect(url); err != nil {
					b.Fatal(err)
				}
				defer conns[i].Close()
			}
			if _, err := conns[1].Subscribe("bench.2", func(*nats.Msg) { to.add() }); err != nil {
				b.Fatal(err)
			}
			if err := conns[1].Flush(); err != nil {
				b.Fatal(err)
			}
			measure(b, to, way.window, func() error { return conns[0].Publish("bench.2", data) })
		})
	}
}

func measure(b *testing.B, to *arrivals, window int64, send func() error) {
	b.ReportAllocs()
	b.SetBytes(600)
	var sent int64
	for b.Loop() {
		if err := send(); err != nil {
			b.Fatal(err)
		}
		sent++
		for sent-to.count.Load() >= window {
			<-to.came
		}
	}
	for to.count.Load() < sent {
		<-to.came
	}
	b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "messages/s")
	if to.missed.Load() > 0 {
		b.Errorf("%d losses", to.missed.Load())
	}
}
