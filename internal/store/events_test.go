package store_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// TestEventIDsAndTime says that IDs, however many there are at a time, are in
// order and agree with EventIDAt and Instant.
func TestEventIDsAndTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var last store.EventID
		at := time.UnixMicro(rapid.Int64Range(1_704_067_200_000_000, 1<<52).Draw(t, "begin"))
		for range 100 {
			id := store.NextEventID(last, at)
			if id <= last {
				t.Fatalf("%d comes after %d", id, last)
			}
			if id.Instant() != call.At(at) {
				t.Fatalf("event %d of %v is of %v", id, at, id.Instant().Time())
			}
			if id < store.EventIDAt(call.At(at)) || id >= store.EventIDAt(call.At(at)+1) {
				t.Fatalf("event %d of %v is not between %d and %d", id, at, store.EventIDAt(call.At(at)), store.EventIDAt(call.At(at)+1))
			}
			last = id
			if rapid.Bool().Draw(t, "later") {
				at = at.Add(time.Duration(rapid.Int64Range(1, 1e10).Draw(t, "by")))
			}
		}
		// A clock that goes back does not matter.
		if id := store.NextEventID(last, at.Add(-time.Hour)); id != last+1 {
			t.Fatalf("with the clock back the next is %d, not %d", id, last+1)
		}
	})
	if id := store.NextEventID(0, time.Unix(0, 0)); id != 1 {
		t.Errorf("before the epoch the first is %d", id)
	}
	if id := store.EventIDAt(0); id != 0 {
		t.Errorf("EventIDAt of long ago is %d", id)
	}
	far := store.EventIDAt(call.At(time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)))
	for _, at := range []call.Instant{call.At(time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)), math.MaxInt64} {
		if id := store.EventIDAt(at); id <= far {
			t.Errorf("EventIDAt of %d is %d, not after that of the year 2300", at, id)
		}
	}
}
