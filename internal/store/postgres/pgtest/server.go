package pgtest

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/ringback/ringback/internal/need"
)

// Server is a PostgreSQL server in a directory of its own. Its user is
// "postgres" and needs no password; a role named "locked" needs one, and one
// named "barred" is not let in.
type Server struct {
	programs string // directory of initdb and postgres
	at       Place
	dir      string
	port     int
	as       *syscall.Credential // nil: this process's user
	daemon   daemon
}

// Place is where a server listens. The zero value is 127.0.0.1.
type Place struct {
	// Address is an IP address.
	Address string
	// In calls a function by a thread that has the address, as of a network
	// namespace. This process reaches the address from everywhere. nil: all
	// threads have it.
	In func(f func() error) error
}

func (p Place) in(f func() error) error {
	if p.In == nil {
		return f()
	}
	return p.In(f)
}

// find gives the directory of the programs: the one that is asked for, or that
// of the installed ones.
func find(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv(Programs); dir != "" {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
			t.Fatalf("%s: %v", Programs, err)
		}
		return dir
	}
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin") // of Debian, which has the server's programs off the PATH
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(dirs)
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append([]string{filepath.Dir(path)}, dirs...)
		}
	}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir
		}
	}
	need.Missing(t, "postgres", "initdb and postgres are not installed")
	return ""
}

// launch makes and starts a server.
func launch(programs string, at Place) (_ *Server, err error) {
	at.Address = cmp.Or(at.Address, "127.0.0.1")
	s := &Server{programs: programs, at: at}
	if s.dir, err = os.MkdirTemp("", "ringback-postgres-"); err != nil {
		return nil, fmt.Errorf("make a directory for PostgreSQL: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.remove())
		}
	}()
	if s.as, err = unprivileged(s.dir); err != nil {
		return nil, err
	}
	if err := at.in(func() error { s.port, err = freePort(at.Address); return err }); err != nil {
		return nil, err
	}
	init := s.command("initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := init.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	// Who may come at all is decided by the address.
	const access = "local all all trust\nhost all locked all scram-sha-256\nhost all barred all reject\nhost all all all trust\n"
	if err := os.WriteFile(filepath.Join(s.data(), "pg_hba.conf"), []byte(access), 0o600); err != nil {
		return nil, err
	}
	return s, s.Start()
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// URL is the address of the server's first database. Without sslmode each
// connection would be made twice, as this server has no TLS.
func (s *Server) URL() string {
	return fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", net.JoinHostPort(s.at.Address, strconv.Itoa(s.port)))
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.programs, name), args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	return cmd
}

// Start starts a stopped server with the data and the address that it had, and
// waits until it accepts connections.
func (s *Server) Start() error {
	cmd := s.command("postgres", "-D", s.data(), "-k", s.dir, "-h", s.at.Address, "-p", strconv.Itoa(s.port),
		"-c", "shared_buffers=64MB", "-c", "password_encryption=scram-sha-256", "-c", "max_connections=300", "-c", "log_min_messages=fatal", "-c", "log_min_error_statement=panic")
	return s.daemon.start(cmd, s.at, s.URL())
}

// Stop kills the server as a crash would: nobody is told, nothing is written
// any more. The data stay.
func (s *Server) Stop() error { return s.daemon.stop(syscall.SIGQUIT) }

// Restart stops the server as Stop does, and starts it.
func (s *Server) Restart() error {
	if err := s.Stop(); err != nil {
		return err
	}
	return s.Start()
}

// remove stops the server and deletes what it had.
func (s *Server) remove() error {
	return errors.Join(s.Stop(), os.RemoveAll(s.dir))
}
