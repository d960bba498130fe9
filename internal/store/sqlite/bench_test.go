package sqlite_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/sqlite"
)

// BenchmarkCommitCall measures transitions of calls that exist, each with one
// event and one delivery, by so many committers at once.
func BenchmarkCommitCall(b *testing.B) {
	for _, committers := range []int{1, 16, 128} {
		b.Run(fmt.Sprint(committers), func(b *testing.B) { benchmarkCommit(b, committers) })
	}
}

func benchmarkCommit(b *testing.B, committers int) {
	s, err := sqlite.Open(b.Context(), sqlite.Options{Dir: b.TempDir(), Reserve: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var events, next atomic.Int64
	const fields = `{"call_id":"3677361664524353123","user_ids":["bob"],"create_time":1700000000,"payload":"{\"type\":\"video\",\"room\":\"abcdef\"}","caller":"alice","timeout":90}`
	var before, after unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &before)
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for i := range committers {
		wg.Go(func() {
			var record store.CallRecord
			for n := 0; next.Add(1) <= int64(b.N); n++ {
				now := call.At(time.Now())
				var c *call.Call
				prior := int64(0)
				if n%2 == 0 {
					id := call.NewID(now, uint32(n*committers+i)*2654435761)
					c = call.Evolve(nil, call.CallCreated{
						Actor: call.Actor{User: "alice", Session: "session-of-alice"}, ID: id, App: 1, At: now, Invitees: []call.UserID{"bob"},
						Timeout: 90, ExtendedData: `{"type":"video","room":"abcdef"}`,
					})
				} else {
					c = call.Evolve(record.Call, call.CallAccepted{Actor: call.Actor{User: "bob", Session: "session-of-bob"}, At: now})
					prior = record.Call.Version
				}
				id := events.Add(1)
				record = store.CallRecord{Call: c, CommitID: uint64(id), Sequences: map[store.EndpointID]int{1: n%2 + 1}}
				commit := &store.CallCommit{CallRecord: record, Prior: prior, Events: []*store.Event{{
					ID: store.EventID(id), App: 1, Call: c.ID, Name: "call_create", At: now, Fields: []byte(fields),
					Deliveries: []store.Subscription{{Endpoint: 1, Sequence: n%2 + 1}},
				}}}
				if prior == 0 {
					commit.NewUsers = []call.UserID{call.UserID(fmt.Sprint("user", i)), call.UserID(fmt.Sprint("user", uint32(id)*2654435761))}
				}
				if err := s.CommitCall(b.Context(), commit); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	unix.Getrusage(unix.RUSAGE_SELF, &after)
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(cpu)/1e3/float64(b.N), "cpu-µs/op")
}
