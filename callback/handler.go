package callback

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/ringback/ringback/protocol"
)

// Defaults of Options.
const (
	DefaultMaxBody       = 64 << 10
	DefaultDuplicateWait = 3 * time.Second
	DefaultOrderWait     = time.Second
	DefaultOrderPatience = 25 * time.Second
)

// storeTimeout bounds the noting of a result, which goes on when the request
// has ended.
const storeTimeout = 10 * time.Second

// Options say what a Handler accepts and what it does with it. Only Secrets
// is required.
//
// A handler of an event that returns nil has handled it: the callback is
// answered with 204 and never sent again. Any error is answered with 500, and
// the server sends the callback again later; the text of the error stays
// here. An event without a handler goes to OnOther, and without that is
// answered with 204. Handlers are called concurrently, and should be quick:
// the server waits for an answer as long as the endpoint's timeout says, 5 s
// by default. Then it breaks off, their context ends, and it sends the
// callback again. What must go on regardless uses context.WithoutCancel.
type Options struct {
	// Secrets, Require and Tolerance are those of a Verifier.
	Secrets   []string
	Require   Require
	Tolerance time.Duration

	OnCallCreate  func(context.Context, Meta, *protocol.CallCreate) error
	OnCallCancel  func(context.Context, Meta, *protocol.CallCancel) error
	OnCallAccept  func(context.Context, Meta, *protocol.CallAnswer) error
	OnCallReject  func(context.Context, Meta, *protocol.CallAnswer) error
	OnCallTimeout func(context.Context, Meta, *protocol.CallTimeout) error
	OnCallInvite  func(context.Context, Meta, *protocol.CallInvite) error
	// The endpoint gets these only if its configuration names them.
	OnUserAction   func(context.Context, Meta, *protocol.UserAction) error
	OnCallReceived func(context.Context, Meta, *protocol.CallAnswer) error
	OnCallJoin     func(context.Context, Meta, *protocol.CallAnswer) error
	OnCallQuit     func(context.Context, Meta, *protocol.CallAnswer) error
	OnCallEnd      func(context.Context, Meta, *protocol.CallEnd) error
	// OnOther gets every event that has no handler of its own, also those that
	// this package does not know.
	OnOther func(context.Context, *Event) error

	// OnError is told of every request that is not answered with 204, and of
	// results that a store did not take: an *Error for what was refused, else
	// what a handler or the store gave. It is the place to log: the errors of
	// this package hold no secret, signature or payload.
	OnError func(*http.Request, error)

	// Store remembers which callbacks were handled. Nil: a MemoryStore with
	// its defaults.
	Store Store
	// DuplicateWait is for how long a callback waits for the same one that is
	// being handled in this process, which happens when a handler takes longer
	// than the server waits. If that is done in time, it is answered with 204,
	// else with 409. Default DefaultDuplicateWait.
	DuplicateWait time.Duration

	// Ordered calls the handlers of one call one at a time and in the order of
	// Ringback-Sequence. See the package comment for what that can do and what
	// it costs.
	Ordered bool
	// OrderWait is for how long a callback that came before its turn waits for
	// it before it is answered with 425; default DefaultOrderWait, negative:
	// not at all. Keep it well below the timeout of the endpoint.
	OrderWait time.Duration
	// OrderPatience is for how long a callback is put off in all. After that
	// those before it count as given up. Default DefaultOrderPatience, so that
	// under the default schedule two attempts are left.
	OrderPatience time.Duration

	// MaxBody bounds the body of a request, in bytes; default DefaultMaxBody.
	MaxBody int64
}

// Handler receives callbacks; it is an http.Handler. Use one for each
// endpoint of the server, at a path of its own.
type Handler struct {
	verifier Verifier
	on       map[string]func(context.Context, *Event) error
	other    func(context.Context, *Event) error
	failed   func(*http.Request, error)
	store    Store
	wait     time.Duration
	order    *sequencer // nil: in the order of arrival
	maxBody  int64

	mu      sync.Mutex
	running map[string]chan struct{} // by webhook-id; closed at the end
}

// NewHandler checks the options and gives a Handler. Its error is ErrSecrets,
// or says which option is out of range.
func NewHandler(o Options) (*Handler, error) {
	h := &Handler{
		verifier: Verifier{Secrets: o.Secrets, Require: o.Require, Tolerance: o.Tolerance},
		on:       handlers(o),
		other:    o.OnOther,
		failed:   o.OnError,
		store:    o.Store,
		wait:     duration(o.DuplicateWait, DefaultDuplicateWait),
		maxBody:  o.MaxBody,
		running:  make(map[string]chan struct{}),
	}
	if _, err := h.verifier.keys(); err != nil {
		return nil, err
	}
	if o.Require < RequireWebhook || o.Require > RequireEither {
		return nil, fmt.Errorf("callback: Options.Require is %d, which is none of the Require constants", o.Require)
	}
	if o.Tolerance < 0 || o.MaxBody < 0 {
		return nil, errors.New("callback: Options.Tolerance and Options.MaxBody must not be negative; 0 is the default")
	}
	if h.maxBody == 0 {
		h.maxBody = DefaultMaxBody
	}
	if h.store == nil {
		h.store = &MemoryStore{}
	}
	if h.failed == nil {
		h.failed = func(*http.Request, error) {}
	}
	if o.Ordered {
		h.order = newSequencer(duration(o.OrderWait, DefaultOrderWait), duration(o.OrderPatience, DefaultOrderPatience))
	}
	return h, nil
}

// duration is d, or the default when it was left out; never negative.
func duration(d, standard time.Duration) time.Duration {
	if d == 0 {
		return standard
	}
	return max(d, 0)
}

// handlers are those of the options, by event.
func handlers(o Options) map[string]func(context.Context, *Event) error {
	all := map[string]func(context.Context, *Event) error{
		protocol.CallbackCreate:     typed(o.OnCallCreate),
		protocol.CallbackCancel:     typed(o.OnCallCancel),
		protocol.CallbackAccept:     typed(o.OnCallAccept),
		protocol.CallbackReject:     typed(o.OnCallReject),
		protocol.CallbackTimeout:    typed(o.OnCallTimeout),
		protocol.CallbackInvite:     typed(o.OnCallInvite),
		protocol.CallbackUserAction: typed(o.OnUserAction),
		protocol.CallbackReceived:   typed(o.OnCallReceived),
		protocol.CallbackJoin:       typed(o.OnCallJoin),
		protocol.CallbackQuit:       typed(o.OnCallQuit),
		protocol.CallbackEnd:        typed(o.OnCallEnd),
	}
	return all
}

func typed[F any](f func(context.Context, Meta, *F) error) func(context.Context, *Event) error {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, e *Event) error { return f(ctx, e.Meta, e.Fields.(*F)) }
}

// ServeHTTP answers with 204 when the callback was handled, now or before.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e, err := h.read(w, r)
	if err == nil {
		err = h.once(r, e)
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	h.failed(r, err)
	// Not errors.As: what a handler gave is its own, whatever it wraps.
	refused, ok := err.(*Error)
	switch {
	case !ok:
		http.Error(w, "the receiver could not handle the callback: its log says why; send it again", http.StatusInternalServerError)
	case refused.Kind == ErrMethod:
		w.Header().Set("Allow", http.MethodPost)
		fallthrough
	default:
		http.Error(w, refused.Text, refused.Status)
	}
}

// read gives the callback of a request, verified.
func (h *Handler) read(w http.ResponseWriter, r *http.Request) (*Event, error) {
	if r.Method != http.MethodPost {
		return nil, problem(ErrMethod, "callbacks come by POST")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, problem(ErrTooLarge, "the body is larger than %d bytes", h.maxBody)
	case err != nil:
		return nil, problem(ErrMalformed, "the body broke off")
	}
	return h.verifier.Verify(r.Header, body)
}

// once handles a callback unless that was done before. One without an ID is
// always handled.
func (h *Handler) once(r *http.Request, e *Event) error {
	if e.ID == "" {
		return h.inOrder(r.Context(), e)
	}
	leave, err := h.alone(r.Context(), e.ID)
	if err != nil {
		return err
	}
	defer leave()
	state, err := h.store.Claim(r.Context(), e.ID)
	switch {
	case err != nil:
		return fmt.Errorf("callback: claiming %s: %w", e.ID, err)
	case state == Done:
		if h.ordered(e) {
			h.order.learn(e.AppID+"/"+e.CallID(), e.Sequence)
		}
		return nil
	case state == Busy:
		return problem(ErrBusy, "this callback is being handled: send it again later")
	case state != Claimed:
		return fmt.Errorf("callback: claiming %s: the store gave the unknown state %d", e.ID, state)
	}
	// A result is noted even when the server has broken off.
	ctx := context.WithoutCancel(r.Context())
	done := false
	defer func() { // also in a panic, which goes on to net/http
		if done {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		if err := h.store.Release(ctx, e.ID); err != nil {
			h.failed(r, fmt.Errorf("callback: releasing %s: %w", e.ID, err))
		}
	}()
	if err := h.inOrder(r.Context(), e); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := h.store.Finish(ctx, e.ID); err != nil {
		return fmt.Errorf("callback: finishing %s: %w", e.ID, err)
	}
	done = true
	return nil
}

// alone waits until no other request of this process is at the same callback,
// and keeps others off until leave is called.
func (h *Handler) alone(ctx context.Context, id string) (leave func(), err error) {
	timer := time.NewTimer(h.wait)
	defer timer.Stop()
	for {
		h.mu.Lock()
		other, busy := h.running[id]
		if !busy {
			over := make(chan struct{})
			h.running[id] = over
			h.mu.Unlock()
			return func() {
				h.mu.Lock()
				delete(h.running, id)
				h.mu.Unlock()
				close(over)
			}, nil
		}
		h.mu.Unlock()
		select {
		case <-other:
		case <-timer.C:
			return nil, problem(ErrBusy, "this callback is being handled: send it again later")
		case <-ctx.Done():
			return nil, problem(ErrBusy, "this callback is being handled: send it again later")
		}
	}
}

// ordered says whether the order of calls concerns the callback.
func (h *Handler) ordered(e *Event) bool {
	return h.order != nil && e.Sequence > 0 && e.CallID() != "" && !e.Test
}

// inOrder handles a callback when it is its turn.
func (h *Handler) inOrder(ctx context.Context, e *Event) (err error) {
	if !h.ordered(e) {
		return h.handle(ctx, e)
	}
	call := e.AppID + "/" + e.CallID()
	if e.Late, err = h.order.enter(ctx, call, e.Sequence); err != nil {
		return err
	}
	done := false
	defer func() { h.order.leave(call, e.Sequence, done) }()
	err = h.handle(ctx, e)
	done = err == nil
	return err
}

// handle calls the handler of the event.
func (h *Handler) handle(ctx context.Context, e *Event) error {
	f := h.on[e.Event]
	if f == nil {
		f = h.other
	}
	if f == nil {
		return nil
	}
	if err := f(ctx, e); err != nil {
		return fmt.Errorf("callback: handling %s: %w", e.Event, err)
	}
	return nil
}
