package natsbus

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ringback/ringback/internal/store"
)

// messageSize is about that of news of a call.
const messageSize = 600

// counter is a Handler that counts.
type counter struct{ got, missed atomic.Int64 }

func (c *counter) Receive(store.NodeID, []byte)                       { c.got.Add(1) }
func (c *counter) Answer(_ store.NodeID, data []byte) ([]byte, error) { return data, nil }
func (c *counter) Missed(store.NodeID)                                { c.missed.Add(1) }

// BenchmarkSend passes messages from one node to another, with no more than a
// thousand on their way; beside it, for comparison, nats.go does the same by
// itself.
func BenchmarkSend(b *testing.B) {
	const most = 1000
	data := make([]byte, messageSize)
	_, to := serve(b, nil)
	pass := func(b *testing.B, send func() error, got *atomic.Int64) {
		b.Helper()
		b.ReportAllocs()
		b.SetBytes(messageSize)
		start := got.Load()
		arrived := func(n int64) {
			for deadline := time.Now().Add(10 * time.Second); got.Load()-start < n; time.Sleep(20 * time.Microsecond) {
				if time.Now().After(deadline) {
					b.Fatalf("%d of %d have come", got.Load()-start, n)
				}
			}
		}
		for i := range b.N {
			if err := send(); err != nil {
				b.Fatal(err)
			}
			if i%(most/2) == 0 {
				arrived(int64(i - most/2))
			}
		}
		arrived(int64(b.N))
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	}
	b.Run("natsbus", func(b *testing.B) {
		var c counter
		opts := Options{URL: to, Logger: slog.New(slog.DiscardHandler)}
		from, there := join(b, opts, 1, &c), join(b, opts, 2, &c)
		defer from.Close()
		defer there.Close()
		pass(b, func() error { return from.Send(2, data) }, &c.got)
		if c.missed.Load() != 0 {
			b.Error("messages were missed")
		}
	})
	b.Run("nats", func(b *testing.B) {
		from, there := connect(b, to), connect(b, to)
		var got atomic.Int64
		if _, err := there.Subscribe("x.2", func(*nats.Msg) { got.Add(1) }); err != nil {
			b.Fatal(err)
		}
		if err := there.Flush(); err != nil {
			b.Fatal(err)
		}
		pass(b, func() error { return from.Publish("x.2", data) }, &got)
	})
}

// BenchmarkAsk is a question and its answer, one after the other; beside it a
// request of nats.go by itself.
func BenchmarkAsk(b *testing.B) {
	data := make([]byte, messageSize)
	_, to := serve(b, nil)
	b.Run("natsbus", func(b *testing.B) {
		opts := Options{URL: to, Logger: slog.New(slog.DiscardHandler)}
		from, there := join(b, opts, 1, new(counter)), join(b, opts, 2, new(counter))
		defer from.Close()
		defer there.Close()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := from.Ask(b.Context(), 2, data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("nats", func(b *testing.B) {
		from, there := connect(b, to), connect(b, to)
		if _, err := there.Subscribe("x.2", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
			b.Fatal(err)
		}
		if err := there.Flush(); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := from.RequestWithContext(b.Context(), "x.2", data); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func connect(b *testing.B, to string) *nats.Conn {
	b.Helper()
	conn, err := nats.Connect(to)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(conn.Close)
	return conn
}
