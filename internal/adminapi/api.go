// Package adminapi serves /admin/v1: apps and endpoints, deliveries and
// calls, users and the audit log, for operators and their tools.
package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/clock"
	"github.com/ringback/ringback/internal/feed"
	"github.com/ringback/ringback/internal/peer"
	"github.com/ringback/ringback/internal/registry"
	"github.com/ringback/ringback/internal/stats"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/webhook"
)

// Path is where the API is.
const Path = "/admin/v1"

// Engine is what the API needs of the engine.
type Engine interface {
	// Connected lists the sessions of a user that have a connection, on any
	// node.
	Connected(ctx context.Context, app uint32, user call.UserID) ([]call.SessionID, error)
	// Online gives those of some users who have such a session.
	Online(ctx context.Context, app uint32, users []call.UserID) (map[call.UserID]bool, error)
	Kick(ctx context.Context, app uint32, user call.UserID, id call.SessionID, reason string) (bool, error)
}

// Deliverer is what the API needs of the deliverer.
type Deliverer interface {
	Stats(ctx context.Context) []webhook.EndpointStats
	Redeliver(list []*store.Delivery)
	Hasten(key store.DeliveryKey) bool
}

// Redeliverer runs jobs.
type Redeliverer interface {
	Begin(ctx context.Context, q store.DeliveryQuery, perSecond int, audit *store.Audit) (*store.Redelivery, error)
	Stop(ctx context.Context, id int64, audit *store.Audit) (*store.Redelivery, error)
}

// Options configure the API. All but Clock, Open, Token and TrustedProxies are needed.
type Options struct {
	Store       store.Store
	Registry    *registry.Registry
	Engine      Engine
	Deliverer   Deliverer
	Redeliverer Redeliverer
	Feed        *feed.Feed
	Stats       *stats.Recorder
	// Nodes lists the nodes that share the store.
	Nodes func() Nodes
	// HandOff passes on events that have become durable.
	HandOff func(events []*store.Event)
	// FlushTraces writes what is known of calls and not yet stored.
	FlushTraces func(ctx context.Context)
	// SigningEndpoint gives the settings with which an app's callbacks are
	// signed for somebody who listens.
	SigningEndpoint func(app *registry.App, e *registry.Endpoint) webhook.Endpoint
	Logger          *slog.Logger
	Version         string
	Clock           *clock.Clock // nil: the machine's

	// Token is what requests must carry as a bearer token. It is not empty
	// unless Open is set.
	Token string
	// Open lets every request in that was made on this machine for this
	// machine: it must come with a loopback host, and from no other site.
	Open           bool
	TrustedProxies []netip.Prefix
}

// API is the admin API.
type API struct {
	Options
	mux  *http.ServeMux
	huma huma.API
	gate *gate

	ctx  context.Context // of streams
	stop context.CancelFunc
}

// New makes the API.
func New(o Options) *API {
	a := &API{Options: o, mux: http.NewServeMux(), gate: newGate(o)}
	a.ctx, a.stop = context.WithCancel(context.Background())
	config := huma.DefaultConfig("Ringback admin API", o.Version)
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = Path+"/openapi", "", ""
	config.CreateHooks = nil // no $schema in bodies
	config.Transformers = append(config.Transformers, spellOut)
	config.Info.Description = "For operators and their tools. Every request carries the admin_token of the configuration as a bearer token."
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"bearer": {Type: "http", Scheme: "bearer"}}
	config.Security = []map[string][]string{{"bearer": {}}}
	a.huma = humago.New(a.mux, config)
	a.registerOverview()
	a.registerNodes()
	a.registerApps()
	a.registerEndpoints()
	a.registerDeliveries()
	a.registerRedeliveries()
	a.registerCalls()
	a.registerUsers()
	a.registerTokens()
	a.registerEvents()
	a.registerAudit()
	a.describeGate()
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, http.StatusNotFound, "there is no "+r.Method+" "+r.URL.Path+"; "+Path+"/openapi.json lists what there is")
	})
	return a
}

// describeGate adds the answers of the gate to every operation.
func (a *API) describeGate() {
	doc := a.huma.OpenAPI()
	schema := doc.Components.Schemas.Schema(reflect.TypeFor[huma.ErrorModel](), true, "ErrorModel")
	statuses := []int{http.StatusUnauthorized, http.StatusTooManyRequests}
	if a.Open {
		statuses = []int{http.StatusForbidden}
	}
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Patch, item.Delete} {
			for _, status := range statuses {
				if op != nil {
					op.Responses[strconv.Itoa(status)] = &huma.Response{
						Description: http.StatusText(status), Content: map[string]*huma.MediaType{"application/problem+json": {Schema: schema}},
					}
				}
			}
		}
	}
}

// ServeHTTP lets a request in, or refuses it.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if refusal := a.gate.check(r); refusal != nil {
		refusal.write(w)
		return
	}
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind {
	case "", "application/x-www-form-urlencoded": // what curl sends unless it is told otherwise
		r.Header.Set("Content-Type", "application/json")
	}
	r = r.WithContext(context.WithValue(r.Context(), byKey{}, registry.By{
		Actor: "admin", Remote: peer.Address(r, a.TrustedProxies), Clock: a.Clock,
	}))
	a.mux.ServeHTTP(w, r)
}

// spellOut puts what is wrong with an input into the sentence that people read
// first.
func spellOut(_ huma.Context, _ string, v any) (any, error) {
	problem, ok := v.(*huma.ErrorModel)
	if !ok || problem.Detail != "validation failed" || len(problem.Errors) == 0 {
		return v, nil
	}
	sentences := make([]string, len(problem.Errors))
	for i, e := range problem.Errors {
		sentences[i] = strings.TrimPrefix(e.Location+": ", ": ") + e.Message
		if problem.Status == http.StatusBadRequest && e.Location == "body" {
			sentences[i] = "the body is not JSON: " + e.Message
		}
	}
	problem.Detail = strings.Join(sentences, "; ")
	return problem, nil
}

// Close ends the streams.
func (a *API) Close() { a.stop() }

type byKey struct{}

// by is who makes a request.
func by(ctx context.Context) registry.By {
	who, _ := ctx.Value(byKey{}).(registry.By)
	return who
}

// OpenAPI gives the description of the API as JSON.
func (a *API) OpenAPI() ([]byte, error) { return json.Marshal(a.huma.OpenAPI()) }

// writeProblem writes an error as the other errors of the API are, as RFC 9457
// says.
func writeProblem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: detail}) // a broken connection is not our business
}

// fail maps an error to its status. What is none of the caller's business is
// logged here, and nowhere before.
func (a *API) fail(err error, what string) error {
	var status huma.StatusError
	var invalid *registry.InvalidError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &status):
		return err
	case errors.As(err, &invalid):
		details := make([]error, len(invalid.Problems))
		for i, p := range invalid.Problems {
			details[i] = &huma.ErrorDetail{Message: p.Message, Location: "body." + p.Key}
		}
		return huma.Error422UnprocessableEntity("settings are not valid: "+invalid.Problems[0].Key+" "+invalid.Problems[0].Message, details...)
	case errors.Is(err, registry.ErrNotFound), errors.Is(err, store.ErrNotFound):
		return huma.Error404NotFound("there is no such " + what)
	case errors.Is(err, registry.ErrReadOnly):
		return huma.Error409Conflict("the app belongs to the configuration file and is read-only here: change the file and restart the server")
	case errors.Is(err, registry.ErrTaken):
		return huma.Error409Conflict("there is such " + article(what) + " already")
	case errors.Is(err, store.ErrConflict):
		return huma.Error409Conflict("somebody else has changed it meanwhile: read it again")
	case errors.Is(err, context.Canceled):
		return huma.NewError(499, "the request was given up")
	case errors.Is(err, store.ErrFull):
		return huma.NewError(http.StatusInsufficientStorage, "the server's disk is full: make room there")
	}
	a.Logger.Error("an admin request failed", "what", what, "error", err)
	return huma.Error500InternalServerError("the server could not do it; its log says why")
}

func article(what string) string {
	switch what[0] {
	case 'a', 'e', 'i', 'o', 'u':
		return "an " + what
	}
	return "a " + what
}

// output wraps a body as huma wants it.
type output[T any] struct{ Body T }

// PageInput are the parameters of every list. Like the other parts of inputs
// it is exported because huma reads no others.
type PageInput struct {
	Cursor string `query:"cursor" doc:"The next of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
}
