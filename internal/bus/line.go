package bus

import (
	"encoding/binary"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringback/ringback/internal/store"
)

const (
	// beatInterval is how often each node is told how much was sent to it, so
	// that it finds out when the last message was lost.
	beatInterval = time.Second
	// quietBeats is how many beats of another node may stay out before
	// messages count as missed, again and again until it is heard.
	quietBeats = 3
	// deafBeats is after how many it is worth a warning: longer than a dead
	// node is usually believed to live.
	deafBeats = 20
)

// A frame is one byte that says what it is, the sender, a number, and for a
// message the data.
const (
	frameMessage = 'm' // the number is its place among those from the sender to the receiver, from 1
	frameBeat    = 'b' // the number is that of the last message
	frameHeader  = 1 + 8 + 8
)

// Lines numbers the messages between this node and each of the others, and
// finds out by the numbers when some were lost. A form of the bus brings the
// frames to their receivers, in order, and loses some if it must.
type Lines struct {
	self    store.NodeID
	handler Handler
	publish func(to store.NodeID, frame []byte) error
	log     *slog.Logger

	mu    sync.RWMutex
	lines map[store.NodeID]*line
	peers []store.NodeID

	stop chan struct{}
	done sync.WaitGroup
	once sync.Once
}

// line is what passes to and from one other node.
type line struct {
	mu    sync.Mutex
	sent  uint64 // number of the last message to it
	frame []byte // the buffer of frames to it

	got   uint64 // number of the last message from it; only Take uses it
	heard atomic.Bool
	quiet int  // beats since it was heard; only beat uses it
	peer  bool // Lines.mu: whether it was in the last list of peers
}

// NewLines begins the lines of a node. publish must not keep the frame, is
// called for one receiver at a time, and must not block for long.
func NewLines(self store.NodeID, h Handler, publish func(to store.NodeID, frame []byte) error, logger *slog.Logger) *Lines {
	l := &Lines{self: self, handler: h, publish: publish, log: logger, lines: make(map[store.NodeID]*line), stop: make(chan struct{})}
	l.done.Go(l.beat)
	return l
}

// Close ends the beats.
func (l *Lines) Close() {
	l.once.Do(func() { close(l.stop) })
	l.done.Wait()
}

// Send numbers a message and publishes it. The number is used up if that
// fails, so that the receiver learns that it missed something.
func (l *Lines) Send(to store.NodeID, data []byte) error {
	p := l.line(to)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent++
	return p.write(l, to, frameMessage, data)
}

// write publishes a frame; p.mu is held.
func (p *line) write(l *Lines, to store.NodeID, kind byte, data []byte) error {
	b := append(p.frame[:0], kind)
	b = binary.BigEndian.AppendUint64(b, uint64(l.self))
	b = binary.BigEndian.AppendUint64(b, p.sent)
	b = append(b, data...)
	if cap(b) <= 1<<16 {
		p.frame = b
	}
	return l.publish(to, b)
}

// Take takes a frame that has come, one at a time, and keeps it. What is no
// frame of a node is passed over.
func (l *Lines) Take(frame []byte) {
	if len(frame) < frameHeader {
		return
	}
	from := store.NodeID(binary.BigEndian.Uint64(frame[1:]))
	number := binary.BigEndian.Uint64(frame[9:])
	switch frame[0] {
	case frameMessage:
		p := l.line(from)
		p.heard.Store(true)
		if number <= p.got {
			return // its loss was told already
		}
		if number != p.got+1 {
			l.handler.Missed(from)
		}
		p.got = number
		l.handler.Receive(from, frame[frameHeader:])
	case frameBeat:
		p := l.line(from)
		p.heard.Store(true)
		if number > p.got {
			p.got = number
			l.handler.Missed(from)
		}
	}
}

func (l *Lines) line(id store.NodeID) *line {
	l.mu.RLock()
	p := l.lines[id]
	l.mu.RUnlock()
	if p != nil {
		return p
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if p = l.lines[id]; p == nil {
		p = new(line)
		l.lines[id] = p
	}
	return p
}

// Peers says which other nodes there are. Those that were there and no longer
// are will not come again, and are forgotten.
func (l *Lines) Peers(ids []store.NodeID) {
	for _, id := range ids {
		l.line(id)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.peers = make([]store.NodeID, 0, len(ids))
	was := make(map[store.NodeID]bool)
	for id, p := range l.lines {
		was[id], p.peer = p.peer, false
	}
	for _, id := range ids {
		if id != l.self {
			l.lines[id].peer = true
			l.peers = append(l.peers, id)
		}
	}
	for id, p := range l.lines {
		if was[id] && !p.peer {
			delete(l.lines, id)
		}
	}
}

// beat tells the others how much was sent to them, and watches that they do.
func (l *Lines) beat() {
	tick := time.NewTicker(beatInterval)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		l.mu.RLock()
		peers := l.peers
		l.mu.RUnlock()
		for _, id := range peers {
			p := l.line(id)
			p.mu.Lock()
			// Should it fail, the other node does not hear this one, and looks
			// into the store.
			_ = p.write(l, id, frameBeat, nil)
			p.mu.Unlock()
			l.listen(id, p)
		}
	}
}

// listen notes whether another node was heard since the last beat.
func (l *Lines) listen(id store.NodeID, p *line) {
	if p.heard.Swap(false) {
		p.quiet = 0
		return
	}
	p.quiet++
	if p.quiet%quietBeats == 0 {
		l.handler.Missed(id)
	}
	if p.quiet == deafBeats {
		l.log.Warn("a node that lives by the store is not heard on the bus; all nodes need the same NATS servers and subject prefix",
			"node", int64(l.self), "peer", int64(id))
	}
}
