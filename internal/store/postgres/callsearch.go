package postgres

import (
	"context"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// Searches of calls go by ID, which begins with the second of creation, or by
// the history of a user. Each query looks at a window of rows.
const (
	windowColumns = `SELECT c.id, c.app_id, c.ended_ms, c.outcome, c.state, `
	windowByID    = windowColumns + `0::bigint AS create_ms FROM calls AS c WHERE c.id >= $1 AND c.id < $2 ORDER BY c.id DESC LIMIT $3`
	windowLive    = windowColumns + `0::bigint AS create_ms FROM calls AS c
		WHERE c.ended_ms IS NULL AND c.id >= $1 AND c.id < $2 ORDER BY c.id DESC LIMIT $3`
	windowHistory = windowColumns + `h.create_ms FROM history AS h JOIN calls AS c ON c.id = h.call_id
		WHERE h.app_id = $4 AND h.user_id = $5 AND h.create_ms >= $1 AND (h.create_ms, h.call_id) < ($2, $6)
		ORDER BY h.create_ms DESC, h.call_id DESC LIMIT $3`

	// The rows stay in the order of the window.
	candidatesByID = `SELECT n, create_ms, id, state FROM (SELECT row_number() OVER () AS n, * FROM (%s) AS w) AS c
		WHERE ($%d::bigint = 0 OR app_id = $%[2]d) AND (NOT $%[3]d::boolean OR ended_ms IS NULL) AND (NOT $%[4]d::boolean OR ended_ms IS NOT NULL)
			AND ($%[5]d::text = '' OR outcome = $%[5]d) LIMIT $%[6]d`
	windowEnd = `SELECT count(*), coalesce((array_agg(create_ms ORDER BY create_ms, id))[1], 0), coalesce((array_agg(id ORDER BY create_ms, id))[1], 0)
		FROM (%s) AS w`
)

// decodeCost is how many rows could be looked at in the time that it takes to
// send and decode a call.
const decodeCost = 10

// SearchCalls lists calls, the newest first.
func (s *Store) SearchCalls(ctx context.Context, q store.CallQuery) (store.CallPage, error) {
	var page store.CallPage
	if q.Live && q.Outcome != "" {
		return page, s.check(ctx) // a call that lives has none
	}
	err := s.snapshot(ctx, func(tx querier) (err error) {
		page, err = searchCalls(ctx, tx, &q)
		return err
	})
	if err != nil {
		return store.CallPage{}, fmt.Errorf("search calls: %w", err)
	}
	return page, nil
}

// searchCalls makes a page.
func searchCalls(ctx context.Context, tx querier, q *store.CallQuery) (store.CallPage, error) {
	var page store.CallPage
	last := q.After
	for left := scanLimit; ; {
		want := q.Limit + 1 - len(page.Calls)
		found, err := candidates(ctx, tx, q, last, left, want)
		if err != nil {
			return page, err
		}
		from := last
		for _, f := range found {
			c, _, err := store.DecodeCall(f.state)
			if err != nil {
				return page, fmt.Errorf("call %s: %w", f.place.ID, err)
			}
			if c.CreatedAt >= q.From && (q.Until == 0 || c.CreatedAt < q.Until) {
				if len(page.Calls) == q.Limit {
					page.Next = last
					return page, nil
				}
				page.Calls = append(page.Calls, c)
			}
			last = f.place
		}
		if len(found) < want { // the whole window was looked at
			end, n, err := endOf(ctx, tx, q, from, left)
			if err == nil && n == left {
				page.Next = end
			}
			return page, err
		}
		if left -= found[len(found)-1].n + decodeCost*len(found); left <= 0 {
			page.Next = last
			return page, nil
		}
	}
}

// callCandidate is a call that may match; n is its place in the window.
type callCandidate struct {
	n     int
	place store.CallPlace
	state []byte
}

// candidates gives the first calls after a place that may match, of a window
// of so many rows.
func candidates(ctx context.Context, tx querier, q *store.CallQuery, after store.CallPlace, rows, limit int) ([]callCandidate, error) {
	sql, args := window(q, after, rows)
	n := len(args)
	sql = fmt.Sprintf(candidatesByID, sql, n+1, n+2, n+3, n+4, n+5)
	args = append(args, int64(q.App), q.Live, q.Ended, textOf(q.Outcome), limit)
	return query(ctx, tx, func(row pgx.CollectableRow) (c callCandidate, err error) {
		return c, row.Scan(&c.n, (*int64)(&c.place.CreatedAt), (*uint64)(&c.place.ID), &c.state)
	}, sql, args...)
}

// endOf gives the place of the last row of a window, and how many rows it has.
func endOf(ctx context.Context, tx querier, q *store.CallQuery, after store.CallPlace, rows int) (end store.CallPlace, n int, err error) {
	sql, args := window(q, after, rows)
	err = tx.QueryRow(ctx, fmt.Sprintf(windowEnd, sql), args...).Scan(&n, (*int64)(&end.CreatedAt), (*uint64)(&end.ID))
	return end, n, err
}

// window is the query of rows that may match, by the best index.
func window(q *store.CallQuery, after store.CallPlace, rows int) (sql string, args []any) {
	until := q.Until
	if until == 0 {
		until = math.MaxInt64
	}
	if q.User != "" {
		before := store.CallPlace{CreatedAt: until}
		if after != (store.CallPlace{}) {
			before = after
		}
		return windowHistory, []any{int64(q.From), int64(before.CreatedAt), rows, int64(q.App), textOf(q.User), int64(before.ID)}
	}
	first, end := firstID(q.From), firstID(until)
	if q.Until%1000 != 0 {
		end = firstID(q.Until + 1000) // that second is looked at, too
	}
	if after.ID != 0 {
		end = min(end, after.ID)
	}
	return either(q.Live, windowLive, windowByID), []any{int64(first), int64(end), rows}
}

// firstID is the lowest ID of a call of a second.
func firstID(at call.Instant) call.ID {
	if at/1000 >= 1<<32 {
		return math.MaxInt64
	}
	return call.NewID(at, 0)
}
