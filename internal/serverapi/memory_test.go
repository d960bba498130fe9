package serverapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// memory is a store that keeps everything in memory: as much of the contract
// as engine and server API use, with conflicts, and with IDs of events in the
// order of commits. What it does not have panics.
type memory struct {
	store.Store // nil

	mu       sync.Mutex
	calls    map[call.ID]*store.CallRecord
	users    map[string]*memoryUser // by app and ID
	nonces   map[string]call.Instant
	events   []*store.Event
	lookedAt int // events that one page looks at; 0: all
	fail     error
}

type memoryUser struct {
	store.User
	loggedIn bool
	sessions []store.Session
}

func newMemory() *memory {
	return &memory{
		calls: make(map[call.ID]*store.CallRecord), users: make(map[string]*memoryUser), nonces: make(map[string]call.Instant),
	}
}

func userKey(app uint32, id call.UserID) string { return fmt.Sprintf("%d %s", app, id) }

func (m *memory) lock() func() {
	m.mu.Lock()
	return m.mu.Unlock
}

// add makes events durable; m.mu is held.
func (m *memory) add(events []*store.Event) {
	for _, ev := range events {
		ev.ID = store.EventID(len(m.events) + 1)
		m.events = append(m.events, ev)
	}
}

func (m *memory) AddEvents(_ context.Context, events []*store.Event) error {
	defer m.lock()()
	m.add(events)
	return m.fail
}

func (m *memory) CommitCall(_ context.Context, c *store.CallCommit) error {
	defer m.lock()()
	if m.fail != nil {
		return m.fail
	}
	version := int64(0)
	if old := m.calls[c.Call.ID]; old != nil {
		version = old.Call.Version
	}
	if version != c.Prior {
		return store.ErrConflict
	}
	rec := c.CallRecord
	rec.Sequences = maps.Clone(rec.Sequences)
	m.calls[c.Call.ID] = &rec
	m.add(c.Events)
	return nil
}

func (m *memory) Call(_ context.Context, id call.ID) (*store.CallRecord, error) {
	defer m.lock()()
	if rec := m.calls[id]; rec != nil {
		return rec, m.fail
	}
	return nil, store.ErrNotFound
}

func (m *memory) LiveCalls(_ context.Context, _ store.PartitionSet, after call.ID, limit int) ([]*store.CallRecord, error) {
	defer m.lock()()
	var live []*store.CallRecord
	for _, id := range slices.Sorted(maps.Keys(m.calls)) {
		if rec := m.calls[id]; id > after && rec.Call.Live() && len(live) < limit {
			live = append(live, rec)
		}
	}
	return live, nil
}

// CallsOf pages by the place in the list, which is good enough as long as no
// call is made meanwhile.
func (m *memory) CallsOf(_ context.Context, app uint32, user call.UserID, flag int64, limit int) ([]*call.Call, int64, error) {
	defer m.lock()()
	var all []*call.Call
	for _, rec := range m.calls {
		if rec.Call.App == app && rec.Call.User(user) != nil {
			all = append(all, rec.Call)
		}
	}
	slices.SortFunc(all, func(a, b *call.Call) int { return int(b.CreatedAt - a.CreatedAt) })
	all = all[min(int(flag), len(all)):]
	if len(all) <= limit {
		return all, 0, nil
	}
	return all[:limit], flag + int64(limit), nil
}

func (m *memory) CommitSessions(_ context.Context, c *store.SessionCommit) error {
	defer m.lock()()
	if m.fail != nil {
		return m.fail
	}
	u := m.users[userKey(c.App, c.User)]
	if u == nil {
		u = &memoryUser{User: store.User{ID: c.User}}
		m.users[userKey(c.App, c.User)] = u
	}
	u.loggedIn = u.loggedIn || c.Login
	if c.Name != "" {
		u.Name = c.Name
	}
	for _, s := range c.Put {
		u.drop(s.ID)
		u.sessions = append(u.sessions, s)
	}
	for _, id := range c.Drop {
		u.drop(id)
	}
	m.add(c.Events)
	return nil
}

func (u *memoryUser) drop(id call.SessionID) {
	u.sessions = slices.DeleteFunc(u.sessions, func(s store.Session) bool { return s.ID == id })
}

func (m *memory) RegisterUsers(_ context.Context, app uint32, users []store.User, _ call.Instant) (existed []call.UserID, err error) {
	defer m.lock()()
	for _, u := range users {
		if m.users[userKey(app, u.ID)] != nil {
			existed = append(existed, u.ID)
			continue
		}
		m.users[userKey(app, u.ID)] = &memoryUser{User: u}
	}
	return existed, m.fail
}

func (m *memory) Users(_ context.Context, app uint32, ids []call.UserID) ([]store.UserRecord, error) {
	defer m.lock()()
	var known []store.UserRecord
	for _, id := range ids {
		if u := m.users[userKey(app, id)]; u != nil {
			known = append(known, store.UserRecord{User: u.User, LoggedIn: u.loggedIn, Sessions: len(u.sessions)})
		}
	}
	return known, m.fail
}

func (m *memory) SessionsOf(_ context.Context, app uint32, user call.UserID) ([]store.Session, int64, error) {
	defer m.lock()()
	if u := m.users[userKey(app, user)]; u != nil {
		return slices.Clone(u.sessions), 1, nil
	}
	return nil, 1, nil
}

// What only several nodes ask for is not there.

func (m *memory) LiveHeads(context.Context, store.PartitionSet, call.ID, int) ([]store.CallHead, error) {
	return nil, errors.ErrUnsupported
}

func (m *memory) LiveCallsOf(context.Context, uint32, call.UserID) ([]*store.CallRecord, error) {
	return nil, errors.ErrUnsupported
}

func (m *memory) OpenSessionsOf(context.Context, uint32, []call.UserID) ([]store.Session, error) {
	return nil, errors.ErrUnsupported
}

// OpenSessions and OfflineSessions give nothing: no engine is started over
// sessions that are there already, and none runs for long.
func (m *memory) OpenSessions(context.Context, store.Session, int) ([]store.Session, error) {
	return nil, nil
}

func (m *memory) OfflineSessions(context.Context, call.Instant, int) ([]store.Session, error) {
	return nil, nil
}

func (m *memory) Prune(context.Context, call.Instant, int) (int, error) { return 0, nil }

func (m *memory) FailRemoved(context.Context, int) (int, error) { return 0, nil }

func (m *memory) Headroom() error { return nil }

func (m *memory) UseNonce(_ context.Context, app uint32, nonce string, expires, now call.Instant) error {
	defer m.lock()()
	if m.fail != nil {
		return m.fail
	}
	key := fmt.Sprintf("%d %s", app, nonce)
	if until, used := m.nonces[key]; used && until > now {
		return store.ErrUsed
	}
	m.nonces[key] = expires
	return nil
}

func (m *memory) EventsAfter(_ context.Context, app uint32, after store.EventID, limit int) (store.EventPage, error) {
	defer m.lock()()
	page := store.EventPage{Next: after}
	for i, ev := range m.events[after:] {
		if len(page.Events) == limit || m.lookedAt > 0 && i == m.lookedAt {
			page.More = true
			break
		}
		page.Next = ev.ID
		if app == 0 || ev.App == app {
			page.Events = append(page.Events, ev)
		}
	}
	return page, m.fail
}

func (m *memory) LastEventID(context.Context) (store.EventID, error) {
	defer m.lock()()
	return store.EventID(len(m.events)), m.fail
}
