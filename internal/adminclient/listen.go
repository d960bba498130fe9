package adminclient

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ringback/ringback/internal/adminapi"
)

const (
	// silence is after how long without a sign of life a stream counts as
	// lost; the server gives one every 15 s.
	silence   = 45 * time.Second
	openLimit = 30 * time.Second // for a stream to begin
	maxLine   = 8 << 20          // bytes of one line of a stream
)

// ListenQuery says which callbacks are meant.
type ListenQuery struct {
	App      uint32   `query:"app"`      // 0: all apps
	Event    []string `query:"event"`    // none: the documented ones; "all" for all
	Call     string   `query:"call"`     // "": all calls
	Endpoint int64    `query:"endpoint"` // to sign and format as for; 0: the app's first one
	After    string   `query:"after"`    // a cursor; "": from now on
}

// Listener is told what a stream brings, one thing at a time. All but Callback
// may be nil.
type Listener struct {
	// Ready is called when the stream has begun for the first time, with the
	// cursor of the place.
	Ready func(cursor string)
	// Lost is called when the stream breaks and when it is taken up again.
	Lost Lost
	// Callback gets each callback, and the cursor of the place after it. While
	// it runs nothing more is read. An error ends the stream.
	Callback func(cb *adminapi.Callback, cursor string) error
}

// Listen follows callbacks until the context ends, the API refuses it or the
// listener gives an error. The first connection must succeed. When one breaks
// later it is made again and goes on after what was last handed to Callback:
// nothing is missed and nothing comes twice.
func (c *Client) Listen(ctx context.Context, q ListenQuery, l Listener) error {
	s := &stream{client: c, query: values(q), listener: l, retry: retry{lost: l.Lost}}
	for {
		err := s.run(ctx)
		if handled, ok := errors.AsType[*handlerError](err); ok {
			return handled.err
		}
		if err := s.retry.failed(ctx, err); err != nil {
			return err
		}
	}
}

// handlerError is an error of the listener.
type handlerError struct{ err error }

func (e *handlerError) Error() string { return e.err.Error() }

// stream is the reading of a stream over its connections.
type stream struct {
	client   *Client
	query    url.Values
	listener Listener
	retry    retry
	lastID   string
}

// run reads one connection until it ends. It never gives nil.
func (s *stream) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alive := time.AfterFunc(openLimit, func() { cancel(errors.New("it is silent")) })
	defer alive.Stop()
	header := http.Header{"Accept": {"text/event-stream"}}
	if s.lastID != "" {
		header.Set("Last-Event-ID", s.lastID)
	}
	resp, err := s.client.send(ctx, http.MethodGet, "/listen", s.query, nil, header)
	if err != nil {
		return s.reason(ctx, err)
	}
	defer resp.Body.Close()
	if kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";"); kind != "text/event-stream" {
		return &StrangerError{Server: s.client.options.Server, Status: resp.StatusCode}
	}
	r := bufio.NewReader(resp.Body)
	for {
		alive.Reset(silence)
		message, err := readMessage(r, func() { alive.Reset(silence) })
		if err != nil {
			return s.reason(ctx, err)
		}
		alive.Stop() // the listener takes its time
		if err := s.handle(message); err != nil {
			return err
		}
	}
}

// reason gives the error of a connection that has ended.
func (s *stream) reason(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	} else if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("it closed the connection")
	}
	var refused *Error
	var stranger *StrangerError
	var unreachable *UnreachableError
	if errors.As(err, &refused) || errors.As(err, &stranger) || errors.As(err, &unreachable) {
		return err
	}
	return &UnreachableError{Server: s.client.options.Server, Err: err}
}

// handle hands on a message.
func (s *stream) handle(m *message) error {
	switch m.event {
	case "ready":
		first := !s.retry.once
		s.lastID = m.id
		s.retry.succeeded()
		if first && s.listener.Ready != nil {
			s.listener.Ready(m.id)
		}
	case "callback":
		cb := new(adminapi.Callback)
		if err := json.Unmarshal([]byte(m.data), cb); err != nil {
			return &handlerError{fmt.Errorf("reading a callback: %w", err)}
		}
		if err := s.listener.Callback(cb, m.id); err != nil {
			return &handlerError{err}
		}
		s.lastID = m.id
	}
	return nil
}

// message is one server-sent event.
type message struct{ id, event, data string }

// readMessage reads the next message that is complete, and calls alive for
// each line.
func readMessage(r *bufio.Reader, alive func()) (*message, error) {
	m := new(message)
	var data []string
	for {
		line, err := readLine(r)
		if err != nil {
			return nil, err // a message that is not complete does not count
		}
		alive()
		if line == "" {
			if m.event != "" || data != nil {
				m.data = strings.Join(data, "\n")
				return m, nil
			}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field { // "" is a comment
		case "id":
			m.id = value
		case "event":
			m.event = value
		case "data":
			data = append(data, value)
		}
	}
}

func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return strings.TrimRight(string(line), "\r\n"), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", err
		case len(line) > maxLine:
			return "", fmt.Errorf("a line of the stream is longer than %d bytes", maxLine)
		}
	}
}
