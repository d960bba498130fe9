package sqlite

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringback/ringback/internal/need"
	"github.com/ringback/ringback/internal/store"
)

// TestRealDiskFull fills a small file system.
func TestRealDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
		need.Missing(t, "tmpfs", fmt.Sprintf("cannot mount a small file system: %v", err))
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	s := open(t, Options{Dir: dir, Reserve: 1 << 20})
	written := 0
	var err error
	for n := 1; err == nil; n++ {
		if err = s.CommitCall(t.Context(), created(n)); err == nil {
			written = n
		}
	}
	if !errors.Is(err, store.ErrFull) {
		t.Fatalf("commit on a full disk gives %v", err)
	}
	if err := s.Headroom(); !errors.Is(err, store.ErrFull) {
		t.Errorf("Headroom gives %v", err)
	}
	t.Logf("%d calls fitted", written)
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=32m"); err != nil {
		t.Fatal(err)
	}
	for n := written + 1; n < written+100; n++ {
		if err := s.CommitCall(t.Context(), created(n)); err != nil {
			t.Fatalf("with room again: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Dir: dir})
	defer s.Close()
	for n := 1; n < written+100; n++ {
		if !stored(t, s, n) {
			t.Fatalf("call %d is lost", n)
		}
	}
}
