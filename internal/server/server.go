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
	"sync"
	"time"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/auth"
	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/clock"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/console"
	"github.com/ringback/ringback/internal/engine"
	"github.com/ringback/ringback/internal/feed"
	"github.com/ringback/ringback/internal/registry"
	"github.com/ringback/ringback/internal/serverapi"
	"github.com/ringback/ringback/internal/stats"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/sqlite"
	"github.com/ringback/ringback/internal/trace"
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
	// OpenAdmin serves the admin API without a token, to this machine only;
	// the listener must be on loopback.
	OpenAdmin bool
	// ClockOffset is by how much the machine's clock is taken to be ahead, in
	// tests.
	ClockOffset time.Duration
}

// Server is a running Ringback.
type Server struct {
	options     Options
	config      *config.Config
	store       store.Store
	clock       *clock.Clock  // of the store
	began       call.Instant  // when it was opened
	node        *node         // nil: there are no others
	fenced      chan struct{} // closed when others have taken over
	fencing     sync.Once
	registry    *registry.Registry
	engine      *engine.Engine
	devices     *ws.Server
	traces      *trace.Recorder
	deliverer   *webhook.Deliverer
	redeliverer *webhook.Redeliverer
	feed        feed.Feed
	backends    *serverapi.Server
	admin       *adminapi.API    // nil: it is off
	console     *console.Console // with it
	stats       *stats.Recorder
	metrics     *metrics
	http        http.Server
}

// Open opens the store of a checked configuration and brings everything in it
// back to life: calls, timers and callbacks that were not yet delivered. Serve
// must be called next, or Close.
func Open(ctx context.Context, cfg *config.Config, o Options) (*Server, error) {
	raiseHeapFloor()
	s := &Server{options: o, config: cfg, clock: clock.Wrong(o.ClockOffset), fenced: make(chan struct{})}
	s.began = call.At(s.clock.Now())
	if cfg.Store != "" {
		if err := s.joinCluster(ctx); err != nil {
			return nil, err
		}
	} else {
		db, err := sqlite.Open(ctx, sqlite.Options{Dir: cfg.DataDir, Logger: o.Logger})
		if err != nil {
			return nil, err
		}
		s.store = db
	}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.leave(ctx), s.store.Close())
	}
	return s, nil
}

// leave leaves the cluster, if there is one.
func (s *Server) leave(ctx context.Context) error {
	if s.node == nil {
		return nil
	}
	return s.node.Leave(ctx)
}

// ErrFenced is the error of Serve when other nodes have taken over the work of
// this one, because it could not renew its lease in time. The server is closed
// then, and can be opened again.
var ErrFenced = errors.New("other nodes have taken over the work of this one")

// fence ends Serve.
func (s *Server) fence() { s.fencing.Do(func() { close(s.fenced) }) }

func (s *Server) open(ctx context.Context) (err error) {
	s.metrics = newMetrics(s)
	s.stats = stats.New(s.gauges, s.clock)
	s.registry, err = registry.Open(ctx, registry.Options{
		Store: s.store, File: s.config.Apps, Clock: s.clock, Changed: s.tellOfApps, Logger: s.options.Logger,
	})
	if err != nil {
		return err
	}
	s.deliverer, err = webhook.New(webhook.Options{
		Store: s.store, Endpoints: s.endpoints(), AllowNetworks: s.config.Callbacks.AllowNetworks,
		Logger: s.options.Logger, Version: s.options.Version, Observe: s.attempted,
		Partitions: s.partitions(), Elsewhere: s.elsewhere, Clock: s.clock,
	})
	if err != nil {
		return err
	}
	s.redeliverer = webhook.NewRedeliverer(s.store, s.deliverer, s.options.Logger, s.first())
	s.traces = trace.NewRecorder(s.store, s.options.Logger)
	s.devices = ws.New(ws.Options{
		App: s.deviceApp, Logger: s.options.Logger,
		HeartbeatInterval: s.config.HeartbeatInterval, HeartbeatTimeout: s.config.HeartbeatTimeout,
		TrustedProxies:    s.config.TrustedProxies,
		RequestsPerSecond: s.config.Limits.RequestsPerSecond, Burst: s.config.Limits.Burst,
		Verify: auth.Verify, Refusal: tokenRefusal, Observe: s.metrics.command, Trace: s.traces.Add, Clock: s.clock,
	})
	s.engine = engine.New(engine.Options{
		Store: s.store, Devices: s.devices, Callbacks: callbacks{s.deliverer, &s.feed},
		App: s.engineApp, Logger: s.options.Logger,
		HeartbeatTimeout: s.config.HeartbeatTimeout, AbsenceTimeout: s.config.AbsenceTimeout,
		MaxCallDuration: s.config.MaxCallDuration, SessionTTL: s.config.SessionTTL,
		Retention: s.config.Retention, Observe: s.moved, Clock: s.clock, Peers: s.peers(),
	})
	s.devices.Serve(s.engine)
	s.backends = serverapi.New(serverapi.Options{
		Engine: s.engine, Store: s.store, Feed: &s.feed, Apps: s.backendApp, Logger: s.options.Logger,
		RequestsPerSecond: float64(s.config.Limits.ServerAPI), Observe: s.metrics.action, Clock: s.clock,
	})
	if s.config.AdminToken != "" || s.options.OpenAdmin {
		s.admin = adminapi.New(adminapi.Options{
			Store: s.store, Registry: s.registry, Engine: s.engine, Deliverer: s.deliverer, Redeliverer: s.redeliverer, Feed: &s.feed, Stats: s.stats, Nodes: s.nodes,
			HandOff: s.engine.HandOff, FlushTraces: s.traces.Flush, SigningEndpoint: s.signingEndpoint,
			Logger: s.options.Logger, Version: s.options.Version, Clock: s.clock,
			Token: s.config.AdminToken, Open: s.options.OpenAdmin, TrustedProxies: s.config.TrustedProxies,
		})
		s.console = console.New(console.Options{API: s.admin, Phones: s.options.OpenAdmin, Logger: s.options.Logger})
	}
	s.registry.Watch(s.appsChanged)
	s.deliverer.Start()
	s.redeliverer.Start()
	if err := s.engine.Start(ctx); err != nil {
		s.registry.Close()
		s.redeliverer.Close()
		s.deliverer.Close(ctx)
		return err
	}
	if s.node != nil {
		s.startCluster()
	}
	s.stats.Start()
	s.http = http.Server{
		Handler: s.routes(), ReadHeaderTimeout: headerLimit, IdleTimeout: idleLimit,
		ErrorLog: slog.NewLogLogger(s.options.Logger.Handler(), slog.LevelDebug),
	}
	return nil
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
// the devices away (1001), finishes what is in flight and closes the store. It
// does so, too, when the server was fenced, and gives ErrFenced.
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
	case <-s.fenced:
		err = ErrFenced
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
	s.registry.Close()
	s.backends.Close()
	if s.admin != nil {
		s.console.Close()
		s.admin.Close()
	}
	note("closing connections", s.devices.Close(ctx))
	note("stopping HTTP", s.http.Shutdown(ctx))
	s.stats.Close()
	s.engine.Close()
	s.traces.Close()
	s.redeliverer.Close()
	note("finishing callbacks", s.deliverer.Close(ctx))
	note("leaving the cluster", s.leave(ctx))
	note("closing the store", s.store.Close())
	return errors.Join(errs...)
}
