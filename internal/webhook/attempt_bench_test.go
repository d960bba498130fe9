package webhook

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/protocol"
)

// wire is a transport without a network: it writes requests and reads answers
// as the real one does.
type wire struct {
	in  bytes.Reader
	br  *bufio.Reader
	bw  *bufio.Writer
	say []byte
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Write(w.bw); err != nil {
		return nil, err
	}
	if err := w.bw.Flush(); err != nil {
		return nil, err
	}
	w.in.Reset(w.say)
	w.br.Reset(&w.in)
	return http.ReadResponse(w.br, req)
}

// BenchmarkAttempt is an attempt and its record, without network and store.
func BenchmarkAttempt(b *testing.B) {
	to, err := newSettings(endpointNo(1, nil))
	if err != nil {
		b.Fatal(err)
	}
	c := &caller{userAgent: "Ringback/1.2.3", transport: &wire{
		br: bufio.NewReader(nil), bw: bufio.NewWriter(io.Discard),
		say: []byte("HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 17:00:00 GMT\r\nServer: nginx\r\nContent-Type: application/json\r\n" +
			"Connection: keep-alive\r\nContent-Length: 2\r\n\r\n{}"),
	}}
	cb := answer(protocol.CallbackAccept, "3650722201234567890", "some-user", strings.Repeat("x", 150))
	d := &store.Delivery{Event: 1_700_000_000_000_000, App: 1, Call: call.ID(3650722201234567890), Sequence: 2, Name: cb.Name, Fields: cb.Fields}
	b.ReportAllocs()
	for b.Loop() {
		out := c.attempt(b.Context(), to, d)
		if a := attemptOf(d, out); a.Error != "" {
			b.Fatal(a.Error)
		}
	}
}
