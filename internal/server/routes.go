package server

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/console"
	"github.com/ringback/ringback/internal/serverapi"
	"github.com/ringback/ringback/protocol"
)

// readyLimit is the time that a readiness check may take.
const readyLimit = 3 * time.Second

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(protocol.Path, s.devices)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "up", "version": s.options.Version})
	})
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	if s.admin != nil {
		mux.Handle(adminapi.Path+"/", s.admin)
		mux.Handle(console.Path+"/", s.console)
	}
	mux.Handle("GET "+serverapi.EventsPath, s.backends.Events())
	mux.Handle("GET "+serverapi.OpenAPIPath, serverapi.OpenAPI())
	mux.HandleFunc("/", s.root)
	return mux
}

// root is the server API for requests that have any parameter of it, else what
// the options put there.
func (s *Server) root(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/" && serverapi.Asked(r.URL.RawQuery):
		s.backends.ServeHTTP(w, r)
	case s.options.Root != nil:
		s.options.Root.ServeHTTP(w, r)
	default:
		http.NotFound(w, r)
	}
}

// ready says whether this server can do its work: the store answers and can
// write, and the deliverer runs. An endpoint of a customer that fails does not
// change it.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyLimit)
	defer cancel()
	answer := struct {
		Ready     bool   `json:"ready"`
		Store     string `json:"store"`
		Room      string `json:"room"`
		Deliverer string `json:"deliverer"`
		Cluster   string `json:"cluster,omitempty"`
	}{Ready: true, Store: "ok", Room: "ok", Deliverer: "ok"}
	if err := s.store.Ping(ctx); err != nil {
		answer.Ready, answer.Store = false, err.Error()
	}
	if err := s.deliverer.Running(); err != nil {
		answer.Ready, answer.Deliverer = false, err.Error()
	}
	if s.node != nil {
		answer.Cluster = "ok"
		if err := s.clusterReady(); err != nil {
			answer.Ready, answer.Cluster = false, err.Error()
		}
	}
	if err := s.store.Headroom(); err != nil {
		answer.Room = err.Error() // answers still go through: not a reason to take the server out
	}
	status := http.StatusOK
	if !answer.Ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, answer)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // a broken connection is not our business
}
