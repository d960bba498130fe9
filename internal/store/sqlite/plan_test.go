package sqlite

import (
	"strings"
	"testing"

	"github.com/ringback/ringback/internal/store/scan"
)

// TestPlans says that statements which run often, or on large tables, go by
// an index and in its order.
func TestPlans(t *testing.T) {
	s := open(t, Options{})
	sorts := map[string]bool{listAttempts: true, listOfCall: true, listBacklogs: true} // few rows
	all := []string{
		insertCall, updateCall, endCall, insertHistory, insertEvent, insertDelivery, findRequest, putRequest,
		listLive, listHistory, keepAttempt, putAttempt, listAttempts, listPending + pendingOrder, listStrict + pendingOrder, listOfCall,
		listBacklogs, failPending, findRemoved, putLogin, putSession, dropSession, registerUser, findUser, listOpen, listOffline,
		findOldCalls, deleteOldCall, deleteHistory, findOldEvents, deleteOldRequests, deleteOldNonces, expiredNonces, expiredRequests,
		listEvents, listEventsOf, lastEvent, moreEvents, listLogged, listPendingPlaces, listPlacesOfCall,
		searchByID, searchLive, searchHistory, listUsers, findByKey, redeliver, listJobs, listAudit, useNonce, appendTrace, listTraces,
	}
	for _, failed := range []bool{false, true} {
		for _, name := range []bool{false, true} {
			for _, oldest := range []bool{false, true} {
				r := scan.Range{Failed: failed, States: !failed, Names: name, Oldest: oldest}
				all = append(all, listPlaces(&r))
				r.States = false
				plain := listPlaces(&r)
				if all = append(all, plain); !name && !covered(t, s, plain) {
					t.Errorf("%s\n\tlooks at more than its index", plain)
				}
			}
		}
	}
	for _, sql := range all {
		err := s.read(t.Context(), func(c *conn) error {
			st := c.on("EXPLAIN QUERY PLAN " + sql)
			for st.next() {
				step := st.ColumnText(3)
				switch {
				case strings.HasPrefix(step, "SCAN p"), step == "SCAN CONSTANT ROW": // the endpoints, which are few; one EXISTS
				case sql == listBacklogs && step == "SCAN d USING COVERING INDEX deliveries_due", step == "SCAN b":
				case strings.Contains(step, "TEMP B-TREE") && sorts[sql]:
				case strings.Contains(step, "SCAN"), strings.Contains(step, "TEMP B-TREE"):
					t.Errorf("%s\n\tdoes: %s", sql, step)
				}
			}
			return st.end()
		})
		if err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// covered reports whether a statement looks at nothing but an index.
func covered(t *testing.T, s *Store, sql string) (is bool) {
	t.Helper()
	err := s.read(t.Context(), func(c *conn) error {
		st := c.on("EXPLAIN QUERY PLAN " + sql)
		for st.next() {
			is = strings.Contains(st.ColumnText(3), "USING COVERING INDEX")
		}
		return st.end()
	})
	if err != nil {
		t.Error(err)
	}
	return is
}
