package protocol

import "encoding/json"

// Login is the body of OpLogin.
type Login struct {
	AppID    uint32 `json:"app_id"`
	UserID   string `json:"user_id"`
	Token    string `json:"token"`
	UserName string `json:"user_name,omitempty"` // at most 256 bytes
	Platform string `json:"platform,omitempty"`  // see Platforms; empty counts as WEB
	// SessionID resumes that session. One that is not a live or offline
	// session of this user gives a new session.
	SessionID string `json:"session_id,omitempty"`
	// KnownCalls are the calls that the device still shows.
	KnownCalls []string `json:"known_calls,omitempty"`
}

// Platforms are the values of Login.Platform, and of os in user_action.
var Platforms = []string{"PC", "IOS_PHONE", "ANDROID", "MAC", "LINUX", "WEB", "MINIPROGRAM", "ANDROID_TV"}

// LoginReply is the reply to OpLogin.
type LoginReply struct {
	SessionID           string `json:"session_id"`
	Resumed             bool   `json:"resumed"`
	ServerTimeMS        int64  `json:"server_time_ms"`
	HeartbeatIntervalMS int64  `json:"heartbeat_interval_ms"`
	Snapshot
}

// Sync is the body of OpCallSync.
type Sync struct {
	KnownCalls []string `json:"known_calls,omitempty"`
}

// Snapshot is what a device needs in order to show the truth: the calls in
// which its user is pending or accepted, and the end, for this user, of every
// known call that is not among them. It is the reply to OpCallSync.
type Snapshot struct {
	Calls []Call      `json:"calls"`
	Ended []EndedCall `json:"ended"`
}

// EndedCall says how a call that a device still shows came to an end for its
// user.
type EndedCall struct {
	CallID  string `json:"call_id"`
	Version int64  `json:"version"`
	State   int    `json:"state"`  // of this user
	Reason  string `json:"reason"` // see the Reason constants
}

// Reasons why a device stops ringing or a call ends.
const (
	ReasonCallerCancel      = "caller_cancel"
	ReasonCallerLeft        = "caller_left" // the caller logged out or went offline
	ReasonTimeout           = "timeout"
	ReasonAnsweredElsewhere = "answered_elsewhere"
	ReasonQuit              = "quit"
	ReasonEnded             = "ended"
	ReasonAllLeft           = "all_left"
	ReasonUnanswered        = "unanswered"
	ReasonMaxDuration       = "max_duration"
	ReasonUnknown           = "unknown" // the server has no such call
)

// RenewToken is the body of OpRenewToken.
type RenewToken struct {
	Token string `json:"token"`
}

// PingReply is the reply to OpPing.
type PingReply struct {
	ServerTimeMS int64 `json:"server_time_ms"`
}

// Call is a call as one user sees it.
type Call struct {
	CallID       string `json:"call_id"`
	Version      int64  `json:"version"`
	Mode         int    `json:"mode"`  // 0 general, 1 advanced
	State        int    `json:"state"` // 1 started, 2 ended
	Caller       string `json:"caller"`
	Inviter      string `json:"inviter"` // of the user who sees this; of the caller himself
	ExtendedData string `json:"extended_data"`
	Timeout      int    `json:"timeout"` // seconds
	CreateTimeMS int64  `json:"create_time_ms"`
	EndTimeMS    int64  `json:"end_time_ms"` // 0 while it lives
	// RingRemainingMS is, for a user who is being rung, what is left of the
	// timeout by the server's clock; 0 for others.
	RingRemainingMS int64      `json:"ring_remaining_ms"`
	Users           []CallUser `json:"users"`
}

// CallUser is the state of one user of a call. State: 0 inviting, 1 accepted,
// 2 rejected, 3 cancelled, 5 received, 6 timeout, 7 quit, 8 ended, 9 not yet
// received, 10 be-cancelled.
type CallUser struct {
	UserID       string `json:"user_id"`
	State        int    `json:"state"`
	ExtendedData string `json:"extended_data"`
}

// Invite is the body of OpCallInvite.
type Invite struct {
	UserIDs          []string        `json:"user_ids"`          // 1 to 9 distinct
	Timeout          *int            `json:"timeout,omitempty"` // 1 to 600 s; 90 when absent
	Mode             int             `json:"mode,omitempty"`
	ExtendedData     string          `json:"extended_data,omitempty"` // at most 2048 bytes
	NotReceivedCheck bool            `json:"not_received_check,omitempty"`
	Push             json.RawMessage `json:"push,omitempty"`
	// RequestID makes the request safe to repeat for 24 h: a repeat by the
	// same user answers as the first did and makes no second call.
	RequestID string `json:"request_id,omitempty"`
}

// InviteReply is the reply to OpCallInvite.
type InviteReply struct {
	CallID       string      `json:"call_id"`
	Version      int64       `json:"version"`
	Timeout      int         `json:"timeout"`
	CreateTimeMS int64       `json:"create_time_ms"`
	ErrorUsers   []ErrorUser `json:"error_users"`
}

// ErrorUser says why one user of a list was left out.
type ErrorUser struct {
	UserID string `json:"user_id"`
	Code   Code   `json:"code"`
}

// InviteMore is the body of OpCallInviteMore.
type InviteMore struct {
	CallID  string          `json:"call_id"`
	UserIDs []string        `json:"user_ids"`
	Push    json.RawMessage `json:"push,omitempty"`
}

// Cancel is the body of OpCallCancel. Without UserIDs every pending invitee
// is cancelled.
type Cancel struct {
	CallID       string          `json:"call_id"`
	UserIDs      []string        `json:"user_ids,omitempty"`
	ExtendedData string          `json:"extended_data,omitempty"`
	Push         json.RawMessage `json:"push,omitempty"`
}

// UsersReply is the reply to OpCallInviteMore and OpCallCancel.
type UsersReply struct {
	CallID     string      `json:"call_id"`
	Version    int64       `json:"version"`
	ErrorUsers []ErrorUser `json:"error_users"`
}

// CallAction is the body of OpCallAccept, OpCallReject, OpCallReceived,
// OpCallJoin, OpCallQuit and OpCallEnd. ExtendedData means nothing for
// OpCallReceived, Push only something for OpCallQuit and OpCallEnd.
type CallAction struct {
	CallID       string          `json:"call_id"`
	ExtendedData string          `json:"extended_data,omitempty"`
	Push         json.RawMessage `json:"push,omitempty"`
}

// CallReply is the reply to OpCallAccept, OpCallReject and OpCallReceived.
type CallReply struct {
	CallID  string `json:"call_id"`
	Version int64  `json:"version"`
}

// JoinReply is the reply to OpCallJoin.
type JoinReply struct {
	Call
	JoinTimeMS int64 `json:"join_time_ms"`
}

// LeaveReply is the reply to OpCallQuit, with QuitTimeMS, and to OpCallEnd,
// with EndTimeMS.
type LeaveReply struct {
	CallID       string `json:"call_id"`
	Version      int64  `json:"version"`
	CreateTimeMS int64  `json:"create_time_ms"`
	AcceptTimeMS int64  `json:"accept_time_ms"`
	QuitTimeMS   int64  `json:"quit_time_ms,omitempty"`
	EndTimeMS    int64  `json:"end_time_ms,omitempty"`
}

// Query is the body of OpCallQuery.
type Query struct {
	Count    int   `json:"count,omitempty"`     // MaxQueryCount when absent
	NextFlag int64 `json:"next_flag,omitempty"` // of the page before; 0 for the newest
}

// QueryReply is the reply to OpCallQuery: calls by create time, newest first.
type QueryReply struct {
	Calls    []Call `json:"calls"`
	NextFlag int64  `json:"next_flag"` // below 2^53; 0 at the end
}

// UsersChanged is the body of EventCallUsersChanged.
type UsersChanged struct {
	CallID  string     `json:"call_id"`
	Version int64      `json:"version"`
	Users   []CallUser `json:"users"` // those that changed
}

// Cancelled is the body of EventCallCancelled.
type Cancelled struct {
	CallID       string `json:"call_id"`
	Version      int64  `json:"version"`
	Mode         int    `json:"mode"`
	Inviter      string `json:"inviter"`
	ExtendedData string `json:"extended_data"`
	Reason       string `json:"reason"` // ReasonCallerCancel or ReasonCallerLeft
}

// TimedOut is the body of EventCallTimedOut.
type TimedOut struct {
	CallID  string `json:"call_id"`
	Version int64  `json:"version"`
	Mode    int    `json:"mode"`
}

// AnsweredElsewhere is the body of EventCallAnsweredElsewhere. SessionID is
// the session that answered, "" when the server API did.
type AnsweredElsewhere struct {
	CallID    string `json:"call_id"`
	Version   int64  `json:"version"`
	Answer    string `json:"answer"` // "accepted" or "rejected"
	SessionID string `json:"session_id"`
}

// Ended is the body of EventCallEnded.
type Ended struct {
	CallID       string `json:"call_id"`
	Version      int64  `json:"version"`
	Mode         int    `json:"mode"`
	Caller       string `json:"caller"`
	Operator     string `json:"operator"` // who ended it, "" when nobody did
	ExtendedData string `json:"extended_data"`
	EndTimeMS    int64  `json:"end_time_ms"`
	Reason       string `json:"reason"` // ReasonEnded, ReasonAllLeft, ReasonUnanswered or ReasonMaxDuration
}

// Kicked is the body of EventSessionKicked.
type Kicked struct {
	Reason string `json:"reason"`
}

// TokenExpiring is the body of EventTokenExpiring.
type TokenExpiring struct {
	SecondsLeft int64 `json:"seconds_left"`
}
