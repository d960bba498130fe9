package trace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// What is written is read back, whatever the strings and numbers are.
func TestEncode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.SampledFrom([]string{"", "alice", "bob", "é\u2028\"\\", "call.invited"})
		entries := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Entry {
			return Entry{
				At: call.Instant(rapid.Int64Range(0, 1<<50).Draw(t, "at")), Kind: Kind(word.Draw(t, "kind")),
				User: call.UserID(word.Draw(t, "user")), Session: call.SessionID(word.Draw(t, "session")),
				Event: word.Draw(t, "event"), Version: rapid.Int64Range(0, 1<<40).Draw(t, "version"), Code: rapid.Int().Draw(t, "code"),
			}
		}), 1, 20).Draw(t, "entries")
		got, err := Decode(encode(entries))
		if err != nil || !reflect.DeepEqual(got, entries) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, got, entries)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	for _, text := range []string{"", "[]", `{"w":[""],"r":[[1,1]]}`, `{"w":[""],"r":[[1,-1]]}`, `{"w":[],"r":[[1]]}`} {
		if got, err := Decode([]byte(text)); err == nil {
			t.Errorf("%s gave %+v", text, got)
		}
	}
}

// shelf is a store of traces.
type shelf struct {
	mu     sync.Mutex
	writes int
	parts  map[call.ID][]Entry
	err    error
}

func (s *shelf) AppendTraces(_ context.Context, traces []store.Trace) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.err != nil {
		return s.err
	}
	for _, tr := range traces {
		entries, err := Decode(tr.Data)
		if err != nil {
			return err
		}
		if s.parts == nil {
			s.parts = make(map[call.ID][]Entry)
		}
		s.parts[tr.Call] = append(s.parts[tr.Call], entries...)
	}
	return nil
}

func note(n int) Entry {
	return Entry{At: call.Instant(n), Kind: Sent, User: "bob", Event: fmt.Sprint(n)}
}

func (s *shelf) written() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// Entries wait for others, and are written together and in order.
func TestRecorder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(shelf)
		r := NewRecorder(s, slog.New(slog.DiscardHandler))
		defer r.Close()
		r.Add(1)
		r.Add(1, note(1), note(2))
		r.Add(2, note(3))
		r.Add(1, note(4))
		if s.written() != 0 {
			t.Error("it did not wait")
		}
		time.Sleep(linger)
		synctest.Wait()
		want := map[call.ID][]Entry{1: {note(1), note(2), note(4)}, 2: {note(3)}}
		if s.written() != 1 || !reflect.DeepEqual(s.parts, want) {
			t.Errorf("%d writes: %+v", s.written(), s.parts)
		}
		r.Add(1, note(5))
		again := note(5)
		again.At++
		r.Add(1, again) // says nothing new
		r.Flush(t.Context())
		if list := s.parts[1]; len(list) != 4 || list[3] != note(5) {
			t.Errorf("after a flush: %+v", list)
		}
		time.Sleep(2 * linger)
		synctest.Wait()
		if s.written() != 2 {
			t.Errorf("%d writes, though nothing was left to write", s.written())
		}
	})
}

// What the store does not take, and what is beyond the bounds, is lost, and
// the log says how much.
func TestRecorderGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{err: errors.New("no disk")}
		var log strings.Builder
		r := NewRecorder(s, slog.New(slog.NewTextHandler(&log, nil)))
		for n := range maxOfCall + 5 {
			r.Add(1, Entry{At: call.Instant(n), Kind: Sent, Event: fmt.Sprint(n)})
		}
		r.Close()
		if want := fmt.Sprintf("entries_lost=%d", maxOfCall+5); !strings.Contains(log.String(), want) {
			t.Errorf("the log says %q, want %s", log.String(), want)
		}
	})
}

func TestRecorderLosesNothingByClose(t *testing.T) {
	s := new(shelf)
	r := NewRecorder(s, slog.New(slog.DiscardHandler))
	var work sync.WaitGroup
	for g := range 4 {
		work.Go(func() {
			for n := range 100 {
				r.Add(call.ID(g+1), Entry{At: call.Instant(n), Kind: Sent, Event: fmt.Sprint(n)})
				if n%30 == 0 {
					r.Flush(t.Context())
				}
			}
		})
	}
	work.Wait()
	r.Close()
	r.Add(1, note(1)) // too late
	r.Close()
	for g := range 4 {
		list := s.parts[call.ID(g+1)]
		if len(list) != 100 {
			t.Fatalf("call %d has %d entries", g+1, len(list))
		}
		for n, e := range list {
			if e.Event != fmt.Sprint(n) {
				t.Fatalf("entry %d of call %d is %s", n, g+1, e.Event)
			}
		}
	}
}
