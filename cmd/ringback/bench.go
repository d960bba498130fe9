package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ringback/ringback/internal/bench"
)

// runBench drives real clients against a server and reports.
func runBench(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	fs := newFlags("bench", "[flags]",
		"Drives real clients against a server and reports how long calls, answers and\n"+
			"callbacks took, and what they cost. Each call is an invitation, a ring, an\n"+
			"answer, and the callbacks for both.\n\n"+
			"Without --url it starts a server of its own, with its data in a temporary\n"+
			"directory, and receives the callbacks itself. Fails if a call failed, or if\n"+
			"callbacks were lost or out of order.")
	var cfg bench.Config
	fs.IntVar(&cfg.Connections, "connections", 100, "`number` of users, each with one device, half of whom call the others")
	fs.Float64Var(&cfg.Rate, "rate", 0, "`calls` to start a second; 0: as many as --concurrency allows")
	fs.IntVar(&cfg.Concurrency, "concurrency", 64, "`calls` in progress at a time when there is no --rate")
	fs.DurationVar(&cfg.Duration, "duration", 10*time.Second, "`time` to measure for")
	fs.DurationVar(&cfg.Warmup, "warmup", time.Second, "`time` to make calls for before measuring")
	fs.DurationVar(&cfg.Drain, "drain", 10*time.Second, "`time` to wait for the last callbacks")
	fs.BoolVar(&cfg.Idle, "idle", false, "only connect, hold the connections for --duration, and report the memory of each")
	fs.StringVar(&cfg.Dir, "dir", "", "`directory` for the data of the server that is started (default: that for temporary files)")
	fs.BoolVar(&cfg.Hang, "hang", false, "give that server a second endpoint, which never answers")
	fs.BoolVar(&cfg.NoCallbacks, "no-callbacks", false, "give that server no endpoint")
	fs.BoolVar(&cfg.NoVerify, "no-verify", false, "do not verify the signatures of callbacks")
	fs.StringVar(&cfg.URL, "url", "", "`URL` of a running server to use instead")
	app := appFlag(fs)
	fs.StringVar(&cfg.Secret, "secret", "", "its app's secret; by default that in the environment variable "+secretVariable)
	fs.IntVar(&cfg.PID, "pid", 0, "its process `ID`, to measure its CPU and memory")
	fs.StringVar(&cfg.Receive, "receive", "", "`address`, host:port, to receive its callbacks at, which its configuration must name;\nwithout it callbacks are not measured")
	fs.StringVar(&cfg.CallbackSecret, "callback-secret", "", "the secret of that endpoint (default: the app's)")
	fs.BoolVar(&cfg.AllowRemote, "allow-remote", false, "let the URL lead to another machine")
	asJSON := fs.Bool("json", false, "print the report as JSON")
	quiet := fs.Bool("quiet", false, "show no progress")
	if done, err := parse(fs, args, stdout); done || err != nil {
		return err
	}
	cfg.AppID = *app
	if cfg.URL != "" && cfg.Secret == "" {
		cfg.Secret = lookup(environ, secretVariable)
	}
	if cfg.URL == "" {
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("finding the program to start a server: %w", err)
		}
		cfg.Command = []string{exe, "serve"}
	}
	if !*quiet {
		cfg.Progress, cfg.Terminal = stderr, isTerminal(stderr)
	}

	report, err := bench.Run(ctx, cfg)
	if mistake, ok := errors.AsType[*bench.ConfigError](err); ok {
		return &usageError{"bench", mistake.Error()}
	}
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if *asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(report)
	} else {
		err = report.Print(stdout)
	}
	if err != nil {
		return err
	}
	return report.Err()
}

// isTerminal reports whether w is a terminal, or another character device.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}
