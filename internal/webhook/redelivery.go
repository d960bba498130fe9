package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// Paces of jobs, in deliveries a second.
const (
	DefaultPerSecond = 500
	MaxPerSecond     = 2000
)

const (
	chunksPerSecond = 20
	maxChunk        = 100 // deliveries in one transaction
	// window is how many redeliveries of an endpoint may wait for their
	// attempt before a job waits too. It is far below what memory takes, so
	// that live callbacks are never left in the store because of a job.
	window      = 128
	windowCheck = 20 * time.Millisecond
	jobPage     = 100
	jobPoll     = 2 * time.Second // between looks for jobs of other nodes
)

// Pauses between tries when the store fails.
const (
	jobRetry   = 100 * time.Millisecond
	jobRetryTo = 5 * time.Second
	jobLog     = time.Minute // between lines of the log about it
)

// JobStore is what a [Redeliverer] needs of [store.Store].
type JobStore interface {
	store.Redeliveries
	SearchDeliveries(ctx context.Context, q store.DeliveryQuery) (store.DeliveryPage, error)
	CountDeliveries(ctx context.Context, q store.DeliveryQuery) (n int, next store.DeliveryPlace, err error)
	LastEventID(ctx context.Context) (store.EventID, error)
}

// Redeliverer runs jobs that redeliver everything that a query finds, one job
// at a time, in the order in which they were begun. A job goes by its pace,
// and waits while an endpoint that it has come to is not ready for more,
// be it paused, down or slow: so it is as slow as the slowest of its
// endpoints, and live callbacks keep their latency. How far it has come is in
// the store, and a restart goes on from there. All methods may be called
// concurrently.
type Redeliverer struct {
	store  JobStore
	to     *Deliverer
	log    *slog.Logger
	active func() bool

	wake chan struct{} // there is a new job
	turn chan struct{} // is held while a job is read and written
	// current is the job that runs; it is guarded by turn.
	current *store.Redelivery

	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	logged time.Time // when the log was last told of a failure
}

// NewRedeliverer makes a Redeliverer, which hands to a Deliverer. A nil logger
// logs nothing. Of several nodes only one runs jobs, also those that were begun
// on others: the one whose active gives true; nil: this one. No job runs before
// Start.
func NewRedeliverer(s JobStore, to *Deliverer, log *slog.Logger, active func() bool) *Redeliverer {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	r := &Redeliverer{store: s, to: to, log: log, active: active, wake: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Start goes on with the jobs that have not ended, and runs new ones. It is
// called once.
func (r *Redeliverer) Start() { r.tasks.Go(r.run) }

// Close ends the work, at the latest with the transaction that is under way,
// and waits for it. Jobs go on after the next start.
func (r *Redeliverer) Close() {
	r.cancel()
	r.tasks.Wait()
}

// Begin makes a job of everything that a query finds at this moment; events
// that come later are not part of it, so that it ends. perSecond is how many
// deliveries it makes pending in a second: 0 for DefaultPerSecond, at most
// MaxPerSecond. Deliveries that are pending when the job comes to them are
// skipped. The audit entry goes into the same transaction; it may be nil.
func (r *Redeliverer) Begin(ctx context.Context, q store.DeliveryQuery, perSecond int, audit *store.Audit) (*store.Redelivery, error) {
	switch {
	case perSecond == 0:
		perSecond = DefaultPerSecond
	case perSecond < 0 || perSecond > MaxPerSecond:
		return nil, fmt.Errorf("redeliver: %d a second is not possible: give 1 to %d", perSecond, MaxPerSecond)
	}
	last, err := r.store.LastEventID(ctx)
	if err != nil {
		return nil, fmt.Errorf("redeliver: %w", err)
	}
	if q.Until == 0 || q.Until > last {
		q.Until = last + 1
	}
	q.After, q.Oldest, q.Limit = store.DeliveryPlace{}, true, maxChunk
	job := &store.Redelivery{Query: q, PerSecond: perSecond, Total: -1, CreatedAt: call.At(r.to.clock.Now())}
	if err := r.store.PutRedelivery(ctx, job, audit); err != nil {
		return nil, fmt.Errorf("redeliver: %w", err)
	}
	signal(r.wake)
	return job, nil
}

// Stop ends a job for good, and gives it as it is then. What it has made
// pending is still delivered. A job that has ended is left alone, without an
// audit entry. Errors: store.ErrNotFound, and those of the store.
func (r *Redeliverer) Stop(ctx context.Context, id int64, audit *store.Audit) (*store.Redelivery, error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("stop redelivery %d: %w", id, ctx.Err())
	}
	job, err := r.store.Redelivery(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("stop redelivery %d: %w", id, err)
	}
	if job.State != store.RedeliveryRunning {
		return job, nil
	}
	job.State, job.EndedAt = store.RedeliveryStopped, call.At(r.to.clock.Now())
	if err := r.store.PutRedelivery(ctx, job, audit); err != nil {
		return nil, fmt.Errorf("stop redelivery %d: %w", id, err)
	}
	if r.current != nil && r.current.ID == id {
		r.current.State = job.State
	}
	return job, nil
}

func (r *Redeliverer) run() {
	for {
		var job *store.Redelivery
		if r.mine() && !r.persist("redeliveries cannot be read", func() (err error) {
			job, err = r.oldest()
			return err
		}) {
			return
		}
		if job == nil {
			if !r.await() {
				return
			}
			continue
		}
		if !r.carryOut(job) {
			return
		}
	}
}

// mine reports whether this node runs the jobs.
func (r *Redeliverer) mine() bool { return r.active == nil || r.active() }

// await waits until there may be a job to run; false: the Redeliverer is being
// closed. Other nodes begin jobs and hand over the running of them without a
// word.
func (r *Redeliverer) await() bool {
	var poll <-chan time.Time
	if r.active != nil {
		poll = time.After(jobPoll)
	}
	select {
	case <-r.wake:
	case <-poll:
	case <-r.ctx.Done():
	}
	return r.ctx.Err() == nil
}

// oldest finds the job to run next; nil: there is none.
func (r *Redeliverer) oldest() (*store.Redelivery, error) {
	var job *store.Redelivery
	for before := int64(0); ; {
		list, err := r.store.ListRedeliveries(r.ctx, before, jobPage)
		if err != nil {
			return nil, err
		}
		for _, one := range list {
			if one.State == store.RedeliveryRunning {
				job = one
			}
		}
		if len(list) < jobPage {
			return job, nil
		}
		before = list[len(list)-1].ID
	}
}

// carryOut works on a job until it has ended, or another node runs the jobs;
// false: the Redeliverer is being closed.
func (r *Redeliverer) carryOut(job *store.Redelivery) bool {
	r.turn <- struct{}{}
	r.current = job
	<-r.turn
	defer func() {
		r.turn <- struct{}{}
		r.current = nil
		<-r.turn
		if job.State == store.RedeliveryRunning {
			return // to be gone on with after the next start, or on another node
		}
		r.log.Info("redelivery ends", "redelivery", job.ID, "done", job.Done, "skipped", job.Skipped, "total", job.Total)
	}()
	if job.Total < 0 && !r.count(job) {
		return r.ctx.Err() == nil
	}
	pace := max(job.PerSecond, 1)
	size := min(max(pace/chunksPerSecond, 1), maxChunk)
	for next := time.Now(); r.mine(); {
		n, on := r.advance(job, size)
		if !on {
			return r.ctx.Err() == nil
		}
		if now := time.Now(); next.Before(now) {
			next = now
		}
		next = next.Add(time.Duration(n) * time.Second / time.Duration(pace))
		if !r.pause(time.Until(next)) {
			return false
		}
	}
	return true
}

// count counts what the job will come to, bit by bit; false: there is nothing
// more to do for the job.
func (r *Redeliverer) count(job *store.Redelivery) bool {
	total := 0
	for q := job.Query; ; {
		var n int
		var next store.DeliveryPlace
		if !r.persist("deliveries cannot be counted", func() (err error) {
			n, next, err = r.store.CountDeliveries(r.ctx, q)
			return err
		}) {
			return false
		}
		total += n
		if q.After = next; next == (store.DeliveryPlace{}) {
			break
		}
		if !r.running(job) {
			return false
		}
	}
	return r.step(job, nil, func(next *store.Redelivery) error {
		next.Total = total
		return r.store.PutRedelivery(r.ctx, next, nil)
	})
}

// running reports whether nobody has stopped the job.
func (r *Redeliverer) running(job *store.Redelivery) bool {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	return job.State == store.RedeliveryRunning
}

// advance redelivers the next few deliveries of a job. It gives how many it
// looked at; false: there is nothing more to do for the job.
func (r *Redeliverer) advance(job *store.Redelivery, size int) (int, bool) {
	q := job.Query
	q.Limit = size
	var page store.DeliveryPage
	if !r.persist("deliveries cannot be searched", func() (err error) {
		page, err = r.store.SearchDeliveries(r.ctx, q)
		return err
	}) {
		return 0, false
	}
	keys := make([]store.DeliveryKey, len(page.Deliveries))
	for i, d := range page.Deliveries {
		keys[i] = d.Key()
		for r.to.redelivering(d.Endpoint) > window {
			if !r.pause(windowCheck) || !r.running(job) || !r.mine() {
				return 0, false
			}
		}
	}
	var again []*store.Delivery
	on := r.step(job, keys, func(next *store.Redelivery) (err error) {
		now := call.At(r.to.clock.Now())
		if next.Query.After = page.Next; page.Next == (store.DeliveryPlace{}) {
			next.State, next.EndedAt = store.RedeliveryDone, now
		}
		if len(keys) == 0 {
			return r.store.PutRedelivery(r.ctx, next, nil)
		}
		again, err = r.store.Redeliver(r.ctx, keys, next, now)
		return err
	})
	r.to.Redeliver(again)
	return len(keys), on
}

// step writes a change of a job, as often as it takes, unless somebody has
// stopped it. If it turns out that a try was written whose outcome was
// unknown, the endpoints of the keys look for themselves what is pending.
// False: there is nothing more to do for the job.
func (r *Redeliverer) step(job *store.Redelivery, keys []store.DeliveryKey, change func(next *store.Redelivery) error) bool {
	var tried *store.Redelivery // the try of unknown outcome
	return r.persist("a redelivery cannot be written", func() error {
		r.turn <- struct{}{}
		defer func() { <-r.turn }()
		if job.State != store.RedeliveryRunning {
			return nil
		}
		if tried != nil {
			stored, err := r.store.Redelivery(r.ctx, job.ID)
			if err != nil {
				return err
			}
			if stored.Query.After == tried.Query.After && stored.State == tried.State && stored.Total == tried.Total {
				*job = *stored
				for _, key := range keys {
					r.to.Wake(key.Endpoint)
				}
				return nil
			}
		}
		next := *job
		err := change(&next)
		switch {
		case err == nil:
			*job = next
		case errors.Is(err, store.ErrUnknown):
			tried = &next
		case errors.Is(err, store.ErrConflict): // another node has stopped it
			stored, err := r.store.Redelivery(r.ctx, job.ID)
			if err == nil {
				*job = *stored
			}
			return err
		}
		return err
	}) && r.running(job)
}

// persist does something with the store, as often as it takes; false: the
// Redeliverer is being closed.
func (r *Redeliverer) persist(problem string, try func() error) bool {
	for pause := jobRetry; ; pause = min(2*pause, jobRetryTo) {
		err := try()
		if err == nil {
			return true
		}
		if r.ctx.Err() != nil {
			return false
		}
		if now := time.Now(); r.logged.IsZero() || now.Sub(r.logged) >= jobLog {
			r.logged = now
			r.log.Error(problem+"; it is tried again", "err", err)
		}
		if !r.pause(pause) {
			return false
		}
	}
}

// pause waits; false: the Redeliverer is being closed.
func (r *Redeliverer) pause(d time.Duration) bool {
	select {
	case <-time.After(max(d, 0)):
		return r.ctx.Err() == nil
	case <-r.ctx.Done():
		return false
	}
}
