package protocol

import "fmt"

// Code is an error code of the client protocol. The numbers are those of the
// public ZIM error list, so that existing clients understand them.
type Code int

// Error codes that a client can meet in a reply or in error_users.
const (
	CodeInvalidParameter Code = 6000001 // malformed or out of bounds
	CodeTooManyRequests  Code = 6000005 // over the limit of the connection
	CodeServerError      Code = 6000007 // the server failed; nothing is known to have happened
	CodeStorageError     Code = 6000008 // the store is full or does not answer; nothing has happened
	CodeNotSupported     Code = 6000013

	CodeTokenInvalid        Code = 6000101 // token or app, at login
	CodeRenewedTokenInvalid Code = 6000103 // token, at renewal
	CodeTokenExpired        Code = 6000106
	CodeTokenVersion        Code = 6000107 // a token of another version than this server reads
	CodeTokenTooShort       Code = 6000108 // valid for less than 30 s
	CodeAlreadyLoggedIn     Code = 6000111 // on this connection
	CodeNotLoggedIn         Code = 6000121

	CodeCannotCancel    Code = 6000271 // already accepted
	CodeTooManyUsers    Code = 6000272
	CodeCancelled       Code = 6000273 // cancelled by the initiator, or the actor is not the initiator
	CodeNotInCall       Code = 6000274 // not an invitee, or not in the call
	CodeAlreadyInCall   Code = 6000275
	CodeNoSuchCall      Code = 6000276 // never existed, ended, or the invitation is no longer pending
	CodeNotRegistered   Code = 6000281 // not registered or logged out
	CodeAlreadyOnDevice Code = 6000283 // already in the call on this device
	CodeNotAdvancedMode Code = 6000286
)

// Error is a refusal or failure as it stands in a reply.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// Error gives the message with its code.
func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Message, int(e.Code)) }

// Errorf makes an Error with a formatted message.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
