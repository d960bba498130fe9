package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/server"
)

// newServeCommand runs the server.
func newServeCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "run the server",
		Long: "Runs the server until it gets SIGINT or SIGTERM. Every key of the configuration\n" +
			"can also be set by an environment variable, such as RINGBACK_LISTEN or\n" +
			"RINGBACK_APPS_0_SECRET.",
		Example: "  ringback serve --config ringback.yaml\n" +
			"  ringback serve --config ringback.yaml --listen :8080 --log-format json",
		SuggestFor: []string{"run", "start", "server"},
		Args:       flagsOnly,
	}
	file := fileFlag(cmd, "config", "configuration `FILE`")
	listen := cmd.Flags().String("listen", "", "`ADDRESS` to listen on, instead of the configured one")
	dir := dirFlag(cmd, "data-dir", "`DIR`ectory of the embedded store, instead of the configured one")
	profile := cmd.Flags().String("pprof", "", "serve Go profiles on this loopback `ADDRESS`, under /debug/pprof/")
	log := logFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		environ := withFlags(e.environ, map[string]string{"RINGBACK_LISTEN": *listen, "RINGBACK_DATA_DIR": *dir})
		cfg, err := config.Load(*file, environ)
		if err != nil {
			return err
		}
		if *file == "" && len(cfg.Apps) == 0 {
			return mistake(cmd, "there is nothing to serve: name a configuration with --config FILE, "+
				"or set an app in the environment (RINGBACK_APPS_0_ID, RINGBACK_APPS_0_SECRET)")
		}
		wrong, err := e.clockOffset()
		if err != nil {
			return err
		}
		return runServe(cmd.Context(), cfg, wrong, *profile, log.logger(e.stderr))
	}
	return cmd
}

// clockOffset is by how much the machine's clock is to be taken for wrong, which
// tests say.
func (e *env) clockOffset() (time.Duration, error) {
	text := e.lookup("RINGBACK_TEST_CLOCK_OFFSET")
	if text == "" {
		return 0, nil
	}
	by, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("RINGBACK_TEST_CLOCK_OFFSET is %q; it must be a duration such as -1h", text)
	}
	return by, nil
}

// runServe runs the server until ctx ends, and serves profiles on an address,
// if that is not empty.
func runServe(ctx context.Context, cfg *config.Config, wrong time.Duration, profile string, log *slog.Logger) error {
	if profile != "" {
		if err := serveProfiles(ctx, profile); err != nil {
			return err
		}
	}
	for _, w := range cfg.Warnings() {
		log.Warn(w.String())
	}
	for {
		err := serveOnce(ctx, cfg, wrong, log)
		if !errors.Is(err, server.ErrFenced) {
			return err
		}
		log.Warn("the node begins again, as a new one", "error", err)
	}
}

// serveOnce runs the server until ctx ends, or other nodes have taken over its
// work.
func serveOnce(ctx context.Context, cfg *config.Config, wrong time.Duration, log *slog.Logger) error {
	srv, err := server.Open(ctx, cfg, server.Options{Logger: log, Version: versionText(), ClockOffset: wrong})
	if err != nil {
		return err
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("%w (closing again: %v)", err, srv.Close())
	}
	cfg.Listen = ln.Addr().String() // the same if there is a next time
	where := []any{"data_dir", cfg.DataDir}
	if cfg.Store != "" {
		where = []any{"node", srv.Node()}
	}
	log.Info("serving", append([]any{"address", cfg.Listen, "version", versionText(), "apps", len(cfg.Apps)}, where...)...)
	err = srv.Serve(ctx, ln)
	log.Info("stopped")
	return err
}

// serveProfiles serves Go profiles until the process ends.
func serveProfiles(ctx context.Context, address string) error {
	ln, err := listenLoopback(ctx, address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	go http.Serve(ln, mux)
	return nil
}

// withFlags puts flags that were given in front of the environment.
func withFlags(environ []string, flags map[string]string) []string {
	var out []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if flags[name] == "" {
			out = append(out, kv)
		}
	}
	for name, value := range flags {
		if value != "" {
			out = append(out, name+"="+value)
		}
	}
	return out
}

// logging is how a command logs.
type logging struct{ format, level *string }

// logFlags defines the flags of commands that log.
func logFlags(cmd *cobra.Command) logging {
	return logging{
		format: choiceFlag(cmd, "log-format", "text", "`FORMAT` of the log: text or json", "text", "json"),
		level: choiceFlag(cmd, "log-level", "info", "least `LEVEL` that is logged: debug, info, warn or error",
			"debug", "info", "warn", "error"),
	}
}

// logger makes the logger of a command.
func (l logging) logger(w io.Writer) *slog.Logger {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	o := &slog.HandlerOptions{Level: levels[*l.level]}
	if *l.format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
