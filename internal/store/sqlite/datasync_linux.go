package sqlite

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync writes a file's content to the disk, and of what is known about the
// file only what is needed to read it.
func datasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
