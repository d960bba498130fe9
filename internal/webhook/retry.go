package webhook

import (
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// DefaultRetry is the documented schedule: the pauses between the end of an
// attempt and the next one. Six attempts in all.
var DefaultRetry = []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second}

// schedule is the list of pauses after the first, second, … failure.
type schedule []time.Duration

// after says where a delivery stands whose attempt failed and ended at the
// given instant, being its failures-th failure: pending and due again, or
// failed, and then never due.
func (s schedule) after(failures int, ended call.Instant) (store.DeliveryState, call.Instant) {
	if failures < 1 || failures > len(s) {
		return store.Failed, 0
	}
	return store.Pending, ended.Add(s[failures-1].Milliseconds())
}
