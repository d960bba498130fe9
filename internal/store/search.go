package store

import "github.com/ringback/ringback/internal/call"

// CallQuery says which calls to list, the newest first: by create time and ID
// those of one user, else by ID, which is by the second of creation. The zero
// value of a field leaves it open. As with a [DeliveryQuery], one search looks
// at a bounded number of rows.
type CallQuery struct {
	App     uint32
	User    call.UserID // is or was part of it; needs App
	Live    bool        // only calls that have not ended
	Ended   bool        // only calls that have
	Outcome call.Outcome
	From    call.Instant // created then or later
	Until   call.Instant // created earlier
	After   CallPlace    // where the page before ended
	Limit   int          // at least 1
}

// CallPlace is a place in the order of calls. The zero place is before the
// first; others come from a page of the same query.
type CallPlace struct {
	CreatedAt call.Instant
	ID        call.ID
}

// CallPage is a part of what a search finds.
type CallPage struct {
	Calls []*call.Call
	Next  CallPlace // zero: that was all
}
