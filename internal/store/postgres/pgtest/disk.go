package pgtest

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringback/ringback/internal/need"
)

// Small makes an empty database on a file system of its own, of so many MiB;
// the log of the server is elsewhere. An empty database takes 8. It gives the
// database's URL, and what makes the file system four times as large.
func (s *Server) Small(t testing.TB, size int) (url string, grow func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ringback-small-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	options := func(size int) string { return fmt.Sprintf("size=%dm,mode=0700", size) }
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options(size)); err != nil {
		need.Missing(t, "tmpfs", fmt.Sprintf("cannot mount a small file system: %v", err))
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil { // the server ends later
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	if _, err := unprivileged(dir); err != nil {
		t.Fatal(err)
	}
	name := create(t, s.URL())
	Exec(t, s.URL(), fmt.Sprintf("CREATE TABLESPACE small LOCATION '%s'", dir), fmt.Sprintf("ALTER DATABASE %s SET TABLESPACE small", name))
	return withName(t, s.URL(), name), func() {
		t.Helper()
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT, options(4*size)); err != nil {
			t.Fatal(err)
		}
	}
}
