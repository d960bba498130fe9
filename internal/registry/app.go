// Package registry knows the apps of a server: those of the configuration
// file, which only the file can change, and those that were made at run time,
// which it keeps in the store.
//
// Everything else asks it for an app whenever it needs one, so that a change,
// such as a new secret, takes effect at once.
package registry

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/store"
)

// App is an app as it is at a moment. It is never changed; callers share it.
type App struct {
	ID          uint32
	Name        string
	File        bool // it belongs to the configuration file
	LoginPolicy string
	JoinPolicy  string

	Secret         Secret // makes login tokens and signs the server API
	CallbackSecret Secret // signs callbacks

	CreatedAt call.Instant // 0: it belongs to the file
	Endpoints []Endpoint   // by ID

	version int64
}

// Endpoint is where callbacks of an app go.
type Endpoint struct {
	ID     store.EndpointID
	Paused bool
	// Endpoint has the settings. Its Secret is that of the file, if it gives
	// the endpoint one of its own.
	config.Endpoint
}

// Endpoint gives the endpoint of that ID, or nil. The result must not be
// changed.
func (a *App) Endpoint(id store.EndpointID) *Endpoint {
	i := slices.IndexFunc(a.Endpoints, func(e Endpoint) bool { return e.ID == id })
	if i < 0 {
		return nil
	}
	return &a.Endpoints[i]
}

// SigningSecrets are those that sign what an endpoint gets; the first is that
// of the signature in the body, which can hold only one. While a secret is
// being replaced that is the old one: whoever checks only that signature may
// change over at any time before the end of the overlap.
func (a *App) SigningSecrets(e *Endpoint, now time.Time) []string {
	if e != nil && e.Secret != "" {
		return []string{e.Secret}
	}
	active := a.CallbackSecret.Active(now)
	slices.Reverse(active)
	return active
}

// Secret is a secret, and the one before it for as long as that counts too.
type Secret struct {
	Current  string
	Previous string
	Until    call.Instant // Previous counts before it
}

// Active lists the secrets that count, the newest first.
func (s Secret) Active(now time.Time) []string {
	if s.Previous != "" && call.At(now) < s.Until {
		return []string{s.Current, s.Previous}
	}
	return []string{s.Current}
}

// newSecret makes a secret of config.SecretLen characters.
func newSecret() string {
	var b [config.SecretLen / 2]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Which names one of the two secrets of an app.
type Which string

// Secrets of an app.
const (
	AppSecret      Which = "app"
	CallbackSecret Which = "callback"
)

// clone gives a copy that can be changed.
func (a *App) clone() *App {
	next := *a
	next.Endpoints = slices.Clone(a.Endpoints)
	return &next
}
