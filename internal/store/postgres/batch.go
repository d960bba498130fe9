package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// The statements of a batch are sent together and are one transaction. The
// first takes the lock of the head. It is an advisory lock and a sequence, not
// a row: nothing is left behind that a long-running reader, such as a backup,
// would keep from being cleaned up. Each later statement sees what was
// committed until it got the lock.
//
// A request that is refused fails alone: the rows of calls and users that the
// batch has written bear the batch's number, and what belongs to a request is
// written only if its call or user does.
const (
	headLock = `SELECT (1382641255::bigint << 32) | 'event_head'::regclass::oid::bigint`
	takeHead = `SELECT pg_advisory_xact_lock($1)`
	// The events of a batch get numbers a microsecond apart, $2 is the first
	// microsecond, and the last of them is also the number of the batch.
	advanceHead = `SELECT setval('event_head', greatest((SELECT last_value FROM event_head) + 1,
		((extract(epoch FROM clock_timestamp()) * 1000000)::bigint - $2::bigint) * 1024) + ($1::bigint - 1) * 1024)`

	// The number of the batch; evaluated once in a statement, so that an index
	// can be searched for it.
	number = `(SELECT currval('event_head'))`

	// Of an incarnation that was ended the division fails, and with it the
	// transaction. The lock of the head keeps others from ending it meanwhile.
	fence         = `SELECT 1 / (SELECT count(*) FROM nodes WHERE id = $1 AND ended_ms IS NULL)`
	advanceFenced = advanceHead + `, 1 / (SELECT count(*) FROM nodes WHERE id = $3 AND ended_ms IS NULL)`
	fenceShared   = `SELECT 1 / (SELECT count(*) FROM (SELECT 1 FROM nodes WHERE id = $1 AND ended_ms IS NULL FOR SHARE) AS n)`
)

var (
	insertCalls = `INSERT INTO calls (id, app_id, version, commit_id, written, ended_ms, outcome, state)
		SELECT n.id, n.app_id, n.version, n.commit_id, ` + number + `, nullif(n.ended_ms, -1), nullif(n.outcome, ''), n.state
		FROM ` + rows(1, "id, app_id, version, commit_id, ended_ms, outcome text, state bytea, user_id text, request_id text, at_ms") + ` AS n
		WHERE (n.user_id IS NULL OR NOT EXISTS (SELECT 1 FROM requests AS r
			WHERE r.app_id = n.app_id AND r.user_id = n.user_id AND r.request_id = n.request_id AND r.expires_ms + 0 > n.at_ms))
		AND n.id <> ALL (ARRAY(SELECT x.id FROM ` + rows(11, "id, app_id, user_id text") + ` AS x
			WHERE (SELECT true FROM sessions AS s WHERE s.app_id = x.app_id AND s.user_id = x.user_id LIMIT 1) IS NULL))
		ON CONFLICT (id) DO NOTHING RETURNING id`
	updateCalls = `UPDATE calls AS c SET version = n.version, commit_id = n.commit_id, written = ` + number + `,
			ended_ms = nullif(n.ended_ms, -1), outcome = nullif(n.outcome, ''), state = n.state
		FROM ` + rows(1, "id, app_id, version, commit_id, ended_ms, outcome text, state bytea, user_id text, request_id text, at_ms, "+
		"prior, prior_commit") + ` AS n
		WHERE c.id = ANY (ARRAY[n.id]) AND c.version = n.prior AND (n.prior_commit = 0 OR c.commit_id = n.prior_commit)
			AND (n.user_id IS NULL OR NOT EXISTS (SELECT 1 FROM requests AS r
				WHERE r.app_id = n.app_id AND r.user_id = n.user_id AND r.request_id = n.request_id AND r.expires_ms + 0 > n.at_ms))
		RETURNING c.id`

	updateUsers = `UPDATE users AS u SET version = u.version + 1, written = ` + number + `, known = u.known OR n.login,
			logged_in = u.logged_in OR n.login, name = CASE WHEN n.login AND n.name <> '' THEN n.name ELSE u.name END
		FROM ` + rows(1, "app_id, user_id text, prior, login boolean, name text") + ` AS n
		WHERE u.app_id = ANY (ARRAY[n.app_id]) AND u.user_id = n.user_id AND (n.prior = 0 OR u.version = n.prior)
		RETURNING u.app_id, u.user_id`
	// Somebody of whom nothing is known has version 1.
	insertUsers = `INSERT INTO users (app_id, user_id, version, written, known, logged_in, name, avatar)
		SELECT n.app_id, n.user_id, 2, ` + number + `, n.login, n.login, CASE WHEN n.login THEN n.name ELSE '' END, ''
		FROM ` + rows(1, "app_id, user_id text, prior, login boolean, name text") + ` AS n
		WHERE n.prior = 0 OR n.prior = 1
		ON CONFLICT (app_id, user_id) DO NOTHING RETURNING app_id, user_id`
	putSessions = `INSERT INTO sessions (app_id, user_id, session_id, platform, login_ms, offline_ms, node_id)
		SELECT n.app_id, n.user_id, n.session_id, n.platform, n.login_ms, n.offline_ms, n.node_id
		FROM ` + rows(1, "app_id, user_id text, session_id text, platform text, login_ms, offline_ms, node_id, owner_app, owner_user text") + ` AS n
		JOIN users AS u ON u.app_id = ANY (ARRAY[n.owner_app]) AND u.user_id = n.owner_user AND u.written = ` + number + `
		ON CONFLICT (app_id, user_id, session_id) DO UPDATE SET platform = excluded.platform, login_ms = excluded.login_ms,
			offline_ms = excluded.offline_ms, node_id = excluded.node_id`
	dropSessions = `DELETE FROM sessions AS s
		USING ` + rows(1, "app_id, user_id text, session_id text") + ` AS n
		JOIN users AS u ON u.app_id = ANY (ARRAY[n.app_id]) AND u.user_id = n.user_id AND u.written = ` + number + `
		WHERE s.app_id = ANY (ARRAY[n.app_id]) AND s.user_id = n.user_id AND s.session_id = n.session_id`
)

// epoch is where event IDs begin to count, in Unix microseconds.
var epoch = int64(store.EventID(0).Instant()) * 1000

// userKey is a user, or with an ID a request of his.
type userKey struct {
	app  uint32
	user call.UserID
	id   string
}

// batch is what one transaction writes. Each call, each user's sessions and
// each request ID is in it at most once.
type batch struct {
	requests []*request

	calls    map[call.ID]*request
	users    map[userKey]*request // sessions
	asked    map[userKey]*request // request IDs
	inserted []*request           // calls that are new
	updated  []*request           // calls that are not
	events   []ownedEvent
	last     store.EventID // the number of the batch

	won   map[*request]bool
	found map[userKey][]store.Session
}

// ownedEvent is an event, and the request with which it is written.
type ownedEvent struct {
	*store.Event
	of *request
}

// newBatch makes a batch of requests, and gives those that have to wait for
// the next one.
func newBatch(requests []*request) (b *batch, later []*request) {
	b = &batch{calls: make(map[call.ID]*request), users: make(map[userKey]*request), asked: make(map[userKey]*request)}
	for _, r := range requests {
		if !b.add(r) {
			later = append(later, r)
		}
	}
	return b, later
}

// add reports false when the request has to wait.
func (b *batch) add(r *request) bool {
	events := r.events
	switch {
	case r.call != nil:
		c := r.call
		if b.calls[c.Call.ID] != nil {
			return false
		}
		if c.Request != nil {
			key := userKey{c.Call.App, c.Request.User, c.Request.ID}
			if b.asked[key] != nil {
				return false
			}
			b.asked[key] = r
		}
		b.calls[c.Call.ID] = r
		if c.Prior == 0 {
			b.inserted = append(b.inserted, r)
		} else {
			b.updated = append(b.updated, r)
		}
		events = c.Events
	case r.sessions != nil:
		key := userKey{app: r.sessions.App, user: r.sessions.User}
		if b.users[key] != nil {
			return false
		}
		b.users[key] = r
		events = r.sessions.Events
	}
	for _, e := range events {
		b.events = append(b.events, ownedEvent{e, r})
	}
	b.requests = append(b.requests, r)
	return true
}

// run has the server carry the batch out and reads what became of each
// request.
func (b *batch) run(ctx context.Context, conn *pgx.Conn, s *Store) error {
	b.won, b.found = make(map[*request]bool, len(b.requests)), nil
	out := new(pgx.Batch)
	out.Queue(takeHead, s.lock)
	if node := s.node.Load(); node != 0 {
		out.Queue(advanceFenced, max(1, len(b.events)), epoch, node).QueryRow(func(row pgx.Row) error { return row.Scan((*int64)(&b.last), nil) })
	} else {
		out.Queue(advanceHead, max(1, len(b.events)), epoch).QueryRow(func(row pgx.Row) error { return row.Scan((*int64)(&b.last)) })
	}
	b.queueCalls(out)
	b.queueSessions(out)
	b.queueOwned(out)
	return conn.SendBatch(ctx, out).Close()
}

// settle sets the outcomes of a batch that was written.
func (b *batch) settle() {
	for _, r := range b.requests {
		switch {
		case r.call == nil && r.sessions == nil, b.won[r]:
			r.Err = nil
		default:
			r.Err = store.ErrConflict
		}
		if r.Err == nil && r.call != nil && r.call.Find {
			for _, user := range r.call.NewUsers {
				r.call.Found = append(r.call.Found, b.found[userKey{app: r.call.Call.App, user: user}]...)
			}
		}
	}
	for i, e := range b.events {
		if e.of.Err == nil {
			e.ID = b.last - store.EventID(len(b.events)-1-i)<<10
		}
	}
}
