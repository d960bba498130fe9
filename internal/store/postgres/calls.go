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

const (
	findCall = `SELECT commit_id, state FROM calls WHERE id = $1`

	// Whether a call is of a partition: its ID's last bits.
	ofCallPartition = `($2::bigint >> (id & 63)::integer) & 1 = 1`
	listLive        = `SELECT commit_id, state FROM calls WHERE ended_ms IS NULL AND id > $1 AND ` + ofCallPartition + ` ORDER BY id LIMIT $3`
	listHeads       = `SELECT id, version, commit_id FROM calls WHERE ended_ms IS NULL AND id > $1 AND ` + ofCallPartition + ` ORDER BY id LIMIT $3`
	// No call that lives is older than the oldest of all. IDs begin with the
	// second of creation.
	listLiveOf = `SELECT c.commit_id, c.state
		FROM (SELECT (min(id) >> 31) * 1000 AS ms FROM calls WHERE ended_ms IS NULL) AS oldest
		JOIN history_days AS d ON d.day >= oldest.ms / 86400000
		CROSS JOIN LATERAL (SELECT call_id FROM history WHERE day = d.day AND app_id = $1 AND user_id = $2 AND create_ms >= oldest.ms OFFSET 0) AS h
		JOIN calls AS c ON c.id = ANY (ARRAY[h.call_id]) WHERE c.ended_ms IS NULL`
	// A user's history is looked up day by day, as far as it takes. The planner
	// cannot change the order of joins with what is lateral and has a limit,
	// so the rows come in the order of the days.
	listHistory = `SELECT h.create_ms, c.state
		FROM (SELECT day FROM history_days WHERE day <= $3 / 86400000::bigint ORDER BY day DESC) AS d
		CROSS JOIN LATERAL (SELECT create_ms, call_id FROM history WHERE day = d.day AND app_id = $1 AND user_id = $2 AND create_ms <= $3
			ORDER BY create_ms DESC, call_id DESC LIMIT $4) AS h
		CROSS JOIN LATERAL (SELECT state FROM calls WHERE id = h.call_id LIMIT 1) AS c
		LIMIT $4`
	findRequest = `SELECT call_id, expires_ms, errors FROM requests
		WHERE app_id = $1 AND user_id = $2 AND request_id = $3 AND expires_ms + 0 > $4`
)

// CommitCall writes transitions of one call.
func (s *Store) CommitCall(ctx context.Context, c *store.CallCommit) error {
	err := s.submit(ctx, work{call: c, encoded: store.EncodeCall(&c.CallRecord)})
	if c.Request == nil || !errors.Is(err, store.ErrConflict) {
		return err
	}
	switch earlier, readErr := s.Requested(context.WithoutCancel(ctx), c.Call.App, c.Request.User, c.Request.ID, c.Call.CreatedAt); {
	case readErr == nil:
		return &store.DuplicateRequestError{Earlier: *earlier}
	case !errors.Is(readErr, store.ErrNotFound):
		return readErr
	}
	return err
}

// callRows are the columns of calls to be written.
type callRows struct {
	id, app, version, commit, ended, at, prior, priorCommit []int64
	outcome                                                 []string
	state                                                   [][]byte
	user, request                                           []*string // nil: no request ID
}

func rowsOfCalls(requests []*request) *callRows {
	n := len(requests)
	ints := make([]int64, 8*n)
	part := func(i int) []int64 { return ints[i*n : (i+1)*n : (i+1)*n] }
	rows := &callRows{
		id: part(0), app: part(1), version: part(2), commit: part(3), ended: part(4), at: part(5), prior: part(6), priorCommit: part(7),
		outcome: make([]string, n), state: make([][]byte, n), user: make([]*string, n), request: make([]*string, n),
	}
	for i, r := range requests {
		c := r.call.Call
		rows.id[i], rows.app[i], rows.version[i], rows.commit[i] = int64(c.ID), int64(c.App), c.Version, int64(r.call.CommitID)
		rows.at[i], rows.prior[i], rows.priorCommit[i] = int64(c.CreatedAt), r.call.Prior, int64(r.call.PriorCommit)
		rows.ended[i], rows.state[i] = -1, r.encoded
		if !c.Live() {
			rows.ended[i], rows.outcome[i] = int64(c.EndedAt), textOf(c.Outcome())
		}
		if q := r.call.Request; q != nil {
			rows.user[i], rows.request[i] = new(textOf(q.User)), new(textOf(q.ID))
		}
	}
	return rows
}

// queueCalls adds the statements that write calls, their history and their
// requests.
func (b *batch) queueCalls(out *pgx.Batch) {
	won := func(rows pgx.Rows) error {
		var id call.ID
		_, err := pgx.ForEachRow(rows, []any{(*uint64)(&id)}, func() error {
			b.won[b.calls[id]] = true
			return nil
		})
		return err
	}
	if len(b.inserted) > 0 {
		n := rowsOfCalls(b.inserted)
		var expectID, expectApp []int64
		var expectUser []string
		for _, r := range b.inserted {
			for _, user := range r.call.Expect {
				expectID, expectApp, expectUser = append(expectID, int64(r.call.Call.ID)), append(expectApp, int64(r.call.Call.App)), append(expectUser, textOf(user))
			}
		}
		out.Queue(insertCalls, n.id, n.app, n.version, n.commit, n.ended, n.outcome, n.state, n.user, n.request, n.at,
			expectID, expectApp, expectUser).Query(won)
	}
	if len(b.updated) > 0 {
		n := rowsOfCalls(b.updated)
		out.Queue(updateCalls, n.id, n.app, n.version, n.commit, n.ended, n.outcome, n.state, n.user, n.request, n.at, n.prior, n.priorCommit).Query(won)
	}
}

// Call reads a call.
func (s *Store) Call(ctx context.Context, id call.ID) (*store.CallRecord, error) {
	records, err := read(ctx, s, readRecord, findCall, int64(id))
	if err != nil {
		return nil, fmt.Errorf("read call %s: %w", id, err)
	}
	if len(records) == 0 {
		return nil, store.ErrNotFound
	}
	return records[0], nil
}

// LiveCalls lists the calls that have not ended.
func (s *Store) LiveCalls(ctx context.Context, parts store.PartitionSet, after call.ID, limit int) ([]*store.CallRecord, error) {
	records, err := read(ctx, s, readRecord, listLive, int64(after), int64(parts), limit)
	if err != nil {
		return nil, fmt.Errorf("list live calls: %w", err)
	}
	return records, nil
}

// LiveCallsOf lists those of a user.
func (s *Store) LiveCallsOf(ctx context.Context, app uint32, user call.UserID) ([]*store.CallRecord, error) {
	records, err := read(ctx, s, readRecord, listLiveOf, int64(app), textOf(user))
	if err != nil {
		return nil, fmt.Errorf("list live calls of user %q of app %d: %w", string(user), app, err)
	}
	return records, nil
}

// LiveHeads says how far the calls are that have not ended.
func (s *Store) LiveHeads(ctx context.Context, parts store.PartitionSet, after call.ID, limit int) ([]store.CallHead, error) {
	heads, err := read(ctx, s, func(row pgx.CollectableRow) (h store.CallHead, err error) {
		var commit int64
		err = row.Scan((*uint64)(&h.ID), &h.Version, &commit)
		h.CommitID = uint64(commit)
		return h, err
	}, listHeads, int64(after), int64(parts), limit)
	if err != nil {
		return nil, fmt.Errorf("list heads of live calls: %w", err)
	}
	return heads, nil
}

// readRecord reads a row of a commit ID and a state.
func readRecord(row pgx.CollectableRow) (*store.CallRecord, error) {
	var commit int64
	var state []byte
	if err := row.Scan(&commit, &state); err != nil {
		return nil, err
	}
	c, sequences, err := store.DecodeCall(state)
	if err != nil {
		return nil, err
	}
	return &store.CallRecord{Call: c, CommitID: uint64(commit), Sequences: sequences}, nil
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

// historyRow is a call in the history of a user.
type historyRow struct {
	created call.Instant
	state   []byte
}

// CallsOf lists the calls of a user, newest first.
func (s *Store) CallsOf(ctx context.Context, app uint32, user call.UserID, flag int64, limit int) ([]*call.Call, int64, error) {
	if err := s.check(ctx); err != nil || limit < 1 {
		return nil, 0, err
	}
	newest, skip := call.Instant(1<<62), 0
	if flag != 0 {
		newest, skip = readFlag(flag)
	}
	rows, err := read(ctx, s, func(row pgx.CollectableRow) (r historyRow, err error) {
		return r, row.Scan((*int64)(&r.created), &r.state)
	}, listHistory, int64(app), textOf(user), int64(newest), skip+limit+1)
	calls, next := []*call.Call(nil), int64(0)
	if err == nil {
		calls, next, err = pageOf(rows, newest, skip, limit)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("list calls of user %q of app %d: %w", string(user), app, err)
	}
	return calls, next, nil
}

// pageOf makes a page of rows that begin with the millisecond at which the
// page before ended, of which skip were given.
func pageOf(rows []historyRow, newest call.Instant, skip, limit int) (calls []*call.Call, next int64, err error) {
	last, given := newest, 0 // of the rows so far: the latest millisecond, and how many have it
	for i, row := range rows {
		if i < skip && row.created == newest {
			given++
			continue
		}
		if len(calls) == limit {
			return calls, makeFlag(last, given), nil
		}
		if row.created != last {
			last, given = row.created, 0
		}
		given++
		decoded, _, err := store.DecodeCall(row.state)
		if err != nil {
			return nil, 0, err
		}
		calls = append(calls, decoded)
	}
	return calls, 0, nil
}

// Requested finds the call that a request made.
func (s *Store) Requested(ctx context.Context, app uint32, user call.UserID, requestID string, now call.Instant) (*store.Request, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	found := &store.Request{User: user, ID: requestID}
	var errs []byte
	ctx, cancel := s.within(ctx)
	defer cancel()
	err := s.pool.QueryRow(ctx, findRequest, int64(app), textOf(user), textOf(requestID), int64(now)).
		Scan((*uint64)(&found.Call), (*int64)(&found.Expires), &errs)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, store.ErrNotFound
	}
	if err == nil {
		found.Errors, err = store.DecodeUserErrors(errs)
	}
	if err != nil {
		return nil, fmt.Errorf("find request of user %q of app %d: %w", string(user), app, err)
	}
	return found, nil
}
