// Package bustest is the suite that every bus passes.
package bustest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/store"
)

// patience is how long something may take that does happen.
const patience = 20 * time.Second

// soon is how long a loss may go unnoticed.
const soon = 5 * time.Second

// Network is a bus under test, which can be made to fail.
type Network interface {
	// Join gives a node its access.
	Join(t *testing.T, self store.NodeID, h bus.Handler) bus.Bus
	// Cut takes the connection from a node, and Heal gives it back.
	Cut(t *testing.T, id store.NodeID)
	Heal(t *testing.T, id store.NodeID)
	// Lose loses a message on its way.
	Lose(t *testing.T, from, to store.NodeID)
	// Settle waits until what was sent is where it waits for the handler.
	Settle(t *testing.T, from, to store.NodeID)
}

// Run tests the networks that a function makes.
func Run(t *testing.T, network func(t *testing.T) Network) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, n *net)
	}{
		{"messages arrive in order", inOrder},
		{"data is the sender's again", ownData},
		{"a loss is noticed before what follows", lossBefore},
		{"the loss of the last message is noticed", lossLast},
		{"questions are answered", questions},
		{"a slow answer holds nothing up", slowAnswer},
		{"a node that is cut off", cutOff},
		{"messages may be large, but not too large", large},
		{"a full queue is a loss", fullQueue},
		{"a closed bus is silent", closed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, &net{Network: network(t)})
		})
	}
}

// net makes nodes that know each other.
type net struct {
	Network
	nodes []*node
}

// node is a handler that remembers what came.
type node struct {
	bus.Bus
	id store.NodeID

	mu     sync.Mutex
	log    []entry
	closed bool
	block  chan struct{} // not nil: Receive waits until it is closed
	answer func(data []byte) ([]byte, error)
	news   chan struct{}
}

type entry struct {
	from   store.NodeID
	data   []byte
	missed bool
}

func (n *net) join(t *testing.T, count int) []*node {
	t.Helper()
	var ids []store.NodeID
	for range count {
		nd := &node{id: store.NodeID(len(n.nodes) + 1), news: make(chan struct{}, 1)}
		nd.Bus = n.Join(t, nd.id, nd)
		t.Cleanup(func() { _ = nd.Close() })
		n.nodes = append(n.nodes, nd)
		ids = append(ids, nd.id)
	}
	for i, nd := range n.nodes {
		others := append(append([]store.NodeID(nil), ids[:i]...), ids[i+1:]...)
		nd.Peers(others)
	}
	return n.nodes
}

func (n *node) Receive(from store.NodeID, data []byte) {
	n.mu.Lock()
	block := n.block
	n.mu.Unlock()
	if block != nil {
		<-block
	}
	n.note(entry{from: from, data: data})
}

func (n *node) Missed(from store.NodeID) { n.note(entry{from: from, missed: true}) }

func (n *node) Answer(_ store.NodeID, data []byte) ([]byte, error) { return n.answer(data) }

func (n *node) note(e entry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		e.missed = true
		e.from = -1
	}
	n.log = append(n.log, e)
	select {
	case n.news <- struct{}{}:
	default:
	}
}

func (n *node) entries() []entry {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]entry(nil), n.log...)
}

// await waits for what the log of a node is to have.
func (n *node) await(t *testing.T, what string, within time.Duration, ok func(log []entry) bool) {
	t.Helper()
	late := time.After(within)
	for !ok(n.entries()) {
		select {
		case <-n.news:
		case <-late:
			t.Fatalf("node %d: %s did not come within %v; it has %s", n.id, what, within, describe(n.entries()))
		}
	}
}

func describe(log []entry) string {
	var out bytes.Buffer
	for i, e := range log {
		if i == 20 {
			fmt.Fprintf(&out, "… (%d)", len(log))
			break
		}
		if e.missed {
			fmt.Fprintf(&out, "missed(%d) ", e.from)
		} else {
			fmt.Fprintf(&out, "%d:%.20q ", e.from, e.data)
		}
	}
	return out.String()
}

func got(from store.NodeID, data string) func([]entry) bool {
	return func(log []entry) bool { return index(log, from, data) >= 0 }
}

func index(log []entry, from store.NodeID, data string) int {
	for i, e := range log {
		if !e.missed && e.from == from && string(e.data) == data {
			return i
		}
	}
	return -1
}

func missed(from ...store.NodeID) func([]entry) bool {
	return func(log []entry) bool {
		for _, e := range log {
			for _, id := range from {
				if e.missed && e.from == id {
					return true
				}
			}
		}
		return false
	}
}

func send(t *testing.T, from *node, to store.NodeID, data string) {
	t.Helper()
	if err := from.Send(to, []byte(data)); err != nil {
		t.Fatalf("node %d sends to %d: %v", from.id, to, err)
	}
}

func inOrder(t *testing.T, n *net) {
	const count = 2000
	nodes := n.join(t, 3)
	var senders sync.WaitGroup
	for _, from := range nodes[1:] {
		senders.Go(func() {
			for i := range count {
				if err := from.Send(1, binary.BigEndian.AppendUint32(nil, uint32(i))); err != nil {
					t.Errorf("node %d sends: %v", from.id, err)
					return
				}
			}
		})
	}
	senders.Wait()
	nodes[0].await(t, "all messages", patience, func(log []entry) bool { return len(log) >= 2*count })
	next := make(map[store.NodeID]uint32)
	for _, e := range nodes[0].entries() {
		if e.missed {
			t.Fatalf("missed(%d) while nothing was lost", e.from)
		}
		if i := binary.BigEndian.Uint32(e.data); i != next[e.from] {
			t.Fatalf("message %d of node %d came in place of %d", i, e.from, next[e.from])
		}
		next[e.from]++
	}
}

func ownData(t *testing.T, n *net) {
	nodes := n.join(t, 2)
	data := []byte("first")
	for _, text := range []string{"first", "other"} {
		copy(data, text)
		if err := nodes[0].Send(2, data); err != nil {
			t.Fatal(err)
		}
	}
	copy(data, "XXXXX")
	nodes[1].await(t, "the second message", patience, got(1, "other"))
	if log := nodes[1].entries(); index(log, 1, "first") != 0 {
		t.Fatalf("it got %s", describe(log))
	}
}

func lossBefore(t *testing.T, n *net) {
	nodes := n.join(t, 2)
	send(t, nodes[0], 2, "a")
	n.Lose(t, 1, 2)
	send(t, nodes[0], 2, "b")
	nodes[1].await(t, "the message after the loss", patience, got(1, "b"))
	log := nodes[1].entries()
	if at := index(log, 1, "b"); !missed(1)(log[:at]) {
		t.Fatalf("the loss was not told before the message after it: %s", describe(log))
	}
}

func lossLast(t *testing.T, n *net) {
	nodes := n.join(t, 2)
	send(t, nodes[0], 2, "a")
	n.Lose(t, 1, 2)
	nodes[1].await(t, "news of the loss", soon, missed(1))
}

func questions(t *testing.T, n *net) {
	nodes := n.join(t, 2)
	nodes[1].answer = func(data []byte) ([]byte, error) {
		if len(data) == 0 {
			return nil, nil
		}
		if string(data) == "bad" {
			return nil, errors.New("no such thing")
		}
		return append([]byte("re: "), data...), nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if answer, err := nodes[0].Ask(ctx, 2, []byte("hello")); err != nil || string(answer) != "re: hello" {
		t.Fatalf("answer %q, %v", answer, err)
	}
	if answer, err := nodes[0].Ask(ctx, 2, nil); err != nil || len(answer) != 0 {
		t.Fatalf("answer to nothing %q, %v", answer, err)
	}
	var refused *bus.AnswerError
	if _, err := nodes[0].Ask(ctx, 2, []byte("bad")); !errors.As(err, &refused) || refused.Text != "no such thing" {
		t.Fatalf("error %v, want that of the other node", err)
	}
	if _, err := nodes[0].Ask(ctx, 9, []byte("hello")); !errors.Is(err, bus.ErrAbsent) {
		t.Fatalf("error of a node that is not there: %v", err)
	}
}

func slowAnswer(t *testing.T, n *net) {
	nodes := n.join(t, 2)
	release := make(chan struct{})
	nodes[1].answer = func([]byte) ([]byte, error) { <-release; return nil, nil }
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan error, 1)
	go func() {
		_, err := nodes[0].Ask(ctx, 2, []byte("?"))
		asked <- err
	}()
	send(t, nodes[0], 2, "news")
	nodes[1].await(t, "a message during an answer", patience, got(1, "news"))
	cancel()
	if err := <-asked; !errors.Is(err, context.Canceled) {
		t.Fatalf("the question that was given up: %v", err)
	}
	close(release)
}

func cutOff(t *testing.T, n *net) {
	nodes := n.join(t, 3)
	send(t, nodes[0], 2, "before")
	nodes[1].await(t, "the first message", patience, got(1, "before"))
	n.Cut(t, 1)
	waitUntil(t, "Connected says that node 1 is cut off", func() bool { return nodes[0].Connected() != nil })
	if err := nodes[0].Connected(); !errors.Is(err, bus.ErrDisconnected) {
		t.Fatalf("Connected: %v", err)
	}
	if err := nodes[0].Send(2, []byte("lost")); !errors.Is(err, bus.ErrDisconnected) {
		t.Fatalf("Send while cut off: %v", err)
	}
	if _, err := nodes[0].Ask(t.Context(), 2, []byte("?")); !errors.Is(err, bus.ErrDisconnected) {
		t.Fatalf("Ask while cut off: %v", err)
	}
	if err := nodes[1].Connected(); err != nil {
		t.Fatalf("Connected of another node: %v", err)
	}
	send(t, nodes[1], 1, "lost too")
	send(t, nodes[1], 3, "still there")
	nodes[2].await(t, "a message between the others", patience, got(2, "still there"))

	n.Heal(t, 1)
	waitUntil(t, "Connected says that node 1 is back", func() bool { return nodes[0].Connected() == nil })
	nodes[0].await(t, "news that messages were missed", patience, missed(0))
	nodes[1].await(t, "news that a message was not sent", patience, missed(1))
	send(t, nodes[0], 2, "after")
	send(t, nodes[1], 1, "after")
	nodes[1].await(t, "a message of the node that is back", patience, got(1, "after"))
	nodes[0].await(t, "a message to the node that is back", patience, got(2, "after"))
	if index(nodes[1].entries(), 1, "lost") >= 0 || index(nodes[0].entries(), 2, "lost too") >= 0 {
		t.Fatal("old news was kept and came later")
	}
}

func large(t *testing.T, n *net) {
	nodes := n.join(t, 2)
	largest := bytes.Repeat([]byte("x"), bus.MaxMessage)
	nodes[1].answer = func(data []byte) ([]byte, error) { return append(data, make([]byte, len(data)%2)...), nil }
	send(t, nodes[0], 2, string(largest))
	nodes[1].await(t, "the largest message", patience, got(1, string(largest)))
	if err := nodes[0].Send(2, append(largest, 'x')); !errors.Is(err, bus.ErrTooLarge) {
		t.Fatalf("a larger one: %v", err)
	}
	nodes[1].await(t, "news of the one that was too large", soon, missed(1))
	if answer, err := nodes[0].Ask(t.Context(), 2, largest); err != nil || !bytes.Equal(answer, largest) {
		t.Fatalf("the largest answer: %d bytes, %v", len(answer), err)
	}
	if _, err := nodes[0].Ask(t.Context(), 2, append(largest, 'x')); !errors.Is(err, bus.ErrTooLarge) {
		t.Fatalf("a larger question: %v", err)
	}
}

func fullQueue(t *testing.T, n *net) {
	nodes := n.join(t, 2)
	nodes[1].mu.Lock()
	nodes[1].block = make(chan struct{})
	nodes[1].mu.Unlock()
	for range 1 << 15 {
		send(t, nodes[0], 2, "flood")
	}
	n.Settle(t, 1, 2)
	close(nodes[1].block)
	nodes[1].await(t, "news of what there was no room for", patience, missed(0, 1))
	send(t, nodes[0], 2, "after")
	nodes[1].await(t, "a message after the flood", patience, got(1, "after"))
}

func closed(t *testing.T, n *net) {
	nodes := n.join(t, 2)
	send(t, nodes[0], 2, "a")
	nodes[1].await(t, "a message", patience, got(1, "a"))
	send(t, nodes[1], 1, "the last")
	if err := nodes[1].Close(); err != nil {
		t.Fatal(err)
	}
	nodes[1].mu.Lock()
	nodes[1].closed = true
	nodes[1].mu.Unlock()
	nodes[0].await(t, "what was sent before closing", patience, got(2, "the last"))
	send(t, nodes[0], 2, "b")
	if err := nodes[1].Send(1, []byte("c")); !errors.Is(err, bus.ErrClosed) {
		t.Fatalf("Send after Close: %v", err)
	}
	if _, err := nodes[1].Ask(t.Context(), 1, nil); !errors.Is(err, bus.ErrClosed) {
		t.Fatalf("Ask after Close: %v", err)
	}
	if err := nodes[1].Connected(); !errors.Is(err, bus.ErrClosed) {
		t.Fatalf("Connected after Close: %v", err)
	}
	if err := nodes[1].Close(); err != nil {
		t.Fatalf("a second Close: %v", err)
	}
	if log := nodes[1].entries(); missed(-1)(log) {
		t.Fatalf("the handler was called after Close: %s", describe(log))
	}
}

// waitUntil polls for something that other goroutines or the network bring
// about.
func waitUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
