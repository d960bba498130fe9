package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// patience is how long a daemon may take to start or stop.
const patience = time.Minute

// daemon is a program in the background to which PostgreSQL's clients connect.
type daemon struct {
	process *os.Process   // nil: it is stopped
	exited  chan struct{} // closed when the process has
}

// start runs the command and waits until it accepts connections at the URL.
// What it prints goes to a file in its directory.
func (d *daemon) start(cmd *exec.Cmd, at Place, url string) error {
	name := filepath.Base(cmd.Path)
	log, err := os.OpenFile(filepath.Join(cmd.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT // should the tests be killed
	started := make(chan error)
	d.exited = make(chan struct{})
	go func() {
		runtime.LockOSThread() // the signal comes when the thread ends that started the process
		defer runtime.UnlockOSThread()
		defer close(d.exited)
		err := at.in(cmd.Start)
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ends is its own affair
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	d.process = cmd.Process
	if err := d.await(url); err != nil {
		said, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%s does not come up: %w\n%s", name, err, said)
	}
	return nil
}

func (d *daemon) await(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-d.exited:
			return errors.New("it has ended")
		case <-ctx.Done():
			return err
		}
	}
}

// stop sends the signal and waits for the end. It may be called again.
func (d *daemon) stop(signal os.Signal) error {
	if d.process == nil {
		return nil
	}
	if err := d.process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop process %d: %w", d.process.Pid, err)
	}
	select {
	case <-d.exited:
	case <-time.After(patience):
		return fmt.Errorf("process %d does not stop", d.process.Pid)
	}
	d.process = nil
	return nil
}

// unprivileged gives the user to whom a daemon's directory then belongs, for
// these programs refuse to run as root; nil: this process's own.
func unprivileged(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.Atoi(u.Gid)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, uid, gid)
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
}

func freePort(address string) (int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
