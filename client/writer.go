package client

import (
	"net"
	"sync"

	"github.com/gobwas/ws"
)

// writer sends frames. A goroutine writes while there is something to write;
// what is queued meanwhile goes out with one write. The queue is bounded by
// the requests that may be pending; pongs that would make it longer than
// maxControl are left out.
type writer struct {
	nc net.Conn

	mu      sync.Mutex
	out     *buffer // queued; nil when nothing is
	writing bool
	shut    bool // nothing more is queued
	closed  bool // nothing more is written
	flushes sync.WaitGroup
}

const (
	maxControl = 64 << 10 // bytes queued beyond which pings go unanswered
	keepBuffer = 16 << 10 // capacity up to which a write buffer is used again
)

// send queues a frame. It does not block and does not fail: a connection that
// cannot be written to ends, as its reader then sees.
func (w *writer) send(op ws.OpCode, payload []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shut {
		return
	}
	if w.out == nil {
		w.out = buffers.Get().(*buffer)
	} else if op.IsControl() && len(w.out.b) > maxControl {
		return
	}
	w.out.frame(op, payload)
	if !w.writing {
		w.writing = true
		w.flushes.Go(w.flush)
	}
}

func (w *writer) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.out != nil && !w.closed {
		buf := w.out
		w.out = nil
		w.mu.Unlock()
		_, err := w.nc.Write(buf.b)
		buf.free()
		w.mu.Lock()
		if err != nil {
			w.shut, w.closed = true, true
			w.nc.Close()
		}
	}
	w.writing = false
}

// drain takes no more frames and waits until those queued are written.
func (w *writer) drain() {
	w.mu.Lock()
	w.shut = true
	w.mu.Unlock()
	w.flushes.Wait()
}

// close drops the connection and waits for the writing goroutine.
func (w *writer) close() {
	w.mu.Lock()
	w.shut, w.closed = true, true
	w.mu.Unlock()
	w.nc.Close()
	w.flushes.Wait()
}

// buffer is a write buffer.
type buffer struct {
	b   []byte
	hdr [ws.MaxHeaderSize]byte
}

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// frame appends a masked frame.
func (b *buffer) frame(op ws.OpCode, payload []byte) {
	mask := newMask()
	h := ws.Header{Fin: true, OpCode: op, Masked: true, Mask: mask, Length: int64(len(payload))}
	ws.WriteHeaderBuffer(b, h, b.hdr[:]) // a buffer takes it all
	at := len(b.b)
	b.b = append(b.b, payload...)
	ws.Cipher(b.b[at:], mask, 0)
}

// Write appends p.
func (b *buffer) Write(p []byte) (int, error) {
	b.b = append(b.b, p...)
	return len(p), nil
}

// free makes the buffer available for use again.
func (b *buffer) free() {
	if cap(b.b) <= keepBuffer {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}
