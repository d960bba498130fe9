package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ringback/ringback/internal/store"
)

// querier is what reads: the pool, or a transaction that sees one state of the
// database.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// read gives the rows of a query, nil when there are none.
func read[T any](ctx context.Context, s *Store, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	list, err := query(ctx, s.pool, scan, sql, args...)
	if err != nil && s.line.Closed() {
		return nil, store.ErrClosed
	}
	return list, err
}

// query is read within a transaction.
func query[T any](ctx context.Context, q querier, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.AppendRows([]T(nil), rows, scan)
}

// snapshot calls f with a transaction that sees one state of the database.
func (s *Store) snapshot(ctx context.Context, f func(tx querier) error) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return f(tx)
	})
	if err != nil && s.line.Closed() {
		return store.ErrClosed
	}
	return err
}

// look has the server carry out queries in one round trip.
func (s *Store) look(ctx context.Context, b *pgx.Batch) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	err := s.pool.SendBatch(ctx, b).Close()
	if err != nil && s.line.Closed() {
		return store.ErrClosed
	}
	return err
}
