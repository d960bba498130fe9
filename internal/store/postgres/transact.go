package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/store"
)

// transact runs a transaction of several round trips by a connection of the pool.
// It may come again from the beginning. f gets the context of the transaction.
func (s *Store) transact(ctx context.Context, f func(ctx context.Context, tx pgx.Tx) error) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		err := s.tryTransact(ctx, f)
		if !isPassing(err) || attempt == 3 {
			return err
		}
	}
}

func (s *Store) tryTransact(ctx context.Context, f func(ctx context.Context, tx pgx.Tx) error) error {
	within, cancel := s.within(ctx)
	defer cancel()
	tx, err := s.pool.Begin(within)
	if err != nil {
		return s.failed(ctx, err, false)
	}
	// Whatever is not committed is rolled back.
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := tx.Rollback(ctx); err != nil && !errors.Is(err, pgx.ErrTxClosed) {
			s.log.Debug("rolling back failed", "err", err)
		}
	}()
	if err := f(within, tx); err != nil {
		if isRefusal(err) {
			return err
		}
		return s.failed(ctx, err, false)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// From here on the outcome is waited for.
	waiting, done := s.awaiting(ctx)
	defer done()
	return s.failed(ctx, tx.Commit(waiting), true)
}

// awaiting gives a context for waiting for an outcome: that somebody has lost
// interest does not end it, but his deadline does.
func (s *Store) awaiting(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline := time.Now().Add(s.options.Timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	return context.WithDeadline(context.WithoutCancel(ctx), deadline)
}

// failed gives an error of a transaction as the contract has it.
func (s *Store) failed(ctx context.Context, err error, sent bool) error {
	switch {
	case err == nil:
		return nil
	case !sent && ctx.Err() != nil:
		return ctx.Err()
	case s.line.Closed():
		return store.ErrClosed
	}
	return s.worded(err, sent)
}

// isRefusal reports whether an error is an outcome, and no failure.
func isRefusal(err error) bool {
	var taken *store.AppTakenError
	var name *store.NodeTakenError
	var lease *store.LeaseError
	return errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrUsed) || errors.Is(err, store.ErrNotFound) ||
		errors.Is(err, store.ErrFenced) || errors.As(err, &taken) || errors.As(err, &name) || errors.As(err, &lease)
}

// pipeline has the server carry out statements as one transaction of one round
// trip, by a connection of the pool. It may come again from the beginning.
func (s *Store) pipeline(ctx context.Context, b *pgx.Batch) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		acquiring, cancel := s.within(ctx)
		conn, err := s.pool.Acquire(acquiring)
		cancel()
		if err != nil {
			return s.failed(ctx, err, false)
		}
		fresh := new(pgx.Batch) // what was sent belongs to the connection
		for _, q := range b.QueuedQueries {
			fresh.Queue(q.SQL, q.Arguments...).Fn = q.Fn
		}
		within, cancel := s.awaiting(ctx)
		err = conn.SendBatch(within, fresh).Close()
		cancel()
		conn.Release()
		if !isPassing(err) || attempt == 3 {
			return s.failed(ctx, err, true)
		}
	}
}

// lockHead takes the lock of the head for the rest of the transaction.
func (s *Store) lockHead(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, takeHead, s.lock)
	return err
}

// checkNode fails unless the node's incarnation goes on, and keeps others from
// ending it before the transaction is over.
func (s *Store) checkNode(b *pgx.Batch) {
	if node := s.node.Load(); node != 0 {
		b.Queue(fenceShared, node)
	}
}
