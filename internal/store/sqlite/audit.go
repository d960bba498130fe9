package sqlite

import (
	"context"
	"fmt"
	"math"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

const (
	insertAudit = `INSERT INTO audit (at_ms, actor, remote, action, target, details) VALUES (?1, ?2, ?3, ?4, ?5, ?6)`
	listAudit   = `SELECT id, at_ms, actor, remote, action, target, details FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2`
)

// AddAudit writes what somebody did.
func (s *Store) AddAudit(ctx context.Context, audit *store.Audit) error {
	var id int64
	err := s.submit(ctx, func(w *writer) (err error) {
		id, err = w.addAudit(audit)
		return err
	})
	if err == nil {
		setAuditID(audit, id)
	}
	return err
}

// addAudit writes an entry, if there is one, and gives its ID. The entry is
// left alone, because the transaction may fail and come again.
func (w *writer) addAudit(a *store.Audit) (int64, error) {
	if a == nil {
		return 0, nil
	}
	err := w.conn.on(insertAudit).int(int64(a.At)).text(a.Actor).text(a.Remote).text(a.Action).text(a.Target).blob(a.Details).run()
	if err != nil {
		return 0, fmt.Errorf("audit: %w", err)
	}
	return w.conn.LastInsertRowID(), nil
}

func setAuditID(a *store.Audit, id int64) {
	if a != nil {
		a.ID = id
	}
}

// AuditLog lists what was done, the newest first.
func (s *Store) AuditLog(ctx context.Context, before int64, limit int) ([]store.Audit, error) {
	var entries []store.Audit
	err := s.read(ctx, func(c *conn) error {
		st := c.on(listAudit).int(orLast(before)).int(int64(limit))
		for st.next() {
			entries = append(entries, store.Audit{
				ID: st.ColumnInt64(0), At: call.Instant(st.ColumnInt64(1)), Actor: st.ColumnText(2), Remote: st.ColumnText(3),
				Action: st.ColumnText(4), Target: st.ColumnText(5), Details: st.bytes(6),
			})
		}
		return st.end()
	})
	if err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	return entries, nil
}

// orLast gives the place where a list begins that goes back from it; 0 is the
// end.
func orLast(before int64) int64 {
	if before == 0 {
		return math.MaxInt64
	}
	return before
}
