package serverapi

import (
	"errors"
	"fmt"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/engine"
	"github.com/ringback/ringback/internal/store"
)

// Code is the result of a request. The numbers are those of the public ZIM
// list of return codes.
type Code int

// Codes of requests, and of users in the lists of an answer.
const (
	CodeSuccess Code = 0
	CodeInput   Code = 2 // not of the form that the action takes

	CodeAppIDFormat        Code = 100000001
	CodeTimestampEmpty     Code = 100000002
	CodeTimestampFormat    Code = 100000003
	CodeExpired            Code = 100000004 // the timestamp is too far away
	CodeSignature          Code = 100000005 // wrong, or the nonce was used before
	CodeActionEmpty        Code = 100000006
	CodeActionUnknown      Code = 100000007
	CodeNonceEmpty         Code = 100000008
	CodeSignatureEmpty     Code = 100000009
	CodeAppUnknown         Code = 100000011
	CodeSignatureVerEmpty  Code = 100000013
	CodeSignatureVerWanted Code = 100000014 // a version that is not supported

	CodeGeneral         Code = 660000001 // the server failed: the same request may succeed later
	CodeParameter       Code = 660000002 // out of bounds
	CodeTooManyUsers    Code = 660000011
	CodeUserIDTooLong   Code = 660000012
	CodeNoSuchUser      Code = 660200001 // or logged out
	CodeTooManyRequests Code = 660300005
	CodeNotRegistered   Code = 660500002 // the operating user

	CodeRegistrations Code = 660700001 // too many requests of UserRegister
	CodeUserExists    Code = 660700002
	CodeNameTooLong   Code = 660700006
	CodeAvatarTooLong Code = 660700007

	CodeNoCallee       Code = 660900003 // none is registered
	CodeNoSuchCall     Code = 660900004
	CodeCallEnded      Code = 660900005 // or cancelled, or no longer pending for another reason
	CodeTimedOut       Code = 660900006
	CodeTooManyCallees Code = 660900007
	CodeNotInvited     Code = 660900008
)

// fault is a request that is answered with a code.
type fault struct {
	code    Code
	message string
}

// Error gives the message and the code.
func (f *fault) Error() string { return fmt.Sprintf("%s (%d)", f.message, int(f.code)) }

func faultf(code Code, format string, args ...any) error {
	return &fault{code, fmt.Sprintf(format, args...)}
}

// codeOf maps every error of an action to what the backend is told.
func codeOf(action string, err error) (Code, string) {
	var wrong *fault
	var refused *refusal
	switch {
	case err == nil:
		return CodeSuccess, "success"
	case errors.As(err, &wrong):
		return wrong.code, wrong.message
	case errors.As(err, &refused):
		return refused.code(), refused.Message
	case errors.Is(err, engine.ErrCallerNotRegistered):
		return CodeNotRegistered, "FromUserId is not registered or logged out: register the user, or have him log in"
	case errors.Is(err, store.ErrFull):
		return CodeGeneral, "the server has too little room left for this: its operator must free some"
	}
	return CodeGeneral, fmt.Sprintf("the server could not carry out %s: try again", action)
}

// refusal is a command that the rules of calls did not allow, with what the
// code of the server API depends on.
type refusal struct {
	*call.RefusedError
	cmd   call.Command
	call  *call.Call // nil: there is none, or none yet
	actor call.UserID
	at    call.Instant
}

// code maps a refusal. The server API tells more of the reasons apart than the
// client protocol does, and puts others together.
func (r *refusal) code() Code {
	switch r.RefusedError.Code {
	case call.InvalidParameter, call.NotAdvanced:
		return CodeParameter
	case call.TooManyUsers:
		return CodeTooManyCallees
	case call.NotRegistered:
		return CodeNoCallee
	}
	if r.call == nil {
		return CodeNoSuchCall
	}
	u := r.call.User(r.actor)
	_, cancels := r.cmd.(call.Cancel)
	switch {
	case cancels && r.actor != r.call.Caller:
		return CodeParameter
	case r.RefusedError.Code == call.NotInCall, u == nil, !cancels && u.InvitedAt == 0 && u.ID != r.call.Caller:
		return CodeNotInvited
	case timedOut(u, r.at):
		return CodeTimedOut
	}
	return CodeCallEnded
}

// timedOut reports whether the time of a user's invitation has come, whether
// or not the timer that says so has run.
func timedOut(u *call.User, at call.Instant) bool {
	return u.State == call.TimedOut || u.State.Pending() && u.Deadline <= at
}

// userCode maps the reason why one user of a list was left out.
func userCode(e call.UserError, c *call.Call, at call.Instant) Code {
	switch e.Code {
	case call.NotRegistered:
		return CodeNoSuchUser
	case call.NotInCall:
		return CodeNotInvited
	case call.TooManyUsers:
		return CodeTooManyCallees
	}
	if u := c.User(e.User); u != nil && timedOut(u, at) {
		return CodeTimedOut
	}
	return CodeCallEnded
}
