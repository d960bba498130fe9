package natsbus

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ringback/ringback/internal/bus"
	"github.com/ringback/ringback/internal/store"
)

// A message begins with its kind, the sender, the sender's incarnation and,
// big-endian, a number: of this message, or for a heartbeat of the last one
// before it.
const (
	kindMessage  byte = 1
	kindBeat     byte = 2
	kindQuestion byte = 3
	kindHello    byte = 4 // a question to oneself

	headerSize = 1 + 3*8
)

// A reply begins with how it went.
const (
	replyAnswer byte = 0
	replyError  byte = 1 // its text follows
	replyBusy   byte = 2
)

type header struct {
	kind         byte
	from         store.NodeID
	incarn, last uint64
}

func (b *Bus) header(buf []byte, kind byte, number uint64) []byte {
	buf = append(buf, kind)
	buf = binary.BigEndian.AppendUint64(buf, uint64(b.self))
	buf = binary.BigEndian.AppendUint64(buf, b.incarn)
	return binary.BigEndian.AppendUint64(buf, number)
}

func parse(data []byte) (h header, body []byte, ok bool) {
	if len(data) < headerSize {
		return h, nil, false
	}
	return header{
		kind: data[0], from: store.NodeID(binary.BigEndian.Uint64(data[1:])),
		incarn: binary.BigEndian.Uint64(data[9:]), last: binary.BigEndian.Uint64(data[17:]),
	}, data[headerSize:], true
}

func openReply(data []byte) ([]byte, error) {
	if len(data) == 0 {
		return nil, bus.ErrAbsent
	}
	switch data[0] {
	case replyAnswer:
		return data[1:], nil
	case replyBusy:
		return nil, bus.ErrBusy
	}
	return nil, &bus.AnswerError{Text: string(data[1:])}
}

// take takes what comes; it is called for one message at a time.
func (b *Bus) take(msg *nats.Msg) {
	h, body, ok := parse(msg.Data)
	if !ok {
		b.logger.Warn("something that is not of Ringback came over NATS", "subject", msg.Subject)
		return
	}
	if h.from == b.self {
		b.takeOwn(h, msg)
		return
	}
	fresh, missed, known := b.in.accept(h, time.Now())
	if !known {
		b.clash(h.from)
		return
	}
	if missed {
		b.call(func() { b.handler.Missed(h.from) })
	}
	switch {
	case h.kind == kindMessage && fresh:
		b.call(func() { b.handler.Receive(h.from, body) })
	case h.kind == kindQuestion:
		b.takeQuestion(h.from, body, msg)
	}
}

// takeOwn takes what this node has sent to itself.
func (b *Bus) takeOwn(h header, msg *nats.Msg) {
	switch {
	case h.incarn != b.incarn:
		b.clash(h.from)
	case h.kind == kindBeat:
		b.lastEcho.Store(time.Now().UnixNano())
	case h.kind == kindHello:
		b.respond(msg, replyAnswer, nil)
	}
}

func (b *Bus) takeQuestion(from store.NodeID, body []byte, msg *nats.Msg) {
	select {
	case b.answering <- struct{}{}:
	default:
		b.respond(msg, replyBusy, nil)
		return
	}
	go func() {
		defer func() { <-b.answering }()
		answer, err := b.handler.Answer(from, body)
		if err == nil && len(answer) > bus.MaxMessage {
			err = bus.ErrTooLarge
		}
		if err != nil {
			b.respond(msg, replyError, []byte(err.Error()))
			return
		}
		b.respond(msg, replyAnswer, answer)
	}()
}

// respond answers a question. When it cannot, whoever asked waits until he
// gives up.
func (b *Bus) respond(msg *nats.Msg, status byte, data []byte) {
	reply := append(append(make([]byte, 0, 1+len(data)), status), data...)
	if err := msg.Respond(reply); err != nil {
		b.logger.Debug("a question of another node was not answered", "error", b.explain(err))
	}
}

// call calls the handler, unless the bus was closed.
func (b *Bus) call(f func()) {
	b.calling.RLock()
	defer b.calling.RUnlock()
	if !b.closed {
		f()
	}
}

// inbox knows how far the messages of others have come.
type inbox struct {
	mu      sync.Mutex
	senders map[store.NodeID]*sender
}

type sender struct {
	incarn uint64 // 0: nothing has come
	last   uint64
	heard  time.Time // or when it became a peer
	peer   bool
	silent bool      // and that was told
	told   time.Time // when it was last said that messages may be missed because of that
}

// accept notes that something came, and says whether it is newer than all
// before, whether something before it is missing, and whether it comes from
// the node that has come under that ID so far.
func (i *inbox) accept(h header, now time.Time) (fresh, missed, known bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := i.senders[h.from]
	if s == nil {
		s = new(sender)
		i.senders[h.from] = s
	}
	switch {
	case s.incarn == h.incarn:
	case s.incarn == 0:
		s.incarn = h.incarn
	case now.Sub(s.heard) > silentAfter: // what came so far was of another cluster, which is gone
		s.incarn, s.last, missed = h.incarn, max(h.last, 1)-1, true
	default:
		return false, false, false
	}
	s.heard = now
	switch h.kind {
	case kindMessage:
		fresh = h.last > s.last
		missed = missed || h.last > s.last+1
	case kindBeat:
		missed = missed || h.last > s.last
	default:
		return false, missed, true
	}
	s.last = max(s.last, h.last)
	return fresh, missed, true
}

// setPeers takes over who is there, and lists who was and is not any more.
func (i *inbox) setPeers(ids []store.NodeID, now time.Time) (gone []store.NodeID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	there := make(map[store.NodeID]bool, len(ids))
	for _, id := range ids {
		there[id] = true
		s := i.senders[id]
		if s == nil {
			s = new(sender)
			i.senders[id] = s
		}
		if !s.peer {
			s.peer, s.heard = true, now
		}
	}
	for id, s := range i.senders {
		if there[id] {
			continue
		}
		if s.peer {
			s.peer = false
			gone = append(gone, id)
		}
		if now.Sub(s.heard) > knownFor {
			delete(i.senders, id)
		}
	}
	return gone
}

// listeners are the nodes to send heartbeats to: the peers, and those that
// count this node among theirs already.
func (i *inbox) listeners(now time.Time) []store.NodeID {
	i.mu.Lock()
	defer i.mu.Unlock()
	ids := make([]store.NodeID, 0, len(i.senders))
	for id, s := range i.senders {
		if s.peer || now.Sub(s.heard) < silentAfter {
			ids = append(ids, id)
		}
	}
	return ids
}

// quiet finds the peers from which nothing comes: those for which it is time
// to say that messages may be missed, those that have just fallen silent, and
// those that are heard again.
func (i *inbox) quiet(now time.Time) (missed, fell, back []store.NodeID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for id, s := range i.senders {
		silent := s.peer && now.Sub(s.heard) > silentAfter
		switch {
		case silent && !s.silent:
			fell = append(fell, id)
		case !silent && s.silent && s.peer:
			back = append(back, id)
		}
		s.silent = silent
		if silent && now.Sub(s.told) > silentAfter {
			s.told = now
			missed = append(missed, id)
		}
	}
	return missed, fell, back
}
