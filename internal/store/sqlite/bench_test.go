package sqlite

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// meter adds the processor time and the size of the batches to what a
// benchmark says.
func meter(b *testing.B, batches *atomic.Int64) (stop func(operations int)) {
	batches.Store(0)
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	return func(operations int) {
		b.StopTimer()
		if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
			b.Fatal(err)
		}
		cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
		b.ReportMetric(float64(cpu)/1e3/float64(operations), "cpu-µs/op")
		b.ReportMetric(float64(operations)/float64(max(1, batches.Load())), "ops/batch")
	}
}

const fields = `{"call_id":"3677361664524353123","user_ids":["bob"],"create_time":1700000000,` +
	`"payload":"{\"type\":\"video\",\"room\":\"abcdef\"}","caller":"alice","timeout":90}`

// transition is the nth commit of a committer: by turns a new call and its
// answer, each with one event and one delivery.
func transition(before *call.Call, committer, committers, n int, event int64) *store.CallCommit {
	at := call.At(time.Now())
	c := before
	if n%2 == 0 {
		c = call.Evolve(nil, call.CallCreated{
			Actor: call.Actor{User: "alice", Session: "session-of-alice"}, ID: call.NewID(at, uint32(n*committers+committer)*2654435761),
			App: 1, At: at, Invitees: []call.UserID{"bob"}, Timeout: 90, ExtendedData: `{"type":"video","room":"abcdef"}`,
		})
	} else {
		c = call.Evolve(c, call.CallAccepted{Actor: call.Actor{User: "bob", Session: "session-of-bob"}, At: at})
	}
	commit := &store.CallCommit{
		CallRecord: store.CallRecord{Call: c, CommitID: uint64(event), Sequences: map[store.EndpointID]int{1: n%2 + 1}},
		Prior:      c.Version - 1,
		Events: []*store.Event{{
			App: 1, Call: c.ID, Name: "call_create", At: at, Fields: []byte(fields),
			Deliveries: []store.Subscription{{Endpoint: 1, Sequence: n%2 + 1}},
		}},
	}
	if n%2 == 0 { // of a hundred thousand users
		commit.NewUsers = []call.UserID{user(uint32(event)), user(uint32(event) + 7919)}
	}
	return commit
}

func user(n uint32) call.UserID { return call.UserID(fmt.Sprint("user", n*2654435761%100_000)) }

// BenchmarkCommitCall measures transitions by so many committers at once.
func BenchmarkCommitCall(b *testing.B) {
	for _, committers := range []int{1, 16, 128} {
		b.Run(fmt.Sprint(committers), func(b *testing.B) {
			var events, next, batches atomic.Int64
			s := open(b, Options{afterTransact: func(int) { batches.Add(1) }})
			stop := meter(b, &batches)
			var wg sync.WaitGroup
			for i := range committers {
				wg.Go(func() {
					var c *call.Call
					for n := 0; next.Add(1) <= int64(b.N); n++ {
						commit := transition(c, i, committers, n, events.Add(1))
						c = commit.Call
						if err := s.CommitCall(b.Context(), commit); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			stop(b.N)
		})
	}
}

// BenchmarkRecordAttempts measures first attempts that succeed, 16 at a time.
func BenchmarkRecordAttempts(b *testing.B) {
	var batches atomic.Int64
	s := open(b, Options{afterTransact: func(int) { batches.Add(1) }})
	const group = 16
	var attempts []store.Attempt
	var commits []*store.CallCommit
	for n := range b.N * group {
		c := transition(nil, n, b.N*group, 0, int64(n+1))
		commits = append(commits, c)
		attempts = append(attempts, store.Attempt{
			Delivery: store.DeliveryKey{Endpoint: 1, Call: c.Call.ID, Sequence: 1}, Number: 1, Started: now, Duration: 3, Status: 200,
			Response: `{"code":0}`, State: store.Delivered,
		})
	}
	fill(b, s, commits)
	stop := meter(b, &batches)
	for n := range b.N {
		if err := s.RecordAttempts(b.Context(), attempts[n*group:(n+1)*group]); err != nil {
			b.Fatal(err)
		}
	}
	stop(b.N * group)
}

// fill writes commits in large transactions.
func fill(b *testing.B, s *Store, commits []*store.CallCommit) {
	for len(commits) > 0 {
		n := min(1000, len(commits))
		err := s.submit(b.Context(), func(w *writer) error {
			for _, c := range commits[:n] {
				if err := w.commitCall(c, store.EncodeCall(&c.CallRecord)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		commits = commits[n:]
	}
}

// BenchmarkPrune measures the removal of calls with their events and all.
func BenchmarkPrune(b *testing.B) {
	var batches atomic.Int64
	s := open(b, Options{afterTransact: func(int) { batches.Add(1) }})
	var commits []*store.CallCommit
	for n := range b.N {
		created := transition(nil, n, b.N, 0, int64(2*n+1))
		commits = append(commits, created, transition(created.Call, n, b.N, 1, int64(2*n+2)))
	}
	fill(b, s, commits)
	if _, err := s.SyncApps(b.Context(), []store.App{{ID: 1, Endpoints: []string{"http://a"}}}, now); err != nil {
		b.Fatal(err)
	}
	if _, err := s.SyncApps(b.Context(), nil, now); err != nil { // nothing stays pending
		b.Fatal(err)
	}
	stop := meter(b, &batches)
	for {
		n, err := s.Prune(b.Context(), call.At(time.Now())+1e6, 1000)
		if err != nil {
			b.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	stop(b.N)
	if left, err := s.LastEventID(b.Context()); err != nil || left != 0 {
		b.Errorf("events are left up to %d (%v)", left, err)
	}
}
