package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringback/ringback/internal/bench"
)

// newBenchCommand drives real clients against a server and reports.
func newBenchCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "measure a server with real clients",
		Long: "Drives real clients against a server and reports how long calls, answers and\n" +
			"callbacks took, and what they cost. Each call is an invitation, a ring, an\n" +
			"answer, and the callbacks for both.\n\n" +
			"Without --url it starts a server of its own, with its data in a temporary\n" +
			"directory, and receives the callbacks itself. Fails if a call failed, or if\n" +
			"callbacks were lost or out of order.\n\n" +
			"With --nodes each call goes from one node to another, so that what the nodes\n" +
			"tell each other is part of it, and the cost of a call is the sum over all of\n" +
			"them. With --spread as well, users are where a proxy would put them: of two\n" +
			"nodes, half of the calls are within one. CPU and memory are taken from each\n" +
			"node's /metrics, or from the processes that --pid names.",
		Example: "  ringback bench --rate 200 --duration 30s\n" +
			"  ringback bench --connections 10000 --idle\n" +
			"  ringback bench --url http://127.0.0.1:8080 --app 1 --json\n" +
			"  ringback bench --nodes http://127.0.0.1:8080,http://127.0.0.1:8081 --app 1",
		Args: flagsOnly,
	}
	var cfg bench.Config
	fs := cmd.Flags()
	fs.IntVar(&cfg.Connections, "connections", 100, "`number` of users, each with one device, half of whom call the others")
	fs.Float64Var(&cfg.Rate, "rate", 0, "`calls` to start a second; 0: as many as --concurrency allows")
	fs.IntVar(&cfg.Concurrency, "concurrency", 64, "`calls` in progress at a time when there is no --rate")
	fs.DurationVar(&cfg.Duration, "duration", 10*time.Second, "`time` to measure for")
	fs.DurationVar(&cfg.Warmup, "warmup", time.Second, "`time` to make calls for before measuring")
	fs.DurationVar(&cfg.Drain, "drain", 10*time.Second, "`time` to wait for the last callbacks")
	fs.BoolVar(&cfg.Idle, "idle", false, "only connect, hold the connections for --duration, and report the memory of each")
	dir := dirFlag(cmd, "dir", "`directory` for the data of the server that is started (default: that for temporary files)")
	fs.BoolVar(&cfg.Hang, "hang", false, "give that server a second endpoint, which never answers")
	fs.BoolVar(&cfg.NoCallbacks, "no-callbacks", false, "give that server no endpoint")
	fs.BoolVar(&cfg.NoVerify, "no-verify", false, "do not verify the signatures of callbacks")
	url := fs.String("url", "", "`URL` of a running server to use instead")
	fs.StringSliceVar(&cfg.URLs, "nodes", nil, "`URLs` of its nodes, separated by commas; callers and callees are on different ones")
	fs.BoolVar(&cfg.Spread, "spread", false, "put users on any of the nodes, as a proxy does: some calls are within one")
	app := appFlag(cmd, 0)
	fs.StringVar(&cfg.Secret, "secret", "", "its app's secret; by default that in the environment variable "+secretVariable)
	fs.IntSliceVar(&cfg.PIDs, "pid", nil, "its process `ID`, or those of its nodes, to measure CPU and memory\n(default: as its /metrics say)")
	fs.StringVar(&cfg.Receive, "receive", "", "`address`, host:port, to receive its callbacks at, which its configuration must name;\nwithout it callbacks are not measured")
	fs.StringVar(&cfg.CallbackSecret, "callback-secret", "", "the secret of that endpoint (default: the app's)")
	fs.BoolVar(&cfg.AllowRemote, "allow-remote", false, "let the URLs lead to other machines")
	quiet := fs.Bool("quiet", false, "show no progress")
	out := newOutput(e, cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg.AppID, cfg.Dir = *app, *dir
		switch {
		case *url != "" && len(cfg.URLs) > 0:
			return mistake(cmd, "--url is one server and --nodes are several nodes of one: give one of the two")
		case cfg.Spread && len(cfg.URLs) == 0:
			return mistake(cmd, "--spread is over several nodes of a server: name them by --nodes")
		case *url != "":
			cfg.URLs = []string{*url}
		}
		if len(cfg.URLs) > 0 && cfg.Secret == "" {
			cfg.Secret = e.lookup(secretVariable)
		}
		if len(cfg.URLs) == 0 {
			exe, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding the program to start a server: %w", err)
			}
			cfg.Command = []string{exe, "serve"}
		}
		if !*quiet {
			cfg.Progress, cfg.Terminal = e.stderr, isTerminal(e.stderr)
		}
		report, err := bench.Run(cmd.Context(), cfg)
		if wrong, ok := errors.AsType[*bench.ConfigError](err); ok {
			return mistake(cmd, "%v", wrong)
		}
		if err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		if err := out.print(report, func(p *printer) error { return report.Print(p) }); err != nil {
			return err
		}
		return report.Err()
	}
	return cmd
}
