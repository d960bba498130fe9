//go:build e2e

// Package e2e tests the built binary from outside, as its users meet it.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience bounds the waiting for something that must come.
const patience = 60 * time.Second

var (
	binary string
	kept   = os.TempDir() // for what is to be looked at after a failure; TMPDIR is set later
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ringback-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "ringback")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/ringback").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the binary: %v\n%s", err, out)
		os.Exit(1)
	}
	// What killed processes leave behind goes with the directory. Others may
	// pass through it, for PostgreSQL runs as another user. And as for loopback,
	// no proxy is asked for hosts of networks made here.
	noProxy := strings.Trim(os.Getenv("NO_PROXY")+","+benchmarking, ",")
	if err := errors.Join(os.Chmod(dir, 0o711), os.Setenv("TMPDIR", dir), os.Setenv("NO_PROXY", noProxy)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	lastPort.Store(rand.Int64N(ports))
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// process is a running program.
type process struct {
	t   *testing.T
	cmd *exec.Cmd

	mu     sync.Mutex
	output bytes.Buffer
	grown  chan struct{} // closed and replaced with each new line
	exited chan struct{}
	err    error
}

// start runs ringback.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return launch(t, exec.Command(binary, args...))
}

func launch(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, grown: make(chan struct{}), exited: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go func() {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			p.mu.Lock()
			fmt.Fprintln(&p.output, lines.Text())
			close(p.grown)
			p.grown = make(chan struct{})
			p.mu.Unlock()
		}
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("%s printed:\n%s", strings.Join(cmd.Args, " "), p.printed())
		}
	})
	return p
}

func (p *process) printed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// await waits until what was printed matches, and gives the first group.
func (p *process) await(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(patience)
	for {
		p.mu.Lock()
		found, grown := re.FindStringSubmatch(p.output.String()), p.grown
		p.mu.Unlock()
		if found != nil {
			return found[len(found)-1]
		}
		select {
		case <-grown:
		case <-p.exited:
			if re.FindStringSubmatch(p.printed()) == nil {
				p.t.Fatalf("it ended (%v) without printing %s:\n%s", p.err, pattern, p.printed())
			}
		case <-timeout:
			p.t.Fatalf("it did not print %s:\n%s", pattern, p.printed())
		}
	}
}

// terminate sends SIGTERM and wants a clean end.
func (p *process) terminate() {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.wait(); err != nil {
		p.t.Errorf("after SIGTERM: %v", err)
	}
}

// kill is kill -9.
func (p *process) kill() {
	p.t.Helper()
	p.cmd.Process.Kill()
	p.wait()
}

func (p *process) wait() error {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.err
	case <-time.After(patience):
		p.t.Fatal("it does not end")
		return nil
	}
}

// status waits for the end and gives the exit status.
func (p *process) status() int {
	p.t.Helper()
	var exit *exec.ExitError
	if err := p.wait(); errors.As(err, &exit) {
		return exit.ExitCode()
	} else if err != nil {
		p.t.Fatal(err)
	}
	return 0
}

const (
	appID  = 1
	secret = "0123456789abcdef0123456789abcdef"
)

// configure writes a configuration for a server on an address with one
// endpoint.
func configure(t *testing.T, address, dataDir, callback string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ringback.yaml")
	text := fmt.Sprintf(`
listen: %s
data_dir: %s
apps:
  - id: %d
    secret: %s
    login_policy: multi
    callbacks:
      - url: %s
        secret: e2e
callbacks:
  allow_networks: [127.0.0.0/8]
`, address, dataDir, appID, secret, callback)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Ports of freeAddress, below those that systems choose for connections.
const (
	firstPort = 20_000
	ports     = 10_000
)

// lastPort is the last of them that was given; TestMain begins with any.
var lastPort atomic.Int64

// freeAddress is a loopback address on which nobody listens at the moment, and
// that nothing else in this process is given.
func freeAddress(t *testing.T) string {
	t.Helper()
	var err error
	for range 100 {
		var ln net.Listener
		if ln, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+lastPort.Add(1)%ports)); err == nil {
			defer ln.Close()
			return ln.Addr().String()
		}
	}
	t.Fatal(err)
	return ""
}

// serve starts a server and waits until it is ready.
func serve(t *testing.T, config, address string) *process {
	t.Helper()
	p := start(t, "serve", "--config", config)
	p.await(`msg=serving`)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return p
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("the server is not ready: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
