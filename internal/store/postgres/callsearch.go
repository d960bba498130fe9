package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/scan"
)

// Searches of calls go by ID, which begins with the second of creation, or by
// the history of a user. Each query looks at a window of rows.
const (
	windowColumns = `SELECT c.id, c.app_id, c.ended_ms, c.outcome, c.state, `
	windowByID    = windowColumns + `0::bigint AS create_ms FROM calls AS c WHERE c.id >= $1 AND c.id < $2 ORDER BY c.id DESC LIMIT $3`
	windowLive    = windowColumns + `0::bigint AS create_ms FROM calls AS c
		WHERE c.ended_ms IS NULL AND c.id >= $1 AND c.id < $2 ORDER BY c.id DESC LIMIT $3`
	// See listHistory.
	windowHistory = windowColumns + `h.create_ms
		FROM (SELECT day FROM history_days WHERE day >= $1 / 86400000::bigint AND day <= $2 / 86400000::bigint ORDER BY day DESC) AS d
		CROSS JOIN LATERAL (SELECT create_ms, call_id FROM history WHERE day = d.day AND app_id = $4 AND user_id = $5
			AND create_ms >= $1 AND (create_ms, call_id) < ($2, $6) ORDER BY create_ms DESC, call_id DESC LIMIT $3) AS h
		CROSS JOIN LATERAL (SELECT id, app_id, ended_ms, outcome, state FROM calls WHERE id = h.call_id LIMIT 1) AS c
		LIMIT $3`

	// The rows stay in the order of the window.
	candidatesByID = `SELECT n, create_ms, id, state FROM (SELECT row_number() OVER () AS n, * FROM (%s) AS w) AS c
		WHERE ($%d::bigint = 0 OR app_id = $%[2]d) AND (NOT $%[3]d::boolean OR ended_ms IS NULL) AND (NOT $%[4]d::boolean OR ended_ms IS NOT NULL)
			AND ($%[5]d::text = '' OR outcome = $%[5]d) LIMIT $%[6]d`
	windowEnd = `SELECT count(*), coalesce((array_agg(create_ms ORDER BY create_ms, id))[1], 0), coalesce((array_agg(id ORDER BY create_ms, id))[1], 0)
		FROM (%s) AS w`
)

// SearchCalls lists calls, the newest first.
func (s *Store) SearchCalls(ctx context.Context, q store.CallQuery) (store.CallPage, error) {
	page := scan.NewCalls(&q)
	err := s.snapshot(ctx, func(ctx context.Context, tx querier) error { return searchCalls(ctx, tx, &q, page) })
	if err != nil {
		return store.CallPage{}, fmt.Errorf("search calls: %w", err)
	}
	return page.Page(), nil
}

// searchCalls fills a page.
func searchCalls(ctx context.Context, tx querier, q *store.CallQuery, page *scan.Calls) error {
	for page.More() {
		after, rows, want := page.Last(), page.Left(), page.Room()
		found, err := candidates(ctx, tx, q, after, rows, want)
		if err != nil {
			return err
		}
		looked := 0
		for _, f := range found {
			if err := page.Look(f.place, f.n-looked, f.state); err != nil {
				return err
			}
			looked = f.n
		}
		if len(found) == want {
			continue
		}
		// The whole window was looked at.
		end, n, err := endOf(ctx, tx, q, after, rows)
		if err != nil {
			return err
		}
		if n < rows {
			page.End()
		} else if err := page.Look(end, rows-looked, nil); err != nil {
			return err
		}
	}
	return nil
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
	if q.User != "" {
		before := scan.Before(q, after)
		return windowHistory, []any{int64(q.From), int64(before.CreatedAt), rows, int64(q.App), textOf(q.User), int64(before.ID)}
	}
	first, end := scan.IDs(q, after)
	return either(q.Live, windowLive, windowByID), []any{int64(first), int64(end), rows}
}
