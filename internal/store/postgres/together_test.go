package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
)

type row struct{ user call.UserID }

// TestTogether has many ask while a query runs.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var queries []int
		fail := false
		tg := &together[row]{
			user: func(r *row) call.UserID { return r.user },
			query: func(_ context.Context, _ uint32, users []string) ([]row, error) {
				mu.Lock()
				queries = append(queries, len(users))
				failing := fail
				mu.Unlock()
				time.Sleep(time.Second)
				if failing {
					return nil, errors.New("failed")
				}
				var found []row
				slices.Sort(users)
				for _, u := range slices.Compact(users) {
					if u != "nobody" {
						found = append(found, row{call.UserID(u)}, row{call.UserID(u)})
					}
				}
				return found, nil
			},
		}
		ask := func(users ...call.UserID) {
			got, err := tg.of(t.Context(), 1, users)
			var want []row
			for i, u := range users {
				if u != "nobody" && !slices.Contains(users[:i], u) {
					want = append(want, row{u}, row{u})
				}
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("asked for %v, got %v, %v", users, got, err)
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() { ask("alice", "nobody") })
		synctest.Wait()
		for i := range 10 {
			wg.Go(func() { ask("alice", call.UserID(fmt.Sprint("user", i)), "alice") })
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			if _, err := tg.of(ctx, 1, []call.UserID{"zoe"}); !errors.Is(err, context.Canceled) {
				t.Errorf("who gave up got %v", err)
			}
		})
		wg.Go(func() {
			if got, err := tg.of(t.Context(), 2, []call.UserID{"bob"}); err != nil || len(got) != 2 {
				t.Errorf("of another app: %v, %v", got, err)
			}
		})
		synctest.Wait()
		cancel()
		wg.Wait()
		if !slices.Equal(queries, []int{2, 1, 31}) {
			t.Errorf("queries for %v users", queries)
		}
		synctest.Wait()
		mu.Lock()
		fail = true
		mu.Unlock()
		if _, err := tg.of(t.Context(), 1, []call.UserID{"x"}); err == nil {
			t.Error("a failure was not told")
		}
		synctest.Wait()
		if n := len(tg.apps); n != 0 {
			t.Errorf("%d apps are kept", n)
		}
	})
}
