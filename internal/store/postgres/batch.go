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

	insertHistory = `WITH d AS (INSERT INTO history_days SELECT DISTINCT n.ms / 86400000 FROM ` + rows(3, "ms") + ` AS n ON CONFLICT DO NOTHING)
		INSERT INTO history (day, app_id, user_id, create_ms, call_id)
		SELECT n.create_ms / 86400000, n.app_id, n.user_id, n.create_ms, n.call_id
		FROM ` + rows(1, "app_id, user_id text, create_ms, call_id") + ` AS n
		JOIN calls AS c ON c.id = ANY (ARRAY[n.call_id]) AND c.written = ` + number + `
		ON CONFLICT DO NOTHING`
	putRequests = `INSERT INTO requests (app_id, user_id, request_id, call_id, expires_ms, errors)
		SELECT n.app_id, n.user_id, n.request_id, n.call_id, n.expires_ms, n.errors
		FROM ` + rows(1, "app_id, user_id text, request_id text, call_id, expires_ms, errors bytea, owner_id") + ` AS n
		JOIN calls AS c ON c.id = ANY (ARRAY[n.owner_id]) AND c.written = ` + number + `
		ON CONFLICT (app_id, user_id, request_id) DO UPDATE SET call_id = excluded.call_id, expires_ms = excluded.expires_ms, errors = excluded.errors`

	// The lock of the head is held: whoever logs in later finds the calls of
	// this batch.
	findOpen = sessionColumns + `FROM ` + rows(1, "app_id, user_id text") + ` AS n CROSS JOIN LATERAL (` + sessionColumns + `
		FROM sessions AS s WHERE s.app_id = n.app_id AND s.user_id = n.user_id AND s.offline_ms + 0 = 0 OFFSET 0) AS s`

	// An event belongs to a commit of a call or of a user's sessions, or to
	// neither.
	insertEvents = `INSERT INTO events (id, app_id, call_id, at_ms, version, test, name, actor, device, fields)
		SELECT ` + number + ` - n.back * 1024, n.app_id, n.call_id, n.at_ms, n.version, n.test, n.name, n.actor, n.device, n.fields
		FROM ` + rows(1, "back, app_id, call_id, at_ms, version, test boolean, name text, actor text, device text, fields bytea, "+
		"owner_call, owner_app, owner_user text") + ` AS n
		WHERE CASE
			WHEN n.owner_call <> 0 THEN EXISTS (SELECT 1 FROM calls AS c WHERE c.id = n.owner_call AND c.written = ` + number + `)
			WHEN n.owner_user IS NOT NULL THEN EXISTS (SELECT 1 FROM users AS u
				WHERE u.app_id = n.owner_app AND u.user_id = n.owner_user AND u.written = ` + number + `)
			ELSE true END`
	// Deliveries are due at once, unless there is no endpoint left to get
	// them.
	insertDeliveries = `INSERT INTO deliveries (call_id, endpoint_id, sequence, event_id, due_ms, attempts, failures, state)
		SELECT e.call_id, n.endpoint_id, CASE e.call_id WHEN 0 THEN e.id ELSE n.sequence END, e.id, e.at_ms, 0, 0,
			CASE WHEN p.removed THEN 2 ELSE 0 END
		FROM ` + rows(1, "back, endpoint_id, sequence") + ` AS n
		JOIN events AS e ON e.id = ANY (ARRAY[` + number + ` - n.back * 1024])
		LEFT JOIN endpoints AS p ON p.id = n.endpoint_id`

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
	b.queueFind(out)
	b.queueEvents(out)
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

// queueFind adds the query for the sessions of users who are called.
func (b *batch) queueFind(out *pgx.Batch) {
	wanted := make(map[userKey]bool)
	var app []int64
	var users []string
	for _, r := range b.requests {
		if r.call == nil || !r.call.Find {
			continue
		}
		for _, user := range r.call.NewUsers {
			if key := (userKey{app: r.call.Call.App, user: user}); !wanted[key] {
				wanted[key] = true
				app, users = append(app, int64(key.app)), append(users, textOf(user))
			}
		}
	}
	if len(app) == 0 {
		return
	}
	out.Queue(findOpen, app, users).Query(func(rows pgx.Rows) error {
		sessions, err := pgx.AppendRows([]store.Session(nil), rows, readSession)
		b.found = make(map[userKey][]store.Session, len(sessions))
		for _, s := range sessions {
			key := userKey{app: s.App, user: s.User}
			b.found[key] = append(b.found[key], s)
		}
		return err
	})
}

// queueEvents adds the statements that write events and their deliveries.
func (b *batch) queueEvents(out *pgx.Batch) {
	n := len(b.events)
	if n == 0 {
		return
	}
	back, app, callID, at, version := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	test, name, actor, device := make([]bool, n), make([]string, n), make([]string, n), make([]string, n)
	fields, ownerCall, ownerApp, ownerUser := make([][]byte, n), make([]int64, n), make([]int64, n), make([]*string, n)
	var dueBack, dueEndpoint, dueSequence []int64
	for i, e := range b.events {
		back[i], app[i], callID[i], at[i], version[i] = int64(n-1-i), int64(e.App), int64(e.Call), int64(e.At), e.Version
		test[i], name[i], actor[i], device[i] = e.Test, textOf(e.Name), textOf(e.Actor.User), textOf(e.Actor.Session)
		fields[i] = e.Fields
		switch {
		case e.of.call != nil:
			ownerCall[i] = int64(e.of.call.Call.ID)
		case e.of.sessions != nil:
			ownerApp[i], ownerUser[i] = int64(e.of.sessions.App), new(textOf(e.of.sessions.User))
		}
		for _, sub := range e.Deliveries {
			dueBack, dueEndpoint, dueSequence = append(dueBack, back[i]), append(dueEndpoint, int64(sub.Endpoint)), append(dueSequence, int64(sub.Sequence))
		}
	}
	out.Queue(insertEvents, back, app, callID, at, version, test, name, actor, device, fields, ownerCall, ownerApp, ownerUser)
	if len(dueBack) > 0 {
		out.Queue(insertDeliveries, dueBack, dueEndpoint, dueSequence)
	}
}
