// Package server puts the parts of Ringback together: it opens the store,
// connects engine, devices and callbacks, and serves them over HTTP.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/ringback/ringback/internal/auth"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/engine"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/sqlite"
	"github.com/ringback/ringback/internal/webhook"
	"github.com/ringback/ringback/internal/ws"
	"github.com/ringback/ringback/protocol"
)

const (
	// shutdownLimit is the time that a stopping server gives to what is in
	// flight.
	shutdownLimit = 10 * time.Second
	headerLimit   = 10 * time.Second // for a request's header to arrive
	idleLimit     = 2 * time.Minute  // of a connection between plain HTTP requests
)

// Options are what is not in the configuration.
type Options struct {
	Logger  *slog.Logger
	Version string
	// Root answers what no other path does; nil: 404.
	Root http.Handler
}

// Server is a running Ringback.
type Server struct {
	options   Options
	config    *config.Config
	store     store.Store
	engine    *engine.Engine
	devices   *ws.Server
	deliverer *webhook.Deliverer
	metrics   *metrics
	http      http.Server
}

// Open opens the store of a checked configuration and brings everything in it
// back to life: calls, timers and callbacks that were not yet delivered. Serve
// must be called next, or Close.
func Open(ctx context.Context, cfg *config.Config, o Options) (*Server, error) {
	raiseHeapFloor()
	s := &Server{options: o, config: cfg}
	db, err := sqlite.Open(ctx, sqlite.Options{Dir: cfg.DataDir, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	s.store = db
	if err := s.open(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) error {
	endpoints, err := s.syncApps(ctx)
	if err != nil {
		return fmt.Errorf("recording the apps of the configuration: %w", err)
	}
	s.metrics = newMetrics(s)
	s.deliverer, err = webhook.New(webhook.Options{
		Store: s.store, Endpoints: endpoints, AllowNetworks: s.config.Callbacks.AllowNetworks,
		Logger: s.options.Logger, Version: s.options.Version, Observe: s.metrics.attempt,
	})
	if err != nil {
		return err
	}
	s.devices = ws.New(ws.Options{
		Apps: deviceApps(s.config.Apps), Logger: s.options.Logger,
		HeartbeatInterval: s.config.HeartbeatInterval, HeartbeatTimeout: s.config.HeartbeatTimeout,
		TrustedProxies:    s.config.TrustedProxies,
		RequestsPerSecond: s.config.Limits.RequestsPerSecond, Burst: s.config.Limits.Burst,
		Verify: auth.Verify, Refusal: tokenRefusal, Observe: s.metrics.command,
	})
	s.engine = engine.New(engine.Options{
		Store: s.store, Devices: s.devices, Callbacks: callbacks{s.deliverer},
		Apps: engineApps(s.config.Apps), Logger: s.options.Logger,
		HeartbeatTimeout: s.config.HeartbeatTimeout, AbsenceTimeout: s.config.AbsenceTimeout,
		MaxCallDuration: s.config.MaxCallDuration, SessionTTL: s.config.SessionTTL,
		Retention: s.config.Retention, Observe: s.metrics.transition,
	})
	s.devices.Serve(s.engine)
	s.deliverer.Start()
	if err := s.engine.Start(ctx); err != nil {
		s.deliverer.Close(ctx)
		return err
	}
	s.http = http.Server{
		Handler: s.routes(), ReadHeaderTimeout: headerLimit, IdleTimeout: idleLimit,
		ErrorLog: slog.NewLogLogger(s.options.Logger.Handler(), slog.LevelDebug),
	}
	return nil
}

// syncApps makes the store's apps those of the configuration, and gives their
// endpoints.
func (s *Server) syncApps(ctx context.Context) ([]webhook.Endpoint, error) {
	apps := make([]store.App, len(s.config.Apps))
	for i, app := range s.config.Apps {
		apps[i] = store.App{ID: app.ID, Name: app.Name}
		for _, ep := range app.Callbacks {
			apps[i].Endpoints = append(apps[i].Endpoints, ep.URL)
		}
	}
	ids, err := s.store.SyncApps(ctx, apps, nowInstant())
	if err != nil {
		return nil, err
	}
	var endpoints []webhook.Endpoint
	for i, app := range s.config.Apps {
		for j, ep := range app.Callbacks {
			secret := ep.Secret
			if secret == "" {
				secret = app.Secret
			}
			endpoints = append(endpoints, webhook.Endpoint{
				ID: ids[i][j], App: app.ID, URL: ep.URL, Secrets: []string{secret}, Form: ep.Format == "form",
				Events: ep.Events, Timeout: ep.Timeout, Retry: ep.Retry,
				Strict: ep.Ordering == "strict", Hold: ep.WhenDown == "hold",
			})
		}
	}
	return endpoints, nil
}

func engineApps(apps []config.App) []engine.App {
	var out []engine.App
	for _, app := range apps {
		out = append(out, engine.App{ID: app.ID, LoginPolicy: app.LoginPolicy})
	}
	return out
}

func deviceApps(apps []config.App) []ws.App {
	var out []ws.App
	for _, app := range apps {
		out = append(out, ws.App{ID: app.ID, Secret: app.Secret, InvitedOnly: app.JoinPolicy == "invited"})
	}
	return out
}

// tokenRefusal maps what is wrong with a token to its code.
func tokenRefusal(err error) protocol.Code {
	switch {
	case errors.Is(err, auth.ErrExpired):
		return protocol.CodeTokenExpired
	case errors.Is(err, auth.ErrVersion):
		return protocol.CodeTokenVersion
	case errors.Is(err, auth.ErrTooShort):
		return protocol.CodeTokenTooShort
	}
	return protocol.CodeTokenInvalid
}

// Serve serves on the listener, which it closes, until ctx ends; then it sends
// the devices away (1001), finishes what is in flight and closes the store.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if s.config.TLS.Cert != "" {
		cert, err := tls.LoadX509KeyPair(s.config.TLS.Cert, s.config.TLS.Key)
		if err != nil {
			return errors.Join(err, ln.Close(), s.Close())
		}
		// WebSocket needs HTTP/1.1: no h2 is offered.
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}})
	}
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(ln) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	return errors.Join(err, s.Close())
}

// Close stops the server; see Serve.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownLimit)
	defer cancel()
	var errs []error
	note := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	if c, ok := s.options.Root.(interface{ Close() }); ok {
		c.Close()
	}
	note("closing connections", s.devices.Close(ctx))
	note("stopping HTTP", s.http.Shutdown(ctx))
	s.engine.Close()
	note("finishing callbacks", s.deliverer.Close(ctx))
	note("closing the store", s.store.Close())
	return errors.Join(errs...)
}
