package pgtest

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/need"
)

// Pooler puts a PgBouncer before the server of a database and gives the
// database's URL through it. The mode is that of the pool, as its
// configuration has it: session, transaction or statement. More settings are
// lines of the configuration. It is gone when the test ends.
func Pooler(t testing.TB, database, mode string, more ...string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil { // of Debian, which has it off the PATH of users
		program, err = exec.LookPath("/usr/sbin/pgbouncer")
	}
	if err != nil {
		need.Missing(t, "pgbouncer", "PgBouncer is not installed")
	}
	to, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	port, err := freePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "ringback-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("[databases]\n%s = host=%s port=%d user=%s", to.Database, to.Host, to.Port, to.User)
	if to.Password != "" {
		config += fmt.Sprintf(" password='%s'", to.Password)
	}
	config += fmt.Sprintf("\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = any\npool_mode = %s\n", port, mode)
	for _, line := range more {
		config += line + "\n"
	}
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, file)
	cmd.Dir = dir
	as, err := unprivileged(dir)
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	through := url.URL{
		Scheme: "postgres", User: url.User(cmp.Or(to.User, "postgres")), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		Path: "/" + to.Database, RawQuery: "sslmode=disable",
	}
	var d daemon
	t.Cleanup(func() {
		if err := errors.Join(d.stop(syscall.SIGTERM), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	if err := d.start(cmd, Place{}, through.String()); err != nil {
		t.Fatal(err)
	}
	return through.String()
}
