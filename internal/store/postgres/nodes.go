package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// Who is there and who holds what changes under the lock of the row of
// membership, in transactions of one round trip. An incarnation is ended under
// the lock of the head as well, so that no batch of it is being written then,
// and a later one finds out.
const (
	lockMembership = `SELECT 1 FROM membership WHERE id = 1 FOR UPDATE`
	clockMS        = `(extract(epoch FROM clock_timestamp()) * 1000)::bigint`
	readClock      = `SELECT clock_timestamp()`

	// Connections of a node whose lease has ended may hold locks, if its
	// process is stopped or cut off.
	findExpired = `SELECT connection FROM nodes WHERE ended_ms IS NULL AND expires_ms < ` + clockMS + ` AND id <> $1`
	disconnect  = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE application_name = $1 AND usename = current_user AND datname = current_database()`

	// Those that were disconnected, so that none of them holds the head.
	endExpired = `WITH expired AS (SELECT id FROM nodes WHERE ended_ms IS NULL AND expires_ms < ` + clockMS + ` AND connection = ANY($1::text[])),
			head AS (SELECT pg_advisory_xact_lock($2) WHERE EXISTS (SELECT 1 FROM expired))
		UPDATE nodes AS n SET ended_ms = ` + clockMS + ` FROM expired, head WHERE n.id = expired.id`
	forgetNodes = `DELETE FROM nodes AS n WHERE n.ended_ms < ` + clockMS + ` - 86400000
		AND NOT EXISTS (SELECT 1 FROM sessions AS s WHERE s.node_id = n.id AND s.offline_ms = 0)`
	freePartitions = `UPDATE partitions SET node_id = 0
		WHERE node_id <> 0 AND (node_id = $1 AND ($2::bigint >> partition) & 1 = 1
			OR NOT EXISTS (SELECT 1 FROM nodes AS n WHERE n.id = partitions.node_id AND n.ended_ms IS NULL))`

	insertNode = `INSERT INTO nodes (name, lease_ms, joined_ms, expires_ms, connection)
		SELECT $1, $2, ` + clockMS + `, ` + clockMS + ` + $2, $3
		WHERE NOT EXISTS (SELECT 1 FROM nodes WHERE ended_ms IS NULL AND (name = $1 OR lease_ms <> $2)) RETURNING id`
	listRivals = `SELECT name = $1, expires_ms - ` + clockMS + `, lease_ms FROM nodes WHERE ended_ms IS NULL AND (name = $1 OR lease_ms <> $2)
		ORDER BY name = $1 DESC, id`
	renewNode = `UPDATE nodes SET expires_ms = ` + clockMS + ` + lease_ms WHERE id = $1 AND ended_ms IS NULL`
	endNode   = `WITH head AS (SELECT pg_advisory_xact_lock($2))
		UPDATE nodes AS n SET ended_ms = ` + clockMS + ` FROM head WHERE n.id = $1 AND n.ended_ms IS NULL`

	takePartitions = `UPDATE partitions SET node_id = $1 WHERE partition IN (SELECT partition FROM partitions
		WHERE node_id = 0 AND ($2::bigint >> partition) & 1 = 0 ORDER BY partition
		LIMIT greatest(0, (SELECT (64 + count(*) - 1) / greatest(1, count(*)) FROM nodes WHERE ended_ms IS NULL)
			- (SELECT count(*) FROM partitions WHERE node_id = $1)))`
	listNodes      = `SELECT id, name, joined_ms FROM nodes WHERE ended_ms IS NULL ORDER BY id`
	listPartitions = `SELECT partition, node_id FROM partitions`

	// Ended nodes that still have sessions are few.
	listLost = `SELECT s.* FROM
		(SELECT n.id FROM nodes AS n WHERE n.ended_ms < $1 AND EXISTS (SELECT 1 FROM sessions AS s WHERE s.node_id = n.id AND s.offline_ms = 0)) AS n,
		LATERAL (` + sessionColumns + `FROM sessions AS s
			WHERE s.node_id = n.id AND s.offline_ms = 0 AND (s.app_id, s.user_id, s.session_id) > ($2, $3, $4)
			ORDER BY s.app_id, s.user_id, s.session_id LIMIT $5) AS s
		ORDER BY s.app_id, s.user_id, s.session_id LIMIT $5`
)

// errNotJoined says that JoinNode was not called, or LeaveNode was.
var errNotJoined = errors.New("store: this store is no node now")

// JoinNode begins an incarnation.
func (s *Store) JoinNode(ctx context.Context, name string, lease time.Duration) (store.NodeID, error) {
	s.joined.Lock()
	defer s.joined.Unlock()
	if s.node.Load() != 0 {
		return 0, errors.New("store: this store has joined already")
	}
	if lease < time.Second {
		return 0, fmt.Errorf("store: a lease of %v is too short; it is at least a second", lease)
	}
	expired, err := s.disconnectExpired(ctx, 0)
	if err != nil {
		return 0, err
	}
	var ids []int64
	var rival error
	b := new(pgx.Batch)
	b.Queue(lockMembership)
	b.Queue(endExpired, expired, s.lock)
	b.Queue(listRivals, textOf(name), lease.Milliseconds()).Query(func(rows pgx.Rows) error {
		var same bool
		var left, theirs int64
		_, err := pgx.ForEachRow(rows, []any{&same, &left, &theirs}, func() error {
			switch {
			case rival != nil:
			case same:
				rival = &store.NodeTakenError{Name: name, Until: time.Duration(max(left, 0)) * time.Millisecond}
			default:
				rival = &store.LeaseError{Theirs: time.Duration(theirs) * time.Millisecond, Ours: lease}
			}
			return nil
		})
		return err
	})
	b.Queue(insertNode, textOf(name), lease.Milliseconds(), s.name).Query(func(rows pgx.Rows) (err error) {
		ids, err = pgx.AppendRows(ids[:0], rows, pgx.RowTo[int64])
		return err
	})
	switch err := s.pipeline(ctx, b); {
	case err != nil:
		return 0, err
	case len(ids) == 0:
		return 0, rival
	}
	s.node.Store(ids[0])
	return store.NodeID(ids[0]), nil
}

// disconnectExpired ends the connections of nodes whose lease has ended, and
// gives their names.
func (s *Store) disconnectExpired(ctx context.Context, self int64) ([]string, error) {
	names, err := read(ctx, s, pgx.RowTo[string], findExpired, self)
	if err != nil {
		return nil, fmt.Errorf("look for nodes whose lease has ended: %w", err)
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	for _, name := range names {
		// Should the server not allow it, what they hold ends by the time-outs
		// of their connections.
		if _, err := s.pool.Exec(ctx, disconnect, name); err != nil {
			s.log.Warn("ending the connections of a node whose lease has ended failed", "err", err)
		}
	}
	return names, nil
}

// RenewNode renews the lease.
func (s *Store) RenewNode(ctx context.Context, release store.PartitionSet) (store.Membership, error) {
	id := s.node.Load()
	if id == 0 {
		return store.Membership{}, errNotJoined
	}
	expired, err := s.disconnectExpired(ctx, id)
	if err != nil {
		return store.Membership{}, err
	}
	var m store.Membership
	b := new(pgx.Batch)
	b.Queue(lockMembership)
	b.Queue(fence, id)
	b.Queue(renewNode, id)
	b.Queue(endExpired, expired, s.lock)
	b.Queue(forgetNodes)
	b.Queue(freePartitions, id, int64(release))
	b.Queue(takePartitions, id, int64(release))
	b.Queue(listNodes).Query(func(rows pgx.Rows) (err error) {
		m.Nodes, err = pgx.AppendRows(m.Nodes[:0], rows, func(row pgx.CollectableRow) (n store.Node, err error) {
			return n, row.Scan((*int64)(&n.ID), into(&n.Name), (*int64)(&n.JoinedAt))
		})
		return err
	})
	b.Queue(listPartitions).Query(func(rows pgx.Rows) error {
		var p int
		var owner store.NodeID
		_, err := pgx.ForEachRow(rows, []any{&p, (*int64)(&owner)}, func() error {
			m.Owners[p] = owner
			return nil
		})
		return err
	})
	b.Queue(readClock).QueryRow(func(row pgx.Row) error { return row.Scan(&m.At) })
	if err := s.pipeline(ctx, b); err != nil {
		return store.Membership{}, err
	}
	return m, nil
}

// LeaveNode ends the incarnation.
func (s *Store) LeaveNode(ctx context.Context) error {
	id := s.node.Load()
	if id == 0 {
		return errNotJoined
	}
	b := new(pgx.Batch)
	b.Queue(lockMembership)
	b.Queue(endNode, id, s.lock)
	b.Queue(freePartitions, id, int64(-1)) // all
	return s.pipeline(ctx, b)
}

// LostSessions lists sessions whose node has ended.
func (s *Store) LostSessions(ctx context.Context, before call.Instant, after store.Session, limit int) ([]store.Session, error) {
	return s.listSessions(ctx, listLost, int64(before), int64(after.App), textOf(after.User), textOf(after.ID), limit)
}

// Clock reads the clock of the server.
func (s *Store) Clock(ctx context.Context) (time.Time, error) {
	times, err := read(ctx, s, pgx.RowTo[time.Time], readClock)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the clock of the database: %w", err)
	}
	return times[0], nil
}
