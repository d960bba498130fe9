package postgres

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/postgres/pgtest"
)

const fields = `{"call_id":"3677361664524353123","user_ids":["bob"],"create_time":1700000000,` +
	`"payload":"{\"type\":\"video\",\"room\":\"abcdef\"}","caller":"alice","timeout":90}`

// transition is the nth commit of a committer: by turns a new call and its
// answer, each with one event and one delivery.
func transition(before *call.Call, n int, commit int64) *store.CallCommit {
	at := call.At(time.Now())
	c := before
	if n%2 == 0 {
		c = call.Evolve(nil, call.CallCreated{
			Actor: call.Actor{User: "alice", Session: "session-of-alice"}, ID: call.NewID(at, uint32(commit)*2654435761),
			App: 1, At: at, Invitees: []call.UserID{"bob"}, Timeout: 90, ExtendedData: `{"type":"video","room":"abcdef"}`,
		})
	} else {
		c = call.Evolve(c, call.CallAccepted{Actor: call.Actor{User: "bob", Session: "session-of-bob"}, At: at})
	}
	made := &store.CallCommit{
		CallRecord: store.CallRecord{Call: c, CommitID: uint64(commit), Sequences: map[store.EndpointID]int{1: n%2 + 1}},
		Prior:      c.Version - 1,
		Events: []*store.Event{{
			App: 1, Call: c.ID, Name: "call_create", At: at, Fields: []byte(fields),
			Deliveries: []store.Subscription{{Endpoint: 1, Sequence: n%2 + 1}},
		}},
	}
	if n%2 == 0 { // of a hundred thousand users
		made.NewUsers = []call.UserID{user(uint32(commit)), user(uint32(commit) + 7919)}
	}
	return made
}

func user(n uint32) call.UserID { return call.UserID(fmt.Sprint("user", n*2654435761%100_000)) }

// cpu is the processor time in nanoseconds that the process and the server's
// connections of the stores have used.
func cpu(b *testing.B, stores []*Store) (own, server int64) {
	b.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	var names []string
	for _, s := range stores {
		names = append(names, s.name)
	}
	pids, err := read(b.Context(), stores[0], pgx.RowTo[int], "SELECT pid FROM pg_stat_activity WHERE application_name = ANY($1)", names)
	if err != nil {
		b.Fatal(err)
	}
	for _, pid := range pids {
		server += int64(1e3 * mustStat(b, pid).microseconds(b, ownTicks))
	}
	return usage.Utime.Nano() + usage.Stime.Nano(), server
}

// BenchmarkCommit measures transitions by so many committers at once.
func BenchmarkCommit(b *testing.B) {
	url := pgtest.Database(b)
	open(b, Options{URL: url})
	for _, nodes := range []int{1, 2} {
		for _, committers := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("nodes=%d/committers=%d", nodes, committers), func(b *testing.B) {
				var commits, next, batches atomic.Int64
				stores := make([]*Store, nodes)
				for i := range stores {
					stores[i] = open(b, Options{URL: url, afterTransact: func(int) { batches.Add(1) }})
				}
				commits.Store(time.Now().UnixNano())
				own, server := cpu(b, stores)
				b.ResetTimer()
				var wg sync.WaitGroup
				for i := range committers {
					wg.Go(func() {
						var c *call.Call
						for n := 0; next.Add(1) <= int64(b.N); n++ {
							commit := transition(c, n, commits.Add(1))
							c = commit.Call
							if err := stores[i%nodes].CommitCall(b.Context(), commit); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				own2, server2 := cpu(b, stores)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "transitions/s")
				b.ReportMetric(float64(own2-own)/1e3/float64(b.N), "cpu-µs/op")
				b.ReportMetric(float64(server2-server)/1e3/float64(b.N), "server-µs/op")
				b.ReportMetric(float64(b.N)/float64(max(1, batches.Load())), "ops/batch")
			})
		}
	}
}
