package sqlite

import (
	"context"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

const failPending = `UPDATE deliveries SET state = 2 WHERE endpoint_id = ?1 AND state = 0`

// SyncApps makes the apps and endpoints those that are given.
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
	if err := w.conn.on("DELETE FROM apps").run(); err != nil {
		return nil, err
	}
	ids := make([][]store.EndpointID, len(apps))
	wanted := make(map[store.EndpointID]bool)
	for i, app := range apps {
		if err := w.conn.on("INSERT INTO apps (id, name) VALUES (?1, ?2)").int(int64(app.ID)).text(app.Name).run(); err != nil {
			return nil, err
		}
		ids[i] = make([]store.EndpointID, len(app.Endpoints))
		for j, url := range app.Endpoints {
			id, err := w.endpoint(app.ID, url)
			if err != nil {
				return nil, err
			}
			ids[i][j], wanted[id] = id, true
		}
	}
	return ids, w.removeEndpoints(wanted)
}

// endpoint gives the ID of an endpoint that is there from now on.
func (w *writer) endpoint(app uint32, url string) (store.EndpointID, error) {
	st := w.conn.on(`INSERT INTO endpoints (app_id, url, removed) VALUES (?1, ?2, 0)
		ON CONFLICT (app_id, url) DO UPDATE SET removed = 0 RETURNING id`).int(int64(app)).text(url)
	var id store.EndpointID
	for st.next() {
		id = store.EndpointID(st.ColumnInt64(0))
	}
	return id, st.end()
}

// removeEndpoints marks all other endpoints as removed, and their pending
// deliveries as failed.
func (w *writer) removeEndpoints(wanted map[store.EndpointID]bool) error {
	removed := make(map[store.EndpointID]bool)
	st := w.conn.on("SELECT id FROM endpoints")
	for st.next() {
		if id := store.EndpointID(st.ColumnInt64(0)); !wanted[id] {
			removed[id] = true
		}
	}
	if err := st.end(); err != nil {
		return err
	}
	for id := range removed {
		if err := w.conn.on("UPDATE endpoints SET removed = 1 WHERE id = ?1").int(int64(id)).run(); err != nil {
			return err
		}
		if err := w.conn.on(failPending).int(int64(id)).run(); err != nil {
			return err
		}
	}
	w.removed = removed // until the transaction fails
	return nil
}
