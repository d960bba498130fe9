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

// within bounds what goes by the pool as the writer is bounded. A server that
// is cut off does not say so, and without an end each request in flight would
// keep its connection until the system gives it up, which takes a quarter of
// an hour and, by the time the pool is used up, stops the whole node.
func (s *Store) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.options.Timeout)
}

// read gives the rows of a query, nil when there are none.
func read[T any](ctx context.Context, s *Store, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
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

// snapshot calls f with a transaction that sees one state of the database, and
// its context.
func (s *Store) snapshot(ctx context.Context, f func(ctx context.Context, tx querier) error) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return f(ctx, tx)
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
	ctx, cancel := s.within(ctx)
	defer cancel()
	err := s.pool.SendBatch(ctx, b).Close()
	if err != nil && s.line.Closed() {
		return store.ErrClosed
	}
	return err
}
