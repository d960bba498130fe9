package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ringback/ringback/internal/adminapi"
)

const (
	forwardAtOnce = 16               // requests that are made at the same time
	forwardQueue  = 1000             // callbacks that wait for their turn, those being forwarded among them
	forwardLimit  = 30 * time.Second // for an answer
	forwardDrop   = 64 << 10         // bytes of an answer that are read, so that the connection can be used again
)

// forwarder posts callbacks to a URL: those of one call one after another,
// those of different calls at the same time.
type forwarder struct {
	url  string
	http http.Client
	done func(*forwarded) // may be called concurrently
	full func()           // is called the first time that the queue is full

	room    chan struct{} // holds one for each callback in the queue
	at      chan struct{} // … and for each request that is being made
	running sync.WaitGroup

	mu    sync.Mutex
	lanes map[string][]*forwarded // by call: what waits behind the one that is forwarded
}

// forwarded is a callback on its way, and then what came of it.
type forwarded struct {
	Callback *adminapi.Callback
	Status   int // of the answer; 0: there was none
	Err      error
	Took     time.Duration
}

// newForwarder makes a forwarder, or says what is wrong with the URL.
func newForwarder(target string, done func(*forwarded), full func()) (*forwarder, error) {
	if !strings.Contains(target, "://") { // localhost:3000/callbacks
		target = "http://" + target
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Fragment != "" {
		return nil, errors.New("it must be a URL such as http://localhost:3000/callbacks")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() // no proxy for loopback
	transport.MaxIdleConnsPerHost = forwardAtOnce
	transport.DisableCompression = true // it would add a header
	return &forwarder{
		url: u.String(), done: done, full: sync.OnceFunc(full),
		http: http.Client{
			Transport: transport, Timeout: forwardLimit,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		room: make(chan struct{}, forwardQueue), at: make(chan struct{}, forwardAtOnce),
		lanes: make(map[string][]*forwarded),
	}, nil
}

// add takes a callback. While the queue is full it waits, so that nothing is
// lost: what the server has meanwhile stays there.
func (f *forwarder) add(ctx context.Context, cb *adminapi.Callback) error {
	if len(f.room) == cap(f.room) {
		f.full()
	}
	select {
	case f.room <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	lane := cb.CallID
	if lane == "" {
		lane = cb.EventID
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	waiting, busy := f.lanes[lane]
	job := &forwarded{Callback: cb}
	if busy {
		f.lanes[lane] = append(waiting, job)
		return nil
	}
	f.lanes[lane] = nil
	f.running.Go(func() { f.drain(ctx, lane, job) })
	return nil
}

// drain forwards the callbacks of a lane until none is left.
func (f *forwarder) drain(ctx context.Context, lane string, job *forwarded) {
	for job != nil {
		f.at <- struct{}{}
		if ctx.Err() == nil {
			f.post(ctx, job)
			if ctx.Err() == nil {
				f.done(job)
			}
		}
		<-f.at
		<-f.room
		job = f.next(lane)
	}
}

// next gives what is to be forwarded next in a lane; nil: it is empty, and
// gone.
func (f *forwarder) next(lane string) *forwarded {
	f.mu.Lock()
	defer f.mu.Unlock()
	waiting := f.lanes[lane]
	if len(waiting) == 0 {
		delete(f.lanes, lane)
		return nil
	}
	f.lanes[lane] = waiting[1:]
	return waiting[0]
}

// post makes the request of a callback, and notes what came of it.
func (f *forwarder) post(ctx context.Context, job *forwarded) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, strings.NewReader(job.Callback.Body))
	if err != nil {
		job.Err = err
		return
	}
	for _, h := range job.Callback.Headers {
		switch textproto.CanonicalMIMEHeaderKey(h.Name) {
		case "Host", "Content-Length": // of the request that is made here
		default:
			req.Header[h.Name] = append(req.Header[h.Name], h.Value)
		}
	}
	started := time.Now()
	resp, err := f.http.Do(req)
	job.Took = time.Since(started)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
			if wrapped.Timeout() {
				err = fmt.Errorf("no answer in %v", forwardLimit)
			}
		}
		job.Err = err
		return
	}
	job.Status = resp.StatusCode
	io.CopyN(io.Discard, resp.Body, forwardDrop) // the answer is what counts
	resp.Body.Close()
}

// wait waits until nothing is on its way.
func (f *forwarder) wait() { f.running.Wait() }

// ok reports whether an endpoint that answers like this has taken the
// callback.
func (f *forwarded) ok() bool { return f.Err == nil && f.Status/100 == 2 }
