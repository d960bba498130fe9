package sqlite

import (
	"context"
	"fmt"
	"maps"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

const (
	insertFileApp = `INSERT INTO apps (id, name) VALUES (?1, ?2)`

	// An endpoint that comes back is not paused any more, unless it is told to
	// be.
	putEndpoint = `INSERT INTO endpoints (app_id, url, removed, paused, settings) VALUES (?1, ?2, 0, ?3, ?4)
		ON CONFLICT (app_id, url) DO UPDATE SET paused = CASE removed WHEN 0 THEN paused ELSE excluded.paused END,
			removed = 0, settings = excluded.settings
		RETURNING id, paused`
	listFileEndpoints    = `SELECT id FROM endpoints WHERE removed = 0 AND app_id NOT IN (SELECT id FROM apps WHERE managed = 1)`
	listManagedEndpoints = `SELECT id FROM endpoints WHERE removed = 0 AND app_id = ?1`
	removeEndpoint       = `UPDATE endpoints SET removed = 1 WHERE id = ?1`
	failPending          = `UPDATE deliveries SET state = 2 WHERE (call_id, endpoint_id, sequence) IN
		(SELECT call_id, endpoint_id, sequence FROM deliveries WHERE endpoint_id = ?1 AND state = 0 ORDER BY due_ms, event_id LIMIT ?2)`
	findRemoved = `SELECT p.id FROM endpoints AS p WHERE p.removed = 1
		AND EXISTS (SELECT 1 FROM deliveries AS d WHERE d.endpoint_id = p.id AND d.state = 0) LIMIT 1`

	endpointColumns = `SELECT id, app_id, url, removed, paused, settings FROM endpoints `
	listEndpoints   = endpointColumns + `ORDER BY id`
	pauseEndpoint   = `UPDATE endpoints SET paused = ?1 WHERE id = ?2 AND removed = 0`
)

// SyncApps makes the apps of the configuration file those that are given.
func (s *Store) SyncApps(ctx context.Context, apps []store.App, _ call.Instant) ([][]store.EndpointID, error) {
	var ids [][]store.EndpointID
	err := s.submit(ctx, func(w *writer) (err error) {
		ids, err = w.syncApps(apps)
		return err
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

func (w *writer) syncApps(apps []store.App) ([][]store.EndpointID, error) {
	for _, app := range apps {
		exists, managed, _, err := w.findApp(app.ID)
		if err != nil {
			return nil, err
		}
		if exists && managed {
			return nil, &store.AppTakenError{ID: app.ID}
		}
	}
	if err := w.conn.on("DELETE FROM apps WHERE managed = 0").run(); err != nil {
		return nil, err
	}
	ids := make([][]store.EndpointID, len(apps))
	wanted := make(map[store.EndpointID]bool)
	for i, app := range apps {
		if err := w.conn.on(insertFileApp).int(int64(app.ID)).text(app.Name).run(); err != nil {
			return nil, err
		}
		ids[i] = make([]store.EndpointID, len(app.Endpoints))
		for j, url := range app.Endpoints {
			e := store.EndpointRecord{App: app.ID, URL: url}
			if err := w.putEndpoint(&e); err != nil {
				return nil, err
			}
			ids[i][j], wanted[e.ID] = e.ID, true
		}
	}
	return ids, w.keepEndpoints(w.conn.on(listFileEndpoints), wanted)
}

// findApp says whether there is an app of that ID, whether it was made at run
// time, and its version.
func (w *writer) findApp(id uint32) (exists, managed bool, version int64, err error) {
	st := w.conn.on("SELECT managed, version FROM apps WHERE id = ?1").int(int64(id))
	if st.next() {
		exists, managed, version = true, st.ColumnInt64(0) != 0, st.ColumnInt64(1)
	}
	return exists, managed, version, st.end()
}

// putEndpoint writes an endpoint that is there from now on, and sets its ID
// and whether it is paused.
func (w *writer) putEndpoint(e *store.EndpointRecord) error {
	st := w.conn.on(putEndpoint).int(int64(e.App)).text(e.URL).bool(e.Paused).blob(e.Settings)
	for st.next() {
		e.ID, e.Paused, e.Removed = store.EndpointID(st.ColumnInt64(0)), st.ColumnInt64(1) != 0, false
	}
	return st.end()
}

// keepEndpoints marks those endpoints of a list that are not wanted as
// removed, and their pending deliveries as failed, up to FailAtOnce.
func (w *writer) keepEndpoints(list *statement, wanted map[store.EndpointID]bool) error {
	removed := maps.Clone(w.removed)
	var gone []store.EndpointID
	for list.next() {
		if id := store.EndpointID(list.ColumnInt64(0)); !wanted[id] {
			gone = append(gone, id)
			removed[id] = true
		}
	}
	if err := list.end(); err != nil {
		return err
	}
	left := store.FailAtOnce
	for _, id := range gone {
		if err := w.conn.on(removeEndpoint).int(int64(id)).run(); err != nil {
			return err
		}
		n, err := w.failPending(id, left)
		if err != nil {
			return err
		}
		left -= n
	}
	for id := range wanted {
		delete(removed, id)
	}
	w.removed = removed // until the transaction fails
	return nil
}

// failPending marks pending deliveries of an endpoint as failed, and gives
// their number.
func (w *writer) failPending(id store.EndpointID, limit int) (int, error) {
	err := w.conn.on(failPending).int(int64(id)).int(int64(limit)).run()
	return int(w.conn.Changes()), err
}

// FailRemoved makes pending deliveries of a removed endpoint failed.
func (s *Store) FailRemoved(ctx context.Context, limit int) (n int, err error) {
	var id store.EndpointID
	err = s.read(ctx, func(c *conn) error {
		st := c.on(findRemoved)
		for st.next() {
			id = store.EndpointID(st.ColumnInt64(0))
		}
		return st.end()
	})
	if err != nil || id == 0 {
		return 0, err
	}
	err = s.step(ctx, func(w *writer) (err error) {
		if n = 0; w.removed[id] {
			n, err = w.failPending(id, limit)
		}
		return err
	})
	return n, err
}

// ListEndpoints lists all endpoints there ever were.
func (s *Store) ListEndpoints(ctx context.Context) ([]store.EndpointRecord, error) {
	var endpoints []store.EndpointRecord
	err := s.read(ctx, func(c *conn) error {
		st := c.on(listEndpoints)
		for st.next() {
			endpoints = append(endpoints, readEndpoint(st))
		}
		return st.end()
	})
	if err != nil {
		return nil, fmt.Errorf("list endpoints: %w", err)
	}
	return endpoints, nil
}

// readEndpoint reads a row of endpointColumns.
func readEndpoint(st *statement) store.EndpointRecord {
	return store.EndpointRecord{
		ID: store.EndpointID(st.ColumnInt64(0)), App: uint32(st.ColumnInt64(1)), URL: st.ColumnText(2),
		Removed: st.ColumnInt64(3) != 0, Paused: st.ColumnInt64(4) != 0, Settings: st.bytes(5),
	}
}

// PauseEndpoint sets whether an endpoint is paused.
func (s *Store) PauseEndpoint(ctx context.Context, id store.EndpointID, paused bool, audit *store.Audit) error {
	var auditID int64
	err := s.submit(ctx, func(w *writer) error {
		found, err := w.conn.on(pauseEndpoint).bool(paused).int(int64(id)).change()
		if err != nil {
			return err
		}
		if !found {
			return store.ErrNotFound
		}
		auditID, err = w.addAudit(audit)
		return err
	})
	if err == nil {
		setAuditID(audit, auditID)
	}
	return err
}
