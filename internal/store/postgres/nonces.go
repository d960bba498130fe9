package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// An earlier use that has expired counts as none.
const useNonce = `INSERT INTO nonces AS n (app_id, nonce, expires_ms) VALUES ($1, $2, $3)
	ON CONFLICT (app_id, nonce) DO UPDATE SET expires_ms = excluded.expires_ms WHERE n.expires_ms <= $4 RETURNING 1`

// UseNonce remembers a nonce of an app until it expires.
func (s *Store) UseNonce(ctx context.Context, app uint32, nonce string, expires, now call.Instant) error {
	fresh := false
	b := new(pgx.Batch)
	b.Queue(useNonce, int64(app), textOf(nonce), int64(expires), int64(now)).Query(func(rows pgx.Rows) error {
		fresh = rows.Next()
		rows.Close()
		return rows.Err()
	})
	if err := s.pipeline(ctx, b); err != nil {
		return err
	}
	if !fresh {
		return store.ErrUsed
	}
	return nil
}
