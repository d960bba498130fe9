package bench

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringback/ringback/protocol"
)

// Bounds of one call.
const (
	callTimeout = 10 * time.Second // for each call of the run to be through
	ringTimeout = 30               // seconds, of the invitation
)

// run is one run of the benchmark.
type run struct {
	cfg      Config
	id       string
	epoch    time.Time // zero of the run's clock
	errs     failures
	tracker  *tracker
	receiver *receiver
	server   *server // nil when it is not ours

	metering  sync.Mutex
	meters    []meter // of the servers; nil: they are not measured
	unmetered error   // why not

	progress *progress

	users       []user
	leaving     atomic.Bool
	connectTime time.Duration

	ring, inviteReply, acceptReply, lag histogram

	completed atomic.Int64 // calls, with those of the warm-up
	measured  atomic.Int64 // completed calls that were measured
	inFlight  atomic.Int64

	mu      sync.Mutex
	flights map[uint64]chan int64 // by number; gets the time of the ring
}

// now is the time by the run's clock, in nanoseconds; it is never 0.
func (b *run) now() int64 { return int64(time.Since(b.epoch)) + 1 }

// job is a call to be made.
type job struct {
	seq      uint64
	due      int64 // when it is meant to start
	measured bool
}

// load makes calls for the warm-up and the duration, calls begin when the
// warm-up is over, and returns when all calls are through.
func (b *run) load(ctx context.Context, begin func()) {
	start := b.now()
	from := start + int64(b.cfg.Warmup)
	until := from + int64(b.cfg.Duration)
	var measuring sync.WaitGroup
	measuring.Go(func() {
		select {
		case <-ctx.Done():
		case <-time.After(b.cfg.Warmup):
		}
		begin()
	})
	if b.cfg.Rate > 0 {
		b.openLoop(ctx, start, from, until)
	} else {
		b.closedLoop(ctx, from, until)
	}
	measuring.Wait()
}

// closedLoop keeps a number of calls in progress.
func (b *run) closedLoop(ctx context.Context, from, until int64) {
	var seq atomic.Uint64
	var wg sync.WaitGroup
	for range b.cfg.Concurrency {
		wg.Go(func() {
			for ctx.Err() == nil {
				now := b.now()
				if now >= until {
					return
				}
				b.call(ctx, job{seq.Add(1), now, now >= from})
			}
		})
	}
	wg.Wait()
}

// openLoop starts calls at a rate, whatever becomes of those before.
func (b *run) openLoop(ctx context.Context, start, from, until int64) {
	jobs := make(chan job)
	var wg sync.WaitGroup
	workers := 0
	work := func(j job) {
		for ok := true; ok; j, ok = <-jobs {
			b.call(ctx, j)
		}
	}
	pace(ctx, b.now, b.cfg.Rate, start, until, func(seq uint64, due int64) {
		j := job{seq, due, due >= from}
		if j.measured {
			b.lag.record(time.Duration(b.now() - due))
		}
		select {
		case jobs <- j:
			return
		default:
		}
		if workers == maxInFlight {
			b.errs.add("left out: " + strconv.Itoa(maxInFlight) + " calls are in progress")
			return
		}
		workers++
		wg.Go(func() { work(j) })
	})
	close(jobs)
	wg.Wait()
}

// pace calls f at a rate, with the number of the call, from 1, and the time at
// which it was due. When f or the machine is late the calls that are due
// follow without a pause.
func pace(ctx context.Context, now func() int64, rate float64, start, until int64, f func(seq uint64, due int64)) {
	defer alarmClock()()
	for seq := uint64(1); ; seq++ {
		due := start + int64(float64(seq-1)*1e9/rate)
		if due >= until {
			return
		}
		for {
			wait := time.Duration(due - now())
			if ctx.Err() != nil {
				return
			}
			if wait <= 0 {
				break
			}
			sleep(min(wait, 50*time.Millisecond))
		}
		f(seq, due)
	}
}

// call makes a call.
func (b *run) call(ctx context.Context, j job) {
	b.inFlight.Add(1)
	defer b.inFlight.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	pair := int(j.seq % uint64(len(b.users)/2))
	caller, callee := b.users[2*pair], b.users[2*pair+1]

	rang := make(chan int64, 1)
	b.mu.Lock()
	b.flights[j.seq] = rang
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.flights, j.seq)
		b.mu.Unlock()
	}()

	timeout := ringTimeout
	reply, err := caller.Invite(ctx, protocol.Invite{
		UserIDs: []string{callee.id}, Timeout: &timeout, ExtendedData: b.id + "-" + strconv.FormatUint(j.seq, 10),
	})
	invited := b.now()
	if err != nil {
		b.failed(ctx, "invite", err)
		return
	}
	b.tracker.invited(reply.CallID, j.due, invited, j.measured)
	var ring int64
	select {
	case ring = <-rang:
	case <-ctx.Done():
		b.failed(ctx, "ring", errors.New("the callee's device was not told"))
		return
	}

	answering := b.now()
	if _, err := callee.Accept(ctx, protocol.CallAction{CallID: reply.CallID}); err != nil {
		b.failed(ctx, "accept", err)
		return
	}
	accepted := b.now()
	b.tracker.accepted(reply.CallID, answering, accepted)
	b.completed.Add(1)
	if j.measured {
		b.measured.Add(1)
		b.ring.record(time.Duration(ring - j.due))
		b.inviteReply.record(time.Duration(invited - j.due))
		b.acceptReply.record(time.Duration(accepted - answering))
	}
}

// failed counts a call that failed, unless the whole run is being given up.
func (b *run) failed(ctx context.Context, step string, err error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	if refused, ok := errors.AsType[*protocol.Error](err); ok {
		err = refused
	}
	b.errs.add(step + ": " + reason(err))
}

// rang notes that the device of a callee was told of the call with this
// extended data.
func (b *run) rang(data string) {
	now := b.now()
	id, number, _ := strings.Cut(data, "-")
	seq, err := strconv.ParseUint(number, 10, 64)
	if id != b.id || err != nil {
		return // not a call of this run
	}
	b.mu.Lock()
	rang := b.flights[seq]
	b.mu.Unlock()
	select {
	case rang <- now:
	default: // it has given up, or was told already
	}
}
