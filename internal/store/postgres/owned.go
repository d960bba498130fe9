package postgres

import (
	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/store"
)

// insertOwned writes what belongs to the calls and users of a batch, if they
// were written: the history of calls, requests, events and their deliveries. It
// gives the sessions of users who are called. All that is one statement,
// because a statement costs as much as dozens of rows.
var insertOwned = func() string {
	var p params
	calls := p.rows("id")
	past := p.rows("app_id, user_id text, create_ms, call_id")
	asked := p.rows("app_id, user_id text, request_id text, call_id, expires_ms, errors bytea, owner_id")
	told := p.rows("back, app_id, call_id, at_ms, version, test boolean, name text, actor text, device text, fields bytea, " +
		"owner_call, owner_app, owner_user text")
	due := p.rows("back, call_id, endpoint_id, sequence, at_ms")
	called := p.rows("app_id, user_id text")
	return `WITH won AS MATERIALIZED (SELECT ARRAY(SELECT c.id FROM ` + calls + ` AS n
			JOIN calls AS c ON c.id = ANY (ARRAY[n.id]) AND c.written = ` + number + `) AS ids),

		days AS (INSERT INTO history_days SELECT DISTINCT n.create_ms / 86400000 FROM ` + past + ` AS n ON CONFLICT DO NOTHING),
		past AS (INSERT INTO history (day, app_id, user_id, create_ms, call_id)
			SELECT n.create_ms / 86400000, n.app_id, n.user_id, n.create_ms, n.call_id FROM ` + past + ` AS n
			WHERE n.call_id = ANY ((SELECT ids FROM won)::bigint[])
			ON CONFLICT DO NOTHING),

		asked AS (INSERT INTO requests (app_id, user_id, request_id, call_id, expires_ms, errors)
			SELECT n.app_id, n.user_id, n.request_id, n.call_id, n.expires_ms, n.errors FROM ` + asked + ` AS n
			WHERE n.owner_id = ANY ((SELECT ids FROM won)::bigint[])
			ON CONFLICT (app_id, user_id, request_id) DO UPDATE
				SET call_id = excluded.call_id, expires_ms = excluded.expires_ms, errors = excluded.errors),

		-- An event belongs to a commit of a call or of a user's sessions, or to
		-- neither.
		told AS (INSERT INTO events (id, app_id, call_id, at_ms, version, test, name, actor, device, fields)
			SELECT ` + number + ` - n.back * 1024, n.app_id, n.call_id, n.at_ms, n.version, n.test, n.name, n.actor, n.device, n.fields
			FROM ` + told + ` AS n
			WHERE CASE
				WHEN n.owner_call <> 0 THEN n.owner_call = ANY ((SELECT ids FROM won)::bigint[])
				WHEN n.owner_user IS NOT NULL THEN EXISTS (SELECT 1 FROM users AS u
					WHERE u.app_id = n.owner_app AND u.user_id = n.owner_user AND u.written = ` + number + `)
				ELSE true END
			RETURNING id),
		-- Deliveries are due at once, unless there is no endpoint left to get
		-- them.
		due AS (INSERT INTO deliveries (call_id, endpoint_id, sequence, event_id, due_ms, attempts, failures, state)
			SELECT n.call_id, n.endpoint_id, CASE n.call_id WHEN 0 THEN n.event_id ELSE n.sequence END, n.event_id, n.at_ms, 0, 0,
				CASE WHEN p.removed THEN 2 ELSE 0 END
			FROM (SELECT *, ` + number + ` - back * 1024 AS event_id FROM ` + due + ` AS n) AS n
			LEFT JOIN endpoints AS p ON p.id = n.endpoint_id
			WHERE n.event_id = ANY (ARRAY(SELECT id FROM told)))

		-- The lock of the head is held: whoever logs in later finds the calls of
		-- this batch.
		` + sessionColumns + `FROM ` + called + ` AS n CROSS JOIN LATERAL (` + sessionColumns + `
			FROM sessions AS s WHERE s.app_id = n.app_id AND s.user_id = n.user_id AND s.offline_ms + 0 = 0 OFFSET 0) AS s`
}()

// queueOwned adds the statement that writes what belongs to others.
func (b *batch) queueOwned(out *pgx.Batch) {
	if len(b.calls) == 0 && len(b.events) == 0 {
		return
	}
	var rows ownedRows
	for _, r := range b.requests {
		if r.call != nil {
			rows.addCall(r.call)
		}
	}
	for i, e := range b.events {
		rows.addEvent(e, len(b.events)-1-i)
	}
	out.Queue(insertOwned, rows.columns()...).Query(func(rows pgx.Rows) error {
		sessions, err := pgx.AppendRows([]store.Session(nil), rows, readSession)
		b.found = make(map[userKey][]store.Session, len(sessions))
		for _, s := range sessions {
			key := userKey{app: s.App, user: s.User}
			b.found[key] = append(b.found[key], s)
		}
		return err
	})
}

// ownedRows are the columns of insertOwned, for each kind of row.
type ownedRows struct {
	calls []int64
	past  struct {
		app, created, call []int64
		user               []string
	}
	asked struct {
		app, call, expires, owner []int64
		user, request             []string
		errors                    [][]byte
	}
	told struct {
		back, app, call, at, version, ownerCall, ownerApp []int64
		test                                              []bool
		name, actor, device                               []string
		fields                                            [][]byte
		ownerUser                                         []*string
	}
	due struct{ back, call, endpoint, sequence, at []int64 }

	called struct {
		app  []int64
		user []string
	}
	wanted map[userKey]bool // those in called
}

// addCall adds what belongs to the commit of a call, other than events.
func (n *ownedRows) addCall(c *store.CallCommit) {
	id, app := int64(c.Call.ID), int64(c.Call.App)
	n.calls = append(n.calls, id)
	for _, u := range c.NewUsers {
		user := textOf(u)
		n.past.app, n.past.user = append(n.past.app, app), append(n.past.user, user)
		n.past.created, n.past.call = append(n.past.created, int64(c.Call.CreatedAt)), append(n.past.call, id)
		if key := (userKey{app: c.Call.App, user: u}); c.Find && !n.wanted[key] {
			if n.wanted == nil {
				n.wanted = make(map[userKey]bool)
			}
			n.wanted[key] = true
			n.called.app, n.called.user = append(n.called.app, app), append(n.called.user, user)
		}
	}
	if q := c.Request; q != nil {
		n.asked.app, n.asked.user, n.asked.request = append(n.asked.app, app), append(n.asked.user, textOf(q.User)), append(n.asked.request, textOf(q.ID))
		n.asked.call, n.asked.expires = append(n.asked.call, int64(q.Call)), append(n.asked.expires, int64(q.Expires))
		n.asked.errors, n.asked.owner = append(n.asked.errors, store.EncodeUserErrors(q.Errors)), append(n.asked.owner, id)
	}
}

// addEvent adds an event, the last but so many of the batch, and its
// deliveries.
func (n *ownedRows) addEvent(e ownedEvent, back int) {
	n.told.back, n.told.app, n.told.call = append(n.told.back, int64(back)), append(n.told.app, int64(e.App)), append(n.told.call, int64(e.Call))
	n.told.at, n.told.version, n.told.test = append(n.told.at, int64(e.At)), append(n.told.version, e.Version), append(n.told.test, e.Test)
	n.told.name, n.told.fields = append(n.told.name, textOf(e.Name)), append(n.told.fields, e.Fields)
	n.told.actor, n.told.device = append(n.told.actor, textOf(e.Actor.User)), append(n.told.device, textOf(e.Actor.Session))
	var ownerCall, ownerApp int64
	var ownerUser *string
	switch {
	case e.of.call != nil:
		ownerCall = int64(e.of.call.Call.ID)
	case e.of.sessions != nil:
		ownerApp, ownerUser = int64(e.of.sessions.App), new(textOf(e.of.sessions.User))
	}
	n.told.ownerCall, n.told.ownerApp, n.told.ownerUser = append(n.told.ownerCall, ownerCall), append(n.told.ownerApp, ownerApp), append(n.told.ownerUser, ownerUser)
	for _, sub := range e.Deliveries {
		n.due.back, n.due.call, n.due.at = append(n.due.back, int64(back)), append(n.due.call, int64(e.Call)), append(n.due.at, int64(e.At))
		n.due.endpoint, n.due.sequence = append(n.due.endpoint, int64(sub.Endpoint)), append(n.due.sequence, int64(sub.Sequence))
	}
}

// columns gives the parameters of insertOwned.
func (n *ownedRows) columns() []any {
	return []any{
		n.calls,
		n.past.app, n.past.user, n.past.created, n.past.call,
		n.asked.app, n.asked.user, n.asked.request, n.asked.call, n.asked.expires, n.asked.errors, n.asked.owner,
		n.told.back, n.told.app, n.told.call, n.told.at, n.told.version, n.told.test, n.told.name, n.told.actor, n.told.device, n.told.fields,
		n.told.ownerCall, n.told.ownerApp, n.told.ownerUser,
		n.due.back, n.due.call, n.due.endpoint, n.due.sequence, n.due.at,
		n.called.app, n.called.user,
	}
}
