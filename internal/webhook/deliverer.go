package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/clock"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/protocol"
)

// Store is what a Deliverer needs of [store.Deliveries].
type Store interface {
	RecordAttempts(ctx context.Context, attempts []store.Attempt) error
	PendingDeliveries(ctx context.Context, parts store.PartitionSet, endpoint store.EndpointID, dueBy call.Instant, strict bool, limit int) ([]*store.Delivery, error)
	Backlogs(ctx context.Context, parts store.PartitionSet) ([]store.Backlog, error)
}

// Defaults of an Endpoint.
const (
	DefaultTimeout  = 5 * time.Second
	DefaultInFlight = 64
)

// Endpoint is where callbacks of an app go.
type Endpoint struct {
	ID  store.EndpointID
	App uint32
	URL string // http or https
	// Secrets sign the callbacks, at least one. The first is that of the
	// signature in the body, which can hold only one; webhook-signature has
	// one entry for each.
	Secrets []string
	Form    bool
	Events  []string        // empty: protocol.DocumentedCallbacks
	Timeout time.Duration   // of one attempt; 0: DefaultTimeout
	Retry   []time.Duration // nil: DefaultRetry
	// Strict holds back the next callback of a call until the one before is
	// delivered or given up, not just attempted.
	Strict bool
	// Hold keeps deliveries without using up attempts while the endpoint is
	// down.
	Hold     bool
	InFlight int // most requests at once; 0: DefaultInFlight
	// Paused begins no attempts; what is due waits, in the store as far as
	// memory does not take it.
	Paused bool
}

// Result classifies an attempt for metrics.
type Result string

// Results of attempts.
const (
	ResultDelivered Result = "delivered"
	ResultRetry     Result = "retry"  // failed, and will be repeated
	ResultHeld      Result = "held"   // failed while the endpoint is down: uses no attempt of the schedule
	ResultFailed    Result = "failed" // failed, and given up
)

// Observation is what an Options.Observe is told of an attempt.
type Observation struct {
	Endpoint store.EndpointID
	App      uint32
	Result   Result
	Status   int // HTTP status; 0: there was no answer
	Duration time.Duration
	// Latency is, for a first attempt, the time from the event to the end of
	// the attempt; 0 for others.
	Latency time.Duration
}

// Options configure a Deliverer.
type Options struct {
	Store         Store
	Endpoints     []Endpoint
	AllowNetworks []netip.Prefix // beyond public addresses
	Logger        *slog.Logger   // nil: no log
	Version       string         // of the server, for User-Agent
	// Observe is told of every attempt, by many goroutines at once. It must
	// not wait.
	Observe func(Observation)
	Clock   *clock.Clock // nil: the machine's
	// Partitions is nil when no other node has the store. Else the Deliverer
	// minds what Gain and Drop tell it, as far as it is held at the moment.
	Partitions Partitions
	// Elsewhere, if set, is given what Redeliver leaves to other nodes. It must
	// not wait.
	Elsewhere func(list []*store.Delivery)

	transport http.RoundTripper // of tests
	capacity  int               // deliveries in memory, per endpoint; 0: defaultCapacity
}

// Deliverer makes the requests. All its methods may be called concurrently.
//
// Of each endpoint's deliveries it has a bounded number in memory; what is
// beyond it stays in the store and is loaded from there. Nothing is ever
// dropped, and nobody who hands off waits.
type Deliverer struct {
	store     Store
	log       *slog.Logger
	observe   func(Observation)
	clock     *clock.Clock
	parts     Partitions // nil: all
	elsewhere func([]*store.Delivery)
	look      chan struct{} // asks for a look into the store, see runLooks
	transport http.RoundTripper
	userAgent string
	capacity  int
	epoch     time.Time // of the monotonic clock, see now
	recorder  *recorder
	loading   chan struct{} // a slot for each load from the store at a time

	flights context.Context // of attempts
	abort   context.CancelFunc
	loads   context.Context // of loads from the store
	unload  context.CancelFunc
	tasks   sync.WaitGroup // workers and loads

	mu      sync.RWMutex
	started bool
	closed  bool
	minds   store.PartitionSet
	targets map[store.EndpointID]*endpoint
	subs    map[uint32]map[string][]store.EndpointID // replaced, never changed
}

const (
	defaultCapacity = 8192
	parallelLoads   = 4
)

// New checks the options. Nothing is sent before Start.
func New(o Options) (*Deliverer, error) {
	d := &Deliverer{
		store:     o.Store,
		log:       o.Logger,
		observe:   o.Observe,
		clock:     o.Clock,
		parts:     o.Partitions,
		elsewhere: o.Elsewhere,
		look:      make(chan struct{}, 1),
		transport: o.transport,
		userAgent: userAgent + o.Version,
		capacity:  o.capacity,
		epoch:     time.Now(),
		loading:   make(chan struct{}, parallelLoads),
		targets:   make(map[store.EndpointID]*endpoint),
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.observe == nil {
		d.observe = func(Observation) {}
	}
	if d.parts == nil {
		d.minds = store.AllPartitions
	}
	if d.elsewhere == nil {
		d.elsewhere = func([]*store.Delivery) {}
	}
	if d.capacity == 0 {
		d.capacity = defaultCapacity
	}
	if d.transport == nil {
		d.transport = newTransport(newTargets(o.AllowNetworks))
	}
	d.flights, d.abort = context.WithCancel(context.Background())
	d.loads, d.unload = context.WithCancel(context.Background())
	d.recorder = newRecorder(o.Store, d.log)
	if err := d.SetEndpoints(o.Endpoints); err != nil {
		return nil, err
	}
	return d, nil
}

// settings are a checked Endpoint and what is derived from it.
type settings struct {
	Endpoint
	request       *http.Request // what all requests have in common
	authorization string
}

func newSettings(e Endpoint) (*settings, error) {
	base, err := newBase(e.URL)
	if err != nil {
		return nil, fmt.Errorf("endpoint of app %d: its URL cannot be parsed", e.App) // the error would show its secrets
	}
	u := base.URL
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("endpoint %q of app %d: not an http or https URL", u.Redacted(), e.App)
	case len(e.Secrets) == 0 || slices.Contains(e.Secrets, ""):
		return nil, fmt.Errorf("endpoint %q of app %d has no secret", u.Redacted(), e.App)
	}
	if e.Timeout <= 0 {
		e.Timeout = DefaultTimeout
	}
	if e.Retry == nil {
		e.Retry = DefaultRetry
	}
	if e.InFlight <= 0 {
		e.InFlight = DefaultInFlight
	}
	if len(e.Events) == 0 {
		e.Events = protocol.DocumentedCallbacks
	}
	return &settings{Endpoint: e, request: base, authorization: basicAuth(base)}, nil
}

// SetEndpoints makes the endpoints those that are given. What is in memory for
// one that is gone is dropped, and the requests that it has in flight are its
// last; the store is told by its SyncApps, beforehand. An endpoint that stays
// has its new settings from the next attempt on. When one of them is wrong
// nothing changes.
func (d *Deliverer) SetEndpoints(list []Endpoint) error {
	var errs []error
	checked := make(map[store.EndpointID]*settings, len(list))
	subs := make(map[uint32]map[string][]store.EndpointID)
	for _, e := range list {
		s, err := newSettings(e)
		if err == nil && checked[e.ID] != nil {
			err = fmt.Errorf("endpoint %d is there twice", e.ID)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		checked[e.ID] = s
		if subs[s.App] == nil {
			subs[s.App] = make(map[string][]store.EndpointID)
		}
		for _, name := range s.Events {
			if ids := subs[s.App][name]; !slices.Contains(ids, s.ID) {
				subs[s.App][name] = append(ids, s.ID)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}

	d.mu.Lock()
	defer d.mu.Unlock()
	d.subs = subs
	for id, e := range d.targets {
		if checked[id] == nil {
			delete(d.targets, id)
			e.remove()
		}
	}
	for id, s := range checked {
		e := d.targets[id]
		if e == nil {
			e = newEndpoint(d, s)
			d.targets[id] = e
			if d.started && !d.closed {
				e.start()
			}
			continue
		}
		e.configure(s)
	}
	return nil
}

// Start loads what the store has pending and begins to deliver.
func (d *Deliverer) Start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.started || d.closed {
		return
	}
	d.started = true
	d.recorder.start()
	for _, e := range d.targets {
		e.start()
	}
	if !d.mindsAll() {
		signal(d.look)
		d.tasks.Go(d.runLooks)
	}
}

// Subscriptions gives the endpoints of an app that are to get an event. The
// result must not be changed.
func (d *Deliverer) Subscriptions(app uint32, event string) []store.EndpointID {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.subs[app][event]
}

// HandOff takes events that have just been committed, those of one call in
// the order of their commits. What was made pending in another way is not
// handed off: see Redeliver and Wake. It never waits. The events must not be changed
// afterwards. Deliveries to unknown endpoints are ignored: the store fails
// them when an endpoint is removed. So are those of partitions that are not
// minded here. An event that follows one of its call that was not handed off
// here needs a Wake before it, so that it cannot overtake that.
func (d *Deliverer) HandOff(events []*store.Event) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, ev := range events {
		for _, sub := range ev.Deliveries {
			e := d.targets[sub.Endpoint]
			if e == nil {
				continue
			}
			e.handOff(&item{Delivery: deliveryOf(ev, sub)})
		}
	}
}

// Wake makes the Deliverer look into the store for what an endpoint is due,
// after somebody else made a delivery pending there, such as a node whose work
// this one takes over.
func (d *Deliverer) Wake(id store.EndpointID) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if e := d.targets[id]; e != nil {
		e.wake()
	}
}

// WakeApp is Wake for all endpoints of an app.
func (d *Deliverer) WakeApp(app uint32) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, e := range d.targets {
		if e.app == app {
			e.wake()
		}
	}
}

// Close starts no more attempts, lets those in flight finish until ctx ends
// and then aborts them, so that they are made again after the next start. It
// writes the results down and returns when nothing is running any more; the
// error says how many results could not be written.
func (d *Deliverer) Close(ctx context.Context) error {
	d.mu.Lock()
	first := !d.closed
	d.closed = true
	if first {
		d.unload()
		for _, e := range d.targets {
			e.close()
		}
	}
	d.mu.Unlock()

	idle := make(chan struct{})
	go func() {
		d.tasks.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
		d.abort()
		<-idle
	}
	d.abort()
	if t, ok := d.transport.(*transport); ok {
		t.CloseIdleConnections()
	}
	return d.recorder.close(ctx)
}

// now is the time on the Deliverer's own clock, which no change of the wall
// clock moves.
func (d *Deliverer) now() time.Duration { return time.Since(d.epoch) }
