package callback

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &MemoryStore{Size: 3, Age: time.Hour}
		ctx := t.Context()
		claim := func(id string, want State) {
			t.Helper()
			if got, err := s.Claim(ctx, id); got != want || err != nil {
				t.Errorf("claiming %s: %d, %v, want %d", id, got, err, want)
			}
		}
		claim("a", Claimed)
		claim("a", Busy)
		s.Release(ctx, "a")
		claim("a", Claimed)
		s.Finish(ctx, "a")
		claim("a", Done)
		s.Release(ctx, "a") // not claimed: nothing happens
		s.Finish(ctx, "a")
		claim("a", Done)
		s.Finish(ctx, "never claimed")
		claim("never claimed", Claimed)

		// The size drops the oldest of those that are done, never a claim.
		for i := range 3 {
			id := fmt.Sprint("b", i)
			claim(id, Claimed)
			s.Finish(ctx, id)
		}
		claim("never claimed", Busy)
		claim("b0", Done)
		claim("a", Claimed)

		// So does the age.
		time.Sleep(time.Hour - time.Second)
		claim("b0", Done)
		time.Sleep(time.Second)
		claim("b0", Claimed)
		claim("never claimed", Busy)
		if len(s.known) != 3 || s.done.Len() != 0 {
			t.Errorf("%d are known, %d done", len(s.known), s.done.Len())
		}
	})
}
