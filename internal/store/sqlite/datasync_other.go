//go:build !linux

package sqlite

import "os"

// datasync writes a file's content to the disk.
func datasync(f *os.File) error { return f.Sync() }
