package sqlite

import (
	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// logVFS is the name of the file system that the writer uses. It is that of
// the operating system, save that the pages of a transaction go to the
// write-ahead log in one piece instead of two system calls a page.
//
// That rests on synchronous=FULL: the log is synced before a commit is shown
// to other connections.
const logVFS = "ringback-log"

func init() { vfs.Register(logVFS, gathering{vfs.Find("").(vfs.VFSFilename)}) }

// gathering is a file system whose write-ahead logs gather what is written.
type gathering struct{ vfs.VFSFilename }

func (g gathering) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, out, err := g.VFSFilename.OpenFilename(name, flags)
	if err == nil && flags&vfs.OPEN_WAL != 0 {
		f = &logFile{File: f}
	}
	return f, out, err
}

// maxGathered bounds what a logFile holds back, in bytes.
const maxGathered = 1 << 20

// logFile holds writes back that continue each other until anything else is
// asked of the file.
type logFile struct {
	vfs.File
	held []byte
	at   int64 // where held belongs
}

func (f *logFile) WriteAt(p []byte, off int64) (int, error) {
	if off != f.at+int64(len(f.held)) || len(f.held)+len(p) > maxGathered {
		if err := f.flush(); err != nil {
			return 0, err
		}
		f.at = off
	}
	f.held = append(f.held, p...)
	return len(p), nil
}

// flush writes what was held back. What cannot be written is given up, like a
// write that failed at once.
func (f *logFile) flush() error {
	if len(f.held) == 0 {
		return nil
	}
	held := f.held
	f.held = f.held[:0]
	_, err := f.File.WriteAt(held, f.at)
	if isFull(err) {
		return vfs.SystemError(err, sqlite3.FULL)
	}
	return err
}

func (f *logFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.flush(); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *logFile) Truncate(size int64) error {
	if err := f.flush(); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *logFile) Sync(flags vfs.SyncFlag) error {
	if err := f.flush(); err != nil {
		return err
	}
	return f.File.Sync(flags)
}

func (f *logFile) Size() (int64, error) {
	if err := f.flush(); err != nil {
		return 0, err
	}
	return f.File.Size()
}

func (f *logFile) Close() error {
	err := f.flush()
	if e := f.File.Close(); err == nil {
		err = e
	}
	return err
}

// Unwrap gives the file beneath.
func (f *logFile) Unwrap() vfs.File { return f.File }
