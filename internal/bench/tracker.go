package bench

import (
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/ringback/ringback/protocol"
)

// failures counts what went wrong, by kind. It is safe for concurrent use; its
// zero value is empty.
type failures struct {
	mu     sync.Mutex
	counts map[string]int
	total  int
}

func (f *failures) add(kind string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts == nil {
		f.counts = make(map[string]int)
	}
	f.counts[kind]++
	f.total++
}

func (f *failures) all() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts)
}

func (f *failures) sum() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}

// maxSettled is how many calls whose callbacks have all come are remembered,
// so that a duplicate is known for what it is.
const maxSettled = 100_000

// tracker brings together what the clients did and the callbacks that came of
// it, in whichever order they become known. It is safe for concurrent use.
type tracker struct {
	errs *failures

	fromInvite     histogram // from the start of the invitation to call_create
	fromAccept     histogram // from the start of the accept to call_accept
	fromTransition histogram // from either reply to its callback

	mu      sync.Mutex
	calls   map[uint64]tracked
	settled []uint64 // a ring
	oldest  int
	callbackCounts
}

// callbackCounts are the callbacks of a run.
type callbackCounts struct {
	Expected   int `json:"expected"`
	Received   int `json:"received"` // of those expected
	Lost       int `json:"lost"`     // expected, but not received in time
	Duplicates int `json:"duplicates"`
	OutOfOrder int `json:"out_of_order"` // received before the one before it
	Unexpected int `json:"unexpected"`   // of calls that failed, and the like
}

// tracked is a call. Times are of the clock of the run, 0 when unknown.
type tracked struct {
	inviteAt, inviteReply, created  int64
	acceptAt, acceptReply, accepted int64
	measured                        bool
}

func newTracker(errs *failures) *tracker {
	return &tracker{errs: errs, calls: make(map[uint64]tracked)}
}

// invited notes that the invitation begun at a time was answered at another.
func (t *tracker) invited(id string, at, reply int64, measured bool) {
	t.update(id, func(c *tracked) {
		c.inviteAt, c.inviteReply, c.measured = at, reply, measured
		t.Expected++
		if c.created != 0 {
			t.Received++
		}
	})
}

// accepted notes the same of an accept.
func (t *tracker) accepted(id string, at, reply int64) {
	t.update(id, func(c *tracked) {
		c.acceptAt, c.acceptReply = at, reply
		t.Expected++
		if c.accepted != 0 {
			t.Received++
		}
	})
}

// callback notes a callback.
func (t *tracker) callback(id, event string, at int64) {
	t.update(id, func(c *tracked) {
		switch event {
		case protocol.CallbackCreate:
			t.seen(&c.created, c.inviteReply, at)
		case protocol.CallbackAccept:
			if c.created == 0 {
				t.OutOfOrder++
			}
			t.seen(&c.accepted, c.acceptReply, at)
		default:
			t.Unexpected++
		}
	})
}

func (t *tracker) seen(when *int64, reply, at int64) {
	switch {
	case *when != 0:
		t.Duplicates++
		return
	case reply != 0:
		t.Received++
	}
	*when = at
}

// update changes what is known of a call.
func (t *tracker) update(id string, change func(*tracked)) {
	key, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		t.errs.add("call ID that is not a number")
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.calls[key]
	before := c.complete()
	change(&c)
	t.calls[key] = c
	if before || !c.complete() {
		return
	}
	if c.measured {
		t.fromInvite.record(time.Duration(c.created - c.inviteAt))
		t.fromAccept.record(time.Duration(c.accepted - c.acceptAt))
		t.fromTransition.record(time.Duration(c.created - c.inviteReply))
		t.fromTransition.record(time.Duration(c.accepted - c.acceptReply))
	}
	if len(t.settled) < maxSettled {
		t.settled = append(t.settled, key)
		return
	}
	delete(t.calls, t.settled[t.oldest])
	t.settled[t.oldest] = key
	t.oldest = (t.oldest + 1) % maxSettled
}

func (c *tracked) complete() bool {
	return c.inviteReply != 0 && c.created != 0 && c.acceptReply != 0 && c.accepted != 0
}

// counts returns the callbacks so far; those that have not come are lost.
func (t *tracker) counts() callbackCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.callbackCounts
	n.Lost = n.Expected - n.Received
	for _, c := range t.calls {
		if c.created != 0 && c.inviteReply == 0 {
			n.Unexpected++
		}
		if c.accepted != 0 && c.acceptReply == 0 {
			n.Unexpected++
		}
	}
	return n
}

// waiting returns how many callbacks are expected, and how many of those have
// not come.
func (t *tracker) waiting() (expected, missing int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.Expected, t.Expected - t.Received
}
