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

// A frame is one byte that says what it is, the sender, a number, and what
// belongs to it.
const (
	// Messages, each after its length as a uvarint. The number is the place of
	// the first among those from the sender to the receiver, from 1.
	frameMessages = 'm'
	frameBeat     = 'b' // the number is that of the last message
	frameHeader   = 1 + 8 + 8
)

// A frame costs its sender, the bus and its receiver more than what is in it,
// above all in waking up. So messages to a node wait for each other, unless
// none was sent for a while. What came together once comes together again, as
// commits do that shared a transaction: soon after a frame of several messages
// the first of the next is not sent before the others are there.
const (
	shortPause = 2 * time.Millisecond  // between two frames
	longPause  = 6 * time.Millisecond  // from the first message of a frame, after one of several
	lull       = 50 * time.Millisecond // what is soon after a frame
	// maxFrame is the size in bytes from which a frame does not wait.
	maxFrame = 32 << 10
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
	sent  uint64      // number of the last message to it
	frame []byte      // what waits to be published; empty: nothing
	count int         // messages in it
	timer *time.Timer // publishes what waits
	last  int         // messages in the frame before
	at    time.Time   // when that was published

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

// Close publishes what waits, and ends the beats.
func (l *Lines) Close() {
	l.once.Do(func() { close(l.stop) })
	l.done.Wait()
	l.mu.RLock()
	defer l.mu.RUnlock()
	for id, p := range l.lines {
		p.mu.Lock()
		// Should it fail, the receiver looks into the store, since this node
		// leaves.
		_ = p.flush(l, id)
		p.mu.Unlock()
	}
}

// Send numbers a message and publishes it, at once or with others a little
// later. The number is used up if that fails, so that the receiver learns that
// it missed something.
func (l *Lines) Send(to store.NodeID, data []byte) error {
	p := l.line(to)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count > 0 && len(data) >= maxFrame {
		_ = p.flush(l, to) // what is too large for the bus takes no others with it
	}
	p.sent++
	if p.count++; p.count == 1 {
		p.begin(l, frameMessages)
	}
	p.frame = binary.AppendUvarint(p.frame, uint64(len(data)))
	p.frame = append(p.frame, data...)
	if len(p.frame) >= maxFrame || l.closed() {
		return p.flush(l, to)
	}
	if p.count > 1 {
		return nil // the timer runs
	}
	since := time.Since(p.at)
	pause := shortPause - since
	if p.last > 1 && since < lull {
		pause = longPause
	}
	switch {
	case pause <= 0:
		return p.flush(l, to)
	case p.timer == nil:
		p.timer = time.AfterFunc(pause, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			_ = p.flush(l, to) // the receiver learns that it failed
		})
	default:
		p.timer.Reset(pause)
	}
	return nil
}

func (l *Lines) closed() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

// begin begins a frame with the number of the last message; p.mu is held.
func (p *line) begin(l *Lines, kind byte) {
	p.frame = append(p.frame[:0], kind)
	p.frame = binary.BigEndian.AppendUint64(p.frame, uint64(l.self))
	p.frame = binary.BigEndian.AppendUint64(p.frame, p.sent)
}

// flush publishes what waits; p.mu is held.
func (p *line) flush(l *Lines, to store.NodeID) error {
	if len(p.frame) == 0 {
		return nil
	}
	if p.count > 0 { // it is no beat
		p.last, p.at = p.count, time.Now()
	}
	frame := p.frame
	if p.frame, p.count = frame[:0], 0; cap(frame) > 2*maxFrame {
		p.frame = nil
	}
	return l.publish(to, frame)
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
	case frameMessages:
		p := l.line(from)
		p.heard.Store(true)
		for data, rest := first(frame[frameHeader:]); data != nil; data, rest = first(rest) {
			l.receive(p, from, number, data)
			number++
		}
	case frameBeat:
		p := l.line(from)
		p.heard.Store(true)
		if number > p.got {
			p.got = number
			l.handler.Missed(from)
		}
	}
}

// first gives the first message of those in a frame, and the rest; nil when
// there is none, or what is there is none.
func first(messages []byte) (data, rest []byte) {
	size, n := binary.Uvarint(messages)
	if n <= 0 || size > uint64(len(messages)-n) {
		return nil, nil
	}
	end := n + int(size)
	return messages[n:end:end], messages[end:]
}

// receive takes a message.
func (l *Lines) receive(p *line, from store.NodeID, number uint64, data []byte) {
	if number <= p.got {
		return // its loss was told already
	}
	if number != p.got+1 {
		l.handler.Missed(from)
	}
	p.got = number
	l.handler.Receive(from, data)
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
			_ = p.flush(l, id)
			p.begin(l, frameBeat)
			_ = p.flush(l, id)
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
