package webhook

import (
	"testing"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

func TestSchedule(t *testing.T) {
	const ended = call.Instant(1000)
	for _, test := range []struct {
		retry    []time.Duration
		failures int
		state    store.DeliveryState
		due      call.Instant
	}{
		{DefaultRetry, 1, store.Pending, 3000},
		{DefaultRetry, 2, store.Pending, 5000},
		{DefaultRetry, 3, store.Pending, 9000},
		{DefaultRetry, 4, store.Pending, 17000},
		{DefaultRetry, 5, store.Pending, 33000},
		{DefaultRetry, 6, store.Failed, 0},
		{DefaultRetry, 7, store.Failed, 0}, // redelivered by hand
		{nil, 1, store.Failed, 0},
		{[]time.Duration{0}, 1, store.Pending, 1000},
		{[]time.Duration{72 * time.Hour}, 1, store.Pending, 1000 + 72*3600*1000},
	} {
		if state, due := schedule(test.retry).after(test.failures, ended); state != test.state || due != test.due {
			t.Errorf("%v after %d failures: state %d, due %d; want %d, %d", test.retry, test.failures, state, due, test.state, test.due)
		}
	}
}
