package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/server"
)

// runServe runs the server until ctx ends.
func runServe(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	fs := newFlags("serve", "--config FILE [flags]",
		"Serve runs the server until it gets SIGINT or SIGTERM. Every key of the\n"+
			"configuration can also be set by an environment variable, such as\n"+
			"RINGBACK_LISTEN or RINGBACK_APPS_0_SECRET.")
	file := fs.String("config", "", "configuration `FILE`")
	listen := fs.String("listen", "", "`ADDRESS` to listen on, instead of the configured one")
	dataDir := fs.String("data-dir", "", "`DIR`ectory of the embedded store, instead of the configured one")
	profile := fs.String("pprof", "", "serve Go profiles on this loopback `ADDRESS`, under /debug/pprof/")
	logFormat, logLevel := logFlags(fs)
	if done, err := parse(fs, args, stdout); done || err != nil {
		return err
	}
	log, err := newLogger(stderr, *logFormat, *logLevel)
	if err != nil {
		return &usageError{"serve", err.Error()}
	}
	cfg, err := config.Load(*file, withFlags(environ, map[string]string{"RINGBACK_LISTEN": *listen, "RINGBACK_DATA_DIR": *dataDir}))
	if err != nil {
		return err
	}
	if *file == "" && len(cfg.Apps) == 0 {
		return &usageError{"serve", "there is nothing to serve: name a configuration with --config FILE, " +
			"or set an app in the environment (RINGBACK_APPS_0_ID, RINGBACK_APPS_0_SECRET)"}
	}
	if *profile != "" {
		if err := serveProfiles(ctx, *profile); err != nil {
			return err
		}
	}
	for _, w := range cfg.Warnings() {
		log.Warn(w.String())
	}
	srv, err := server.Open(ctx, cfg, server.Options{Logger: log, Version: versionText()})
	if err != nil {
		return err
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("%w (closing again: %v)", err, srv.Close())
	}
	log.Info("serving", "address", ln.Addr().String(), "version", versionText(), "data_dir", cfg.DataDir, "apps", len(cfg.Apps))
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

// logFlags are the flags of commands that log.
func logFlags(fs *flag.FlagSet) (format, level *string) {
	format = fs.String("log-format", "text", "`FORMAT` of the log: text or json")
	level = fs.String("log-level", "info", "least `LEVEL` that is logged: debug, info, warn or error")
	return format, level
}

// newLogger makes the logger of a command.
func newLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var o slog.HandlerOptions
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level is %q, it must be debug, info, warn or error", level)
	}
	o.Level = l
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, &o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &o)), nil
	}
	return nil, fmt.Errorf("--log-format is %q, it must be text or json", format)
}
