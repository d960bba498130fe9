package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Bounds of a server that is started.
const (
	startTimeout = 30 * time.Second
	stopTimeout  = 30 * time.Second
)

// exitedWell is what server.stop returns when all is well.
const exitedWell = "0"

// serverConfig is what differs in the configuration of a server.
type serverConfig struct {
	listen, dataDir        string
	app                    uint32
	secret, callbackSecret string
	endpoints              []string
}

// yaml is the configuration file. The limits are such as not to be met: one
// connection makes here the requests of many.
func (c serverConfig) yaml() string {
	var s strings.Builder
	fmt.Fprintf(&s, "listen: %q\ndata_dir: %q\n", c.listen, c.dataDir)
	fmt.Fprint(&s, "limits: {requests_per_second: 100000, burst: 100000}\n")
	fmt.Fprintf(&s, "apps:\n  - id: %d\n    name: bench\n    secret: %q\n    login_policy: multi\n", c.app, c.secret)
	if len(c.endpoints) > 0 {
		fmt.Fprint(&s, "    callbacks:\n")
	}
	for _, e := range c.endpoints {
		fmt.Fprintf(&s, "      - url: %q\n        secret: %q\n", e, c.callbackSecret)
	}
	fmt.Fprint(&s, "callbacks: {allow_networks: [\"127.0.0.0/8\"]}\n")
	return s.String()
}

// server is a server that was started for the run.
type server struct {
	cmd    *exec.Cmd
	dir    string // with all its files; removed when it has stopped
	exited chan struct{}
	err    error // of its end, when exited is closed
}

// startServer starts a server and waits until it is ready. dir is removed when
// it stops, or when this fails.
func startServer(ctx context.Context, command []string, dir string, conf serverConfig) (_ *server, err error) {
	s := &server{dir: dir, exited: make(chan struct{})}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	file := filepath.Join(dir, "ringback.yaml")
	if err := os.WriteFile(file, []byte(conf.yaml()), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(s.logFile())
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd = exec.Command(command[0], append(command[1:len(command):len(command)], "--config", file)...)
	s.cmd.Env = environment(os.Environ())
	s.cmd.Stdout, s.cmd.Stderr = log, log
	tether(s.cmd)
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.exited)
	}()
	if err := s.ready(ctx, "http://"+conf.listen+"/readyz"); err != nil {
		tail := s.tail()
		s.stop()
		return nil, fmt.Errorf("starting a server: %w%s", err, tail)
	}
	return s, nil
}

// environment is env without what would change the configuration.
func environment(env []string) []string {
	var out []string
	for _, e := range env {
		if !strings.HasPrefix(e, "RINGBACK_") {
			out = append(out, e)
		}
	}
	return out
}

// ready waits until the server is ready.
func (s *server) ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	last := errors.New("no answer")
	for {
		if err := probe(ctx, url); err == nil {
			return nil
		} else if ctx.Err() == nil {
			last = err
		}
		select {
		case <-s.exited:
			return fmt.Errorf("it ended with %s", s.status())
		case <-ctx.Done():
			return fmt.Errorf("it is not ready: %w", last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func probe(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s", resp.Status, body)
	}
	http.DefaultClient.CloseIdleConnections()
	return nil
}

// stop ends the server by SIGTERM, and says how it ended: exitedWell, or what
// went wrong with the last lines it wrote.
func (s *server) stop() string {
	defer os.RemoveAll(s.dir)
	s.cmd.Process.Signal(syscall.SIGTERM) // fails if it has ended
	killed := ""
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		s.cmd.Process.Kill()
		<-s.exited
		killed = fmt.Sprintf(", because it did not end within %v of SIGTERM", stopTimeout)
	}
	status := s.status()
	if status == exitedWell {
		return status
	}
	return status + killed + s.tail()
}

// status is how the server ended.
func (s *server) status() string {
	if s.err == nil {
		return exitedWell
	}
	return s.err.Error()
}

func (s *server) logFile() string { return filepath.Join(s.dir, "server.log") }

// tail is the end of what the server wrote, on lines of its own.
func (s *server) tail() string {
	const most = 2 << 10
	log, err := os.ReadFile(s.logFile())
	if err != nil || len(log) == 0 {
		return ""
	}
	return "\n" + strings.TrimSpace(string(log[max(0, len(log)-most):]))
}

// freeAddress returns an address on which nobody listens at the moment.
func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}
