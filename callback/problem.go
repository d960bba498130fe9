package callback

import (
	"errors"
	"fmt"
	"net/http"
)

// Kinds of problems with a request, for errors.Is.
var (
	// ErrUnsigned: a signature that is required is missing.
	ErrUnsigned = errors.New("callback: not signed")
	// ErrSignature: a signature matches none of the secrets. The request is
	// forged or altered, or the secrets differ.
	ErrSignature = errors.New("callback: wrong signature")
	// ErrStale: the signature is right but its time is too far in the past or
	// the future. The request is replayed, or a clock is wrong.
	ErrStale = errors.New("callback: stale")
	// ErrMalformed: the body or a header cannot be read.
	ErrMalformed = errors.New("callback: malformed")
	// ErrMediaType: the body is neither JSON nor a form.
	ErrMediaType = errors.New("callback: unknown media type")
	// ErrTooLarge: the body is larger than Options.MaxBody.
	ErrTooLarge = errors.New("callback: body too large")
	// ErrMethod: the method is not POST.
	ErrMethod = errors.New("callback: wrong method")
	// ErrBusy: the same callback is being handled at this moment.
	ErrBusy = errors.New("callback: being handled")
	// ErrTooEarly: an earlier callback of the call is missing; see
	// Options.Ordered.
	ErrTooEarly = errors.New("callback: out of order")
)

// ErrSecrets is given for a list of secrets that cannot be used; the text
// says why, without showing them.
var ErrSecrets = errors.New("callback: secrets")

// Error is a request that is refused. Text says what to do about it and holds
// nothing that is secret: it is what the sender is answered.
type Error struct {
	Kind   error // one of the kinds above
	Status int   // of the HTTP answer
	Text   string
}

// Error is the text, after the name of the package.
func (e *Error) Error() string { return "callback: " + e.Text }

// Unwrap gives the kind.
func (e *Error) Unwrap() error { return e.Kind }

// statuses are the HTTP answers to the kinds of problems. Those of ErrBusy
// and ErrTooEarly are not 5xx: the receiver is well, and an endpoint that
// holds callbacks while its receiver is down must not take it for down.
var statuses = map[error]int{
	ErrUnsigned:  http.StatusUnauthorized,
	ErrSignature: http.StatusUnauthorized,
	ErrStale:     http.StatusUnauthorized,
	ErrMalformed: http.StatusBadRequest,
	ErrMediaType: http.StatusUnsupportedMediaType,
	ErrTooLarge:  http.StatusRequestEntityTooLarge,
	ErrMethod:    http.StatusMethodNotAllowed,
	ErrBusy:      http.StatusConflict,
	ErrTooEarly:  http.StatusTooEarly,
}

func problem(kind error, format string, args ...any) *Error {
	return &Error{Kind: kind, Status: statuses[kind], Text: fmt.Sprintf(format, args...)}
}
