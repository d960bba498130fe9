package ws

import (
	"bufio"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gobwas/ws"

	"github.com/ringback/ringback/protocol"
)

const (
	readBuffer = 512              // bytes; larger frames are read past it
	maxQueued  = 512 << 10        // bytes waiting for a slow reader before it is cut off
	writeLimit = 10 * time.Second // for one write, before the reader counts as too slow
	closeLimit = 2 * time.Second  // for the peer to answer a close
	maxPings   = 100              // of the peer, in a second
)

// conn is a WebSocket connection below the level of sessions. It has one
// goroutine, which reads. What is queued is written in one go, by whoever
// flushes, as far as that does not block; only for the rest, when the peer is
// slow, is there a goroutine that writes.
type conn struct {
	net net.Conn
	raw syscall.RawConn // of a plain TCP connection, else nil
	br  *bufio.Reader

	lastSign atomic.Int64 // of life from the peer, Unix nanoseconds

	pings      int // of the peer, since pingsSince; of the reader alone
	pingsSince time.Time

	mu      sync.Mutex
	out     net.Buffers // frames, encoded
	queued  int         // bytes in out
	writing bool
	closing bool // a close frame is in out, or the connection is gone
	done    bool // the reader has gone: the writer closes when it is through
}

func newConn(nc net.Conn, br *bufio.Reader) *conn {
	c := &conn{net: nc}
	if tcp, ok := nc.(*net.TCPConn); ok {
		c.raw, _ = tcp.SyscallConn() // fails only for a closed connection
	}
	// The handshake's buffer is much larger than an idle connection needs.
	c.br = bufio.NewReaderSize(nc, readBuffer)
	if n := br.Buffered(); n > 0 {
		early, _ := br.Peek(n)
		c.br = bufio.NewReaderSize(io.MultiReader(&onceReader{early}, nc), readBuffer)
	}
	c.touch()
	return c
}

// onceReader gives what came with the handshake.
type onceReader struct{ rest []byte }

func (r *onceReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (c *conn) touch() { c.lastSign.Store(time.Now().UnixNano()) }

func (c *conn) lastSignOfLife() time.Time { return time.Unix(0, c.lastSign.Load()) }

// textFrame encodes a text frame; it may be queued on many connections.
func textFrame(payload []byte) []byte { return encodeFrame(ws.OpText, payload) }

func encodeFrame(op ws.OpCode, payload []byte) []byte {
	n := len(payload)
	frame := make([]byte, 0, n+10)
	frame = append(frame, 0x80|byte(op))
	switch {
	case n < 126:
		frame = append(frame, byte(n))
	case n < 1<<16:
		frame = append(frame, 126, byte(n>>8), byte(n))
	default:
		frame = append(frame, 127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(frame, payload...)
}

// queue adds a frame without waking the writer; flush must follow. It reports
// whether the peer can still be sent anything.
func (c *conn) queue(frame []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	if c.queued+len(frame) > maxQueued {
		c.abandon(protocol.CloseSlowReader, "you do not read what you are sent")
		return false
	}
	c.out = append(c.out, frame)
	c.queued += len(frame)
	return true
}

// flush has everything queued written.
func (c *conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing || len(c.out) == 0 || c.raw != nil && c.writeNow() {
		return
	}
	c.writing = true
	go c.write()
}

// writeNow writes what is queued as far as that does not block, and reports
// whether that was all. mu is held.
func (c *conn) writeNow() bool {
	payload := c.out[0]
	if len(c.out) > 1 {
		payload = slices.Concat(c.out...)
	}
	written := 0
	var failed error
	err := c.raw.Write(func(fd uintptr) bool {
		written, failed = syscall.Write(int(fd), payload)
		return true // whatever came of it: do not wait
	})
	switch {
	case err == nil && failed == nil && written == len(payload):
		c.out, c.queued = nil, 0
		return true
	case err == nil && (failed == nil || errors.Is(failed, syscall.EAGAIN) || errors.Is(failed, syscall.EINTR)):
		rest := payload[max(written, 0):]
		c.out, c.queued = net.Buffers{rest}, len(rest)
		return false
	}
	c.out, c.queued = nil, 0
	c.net.Close() // the reader sees it and ends the session
	return true
}

// write sends what is queued until there is nothing left.
func (c *conn) write() {
	for {
		c.mu.Lock()
		out := c.out
		c.out, c.queued = nil, 0
		if len(out) == 0 {
			c.writing = false
			c.net.SetWriteDeadline(time.Time{})
			if c.done {
				c.net.Close()
			}
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		c.net.SetWriteDeadline(time.Now().Add(writeLimit))
		if _, err := out.WriteTo(c.net); err != nil {
			c.net.Close() // the reader sees it and ends the session
			return
		}
	}
}

// close sends a close frame after what is queued, and gives the peer a moment
// to answer it. The reader goes on until then.
func (c *conn) close(code protocol.CloseCode, reason string) {
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return
	}
	c.closing = true
	c.out = append(c.out, closeFrame(code, reason))
	c.net.SetReadDeadline(time.Now().Add(closeLimit))
	c.mu.Unlock()
	c.flush()
}

// abandon gives up on a peer that does not read: what is queued is dropped,
// and the close frame gets a short chance to be written. mu is held.
func (c *conn) abandon(code protocol.CloseCode, reason string) {
	c.closing = true
	c.out, c.queued = net.Buffers{closeFrame(code, reason)}, 0
	c.net.SetDeadline(time.Now().Add(closeLimit))
	if !c.writing {
		c.writing = true
		go c.write()
	}
}

// isClosing reports whether a close was begun by this side.
func (c *conn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// discard reads until the peer closes or the close's time is over. Closing at
// once, with unread data, would take the close frame from the peer.
func (c *conn) discard() { io.Copy(io.Discard, c.net) }

// closeFrame cuts the reason to what a close frame can carry.
func closeFrame(code protocol.CloseCode, reason string) []byte {
	const most = 125 - 2
	if len(reason) > most {
		reason = reason[:most]
	}
	return encodeFrame(ws.OpClose, ws.NewCloseFrameBody(ws.StatusCode(code), reason))
}

// closeError says why a connection must be closed.
type closeError struct {
	code   protocol.CloseCode
	reason string
}

func (e *closeError) Error() string { return e.reason }

// next reads the next text message. It answers pings and closes by itself.
// Errors: a *closeError when the peer broke the protocol, io.EOF when it
// closed properly, others when the connection is gone.
func (c *conn) next() ([]byte, error) {
	var message []byte // of a fragmented message
	fragmented := false
	for {
		h, err := ws.ReadHeader(c.br)
		if err != nil {
			return nil, err
		}
		switch {
		case h.Rsv != 0:
			return nil, &closeError{protocol.CloseProtocol, "reserved bits are set, but no extension was agreed on"}
		case !h.Masked:
			return nil, &closeError{protocol.CloseProtocol, "frames of a client must be masked"}
		case h.OpCode.IsControl() && (h.Length > ws.MaxControlFramePayloadSize || !h.Fin):
			return nil, &closeError{protocol.CloseProtocol, "control frames have at most 125 bytes and no fragments"}
		case h.OpCode == ws.OpBinary:
			return nil, &closeError{protocol.CloseProtocol, "send text frames, not binary ones"}
		case int64(len(message))+h.Length > protocol.MaxFrame:
			return nil, &closeError{protocol.CloseTooBig, "a message has at most 65536 bytes"}
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(c.br, payload); err != nil {
			return nil, err
		}
		ws.Cipher(payload, h.Mask, 0)
		c.touch()
		switch h.OpCode {
		case ws.OpPing:
			if c.pingFlood() {
				return nil, &closeError{protocol.CloseFlood, "too many pings"}
			}
			c.queue(encodeFrame(ws.OpPong, payload))
			c.flush()
		case ws.OpPong:
		case ws.OpClose:
			c.close(protocol.CloseLogout, "")
			return nil, io.EOF
		case ws.OpText, ws.OpContinuation:
			if (h.OpCode == ws.OpContinuation) != fragmented {
				return nil, &closeError{protocol.CloseProtocol, "fragments are out of order"}
			}
			if h.Fin && !fragmented {
				return payload, nil
			}
			message = append(message, payload...)
			fragmented = true
			if h.Fin {
				return message, nil
			}
		default:
			return nil, &closeError{protocol.CloseProtocol, "unknown frame type"}
		}
	}
}

// pingFlood counts a ping of the peer.
func (c *conn) pingFlood() bool {
	if now := time.Now(); now.Sub(c.pingsSince) > time.Second {
		c.pings, c.pingsSince = 0, now
	}
	c.pings++
	return c.pings > maxPings
}

var pingFrame = encodeFrame(ws.OpPing, nil)

// finish closes the connection once what is queued has been written, or at
// once if that does not work.
func (c *conn) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	if !c.writing {
		c.net.Close()
	}
	c.done = true
}
