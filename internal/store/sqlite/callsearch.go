package sqlite

import (
	"context"
	"fmt"

	"github.com/ncruces/go-sqlite3"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/scan"
)

// Searches of calls go by ID, which begins with the second of creation, or by
// the history of a user.
const (
	foundColumns  = `SELECT c.id, c.app_id, c.ended_ms, c.outcome, c.state `
	searchByID    = foundColumns + `FROM calls AS c WHERE c.id >= ?1 AND c.id < ?2 ORDER BY c.id DESC LIMIT ?3`
	searchLive    = foundColumns + `FROM calls AS c INDEXED BY calls_live WHERE c.ended_ms IS NULL AND c.id >= ?1 AND c.id < ?2 ORDER BY c.id DESC LIMIT ?3`
	searchHistory = `SELECT c.id, c.app_id, c.ended_ms, c.outcome, c.state, h.create_ms FROM history AS h CROSS JOIN calls AS c ON c.id = h.call_id
		WHERE h.app_id = ?1 AND h.user_id = ?2 AND h.create_ms >= ?3 AND (h.create_ms, h.call_id) < (?4, ?5)
		ORDER BY h.create_ms DESC, h.call_id DESC LIMIT ?6`
)

// findCost is how many rows could be looked at in the time that it takes to
// find the call of a row of a history.
const findCost = 4

// SearchCalls lists calls, the newest first.
func (s *Store) SearchCalls(ctx context.Context, q store.CallQuery) (store.CallPage, error) {
	page := scan.NewCalls(&q)
	err := s.read(ctx, func(c *conn) error { return searchCalls(c, &q, page) })
	if err != nil {
		return store.CallPage{}, fmt.Errorf("search calls: %w", err)
	}
	return page.Page(), nil
}

// searchCalls fills a page.
func searchCalls(c *conn, q *store.CallQuery, page *scan.Calls) error {
	st := searchStatement(c, q)
	for page.More() {
		if !st.next() {
			page.End()
			break
		}
		at, rows := store.CallPlace{ID: call.ID(st.ColumnInt64(0))}, 1
		if q.User != "" {
			at.CreatedAt = call.Instant(st.ColumnInt64(5))
			rows += findCost
		}
		var state []byte
		if possible(st, q) {
			state = st.ColumnRawBlob(4)
		}
		if err := page.Look(at, rows, state); err != nil {
			st.end()
			return err
		}
	}
	return st.end()
}

// searchStatement goes through calls that may match, by the best index.
func searchStatement(c *conn, q *store.CallQuery) *statement {
	if q.User != "" {
		before := scan.Before(q, q.After)
		return c.on(searchHistory).int(int64(q.App)).text(string(q.User)).int(int64(q.From)).
			int(int64(before.CreatedAt)).int(int64(before.ID)).int(scan.Limit)
	}
	first, end := scan.IDs(q, q.After)
	return c.on(either(q.Live, searchLive, searchByID)).int(int64(first)).int(int64(end)).int(scan.Limit)
}

// possible reports whether a row can be that of a call which matches.
func possible(st *statement, q *store.CallQuery) bool {
	ended := st.ColumnType(2) != sqlite3.NULL
	switch {
	case q.App != 0 && uint32(st.ColumnInt64(1)) != q.App, q.Live && ended, q.Ended && !ended:
		return false
	case q.Outcome == "", ended && st.ColumnType(3) == sqlite3.NULL:
		return true
	}
	return ended && st.ColumnText(3) == string(q.Outcome)
}
