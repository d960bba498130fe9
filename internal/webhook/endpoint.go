package webhook

import (
	"math"
	"sync"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// never is later than every time on the Deliverer's clock.
const never = time.Duration(math.MaxInt64)

// endpoint is what one endpoint is due, as far as it is in memory, and the
// workers that bring it there.
//
// It owns deliveries, of which there are at most the Deliverer's capacity, or
// half as many again after a load in strict order. Of each it has the newest
// state, while the store may be behind by results that are not yet written. It
// gives up a delivery when that is finished and the store knows. Everything that the store has pending and
// due before the horizon is owned; while the horizon lies in the future, a
// delivery that is handed off cannot overtake another of its call, and goes
// straight to the workers. Otherwise it stays in the store, and is loaded when
// there is room. At the start the horizon lies in the past, so that a restart
// and an overflow are the same.
type endpoint struct {
	d   *Deliverer
	id  store.EndpointID
	app uint32

	mu      sync.Mutex
	conf    *settings
	started bool
	closed  bool // closed or removed: no more attempts
	removed bool

	owned   map[store.DeliveryKey]*item
	ready   fifo
	low     fifo // ready, but made pending again: they give way to those above
	retries retries
	chains  chains
	hold    hold

	workers int
	flying  int
	slots   int       // of them, those in the low lane
	idle    []*worker // the one idle for the shortest time last

	timer   *time.Timer
	timerAt time.Duration

	minds    store.PartitionSet // what may be owned
	dropped  store.PartitionSet // no longer minded since the query of a load
	admitted int                // how many were ever owned

	horizon time.Duration
	loading bool
	more    bool    // something was left in the store while loading
	arrived []*item // handed off while loading
	gone    []*item // given up while loading: what is being loaded may still show them
	// early are deliveries that were loaded, attempted and given up before they
	// were handed off, with the number of their attempts: what is handed off
	// with fewer is one of them, with as many it was made pending again.
	early map[store.DeliveryKey]int
	// left are redeliveries that are only in the store, and awaiting counts
	// the other ones that have not been attempted since.
	left     map[store.DeliveryKey]struct{}
	awaiting int

	health health
}

// maxEarly bounds endpoint.early. It is emptied when it is full: a delivery
// whose hand-off comes that late is then made twice.
const maxEarly = 4096

func newEndpoint(d *Deliverer, s *settings) *endpoint {
	return &endpoint{
		d: d, id: s.ID, app: s.App, conf: s, minds: d.minds,
		owned:   make(map[store.DeliveryKey]*item),
		chains:  make(chains),
		early:   make(map[store.DeliveryKey]int),
		left:    make(map[store.DeliveryKey]struct{}),
		timerAt: never,
	}
}

func (e *endpoint) start() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.started = true
	if e.d.mindsAll() { // else a look into the store says where to load
		e.load()
	}
}

// configure changes the settings.
func (e *endpoint) configure(s *settings) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conf = s
	if e.hold.down && !s.Hold {
		e.resume()
	}
	e.proceed()
}

// close makes the running attempts the last.
func (e *endpoint) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	if e.timer != nil {
		e.timer.Stop()
	}
	for _, w := range e.idle {
		close(w.work)
	}
	e.workers -= len(e.idle)
	e.idle = nil
}

// remove closes the endpoint for good.
func (e *endpoint) remove() {
	e.close()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.removed = true
	e.d.recorder.forget(e)
}

// wake says that the store has something that was not handed off.
func (e *endpoint) wake() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.spill()
}

// handOff takes a delivery that has just been stored, or made pending again.
func (e *endpoint) handOff(it *item) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.minds.Has(it.Key().Partition()) || e.known(it) {
		return
	}
	switch {
	case e.closed:
	case e.loading && !e.more && len(e.owned)+len(e.arrived) < e.d.capacity:
		e.arrived = append(e.arrived, it) // what is being loaded comes first
	case !e.room() || !e.caughtUp(it):
		e.leave(it)
		e.spill()
	default:
		e.admit(it, 0)
		e.proceed()
	}
}

// known reports whether a delivery that is handed off was loaded before.
func (e *endpoint) known(it *item) bool {
	key := it.Key()
	if attempts, ok := e.early[key]; ok && it.Attempts < attempts {
		delete(e.early, key)
		return true
	}
	owned := e.owned[key]
	if owned == nil || owned.finishedBefore(&it.Delivery) {
		return false
	}
	owned.loaded = false
	return true
}

// finishedBefore reports whether an item is what a delivery was before it was
// made pending again. The item is still owned because nobody told yet that its
// last result is durable, or because something is being loaded.
func (it *item) finishedBefore(d *store.Delivery) bool {
	return it.state == finished && d.Attempts >= it.Attempts
}

// caughtUp reports whether no delivery that is only in the store must come
// before a new one. Those are waiting for a retry, which matters only for a
// strict order.
func (e *endpoint) caughtUp(it *item) bool {
	if !e.ordered(it) && it.low {
		return true
	}
	if e.horizon <= e.d.now() {
		return false
	}
	if !e.conf.Strict || e.horizon == never || it.Sequence <= 1 {
		return true
	}
	before := it.Key()
	before.Sequence--
	return e.owned[before] != nil
}

// spill leaves something in the store, to be loaded when there is room.
func (e *endpoint) spill() {
	e.horizon, e.more = 0, e.loading
	e.load()
}

// room reports whether there is room for one more. When there is not, it makes
// some by giving up retries, which are in the store; that draws back the
// horizon, so caughtUp must be asked afterwards.
func (e *endpoint) room() bool {
	if len(e.owned) < e.d.capacity {
		return true
	}
	return e.evict()
}

// ordered reports whether an item must keep to the order of its call.
func (e *endpoint) ordered(it *item) bool {
	return it.Call != 0 && (e.conf.Strict || it.Attempts == 0)
}

// admit takes ownership of a delivery that is due at the given time. If it was
// finished before, what is owned of that makes room.
func (e *endpoint) admit(it *item, due time.Duration) {
	e.owned[it.Key()] = it
	e.admitted++
	it.due = due
	if it.awaited {
		e.awaiting++
	}
	if e.ordered(it) {
		e.chain(it)
		if !e.chains.isHead(it) {
			return
		}
	}
	e.schedule(it)
}

// chain puts an item into the order of its call.
func (e *endpoint) chain(it *item) {
	it.state = blocked
	if displaced := e.chains.insert(it); displaced != nil && displaced.state == ready {
		displaced.state = blocked
	}
	e.promote(it)
}

// unchain takes an item out of the order of its call and schedules the one
// behind it.
func (e *endpoint) unchain(it *item) {
	if next := e.chains.remove(it); next != nil && next.state == blocked {
		e.schedule(next)
	}
}

// schedule makes an item ready, or lets it wait until it is due.
func (e *endpoint) schedule(it *item) {
	if it.due > e.d.now() {
		it.state = waiting
		e.retries.add(it)
		return
	}
	e.enqueue(it)
}

// enqueue makes an item ready, in its lane.
func (e *endpoint) enqueue(it *item) {
	it.state = ready
	if it.low {
		e.low.push(it)
	} else {
		e.ready.push(it)
	}
}

// proceed does everything that can be done now, and sets the timer for what
// cannot.
func (e *endpoint) proceed() {
	now := e.d.now()
	for len(e.retries) > 0 && e.retries[0].due <= now {
		it := e.retries[0]
		e.retries.remove(it)
		if it.chained && !e.chains.isHead(it) {
			it.state = blocked
			continue
		}
		e.enqueue(it)
	}
	e.load()
	e.dispatch()
	e.arm(now)
}

// take gives the next item to attempt, or nil.
func (e *endpoint) take() *item {
	if e.closed || e.conf.Paused {
		return nil
	}
	it := e.choose()
	for it != nil && !e.d.holds(it.Key()) {
		e.refuse(it)
		it = e.choose()
	}
	if it == nil {
		return nil
	}
	it.state = flying
	e.flying++
	if it.low {
		it.slot = true
		e.slots++
	}
	return it
}

// choose takes the item whose turn it is, or gives nil.
func (e *endpoint) choose() *item {
	if e.hold.down {
		return e.takeProbe()
	}
	it := e.ready.pop()
	if it == nil && e.slots < e.lowSlots() {
		it = e.low.pop()
	}
	return it
}

// arm sets the timer for the next thing that is due.
func (e *endpoint) arm(now time.Duration) {
	if e.closed {
		return
	}
	next := never
	if len(e.retries) > 0 {
		next = e.retries[0].due
	}
	if e.horizon != never && e.horizon-loadLead > now {
		next = min(next, e.horizon-loadLead)
	}
	if at := e.hold.probeAt; e.hold.down && !e.hold.probing && at > now && e.hasProbe() {
		next = min(next, at)
	}
	if next >= e.timerAt {
		return
	}
	e.timerAt = next
	if e.timer == nil {
		e.timer = time.AfterFunc(next-now, e.tick)
	} else {
		e.timer.Reset(next - now)
	}
}

func (e *endpoint) tick() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.timerAt = never
	if !e.closed {
		e.proceed()
	}
}

// recorded is told of results that are durable now.
func (e *endpoint) recorded(list []written) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range list {
		it := list[i].of
		it.open -= list[i].number
		switch {
		case it.open > 0:
		case it.forgotten:
			if it.state != flying {
				it.settled()
			}
		case it.state == finished:
			e.disown(it)
			if e.conf.Strict && e.horizon != never {
				e.horizon, e.more = 0, e.loading // the next of its call may be in the store only
			}
		case it.state == waiting && it.due >= e.horizon && !e.loading && it.next == nil && (!it.chained || e.chains.isHead(it)):
			e.drop(it) // the load at the horizon will bring it back
		}
	}
	e.proceed()
}

// disown gives up an item that the store knows to be finished.
func (e *endpoint) disown(it *item) {
	if e.loading {
		e.gone = append(e.gone, it)
		return
	}
	key := it.Key()
	if e.owned[key] == it { // else it was made pending again
		delete(e.owned, key)
	}
	e.expect(it)
}

// expect remembers, of an item that is no longer owned, that its hand-off may
// still come.
func (e *endpoint) expect(it *item) {
	if !it.loaded {
		return
	}
	if len(e.early) >= maxEarly {
		clear(e.early)
	}
	e.early[it.Key()] = it.Attempts
}

// onClock converts an instant of the store's clock to the Deliverer's.
func (d *Deliverer) onClock(i call.Instant) time.Duration {
	return d.now() + d.clock.Until(i.Time())
}
