package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// What changes apps and endpoints holds the lock of the head, so that no
// delivery to an endpoint is written by somebody who does not know that it is
// being removed.
const (
	findApp       = `SELECT managed, version FROM apps WHERE id = $1`
	insertFileApp = `INSERT INTO apps (id, managed, version, created_ms, name) VALUES ($1, false, 0, 0, $2)`

	// An endpoint that comes back is not paused any more, unless it is told to
	// be.
	putEndpoint = `INSERT INTO endpoints AS p (app_id, url, removed, paused, settings) VALUES ($1, $2, false, $3, $4)
		ON CONFLICT (app_id, url) DO UPDATE SET paused = CASE WHEN p.removed THEN excluded.paused ELSE p.paused END,
			removed = false, settings = excluded.settings
		RETURNING id, paused`
	findEndpoint         = `SELECT id, paused FROM endpoints WHERE app_id = $1 AND url = $2 AND NOT removed AND settings IS NOT DISTINCT FROM $3`
	listFileEndpoints    = `SELECT id FROM endpoints WHERE NOT removed AND app_id NOT IN (SELECT id FROM apps WHERE managed)`
	listManagedEndpoints = `SELECT id FROM endpoints WHERE NOT removed AND app_id = $1`
	removeEndpoints      = `UPDATE endpoints SET removed = true WHERE id = ANY($1::bigint[])`
	failPending          = `UPDATE deliveries AS d SET state = 2
		FROM (SELECT call_id, endpoint_id, sequence FROM deliveries WHERE endpoint_id = $1 AND state = 0
			ORDER BY due_ms, event_id LIMIT $2 FOR UPDATE) AS n
		WHERE d.call_id = ANY (ARRAY[n.call_id]) AND d.endpoint_id = n.endpoint_id AND d.sequence = n.sequence`
	findRemoved = `SELECT p.id FROM endpoints AS p WHERE p.removed
		AND (SELECT d.endpoint_id FROM deliveries AS d WHERE d.endpoint_id = p.id AND d.state = 0 LIMIT 1) IS NOT NULL ORDER BY p.id LIMIT 1`
	lockRemoved = `SELECT id FROM endpoints WHERE id = $1 AND removed FOR SHARE`

	endpointColumns = `SELECT id, app_id, url, removed, paused, settings FROM endpoints `
	listEndpoints   = endpointColumns + `ORDER BY id`
	pauseEndpoint   = `UPDATE endpoints SET paused = $1 WHERE id = $2 AND NOT removed`
)

// SyncApps makes the apps of the configuration file those that are given.
func (s *Store) SyncApps(ctx context.Context, apps []store.App, _ call.Instant) ([][]store.EndpointID, error) {
	var ids [][]store.EndpointID
	err := s.transact(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		if err := s.lockHead(ctx, tx); err != nil {
			return err
		}
		ids, err = syncApps(ctx, tx, apps)
		return err
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

func syncApps(ctx context.Context, tx pgx.Tx, apps []store.App) ([][]store.EndpointID, error) {
	for _, app := range apps {
		exists, managed, _, err := appOf(ctx, tx, app.ID)
		if err != nil {
			return nil, err
		}
		if exists && managed {
			return nil, &store.AppTakenError{ID: app.ID}
		}
	}
	if _, err := tx.Exec(ctx, "DELETE FROM apps WHERE NOT managed"); err != nil {
		return nil, err
	}
	ids := make([][]store.EndpointID, len(apps))
	var wanted []store.EndpointID
	for i, app := range apps {
		if _, err := tx.Exec(ctx, insertFileApp, int64(app.ID), textOf(app.Name)); err != nil {
			return nil, err
		}
		ids[i] = make([]store.EndpointID, len(app.Endpoints))
		for j, url := range app.Endpoints {
			e := store.EndpointRecord{App: app.ID, URL: url}
			if err := putOne(ctx, tx, &e); err != nil {
				return nil, err
			}
			ids[i][j], wanted = e.ID, append(wanted, e.ID)
		}
	}
	return ids, keepEndpoints(ctx, tx, wanted, listFileEndpoints)
}

// appOf says whether there is an app of that ID, whether it was made at run
// time, and its version.
func appOf(ctx context.Context, tx pgx.Tx, id uint32) (exists, managed bool, version int64, err error) {
	err = tx.QueryRow(ctx, findApp, int64(id)).Scan(&managed, &version)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, false, 0, nil
	}
	return err == nil, managed, version, err
}

// putOne writes an endpoint that is there from now on, and sets its ID and
// whether it is paused. One that is there already is left alone, because each
// writing would use up a number.
func putOne(ctx context.Context, tx pgx.Tx, e *store.EndpointRecord) error {
	e.Removed = false
	err := tx.QueryRow(ctx, findEndpoint, int64(e.App), textOf(e.URL), e.Settings).Scan((*int64)(&e.ID), &e.Paused)
	if !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	return tx.QueryRow(ctx, putEndpoint, int64(e.App), textOf(e.URL), e.Paused, e.Settings).Scan((*int64)(&e.ID), &e.Paused)
}

// keepEndpoints marks those endpoints of a list that are not wanted as
// removed, and their pending deliveries as failed, up to FailAtOnce.
func keepEndpoints(ctx context.Context, tx pgx.Tx, wanted []store.EndpointID, list string, args ...any) error {
	there, err := query(ctx, tx, pgx.RowTo[int64], list, args...)
	if err != nil {
		return err
	}
	gone := slices.DeleteFunc(there, func(id int64) bool { return slices.Contains(wanted, store.EndpointID(id)) })
	if len(gone) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, removeEndpoints, gone); err != nil {
		return err
	}
	left := store.FailAtOnce
	for _, id := range gone {
		done, err := tx.Exec(ctx, failPending, id, left)
		if err != nil {
			return err
		}
		left -= int(done.RowsAffected())
	}
	return nil
}

// FailRemoved makes pending deliveries of a removed endpoint failed.
func (s *Store) FailRemoved(ctx context.Context, limit int) (n int, err error) {
	gone, err := read(ctx, s, pgx.RowTo[int64], findRemoved)
	if err != nil || len(gone) == 0 {
		return 0, err
	}
	err = s.transact(ctx, func(ctx context.Context, tx pgx.Tx) error {
		n = 0
		there, err := query(ctx, tx, pgx.RowTo[int64], lockRemoved, gone[0])
		if err != nil || len(there) == 0 { // it came back
			return err
		}
		done, err := tx.Exec(ctx, failPending, gone[0], limit)
		n = int(done.RowsAffected())
		return err
	})
	return n, err
}

// ListEndpoints lists all endpoints there ever were.
func (s *Store) ListEndpoints(ctx context.Context) ([]store.EndpointRecord, error) {
	endpoints, err := read(ctx, s, readEndpoint, listEndpoints)
	if err != nil {
		return nil, fmt.Errorf("list endpoints: %w", err)
	}
	return endpoints, nil
}

// readEndpoint reads a row of endpointColumns.
func readEndpoint(row pgx.CollectableRow) (e store.EndpointRecord, err error) {
	return e, row.Scan((*int64)(&e.ID), &e.App, into(&e.URL), &e.Removed, &e.Paused, &e.Settings)
}

// PauseEndpoint sets whether an endpoint is paused.
func (s *Store) PauseEndpoint(ctx context.Context, id store.EndpointID, paused bool, audit *store.Audit) error {
	var auditID int64
	err := s.transact(ctx, func(ctx context.Context, tx pgx.Tx) error {
		done, err := tx.Exec(ctx, pauseEndpoint, paused, int64(id))
		switch {
		case err != nil:
			return err
		case done.RowsAffected() == 0:
			return store.ErrNotFound
		}
		auditID, err = addAudit(ctx, tx, audit)
		return err
	})
	if err == nil {
		setAuditID(audit, auditID)
	}
	return err
}
