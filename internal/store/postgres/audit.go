package postgres

import (
	"context"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/store"
)

const (
	insertAudit = `INSERT INTO audit (at_ms, actor, remote, action, target, details) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`
	listAudit   = `SELECT id, at_ms, actor, remote, action, target, details FROM audit WHERE id < $1 ORDER BY id DESC LIMIT $2`
)

// AddAudit writes what somebody did.
func (s *Store) AddAudit(ctx context.Context, audit *store.Audit) error {
	var id int64
	err := s.transact(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		id, err = addAudit(ctx, tx, audit)
		return err
	})
	if err == nil {
		setAuditID(audit, id)
	}
	return err
}

// addAudit writes an entry, if there is one, and gives its ID. The entry is
// left alone, because the transaction may fail and come again.
func addAudit(ctx context.Context, tx pgx.Tx, a *store.Audit) (id int64, err error) {
	if a == nil {
		return 0, nil
	}
	err = tx.QueryRow(ctx, insertAudit, int64(a.At), textOf(a.Actor), textOf(a.Remote), textOf(a.Action), textOf(a.Target), a.Details).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("audit: %w", err)
	}
	return id, nil
}

func setAuditID(a *store.Audit, id int64) {
	if a != nil {
		a.ID = id
	}
}

// AuditLog lists what was done, the newest first.
func (s *Store) AuditLog(ctx context.Context, before int64, limit int) ([]store.Audit, error) {
	entries, err := read(ctx, s, func(row pgx.CollectableRow) (a store.Audit, err error) {
		return a, row.Scan(&a.ID, (*int64)(&a.At), into(&a.Actor), into(&a.Remote), into(&a.Action), into(&a.Target), &a.Details)
	}, listAudit, orLast(before), limit)
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
