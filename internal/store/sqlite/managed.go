package sqlite

import (
	"context"
	"fmt"
	"slices"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

const (
	putApp = `INSERT INTO apps (id, name, managed, version, settings, created_ms) VALUES (?1, ?2, 1, ?3, ?4, ?5)
		ON CONFLICT DO UPDATE SET name = excluded.name, version = excluded.version, settings = excluded.settings,
			created_ms = excluded.created_ms`
	listApps        = `SELECT id, name, version, settings, created_ms FROM apps WHERE managed = 1 ORDER BY id`
	listEndpointsOf = endpointColumns + `WHERE app_id = ?1 AND removed = 0 ORDER BY id`
)

// CommitApp writes an app that was made at run time.
func (s *Store) CommitApp(ctx context.Context, c *store.AppCommit) error {
	var endpoints []store.EndpointRecord
	var auditID int64
	err := s.submit(ctx, func(w *writer) (err error) {
		if endpoints, err = w.commitApp(c); err != nil {
			return err
		}
		auditID, err = w.addAudit(c.Audit)
		return err
	})
	if err != nil {
		return err
	}
	c.Version = c.Prior + 1
	copy(c.Endpoints, endpoints)
	setAuditID(c.Audit, auditID)
	return nil
}

// commitApp gives the endpoints as they are stored. It leaves c alone, because
// the transaction may fail and come again.
func (w *writer) commitApp(c *store.AppCommit) ([]store.EndpointRecord, error) {
	exists, managed, version, err := w.findApp(c.ID)
	switch {
	case err != nil:
		return nil, err
	case exists && !managed:
		return nil, &store.AppTakenError{ID: c.ID, File: true}
	case version != c.Prior:
		return nil, store.ErrConflict
	}
	if err := w.conn.on(putApp).int(int64(c.ID)).text(c.Name).int(c.Prior + 1).blob(c.Settings).int(int64(c.CreatedAt)).run(); err != nil {
		return nil, err
	}
	endpoints := slices.Clone(c.Endpoints)
	wanted := make(map[store.EndpointID]bool)
	for i := range endpoints {
		e := &endpoints[i]
		e.App = c.ID
		if err := w.putEndpoint(e); err != nil {
			return nil, err
		}
		if given := c.Endpoints[i].ID; given != 0 && given != e.ID {
			return nil, fmt.Errorf("endpoint %d is not of app %d, or has another URL", given, c.ID)
		}
		wanted[e.ID] = true
	}
	return endpoints, w.keepEndpoints(w.conn.on(listManagedEndpoints).int(int64(c.ID)), wanted)
}

// ManagedApps lists the apps that were made at run time.
func (s *Store) ManagedApps(ctx context.Context) ([]store.ManagedApp, error) {
	var apps []store.ManagedApp
	err := s.snapshot(ctx, func(c *conn) error {
		apps = nil
		st := c.on(listApps)
		for st.next() {
			apps = append(apps, store.ManagedApp{
				ID: uint32(st.ColumnInt64(0)), Name: st.ColumnText(1), Version: st.ColumnInt64(2), Settings: st.bytes(3),
				CreatedAt: call.Instant(st.ColumnInt64(4)),
			})
		}
		if err := st.end(); err != nil {
			return err
		}
		for i := range apps {
			st := c.on(listEndpointsOf).int(int64(apps[i].ID))
			for st.next() {
				apps[i].Endpoints = append(apps[i].Endpoints, readEndpoint(st))
			}
			if err := st.end(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list apps: %w", err)
	}
	return apps, nil
}
