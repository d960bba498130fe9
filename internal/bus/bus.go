// Package bus carries news between the nodes that share a store.
//
// The store is the truth; the bus only makes that other nodes learn of it at
// once. So it may lose messages, and says so: Handler.Missed is called within
// about a second, and whoever is told looks into the store. Every form of the
// bus passes the suite in bustest.
package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/ringback/ringback/internal/store"
)

var (
	// ErrDisconnected: this node is cut off from the others at this moment;
	// nothing was sent and nothing is kept to be sent later.
	ErrDisconnected = errors.New("bus: not connected to the other nodes")
	// ErrNoNode: nobody listens under that ID.
	ErrNoNode = errors.New("bus: there is no such node")
	// ErrClosed: the bus was closed.
	ErrClosed = errors.New("bus: closed")
)

// Bus is one node's connection to the others. Its methods may be called
// concurrently.
type Bus interface {
	// Send passes data to another node, in the order of sending for each of
	// them, at most once, at once or with what is sent to it in the next few
	// milliseconds. It keeps no reference to data, does not wait for the
	// receiver, and gives an error if it is known already that the node is cut
	// off. What was not sent, or got lost on its way, the receiver learns by
	// Missed.
	Send(to store.NodeID, data []byte) error
	// Ask has another node Answer. ErrNoNode, ErrDisconnected, a *RemoteError
	// when it answered with an error, the error of the context, or others.
	Ask(ctx context.Context, to store.NodeID, data []byte) ([]byte, error)
	// Connected is nil, or says why messages do not pass and what to do.
	Connected() error
	// Peers says which other nodes there are from now on. Each of them is told
	// once a second how much was sent to it.
	Peers(ids []store.NodeID)
	// Close ends the connection; what was sent before is still passed on, if
	// that can be done at once. When it returns, the handler is not called
	// again, but for an Answer that is still being made.
	Close() error
}

// Handler is what a node does with what comes to it. Data may be kept.
type Handler interface {
	// Receive takes a message, in the order of sending for each sender, one at
	// a time. It must return soon: others wait meanwhile, and too many of them
	// are dropped.
	Receive(from store.NodeID, data []byte)
	// Answer answers a question. Each is in a goroutine of its own.
	Answer(from store.NodeID, data []byte) ([]byte, error)
	// Missed says that messages of a node, or of any node if it is 0, may have
	// been lost. It may be called at any time, many times, beside Receive, and
	// must return soon.
	Missed(from store.NodeID)
}

// RemoteError is the error with which another node answered a question.
type RemoteError struct {
	Node store.NodeID
	Text string
}

// Error says what that node said.
func (e *RemoteError) Error() string { return fmt.Sprintf("bus: node %d: %s", e.Node, e.Text) }
