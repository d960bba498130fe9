package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringback/ringback/internal/auth"
	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/demo"
	"github.com/ringback/ringback/internal/server"
	"github.com/ringback/ringback/protocol"
)

const (
	devApp      = 1
	devTokenTTL = 24 * time.Hour
	devListen   = "127.0.0.1:8080"
)

// newDevCommand runs a server for one person on one machine.
func newDevCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "run a server for one person on one machine, with a page to try it",
		Long: "Runs a server for one person on one machine, without any configuration: an app\n" +
			"with a secret that is printed, a page with phones that ring each other, and\n" +
			"an inbox that shows the callbacks as they arrive.",
		Example: "  ringback dev --ring\n" +
			"  ringback dev --data-dir ./dev --callback http://127.0.0.1:3000/callbacks",
		Args: flagsOnly,
	}
	var o devOptions
	flags := cmd.Flags()
	flags.StringVar(&o.listen, "listen", "", "loopback `ADDRESS` to listen on (default "+devListen+", or a free port if that is taken)")
	dir := dirFlag(cmd, "data-dir", "keep the data, and the app's secret, in `DIR` (default: a temporary directory, removed at the end)")
	flags.StringVar(&o.callback, "callback", "", "`URL` of your own backend on this machine, to get the callbacks too")
	flags.BoolVar(&o.ring, "ring", false, "begin with a call, made here in the terminal by two clients")
	log := logFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o.dataDir = *dir
		return runDev(cmd.Context(), o, log.logger(e.stderr), e.stdout)
	}
	return cmd
}

// devOptions are the flags of dev.
type devOptions struct {
	listen, dataDir, callback string
	ring                      bool
}

// runDev runs the server of dev until ctx ends.
func runDev(ctx context.Context, o devOptions, log *slog.Logger, stdout io.Writer) error {
	ln, err := listenLoopback(ctx, o.listen)
	if err != nil {
		return err
	}
	dir, secret, remove, err := devData(o.dataDir)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	defer remove()
	dev := &devServer{address: ln.Addr().String(), secret: secret, dir: dir, kept: o.dataDir != "", out: stdout}
	srv, err := dev.open(ctx, log, o.callback)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	dev.greet()
	if o.ring {
		go dev.ring(ctx)
	}
	err = srv.Serve(ctx, ln)
	fmt.Fprintln(stdout, "\nStopped.")
	return err
}

// devServer is what dev made.
type devServer struct {
	address string
	secret  string
	dir     string
	kept    bool // dir stays at the end
	out     io.Writer
}

// open makes the server and its page.
func (d *devServer) open(ctx context.Context, log *slog.Logger, callback string) (*server.Server, error) {
	page := demo.New(demo.Options{
		AppID: devApp, AppName: "dev", AppSecret: d.secret, Logger: log, Token: d.token, OnCallback: d.arrived,
	})
	cfg := config.Default()
	cfg.Listen, cfg.DataDir = d.address, d.dir
	cfg.Callbacks.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	app := config.DefaultApp()
	app.ID, app.Name, app.Secret, app.LoginPolicy = devApp, "dev", d.secret, "multi"
	for _, url := range []string{"http://" + d.address + "/demo/callbacks", callback} {
		if url == "" {
			continue
		}
		endpoint := config.DefaultEndpoint()
		endpoint.URL = url
		endpoint.Events = append(config.DefaultEvents(), protocol.CallbackJoin, protocol.CallbackQuit, protocol.CallbackEnd)
		app.Callbacks = append(app.Callbacks, endpoint)
	}
	cfg.Apps = []config.App{app}
	return server.Open(ctx, cfg, server.Options{Logger: log, Version: versionText(), Root: page, OpenAdmin: true})
}

func (d *devServer) token(user string) (string, error) {
	return auth.NewToken04(devApp, user, d.secret, time.Now(), devTokenTTL, "")
}

// greet prints what was made and what to do with it.
func (d *devServer) greet() {
	data := d.dir + " (removed at the end)"
	if d.kept {
		data = d.dir
	}
	server := ""
	if d.address != devListen {
		server = "\n  export RINGBACK_SERVER=http://" + d.address
	}
	fmt.Fprintf(d.out, `Ringback is ringing. Everything here is for this machine only.

  Open        http://%[1]s/   phones, and an inbox of callbacks
  Video call  http://%[1]s/examples/webrtc/   an example: WebRTC, rung by Ringback
  Console     http://%[1]s/console/
  Clients     ws://%[1]s/v1/connect
  App         %[2]d
  Secret      %[3]s
  Token       ringback token --app %[2]d --secret %[3]s --user alice
  Admin API   http://%[1]s/admin/v1/openapi.json
  Metrics     http://%[1]s/metrics
  Data        %[4]s

In another terminal:%[5]s
  ringback listen --forward http://127.0.0.1:9000/callbacks   callbacks, live, and on to your backend
  ringback trigger call_accept                                a made-up one
  ringback calls list                                         then: ringback calls show ID

Ctrl-C stops it.
`, d.address, devApp, d.secret, data, server)
}

// arrived prints a callback that reached the page's receiver.
func (d *devServer) arrived(c demo.Arrival) {
	mark := "signatures verified"
	if !c.Verified {
		mark = "BAD SIGNATURE"
	}
	if c.Attempt > 1 {
		mark += fmt.Sprintf(", attempt %d", c.Attempt)
	}
	fmt.Fprintf(d.out, "  callback  %-12s call %s  %s\n", c.Event, c.CallID, mark)
}

// listenLoopback listens where dev may: on loopback only.
func listenLoopback(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	if address == "" {
		ln, err := lc.Listen(ctx, "tcp", devListen)
		if err != nil {
			ln, err = lc.Listen(ctx, "tcp", "127.0.0.1:0")
		}
		return ln, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%q is no address to listen on, it must be host:port: %w", address, err)
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%s is not a loopback address: what has no password listens on loopback only, such as %s", address, devListen)
	}
	return lc.Listen(ctx, "tcp", address)
}

// devData gives the data directory and the app's secret, which lives in it.
func devData(dir string) (path, secret string, remove func(), err error) {
	remove = func() {}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "ringback-dev-"); err != nil {
			return "", "", nil, err
		}
		remove = func() { os.RemoveAll(dir) }
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", nil, fmt.Errorf("making the data directory: %w", err)
	}
	file := filepath.Join(dir, "dev-secret")
	kept, err := os.ReadFile(file)
	if secret = strings.TrimSpace(string(kept)); err == nil && len(secret) == config.SecretLen {
		return dir, secret, remove, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", "", nil, err
	}
	var b [config.SecretLen / 2]byte
	rand.Read(b[:]) // never fails
	secret = hex.EncodeToString(b[:])
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		remove()
		return "", "", nil, fmt.Errorf("keeping the app's secret: %w", err)
	}
	return dir, secret, remove, nil
}
