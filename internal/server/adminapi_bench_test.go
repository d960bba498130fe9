package server

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/store"
)

// BenchmarkListen is the time from when an event is durable until its line is
// with a listener, for events that come one at a time, every 5 ms. A few
// hundred, as with -benchtime 500x, tell the percentiles.
func BenchmarkListen(b *testing.B) {
	cfg := config.Default()
	cfg.DataDir = b.TempDir()
	app := config.DefaultApp()
	app.ID, app.Secret = 1, secret
	cfg.Apps = []config.App{app}
	s, err := Open(b.Context(), cfg, Options{Logger: slog.New(slog.DiscardHandler), Version: "test", OpenAdmin: true})
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ln.Addr().String()+adminapi.Path+"/listen?app=1", http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	// callback reads the stream up to the line of the next callback.
	callback := func() (string, time.Time) {
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				b.Fatal(err)
			}
			if strings.HasPrefix(line, `data: {"event"`) {
				return line, time.Now()
			}
		}
	}
	hand := callbacks{s.deliverer, &s.feed}
	var took []time.Duration
	for b.Loop() {
		now := call.At(time.Now())
		ev := &store.Event{App: 1, Name: "call_create", At: now, Fields: fmt.Appendf(nil, `{"call_id":"%d"}`, now), Test: true}
		if err := s.store.AddEvents(ctx, []*store.Event{ev}); err != nil {
			b.Fatal(err)
		}
		durable := time.Now()
		hand.HandOff([]*store.Event{ev})
		line, at := callback()
		if !strings.Contains(line, ev.ID.String()) {
			b.Fatalf("%s came instead of %s", line, ev.ID)
		}
		took = append(took, at.Sub(durable))
		b.StopTimer()
		time.Sleep(5 * time.Millisecond)
		b.StartTimer()
	}
	slices.Sort(took)
	for name, part := range map[string]int{"p50-us": 50, "p99-us": 99} {
		b.ReportMetric(float64(took[len(took)*part/100].Microseconds()), name)
	}
}
