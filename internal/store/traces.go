package store

import (
	"context"

	"github.com/ringback/ringback/internal/call"
)

// Traces keeps what devices were told of calls, for people who ask why a
// device did not ring. Nothing else depends on it: losing the latest part in a
// crash does no harm.
type Traces interface {
	// AppendTraces adds to the traces of calls. What was added to a call
	// earlier comes before. What is of a call that does not exist is passed
	// over.
	AppendTraces(ctx context.Context, traces []Trace) error
	// TraceOf lists the parts of a call's trace in their order.
	TraceOf(ctx context.Context, id call.ID) ([]Trace, error)
}

// Trace is a part of what is known of a call; the form of its data is the
// business of whoever writes it.
type Trace struct {
	Call call.ID
	Data []byte
}
