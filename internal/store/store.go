// Package store is the contract between Ringback and whatever keeps its data.
//
// One method is one transaction: when it returns nil, all of it is durable,
// and when it returns an error other than [ErrUnknown], nothing of it
// happened. There is no transaction, no query language and no clock of the
// database on this side of the contract. Batching is the business of the back
// ends: concurrent commits are expected to share one trip to the disk, and
// one that conflicts fails alone.
//
// Strings are UTF-8; names and texts for people hold no NUL. Every back end
// passes the suite in storetest. All methods may be called concurrently.
package store

import (
	"context"
	"errors"

	"github.com/ringback/ringback/internal/call"
)

// Errors that callers distinguish with errors.Is. Others are failures of the
// back end: nothing was written, and the same call may succeed later.
var (
	// ErrConflict: the stored version is another, or the ID of a new call is
	// taken. Load again and apply again.
	ErrConflict = errors.New("store: version conflict")
	// ErrUnknown: whether the transaction was written cannot be told. Read it
	// back, by CallRecord.CommitID, before answering anybody.
	ErrUnknown = errors.New("store: outcome of the commit is unknown")
	// ErrNotFound: there is no such record.
	ErrNotFound = errors.New("store: not found")
	// ErrUsed: the nonce was used before.
	ErrUsed = errors.New("store: nonce was used before")
	// ErrFull: there is no room; nothing was written.
	ErrFull = errors.New("store: no space left")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store: closed")
	// ErrFenced: the incarnation of this node was ended, and nothing was
	// written; see Nodes.
	ErrFenced = errors.New("store: this node's lease has ended and others have taken over its work")
)

// Store is everything that a back end does.
type Store interface {
	Calls
	Sessions
	Events
	Deliveries
	Redeliveries
	Apps
	Traces
	Upkeep
	// Close finishes what is in flight and releases the store. Later calls
	// give ErrClosed.
	Close() error
}

// Calls keeps calls, their events and their history.
type Calls interface {
	// CommitCall writes one or more transitions of one call: the call as it
	// is now, the events that led there, one delivery for each event and
	// subscribed endpoint, the history entries of users who are new to it, and
	// the request that made it. Errors: ErrConflict, a *DuplicateRequestError,
	// ErrFull, ErrUnknown, others.
	CommitCall(ctx context.Context, c *CallCommit) error
	// Call reads a call; ErrNotFound when there is none.
	Call(ctx context.Context, id call.ID) (*CallRecord, error)
	// LiveCalls lists the calls of the partitions that have not ended, by ID,
	// beginning after the given one, at most limit.
	LiveCalls(ctx context.Context, parts PartitionSet, after call.ID, limit int) ([]*CallRecord, error)
	// LiveHeads lists the same calls as LiveCalls, but only says how far they
	// are, which costs much less.
	LiveHeads(ctx context.Context, parts PartitionSet, after call.ID, limit int) ([]CallHead, error)
	// LiveCallsOf lists the calls that have not ended which a user is or was
	// part of, in no order.
	LiveCallsOf(ctx context.Context, app uint32, user call.UserID) ([]*CallRecord, error)
	// CallsOf lists the calls that a user is or was part of, by create time
	// and ID, newest first, at most limit. flag is 0 for the newest page, else
	// the next of the page before; next is 0 at the end, and below 2^53.
	// Calls made meanwhile move nothing on later pages.
	CallsOf(ctx context.Context, app uint32, user call.UserID, flag int64, limit int) (calls []*call.Call, next int64, err error)
	// SearchCalls lists calls, the newest first; see CallQuery.
	SearchCalls(ctx context.Context, q CallQuery) (CallPage, error)
	// Requested finds the call that a user's request made, if the request has
	// not expired at now; else ErrNotFound.
	Requested(ctx context.Context, app uint32, user call.UserID, requestID string, now call.Instant) (*Request, error)
}

// CallRecord is a call as it is stored.
type CallRecord struct {
	Call *call.Call
	// CommitID is that of the commit that wrote it.
	CommitID uint64
	// Sequences says, for each endpoint that was ever due a delivery of this
	// call, how many there have been.
	Sequences map[EndpointID]int
}

// CallHead says how far a call is.
type CallHead struct {
	ID       call.ID
	Version  int64
	CommitID uint64
}

// CallCommit is what [Calls.CommitCall] writes. The store keeps no reference
// to it after returning.
type CallCommit struct {
	CallRecord
	// Prior is the version that the stored call must have; 0: there must be
	// no such call. It equals Call.Version when only soft transitions are
	// being written.
	Prior int64
	// PriorCommit is the commit that must have written the stored call, when
	// it is not 0: then even soft transitions of others are a conflict.
	PriorCommit uint64
	Events      []*Event
	// NewUsers are the users who get an entry in their history by this commit.
	NewUsers []call.UserID
	// Request is nil when the inviter gave no request ID. An earlier one with
	// the same ID that had expired when this call was created counts as none.
	Request *Request
	// Expect are users who must have a session, be it offline, for a new call
	// to be written; otherwise it is a conflict. So whoever believes that they
	// have one need not look first.
	Expect []call.UserID
	// Find asks for the sessions of the new users that are not offline, which
	// are then in Found: all that were written before this commit. Sessions
	// that are written after it find the call.
	Find  bool
	Found []Session
}

// Request remembers which call a request_id made.
type Request struct {
	User    call.UserID
	ID      string // at most 64 bytes
	Call    call.ID
	Errors  []call.UserError // users whom the invitation left out
	Expires call.Instant
}

// DuplicateRequestError says that the user's request_id has made a call
// before. Nothing was written.
type DuplicateRequestError struct{ Earlier Request }

// Error names the earlier call.
func (e *DuplicateRequestError) Error() string {
	return "store: request was made before, by call " + e.Earlier.Call.String()
}

// Sessions keeps users and their sessions.
type Sessions interface {
	// CommitSessions writes a login, a resumption, a logout, an offline or the
	// end of old sessions, with its events. ErrConflict: see
	// SessionCommit.Prior.
	CommitSessions(ctx context.Context, c *SessionCommit) error
	// RegisterUsers adds users who have never logged in, and gives those that
	// existed before, which it leaves alone.
	RegisterUsers(ctx context.Context, app uint32, users []User, now call.Instant) (existed []call.UserID, err error)
	// Users reads what is known of users; unknown ones are left out.
	Users(ctx context.Context, app uint32, ids []call.UserID) ([]UserRecord, error)
	// ListUsers lists users whose ID begins with prefix, by the bytes of their
	// IDs, beginning after the given one ("": the first), at most limit.
	ListUsers(ctx context.Context, app uint32, prefix string, after call.UserID, limit int) ([]UserRecord, error)
	// SessionsOf lists the sessions of a user, the earliest login first. The
	// version, at least 1, is another after every CommitSessions of the user.
	SessionsOf(ctx context.Context, app uint32, user call.UserID) (sessions []Session, version int64, err error)
	// OpenSessionsOf lists the sessions of some users that are not offline, in
	// no order.
	OpenSessionsOf(ctx context.Context, app uint32, users []call.UserID) ([]Session, error)
	// OpenSessions lists sessions that are not offline, by app, user and ID,
	// beginning after the given one (its zero value: the first), at most
	// limit.
	OpenSessions(ctx context.Context, after Session, limit int) ([]Session, error)
	// OfflineSessions lists sessions that went offline before the instant, the
	// longest gone first, at most limit.
	OfflineSessions(ctx context.Context, before call.Instant, limit int) ([]Session, error)
}

// User is what is kept about a user.
type User struct {
	ID     call.UserID
	Name   string
	Avatar string
}

// UserRecord is what the store knows of a user.
type UserRecord struct {
	User
	LoggedIn bool // has ever logged in
	Sessions int  // how many sessions he has, offline ones included
}

// Session is one logged-in device.
type Session struct {
	App       uint32
	User      call.UserID
	ID        call.SessionID
	Platform  string
	LoginAt   call.Instant
	OfflineAt call.Instant // 0: it has, or until lately had, a connection
	Node      NodeID       // which has, or had last, its connection; 0 where there is only one node
}

// SessionCommit is what [Sessions.CommitSessions] writes.
type SessionCommit struct {
	App  uint32
	User call.UserID
	// Prior is the version that the user's sessions must have; 0: any.
	Prior int64
	// Login marks the user as one who has logged in, and sets his name unless
	// it is empty.
	Login  bool
	Name   string
	Put    []Session        // new or changed
	Drop   []call.SessionID // gone for good; unknown ones are ignored
	Events []*Event
}

// Upkeep is what keeps a store healthy.
type Upkeep interface {
	// Ping reports whether the store answers and can write.
	Ping(ctx context.Context) error
	// Headroom gives ErrFull, wrapped with what to do, when there is so little
	// room left that no new calls should begin: what is left is for the
	// answers to those that live. It is cheap enough for every invitation.
	Headroom() error
	// UseNonce remembers a nonce of an app until it expires. A second use
	// before that gives ErrUsed, also on another node and after a restart; the
	// first use counts, however long that nonce is to be remembered. A nonce
	// that has expired at now may be used again.
	UseNonce(ctx context.Context, app uint32, nonce string, expires, now call.Instant) error
	// Prune deletes at most about limit records of calls that ended, of events
	// without a call that happened, and of requests and nonces that expired,
	// before the instant, with their deliveries, attempts and traces. Live
	// calls and pending deliveries are left alone, and so are redelivery jobs
	// and the audit log. It gives the number deleted; 0: nothing is left to
	// delete. Short limits keep commits from waiting.
	Prune(ctx context.Context, before call.Instant, limit int) (int, error)
	// FailRemoved makes pending deliveries of endpoints that were removed
	// failed, at most limit, those that are due first, and gives their number;
	// 0: nothing is left to do. Those of an endpoint that comes back before
	// stay pending.
	FailRemoved(ctx context.Context, limit int) (int, error)
}
