package client

import (
	"errors"
	"fmt"

	"github.com/ringback/ringback/protocol"
)

var (
	// ErrClosed is what requests fail with after Close, after Logout, and
	// after the server ended the session for good. The error says why; if the
	// request had been sent, it is an ErrConnectionLost as well.
	ErrClosed = errors.New("client closed")

	// ErrConnectionLost is what a request fails with when it was sent, the
	// connection broke before its reply came, and to repeat it would not be
	// safe. Whether it took effect is unknown; Sync and Query tell.
	ErrConnectionLost = errors.New("connection lost: the outcome of the request is unknown")

	// ErrTooManyPending is what a request fails with, unsent, when
	// Options.MaxPending requests are waiting for their replies.
	ErrTooManyPending = errors.New("too many requests waiting for replies")
)

// errSilent ends a connection on which nothing came for two heartbeats.
var errSilent = errors.New("nothing heard from the server for two heartbeats")

// CloseError says that the server closed the connection, and why.
type CloseError struct {
	Code   protocol.CloseCode // 0 when the server gave none
	Reason string
}

// Error gives the reason with its code.
func (e *CloseError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("closed by the server (%d)", e.Code)
	}
	return fmt.Sprintf("closed by the server: %s (%d)", e.Reason, e.Code)
}

// closeCode is the close code behind err, 0 if there is none.
func closeCode(err error) protocol.CloseCode {
	if ce, ok := errors.AsType[*CloseError](err); ok {
		return ce.Code
	}
	return 0
}

// final reports whether the server has said by err, which ended a connection
// or a login, that this client must not come back by itself. A client with a
// source of tokens may come back with a new one after its token expired.
func final(err error, newTokens bool) bool {
	if refused, ok := errors.AsType[*protocol.Error](err); ok {
		switch refused.Code {
		case protocol.CodeTooManyRequests, protocol.CodeServerError, protocol.CodeStorageError:
			return false
		}
		return true
	}
	ce, ok := errors.AsType[*CloseError](err)
	if !ok {
		return false // a network failure
	}
	switch ce.Code {
	case protocol.CloseLogout, protocol.CloseKicked, protocol.CloseUnauthenticated:
		return true
	case protocol.CloseTokenExpired:
		return !newTokens
	case protocol.CloseProtocol, protocol.CloseTooBig:
		return true // the same would happen again
	}
	return false
}
