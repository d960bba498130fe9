// Package bench drives real clients against a server and measures what
// becomes of their calls: an invitation, the ring at the callee's device, the
// answer, and the callbacks for both.
//
// With several nodes of one server a call goes from one to another. Load
// generator and servers are expected to share a machine. Latencies are taken from the moment at which a call was meant to start, so that a server
// which falls behind is seen to do so.
package bench

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// Config says what to run. The zero value of a field means the default that
// its comment gives.
type Config struct {
	// Command starts a server when the flags "--config FILE" are appended,
	// for example {"ringback", "serve"}. It is used when there are no URLs.
	Command []string
	// Dir is where the server that is started keeps its data, in a directory
	// of its own that is removed afterwards; default os.TempDir.
	Dir string
	// Hang gives the server that is started a second endpoint, which never
	// answers.
	Hang bool
	// NoCallbacks starts a server without endpoints.
	NoCallbacks bool

	// URLs are the nodes of a running server. AppID and Secret are of an app
	// that it knows. Caller and callee of a call are on nodes that follow each
	// other; with Spread each is on any node, as a proxy in front has it that
	// balances connections.
	URLs        []string
	Spread      bool
	AppID       uint32
	Secret      string
	AllowRemote bool // the URLs may lead elsewhere than to this machine
	// PIDs are of those nodes on this machine, to measure their CPU and memory;
	// none: each node is asked for its metrics.
	PIDs []int
	// Receive is the address, host:port, to receive callbacks at; the server
	// must have been told so, with CallbackSecret (default Secret). Empty:
	// callbacks are not measured.
	Receive        string
	CallbackSecret string

	Connections int           // users logged in, at least 2; default 100
	Rate        float64       // calls started a second; 0: as fast as possible
	Concurrency int           // calls in progress when Rate is 0; default 64
	Warmup      time.Duration // before measuring begins; 0 is none
	Duration    time.Duration // of the measured load, or of Idle; default 10 s
	Drain       time.Duration // how long to wait for the last callbacks; default 10 s
	Idle        bool          // only connect and hold the connections
	NoVerify    bool          // do not verify the signatures of callbacks

	// Progress gets a line each second; nil: nobody does. If Terminal is true
	// the line is overwritten by the next.
	Progress io.Writer
	Terminal bool

	settle time.Duration // how long a server is left alone before its memory is measured
}

// maxInFlight bounds the calls in progress when there is a rate. A call that
// is due when there are as many is left out and counts as an error.
const maxInFlight = 4096

// Run runs the benchmark. The report is of what was done, also when ctx ended
// before all was; it is nil if the error is not nil. That a call failed is
// not an error of Run: see [Report.Err].
func Run(ctx context.Context, cfg Config) (report *Report, err error) {
	if cfg, err = cfg.withDefaults(); err != nil {
		return nil, err
	}
	b := &run{cfg: cfg, id: token(), epoch: time.Now(), flights: make(map[uint64]chan int64), progress: &progress{w: cfg.Progress, terminal: cfg.Terminal}}
	b.tracker = newTracker(&b.errs)
	if err := b.receive(); err != nil {
		return nil, err
	}
	defer b.receiver.close()

	if len(cfg.URLs) == 0 {
		srv, err := b.startServer(ctx)
		if err != nil {
			return nil, err
		}
		defer func() {
			if report == nil {
				srv.stop()
			}
		}()
		b.server = srv
	}
	b.meters = metersOf(&b.cfg)
	report, err = b.measure(ctx)
	if err != nil {
		return nil, err
	}
	b.receiver.release()
	if b.server != nil {
		report.ServerExit = b.server.stop()
	}
	return report, nil
}

// ConfigError is a mistake in a Config.
type ConfigError struct{ message string }

// Error says what is wrong.
func (e *ConfigError) Error() string { return e.message }

func mistakef(format string, args ...any) error {
	return &ConfigError{fmt.Sprintf(format, args...)}
}

func (cfg Config) withDefaults() (Config, error) {
	cfg.Connections = cmp.Or(cfg.Connections, 100)
	cfg.Concurrency = cmp.Or(cfg.Concurrency, 64)
	cfg.Duration = cmp.Or(cfg.Duration, 10*time.Second)
	cfg.Drain = cmp.Or(cfg.Drain, 10*time.Second)
	cfg.settle = cmp.Or(cfg.settle, 500*time.Millisecond)
	cfg.CallbackSecret = cmp.Or(cfg.CallbackSecret, cfg.Secret)
	switch {
	case cfg.Connections < 2 && !cfg.Idle, cfg.Connections < 1:
		return cfg, mistakef("a call needs at least 2 connections")
	case cfg.Rate < 0 || cfg.Concurrency < 0 || cfg.Duration < 0 || cfg.Warmup < 0 || cfg.Drain < 0:
		return cfg, mistakef("rates, numbers and durations must not be negative")
	}
	if len(cfg.URLs) == 0 {
		switch {
		case len(cfg.Command) == 0:
			return cfg, mistakef("neither the URL of a server nor a command to start one")
		case cfg.Receive != "" || len(cfg.PIDs) > 0 || cfg.AppID != 0:
			return cfg, mistakef("an app, a process ID and an address for callbacks go with the URL of a server")
		}
		cfg.AppID, cfg.Secret, cfg.CallbackSecret = 1, token(), token()
		if !cfg.NoCallbacks {
			cfg.Receive = "127.0.0.1:0"
		}
		return cfg, nil
	}
	switch {
	case cfg.Hang || cfg.NoCallbacks:
		return cfg, mistakef("the endpoints of a server that is running already are its own affair")
	case cfg.AppID == 0 || cfg.Secret == "":
		return cfg, mistakef("an app and its secret are needed with the URL of a server")
	}
	for _, text := range cfg.URLs {
		u, err := url.Parse(text)
		switch {
		case err != nil:
			return cfg, mistakef("URL: %v", err)
		case u.Host == "":
			return cfg, mistakef("URL: %q has no host: it must be like http://127.0.0.1:8080", text)
		case !cfg.AllowRemote && !loopback(u.Hostname()):
			return cfg, mistakef("%s is another machine, which must be allowed expressly", u.Host)
		}
	}
	return cfg, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// token makes 32 random characters.
func token() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// startServer starts a server for the run.
func (b *run) startServer(ctx context.Context) (*server, error) {
	dir, err := os.MkdirTemp(b.cfg.Dir, "ringback-bench-")
	if err != nil {
		return nil, err
	}
	listen, err := freeAddress()
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	b.cfg.URLs = []string{"http://" + listen}
	conf := serverConfig{
		listen: listen, dataDir: filepath.Join(dir, "data"), app: b.cfg.AppID, secret: b.cfg.Secret, callbackSecret: b.cfg.CallbackSecret,
	}
	if b.cfg.Receive != "" {
		conf.endpoints = append(conf.endpoints, b.receiver.url(callbackPath))
		if b.cfg.Hang {
			conf.endpoints = append(conf.endpoints, b.receiver.url(hangPath))
		}
	}
	srv, err := startServer(ctx, b.cfg.Command, dir, conf)
	if err != nil {
		return nil, err
	}
	b.cfg.PIDs = []int{srv.cmd.Process.Pid}
	return srv, nil
}
