package sqlite

import (
	"context"
	"fmt"
	"math"

	"github.com/ncruces/go-sqlite3"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
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

// How many rows could be looked at in the time that it takes to decode a call,
// and to find the call of a row of a history.
const (
	decodeCost = 10
	findCost   = 4
)

// SearchCalls lists calls, the newest first.
func (s *Store) SearchCalls(ctx context.Context, q store.CallQuery) (store.CallPage, error) {
	var page store.CallPage
	if q.Live && q.Outcome != "" {
		return page, nil // a call that lives has none
	}
	err := s.read(ctx, func(c *conn) (err error) {
		page, err = searchCalls(searchStatement(c, &q), &q)
		return err
	})
	if err != nil {
		return store.CallPage{}, fmt.Errorf("search calls: %w", err)
	}
	return page, nil
}

// searchStatement goes through calls that may match, by the best index.
func searchStatement(c *conn, q *store.CallQuery) *statement {
	until := q.Until
	if until == 0 {
		until = math.MaxInt64
	}
	if q.User != "" {
		before := store.CallPlace{CreatedAt: until}
		if q.After != (store.CallPlace{}) {
			before = q.After
		}
		return c.on(searchHistory).int(int64(q.App)).text(string(q.User)).int(int64(q.From)).
			int(int64(before.CreatedAt)).int(int64(before.ID)).int(scanLimit)
	}
	first, end := firstID(q.From), firstID(until)
	if q.Until%1000 != 0 {
		end = firstID(q.Until + 1000) // that second is looked at, too
	}
	if q.After.ID != 0 {
		end = min(end, q.After.ID)
	}
	return c.on(either(q.Live, searchLive, searchByID)).int(int64(first)).int(int64(end)).int(scanLimit)
}

// firstID is the lowest ID of a call of a second.
func firstID(at call.Instant) call.ID {
	if at/1000 >= 1<<32 {
		return math.MaxInt64
	}
	return call.NewID(at, 0)
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

// searchCalls makes a page of the rows of searchStatement.
func searchCalls(st *statement, q *store.CallQuery) (store.CallPage, error) {
	var page store.CallPage
	var last store.CallPlace
	left := scanLimit
	for st.next() {
		if left <= 0 {
			page.Next = last
			break
		}
		left--
		place := store.CallPlace{ID: call.ID(st.ColumnInt64(0))}
		if q.User != "" {
			left -= findCost
			place.CreatedAt = call.Instant(st.ColumnInt64(5))
		}
		if possible(st, q) {
			left -= decodeCost
			found, _, err := store.DecodeCall(st.ColumnRawBlob(4))
			if err != nil {
				st.end()
				return store.CallPage{}, fmt.Errorf("call %s: %w", place.ID, err)
			}
			if (q.Outcome == "" || found.Outcome() == q.Outcome) && found.CreatedAt >= q.From && (q.Until == 0 || found.CreatedAt < q.Until) {
				if len(page.Calls) == q.Limit {
					page.Next = last
					break
				}
				page.Calls = append(page.Calls, found)
			}
		}
		last = place
	}
	if page.Next == (store.CallPlace{}) && left <= 0 {
		page.Next = last
	}
	return page, st.end()
}
