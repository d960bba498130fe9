// Package clock tells the time of the store.
//
// Nodes that share a store compare instants that any of them has written, and
// their machines' clocks differ. So every instant that is stored, compared with
// a stored one or told to others comes from a [Clock]; pauses, deadlines of
// sockets and durations do not need one.
package clock

import (
	"sync/atomic"
	"time"
)

// Clock tells the time of the store: the machine's clock and an offset to it.
// Its zero value, and nil, tell the machine's time. All methods may be called
// concurrently.
type Clock struct {
	wrong  time.Duration
	offset atomic.Int64
}

// Wrong makes a Clock that takes the machine's clock to be ahead by so much, or
// behind, so that tests can have a machine whose clock is wrong.
func Wrong(by time.Duration) *Clock { return &Clock{wrong: by} }

// Now is the time of the store.
func (c *Clock) Now() time.Time {
	if c == nil {
		return time.Now()
	}
	return time.Now().Add(c.wrong + c.Offset())
}

// Machine is the time by the machine's clock: Now without the offset.
func (c *Clock) Machine() time.Time {
	if c == nil {
		return time.Now()
	}
	return time.Now().Add(c.wrong)
}

// Until is the time from now to t; negative when t is past.
func (c *Clock) Until(t time.Time) time.Duration { return t.Sub(c.Now()) }

// Adjust sets the offset: the store's clock minus the machine's. It must not
// be called on nil.
func (c *Clock) Adjust(offset time.Duration) { c.offset.Store(int64(offset)) }

// Offset is the store's clock minus the machine's.
func (c *Clock) Offset() time.Duration {
	if c == nil {
		return 0
	}
	return time.Duration(c.offset.Load())
}
