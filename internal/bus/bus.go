// Package bus passes messages between the nodes that share a store.
//
// A bus only carries news: what it tells of is in the store already. So
// messages may get lost, but never unnoticed: whoever missed one learns that
// within about a second, and looks at the store.
//
// [Exchange] is the bus of nodes in one process, for tests; natsbus is that of
// a cluster. Both pass the suite in bustest.
package bus

import (
	"context"
	"errors"

	"github.com/ringback/ringback/internal/store"
)

// MaxMessage is the number of bytes that a message or an answer may have.
const MaxMessage = 1<<20 - 1<<10

// Errors that callers distinguish with errors.Is.
var (
	// ErrDisconnected: this node has no connection to the bus. It comes back
	// by itself.
	ErrDisconnected = errors.New("bus: this node is cut off from the others")
	// ErrAbsent: nobody listens there.
	ErrAbsent = errors.New("bus: that node is not on the bus")
	// ErrTooLarge: the message has more than MaxMessage bytes.
	ErrTooLarge = errors.New("bus: the message is too large")
	// ErrBusy: the node has too many questions to answer already.
	ErrBusy = errors.New("bus: that node has too many questions to answer")
	// ErrClosed: the bus was closed.
	ErrClosed = errors.New("bus: closed")
)

// AnswerError is what another node's [Handler.Answer] gave as an error.
type AnswerError struct{ Text string }

// Error is the text of the other node's error.
func (e *AnswerError) Error() string { return "bus: the other node could not answer: " + e.Text }

// Bus is one node's access to the others. All methods may be called
// concurrently.
type Bus interface {
	// Send sends a message to a node, and does not wait for it to arrive. It
	// arrives at most once, and after those that this node sent there before.
	// A message that could not be sent counts as lost: its receiver learns
	// that he missed one. Nothing is kept for later while there is no
	// connection. The data may be changed when Send has returned.
	Send(to store.NodeID, data []byte) error
	// Ask has another node answer, for as long as the context lasts.
	Ask(ctx context.Context, to store.NodeID, data []byte) ([]byte, error)
	// Connected is nil, or says why others cannot be reached and what to do.
	Connected() error
	// Peers says who the other nodes are now. A node that is not among them
	// any more never comes back.
	Peers(ids []store.NodeID)
	// Close leaves the bus, after what was sent has gone out. The handler is
	// not called any more when it has returned, but for answers that are
	// being made.
	Close() error
}

// Handler takes what comes over a bus. Data belongs to the handler.
type Handler interface {
	// Receive takes a message. It is called for one message at a time, and
	// must return soon.
	Receive(from store.NodeID, data []byte)
	// Answer answers a question. It is called in a goroutine of its own.
	Answer(from store.NodeID, data []byte) ([]byte, error)
	// Missed says that messages of a node, or for 0 of any node, may have been
	// lost: they did not arrive, or there was no room for them, or that node
	// is not heard. It may be called at the same time as Receive, and must
	// return soon. It is called before the messages that came after a loss
	// that was noticed by them.
	Missed(from store.NodeID)
}
