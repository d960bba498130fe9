package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ringback/ringback/internal/store"
)

func contains(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("error does not say %q: %v", part, err)
	}
}

// together commits several calls in one transaction and gives their errors.
func together(t *testing.T, s *Store, tokens chan struct{}, from, to int) []error {
	t.Helper()
	errs := make([]error, to-from)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = s.CommitCall(t.Context(), created(from+i)) })
		queued(t, s, i+1)
	}
	tokens <- struct{}{}
	wg.Wait()
	return errs
}

// stored reports whether a call is there, and all of it.
func stored(t *testing.T, s *Store, n int) bool {
	t.Helper()
	_, err := s.Call(t.Context(), created(n).Call.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	ds, e := s.DeliveriesOf(t.Context(), created(n).Call.ID)
	if e != nil || len(ds) == 0 != (err != nil) {
		t.Fatalf("call %d gives %v, but it has %d deliveries (%v)", n, err, len(ds), e)
	}
	return err == nil
}

// TestDiskFull lets the disk run full and have room again.
func TestDiskFull(t *testing.T) {
	disk, name := faulty(t)
	s, tokens, _ := held(t, Options{vfs: name, Reserve: 1})
	for _, err := range together(t, s, tokens, 1, 5) {
		if err != nil {
			t.Fatal(err)
		}
	}
	disk.write.Store(&errNoSpace)
	for range 3 {
		for _, err := range together(t, s, tokens, 5, 9) {
			if !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrUnknown) {
				t.Fatalf("commit on a full disk gives %v", err)
			}
		}
	}
	tokens <- struct{}{}
	if err := s.Ping(t.Context()); !errors.Is(err, store.ErrFull) {
		t.Errorf("Ping gives %v", err)
	}
	if err := s.Headroom(); !errors.Is(err, store.ErrFull) {
		t.Errorf("Headroom gives %v", err)
	}
	for n := 1; n < 9; n++ {
		if stored(t, s, n) != (n < 5) {
			t.Errorf("call %d is stored: %v", n, n >= 5)
		}
	}
	disk.write.Store(nil)
	tokens <- struct{}{}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping gives %v", err)
	}
	for _, err := range together(t, s, tokens, 5, 9) {
		if err != nil {
			t.Errorf("with room again: %v", err)
		}
	}
	tokens <- struct{}{}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Dir: s.options.Dir})
	for n := 1; n < 9; n++ {
		if !stored(t, s, n) {
			t.Errorf("call %d is lost", n)
		}
	}
}

// TestSyncFails says that nobody is told what cannot be known, and that what
// cannot be known does not come back to life.
func TestSyncFails(t *testing.T) {
	for _, test := range []struct {
		name  string
		fails func(f *faults, err *error)
	}{
		{"before", func(f *faults, err *error) { f.sync.Store(err) }},
		{"after", func(f *faults, err *error) { f.afterSync.Store(err) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			disk, name := faulty(t)
			s, tokens, _ := held(t, Options{vfs: name})
			for _, err := range together(t, s, tokens, 1, 3) {
				if err != nil {
					t.Fatal(err)
				}
			}
			test.fails(disk, &errSync)
			for round := range 2 {
				for i, err := range together(t, s, tokens, 3+4*round, 7+4*round) {
					if round == 0 && !errors.Is(err, store.ErrUnknown) || err == nil {
						t.Errorf("commit %d of round %d gives %v", i, round, err)
					}
				}
			}
			tokens <- struct{}{}
			if err := s.Ping(t.Context()); err == nil {
				t.Error("Ping succeeds")
			}
			test.fails(disk, nil)
			for n := 1; n < 11; n++ {
				if stored(t, s, n) != (n < 3) {
					t.Errorf("call %d is stored: %v", n, n >= 3)
				}
			}
			tokens <- struct{}{}
			if err := s.Ping(t.Context()); err != nil {
				t.Errorf("Ping gives %v", err)
			}
			// A copy, as a crash at this moment would leave it.
			copied := t.TempDir()
			for _, suffix := range []string{"", "-wal"} {
				content, err := os.ReadFile(s.path + suffix)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(copied, File+suffix), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			crashed := open(t, Options{Dir: copied})
			for _, err := range together(t, s, tokens, 3, 11) {
				if err != nil {
					t.Errorf("with the disk well again: %v", err)
				}
			}
			for n := 1; n < 11; n++ {
				if stored(t, crashed, n) != (n < 3) {
					t.Errorf("after a crash call %d is stored: %v", n, n >= 3)
				}
				if !stored(t, s, n) {
					t.Errorf("call %d is lost", n)
				}
			}
		})
	}
}

// TestOneFailsAlone has a commit that the database refuses share a
// transaction with others.
func TestOneFailsAlone(t *testing.T) {
	s, tokens, batches := held(t, Options{})
	errs := make([]error, 20)
	var wg sync.WaitGroup
	for i := range errs {
		c := created(i + 1)
		if i%7 == 3 {
			c.Events = append(c.Events, c.Events[0])
		}
		wg.Go(func() { errs[i] = s.CommitCall(t.Context(), c) })
	}
	queued(t, s, len(errs))
	tokens <- struct{}{}
	wg.Wait()
	if n := <-batches; n != len(errs) {
		t.Errorf("a batch of %d", n)
	}
	for i, err := range errs {
		bad := i%7 == 3
		if (err != nil) != bad || stored(t, s, i+1) == bad || errors.Is(err, store.ErrConflict) {
			t.Errorf("commit %d gives %v", i, err)
		}
	}
	tokens <- struct{}{}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping gives %v", err)
	}
}
