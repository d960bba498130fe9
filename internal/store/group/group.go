// Package group lets commits share transactions: those who want to write wait
// in a line, and the one writer of a back end takes everything that waits into
// its next transaction (group commit).
//
// It is for back ends; what a commit promises is said in package store.
package group

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringback/ringback/internal/store"
)

// Ticket is the part of a request by which it waits; requests embed it. A
// [Line] makes it ready.
type Ticket struct {
	Err   error // the outcome; set by the writer before Answer
	state atomic.Int32
	done  chan struct{}
}

// States of a request.
const (
	waiting   = iota
	taken     // the writer has it: its outcome is awaited
	abandoned // nobody waits for it any more, and it will not be written
)

// Request is a pointer to a struct that embeds a Ticket.
type Request interface{ ticket() *Ticket }

func (t *Ticket) ticket() *Ticket { return t }

// Take is what the writer asks before it writes a request: whether somebody
// waits for it. From then on he waits for the answer, whatever his context
// does.
func (t *Ticket) Take() bool { return t.state.CompareAndSwap(waiting, taken) }

// Answer tells whoever waits that the outcome is in Err. The writer, who has
// taken the request, calls it once and does not touch the request again.
func (t *Ticket) Answer() { t.done <- struct{}{} }

// Line is where requests of type R wait for the writer. Its methods may be
// called concurrently, other than where they say so.
type Line[R Request] struct {
	// Queue has the requests that wait; the writer receives from it.
	Queue chan R
	// Closing is closed when Close begins, Stopped when the writer is gone.
	Closing, Stopped chan struct{}

	plenty chan struct{} // gets one when enough requests are queued
	idle   sync.Pool
}

// NewLine makes a line in which so many requests wait at most; whoever comes
// then waits to get in. fresh makes an empty request.
func NewLine[R Request](size int, fresh func() R) *Line[R] {
	l := &Line[R]{Queue: make(chan R, size), Closing: make(chan struct{}), Stopped: make(chan struct{}), plenty: make(chan struct{}, 1)}
	l.idle.New = func() any {
		r := fresh()
		r.ticket().done = make(chan struct{}, 1)
		return r
	}
	return l
}

// Closed reports whether Closing is closed.
func (l *Line[R]) Closed() bool {
	select {
	case <-l.Closing:
		return true
	default:
		return false
	}
}

// Submit queues a request, which fill has filled in, and waits for its
// outcome. Until the writer has taken it, the context counts, and ErrClosed is
// given when the line closes or the writer is gone; nothing was written then.
// queue is l.Queue or another from which the writer receives.
func (l *Line[R]) Submit(ctx context.Context, queue chan<- R, fill func(r R)) error {
	if l.Closed() {
		return store.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r := l.idle.Get().(R)
	fill(r)
	select {
	case queue <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.Closing:
		return store.ErrClosed
	}
	if len(l.Queue) >= enough {
		select {
		case l.plenty <- struct{}{}:
		default:
		}
	}
	t := r.ticket()
	var gaveUp error
	select {
	case <-t.done:
		return l.outcome(r)
	case <-ctx.Done():
		gaveUp = ctx.Err()
	case <-l.Stopped:
		gaveUp = store.ErrClosed
	}
	if t.state.CompareAndSwap(waiting, abandoned) {
		return gaveUp
	}
	<-t.done
	return l.outcome(r)
}

// outcome gives the outcome of a request that was answered, and keeps the
// request for another.
func (l *Line[R]) outcome(r R) error {
	t := r.ticket()
	err := t.Err
	t.Err = nil
	t.state.Store(waiting)
	l.idle.Put(r)
	return err
}

// Gather lets requests come together, because a larger transaction costs less
// for each. It waits for the pause, or until enough are queued; without one it
// only lets goroutines run that are ready to, which takes no time when there
// are none, until most are queued. For the writer.
func (l *Line[R]) Gather(pause time.Duration, most int) {
	if pause > 0 {
		l.await(pause)
		return
	}
	before := -1
	for range 4 {
		n := len(l.Queue)
		if n == before || n >= most {
			return
		}
		before = n
		runtime.Gosched()
	}
}

func (l *Line[R]) await(pause time.Duration) {
	select {
	case <-l.plenty: // of an earlier time
	default:
	}
	if len(l.Queue) >= enough {
		return
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.plenty:
	}
}

// enough is how many requests are not waited beyond.
const enough = 64
