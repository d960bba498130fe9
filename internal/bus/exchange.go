package bus

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/ringback/ringback/internal/store"
)

const (
	// noticeAfter is the time after which a loss is noticed when no other
	// message follows.
	noticeAfter = time.Second
	// queueSize is the number of messages that wait for one handler.
	queueSize = 4096
)

// Exchange is the bus of nodes in one process, with switches that make it as
// bad as a network. The zero value is not usable.
type Exchange struct {
	mu      sync.Mutex
	members map[store.NodeID]*member
	cut     map[store.NodeID]bool
	drop    func(from, to store.NodeID, data []byte) bool
	lost    map[route]bool // not noticed yet
}

type route struct{ from, to store.NodeID }

// NewExchange makes an exchange that nobody has joined.
func NewExchange() *Exchange {
	return &Exchange{members: make(map[store.NodeID]*member), cut: make(map[store.NodeID]bool), lost: make(map[route]bool)}
}

// Join gives a node its access.
func (x *Exchange) Join(self store.NodeID, h Handler) Bus {
	m := &member{x: x, self: self, handler: h, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	x.mu.Lock()
	x.members[self] = m
	x.mu.Unlock()
	go m.run()
	return m
}

// Cut takes the connection from a node until it is healed.
func (x *Exchange) Cut(id store.NodeID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cut[id] = true
}

// Heal gives a node its connection back.
func (x *Exchange) Heal(id store.NodeID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.cut[id] {
		return
	}
	delete(x.cut, id)
	for r := range x.lost {
		switch id {
		case r.to:
			delete(x.lost, r)
		case r.from:
			x.notice(r)
		}
	}
	if m := x.members[id]; m != nil {
		m.put(envelope{missed: true})
	}
}

// Drop has messages get lost for which the function says so; nil: none. It is
// called with a lock held, and must not use the exchange.
func (x *Exchange) Drop(f func(from, to store.NodeID, data []byte) bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.drop = f
}

// lose notes that a message got lost; x.mu is held.
func (x *Exchange) lose(r route) {
	if !x.lost[r] {
		x.lost[r] = true
		x.notice(r)
	}
}

// notice has the receiver notice a loss in time.
func (x *Exchange) notice(r route) {
	time.AfterFunc(noticeAfter, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.lost[r] && !x.cut[r.from] && !x.cut[r.to] {
			x.tell(r)
		}
	})
}

// tell tells a receiver of a loss; x.mu is held.
func (x *Exchange) tell(r route) {
	delete(x.lost, r)
	if m := x.members[r.to]; m != nil {
		m.put(envelope{from: r.from, missed: true})
	}
}

func (x *Exchange) send(r route, data []byte) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	to := x.members[r.to]
	switch {
	case x.members[r.from] == nil:
		return ErrClosed
	case x.cut[r.from]:
		x.lose(r)
		return ErrDisconnected
	case len(data) > MaxMessage:
		x.lose(r)
		return ErrTooLarge
	case to == nil:
		return nil
	case x.cut[r.to], x.drop != nil && x.drop(r.from, r.to, data), to.full():
		x.lose(r)
		return nil
	}
	if x.lost[r] {
		x.tell(r)
	}
	to.put(envelope{from: r.from, data: bytes.Clone(data)})
	return nil
}

// answerer finds who answers a question.
func (x *Exchange) answerer(r route, data []byte) (*member, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	to := x.members[r.to]
	switch {
	case x.members[r.from] == nil:
		return nil, ErrClosed
	case x.cut[r.from]:
		return nil, ErrDisconnected
	case len(data) > MaxMessage:
		return nil, ErrTooLarge
	case to == nil, x.cut[r.to]:
		return nil, ErrAbsent
	}
	return to, nil
}

// member is a node's access to an Exchange.
type member struct {
	x       *Exchange
	self    store.NodeID
	handler Handler
	mu      sync.Mutex
	queue   []envelope
	wake    chan struct{} // 1 when the queue is not empty
	stop    chan struct{}
	done    chan struct{}
}

type envelope struct {
	from   store.NodeID
	data   []byte
	missed bool
}

func (m *member) full() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queue) >= queueSize
}

func (m *member) put(e envelope) {
	m.mu.Lock()
	m.queue = append(m.queue, e)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *member) take() []envelope {
	m.mu.Lock()
	defer m.mu.Unlock()
	queue := m.queue
	m.queue = nil
	return queue
}

func (m *member) run() {
	defer close(m.done)
	for {
		select {
		case <-m.wake:
		case <-m.stop:
			return
		}
		for _, e := range m.take() {
			select {
			case <-m.stop:
				return
			default:
			}
			if e.missed {
				m.handler.Missed(e.from)
			} else {
				m.handler.Receive(e.from, e.data)
			}
		}
	}
}

func (m *member) Send(to store.NodeID, data []byte) error {
	return m.x.send(route{m.self, to}, data)
}

func (m *member) Ask(ctx context.Context, to store.NodeID, data []byte) ([]byte, error) {
	other, err := m.x.answerer(route{m.self, to}, data)
	if err != nil {
		return nil, err
	}
	type reply struct {
		data []byte
		err  error
	}
	replies := make(chan reply, 1)
	question := bytes.Clone(data)
	go func() {
		data, err := other.handler.Answer(m.self, question)
		replies <- reply{data, err}
	}()
	select {
	case r := <-replies:
		switch _, err := m.x.answerer(route{to, m.self}, r.data); {
		case err != nil:
			return nil, err
		case r.err != nil:
			return nil, &AnswerError{Text: r.err.Error()}
		}
		return r.data, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *member) Connected() error {
	m.x.mu.Lock()
	defer m.x.mu.Unlock()
	switch {
	case m.x.members[m.self] == nil:
		return ErrClosed
	case m.x.cut[m.self]:
		return ErrDisconnected
	}
	return nil
}

func (m *member) Peers([]store.NodeID) {}

func (m *member) Close() error {
	m.x.mu.Lock()
	if m.x.members[m.self] != m {
		m.x.mu.Unlock()
		return nil
	}
	delete(m.x.members, m.self)
	m.x.mu.Unlock()
	close(m.stop)
	<-m.done
	return nil
}
