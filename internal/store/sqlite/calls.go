package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// CommitCall writes transitions of one call.
func (s *Store) CommitCall(ctx context.Context, c *store.CallCommit) error {
	err := s.line.Submit(ctx, s.line.Queue, func(r *request) { r.work = work{call: c, encoded: store.EncodeCall(&c.CallRecord)} })
	if err != nil || !c.Find {
		return err
	}
	found, err := s.OpenSessionsOf(context.WithoutCancel(ctx), c.Call.App, c.NewUsers)
	if err != nil {
		return fmt.Errorf("%w: the call is written, but not who is there: %w", store.ErrUnknown, err)
	}
	c.Found = found
	return nil
}

const (
	insertCall = `INSERT INTO calls (id, app_id, version, commit_id, ended_ms, outcome, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
		ON CONFLICT DO NOTHING`
	// A live call stays in its index.
	updateCall = `UPDATE calls SET version = ?1, commit_id = ?2, state = ?3
		WHERE id = ?4 AND version = ?5 AND (?6 = 0 OR commit_id = ?6)`
	endCall = `UPDATE calls SET version = ?1, commit_id = ?2, state = ?3, ended_ms = ?4, outcome = ?5
		WHERE id = ?6 AND version = ?7 AND (?8 = 0 OR commit_id = ?8)`

	insertHistory = `INSERT INTO history (app_id, user_id, create_ms, call_id) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING`

	findRequest = `SELECT call_id, expires_ms, errors FROM requests WHERE app_id = ?1 AND user_id = ?2 AND request_id = ?3`
	putRequest  = `INSERT INTO requests (app_id, user_id, request_id, call_id, expires_ms, errors) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
		ON CONFLICT DO UPDATE SET call_id = excluded.call_id, expires_ms = excluded.expires_ms, errors = excluded.errors`

	listLive = `SELECT commit_id, state FROM calls INDEXED BY calls_live WHERE ended_ms IS NULL AND id > ?1
		AND ?3 >> (id & 63) & 1 ORDER BY id LIMIT ?2`
	listHeads = `SELECT id, version, commit_id FROM calls INDEXED BY calls_live WHERE ended_ms IS NULL AND id > ?1
		AND ?3 >> (id & 63) & 1 ORDER BY id LIMIT ?2`
	listLiveOf = `SELECT c.commit_id, c.state FROM history AS h CROSS JOIN calls AS c ON c.id = h.call_id
		WHERE h.app_id = ?1 AND h.user_id = ?2 AND c.ended_ms IS NULL
			AND h.call_id >= (SELECT min(id) FROM calls INDEXED BY calls_live WHERE ended_ms IS NULL)`
	listHistory = `SELECT h.create_ms, c.state FROM history AS h CROSS JOIN calls AS c ON c.id = h.call_id
		WHERE h.app_id = ?1 AND h.user_id = ?2 AND h.create_ms <= ?3
		ORDER BY h.create_ms DESC, h.call_id DESC LIMIT ?4`
)

// commitCall writes a commit. Whatever can refuse it comes first.
func (w *writer) commitCall(c *store.CallCommit, encoded []byte) error {
	if c.Request != nil {
		earlier, err := findRequestOf(w.conn, c.Call.App, c.Request.User, c.Request.ID, c.Call.CreatedAt)
		if err != nil {
			return err
		}
		if earlier != nil {
			return &store.DuplicateRequestError{Earlier: *earlier}
		}
	}
	for _, user := range c.Expect {
		there, err := w.hasSession(c.Call.App, user)
		if err != nil {
			return err
		}
		if !there {
			return store.ErrConflict
		}
	}
	written, err := w.writeCall(c, encoded)
	if err != nil {
		return err
	}
	if !written {
		return store.ErrConflict
	}
	for _, user := range c.NewUsers {
		if err := w.conn.on(insertHistory).int(int64(c.Call.App)).text(string(user)).int(int64(c.Call.CreatedAt)).
			int(int64(c.Call.ID)).run(); err != nil {
			return err
		}
	}
	if err := w.writeEvents(c.Events); err != nil {
		return err
	}
	if c.Request == nil {
		return nil
	}
	r := c.Request
	return w.conn.on(putRequest).int(int64(c.Call.App)).text(string(r.User)).text(r.ID).int(int64(r.Call)).
		int(int64(r.Expires)).blob(store.EncodeUserErrors(r.Errors)).run()
}

// writeCall writes the call if the stored version is the right one.
func (w *writer) writeCall(c *store.CallCommit, encoded []byte) (bool, error) {
	next := c.Call
	switch {
	case c.Prior == 0:
		st := w.conn.on(insertCall).int(int64(next.ID)).int(int64(next.App)).int(next.Version).int(int64(c.CommitID))
		if next.Live() {
			st.null().null()
		} else {
			st.int(int64(next.EndedAt)).text(string(next.Outcome()))
		}
		return st.blob(encoded).change()
	case next.Live():
		return w.conn.on(updateCall).int(next.Version).int(int64(c.CommitID)).blob(encoded).
			int(int64(next.ID)).int(c.Prior).int(int64(c.PriorCommit)).change()
	}
	return w.conn.on(endCall).int(next.Version).int(int64(c.CommitID)).blob(encoded).int(int64(next.EndedAt)).
		text(string(next.Outcome())).int(int64(next.ID)).int(c.Prior).int(int64(c.PriorCommit)).change()
}

// Call reads a call.
func (s *Store) Call(ctx context.Context, id call.ID) (*store.CallRecord, error) {
	var record *store.CallRecord
	err := s.read(ctx, func(c *conn) error {
		st := c.on("SELECT commit_id, state FROM calls WHERE id = ?1").int(int64(id))
		var err error
		if st.next() {
			record, err = readCall(st)
		}
		return firstError(st.end(), err)
	})
	if err != nil {
		return nil, fmt.Errorf("read call %s: %w", id, err)
	}
	if record == nil {
		return nil, store.ErrNotFound
	}
	return record, nil
}

// LiveCalls lists the calls that have not ended.
func (s *Store) LiveCalls(ctx context.Context, parts store.PartitionSet, after call.ID, limit int) ([]*store.CallRecord, error) {
	return s.liveCalls(ctx, func(c *conn) *statement {
		return c.on(listLive).int(int64(after)).int(int64(limit)).int(int64(parts))
	})
}

// LiveCallsOf lists those of a user.
func (s *Store) LiveCallsOf(ctx context.Context, app uint32, user call.UserID) ([]*store.CallRecord, error) {
	return s.liveCalls(ctx, func(c *conn) *statement { return c.on(listLiveOf).int(int64(app)).text(string(user)) })
}

// LiveHeads says how far the calls are that have not ended.
func (s *Store) LiveHeads(ctx context.Context, parts store.PartitionSet, after call.ID, limit int) ([]store.CallHead, error) {
	var heads []store.CallHead
	err := s.read(ctx, func(c *conn) error {
		st := c.on(listHeads).int(int64(after)).int(int64(limit)).int(int64(parts))
		for st.next() {
			heads = append(heads, store.CallHead{
				ID: call.ID(st.ColumnInt64(0)), Version: st.ColumnInt64(1), CommitID: uint64(st.ColumnInt64(2)),
			})
		}
		return st.end()
	})
	if err != nil {
		return nil, fmt.Errorf("list heads of live calls: %w", err)
	}
	return heads, nil
}

func (s *Store) liveCalls(ctx context.Context, query func(c *conn) *statement) ([]*store.CallRecord, error) {
	var records []*store.CallRecord
	err := s.read(ctx, func(c *conn) error {
		st := query(c)
		for st.next() {
			record, err := readCall(st)
			if err != nil {
				st.end()
				return err
			}
			records = append(records, record)
		}
		return st.end()
	})
	if err != nil {
		return nil, fmt.Errorf("list live calls: %w", err)
	}
	return records, nil
}

// readCall reads a row of a commit ID and a state.
func readCall(st *statement) (*store.CallRecord, error) {
	c, sequences, err := store.DecodeCall(st.ColumnRawBlob(1))
	if err != nil {
		return nil, err
	}
	return &store.CallRecord{Call: c, CommitID: uint64(st.ColumnInt64(0)), Sequences: sequences}, nil
}

// A flag of CallsOf says where a page ended: at which millisecond, counted
// from flagEpoch, and how many calls of that millisecond it and those before
// it have given. It stays below 2^53 until 2069.
const flagCountBits = 12

var flagEpoch = call.At(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))

func makeFlag(created call.Instant, given int) int64 {
	return int64(created-flagEpoch)<<flagCountBits | int64(min(given, 1<<flagCountBits-1))
}

func readFlag(flag int64) (created call.Instant, given int) {
	return call.Instant(flag>>flagCountBits) + flagEpoch, int(flag & (1<<flagCountBits - 1))
}

// CallsOf lists the calls of a user, newest first.
func (s *Store) CallsOf(ctx context.Context, app uint32, user call.UserID, flag int64, limit int) ([]*call.Call, int64, error) {
	if limit < 1 {
		return nil, 0, nil
	}
	newest, skip := call.Instant(1<<62), 0
	if flag != 0 {
		newest, skip = readFlag(flag)
	}
	var calls []*call.Call
	var next int64
	err := s.read(ctx, func(c *conn) error {
		st := c.on(listHistory).int(int64(app)).text(string(user)).int(int64(newest)).int(int64(skip + limit + 1))
		last, given := newest, 0 // of the rows so far: the latest millisecond, and how many have it
		for row := 0; st.next(); row++ {
			created := call.Instant(st.ColumnInt64(0))
			if row < skip && created == newest {
				given++
				continue
			}
			if len(calls) == limit {
				next = makeFlag(last, given)
				break
			}
			if created != last {
				last, given = created, 0
			}
			given++
			decoded, _, err := store.DecodeCall(st.ColumnRawBlob(1))
			if err != nil {
				st.end()
				return err
			}
			calls = append(calls, decoded)
		}
		return st.end()
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list calls of user %q of app %d: %w", string(user), app, err)
	}
	return calls, next, nil
}

// Requested finds the call that a request made.
func (s *Store) Requested(ctx context.Context, app uint32, user call.UserID, requestID string, now call.Instant) (*store.Request, error) {
	var found *store.Request
	err := s.read(ctx, func(c *conn) (err error) {
		found, err = findRequestOf(c, app, user, requestID, now)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find request of user %q of app %d: %w", string(user), app, err)
	}
	if found == nil {
		return nil, store.ErrNotFound
	}
	return found, nil
}

// findRequestOf gives nil when there is no request, or it has expired.
func findRequestOf(c *conn, app uint32, user call.UserID, id string, now call.Instant) (*store.Request, error) {
	st := c.on(findRequest).int(int64(app)).text(string(user)).text(id)
	var found *store.Request
	var err error
	if st.next() && call.Instant(st.ColumnInt64(1)) > now {
		found = &store.Request{User: user, ID: id, Call: call.ID(st.ColumnInt64(0)), Expires: call.Instant(st.ColumnInt64(1))}
		found.Errors, err = store.DecodeUserErrors(st.ColumnRawBlob(2))
	}
	return found, firstError(st.end(), err)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
