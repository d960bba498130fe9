package postgres

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
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

// historyVariable says how many calls that ended the benchmarks of commits
// find in the database, each with two events and two deliveries; none without.
const historyVariable = "RINGBACK_BENCH_HISTORY"

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
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			b.Skip("the server runs elsewhere")
		}
		parts := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')'):]))
		for _, ticks := range parts[12:14] {
			n, err := strconv.ParseInt(ticks, 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			server += n * 1e7 // of a hundredth of a second
		}
	}
	return usage.Utime.Nano() + usage.Stime.Nano(), server
}

// BenchmarkCommit measures transitions by so many committers at once.
func BenchmarkCommit(b *testing.B) {
	url := pgtest.Database(b)
	open(b, Options{URL: url})
	fill(b, url)
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

// fill makes the history that historyVariable asks for.
func fill(b *testing.B, url string) {
	b.Helper()
	n, err := strconv.Atoi(os.Getenv(historyVariable))
	if err != nil {
		return
	}
	c := call.Evolve(transition(nil, 0, 1).Call, call.CallAccepted{Actor: call.Actor{User: "bob"}, At: call.At(time.Now())})
	state := store.EncodeCall(&store.CallRecord{Call: c, Sequences: map[store.EndpointID]int{1: 2}})
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.Background())
	// The calls of the last hundred days; those of a day are in random order.
	id := `((1750000000 + g / 1000) << 31) + (g::bigint * 2654435761) % 2147483648`
	for _, sql := range []string{
		`CREATE TEMP TABLE g AS SELECT g FROM generate_series(1, ` + strconv.Itoa(n) + `) AS g`,
		`INSERT INTO calls SELECT ` + id + `, 1, 2, g, 0, 1750000000000, 'accepted', '` + fmt.Sprintf(`\x%x`, state) + `' FROM g`,
		`INSERT INTO history SELECT 1, 'user' || (g::bigint * k * 2654435761) % 100000, 1750000000000 + g, ` + id + ` FROM g, generate_series(1, 2) AS k ON CONFLICT DO NOTHING`,
		`INSERT INTO events SELECT (g * 2 + k)::bigint * 1024, 1, ` + id + `, 0, k, false, 'call_create', 'alice', 's', '` + fmt.Sprintf(`\x%x`, fields) + `' FROM g, generate_series(0, 1) AS k`,
		`INSERT INTO deliveries SELECT ` + id + `, 1, k + 1, (g * 2 + k)::bigint * 1024, 0, 1, 0, 1, 1, 200, 0, 3, '', '{"code":0}', '', '' FROM g, generate_series(0, 1) AS k`,
		`DROP TABLE g`,
		`VACUUM ANALYZE`,
		`CHECKPOINT`,
	} {
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			b.Fatalf("%.60s: %v", sql, err)
		}
	}
}
