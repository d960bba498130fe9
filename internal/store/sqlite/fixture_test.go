package sqlite

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
	"golang.org/x/sys/unix"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

const now = call.Instant(1_790_000_000_123)

// open opens a store in a new directory, for as long as the test runs.
func open(t testing.TB, options Options) *Store {
	t.Helper()
	if options.Dir == "" {
		options.Dir = t.TempDir()
	}
	if options.Reserve == 0 {
		options.Reserve = -1
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// created is the commit of a new call, with an event and its delivery.
func created(n int) *store.CallCommit {
	c := call.Evolve(nil, call.CallCreated{
		Actor: call.Actor{User: "alice", Session: "session-of-alice"}, ID: call.NewID(now, uint32(n)), App: 1, At: now,
		Invitees: []call.UserID{"bob"}, Timeout: 90, Mode: call.Advanced,
	})
	return commit(c, 0, n)
}

// joined is the commit of another transition of a call.
func joined(c *call.Call, n int) *store.CallCommit {
	user := call.UserID(fmt.Sprint("user", n))
	return commit(call.Evolve(c, call.UserJoined{Actor: call.Actor{User: user}, At: now}), c.Version, n)
}

func commit(c *call.Call, prior int64, n int) *store.CallCommit {
	return &store.CallCommit{
		CallRecord: store.CallRecord{Call: c, CommitID: uint64(n)}, Prior: prior, NewUsers: []call.UserID{"alice"},
		Events: []*store.Event{{
			App: 1, Call: c.ID, Name: "call_create", At: now, Fields: []byte(strings.Repeat("x", 250)),
			Deliveries: []store.Subscription{{Endpoint: 1, Sequence: int(c.Version)}},
		}},
	}
}

// faults is a file system whose write-ahead log can fail.
type faults struct {
	vfs.VFSFilename
	write, sync atomic.Pointer[error] // what is given instead
	afterSync   atomic.Pointer[error] // what is given although the sync was done
}

// faulty registers a file system with faults for the writer.
func faulty(t *testing.T) (*faults, string) {
	f := &faults{VFSFilename: vfs.Find("").(vfs.VFSFilename)}
	name := "faulty-" + strings.ReplaceAll(t.Name(), "/", "-")
	vfs.Register(name, gathering{f})
	t.Cleanup(func() { vfs.Unregister(name) })
	return f, name
}

var (
	errNoSpace = vfs.SystemError(unix.ENOSPC, sqlite3.FULL)
	errSync    = vfs.SystemError(unix.EIO, sqlite3.IOERR_FSYNC)
)

func (f *faults) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	file, out, err := f.VFSFilename.OpenFilename(name, flags)
	if err == nil && flags&vfs.OPEN_WAL != 0 {
		file = faultyFile{file, f}
	}
	return file, out, err
}

type faultyFile struct {
	vfs.File
	faults *faults
}

func (f faultyFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.faults.write.Load(); err != nil {
		n, _ := f.File.WriteAt(p[:len(p)/2], off) // as much as there was room for
		return n, *err
	}
	return f.File.WriteAt(p, off)
}

func (f faultyFile) Sync(flags vfs.SyncFlag) error {
	if err := f.faults.sync.Load(); err != nil {
		return *err
	}
	err := f.File.Sync(flags)
	if e := f.faults.afterSync.Load(); e != nil {
		return *e
	}
	return err
}
