package sqlite

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

const (
	putLogin = `INSERT INTO users (app_id, user_id, name, avatar, logged_in, version) VALUES (?1, ?2, ?3, '', 1, 2)
		ON CONFLICT DO UPDATE SET logged_in = 1, name = CASE WHEN excluded.name = '' THEN name ELSE excluded.name END`
	putSession = `INSERT INTO sessions (app_id, user_id, session_id, platform, login_ms, offline_ms, node_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
		ON CONFLICT DO UPDATE SET platform = excluded.platform, login_ms = excluded.login_ms, offline_ms = excluded.offline_ms,
			node_id = excluded.node_id`
	moveSessions    = `UPDATE users SET version = version + 1 WHERE app_id = ?1 AND user_id = ?2`
	sessionsVersion = `SELECT version FROM users WHERE app_id = ?1 AND user_id = ?2`

	dropSession = `DELETE FROM sessions WHERE app_id = ?1 AND user_id = ?2 AND session_id = ?3`

	registerUser = `INSERT INTO users (app_id, user_id, name, avatar, logged_in) VALUES (?1, ?2, ?3, ?4, 0) ON CONFLICT DO NOTHING`

	userColumns = `SELECT user_id, name, avatar, logged_in,
		(SELECT count(*) FROM sessions AS s WHERE s.app_id = u.app_id AND s.user_id = u.user_id) FROM users AS u `
	findUser  = userColumns + `WHERE app_id = ?1 AND user_id = ?2`
	listUsers = userColumns + `WHERE app_id = ?1 AND user_id >= ?2 ORDER BY user_id LIMIT ?3`

	sessionColumns = `SELECT app_id, user_id, session_id, platform, login_ms, offline_ms, node_id FROM sessions `
	listSessionsOf = sessionColumns + `WHERE app_id = ?1 AND user_id = ?2 ORDER BY login_ms, session_id`
	listOpenOf     = sessionColumns + `WHERE app_id = ?1 AND user_id = ?2 AND offline_ms = 0`
	anySession     = `SELECT 1 FROM sessions WHERE app_id = ?1 AND user_id = ?2 LIMIT 1`
	listOpen       = sessionColumns + `WHERE (app_id, user_id, session_id) > (?1, ?2, ?3) AND offline_ms = 0
		ORDER BY app_id, user_id, session_id LIMIT ?4`
	listOffline = sessionColumns + `INDEXED BY sessions_offline WHERE offline_ms <> 0 AND offline_ms < ?1
		ORDER BY offline_ms, app_id, user_id, session_id LIMIT ?2`
)

// CommitSessions writes what became of a user's sessions.
func (s *Store) CommitSessions(ctx context.Context, c *store.SessionCommit) error {
	return s.submit(ctx, func(w *writer) error { return w.commitSessions(c) })
}

// hasSession reports whether a user has a session, be it offline.
func (w *writer) hasSession(app uint32, user call.UserID) (bool, error) {
	st := w.conn.on(anySession).int(int64(app)).text(string(user))
	there := st.next()
	return there, st.end()
}

func (w *writer) commitSessions(c *store.SessionCommit) error {
	if c.Prior != 0 {
		switch version, err := sessionsVersionOf(w.conn, c.App, c.User); {
		case err != nil:
			return err
		case version != c.Prior:
			return store.ErrConflict
		}
	}
	if err := w.conn.on(moveSessions).int(int64(c.App)).text(string(c.User)).run(); err != nil {
		return err
	}
	if c.Login {
		if err := w.conn.on(putLogin).int(int64(c.App)).text(string(c.User)).text(c.Name).run(); err != nil {
			return err
		}
	}
	for i := range c.Put {
		p := &c.Put[i]
		if err := w.conn.on(putSession).int(int64(p.App)).text(string(p.User)).text(string(p.ID)).text(p.Platform).
			int(int64(p.LoginAt)).int(int64(p.OfflineAt)).int(int64(p.Node)).run(); err != nil {
			return err
		}
	}
	for _, id := range c.Drop {
		if err := w.conn.on(dropSession).int(int64(c.App)).text(string(c.User)).text(string(id)).run(); err != nil {
			return err
		}
	}
	return w.writeEvents(c.Events)
}

// RegisterUsers adds users and gives those that were there.
func (s *Store) RegisterUsers(ctx context.Context, app uint32, users []store.User, _ call.Instant) ([]call.UserID, error) {
	var existed []call.UserID
	err := s.submit(ctx, func(w *writer) error {
		existed = nil
		var added []call.UserID
		for _, u := range users {
			isNew, err := w.conn.on(registerUser).int(int64(app)).text(string(u.ID)).text(u.Name).text(u.Avatar).change()
			switch {
			case err != nil:
				return err
			case isNew:
				added = append(added, u.ID)
			case !slices.Contains(added, u.ID):
				existed = append(existed, u.ID)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return existed, nil
}

// Users reads what is known of users.
func (s *Store) Users(ctx context.Context, app uint32, ids []call.UserID) ([]store.UserRecord, error) {
	records := make([]store.UserRecord, 0, len(ids))
	err := s.snapshot(ctx, func(c *conn) error {
		for _, id := range ids {
			st := c.on(findUser).int(int64(app)).text(string(id))
			if st.next() {
				records = append(records, readUser(st))
			}
			if err := st.end(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read users of app %d: %w", app, err)
	}
	return records, nil
}

// ListUsers lists users by ID.
func (s *Store) ListUsers(ctx context.Context, app uint32, prefix string, after call.UserID, limit int) ([]store.UserRecord, error) {
	first := prefix
	if after != "" {
		first = max(prefix, string(after)+"\x00") // what follows after
	}
	var records []store.UserRecord
	err := s.read(ctx, func(c *conn) error {
		st := c.on(listUsers).int(int64(app)).text(first).int(int64(limit))
		for st.next() {
			r := readUser(st)
			if !strings.HasPrefix(string(r.ID), prefix) {
				break
			}
			records = append(records, r)
		}
		return st.end()
	})
	if err != nil {
		return nil, fmt.Errorf("list users of app %d: %w", app, err)
	}
	return records, nil
}

// readUser reads a row of userColumns.
func readUser(st *statement) store.UserRecord {
	return store.UserRecord{
		User:     store.User{ID: call.UserID(st.ColumnText(0)), Name: st.ColumnText(1), Avatar: st.ColumnText(2)},
		LoggedIn: st.ColumnInt64(3) != 0,
		Sessions: st.ColumnInt(4),
	}
}

// SessionsOf lists the sessions of a user.
func (s *Store) SessionsOf(ctx context.Context, app uint32, user call.UserID) ([]store.Session, int64, error) {
	var version int64
	sessions, err := s.listSessions(ctx, func(c *conn) (_ *statement, err error) {
		version, err = sessionsVersionOf(c, app, user)
		return c.on(listSessionsOf).int(int64(app)).text(string(user)), err
	})
	return sessions, version, err
}

// sessionsVersionOf gives 1 for somebody of whom nothing is known.
func sessionsVersionOf(c *conn, app uint32, user call.UserID) (int64, error) {
	version := int64(1)
	st := c.on(sessionsVersion).int(int64(app)).text(string(user))
	if st.next() {
		version = st.ColumnInt64(0)
	}
	return version, st.end()
}

// OpenSessionsOf lists those sessions of users that are not offline.
func (s *Store) OpenSessionsOf(ctx context.Context, app uint32, users []call.UserID) ([]store.Session, error) {
	var open []store.Session
	for _, user := range users {
		sessions, err := s.listSessions(ctx, func(c *conn) (*statement, error) {
			return c.on(listOpenOf).int(int64(app)).text(string(user)), nil
		})
		if err != nil {
			return nil, err
		}
		open = append(open, sessions...)
	}
	return open, nil
}

// OpenSessions lists sessions that are not offline.
func (s *Store) OpenSessions(ctx context.Context, after store.Session, limit int) ([]store.Session, error) {
	return s.listSessions(ctx, func(c *conn) (*statement, error) {
		return c.on(listOpen).int(int64(after.App)).text(string(after.User)).text(string(after.ID)).int(int64(limit)), nil
	})
}

// OfflineSessions lists sessions that went offline before an instant.
func (s *Store) OfflineSessions(ctx context.Context, before call.Instant, limit int) ([]store.Session, error) {
	return s.listSessions(ctx, func(c *conn) (*statement, error) {
		return c.on(listOffline).int(int64(before)).int(int64(limit)), nil
	})
}

func (s *Store) listSessions(ctx context.Context, query func(c *conn) (*statement, error)) ([]store.Session, error) {
	var sessions []store.Session
	err := s.read(ctx, func(c *conn) error {
		st, err := query(c)
		if err != nil {
			return err
		}
		for st.next() {
			sessions = append(sessions, store.Session{
				App: uint32(st.ColumnInt64(0)), User: call.UserID(st.ColumnText(1)), ID: call.SessionID(st.ColumnText(2)),
				Platform: st.ColumnText(3), LoginAt: call.Instant(st.ColumnInt64(4)), OfflineAt: call.Instant(st.ColumnInt64(5)),
				Node: store.NodeID(st.ColumnInt64(6)),
			})
		}
		return st.end()
	})
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return sessions, nil
}
