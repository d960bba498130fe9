package scan

import (
	"fmt"
	"math"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// decodeCost is how many rows could be looked at in the time that it takes to
// decode a call.
const decodeCost = 10

// IDs are the bounds of a search of calls by ID, which begins with the second
// of creation: from first to before end, beginning after a place.
func IDs(q *store.CallQuery, after store.CallPlace) (first, end call.ID) {
	first, end = firstID(q.From), math.MaxInt64
	if q.Until != 0 {
		end = firstID(q.Until + 999) // a second that counts in part is looked at, too
	}
	if after.ID != 0 {
		end = min(end, after.ID)
	}
	return first, end
}

// firstID is the lowest ID of a call of a second.
func firstID(at call.Instant) call.ID {
	if at/1000 >= 1<<32 {
		return math.MaxInt64
	}
	return call.NewID(at, 0)
}

// Before is the place before which a search of calls by the history of a user
// goes on: after the one given, or at the end of the query's time.
func Before(q *store.CallQuery, after store.CallPlace) store.CallPlace {
	switch {
	case after != store.CallPlace{}:
		return after
	case q.Until != 0:
		return store.CallPlace{CreatedAt: q.Until}
	}
	return store.CallPlace{CreatedAt: math.MaxInt64}
}

// Calls makes a page of calls from the rows that a back end looks at, in the
// order of the search: it says when it is enough, and where the next page goes
// on. It is for one goroutine.
type Calls struct {
	query *store.CallQuery
	calls []*call.Call
	last  store.CallPlace // up to which everything was looked at
	left  int             // rows that may still be looked at
	full  bool            // there is another call beyond the page
	ended bool
}

// NewCalls begins a page. The query must stay as it is.
func NewCalls(q *store.CallQuery) *Calls {
	// A call that lives has no outcome.
	return &Calls{query: q, last: q.After, left: Limit, ended: q.Live && q.Outcome != ""}
}

// More reports whether the page goes on after [Calls.Last].
func (c *Calls) More() bool { return !c.full && !c.ended && c.left > 0 }

// Last is the place of the last row that was looked at.
func (c *Calls) Last() store.CallPlace { return c.last }

// Left is how many rows may still be looked at.
func (c *Calls) Left() int { return c.left }

// Room is how many calls it takes to fill the page and to know that it is not
// the last.
func (c *Calls) Room() int { return c.query.Limit + 1 - len(c.calls) }

// Look adds a row at a place, before which so many rows were looked at, itself
// included. state is the stored form of its call, nil when that cannot match;
// it is not kept. The error is that the state cannot be read.
func (c *Calls) Look(at store.CallPlace, rows int, state []byte) error {
	c.left -= rows
	if state != nil {
		c.left -= decodeCost
		found, _, err := store.DecodeCall(state)
		if err != nil {
			return fmt.Errorf("call %s: %w", at.ID, err)
		}
		if fits(c.query, found) {
			if len(c.calls) == c.query.Limit {
				c.full = true
				return nil
			}
			c.calls = append(c.calls, found)
		}
	}
	c.last = at
	return nil
}

// fits reports what a row alone does not tell.
func fits(q *store.CallQuery, c *call.Call) bool {
	return c.CreatedAt >= q.From && (q.Until == 0 || c.CreatedAt < q.Until) && (q.Outcome == "" || c.Outcome() == q.Outcome)
}

// End says that there are no rows after the last one.
func (c *Calls) End() { c.ended = true }

// Page gives the page.
func (c *Calls) Page() store.CallPage {
	if c.ended {
		return store.CallPage{Calls: c.calls}
	}
	return store.CallPage{Calls: c.calls, Next: c.last}
}
