package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

const (
	// A user who was not known but for his sessions counts as new.
	registerUsers = `INSERT INTO users AS u (app_id, user_id, version, written, known, logged_in, name, avatar)
		SELECT $1, n.user_id, 1, 0, true, false, n.name, n.avatar FROM unnest($2::text[], $3::text[], $4::text[]) AS n (user_id, name, avatar)
		ON CONFLICT (app_id, user_id) DO UPDATE SET known = true, name = excluded.name, avatar = excluded.avatar WHERE NOT u.known
		RETURNING user_id`

	userColumns = `SELECT u.user_id, u.name, u.avatar, u.logged_in,
		(SELECT count(*) FROM sessions AS s WHERE s.app_id = u.app_id AND s.user_id = u.user_id) `
	findUsers = userColumns + `FROM unnest($2::text[]) WITH ORDINALITY AS n (user_id, i)
		CROSS JOIN LATERAL (SELECT * FROM users WHERE app_id = $1 AND user_id = n.user_id AND known OFFSET 0) AS u ORDER BY n.i`
	listUsers = userColumns + `FROM users AS u WHERE u.app_id = $1 AND u.user_id >= $2 AND u.known ORDER BY u.user_id LIMIT $3`

	sessionColumns  = `SELECT s.app_id, s.user_id, s.session_id, s.platform, s.login_ms, s.offline_ms, s.node_id `
	listSessionsOf  = sessionColumns + `FROM sessions AS s WHERE s.app_id = $1 AND s.user_id = $2 ORDER BY s.login_ms, s.session_id`
	sessionsVersion = `SELECT coalesce((SELECT version FROM users WHERE app_id = $1 AND user_id = $2), 1)`
	// A sum keeps the planner from an index of open sessions that does not
	// help, and an offset from reading all of them before the users.
	listOpenOf = sessionColumns + `FROM unnest($2::text[]) AS n (user_id) CROSS JOIN LATERAL (` + sessionColumns + `
		FROM sessions AS s WHERE s.app_id = $1 AND s.user_id = n.user_id AND s.offline_ms + 0 = 0 OFFSET 0) AS s`
	listOpen = sessionColumns + `FROM sessions AS s WHERE (s.app_id, s.user_id, s.session_id) > ($1, $2, $3) AND s.offline_ms + 0 = 0
		ORDER BY s.app_id, s.user_id, s.session_id LIMIT $4`
	listOffline = sessionColumns + `FROM sessions AS s WHERE s.offline_ms <> 0 AND s.offline_ms < $1
		ORDER BY s.offline_ms, s.app_id, s.user_id, s.session_id LIMIT $2`
)

// CommitSessions writes what became of a user's sessions.
func (s *Store) CommitSessions(ctx context.Context, c *store.SessionCommit) error {
	return s.submit(ctx, work{sessions: c})
}

// queueSessions adds the statements that write users and sessions.
func (b *batch) queueSessions(out *pgx.Batch) {
	if len(b.users) == 0 {
		return
	}
	var app, prior []int64
	var user, name []string
	var login []bool
	var put sessionRows
	var dropApp []int64
	var dropUser, dropID []string
	for _, r := range b.requests {
		c := r.sessions
		if c == nil {
			continue
		}
		app, user, prior = append(app, int64(c.App)), append(user, textOf(c.User)), append(prior, c.Prior)
		login, name = append(login, c.Login), append(name, textOf(c.Name))
		put.add(c)
		for _, id := range c.Drop {
			dropApp, dropUser, dropID = append(dropApp, int64(c.App)), append(dropUser, textOf(c.User)), append(dropID, textOf(id))
		}
	}
	won := func(rows pgx.Rows) error {
		var key userKey
		_, err := pgx.ForEachRow(rows, []any{&key.app, into(&key.user)}, func() error {
			b.won[b.users[key]] = true
			return nil
		})
		return err
	}
	out.Queue(updateUsers, app, user, prior, login, name).Query(won)
	out.Queue(insertUsers, app, user, prior, login, name).Query(won)
	if len(put.app) > 0 {
		out.Queue(putSessions, put.app, put.user, put.id, put.platform, put.login, put.offline, put.node, put.ownerApp, put.ownerUser)
	}
	if len(dropApp) > 0 {
		out.Queue(dropSessions, dropApp, dropUser, dropID)
	}
}

// sessionRows are the columns of sessions to be written.
type sessionRows struct {
	app, login, offline, node, ownerApp []int64
	user, id, platform, ownerUser       []string
}

// add adds the sessions of a commit; of several with one ID the last.
func (n *sessionRows) add(c *store.SessionCommit) {
	for i := range c.Put {
		p := &c.Put[i]
		if slices.ContainsFunc(c.Put[i+1:], func(q store.Session) bool { return q.ID == p.ID && q.User == p.User && q.App == p.App }) {
			continue
		}
		n.app, n.user, n.id = append(n.app, int64(p.App)), append(n.user, textOf(p.User)), append(n.id, textOf(p.ID))
		n.platform, n.login = append(n.platform, textOf(p.Platform)), append(n.login, int64(p.LoginAt))
		n.offline, n.node = append(n.offline, int64(p.OfflineAt)), append(n.node, int64(p.Node))
		n.ownerApp, n.ownerUser = append(n.ownerApp, int64(c.App)), append(n.ownerUser, textOf(c.User))
	}
}

// RegisterUsers adds users and gives those that were there.
func (s *Store) RegisterUsers(ctx context.Context, app uint32, users []store.User, _ call.Instant) ([]call.UserID, error) {
	var ids []call.UserID // each once, in order
	var user, name, avatar []string
	for _, u := range users {
		if !slices.Contains(ids, u.ID) {
			ids = append(ids, u.ID)
			user, name, avatar = append(user, textOf(u.ID)), append(name, textOf(u.Name)), append(avatar, textOf(u.Avatar))
		}
	}
	var existed []call.UserID
	err := s.transact(ctx, func(ctx context.Context, tx pgx.Tx) error {
		added, err := query(ctx, tx, readUserID, registerUsers, int64(app), user, name, avatar)
		existed = slices.DeleteFunc(slices.Clone(ids), func(id call.UserID) bool { return slices.Contains(added, id) })
		return err
	})
	if err != nil || len(existed) == 0 {
		return nil, err
	}
	return existed, nil
}

func readUserID(row pgx.CollectableRow) (id call.UserID, err error) {
	return id, row.Scan(into(&id))
}

// Users reads what is known of users.
func (s *Store) Users(ctx context.Context, app uint32, ids []call.UserID) ([]store.UserRecord, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	records, err := s.users.of(ctx, app, ids)
	if err != nil {
		return nil, fmt.Errorf("read users of app %d: %w", app, err)
	}
	if records == nil {
		records = []store.UserRecord{}
	}
	return records, nil
}

func (s *Store) queryUsers(ctx context.Context, app uint32, ids []string) ([]store.UserRecord, error) {
	return read(ctx, s, readUser, findUsers, int64(app), ids)
}

func textsOf[T ~string](list []T) []string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = textOf(v)
	}
	return texts
}

// ListUsers lists users by ID.
func (s *Store) ListUsers(ctx context.Context, app uint32, prefix string, after call.UserID, limit int) ([]store.UserRecord, error) {
	first := prefix
	if after != "" {
		first = max(prefix, string(after)+"\x00") // what follows after
	}
	records, err := read(ctx, s, readUser, listUsers, int64(app), textOf(first), limit)
	if err != nil {
		return nil, fmt.Errorf("list users of app %d: %w", app, err)
	}
	for i := range records {
		if !strings.HasPrefix(string(records[i].ID), prefix) {
			records = records[:i:i]
			break
		}
	}
	if len(records) == 0 {
		return nil, nil
	}
	return records, nil
}

// readUser reads a row of userColumns.
func readUser(row pgx.CollectableRow) (r store.UserRecord, err error) {
	return r, row.Scan(into(&r.ID), into(&r.Name), into(&r.Avatar), &r.LoggedIn, &r.Sessions)
}

// SessionsOf lists the sessions of a user.
func (s *Store) SessionsOf(ctx context.Context, app uint32, user call.UserID) ([]store.Session, int64, error) {
	var version int64
	var sessions []store.Session
	// The version first: if it is still the same at the next commit, so are
	// the sessions.
	b := new(pgx.Batch)
	b.Queue(sessionsVersion, int64(app), textOf(user)).QueryRow(func(row pgx.Row) error { return row.Scan(&version) })
	b.Queue(listSessionsOf, int64(app), textOf(user)).Query(func(rows pgx.Rows) (err error) {
		sessions, err = pgx.AppendRows(sessions, rows, readSession)
		return err
	})
	if err := s.look(ctx, b); err != nil {
		return nil, 0, fmt.Errorf("list sessions of user %q of app %d: %w", string(user), app, err)
	}
	return sessions, version, nil
}

// OpenSessionsOf lists those sessions of users that are not offline.
func (s *Store) OpenSessionsOf(ctx context.Context, app uint32, users []call.UserID) ([]store.Session, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	return s.open.of(ctx, app, users)
}

func (s *Store) queryOpen(ctx context.Context, app uint32, users []string) ([]store.Session, error) {
	return s.listSessions(ctx, listOpenOf, int64(app), users)
}

// OpenSessions lists sessions that are not offline.
func (s *Store) OpenSessions(ctx context.Context, after store.Session, limit int) ([]store.Session, error) {
	return s.listSessions(ctx, listOpen, int64(after.App), textOf(after.User), textOf(after.ID), limit)
}

// OfflineSessions lists sessions that went offline before an instant.
func (s *Store) OfflineSessions(ctx context.Context, before call.Instant, limit int) ([]store.Session, error) {
	return s.listSessions(ctx, listOffline, int64(before), limit)
}

func (s *Store) listSessions(ctx context.Context, sql string, args ...any) ([]store.Session, error) {
	sessions, err := read(ctx, s, readSession, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return sessions, nil
}

// readSession reads a row of sessionColumns.
func readSession(row pgx.CollectableRow) (v store.Session, err error) {
	return v, row.Scan(&v.App, into(&v.User), into(&v.ID), into(&v.Platform), (*int64)(&v.LoginAt), (*int64)(&v.OfflineAt), (*int64)(&v.Node))
}
