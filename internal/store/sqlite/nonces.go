package sqlite

import (
	"context"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// An earlier use that has expired counts as none.
const useNonce = `INSERT INTO nonces (app_id, nonce, expires_ms) VALUES (?1, ?2, ?3)
	ON CONFLICT DO UPDATE SET expires_ms = excluded.expires_ms WHERE expires_ms <= ?4`

// UseNonce remembers a nonce of an app until it expires.
func (s *Store) UseNonce(ctx context.Context, app uint32, nonce string, expires, now call.Instant) error {
	return s.submit(ctx, func(w *writer) error {
		fresh, err := w.conn.on(useNonce).int(int64(app)).text(nonce).int(int64(expires)).int(int64(now)).change()
		if err == nil && !fresh {
			return store.ErrUsed
		}
		return err
	})
}
