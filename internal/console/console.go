// Package console serves /console/: pages for operators, rendered on the
// server. Whatever they show or change goes through the admin API, so that its
// rules and its audit log hold here too.
package console

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
)

// Path is where the console is.
const Path = "/console"

// actor is who changes something by the console, for the audit log.
const actor = "console"

// maxForm bounds the body of a request, in bytes.
const maxForm = 256 << 10

// contentSecurityPolicy keeps pages to the files of the console.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// Options configure the console. API is needed.
type Options struct {
	// API is what the console shows and changes things by. If it is open, so
	// is the console: nobody signs in.
	API *adminapi.API
	// Phones says that the page of dev is at /.
	Phones bool
	Logger *slog.Logger
}

// Console is the handler of everything below Path. Its methods may be called
// concurrently.
type Console struct {
	Options
	mux      *http.ServeMux
	sessions *sessions
	origin   *http.CrossOriginProtection
	hubs     map[bool]*hub // of the overviews, by whether they are of a day

	ctx  context.Context // of streams
	stop context.CancelFunc
}

// New makes the console. End it with Close.
func New(o Options) *Console {
	c := &Console{Options: o, mux: http.NewServeMux(), sessions: newSessions(), origin: http.NewCrossOriginProtection()}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.hubs = map[bool]*hub{false: newHub(c, false), true: newHub(c, true)}
	c.mux.HandleFunc("GET "+Path+"/static/{file}", serveStatic)
	c.mux.HandleFunc("GET "+Path+"/phones/{version}/{file}", servePhones)
	c.mux.HandleFunc("GET "+Path+"/sign-in", c.signInPage)
	c.mux.HandleFunc("POST "+Path+"/sign-in", c.signIn)
	c.mux.HandleFunc("POST "+Path+"/theme", setTheme)
	for pattern, h := range map[string]handler{
		"GET /{$}":                             (*visit).overview,
		"GET /live":                            (*visit).live,
		"GET /go":                              (*visit).jump,
		"GET /try":                             (*visit).try,
		"GET /try/phone":                       (*visit).phone,
		"POST /try/token":                      (*visit).mintToken,
		"GET /calls":                           (*visit).calls,
		"GET /calls/{call}":                    (*visit).call,
		"POST /calls/{call}/redeliver":         (*visit).redeliverCall,
		"GET /callbacks":                       (*visit).deliveries,
		"GET /callbacks/{delivery}":            (*visit).delivery,
		"POST /callbacks/{delivery}/redeliver": (*visit).redeliver,
		"GET /redeliveries":                    (*visit).redeliveries,
		"POST /redeliveries":                   (*visit).beginRedelivery,
		"GET /redeliveries/{id}":               (*visit).redelivery,
		"POST /redeliveries/{id}/stop":         (*visit).stopRedelivery,
		"GET /endpoints":                       (*visit).endpoints,
		"GET /endpoints/{endpoint}":            (*visit).endpoint,
		"POST /endpoints/{endpoint}":           (*visit).updateEndpoint,
		"POST /endpoints/{endpoint}/pause":     (*visit).pauseEndpoint,
		"POST /endpoints/{endpoint}/resume":    (*visit).resumeEndpoint,
		"POST /endpoints/{endpoint}/test":      (*visit).testEndpoint,
		"POST /endpoints/{endpoint}/delete":    (*visit).deleteEndpoint,
		"GET /users":                           (*visit).users,
		"GET /users/show":                      (*visit).user,
		"POST /users/kick":                     (*visit).kick,
		"GET /apps":                            (*visit).apps,
		"GET /apps/new":                        (*visit).newApp,
		"POST /apps":                           (*visit).createApp,
		"GET /apps/{app}":                      (*visit).app,
		"POST /apps/{app}":                     (*visit).updateApp,
		"POST /apps/{app}/rotate":              (*visit).rotate,
		"GET /apps/{app}/code":                 (*visit).code,
		"GET /apps/{app}/endpoints/new":        (*visit).newEndpoint,
		"POST /apps/{app}/endpoints":           (*visit).createEndpoint,
		"GET /audit":                           (*visit).audit,
		"POST /sign-out":                       (*visit).signOut,
		"/":                                    (*visit).lost,
	} {
		c.mux.Handle(withPath(pattern), c.signedIn(h))
	}
	return c
}

// withPath puts the path of the console into a pattern.
func withPath(pattern string) string {
	for i, b := range []byte(pattern) {
		if b == '/' {
			return pattern[:i] + Path + pattern[i:]
		}
	}
	return pattern
}

// Close ends the streams, and waits for what looks at the server for them.
func (c *Console) Close() {
	c.stop()
	for _, h := range c.hubs {
		h.wait()
	}
}

// ServeHTTP answers for everything below Path.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Referrer-Policy", "same-origin") // with no-referrer, browsers send no Origin that could be checked
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cache-Control", "no-store")
	if err := c.API.Reachable(r); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	if err := c.origin.Check(r); err != nil {
		http.Error(w, "a page of another site may not change anything here", http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	c.mux.ServeHTTP(w, r)
}

// visit is a request of an operator.
type visit struct {
	*Console
	w       http.ResponseWriter
	r       *http.Request
	session *session
	api     *adminclient.Client
}

// handler answers a request, or says why it cannot.
type handler func(*visit) error

// signedIn lets only those in who have signed in. Where nobody needs to, a
// session is made for whoever comes.
func (c *Console) signedIn(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := c.sessions.of(r)
		if s == nil && c.API.Open {
			s = c.sessions.begin(w, r)
		}
		if s == nil {
			c.askToSignIn(w, r)
			return
		}
		v := &visit{Console: c, w: w, r: r, session: s, api: c.client(c.API.Remote(r))}
		err := r.ParseForm() // of what cannot be read no part counts
		if err == nil {
			err = h(v)
		}
		if err != nil {
			v.fail(err)
		}
	})
}

// client makes a client of the admin API for an operator at an address.
func (c *Console) client(remote string) *adminclient.Client {
	client, err := adminclient.New(adminclient.Options{Server: "http://console", Transport: c.API.Transport(actor, remote)})
	if err != nil {
		panic("console: " + err.Error()) // the URL is right
	}
	return client
}
