// Package protocol holds the public wire contract of Ringback: the frames of
// the WebSocket client protocol, its operations, events, error and close
// codes, and the bodies and signatures of the callbacks that a business
// server receives.
//
// The package has no behaviour beyond encoding and signing. Clients, servers
// and receivers of callbacks share it, so that a field has one name and one
// documentation. The vectors in testdata are read by the tests of every
// implementation, in Go and elsewhere.
package protocol

import "encoding/json"

// Facts of version 1 of the client protocol.
const (
	// Path is where a server accepts WebSocket connections of clients.
	Path = "/v1/connect"
	// Subprotocol is what both sides name in Sec-WebSocket-Protocol.
	Subprotocol = "ringback.v1"
	// MaxFrame is the largest frame either side accepts, in bytes.
	MaxFrame = 64 << 10
	// MaxPush is the largest push object of a request, in bytes of its JSON.
	MaxPush = 4 << 10
	// MaxRequestID is the longest request_id of an invitation, in bytes.
	MaxRequestID = 64
	// MaxQueryCount is the largest page of a call.query; a larger count is
	// treated as this one.
	MaxQueryCount = 100
)

// Request is a frame from a client. ID is a positive integer of the client's
// choosing; only OpPing may leave it out, and its reply then has none.
type Request struct {
	ID   int64           `json:"id,omitempty"`
	Op   string          `json:"op"`
	Body json.RawMessage `json:"body,omitempty"`
}

// Frame is a frame from a server: a reply when Event is empty, else an event.
// A reply carries Body or Error, never both. Replies may come out of order.
type Frame struct {
	ID    int64           `json:"id,omitempty"`
	Event string          `json:"event,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
	Error *Error          `json:"error,omitempty"`
}

// Operations of a client.
const (
	OpLogin      = "login"
	OpLogout     = "logout"
	OpRenewToken = "renew_token"
	OpPing       = "ping"

	OpCallSync       = "call.sync"
	OpCallInvite     = "call.invite"
	OpCallInviteMore = "call.invite_more"
	OpCallCancel     = "call.cancel"
	OpCallAccept     = "call.accept"
	OpCallReject     = "call.reject"
	OpCallReceived   = "call.received"
	OpCallJoin       = "call.join"
	OpCallQuit       = "call.quit"
	OpCallEnd        = "call.end"
	OpCallQuery      = "call.query"
)

// Events of a server.
const (
	EventCallCreated           = "call.created"
	EventCallInvited           = "call.invited"
	EventCallUsersChanged      = "call.users_changed"
	EventCallCancelled         = "call.cancelled"
	EventCallTimedOut          = "call.timed_out"
	EventCallAnsweredElsewhere = "call.answered_elsewhere"
	EventCallEnded             = "call.ended"
	EventSessionKicked         = "session.kicked"
	EventTokenExpiring         = "token.expiring"
)

// CloseCode is a WebSocket close code. After CloseGoingAway, CloseResumed and
// CloseSlowReader a client may reconnect; after CloseKicked,
// CloseUnauthenticated and CloseTokenExpired only with a new login by the
// user or a new token.
type CloseCode uint16

// Close codes that a server sends.
const (
	CloseLogout          CloseCode = 1000 // the client logged out
	CloseGoingAway       CloseCode = 1001 // the server is stopping: reconnect, elsewhere
	CloseTooBig          CloseCode = 1009 // a frame over MaxFrame
	CloseInternal        CloseCode = 1011 // the server could not go on with this connection
	CloseProtocol        CloseCode = 4000 // what was sent is not a request
	CloseKicked          CloseCode = 4001 // by the login policy of the app
	CloseResumed         CloseCode = 4002 // the session was resumed on another connection
	CloseUnauthenticated CloseCode = 4003 // login refused or not in time
	CloseTokenExpired    CloseCode = 4004 // the token expired without being renewed
	CloseSlowReader      CloseCode = 4008 // the client does not read what it is sent
	CloseFlood           CloseCode = 4029 // the client stayed over its request limit
)
