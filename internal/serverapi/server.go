// Package serverapi is what customers' backends call: the server API, which
// acts for their users, and the feed of events.
//
// The server API has the shape of the original product's, so that existing
// backends change only the host: every request names an Action and carries a
// signature in its query, and every answer is HTTP 200 with a Code. The feed is
// Ringback's own; it shares the signature and the form of errors, but says by
// the HTTP status whether it went well.
package serverapi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/clock"
	"github.com/ringback/ringback/internal/engine"
	"github.com/ringback/ringback/internal/feed"
	"github.com/ringback/ringback/internal/store"
)

// Engine is the part of the engine that the server API needs.
type Engine interface {
	Invite(ctx context.Context, app uint32, actor call.Actor, in engine.Invitation, ack func(call.Result)) error
	Do(ctx context.Context, app uint32, id call.ID, cmd call.Command, ack func(call.Result)) error
	Call(ctx context.Context, app uint32, id call.ID) (*call.Call, error)
	History(ctx context.Context, app uint32, user call.UserID, flag int64, count int) ([]*call.Call, int64, error)
	Online(ctx context.Context, app uint32, users []call.UserID) (map[call.UserID]bool, error)
	OnlineHere(app uint32, user call.UserID) bool
}

// Store is the part of a store that the server API needs.
type Store interface {
	UseNonce(ctx context.Context, app uint32, nonce string, expires, now call.Instant) error
	RegisterUsers(ctx context.Context, app uint32, users []store.User, now call.Instant) (existed []call.UserID, err error)
	Users(ctx context.Context, app uint32, ids []call.UserID) ([]store.UserRecord, error)
	EventsAfter(ctx context.Context, app uint32, after store.EventID, limit int) (store.EventPage, error)
	LastEventID(ctx context.Context) (store.EventID, error)
}

// App is what the server API needs to know of an app.
type App struct {
	ID      uint32
	Secrets []string // the active ones, the newest first; several during a rotation
}

// Options configure a Server. All fields but RequestsPerSecond and Observe are
// needed.
type Options struct {
	Engine Engine
	Store  Store
	Feed   *feed.Feed
	// Apps finds an app; it is asked for every request, and must not block.
	Apps   func(id uint32) (App, bool)
	Logger *slog.Logger
	// RequestsPerSecond is the limit for each app and action; 0: none.
	RequestsPerSecond float64
	// Observe, if set, is called for every answer. action is one of the
	// documented ones, Events, or "" for a request that names none; took
	// leaves out what a poll of the feed only waited.
	Observe func(action string, code Code, took time.Duration)
	Clock   *clock.Clock // nil: the machine's
}

// Server answers customers' backends. Its methods may be called concurrently.
type Server struct {
	Options
	limits     limits
	polls      polls
	complained atomic.Int64 // when a failure was last logged, Unix seconds
	ctx        context.Context
	stop       context.CancelFunc
}

// New makes a Server. Close must be called when it is no longer needed.
func New(o Options) *Server {
	s := &Server{Options: o, limits: limits{perSecond: o.RequestsPerSecond}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Close has the polls of the feed that wait answer at once.
func (s *Server) Close() { s.stop() }

const (
	maxBody   = 256 << 10 // bytes of the body of a POST action
	bodyLimit = 30 * time.Second
)

// ServeHTTP carries out one action. Its path is the server's root; see Asked.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	rq, err := s.authenticate(r, true)
	var out answer
	if err == nil {
		out, err = s.perform(w, r, rq)
	}
	if out == nil {
		out = new(Answer)
	}
	s.finish(out.common(), r, rq, err)
	write(w, http.StatusOK, out)
	s.observe(rq.action, out.common().Code, time.Since(began))
}

// perform decodes the parameters of an authenticated request and runs its
// action.
func (s *Server) perform(w http.ResponseWriter, r *http.Request, rq request) (answer, error) {
	do := actions[rq.action]
	if r.Method != do.method {
		return nil, faultf(CodeInput, "%s is a %s request, this was a %s", rq.action, do.method, r.Method)
	}
	if err := s.limits.take(rq.app.ID, rq.action); err != nil {
		return nil, err
	}
	in := do.newIn()
	if do.method == http.MethodGet {
		if err := decodeQuery(rq.params, in); err != nil {
			return nil, err
		}
	} else if err := decodeBody(w, r, in); err != nil {
		return nil, err
	}
	// What was begun is finished, even if nobody waits for the answer.
	return do.run(s, context.WithoutCancel(r.Context()), rq, in)
}

// answer is the answer of an action: a struct that begins with an Answer.
type answer interface{ common() *Answer }

// Answer is what every answer has.
type Answer struct {
	Code      Code   `json:"Code" doc:"0: success; see the table of codes"`
	Message   string `json:"Message" doc:"What is wrong and what to do, for people; success if nothing is"`
	RequestID string `json:"RequestId" doc:"Names this request, for whoever asks about it"`
}

func (a *Answer) common() *Answer { return a }

// finish fills in what every answer has, and logs a failure of the server.
func (s *Server) finish(a *Answer, r *http.Request, rq request, err error) {
	a.RequestID = newRequestID()
	a.Code, a.Message = codeOf(rq.action, err)
	if a.Code != CodeGeneral || r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		return
	}
	// A line for each failure would bury the first when the store fails.
	const pause = 10 // seconds
	level, now := slog.LevelDebug, time.Now().Unix()
	if last := s.complained.Load(); now-last >= pause && s.complained.CompareAndSwap(last, now) {
		level = slog.LevelError
	}
	s.Logger.Log(r.Context(), level, "a request of a backend failed",
		"app_id", rq.app.ID, "action", rq.action, "request_id", a.RequestID, "error", err)
}

func (s *Server) observe(action string, code Code, took time.Duration) {
	if s.Observe != nil {
		s.Observe(action, code, took)
	}
}

// newRequestID makes 18 random decimal digits, of which the first is not 0.
func newRequestID() string {
	const low = 100_000_000_000_000_000
	return strconv.FormatInt(low+rand.Int64N(9*low), 10)
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.Encode(v) // a broken connection is not our business
}

func (s *Server) now() call.Instant { return call.At(s.Clock.Now()) }
