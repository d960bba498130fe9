package sqlite

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, dir string) store.Store {
		s, err := Open(t.Context(), Options{Dir: dir, Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// refused opens a store that cannot be opened, and looks for words in the
// error.
func refused(t *testing.T, dir string, words ...string) {
	t.Helper()
	s, err := Open(t.Context(), Options{Dir: dir})
	if err == nil {
		s.Close()
		t.Fatal("Open succeeds")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error does not say %q: %v", w, err)
		}
	}
}

func TestOpenNoDir(t *testing.T) { refused(t, "", "no directory") }

func TestOpenMakesFiles(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "a", "b ?c=#%41&é")
	s := open(t, Options{Dir: dir})
	if err := s.CommitCall(t.Context(), created(1)); err != nil {
		t.Fatal(err)
	}
	modes := func() map[string]os.FileMode {
		modes := make(map[string]os.FileMode)
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			modes[e.Name()] = info.Mode()
		}
		return modes
	}
	open := modes()
	for _, name := range []string{File, File + "-wal", File + "-shm", lockFile} {
		if open[name] != 0o600 {
			t.Errorf("mode of %s is %v", name, open[name])
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode of the directory is %v (%v)", info.Mode(), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left := modes(); len(left) != 2 {
		t.Errorf("after Close there are %v, want the database and the lock", left)
	}
}

// TestOpenTwice opens the directory again in this process and in another.
func TestOpenTwice(t *testing.T) {
	if dir := os.Getenv("RINGBACK_TEST_OPEN"); dir != "" {
		refused(t, dir, dir, "in use by another process", "pid "+os.Getenv("RINGBACK_TEST_PID"))
		return
	}
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	refused(t, dir, dir, "in use")
	child := exec.Command(os.Args[0], "-test.run=^TestOpenTwice$", "-test.v")
	child.Env = append(os.Environ(), "RINGBACK_TEST_OPEN="+dir, "RINGBACK_TEST_PID="+strconv.Itoa(os.Getpid()))
	if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS: TestOpenTwice") {
		t.Errorf("in another process: %v\n%s", err, out)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, Options{Dir: dir})
}

func TestOpenUnwritable(t *testing.T) {
	if dir := os.Getenv("RINGBACK_TEST_OPEN"); dir != "" {
		refused(t, dir, dir, "permission denied", "writable", "choose another")
		refused(t, filepath.Join(dir, "below"), dir, "permission denied", "choose another")
		return
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, file, file, "not a directory", "choose another")

	// Root may write anywhere, so another user tries.
	shut := filepath.Join(dir, "shut")
	if err := os.Mkdir(shut, 0o555); err != nil {
		t.Fatal(err)
	}
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(program, "-test.run=^TestOpenUnwritable$", "-test.v")
	child.Env = append(os.Environ(), "RINGBACK_TEST_OPEN="+shut)
	child.Dir = "/"
	if os.Geteuid() == 0 {
		child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS: TestOpenUnwritable") {
		t.Errorf("as another user: %v\n%s", err, out)
	}
}

func TestOpenNotADatabase(t *testing.T) {
	for name, content := range map[string]string{
		"text":   strings.Repeat("this is not a database\n", 1000),
		"header": "SQLite format 3\x00" + strings.Repeat("\xff", 5000),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, File)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, dir, path, "not a database", "move it away")
			if got, err := os.ReadFile(path); err != nil || string(got) != content {
				t.Error("the file was changed")
			}
		})
	}
}

func TestOpenDamaged(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	for n := range 100 {
		if err := s.CommitCall(t.Context(), created(n+1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(strings.Repeat("\xff", 3000)), 100); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, s.path, "damaged", "backup")
}

// tamper changes the database of a closed store.
func tamper(t *testing.T, sql string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s := open(t, Options{Dir: dir})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := s.connect("", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if err := c.Exec(sql); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestOpenNewerSchema(t *testing.T) {
	refused(t, tamper(t, "PRAGMA user_version = 99"), File, "newer version", "99", "backup")
}

func TestOpenForeignDatabase(t *testing.T) {
	dir := t.TempDir()
	c, err := (&Store{path: filepath.Join(dir, File)}).connect("", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Exec("CREATE TABLE notes (note TEXT)"); err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, File))
	if err != nil {
		t.Fatal(err)
	}
	refused(t, dir, File, "another program", "move it away")
	if after, err := os.ReadFile(filepath.Join(dir, File)); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the file was changed (%v)", err)
	}
	refused(t, tamper(t, "PRAGMA application_id = 1"), File, "another program", "move it away")
	refused(t, tamper(t, "PRAGMA application_id = 0; PRAGMA user_version = 0"), File, "another program")
}
