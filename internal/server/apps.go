package server

import (
	"github.com/ringback/ringback/internal/engine"
	"github.com/ringback/ringback/internal/registry"
	"github.com/ringback/ringback/internal/serverapi"
	"github.com/ringback/ringback/internal/webhook"
	"github.com/ringback/ringback/internal/ws"
)

// deviceApp gives what the client protocol needs to know of an app.
func (s *Server) deviceApp(id uint32) (ws.App, bool) {
	app, ok := s.registry.App(id)
	if !ok {
		return ws.App{}, false
	}
	return ws.App{Secrets: app.Secret.Active(s.clock.Now()), InvitedOnly: app.JoinPolicy == "invited"}, true
}

// engineApp gives what the engine needs to know of an app.
func (s *Server) engineApp(id uint32) (engine.App, bool) {
	app, ok := s.registry.App(id)
	if !ok {
		return engine.App{}, false
	}
	return engine.App{LoginPolicy: app.LoginPolicy}, true
}

// backendApp gives what the server API needs to know of an app.
func (s *Server) backendApp(id uint32) (serverapi.App, bool) {
	app, ok := s.registry.App(id)
	if !ok {
		return serverapi.App{}, false
	}
	return serverapi.App{ID: id, Secrets: app.Secret.Active(s.clock.Now())}, true
}

// appsChanged gives the deliverer the endpoints as they are now.
func (s *Server) appsChanged() {
	if err := s.deliverer.SetEndpoints(s.endpoints()); err != nil {
		s.options.Logger.Error("endpoints could not be changed", "error", err)
	}
}

func (s *Server) endpoints() []webhook.Endpoint {
	var list []webhook.Endpoint
	for _, app := range s.registry.Apps() {
		for i := range app.Endpoints {
			list = append(list, s.signingEndpoint(app, &app.Endpoints[i]))
		}
	}
	return list
}

// signingEndpoint says how an endpoint of an app is delivered to. Without an
// endpoint it says how the app's callbacks are signed for somebody else.
func (s *Server) signingEndpoint(app *registry.App, e *registry.Endpoint) webhook.Endpoint {
	secrets := app.SigningSecrets(e, s.clock.Now())
	if e == nil {
		return webhook.Endpoint{App: app.ID, URL: "http://localhost/", Secrets: secrets}
	}
	return webhook.Endpoint{
		ID: e.ID, App: app.ID, URL: e.URL, Secrets: secrets, Form: e.Format == "form",
		Events: e.Events, Timeout: e.Timeout, Retry: e.Retry,
		Strict: e.Ordering == "strict", Hold: e.WhenDown == "hold", Paused: e.Paused,
	}
}
