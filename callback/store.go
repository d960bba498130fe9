package callback

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// State is where a callback stands in a [Store].
type State int

// States that Claim gives.
const (
	// Claimed: it is the caller's to handle, and nobody else's.
	Claimed State = iota + 1
	// Busy: somebody else has claimed it and is not done.
	Busy
	// Done: it has been handled.
	Done
)

// Store remembers which callbacks have been handled, by their webhook-id, so
// that a repeated one is not handled twice. It is used concurrently, by one
// handler for many callbacks. An event has the same ID at every endpoint that
// gets it: handlers of different endpoints must not share a store, or must
// put something of their own before the ID.
//
// A store that several processes share, or that outlives one, must let a
// claim run out after a while: its owner may have died. The time must be
// longer than any handler takes. See the example of an SQL table.
type Store interface {
	// Claim claims id if nobody has claimed or finished it, in one step.
	Claim(ctx context.Context, id string) (State, error)
	// Finish turns the caller's claim into Done. If it fails the callback is
	// answered with 500 and will be handled again.
	Finish(ctx context.Context, id string) error
	// Release takes the caller's claim back: the next one to come may try.
	Release(ctx context.Context, id string) error
}

// Defaults of MemoryStore.
const (
	DefaultRemembered  = 100_000
	DefaultRememberFor = 24 * time.Hour
)

// MemoryStore is a Store in memory, for one process: after a restart a
// callback that was handled before may be handled again. The zero value is
// ready. It must not be copied after first use.
type MemoryStore struct {
	// Size is how many finished callbacks are remembered, the latest ones;
	// default DefaultRemembered, about 20 MB. Claims come on top: one for each
	// request that is being handled.
	Size int
	// Age is for how long; default DefaultRememberFor. With less than twice
	// the tolerance of the verifier, a captured request can be replayed.
	Age time.Duration

	mu    sync.Mutex
	known map[string]*list.Element // nil: claimed; else its place in done
	done  list.List                // of finished, oldest first
}

type finished struct {
	id string
	at time.Time
}

// Claim never fails.
func (s *MemoryStore) Claim(_ context.Context, id string) (State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	place, ok := s.known[id]
	switch {
	case !ok:
		if s.known == nil {
			s.known = make(map[string]*list.Element)
		}
		s.known[id] = nil
		return Claimed, nil
	case place == nil:
		return Busy, nil
	}
	return Done, nil
}

// Finish never fails.
func (s *MemoryStore) Finish(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if place, ok := s.known[id]; ok && place == nil {
		s.known[id] = s.done.PushBack(finished{id, time.Now()})
	}
	s.forget()
	return nil
}

// Release never fails.
func (s *MemoryStore) Release(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if place, ok := s.known[id]; ok && place == nil {
		delete(s.known, id)
	}
	return nil
}

// forget drops what is over the size or the age.
func (s *MemoryStore) forget() {
	size, age := s.Size, s.Age
	if size <= 0 {
		size = DefaultRemembered
	}
	if age <= 0 {
		age = DefaultRememberFor
	}
	for first := s.done.Front(); first != nil; first = s.done.Front() {
		oldest := first.Value.(finished)
		if s.done.Len() <= size && time.Since(oldest.at) < age {
			return
		}
		delete(s.known, oldest.id)
		s.done.Remove(first)
	}
}
