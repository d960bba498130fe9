package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/gobwas/ws"

	"github.com/ringback/ringback/protocol"
)

const (
	// readBuffer holds most frames of a server; larger ones get a buffer of
	// their own for as long as they are looked at.
	readBuffer = 1 << 10
	// maxMessage is the largest message that is read, in bytes. A server
	// keeps to protocol.MaxFrame; a client need not insist.
	maxMessage = 64 * protocol.MaxFrame
	// closeWait bounds the answer to the server's close frame.
	closeWait = time.Second
)

// conn is one WebSocket connection. One goroutine reads; any may write.
type conn struct {
	nc    net.Conn
	br    *bufio.Reader
	early []byte   // what came together with the handshake
	hdr   [12]byte // scratch of the reader

	heartbeat time.Duration // 0 before the login: no deadline of its own
	heard     time.Time     // when something was last read
	probed    bool          // the silence has been answered by a ping

	writer
}

// dial connects to a WebSocket URL.
func dial(ctx context.Context, url string, opts *Options) (*conn, error) {
	d := ws.Dialer{
		Protocols: []string{protocol.Subprotocol},
		Header:    ws.HandshakeHeaderHTTP(opts.Header),
		NetDial:   opts.NetDial,
		TLSConfig: opts.TLSConfig,
		OnStatusError: func(int, []byte, io.Reader) {
			// The status is in the error.
		},
	}
	nc, br, hs, err := d.Dial(ctx, url)
	if err != nil {
		if status, ok := errors.AsType[ws.StatusError](err); ok {
			err = fmt.Errorf("the server answered %d %s", int(status), http.StatusText(int(status)))
		}
		return nil, err
	}
	c := &conn{nc: nc}
	c.writer.nc = nc
	if br != nil {
		early, _ := br.Peek(br.Buffered())
		c.early = bytes.Clone(early)
		ws.PutReader(br)
	}
	if hs.Protocol != protocol.Subprotocol {
		nc.Close()
		return nil, fmt.Errorf("the server does not speak %s", protocol.Subprotocol)
	}
	c.br = bufio.NewReaderSize(source{c}, readBuffer)
	return c, nil
}

// watch makes the connection fail when nothing is read for two heartbeats.
func (c *conn) watch(heartbeat time.Duration) {
	c.heartbeat = heartbeat
	c.heard = time.Now()
	c.nc.SetReadDeadline(c.heard.Add(c.patience()))
}

// patience is the silence after which the client asks whether anybody is
// there: the server pings each heartbeat, so by then one is overdue.
func (c *conn) patience() time.Duration { return c.heartbeat * 5 / 4 }

// source reads the network connection of a conn, and watches its silence.
type source struct{ *conn }

func (c source) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.conn.early = c.early[n:]
		return n, nil
	}
	for {
		n, err := c.nc.Read(p)
		if err == nil || n > 0 {
			if c.heartbeat > 0 {
				c.conn.heard, c.conn.probed = time.Now(), false
			}
			return n, err
		}
		if c.heartbeat == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		// The deadline is only moved here, and not with each read, because
		// that is dearer than to be woken now and then.
		limit := c.patience()
		switch silence := time.Since(c.heard); {
		case silence >= 2*c.heartbeat:
			return 0, errSilent
		case silence >= limit:
			if !c.probed {
				c.conn.probed = true
				c.send(ws.OpPing, nil)
			}
			limit = 2 * c.heartbeat
		}
		if err := c.nc.SetReadDeadline(c.heard.Add(limit)); err != nil {
			return 0, err
		}
	}
}

// next returns the next message, which is valid until the call after, and
// answers the control frames before it. The error is a *CloseError when the
// server closed the connection.
func (c *conn) next() ([]byte, error) {
	var parts []byte // of a message in several frames
	fragmented := false
	for {
		h, err := ws.ReadHeaderBuffer(c.br, c.hdr[:])
		if err != nil {
			return nil, broken(err)
		}
		switch {
		case h.Masked || h.Rsv != 0:
			return nil, errors.New("malformed frame from the server")
		case h.OpCode.IsControl():
			if err := c.control(h); err != nil {
				return nil, err
			}
			continue
		case h.OpCode != ws.OpText && h.OpCode != ws.OpContinuation, (h.OpCode == ws.OpContinuation) != fragmented:
			return nil, fmt.Errorf("unexpected frame of type %#x from the server", h.OpCode)
		case h.Length+int64(len(parts)) > maxMessage:
			return nil, fmt.Errorf("message of more than %d bytes from the server", maxMessage)
		}
		n := int(h.Length)
		if h.Fin && !fragmented && n <= c.br.Size() {
			data, err := c.br.Peek(n)
			if err != nil {
				return nil, broken(err)
			}
			c.br.Discard(n)
			return data, nil
		}
		at := len(parts)
		parts = append(parts, make([]byte, n)...)
		if _, err := io.ReadFull(c.br, parts[at:]); err != nil {
			return nil, broken(err)
		}
		if h.Fin {
			return parts, nil
		}
		fragmented = true
	}
}

// control reads and answers a control frame.
func (c *conn) control(h ws.Header) error {
	if !h.Fin || h.Length > ws.MaxControlFramePayloadSize {
		return errors.New("malformed control frame from the server")
	}
	payload, err := c.br.Peek(int(h.Length))
	if err != nil {
		return broken(err)
	}
	switch h.OpCode {
	case ws.OpPing:
		c.send(ws.OpPong, payload)
	case ws.OpClose:
		ce := new(CloseError)
		if len(payload) >= 2 {
			ce.Code = protocol.CloseCode(binary.BigEndian.Uint16(payload))
			ce.Reason = string(payload[2:])
			payload = payload[:2]
		}
		c.nc.SetWriteDeadline(time.Now().Add(closeWait))
		c.send(ws.OpClose, payload)
		c.drain()
		return ce
	}
	c.br.Discard(len(payload))
	return nil
}

// broken says for what it is that a connection ended without a close frame.
func broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the server dropped the connection")
	}
	return err
}

// newMask makes the mask of a frame, which must not be predictable.
func newMask() (mask [4]byte) {
	binary.NativeEndian.PutUint32(mask[:], rand.Uint32())
	return mask
}
