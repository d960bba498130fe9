package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/postgres/pgtest"
)

// Variables of BenchmarkHistory.
const (
	// historyVariable says how many calls the history has; 10,000 without.
	historyVariable = "RINGBACK_BENCH_HISTORY"
	// historyDatabase is the URL of a database for the history, which stays
	// when the benchmark is over and is not filled again. Without it each run
	// makes one.
	historyDatabase = "RINGBACK_BENCH_DATABASE"
)

const (
	historySpan   = 30 * 24 * time.Hour
	historyRounds = 5  // of each database, by turns
	callsOfUser   = 20 // made by each user; he gets as many
)

// history is the calls of thirty days, until an hour ago, evenly. Each has two
// users, two events and two deliveries to one endpoint.
type history struct {
	calls int
	users int64
	start int64 // Unix microseconds
	step  int64 // microseconds between calls
}

func newHistory(b *testing.B) history {
	b.Helper()
	h := history{calls: 10_000, start: time.Now().Add(-historySpan - time.Hour).UnixMicro()}
	if text := os.Getenv(historyVariable); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			b.Fatalf("%s is not a number of calls", historyVariable)
		}
		h.calls = n
	}
	h.users = max(100, int64(h.calls/callsOfUser))
	h.step = historySpan.Microseconds() / int64(h.calls)
	return h
}

// user is one of the users of the history.
func (h *history) user(n uint64) call.UserID {
	return call.UserID(fmt.Sprint("user", n%uint64(h.users)))
}

// sources are the queries whose rows make the history, by table.
func (h *history) sources() map[string]string {
	// The caller, the callee and the times are put into the state of one call.
	at := call.Instant(1111111111111)
	c := call.Evolve(nil, call.CallCreated{
		Actor: call.Actor{User: "alice", Session: "session-of-alice"}, ID: 3333333333333333333, App: 1, At: at,
		Invitees: []call.UserID{"bob"}, Timeout: 90, ExtendedData: `{"type":"video","room":"abcdef"}`,
	})
	c = call.Evolve(c, call.CallAccepted{Actor: call.Actor{User: "bob", Session: "session-of-bob"}, At: 2222222222222})
	state := string(store.EncodeCall(&store.CallRecord{Call: c, Sequences: map[store.EndpointID]int{1: 2}}))
	for _, r := range [][2]string{
		{`"alice"`, `"'||caller||'"`},
		{`"bob"`, `"'||callee||'"`},
		{"1111111111111", "'||at_us/1000||'"},
		{"2222222222222", "'||end_us/1000||'"},
		{"3333333333333333333", "'||id||'"},
	} {
		state = strings.ReplaceAll(state, r[0], r[1])
	}
	// A call has any place among those of its second, and its users may be
	// anybody. No two events are of one microsecond.
	calls := fmt.Sprintf(`(SELECT n, at_us, at_us + (5 + n %% 20) * %[3]d + n %% 20 + 1 AS end_us,
			((at_us / 1000000) << 31) + n * 2654435761 %% 2147483648 AS id, 'user' || u AS caller, 'user' || (u + 1 + n * 40503 %% (%[4]d - 1)) %% %[4]d AS callee
		FROM (SELECT n, %[2]d + n * %[3]d AS at_us, n * 2654435761 %% %[4]d AS u FROM generate_series(1::bigint, %[1]d) AS n) AS a) AS c`,
		h.calls, h.start, h.step, h.users)
	event := fmt.Sprintf(`((CASE k WHEN 1 THEN at_us ELSE end_us END - %d) << 10)`, epoch)
	return map[string]string{
		"calls": `SELECT id, 1::bigint, 2::bigint, n, 0::bigint, end_us / 1000, '` + string(c.Outcome()) + `'::text, convert_to('` + state + `', 'UTF8') FROM ` + calls,
		"history": `SELECT at_us / 86400000000, 1::bigint, CASE k WHEN 1 THEN caller ELSE callee END, at_us / 1000, id FROM ` + calls + `,
			LATERAL generate_series(1, 2) AS k`,
		"events": `SELECT ` + event + `, 1::bigint, id, CASE k WHEN 1 THEN at_us ELSE end_us END / 1000, k::bigint, false,
			CASE k WHEN 1 THEN 'call_create' ELSE 'call_accept' END, CASE k WHEN 1 THEN caller ELSE callee END, 'session-of-him', convert_to('` + fields + `', 'UTF8')
			FROM ` + calls + `, LATERAL generate_series(1, 2) AS k`,
		"deliveries": `SELECT id, 1::bigint, k::bigint, ` + event + `, CASE k WHEN 1 THEN at_us ELSE end_us END / 1000, 1, 0, 1::smallint, 1::smallint, 200,
			CASE k WHEN 1 THEN at_us ELSE end_us END / 1000, 3::bigint, ''::bytea, '` + answer + `'::bytea, '` + answerHeader + `'::bytea, NULL::bytea
			FROM ` + calls + `, LATERAL generate_series(1, 2) AS k`,
	}
}

const (
	answer       = `{"code":0}`
	answerHeader = "Content-Type: application/json\nContent-Length: 10"
)

// fill makes the history in a database.
func (h *history) fill(b *testing.B, url string) {
	b.Helper()
	var wg sync.WaitGroup
	for table, source := range h.sources() {
		wg.Go(func() {
			begun := time.Now()
			if err := fillTable(b.Context(), url, table, source); err != nil {
				b.Errorf("fill %s: %v", table, err)
			}
			b.Logf("%s filled in %s", table, time.Since(begun).Round(time.Second))
		})
	}
	wg.Wait()
	if !b.Failed() {
		pgtest.Exec(b, url, `INSERT INTO history_days SELECT generate_series((SELECT min(day) FROM history), (SELECT max(day) FROM history))`,
			`CREATE TABLE bench_history AS SELECT `+fmt.Sprint(h.calls)+`::bigint AS calls`, "ANALYZE")
	}
}

// fillTable fills an empty table with the rows of a query, and makes its
// indexes then. The rows go through this process, because only COPY makes them
// as they are after a vacuum.
func fillTable(ctx context.Context, url, table, source string) error {
	from, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer from.Close(ctx)
	to, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer to.Close(ctx)
	return pgx.BeginFunc(ctx, to, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT format('ALTER TABLE %I DROP CONSTRAINT %I', $1::text, conname), format('ALTER TABLE %I ADD %s', $1::text, pg_get_constraintdef(oid))
				FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype = 'p'
			UNION ALL SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
				FROM pg_index WHERE indrelid = $1::text::regclass AND NOT indisprimary`, table)
		if err != nil {
			return err
		}
		var drop, create []string
		var d, c string
		if _, err := pgx.ForEachRow(rows, []any{&d, &c}, func() error {
			drop, create = append(drop, d), append(create, c)
			return nil
		}); err != nil {
			return err
		}
		for _, sql := range append([]string{"TRUNCATE " + table, "SET LOCAL maintenance_work_mem = '256MB'"}, drop...) {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		r, w := io.Pipe()
		go func() {
			buffered := bufio.NewWriterSize(w, 1<<18)
			_, err := from.PgConn().CopyTo(ctx, buffered, "COPY ("+source+") TO STDOUT (FORMAT binary)")
			w.CloseWithError(errors.Join(err, buffered.Flush()))
		}()
		_, err = to.PgConn().CopyFrom(ctx, r, "COPY "+table+" FROM STDIN (FORMAT binary, FREEZE)")
		r.CloseWithError(err)
		for _, sql := range create {
			if err == nil {
				_, err = tx.Exec(ctx, sql)
			}
		}
		return err
	})
}

// figures are what a round has cost for each call.
type figures struct {
	server   float64 // µs of processor time of all the server's processes, with writing all to disk
	wal      float64 // bytes of log
	images   float64 // of pages in the log
	hit      float64 // pages found in the server's memory
	read     float64 // pages not found there
	p50, p99 float64 // ms of a transition
	rate     float64 // calls/s
}

var columnsOfFigures = []struct {
	name   string
	format string
	of     func(*figures) *float64
}{
	{"server µs/call", "%.0f", func(f *figures) *float64 { return &f.server }},
	{"WAL bytes/call", "%.0f", func(f *figures) *float64 { return &f.wal }},
	{"page images/call", "%.2f", func(f *figures) *float64 { return &f.images }},
	{"hit/call", "%.1f", func(f *figures) *float64 { return &f.hit }},
	{"read/call", "%.2f", func(f *figures) *float64 { return &f.read }},
	{"p50 ms", "%.2f", func(f *figures) *float64 { return &f.p50 }},
	{"p99 ms", "%.2f", func(f *figures) *float64 { return &f.p99 }},
	{"calls/s", "%.0f", func(f *figures) *float64 { return &f.rate }},
}

// BenchmarkHistory compares whole calls (an invitation, its answer, the results
// of two deliveries) in an empty database with such in one that has a history,
// on the same server, by turns: b.N calls a round. It logs medians.
//
// Figures that mean something need a history of millions on a server of its
// own (pgtest.External), and rounds of thousands of calls.
func BenchmarkHistory(b *testing.B) {
	h := newHistory(b)
	urls := []string{pgtest.Database(b), os.Getenv(historyDatabase)}
	if urls[1] == "" {
		urls[1] = pgtest.Database(b)
	}
	for _, url := range urls {
		open(b, Options{URL: url}).Close()
	}
	if !hasTable(b, urls[1], "bench_history") {
		h.fill(b, urls[1])
	}
	if b.Failed() {
		return
	}
	names := []string{"empty", fmt.Sprint(h.calls, " calls")}
	for _, committers := range []int{1, 16} {
		b.Run(fmt.Sprint("committers=", committers), func(b *testing.B) {
			all := make([][]figures, len(urls))
			for range historyRounds {
				for i, url := range urls {
					all[i] = append(all[i], h.round(b, url, committers, nil))
				}
			}
			report(b, names, all)
		})
	}
	// How fast a prune goes, and what it does to calls meanwhile.
	b.Run("prune", func(b *testing.B) {
		var pruned []float64
		all := make([][]figures, 2)
		for range historyRounds {
			all[0] = append(all[0], h.round(b, urls[1], 16, nil))
			all[1] = append(all[1], h.round(b, urls[1], 16, func(ctx context.Context, s *Store) {
				begun, n := time.Now(), 0
				for ctx.Err() == nil {
					more, err := s.Prune(ctx, call.At(time.UnixMicro(h.start).Add(historySpan/2)), 200)
					if err != nil && ctx.Err() == nil {
						b.Error(err)
					}
					if n += more; more == 0 {
						break
					}
					select {
					case <-ctx.Done():
					case <-time.After(20 * time.Millisecond): // as the engine does
					}
				}
				pruned = append(pruned, float64(n)/time.Since(begun).Seconds())
			}))
		}
		b.ReportMetric(median(pruned), "pruned/s")
		report(b, []string{"no prune", "prune"}, all)
	})
}

func hasTable(b *testing.B, url, name string) (there bool) {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())
	if err := conn.QueryRow(b.Context(), "SELECT to_regclass($1) IS NOT NULL", name).Scan(&there); err != nil {
		b.Fatal(err)
	}
	return there
}

// round makes b.N calls, so many at once, while something else goes on.
func (h *history) round(b *testing.B, url string, committers int, beside func(context.Context, *Store)) (f figures) {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())
	if _, err := conn.Exec(b.Context(), "CHECKPOINT"); err != nil {
		b.Fatal(err)
	}
	s, err := Open(b.Context(), Options{URL: url})
	if err != nil {
		b.Fatal(err)
	}
	before := lookAtServer(b, conn)
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	if beside != nil {
		wg.Go(func() { beside(ctx, s) })
	}
	begun := time.Now()
	took := h.callsThrough(b, s, committers)
	f.rate = float64(b.N) / time.Since(begun).Seconds()
	cancel()
	wg.Wait()
	s.Close() // its connections tell what they did
	if _, err := conn.Exec(b.Context(), "CHECKPOINT"); err != nil {
		b.Fatal(err)
	}
	after, n := lookAtServer(b, conn), float64(b.N)
	f.server = (after.cpu - before.cpu) / n
	f.wal, f.images = (after.wal-before.wal)/n, (after.images-before.images)/n
	f.hit, f.read = (after.hit-before.hit)/n, (after.read-before.read)/n
	if slices.Sort(took); len(took) > 0 {
		f.p50, f.p99 = took[len(took)/2].Seconds()*1e3, took[len(took)*99/100].Seconds()*1e3
	}
	return f
}

// callsThrough makes b.N calls, so many at once, and gives how long each
// transition took.
func (h *history) callsThrough(b *testing.B, s *Store, committers int) (took []time.Duration) {
	var next atomic.Int64
	var mu sync.Mutex
	var wg, recorder sync.WaitGroup
	attempts := make(chan store.Attempt, 1024)
	recorder.Go(func() { recordAll(b, s, attempts) })
	seed := uint64(time.Now().UnixNano())
	for range committers {
		wg.Go(func() {
			var own []time.Duration
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					break
				}
				key := (seed + uint64(n)) * 0x9e3779b97f4a7c15
				var c *call.Call
				for i := range 2 {
					commit := transition(c, i, int64(key>>20))
					if i == 0 {
						commit.NewUsers = []call.UserID{h.user(key >> 32), h.user(key>>32 + 1 + key>>8%1000)}
					}
					c = commit.Call
					begun := time.Now()
					if err := s.CommitCall(b.Context(), commit); err != nil {
						b.Error(err)
						return
					}
					own = append(own, time.Since(begun))
					attempts <- store.Attempt{
						Delivery: store.DeliveryKey{Call: c.ID, Endpoint: 1, Sequence: int64(i + 1)}, Number: 1, Started: call.At(time.Now()),
						Duration: 3, Status: 200, Response: answer, Header: answerHeader, State: store.Delivered,
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, own...)
		})
	}
	wg.Wait()
	close(attempts)
	recorder.Wait()
	return took
}

// recordAll records attempts, all that are there at a time.
func recordAll(b *testing.B, s *Store, attempts <-chan store.Attempt) {
	for first := range attempts {
		batch := []store.Attempt{first}
	more:
		for len(batch) < 256 {
			select {
			case a, ok := <-attempts:
				if !ok {
					break more
				}
				batch = append(batch, a)
			default:
				break more
			}
		}
		if err := s.RecordAttempts(b.Context(), batch); err != nil {
			b.Error(err)
		}
	}
}

// counters are what a server has done so far.
type counters struct{ cpu, wal, images, hit, read float64 }

func lookAtServer(b *testing.B, conn *pgx.Conn) (c counters) {
	b.Helper()
	err := conn.QueryRow(b.Context(), `SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8, blks_hit::float8, blks_read::float8
		FROM pg_stat_database WHERE datname = current_database()`).Scan(&c.wal, &c.hit, &c.read)
	if err != nil {
		b.Fatal(err)
	}
	// PostgreSQL 13 does not count these.
	err = conn.QueryRow(b.Context(), "SELECT wal_fpi::float8 FROM pg_stat_wal").Scan(&c.images)
	if pg := (*pgconn.PgError)(nil); err != nil && !errors.As(err, &pg) {
		b.Fatal(err)
	}
	c.cpu = serverTime(b, int(conn.PgConn().PID()))
	return c
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[len(list)/2]
}

// report logs medians.
func report(b *testing.B, names []string, all [][]figures) {
	b.Helper()
	if b.N == 1 {
		return // the benchmark only begins
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, c := range columnsOfFigures {
		fmt.Fprint(w, "\t", c.name)
	}
	for i, rounds := range all {
		fmt.Fprint(w, "\n", names[i])
		for _, c := range columnsOfFigures {
			var list []float64
			for k := range rounds {
				list = append(list, *c.of(&rounds[k]))
			}
			fmt.Fprintf(w, "\t"+c.format, median(list))
		}
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	b.Logf("medians of %d rounds of %d calls\n%s", historyRounds, b.N, text.String())
}
