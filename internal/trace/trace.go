// Package trace keeps what devices were told of calls and what they said to
// it, so that somebody can be told why a device did not ring.
//
// It is written beside the calls, a moment later and many at a time. What a
// crash loses of it is the last moment, and nothing depends on it.
package trace

import (
	"encoding/json"
	"fmt"

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
	At      call.Instant   `json:"t"`
	Kind    Kind           `json:"k"`
	User    call.UserID    `json:"u,omitempty"`
	Session call.SessionID `json:"s,omitempty"`
	Event   string         `json:"e,omitempty"` // that was sent, or the operation that was refused
	Version int64          `json:"v,omitempty"` // of the call
	Code    int            `json:"c,omitempty"` // of a refusal, or why somebody was left out
}

// repeats reports whether an entry says what the one before it said.
func (e Entry) repeats(next Entry) bool {
	next.At = e.At
	return e == next
}

// Decode reads a part of a trace that a [Recorder] has written.
func Decode(data []byte) ([]Entry, error) {
	var entries []Entry
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, fmt.Errorf("decode trace: %w", err)
	}
	return entries, nil
}

func encode(entries []Entry) []byte {
	data, err := json.Marshal(entries)
	if err != nil {
		panic("trace: " + err.Error()) // strings and numbers always encode
	}
	return data
}
