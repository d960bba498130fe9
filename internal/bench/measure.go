package bench

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// usage is what the processes have used when the window of measurement opens
// or closes.
type usage struct {
	at          time.Time
	calls       int64
	server, own time.Duration // CPU time
}

// receive starts the receiver.
func (b *run) receive() error {
	b.receiver = &receiver{
		secret: b.cfg.CallbackSecret, verify: !b.cfg.NoVerify, now: b.now, tracker: b.tracker, errs: &b.errs,
	}
	return b.receiver.listen(b.cfg.Receive)
}

// measure connects the users, makes the load, and reports.
func (b *run) measure(ctx context.Context) (*Report, error) {
	wait(ctx, b.cfg.settle)
	before := b.read().rss
	defer b.disconnect()
	if err := b.connect(ctx); err != nil {
		return nil, err
	}
	var connected int64
	var open, shut usage
	if b.cfg.Idle {
		begin := time.Now()
		stop := b.progress.every(time.Second, func() string {
			return fmt.Sprintf("holding %d connections: %.0fs of %v", len(b.users), time.Since(begin).Seconds(), b.cfg.Duration)
		})
		open = b.usage()
		wait(ctx, b.cfg.Duration)
		shut = b.usage()
		stop()
		connected = b.read().rss
	} else {
		wait(ctx, b.cfg.settle)
		connected = b.read().rss
		open, shut = b.underLoad(ctx)
	}
	return b.report(before, connected, open, shut), nil
}

// underLoad makes the load and returns the usage at its beginning and end.
func (b *run) underLoad(ctx context.Context) (open, shut usage) {
	stop := b.progress.every(time.Second, b.status)
	defer stop()
	var mu sync.Mutex
	b.load(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		open = b.usage()
	})
	at := time.Now()
	b.drain(ctx)
	shut = b.usage()
	shut.at = at // the calls were through by then, and only stragglers missing
	return open, shut
}

// drain waits for the callbacks that are still to come.
func (b *run) drain(ctx context.Context) {
	if b.cfg.Receive == "" {
		return
	}
	deadline := time.Now().Add(b.cfg.Drain)
	for ctx.Err() == nil && time.Now().Before(deadline) {
		if _, missing := b.tracker.waiting(); missing == 0 {
			return
		}
		wait(ctx, 5*time.Millisecond)
	}
}

// status is the line of progress under load.
func (b *run) status() string {
	line := fmt.Sprintf("%4.0fs  %d calls, %d in progress; ring p50 %s, p99 %s", time.Since(b.epoch).Seconds(),
		b.completed.Load(), b.inFlight.Load(), millis(b.ring.quantile(0.50)), millis(b.ring.quantile(0.99)))
	if b.cfg.Receive != "" {
		expected, missing := b.tracker.waiting()
		line += fmt.Sprintf("; callbacks %d of %d", expected-missing, expected)
	}
	if n := b.errs.sum(); n > 0 {
		line += fmt.Sprintf("; %d errors", n)
	}
	return line
}

// usage measures all processes.
func (b *run) usage() usage {
	u := usage{at: time.Now(), calls: b.completed.Load()}
	u.own, _ = cpuTime(os.Getpid())
	u.server = b.read().cpu
	return u
}

// wait waits, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
