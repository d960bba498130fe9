// Package clock tells the time of the store.
package clock

import (
	"sync/atomic"
	"time"
)

// Clock tells the time of the store: the machine's clock and an offset to it.
type Clock struct{ offset atomic.Int64 }

// Now is the time of the store.
func (c *Clock) Now() time.Time {
	return time.Now().Add(c.Offset())
}

// Until is the time from now to t.
func (c *Clock) Until(t time.Time) time.Duration { return t.Sub(c.Now()) }

// Adjust sets the offset.
func (c *Clock) Adjust(offset time.Duration) { c.offset.Store(int64(offset)) }

// Offset is the store's clock minus the machine's.
func (c *Clock) Offset() time.Duration {
	if c == nil {
		return 0
	}
	return time.Duration(c.offset.Load())
}
