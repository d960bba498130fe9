package callback

import (
	"container/list"
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Bounds of a sequencer.
const (
	maxCalls   = 65_536 // calls whose position is known
	maxEarly   = 10_000 // callbacks that came before their turn
	maxWaiting = 256    // requests that wait for their turn
)

// sequencer lets the callbacks of each call through one at a time and in the
// order of their sequence. It knows how far each call has come, in memory: at
// most maxCalls, of which the one that was quiet for longest is forgotten
// first.
type sequencer struct {
	wait     time.Duration // for which a request waits for its turn
	patience time.Duration // after which a callback goes ahead of a missing one

	mu      sync.Mutex
	calls   map[string]*list.Element
	quiet   list.List // of *position, the quietest first
	early   int       // in all positions
	waiting int
}

// position is how far a call has come.
type position struct {
	call    string
	last    int               // the highest sequence that was handled
	running bool              // a callback of the call is being handled
	early   map[int]time.Time // when those that came before their turn first did
	waiters int
	changed chan struct{} // closed and replaced with each change
}

func newSequencer(wait, patience time.Duration) *sequencer {
	return &sequencer{wait: wait, patience: patience, calls: make(map[string]*list.Element)}
}

// enter waits for the turn of a callback, at most for s.wait. It gives
// ErrTooEarly when the turn did not come, else whether a later callback was
// handled before; then leave must follow.
func (s *sequencer) enter(ctx context.Context, call string, sequence int) (late bool, err error) {
	timer := time.NewTimer(s.wait)
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.position(call)
	for over := s.wait == 0; ; {
		if s.mayRun(p, sequence, over) {
			p.running = true
			s.dropEarly(p, sequence)
			return sequence < p.last, nil
		}
		if over || s.waiting >= maxWaiting || ctx.Err() != nil {
			if p.running {
				return false, problem(ErrTooEarly, "another callback of this call is being handled: send this one again")
			}
			return false, problem(ErrTooEarly, "callback %d of this call is not handled yet: send this one again after it", p.last+1)
		}
		over = s.await(ctx, p, timer)
	}
}

// await waits for a change of p, without the lock. It says whether the time
// for it is over.
func (s *sequencer) await(ctx context.Context, p *position, timer *time.Timer) (over bool) {
	changed := p.changed
	s.waiting++
	p.waiters++
	s.mu.Unlock()
	select {
	case <-changed:
	case <-timer.C:
		over = true
	case <-ctx.Done():
		over = true
	}
	s.mu.Lock()
	s.waiting--
	p.waiters--
	return over
}

// leave ends what enter began. done says that the callback was handled.
func (s *sequencer) leave(call string, sequence int, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.position(call)
	p.running = false
	if done {
		s.advance(p, sequence)
	}
	p.announce()
}

// learn takes note that a callback was handled, at some time, by somebody.
func (s *sequencer) learn(call string, sequence int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.position(call)
	if sequence > p.last {
		s.advance(p, sequence)
		p.announce()
	}
}

// mayRun says whether it is the turn of a callback, and if not, notes when
// it first came. One whose patience is over still lets those go first that
// came before their turn too, as long as it may wait.
func (s *sequencer) mayRun(p *position, sequence int, over bool) bool {
	if sequence <= p.last+1 {
		return !p.running
	}
	since, seen := p.early[sequence]
	if !seen {
		if !s.makeRoom(p) {
			return !p.running // order is not worth a callback
		}
		since = time.Now()
		p.early[sequence] = since
		s.early++
	}
	if p.running || time.Since(since) < s.patience {
		return false
	}
	return over || sequence == slices.Min(slices.Collect(maps.Keys(p.early)))
}

// advance moves the position on, never back.
func (s *sequencer) advance(p *position, sequence int) {
	p.last = max(p.last, sequence)
	for n := range p.early {
		if n <= p.last {
			s.dropEarly(p, n)
		}
	}
}

func (s *sequencer) dropEarly(p *position, sequence int) {
	if _, ok := p.early[sequence]; ok {
		delete(p.early, sequence)
		s.early--
	}
}

// position gives that of a call, which then is the least quiet one.
func (s *sequencer) position(call string) *position {
	if at, ok := s.calls[call]; ok {
		s.quiet.MoveToBack(at)
		return at.Value.(*position)
	}
	for at := s.quiet.Front(); at != nil && len(s.calls) >= maxCalls; {
		next := at.Next()
		s.forget(at)
		at = next
	}
	p := &position{call: call, early: make(map[int]time.Time), changed: make(chan struct{})}
	s.calls[call] = s.quiet.PushBack(p)
	return p
}

// makeRoom makes room for one early callback of p by forgetting quieter
// calls that have some. It says whether there is room.
func (s *sequencer) makeRoom(p *position) bool {
	for at := s.quiet.Front(); at != nil && s.early >= maxEarly; {
		next := at.Next()
		if q := at.Value.(*position); q != p && len(q.early) > 0 {
			s.forget(at)
		}
		at = next
	}
	return s.early < maxEarly
}

// forget drops a position, unless somebody is at it.
func (s *sequencer) forget(at *list.Element) {
	p := at.Value.(*position)
	if p.running || p.waiters > 0 {
		return
	}
	s.early -= len(p.early)
	delete(s.calls, p.call)
	s.quiet.Remove(at)
}

func (p *position) announce() {
	close(p.changed)
	p.changed = make(chan struct{})
}
