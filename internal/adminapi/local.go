package adminapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/ringback/ringback/internal/peer"
	"github.com/ringback/ringback/internal/registry"
)

// RefusedError is why a sign-in is refused.
type RefusedError struct {
	Status int    // of HTTP: 401, 403 or 429
	Detail string // a sentence
}

// Error gives the sentence.
func (e *RefusedError) Error() string { return e.Detail }

// Admit reports whether who made a request may sign in with a token: nil, or a
// *RefusedError. Wrong tokens count as those of requests do.
func (a *API) Admit(r *http.Request, token string) error {
	if a.Open {
		return a.Reachable(r)
	}
	if refusal := a.gate.admit(r, token); refusal != nil {
		return &RefusedError{refusal.status, refusal.detail}
	}
	return nil
}

// Reachable reports whether a request may reach anything at all that is for
// operators: nil, or a *RefusedError. Where there is no token, only this
// machine may.
func (a *API) Reachable(r *http.Request) error {
	if !a.Open {
		return nil
	}
	if refusal := checkLocal(r); refusal != nil {
		return &RefusedError{refusal.status, refusal.detail}
	}
	return nil
}

// Transport carries requests of this process, which need no token, as those of
// an actor at a remote address. An answer is read whole before it is given.
func (a *API) Transport(actor, remote string) http.RoundTripper {
	return &transport{a, registry.By{Actor: actor, Remote: remote}}
}

// Remote is the address from which a request came.
func (a *API) Remote(r *http.Request) string { return peer.Address(r, a.TrustedProxies) }

type transport struct {
	api *API
	by  registry.By
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	defer r.Body.Close()
	in := r.Clone(context.WithValue(r.Context(), byKey{}, t.by))
	in.RequestURI = r.URL.RequestURI()
	answer := &answer{header: make(http.Header)}
	t.api.mux.ServeHTTP(answer, in)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if answer.status == 0 {
		return nil, errors.New("the admin API gave no answer")
	}
	return &http.Response{
		Status: http.StatusText(answer.status), StatusCode: answer.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: answer.header, Body: io.NopCloser(&answer.body), ContentLength: int64(answer.body.Len()), Request: r,
	}, nil
}

// answer is an http.ResponseWriter that keeps what is written.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}
