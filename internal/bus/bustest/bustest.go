// Package bustest is the suite that every form of the bus passes.
package bustest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/store"
)

// Network is a form of the bus with nothing on it.
type Network struct {
	Join func(self store.NodeID, h bus.Handler) bus.Bus
	// Cut breaks the connection of a node, Mend lets it come back.
	Cut, Mend func(id store.NodeID)
	// Waiting is how many messages of Large bytes wait for a node that does not
	// receive.
	Waiting int
}

// Large is a size in bytes of messages that do not wait for others to go with.
const Large = 33 << 10

// patience is how long something that has to happen may take.
const patience = 15 * time.Second

// Run runs the suite. each makes a Network and has a test use it.
func Run(t *testing.T, each func(t *testing.T, test func(t *testing.T, n *Network))) {
	for name, test := range map[string]func(t *testing.T, n *Network){
		"Order":       testOrder,
		"Ask":         testAsk,
		"AskNobody":   testAskNobody,
		"SenderCut":   testSenderCut,
		"ReceiverCut": testReceiverCut,
		"Overflow":    testOverflow,
		"Quiet":       testQuiet,
		"Close":       testClose,
	} {
		t.Run(name, func(t *testing.T) { each(t, test) })
	}
}

// Node is a Handler that keeps what comes.
type Node struct {
	bus.Bus
	Hold   chan struct{} // if not nil, Receive waits until it is closed
	Reply  func(from store.NodeID, data []byte) ([]byte, error)
	mu     sync.Mutex
	got    map[store.NodeID][]string
	missed map[store.NodeID]int
}

// Join joins a network with a new Node, which leaves when the test ends.
func Join(t *testing.T, n *Network, self store.NodeID) *Node {
	t.Helper()
	node := &Node{got: make(map[store.NodeID][]string), missed: make(map[store.NodeID]int)}
	node.Bus = n.Join(self, node)
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
	return node
}

// Receive keeps a message.
func (n *Node) Receive(from store.NodeID, data []byte) {
	if n.Hold != nil {
		<-n.Hold
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.got[from] = append(n.got[from], string(data))
}

// Answer answers as Reply says.
func (n *Node) Answer(from store.NodeID, data []byte) ([]byte, error) { return n.Reply(from, data) }

// Missed counts.
func (n *Node) Missed(from store.NodeID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.missed[from]++
}

// Got is what has come from a node.
func (n *Node) Got(from store.NodeID) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.got[from][:len(n.got[from]):len(n.got[from])]
}

// MissedOf is how often messages of a node were missed.
func (n *Node) MissedOf(from store.NodeID) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.missed[from]
}

// Until waits until something is so.
func Until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func testOrder(t *testing.T, n *Network) {
	const count = 500
	a, b, c := Join(t, n, 1), Join(t, n, 2), Join(t, n, 3)
	var work sync.WaitGroup
	for _, from := range []*Node{a, c} {
		work.Go(func() {
			var buf []byte // the bus must not keep it
			for i := range count {
				buf = fmt.Appendf(buf[:0], "message %d", i)
				if err := from.Send(2, buf); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	Until(t, "all messages come", func() bool { return len(b.Got(1)) == count && len(b.Got(3)) == count })
	for _, from := range []store.NodeID{1, 3} {
		for i, data := range b.Got(from) {
			if want := fmt.Sprintf("message %d", i); data != want {
				t.Fatalf("message %d of node %d is %q", i, from, data)
			}
		}
		if b.MissedOf(from) != 0 {
			t.Errorf("messages of node %d count as missed", from)
		}
	}
	if len(a.Got(1))+len(a.Got(2))+len(a.Got(3)) != 0 {
		t.Error("a message came to another node")
	}
	if err := a.Send(2, nil); err != nil {
		t.Fatal(err)
	}
	Until(t, "an empty message comes", func() bool { return len(b.Got(1)) == count+1 })
}

func testAsk(t *testing.T, n *Network) {
	a, b := Join(t, n, 1), Join(t, n, 2)
	hold := make(chan struct{})
	b.Reply = func(from store.NodeID, data []byte) ([]byte, error) {
		switch string(data) {
		case "wait":
			<-hold
		case "fail":
			return nil, errors.New("no way")
		}
		return fmt.Appendf(nil, "%d says %s", from, data), nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	short, cancelShort := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancelShort()
	if _, err := a.Ask(short, 2, []byte("wait")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a question without an answer: %v", err)
	}
	// The one that still waits holds up nothing else.
	big := bytes.Repeat([]byte("x"), 100_000)
	for _, question := range []string{"hello", "", string(big)} {
		if reply, err := a.Ask(ctx, 2, []byte(question)); err != nil || string(reply) != "1 says "+question {
			t.Errorf("the answer is %.40q, %v", reply, err)
		}
	}
	var remote *bus.RemoteError
	if _, err := a.Ask(ctx, 2, []byte("fail")); !errors.As(err, &remote) || remote.Node != 2 || remote.Text != "no way" {
		t.Errorf("the error of the other node: %v", err)
	}
	if err := a.Send(2, []byte("x")); err != nil {
		t.Fatal(err)
	}
	Until(t, "a message passes a question", func() bool { return len(b.Got(1)) == 1 })
	close(hold)
}

func testAskNobody(t *testing.T, n *Network) {
	a := Join(t, n, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := a.Ask(ctx, 9, []byte("x")); !errors.Is(err, bus.ErrNoNode) {
		t.Errorf("asking nobody: %v", err)
	}
	if err := a.Send(9, []byte("x")); err != nil {
		t.Errorf("sending to nobody: %v", err)
	}
}

// meet has nodes know each other and exchange messages.
func meet(t *testing.T, a, b *Node) {
	t.Helper()
	a.Peers([]store.NodeID{2})
	b.Peers([]store.NodeID{1})
	if err := errors.Join(a.Send(2, []byte("first")), b.Send(1, []byte("first")), a.Connected(), b.Connected()); err != nil {
		t.Fatal(err)
	}
	Until(t, "messages pass", func() bool { return len(a.Got(2)) == 1 && len(b.Got(1)) == 1 })
}

func testSenderCut(t *testing.T, n *Network) {
	a, b := Join(t, n, 1), Join(t, n, 2)
	meet(t, a, b)
	n.Cut(1)
	Until(t, "the sender knows that it is cut off", func() bool { return a.Connected() != nil })
	Until(t, "sending gives an error", func() bool { return errors.Is(a.Send(2, []byte("old news")), bus.ErrDisconnected) })
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := a.Ask(ctx, 2, nil); !errors.Is(err, bus.ErrDisconnected) {
		t.Errorf("asking while cut off: %v", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("that took %v", took)
	}
	n.Mend(1)
	Until(t, "the sender is told", func() bool { return a.Connected() == nil && a.MissedOf(0) > 0 })
	Until(t, "the receiver finds out that it missed something", func() bool { return b.MissedOf(1) > 0 })
	if err := a.Send(2, []byte("last")); err != nil {
		t.Fatal(err)
	}
	Until(t, "messages pass again", func() bool { return len(b.Got(1)) == 2 })
	if got := strings.Join(b.Got(1), ", "); got != "first, last" {
		t.Errorf("the receiver got %s", got)
	}
}

func testReceiverCut(t *testing.T, n *Network) {
	a, b := Join(t, n, 1), Join(t, n, 2)
	meet(t, a, b)
	n.Cut(2)
	Until(t, "the receiver knows that it is cut off", func() bool { return b.Connected() != nil })
	if err := a.Send(2, []byte("lost")); err != nil {
		t.Fatal(err)
	}
	n.Mend(2)
	Until(t, "the receiver is told", func() bool { return b.Connected() == nil && b.MissedOf(0) > 0 && b.MissedOf(1) > 0 })
	if err := a.Send(2, []byte("last")); err != nil {
		t.Fatal(err)
	}
	Until(t, "messages pass again", func() bool { return len(b.Got(1)) == 2 })
}

func testOverflow(t *testing.T, n *Network) {
	a, b := Join(t, n, 1), Join(t, n, 2)
	hold := make(chan struct{})
	b.Hold = hold
	b.Reply = func(store.NodeID, []byte) ([]byte, error) { return nil, nil }
	a.Peers([]store.NodeID{2})
	large := make([]byte, Large)
	for range n.Waiting + n.Waiting/2 {
		if err := a.Send(2, large); err != nil {
			t.Fatal(err)
		}
	}
	// What was sent before a question has come, if it was not dropped.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := a.Ask(ctx, 2, nil); err != nil {
		t.Fatal(err)
	}
	close(hold)
	Until(t, "the receiver finds out that it missed something", func() bool { return b.MissedOf(1)+b.MissedOf(0) > 0 })
	before := len(b.Got(1))
	if before > n.Waiting+n.Waiting/2-1 {
		t.Errorf("it got all %d", before)
	}
	Until(t, "messages pass again", func() bool {
		if err := a.Send(2, []byte("last")); err != nil {
			t.Fatal(err)
		}
		got := b.Got(1)
		return len(got) > 0 && got[len(got)-1] == "last"
	})
}

func testQuiet(t *testing.T, n *Network) {
	a := Join(t, n, 1)
	a.Peers([]store.NodeID{2})
	Until(t, "a node that is not heard counts as missed", func() bool { return a.MissedOf(2) > 0 })
	b := Join(t, n, 2)
	b.Peers([]store.NodeID{1})
	seen := a.MissedOf(2)
	// It takes a moment until it is heard, and then more than it was quiet.
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if a.MissedOf(2) > seen+1 {
			t.Fatal("a node that is heard counts as missed")
		}
	}
}

func testClose(t *testing.T, n *Network) {
	a, b := Join(t, n, 1), Join(t, n, 2)
	meet(t, a, b)
	if err := a.Send(2, []byte("farewell")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Close(), a.Close()); err != nil {
		t.Fatal(err)
	}
	Until(t, "what was sent before comes", func() bool { return len(b.Got(1)) == 2 })
	if err := a.Send(2, []byte("x")); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("sending afterwards: %v", err)
	}
	if _, err := a.Ask(t.Context(), 2, nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("asking afterwards: %v", err)
	}
	if err := a.Connected(); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("connected afterwards: %v", err)
	}
	seen := len(a.Got(2))
	if err := b.Send(1, []byte("x")); err != nil {
		t.Error(err)
	}
	if len(a.Got(2)) != seen {
		t.Error("the handler was called after Close")
	}
}
