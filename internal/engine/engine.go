// Package engine carries out commands on calls and keeps the presence of
// users.
//
// A command takes its call (from memory, else from the store), is applied by
// the rules of package call, and is committed with its events and deliveries
// in one transaction. Only when that is durable is anybody told: first the
// device that acted, then the other devices, then the deliverer of callbacks.
// Commands for one call run one after another; different calls run side by
// side.
package engine

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/clock"
	"github.com/ringback/ringback/internal/store"
)

// Store is the part of a store that the engine needs.
type Store interface {
	store.Calls
	store.Sessions
	store.Upkeep
}

// Transition is something that happened to a call, after it became durable
// (or, for a soft one, at once).
type Transition struct {
	Before *call.Call // nil for a new call
	After  *call.Call
	Event  call.Event
	At     call.Instant     // of the event and all that comes of it; 0 for a remote one
	Errors []call.UserError // users whom the command named in vain
	// Remote says that another node has made the transition; this one only
	// tells its devices.
	Remote bool
	// Elsewhere are new users of the call who have devices on other nodes.
	Elsewhere []call.UserID
}

// Devices tells devices what happened. Tell is called in the order of
// transitions for each call, while the call is held: it must not block, nor
// call the engine.
type Devices interface {
	Tell(t Transition)
	// CatchUp tells devices what became of a call since they were last told
	// of it, when it is not known by which transitions. before is nil when
	// they were told nothing of it. It is called as Tell is.
	CatchUp(before, after *call.Call)
}

// Callbacks turns what happened into events for business servers. No method
// blocks.
type Callbacks interface {
	// Events gives the events of a transition, without IDs and deliveries.
	Events(t Transition) []*store.Event
	// UserAction gives the event of a change of a user's presence.
	UserAction(a UserAction) *store.Event
	// Subscriptions lists the endpoints of an app that are to get an event.
	Subscriptions(app uint32, event string) []store.EndpointID
	// HandOff passes on events that have become durable.
	HandOff(events []*store.Event)
	// Wake says that the store has deliveries of an app that were not handed
	// off.
	Wake(app uint32)
}

// Login policies of an app.
const (
	PolicySingle = "single" // a new login kicks the older session
	PolicyDual   = "dual"   // one web session beside one other
	PolicyMulti  = "multi"  // up to MaxSessions
)

// MaxSessions is how many sessions a user has at most, under PolicyMulti.
const MaxSessions = 10

// App is what the engine needs to know of an app.
type App struct {
	LoginPolicy string
}

// Options configure an Engine. All fields but Observe are needed.
type Options struct {
	Store     Store
	Devices   Devices
	Callbacks Callbacks
	App       func(id uint32) (App, bool) // as it is at this moment
	Logger    *slog.Logger

	HeartbeatTimeout time.Duration // until a lost session is offline
	AbsenceTimeout   time.Duration // until an absent user quits an advanced call
	MaxCallDuration  time.Duration // of advanced calls
	SessionTTL       time.Duration // until an offline session is dropped
	Retention        time.Duration // of ended calls and their events

	// Observe, if set, is called for every transition that this node made; it
	// must not block.
	Observe func(Transition)

	Clock *clock.Clock // nil: the machine's
	Peers Peers        // nil: there are no other nodes
}

// Engine runs calls. Its methods may be called concurrently.
type Engine struct {
	Options

	mu         sync.Mutex
	calls      map[call.ID]*entry               // live calls, and those being looked at
	byUser     map[userKey]map[call.ID]struct{} // live calls in which a user is active
	users      map[userKey]*presence            // users with a session that is not offline
	locks      [512]lock                        // stripes: one user's logins and logouts run one by one
	absent     map[userKey]*time.Timer          // accepted users of advanced calls who are gone
	complained atomic.Int64                     // when logRetry last logged an error, Unix seconds
	ctx        context.Context                  // ends with Close
	stop       context.CancelFunc
	work       sync.WaitGroup // timers that are running, and goroutines
	closed     bool           // under mu: no new timers run

	inbox [inboxes]chan *letter // of other nodes' messages; nil without them
	late  chan struct{}         // asks for a look at everything that is stored
	past  past
	began call.Instant // when the engine started
}

// complainEvery is the least time, in seconds, between two errors of logRetry.
const complainEvery = 10

type userKey struct {
	app  uint32
	user call.UserID
}

// New makes an Engine. Call Start before anything else.
func New(o Options) *Engine {
	e := &Engine{
		Options: o,
		calls:   make(map[call.ID]*entry),
		byUser:  make(map[userKey]map[call.ID]struct{}),
		users:   make(map[userKey]*presence),
		absent:  make(map[userKey]*time.Timer),
	}
	for i := range e.locks {
		e.locks[i] = newLock()
	}
	e.ctx, e.stop = context.WithCancel(context.Background())
	return e
}

// Start loads what lives: every open session counts as having lost its
// connection now, every live call gets its timers back, and what came due
// while the server was down happens at once. With other nodes there is nothing
// to load: see Gain.
func (e *Engine) Start(ctx context.Context) error {
	e.began = e.now()
	if e.Peers != nil {
		e.startPeers()
		e.work.Go(e.janitor)
		return nil
	}
	if err := e.loadSessions(ctx); err != nil {
		return fmt.Errorf("loading sessions: %w", err)
	}
	if err := e.loadCalls(ctx); err != nil {
		return fmt.Errorf("loading live calls: %w", err)
	}
	e.work.Go(e.janitor)
	return nil
}

// Close stops the timers and writes what has not been written. Commands that
// come later fail.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	entries := make([]*entry, 0, len(e.calls))
	for _, c := range e.calls {
		entries = append(entries, c)
	}
	e.mu.Unlock()
	e.stop()
	e.work.Wait()
	for _, c := range entries {
		c.mu.Lock()
		c.stopTimers()
		if len(c.soft) > 0 && !c.gone {
			e.flush(c)
		}
		c.mu.Unlock()
	}
}

// after runs f in its own goroutine when d has passed, unless the engine is
// closed by then. Close waits for it.
func (e *Engine) after(d time.Duration, f func()) *time.Timer {
	return time.AfterFunc(d, func() {
		e.mu.Lock()
		if e.closed {
			e.mu.Unlock()
			return
		}
		e.work.Add(1)
		e.mu.Unlock()
		defer e.work.Done()
		f()
	})
}

// logRetry logs a failure that will be tried again: once in a while as an
// error, the others only for debugging. When the store fails, every timer
// does, and a line for each would bury the first.
func (e *Engine) logRetry(message string, args ...any) {
	level := slog.LevelDebug
	at := time.Now().Unix()
	if last := e.complained.Load(); at-last >= complainEvery && e.complained.CompareAndSwap(last, at) {
		level = slog.LevelError
	}
	e.Logger.Log(e.ctx, level, message, args...)
}

// now is the time of the store's clock.
func (e *Engine) now() call.Instant { return call.At(e.Clock.Now()) }

// until is the time from now to an instant, 0 when it has passed.
func (e *Engine) until(i call.Instant) time.Duration { return max(0, e.Clock.Until(i.Time())) }

// before is the instant that far in the past.
func (e *Engine) before(d time.Duration) call.Instant { return call.At(e.Clock.Now().Add(-d)) }

// random gives 64 bits that cannot be guessed.
func random() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// LiveCalls is the number of live calls that this node minds the timers of.
func (e *Engine) LiveCalls() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.Peers == nil {
		return len(e.calls)
	}
	n, held := 0, e.Peers.Held()
	for id := range e.calls {
		if held.Has(store.PartitionOf(id)) {
			n++
		}
	}
	return n
}

// PresentUsers is the number of users who are not offline.
func (e *Engine) PresentUsers() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.users)
}
