// Package call is the domain of Ringback: what a call invitation is and what
// may happen to it.
//
// It is pure. [Apply] takes a call, a command and an instant, and gives the
// next call and the one event that led there, or a refusal. It reads no
// clock, makes no IDs, does no I/O and leaves its arguments untouched, so
// every rule about calls can be tested as a table, and two nodes that apply
// the same command come to the same result. Whatever a rule needs from the
// outside (IDs, who can be invited, whether the caller is connected) is in
// the command.
package call

import (
	"errors"
	"slices"
	"strconv"
	"time"
)

// Bounds of a call. All but MaxEver and MaxCancelNames are those of the public
// documentation of the original product.
const (
	MaxInvitees     = 9    // distinct names in one request
	MaxUsers        = 10   // users of a call who are not in a final state
	MaxEver         = 200  // users that a call ever has, which keeps a long one from growing without end
	MaxExtendedData = 2048 // bytes, of every extended data
	MaxTimeout      = 600  // seconds
	DefaultTimeout  = 90   // seconds
	MaxUserID       = 32   // bytes
	MaxCancelNames  = 64   // distinct names in one cancel

	// ReceivedWithin is the time, in milliseconds, after which an invitee who
	// has not confirmed the invitation counts as not yet received, if the
	// inviter asked for the check.
	ReceivedWithin = 5000
)

// Instant is a point in time, in Unix milliseconds. The zero Instant means
// "never".
type Instant int64

// At converts a time to an Instant.
func At(t time.Time) Instant { return Instant(t.UnixMilli()) }

// Time converts an Instant to a time.
func (i Instant) Time() time.Time { return time.UnixMilli(int64(i)) }

// Add gives the instant d milliseconds later.
func (i Instant) Add(d int64) Instant { return i + Instant(d) }

// ID is the ID of a call: 32 bits of Unix seconds, then 31 random bits, so
// that it sorts by create time and cannot be guessed. It is never zero.
type ID uint64

// NewID makes an ID from the create time and random bits, of which the lowest
// 31 are used.
func NewID(now Instant, random uint32) ID {
	return ID(uint64(now/1000)&(1<<32-1)<<31 | uint64(random)&(1<<31-1))
}

// ParseID reads the decimal digits of an ID.
func ParseID(s string) (ID, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || n == 0 || s[0] == '0' {
		return 0, errors.New("a call_id is the decimal digits of a number below 2^63")
	}
	return ID(n), nil
}

// String gives the decimal digits.
func (id ID) String() string { return strconv.FormatUint(uint64(id), 10) }

// UserID identifies a user within an app.
type UserID string

// Valid reports whether the ID has 1 to 32 bytes of the documented set:
// ASCII letters, digits, space, and !#$%&()+-:;<=.>?@[]^_{}|~
func (u UserID) Valid() bool {
	if u == "" || len(u) > MaxUserID {
		return false
	}
	for i := range len(u) {
		if !userIDByte[u[i]] {
			return false
		}
	}
	return true
}

var userIDByte = func() (set [256]bool) {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" +
		" !#$%&()+-:;<=.>?@[]^_{}|~"
	for _, b := range []byte(allowed) {
		set[b] = true
	}
	return set
}()

// SessionID identifies one logged-in device. The empty SessionID stands for
// the server API.
type SessionID string

// Mode is the mode of a call.
type Mode int

// Modes.
const (
	General  Mode = 0
	Advanced Mode = 1
)

// State is the state of a call.
type State int

// States of a call.
const (
	Started State = 1
	Ended   State = 2
)

// UserState is the state of one user of a call.
type UserState int

// States of a user. 4 (offline) and 8 (ended) exist in the public contract
// but never come about: an end leaves the states of the users as they are.
const (
	Inviting       UserState = 0
	Accepted       UserState = 1
	Rejected       UserState = 2
	Cancelled      UserState = 3
	Received       UserState = 5
	TimedOut       UserState = 6
	Quit           UserState = 7
	NotYetReceived UserState = 9
	BeCancelled    UserState = 10 // cancelled by name; the user himself sees Cancelled
)

// Pending reports whether the user is being rung.
func (s UserState) Pending() bool { return s == Inviting || s == Received || s == NotYetReceived }

// Active reports whether the user is being rung or in the call; the other
// states are final.
func (s UserState) Active() bool { return s.Pending() || s == Accepted }

// Op is an operation that a user's device carried out and may repeat.
type Op int

// Operations that answer a repeat as they answered the first time.
const (
	OpNone Op = iota
	OpAccept
	OpReject
	OpJoin
	OpQuit
)

// User is one user of a call.
type User struct {
	ID           UserID
	State        UserState
	Inviter      UserID // himself for the caller
	ExtendedData string // of his latest answer
	Primary      SessionID

	InvitedAt  Instant
	Deadline   Instant // when a pending invitee times out
	CheckAt    Instant // when a silent invitee counts as not yet received; zero: no check
	AcceptedAt Instant // zero unless he has accepted since he was last invited
	QuitAt     Instant
	Late       bool // invited into the call or joined, not named when it was created

	CancelReason Reason // why he stopped ringing, when he was cancelled
	LastOp       Op     // what he did last himself …
	LastBy       SessionID
	Earlier      []Deed // … and before, from other devices, once each; the latest maxDevices
}

// Deed is the latest operation of one device of a user.
type Deed struct {
	Op Op
	By SessionID
}

// Cancellation remembers a cancel that took effect, so that a repeat gets the
// same answer.
type Cancellation struct {
	By     SessionID
	Names  []UserID // sorted; empty: all
	Errors []UserError
}

// Reason says why a call, or the ringing of one user, came to its end.
type Reason string

// Reasons.
const (
	CallerCancel Reason = "caller_cancel"
	CallerLeft   Reason = "caller_left"
	ByOperator   Reason = "ended"
	AllLeft      Reason = "all_left"
	Unanswered   Reason = "unanswered"
	MaxDuration  Reason = "max_duration"
)

// Call is the state of a call. A Call that [Apply] returned is never changed
// again; callers share it freely between goroutines.
type Call struct {
	ID      ID
	App     uint32
	Version int64 // 1 at creation, grows by one with each transition but received
	Mode    Mode
	State   State

	Caller           UserID
	ExtendedData     string
	Timeout          int // seconds
	NotReceivedCheck bool
	Push             []byte // the newest push object, JSON; empty: none

	CreatedAt     Instant
	EndedAt       Instant
	EndBy         Instant // the maximum duration; zero in general mode
	FirstAcceptAt Instant // of anyone but the caller

	Responded    bool // an invitee has accepted or rejected, or somebody has joined
	CancelledAll bool // the caller cancelled everybody, or was gone

	EndReason       Reason
	EndOperator     UserID
	EndedBy         SessionID
	EndExtendedData string

	Users   []User         // the caller first, then as they came
	Cancels []Cancellation // the latest maxCancels
}

// User gives the user of that ID, or nil. The result must not be changed.
func (c *Call) User(id UserID) *User {
	for i := range c.Users {
		if c.Users[i].ID == id {
			return &c.Users[i]
		}
	}
	return nil
}

// lastOp is what the user did last from that device since he was last invited.
func (u *User) lastOp(device SessionID) Op {
	if u.LastBy == device {
		return u.LastOp
	}
	for _, d := range u.Earlier {
		if d.By == device {
			return d.Op
		}
	}
	return OpNone
}

// Live reports whether the call has not ended.
func (c *Call) Live() bool { return c.State == Started }

// AnyAccepted reports whether anyone but the caller has ever accepted.
func (c *Call) AnyAccepted() bool { return c.FirstAcceptAt != 0 }

// Active reports whether the user is pending or accepted in a call that has
// not ended.
func (c *Call) Active(id UserID) bool {
	u := c.User(id)
	return u != nil && c.Live() && u.State.Active()
}

// SeenBy is the state of a user in the eyes of another: whoever was cancelled
// by name sees himself as Cancelled while everybody else sees BeCancelled.
func (u *User) SeenBy(viewer UserID) UserState {
	if u.State == BeCancelled && viewer == u.ID {
		return Cancelled
	}
	return u.State
}

// RingRemaining is what is left, in milliseconds, of the ringing of a user;
// 0 when he is not being rung.
func (c *Call) RingRemaining(id UserID, now Instant) int64 {
	u := c.User(id)
	if u == nil || !c.Live() || !u.State.Pending() || u.Deadline <= now {
		return 0
	}
	return int64(u.Deadline - now)
}

// NextDue is the earliest instant at which an [Expire] has something to do,
// or zero when there is none.
func (c *Call) NextDue() Instant {
	if !c.Live() {
		return 0
	}
	due := c.EndBy
	for i := range c.Users {
		u := &c.Users[i]
		if !u.State.Pending() {
			continue
		}
		due = earlier(due, u.Deadline)
		if u.State == Inviting {
			due = earlier(due, u.CheckAt)
		}
	}
	return due
}

func earlier(a, b Instant) Instant {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// clone gives a copy that can be changed without touching c.
func (c *Call) clone() *Call {
	next := *c
	next.Users = slices.Clone(c.Users)
	next.Cancels = slices.Clone(c.Cancels)
	return &next
}

func (c *Call) count(match func(UserState) bool) int {
	n := 0
	for i := range c.Users {
		if match(c.Users[i].State) {
			n++
		}
	}
	return n
}

func (c *Call) pending() []UserID {
	var ids []UserID
	for i := range c.Users {
		if c.Users[i].State.Pending() {
			ids = append(ids, c.Users[i].ID)
		}
	}
	return ids
}
