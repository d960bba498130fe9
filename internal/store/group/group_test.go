package group

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/store"
)

type request struct {
	Ticket
	n int
}

var errRefused = errors.New("refused")

func newLine(size int) *Line[*request] { return NewLine(size, func() *request { return new(request) }) }

// submit queues a number, and gives where its outcome comes.
func submit(ctx context.Context, l *Line[*request], n int) chan error {
	outcome := make(chan error, 1)
	go func() { outcome <- l.Submit(ctx, l.Queue, func(r *request) { r.n = n }) }()
	return outcome
}

// answer is a writer that refuses odd numbers, until the line stops.
func answer(l *Line[*request], written *[]int) {
	for {
		select {
		case r := <-l.Queue:
			if !r.Take() {
				continue
			}
			*written = append(*written, r.n)
			if r.n%2 == 1 {
				r.Err = errRefused
			}
			r.Answer()
		case <-l.Stopped:
			return
		}
	}
}

func TestOutcomes(t *testing.T) {
	l := newLine(4)
	var written []int
	var wg, writer sync.WaitGroup
	writer.Go(func() { answer(l, &written) })
	for n := range 200 {
		wg.Go(func() {
			err := l.Submit(t.Context(), l.Queue, func(r *request) { r.n = n })
			if refused := errors.Is(err, errRefused); refused != (n%2 == 1) || !refused && err != nil {
				t.Errorf("%d gives %v", n, err)
			}
		})
	}
	wg.Wait()
	close(l.Stopped)
	writer.Wait()
	if len(written) != 200 {
		t.Errorf("%d were written", len(written))
	}
}

// TestContext gives up what waits, but not what the writer has taken.
func TestContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(1)
		ctx, cancel := context.WithCancel(t.Context())
		queued := submit(ctx, l, 2)
		synctest.Wait()
		outside := submit(ctx, l, 4) // the queue is full
		synctest.Wait()
		cancel()
		for _, outcome := range []chan error{queued, outside, submit(ctx, l, 6)} {
			if err := <-outcome; !errors.Is(err, context.Canceled) {
				t.Errorf("gives %v", err)
			}
		}
		if r := <-l.Queue; r.Take() {
			t.Errorf("the writer takes %d, for which nobody waits", r.n)
		}

		ctx, cancel = context.WithCancel(t.Context())
		outcome := submit(ctx, l, 8)
		r := <-l.Queue
		if !r.Take() {
			t.Fatal("the writer cannot take what is waited for")
		}
		cancel()
		synctest.Wait()
		select {
		case err := <-outcome:
			t.Fatalf("gives %v while it is being written", err)
		default:
		}
		r.Err = errRefused
		r.Answer()
		if err := <-outcome; !errors.Is(err, errRefused) {
			t.Errorf("gives %v", err)
		}
	})
}

// TestClose lets in nobody once the line closes; who waits is answered, or
// told that he will not be when the writer is gone.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(2)
		first, second := submit(t.Context(), l, 2), submit(t.Context(), l, 4)
		synctest.Wait()
		outside := submit(t.Context(), l, 6)
		synctest.Wait()
		if l.Closed() {
			t.Error("the line is closed")
		}
		close(l.Closing)
		if !l.Closed() {
			t.Error("the line is not closed")
		}
		for _, outcome := range []chan error{outside, submit(t.Context(), l, 8)} {
			if err := <-outcome; !errors.Is(err, store.ErrClosed) {
				t.Errorf("gives %v", err)
			}
		}
		r := <-l.Queue
		if !r.Take() {
			t.Fatal("the writer cannot take what is waited for")
		}
		close(l.Stopped)
		synctest.Wait()
		r.Answer()
		errs := []error{<-first, <-second}
		if r.n == 4 {
			errs[0], errs[1] = errs[1], errs[0]
		}
		if errs[0] != nil || !errors.Is(errs[1], store.ErrClosed) {
			t.Errorf("what was taken gives %v, the other %v", errs[0], errs[1])
		}
	})
}

// TestGather waits under load until enough are queued, else not at all.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(100)
		took := func(pause time.Duration) time.Duration {
			begun := time.Now()
			l.Gather(pause, 10)
			return time.Since(begun)
		}
		if d := took(3 * time.Second); d != 3*time.Second {
			t.Errorf("a pause of 3s takes %v", d)
		}
		if d := took(0); d != 0 {
			t.Errorf("no pause takes %v", d)
		}
		var written []int
		go func() {
			time.Sleep(1500 * time.Millisecond)
			for range enough {
				submit(t.Context(), l, 0)
			}
		}()
		if d := took(5 * time.Second); d != 1500*time.Millisecond {
			t.Errorf("a pause takes %v, and enough have come after 1.5s", d)
		}
		if d := took(5 * time.Second); d != 0 {
			t.Errorf("a pause takes %v when enough are there", d)
		}
		go answer(l, &written)
		synctest.Wait()
		if d := took(time.Second); d != time.Second {
			t.Errorf("a pause of 1s takes %v when enough had been there", d)
		}
		close(l.Stopped)
	})
}
