package sqlite

import (
	"strings"
	"testing"
)

// TestPlans says that statements which run often, or on large tables, go by
// an index and in its order.
func TestPlans(t *testing.T) {
	s := open(t, Options{})
	sorts := map[string]bool{listAttempts: true, listOfCall: true, listBacklogs: true} // few rows
	for _, sql := range []string{
		insertCall, updateCall, endCall, insertHistory, insertEvent, insertDelivery, findRequest, putRequest,
		listLive, listHistory, keepAttempt, putAttempt, listAttempts, listPending + pendingOrder, listStrict + pendingOrder, listOfCall,
		listBacklogs, failPending, putLogin, putSession, dropSession, registerUser, findUser, listOpen, listOffline,
		findOldCalls, deleteOldCall, deleteHistory, findOldEvents, deleteOldRequests,
	} {
		err := s.read(t.Context(), func(c *conn) error {
			st := c.on("EXPLAIN QUERY PLAN " + sql)
			for st.next() {
				step := st.ColumnText(3)
				switch {
				case strings.HasPrefix(step, "SCAN p"): // the endpoints, which are few
				case sql == listBacklogs && step == "SCAN deliveries USING COVERING INDEX deliveries_due", step == "SCAN b":
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
