package bus

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/ringback/ringback/internal/store"
)

// maxWaiting is how many frames wait for a node in an Exchange. Those beyond
// are lost.
const maxWaiting = 1024

// Exchange is the bus of nodes in one process. It is for tests, and has
// switches for what can go wrong. Its methods may be called concurrently.
type Exchange struct {
	mu    sync.Mutex
	seats map[store.NodeID]*seat
	cut   map[store.NodeID]bool
	lose  func(from, to store.NodeID, data []byte) bool
}

// NewExchange makes an Exchange without nodes.
func NewExchange() *Exchange {
	return &Exchange{seats: make(map[store.NodeID]*seat), cut: make(map[store.NodeID]bool)}
}

// seat is a node's Bus.
type seat struct {
	x       *Exchange
	self    store.NodeID
	handler Handler
	lines   *Lines
	queue   chan []byte
	stop    chan struct{}
	once    sync.Once
	done    sync.WaitGroup
}

// Join gives a node, which has not joined before, its Bus.
func (x *Exchange) Join(self store.NodeID, h Handler) Bus {
	s := &seat{x: x, self: self, handler: h, queue: make(chan []byte, maxWaiting), stop: make(chan struct{})}
	s.lines = NewLines(self, h, s.publish, slog.New(slog.DiscardHandler))
	s.done.Go(s.receive)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.seats[self] = s
	return s
}

// Cut cuts a node off: what it sends gives ErrDisconnected, and what is sent to
// it is lost.
func (x *Exchange) Cut(id store.NodeID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cut[id] = true
}

// Mend connects a node again, which is told that it may have missed something.
func (x *Exchange) Mend(id store.NodeID) {
	x.mu.Lock()
	s := x.seats[id]
	was := x.cut[id]
	delete(x.cut, id)
	x.mu.Unlock()
	if was && s != nil {
		s.handler.Missed(0)
	}
}

// Lose sets what decides whether a message gets lost on its way; nil: none is.
// It is called with a lock held, and must not use the Exchange.
func (x *Exchange) Lose(lose func(from, to store.NodeID, data []byte) bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.lose = lose
}

// reach finds another node, if this one is connected.
func (s *seat) reach(to store.NodeID) (*seat, error) {
	switch {
	case s.closed():
		return nil, ErrClosed
	case s.x.cut[s.self]:
		return nil, ErrDisconnected
	case s.x.cut[to]:
		return nil, nil
	}
	return s.x.seats[to], nil
}

func (s *seat) closed() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

func (s *seat) publish(to store.NodeID, frame []byte) error {
	s.x.mu.Lock()
	defer s.x.mu.Unlock()
	peer, err := s.reach(to)
	if err != nil || peer == nil {
		return err
	}
	if s.x.lose != nil && frame[0] == frameMessages {
		if data, _ := first(frame[frameHeader:]); s.x.lose(s.self, to, data) {
			return nil
		}
	}
	select {
	case peer.queue <- slices.Clone(frame):
	default: // it finds out by the numbers
	}
	return nil
}

func (s *seat) receive() {
	for {
		select {
		case <-s.stop:
			return
		case frame := <-s.queue:
			s.lines.Take(frame)
		}
	}
}

// Send passes a message on.
func (s *seat) Send(to store.NodeID, data []byte) error { return s.lines.Send(to, data) }

// Ask has another node answer.
func (s *seat) Ask(ctx context.Context, to store.NodeID, data []byte) ([]byte, error) {
	s.x.mu.Lock()
	peer, err := s.reach(to)
	s.x.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if peer == nil {
		return nil, ErrNoNode
	}
	type answer struct {
		data []byte
		err  error
	}
	answered := make(chan answer, 1)
	question := slices.Clone(data)
	go func() {
		reply, err := peer.handler.Answer(s.self, question)
		if err != nil {
			err = &RemoteError{Node: to, Text: err.Error()}
		}
		answered <- answer{reply, err}
	}()
	select {
	case a := <-answered:
		return a.data, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Connected reports whether the node is cut off.
func (s *seat) Connected() error {
	s.x.mu.Lock()
	defer s.x.mu.Unlock()
	_, err := s.reach(s.self)
	return err
}

// Peers says who is there.
func (s *seat) Peers(ids []store.NodeID) { s.lines.Peers(ids) }

// Close leaves the Exchange.
func (s *seat) Close() error {
	s.x.mu.Lock()
	if s.x.seats[s.self] == s {
		delete(s.x.seats, s.self)
	}
	s.x.mu.Unlock()
	s.lines.Close()
	s.once.Do(func() { close(s.stop) })
	s.done.Wait()
	return nil
}
