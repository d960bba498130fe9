package postgres

import (
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// TestHistoryDays says that the days of the history come with calls and go with
// them, so that a look at a user's history asks for no day in vain.
func TestHistoryDays(t *testing.T) {
	s := open(t, Options{})
	const day = call.Instant(24 * time.Hour / time.Millisecond)
	days := func() []int64 {
		t.Helper()
		list, err := read(t.Context(), s, pgx.RowTo[int64], "SELECT day FROM history_days ORDER BY day")
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	for n, at := range []call.Instant{20000 * day, 20001*day - 1, 20001 * day, 20004 * day} {
		c := call.Evolve(nil, call.CallCreated{Actor: call.Actor{User: "alice"}, ID: call.NewID(at, uint32(n)), App: 1, At: at, Invitees: []call.UserID{"bob"}})
		c = call.Evolve(c, call.CallAccepted{Actor: call.Actor{User: "bob"}, At: at + 1})
		if err := s.CommitCall(t.Context(), &store.CallCommit{CallRecord: store.CallRecord{Call: c}, NewUsers: []call.UserID{"alice", "bob"}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		before call.Instant
		want   []int64
	}{
		{0, []int64{20000, 20001, 20004}},
		{20001*day - 1, []int64{20000, 20001, 20004}},
		{20001*day + 1, []int64{20001, 20004}},
		{20004 * day, []int64{20004}},
		{20005*day + 2, nil},
	} {
		if _, err := s.Prune(t.Context(), step.before, 100); err != nil {
			t.Fatal(err)
		}
		if got := days(); !slices.Equal(got, step.want) {
			t.Errorf("days after a prune of what is before %d: %v, want %v", step.before, got, step.want)
		}
	}
}
