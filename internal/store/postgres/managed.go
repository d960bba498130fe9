package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/store"
)

const (
	putApp = `INSERT INTO apps (id, name, managed, version, settings, created_ms) VALUES ($1, $2, true, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version, settings = excluded.settings,
			created_ms = excluded.created_ms`
	listApps        = `SELECT id, name, version, settings, created_ms FROM apps WHERE managed ORDER BY id`
	listEndpointsOf = endpointColumns + `WHERE NOT removed AND app_id IN (SELECT id FROM apps WHERE managed) ORDER BY id`
)

// CommitApp writes an app that was made at run time.
func (s *Store) CommitApp(ctx context.Context, c *store.AppCommit) error {
	var endpoints []store.EndpointRecord
	var auditID int64
	err := s.transact(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		if err := s.lockHead(ctx, tx); err != nil {
			return err
		}
		if endpoints, err = commitApp(ctx, tx, c); err != nil {
			return err
		}
		auditID, err = addAudit(ctx, tx, c.Audit)
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
func commitApp(ctx context.Context, tx pgx.Tx, c *store.AppCommit) ([]store.EndpointRecord, error) {
	exists, managed, version, err := appOf(ctx, tx, c.ID)
	switch {
	case err != nil:
		return nil, err
	case exists && !managed:
		return nil, &store.AppTakenError{ID: c.ID, File: true}
	case version != c.Prior:
		return nil, store.ErrConflict
	}
	if _, err := tx.Exec(ctx, putApp, int64(c.ID), textOf(c.Name), c.Prior+1, c.Settings, int64(c.CreatedAt)); err != nil {
		return nil, err
	}
	endpoints := slices.Clone(c.Endpoints)
	var wanted []store.EndpointID
	for i := range endpoints {
		e := &endpoints[i]
		e.App = c.ID
		if err := putOne(ctx, tx, e); err != nil {
			return nil, err
		}
		if given := c.Endpoints[i].ID; given != 0 && given != e.ID {
			return nil, fmt.Errorf("endpoint %d is not of app %d, or has another URL", given, c.ID)
		}
		wanted = append(wanted, e.ID)
	}
	return endpoints, keepEndpoints(ctx, tx, wanted, listManagedEndpoints, int64(c.ID))
}

// ManagedApps lists the apps that were made at run time.
func (s *Store) ManagedApps(ctx context.Context) ([]store.ManagedApp, error) {
	var apps []store.ManagedApp
	err := s.snapshot(ctx, func(ctx context.Context, tx querier) (err error) {
		apps, err = query(ctx, tx, func(row pgx.CollectableRow) (a store.ManagedApp, err error) {
			return a, row.Scan(&a.ID, into(&a.Name), &a.Version, &a.Settings, (*int64)(&a.CreatedAt))
		}, listApps)
		if err != nil || len(apps) == 0 {
			return err
		}
		endpoints, err := query(ctx, tx, readEndpoint, listEndpointsOf)
		place := make(map[uint32]int, len(apps))
		for i := range apps {
			place[apps[i].ID] = i
		}
		for _, e := range endpoints {
			a := &apps[place[e.App]]
			a.Endpoints = append(a.Endpoints, e)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list apps: %w", err)
	}
	return apps, nil
}
