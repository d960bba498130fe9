package postgres

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/store/scan"
)

// TestPlans says that no statement which comes often looks at more than it
// finds, as the plans are when the tables are still empty, and so stay: nothing
// is known of them yet, or that they have no rows, or few.
func TestPlans(t *testing.T) {
	s := open(t, Options{})
	conn, err := pgx.ConnectConfig(t.Context(), s.config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	t.Run("new tables", func(t *testing.T) { checkPlans(t, conn) })
	if _, err := conn.Exec(t.Context(), "VACUUM ANALYZE"); err != nil {
		t.Fatal(err)
	}
	t.Run("empty tables", func(t *testing.T) { checkPlans(t, conn) })
	for i := range 60 { // autovacuum looks again at fifty new rows at the earliest
		made := transition(nil, 0, int64(i))
		user := call.UserID(fmt.Sprint(i))
		err := errors.Join(s.CommitCall(t.Context(), made), s.CommitSessions(t.Context(), &store.SessionCommit{
			App: 1, User: user, Put: []store.Session{{App: 1, User: user, ID: "s", OfflineAt: call.Instant(i % 2)}}, Login: true,
		}))
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(t.Context(), "VACUUM ANALYZE"); err != nil {
		t.Fatal(err)
	}
	t.Run("few rows", func(t *testing.T) { checkPlans(t, conn) })
}

func checkPlans(t *testing.T, conn *pgx.Conn) {
	for sql, want := range map[string][]string{
		insertCalls:  {"requests_pkey", "sessions_pkey"},
		updateCalls:  {"calls_pkey", "requests_pkey"},
		insertOwned:  {"calls_pkey", "users_pkey", "endpoints_pkey", "sessions_pkey"},
		updateUsers:  {"users_pkey"},
		insertUsers:  {},
		putSessions:  {"users_pkey"},
		dropSessions: {"users_pkey", "sessions_pkey"},

		findCall:        {"calls_pkey"},
		listLive:        {"calls_live"},
		listHeads:       {"calls_live"},
		listLiveOf:      {"calls_live", "history_days_pkey", "history_pkey"},
		listHistory:     {"history_days_pkey", "history_pkey", "calls_pkey"},
		findRequest:     {"requests_pkey"},
		listEvents:      {"events_pkey"},
		lastLooked:      {"events_pkey"},
		lastEvent:       {"events_pkey"},
		listEventsOf:    {"events_of_call"},
		keepAttempts:    {"deliveries_pkey"},
		putAttempts:     {"deliveries_pkey", "endpoints_pkey"},
		listAttempts:    {"deliveries_pkey", "attempts_pkey"},
		listOfCall:      {"deliveries_pkey", "events_pkey"},
		listBacklogs:    {"deliveries_due", "events_pkey"},
		keepLatest:      {"deliveries_pkey"},
		redeliver:       {"deliveries_pkey", "events_pkey"},
		failPending:     {"deliveries_due", "deliveries_pkey"},
		findRemoved:     {"deliveries_due"},
		listLogged:      {"deliveries_event", "events_pkey"},
		appendTraces:    {"calls_pkey"},
		listTraces:      {"traces_pkey"},
		findUsers:       {"users_pkey", "sessions_pkey"},
		listUsers:       {"users_pkey", "sessions_pkey"},
		listSessionsOf:  {"sessions_pkey"},
		sessionsVersion: {"users_pkey"},
		listOpenOf:      {"sessions_pkey"},
		listOpen:        {"sessions_pkey"},
		listOffline:     {"sessions_offline"},
		listLost:        {"sessions_of_node"},
		findOldCalls:    {"calls_pkey", "deliveries_pkey"},
		deleteOldCalls:  {"calls_pkey", "deliveries_pkey"},
		deleteHistory:   {"history_pkey"},
		findOldDays:     {"history_days_pkey", "history_pkey"},
		deleteOldDays:   {"history_days_pkey", "history_pkey"},
		findOldEvents:   {"events_pkey", "calls_pkey", "deliveries_pkey"},

		listPending + pendingOrder:            {"deliveries_due", "events_pkey"},
		listStrict + pendingOrder:             {"deliveries_due", "deliveries_pkey", "events_pkey"},
		listPlaces(&scan.Range{Failed: true}): {"deliveries_failed"},
		fmt.Sprintf(windowEnd, windowByID):    {"calls_pkey"},
		fmt.Sprintf(windowEnd, windowLive):    {"calls_live"},
		fmt.Sprintf(windowEnd, windowHistory): {"history_days_pkey", "history_pkey", "calls_pkey"},

		listPlaces(&scan.Range{States: true, Names: true, Oldest: true}): {"deliveries_event", "events_pkey"},
	} {
		plan := planOf(t, conn, sql)
		for _, index := range want {
			if !strings.Contains(plan, "using "+index) {
				t.Errorf("the index %s is not used:\n%s\n%s", index, sql, plan)
			}
		}
		if strings.Contains(plan, "using history_pkey") && !byDay.MatchString(plan) {
			t.Errorf("all days are looked at:\n%s\n%s", sql, plan)
		}
		for _, scan := range wideScans(plan) {
			if slices.Contains([]string{listBacklogs, listLost, lastEvent, listLiveOf, findOldDays, deleteOldDays}, sql) {
				continue // they read all that is due, or lost, or take the first
			}
			t.Errorf("too much of an index is looked at: %s\n%s\n%s", scan, sql, plan)
		}
		if scan := regexp.MustCompile(`Seq Scan on (calls|history|history_days|events|deliveries|attempts|users|sessions|requests|nonces|traces|endpoints)\b.*`).FindString(plan); scan != "" {
			t.Errorf("%s:\n%s\n%s", scan, sql, plan)
		}
	}
	for _, sql := range []string{listPending + pendingOrder, listLive, listHistory, windowHistory, listEvents, listOpen, listOffline, fmt.Sprintf(candidatesByID, windowByID, 4, 5, 6, 7, 8)} {
		// An incremental sort has few rows to sort that were equal.
		if plan := planOf(t, conn, sql); regexp.MustCompile(`(?m)^[ >-]*Sort +\(`).MatchString(plan) {
			t.Errorf("all is sorted:\n%s\n%s", sql, plan)
		}
	}
}

// byDay is a look into the history of some days.
var byDay = regexp.MustCompile(`Index Cond: \(+day = `)

// wideScans gives the scans of an index that have no condition, or where the
// index begins with an app, only that.
func wideScans(plan string) (wide []string) {
	scan := ""
	end := func() {
		if scan != "" {
			wide = append(wide, scan)
		}
		scan = ""
	}
	big := regexp.MustCompile(`Index (Only )?Scan .*on (calls|history|events|deliveries|attempts|users|sessions|requests|nonces|traces)\b`)
	for line := range strings.Lines(plan) {
		switch {
		case strings.Contains(line, "Index Cond:") && !regexp.MustCompile(`using (users|sessions|requests|history)_pkey`).MatchString(scan),
			strings.Contains(line, "Index Cond:") && strings.Contains(line, "user_id"):
			scan = ""
		case strings.Contains(line, "->"):
			end()
		}
		if big.MatchString(line) {
			scan = strings.TrimSpace(line)
		}
	}
	end()
	return wide
}

var parameter = regexp.MustCompile(`\$(\d+)`)

// planOf gives the generic plan of a statement.
func planOf(t *testing.T, conn *pgx.Conn, sql string) string {
	t.Helper()
	most := 0
	for _, m := range parameter.FindAllStringSubmatch(sql, -1) {
		n := 0
		if _, err := fmt.Sscan(m[1], &n); err != nil {
			t.Fatal(err)
		}
		most = max(most, n)
	}
	nulls := strings.TrimSuffix(strings.Repeat("NULL, ", most), ", ")
	if nulls != "" {
		nulls = "(" + nulls + ")"
	}
	if _, err := conn.Exec(t.Context(), "PREPARE p AS "+sql); err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	rows, err := conn.Query(t.Context(), "EXPLAIN EXECUTE p "+nulls, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	if _, err := conn.Exec(t.Context(), "DEALLOCATE p"); err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}
