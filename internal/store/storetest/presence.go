package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// login commits the login of a user from one device.
func login(s store.Store, f *fixture, user call.UserID, id call.SessionID, prior int64) error {
	return s.CommitSessions(f.ctx(), &store.SessionCommit{
		App: app, User: user, Prior: prior, Login: true, Put: []store.Session{{App: app, User: user, ID: id, LoginAt: now}},
		Events: []*store.Event{f.event(nil, now)},
	})
}

func (f *fixture) sessionsVersion(user call.UserID) int64 {
	f.Helper()
	_, version, err := f.SessionsOf(f.ctx(), app, user)
	f.ok(err)
	return version
}

func sortSessions(list []store.Session) []store.Session {
	slices.SortFunc(list, func(a, b store.Session) int {
		return strings.Compare(string(a.User)+"/"+string(a.ID), string(b.User)+"/"+string(b.ID))
	})
	return list
}

// sessionsOpenOf lists open sessions of several users.
func sessionsOpenOf(f *fixture) {
	var want []store.Session
	for _, user := range []call.UserID{"a", "b", "c", "d"} {
		c := &store.SessionCommit{App: app, User: user, Login: true}
		for i, id := range []call.SessionID{"1", "2", "3"} {
			s := store.Session{App: app, User: user, ID: id, Platform: "WEB", LoginAt: now, Node: store.NodeID(i)}
			if i == 1 || user == "c" {
				s.OfflineAt = now + 1
			} else if user != "d" {
				want = append(want, s)
			}
			c.Put = append(c.Put, s)
		}
		f.commitSessions(c)
	}
	f.commitSessions(&store.SessionCommit{App: app + 1, User: "a", Put: []store.Session{{App: app + 1, User: "a", ID: "9"}}})
	got, err := f.OpenSessionsOf(f.ctx(), app, []call.UserID{"b", "c", "nobody", "a"})
	f.ok(err)
	f.equal("open sessions", sortSessions(got), want)
	got, err = f.OpenSessionsOf(f.ctx(), app, nil)
	f.ok(err)
	f.equal("open sessions of nobody", got, []store.Session(nil))
}

// sessionsVersions says that a commit may ask for the version of the sessions,
// which each commit changes.
func sessionsVersions(f *fixture) {
	f.equal("version of one who is unknown", f.sessionsVersion("alice"), int64(1))
	f.fails(login(f, f, "alice", "s", 2), store.ErrConflict)
	f.equal("users", len(f.users("alice")), 0)
	f.ok(login(f, f, "alice", "s", 1))
	seen := []int64{1}
	for i, prior := range []func(v int64) int64{func(int64) int64 { return 0 }, func(v int64) int64 { return v }} {
		for k := range 3 {
			v := f.sessionsVersion("alice")
			if slices.Contains(seen, v) || v < 1 {
				f.Fatalf("version %d comes after %v", v, seen)
			}
			seen = append(seen, v)
			c := &store.SessionCommit{App: app, User: "alice", Prior: prior(v), Login: k == 0}
			if k == 1 {
				c.Put = []store.Session{{App: app, User: "alice", ID: "t", OfflineAt: now + call.Instant(i)}}
			}
			f.commitSessions(c)
		}
	}
	before, last := f.sessionsOf("alice"), f.lastEvent()
	for _, stale := range seen {
		f.fails(f.CommitSessions(f.ctx(), &store.SessionCommit{
			App: app, User: "alice", Prior: stale, Login: true, Name: "Eve", Put: []store.Session{{App: app, User: "alice", ID: "x"}},
			Drop: []call.SessionID{"s"}, Events: []*store.Event{f.event(nil, now)},
		}), store.ErrConflict)
	}
	f.equal("sessions", f.sessionsOf("alice"), before)
	f.equal("last event", f.lastEvent(), last)
	f.equal("name", f.users("alice")[0].Name, "")
	f.equal("version of another", f.sessionsVersion("bob"), int64(1))
	f.reopen()
	f.ok(login(f, f, "alice", "u", f.sessionsVersion("alice")))
}

// sessionsOneWinner has logins race for the sessions of some users.
func sessionsOneWinner(f *fixture) { oneSessionWinner(f, f.Store) }

// oneSessionWinner has logins race, by one store or several of one database.
func oneSessionWinner(f *fixture, stores ...store.Store) {
	const logins, rounds = 8, 6
	users := []call.UserID{"alice", "bob"}
	for round := range rounds {
		winners := make([]atomic.Pointer[string], len(users))
		priors := make([]int64, len(users))
		for i, user := range users {
			priors[i] = f.sessionsVersion(user)
		}
		var wg sync.WaitGroup
		for n := range logins * len(users) {
			wg.Go(func() {
				i, id := n%len(users), fmt.Sprint(round, "-", n)
				switch err := login(stores[n/2%len(stores)], f, users[i], call.SessionID(id), priors[i]); {
				case err == nil:
					if !winners[i].CompareAndSwap(nil, &id) {
						f.Errorf("round %d has two winners", round)
					}
				case !errors.Is(err, store.ErrConflict):
					f.Error(err)
				}
			})
		}
		wg.Wait()
		for i, user := range users {
			list := f.sessionsOf(user)
			if winners[i].Load() == nil || len(list) != round+1 ||
				!slices.ContainsFunc(list, func(s store.Session) bool { return string(s.ID) == *winners[i].Load() }) {
				f.Fatalf("round %d: %s has the sessions %v", round, user, list)
			}
		}
	}
	events, _ := f.follow(0, 0, 1000)
	f.equal("events", len(events), rounds*len(users))
}

// foundSessions says whom a commit finds.
func foundSessions(f *fixture) {
	f.ok(login(f, f, "bob", "b1", 0))
	f.ok(login(f, f, "bob", "b2", 0))
	f.ok(login(f, f, "carol", "c1", 0))
	f.commitSessions(&store.SessionCommit{App: app, User: "bob", Put: []store.Session{{App: app, User: "bob", ID: "b2", LoginAt: now, OfflineAt: now}}})
	c := f.ring(now, "alice", "bob", "dave")
	commit := &store.CallCommit{CallRecord: store.CallRecord{Call: c}, NewUsers: []call.UserID{"alice", "bob", "dave"}, Find: true}
	f.ok(f.CommitCall(f.ctx(), commit))
	f.equal("found", commit.Found, []store.Session{{App: app, User: "bob", ID: "b1", LoginAt: now}})
	again := &store.CallCommit{CallRecord: store.CallRecord{Call: c}, Prior: 5, NewUsers: []call.UserID{"carol"}, Find: true}
	f.fails(f.CommitCall(f.ctx(), again), store.ErrConflict)
	f.equal("found by a commit that failed", again.Found, []store.Session(nil))
	again.Prior, again.Find = 1, false
	f.ok(f.CommitCall(f.ctx(), again))
	f.equal("found without being asked", again.Found, []store.Session(nil))
}

// expectedSessions says when a commit that expects sessions is a conflict.
func expectedSessions(f *fixture) {
	f.ok(login(f, f, "bob", "b1", 0))
	f.ok(login(f, f, "carol", "c1", 0))
	f.commitSessions(&store.SessionCommit{App: app, User: "carol", Put: []store.Session{{App: app, User: "carol", ID: "c1", LoginAt: now, OfflineAt: now}}})
	f.commitSessions(&store.SessionCommit{App: app + 1, User: "dave", Put: []store.Session{{App: app + 1, User: "dave", ID: "d1", LoginAt: now}}})
	for _, test := range []struct {
		expect []call.UserID
		want   error
	}{
		{[]call.UserID{"bob", "carol"}, nil},
		{[]call.UserID{"bob", "nobody"}, store.ErrConflict},
		{[]call.UserID{"dave"}, store.ErrConflict}, // of another app
	} {
		c := f.ring(now, "alice", "bob")
		err := f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: c}, NewUsers: []call.UserID{"alice", "bob"}, Expect: test.expect})
		if !errors.Is(err, test.want) {
			f.Errorf("expecting %v: %v, want %v", test.expect, err, test.want)
		}
		_, err = f.Call(f.ctx(), c.ID)
		if missing := errors.Is(err, store.ErrNotFound); missing != (test.want != nil) {
			f.Errorf("expecting %v: the call reads %v", test.expect, err)
		}
	}
}

// presenceRace has users log in while they are called.
func presenceRace(f *fixture) { meet(f, f.Store, f.Store) }

// meet has users log in by one store while they are called by another: either
// the call finds the session, or whoever logs in finds the call.
func meet(f *fixture, logins, calls store.Store) {
	for round := range 4 {
		const users = 12
		var wg sync.WaitGroup
		met := make([]atomic.Bool, users)
		for i := range users {
			user := call.UserID(fmt.Sprint("user", round, "-", i))
			c := f.ring(now, "alice", user)
			wg.Go(func() {
				err := login(logins, f, user, "s", 1)
				live, again := logins.LiveCallsOf(f.ctx(), app, user)
				if err = errors.Join(err, again); err != nil {
					f.Error(err)
				}
				if len(live) > 0 {
					met[i].Store(true)
				}
			})
			wg.Go(func() {
				commit := &store.CallCommit{CallRecord: store.CallRecord{Call: c}, NewUsers: []call.UserID{"alice", user}, Find: true}
				if err := calls.CommitCall(f.ctx(), commit); err != nil {
					f.Error(err)
				}
				if len(commit.Found) > 0 {
					met[i].Store(true)
				}
			})
		}
		wg.Wait()
		for i := range met {
			if !met[i].Load() {
				f.Fatalf("round %d: the login of user %d and the call missed each other", round, i)
			}
		}
	}
}
