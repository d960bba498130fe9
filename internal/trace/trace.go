// Package trace keeps what devices were told of calls and what they said to
// it, so that somebody can be told why a device did not ring.
//
// It is written beside the calls, a moment later and many at a time. What a
// crash loses of it is the last moment, and nothing depends on it.
package trace

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ringback/ringback/internal/call"
)

// Kind is what an entry says.
type Kind string

// Kinds of entries.
const (
	Sent        Kind = "sent"        // an event was sent to a device that was connected
	LeftOut     Kind = "left_out"    // a user was to be invited and could not be
	Absent      Kind = "absent"      // an invitee had no connected device when he was invited
	CaughtUp    Kind = "caught_up"   // a device that logged in or synchronised was given the live call
	Confirmed   Kind = "confirmed"   // a device said that it has got the invitation
	Unconfirmed Kind = "unconfirmed" // no device had said so when that was looked at
	Refused     Kind = "refused"     // an operation of a device was refused
)

// Entry is one thing that happened between the server and a user's device.
type Entry struct {
	At      call.Instant
	Kind    Kind
	User    call.UserID
	Session call.SessionID
	Event   string // that was sent, or the operation that was refused
	Version int64  // of the call
	Code    int    // of a refusal, or why somebody was left out
}

// repeats reports whether an entry says what the one before it said.
func (e Entry) repeats(next Entry) bool {
	next.At = e.At
	return e == next
}

// part is the stored form of entries: what repeats, such as the IDs of
// sessions, is there once. A row is milliseconds since the row before (the
// first: since 1970), then the places in Words of kind, user, session and
// event, then version and code; zeros at its end are left out.
type part struct {
	Words []string  `json:"w"` // the first is ""
	Rows  [][]int64 `json:"r"`
}

const (
	colAt = iota
	colKind
	colUser
	colSession
	colEvent
	colVersion
	colCode
	columns
)

func encode(entries []Entry) []byte {
	p := part{Words: []string{""}, Rows: make([][]int64, len(entries))}
	word := func(w string) int64 {
		i := slices.Index(p.Words, w)
		if i < 0 {
			i = len(p.Words)
			p.Words = append(p.Words, w)
		}
		return int64(i)
	}
	cells := make([]int64, columns*len(entries))
	last := call.Instant(0)
	for i, e := range entries {
		row := cells[i*columns : (i+1)*columns]
		row[colAt], last = int64(e.At-last), e.At
		row[colKind], row[colUser], row[colSession] = word(string(e.Kind)), word(string(e.User)), word(string(e.Session))
		row[colEvent], row[colVersion], row[colCode] = word(e.Event), e.Version, int64(e.Code)
		for len(row) > 0 && row[len(row)-1] == 0 {
			row = row[:len(row)-1]
		}
		p.Rows[i] = row
	}
	data, err := json.Marshal(p)
	if err != nil {
		panic("trace: " + err.Error()) // strings and numbers always encode
	}
	return data
}

// Decode reads a part of a trace that a [Recorder] has written.
func Decode(data []byte) ([]Entry, error) {
	var p part
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("decode trace: %w", err)
	}
	entries := make([]Entry, len(p.Rows))
	last := call.Instant(0)
	for i, cells := range p.Rows {
		var row [columns]int64
		copy(row[:], cells)
		for _, col := range []int{colKind, colUser, colSession, colEvent} {
			if row[col] < 0 || row[col] >= int64(len(p.Words)) {
				return nil, fmt.Errorf("decode trace: row %d names word %d of %d", i, row[col], len(p.Words))
			}
		}
		last += call.Instant(row[colAt])
		entries[i] = Entry{
			At: last, Kind: Kind(p.Words[row[colKind]]), User: call.UserID(p.Words[row[colUser]]),
			Session: call.SessionID(p.Words[row[colSession]]), Event: p.Words[row[colEvent]],
			Version: row[colVersion], Code: int(row[colCode]),
		}
	}
	return entries, nil
}
