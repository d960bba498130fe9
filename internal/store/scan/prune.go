package scan

import (
	"context"
	"fmt"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// Old finds and deletes what is over. Each method is a step of a prune, or a
// part of one, so short that it holds up nobody.
type Old interface {
	// OldCalls lists calls below an ID that ended before an instant and have
	// nothing pending, by ID, beginning after the given one, at most limit.
	OldCalls(ctx context.Context, after, below call.ID, before call.Instant, limit int) ([]StoredCall, error)
	// DeleteCalls deletes those of the calls that still can go, with their
	// history, deliveries, attempts and traces, and gives their number.
	DeleteCalls(ctx context.Context, calls []*call.Call, before call.Instant) (int, error)
	// Events reads events by ID, beginning after the given one, at most limit,
	// until each gives false.
	Events(ctx context.Context, after store.EventID, limit int, each func(Event) (more bool)) error
	// DeleteEvents deletes events, with the deliveries and attempts of those
	// without a call.
	DeleteEvents(ctx context.Context, events []Event) error
	// DeleteRequests deletes requests that expired before the instant, at most
	// limit, and gives their number. DeleteNonces does so with nonces.
	DeleteRequests(ctx context.Context, before call.Instant, limit int) (int, error)
	DeleteNonces(ctx context.Context, before call.Instant, limit int) (int, error)
}

// StoredCall is a call in its stored form.
type StoredCall struct {
	ID    call.ID
	State []byte
}

// Event is what a prune looks at of an event.
type Event struct {
	ID     store.EventID
	App    uint32
	Call   call.ID // 0: not about a call
	At     call.Instant
	Needed bool // its call is there, or it has none and a delivery is pending
}

// Steps are how many rows one step of a prune deletes at most; of events, how
// many it looks at.
type Steps struct{ Calls, Events, Expired int }

// Pruner carries out store.Upkeep.Prune. It goes through calls and events by
// ID and remembers where it was, so that what must stay is not looked at each
// time. Its methods may be called concurrently; one prune runs at a time.
type Pruner struct {
	old   Old
	steps Steps
	busy  chan struct{} // held by the one that runs
	call  call.ID       // what was looked at last; 0: begin
	event store.EventID
}

// NewPruner makes a pruner that is at the beginning.
func NewPruner(old Old, steps Steps) *Pruner {
	return &Pruner{old: old, steps: steps, busy: make(chan struct{}, 1)}
}

// Prune deletes what is over since before an instant, at most limit. It gives
// what was deleted also with an error, which is that of the context while it
// waits for its turn.
func (p *Pruner) Prune(ctx context.Context, before call.Instant, limit int) (int, error) {
	select {
	case p.busy <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	defer func() { <-p.busy }()
	fresh := p.call == 0 && p.event == 0
	n, err := p.run(ctx, before, limit)
	if n == 0 && err == nil && !fresh {
		n, err = p.run(ctx, before, limit) // what was passed over then may be old now
	}
	if err != nil {
		return n, fmt.Errorf("prune: %w", err)
	}
	return n, nil
}

// run goes on from where the prune was, to the end or until limit is reached.
func (p *Pruner) run(ctx context.Context, before call.Instant, limit int) (deleted int, err error) {
	for _, step := range []func(ctx context.Context, before call.Instant, limit int) (n int, more bool, err error){
		p.calls, p.events, p.expired(p.old.DeleteRequests), p.expired(p.old.DeleteNonces),
	} {
		for more := true; more && deleted < limit; {
			var n int
			if n, more, err = step(ctx, before, limit-deleted); err != nil {
				return deleted, err
			}
			deleted += n
		}
	}
	return deleted, nil
}

// calls is a step through the calls.
func (p *Pruner) calls(ctx context.Context, before call.Instant, limit int) (n int, more bool, err error) {
	limit = min(limit, p.steps.Calls)
	below := call.NewID(max(before, 0)+1000, 0) // whatever ended by then was made by then
	old, err := p.old.OldCalls(ctx, p.call, below, before, limit)
	if err != nil {
		return 0, false, err
	}
	calls := make([]*call.Call, len(old))
	for i, o := range old {
		if calls[i], _, err = store.DecodeCall(o.State); err != nil {
			return 0, false, fmt.Errorf("call %s: %w", o.ID, err)
		}
	}
	if len(calls) > 0 {
		if n, err = p.old.DeleteCalls(ctx, calls, before); err != nil {
			return 0, false, err
		}
	}
	if len(old) < limit {
		p.call = 0
		return n, false, nil
	}
	p.call = old[len(old)-1].ID
	return n, true, nil
}

// events is a step through the events, of calls that are gone and of no call.
func (p *Pruner) events(ctx context.Context, before call.Instant, limit int) (n int, more bool, err error) {
	var old []Event
	var last store.EventID // looked at; 0: there are no more that can be old
	err = p.old.Events(ctx, p.event, p.steps.Events, func(e Event) bool {
		if e.At >= before {
			last = 0
			return false
		}
		last = e.ID
		if !e.Needed {
			old = append(old, e)
		}
		return len(old) < limit
	})
	if err == nil && len(old) > 0 {
		err = p.old.DeleteEvents(ctx, old)
	}
	if err != nil {
		return 0, false, err
	}
	p.event = last
	return len(old), last != 0, nil
}

// expired makes a step that deletes what has expired.
func (p *Pruner) expired(remove func(context.Context, call.Instant, int) (int, error)) func(context.Context, call.Instant, int) (int, bool, error) {
	return func(ctx context.Context, before call.Instant, limit int) (int, bool, error) {
		limit = min(limit, p.steps.Expired)
		n, err := remove(ctx, before, limit)
		return n, n == limit, err
	}
}
