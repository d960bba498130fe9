package storetest

import (
	"slices"
	"strings"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

func (f *fixture) users(ids ...call.UserID) []store.UserRecord {
	f.Helper()
	records, err := f.Users(f.ctx(), app, ids)
	f.ok(err)
	slices.SortFunc(records, func(a, b store.UserRecord) int { return slices.Index(ids, a.ID) - slices.Index(ids, b.ID) })
	return records
}

func (f *fixture) sessionsOf(user call.UserID) []store.Session {
	f.Helper()
	list, _, err := f.SessionsOf(f.ctx(), app, user)
	f.ok(err)
	return list
}

func (f *fixture) commitSessions(c *store.SessionCommit) {
	f.Helper()
	f.ok(f.CommitSessions(f.ctx(), c))
}

func users(f *fixture) {
	f.equal("unknown users", f.users("alice", "bob"), []store.UserRecord{})
	f.equal("no users", f.users(), []store.UserRecord{})
	for _, name := range odd {
		id := call.UserID("u" + name)
		s := store.Session{App: app, User: id, ID: call.SessionID("s" + name), Platform: name, LoginAt: now}
		f.commitSessions(&store.SessionCommit{App: app, User: id, Login: true, Name: name, Put: []store.Session{s}})
		f.equal("user", f.users(id), []store.UserRecord{{User: store.User{ID: id, Name: name}, LoggedIn: true, Sessions: 1}})
		f.equal("session", f.sessionsOf(id), []store.Session{s})
	}
	// A login without a name leaves the name, one with a name changes it.
	f.commitSessions(&store.SessionCommit{App: app, User: "alice", Login: true, Name: "Alice"})
	f.commitSessions(&store.SessionCommit{App: app, User: "alice", Login: true})
	f.equal("user", f.users("alice")[0].Name, "Alice")
	f.commitSessions(&store.SessionCommit{App: app, User: "alice", Login: true, Name: "Al"})
	f.equal("user", f.users("alice")[0], store.UserRecord{User: store.User{ID: "alice", Name: "Al"}, LoggedIn: true})
	// What is not a login does not make a user.
	f.commitSessions(&store.SessionCommit{App: app, User: "ghost", Name: "Ghost", Drop: []call.SessionID{"none"}})
	f.equal("users", f.users("ghost"), []store.UserRecord{})
	// Apps do not share users.
	f.commitSessions(&store.SessionCommit{App: app + 1, User: "carol", Login: true})
	f.equal("users", f.users("carol"), []store.UserRecord{})
}

func usersRegister(f *fixture) {
	register := func(users ...store.User) []call.UserID {
		f.Helper()
		existed, err := f.RegisterUsers(f.ctx(), app, users, now)
		f.ok(err)
		return existed
	}
	alice := store.User{ID: "alice", Name: "Alice", Avatar: "https://a/1.png?x=ü"}
	f.equal("existed", register(alice, store.User{ID: "bob"}, alice), []call.UserID(nil))
	f.equal("users", f.users("alice", "bob", "carol"), []store.UserRecord{{User: alice}, {User: store.User{ID: "bob"}}})
	f.equal("existed", register(store.User{ID: "carol"}, store.User{ID: "alice", Name: "Other"}), []call.UserID{"alice"})
	f.equal("user", f.users("alice"), []store.UserRecord{{User: alice}})
	f.commitSessions(&store.SessionCommit{App: app, User: "alice", Login: true})
	f.equal("user", f.users("alice"), []store.UserRecord{{User: alice, LoggedIn: true}})
	f.equal("existed", register(store.User{ID: "alice"}), []call.UserID{"alice"})
	f.equal("user", f.users("alice"), []store.UserRecord{{User: alice, LoggedIn: true}})
	f.equal("existed", register(), []call.UserID(nil))
}

func usersListed(f *fixture) {
	var want []store.UserRecord
	for _, id := range []call.UserID{"b", "a", "ab", "a b", "B", "a\u00e9", "a\U0010ffff", "aa", "abc", "b\x00c", "a\x7f"} {
		record := store.UserRecord{User: store.User{ID: id, Name: "n" + string(id), Avatar: "x"}}
		_, err := f.RegisterUsers(f.ctx(), app, []store.User{record.User}, now)
		f.ok(err)
		if len(want)%2 == 0 {
			f.commitSessions(&store.SessionCommit{App: app, User: id, Login: true, Put: []store.Session{{App: app, User: id, ID: "s"}}})
			record.LoggedIn, record.Sessions = true, 1
		}
		want = append(want, record)
	}
	f.commitSessions(&store.SessionCommit{App: app + 1, User: "ax", Login: true})
	slices.SortFunc(want, func(a, b store.UserRecord) int { return strings.Compare(string(a.ID), string(b.ID)) })
	for _, prefix := range []string{"", "a", "ab", "a\u00e9", "a\U0010ffff", "b", "c", "B", "a b"} {
		of := slices.DeleteFunc(slices.Clone(want), func(r store.UserRecord) bool { return !strings.HasPrefix(string(r.ID), prefix) })
		for _, limit := range []int{1, 2, 100} {
			var got []store.UserRecord
			for after := call.UserID(""); ; after = got[len(got)-1].ID {
				page, err := f.ListUsers(f.ctx(), app, prefix, after, limit)
				f.ok(err)
				if got = append(got, page...); len(page) < limit {
					break
				}
			}
			f.equal("users that begin with "+prefix, got, append([]store.UserRecord(nil), of...))
		}
	}
	page, err := f.ListUsers(f.ctx(), app, "b", "a", 10) // after is before the prefix
	f.ok(err)
	f.equal("users", len(page), 2)
	page, err = f.ListUsers(f.ctx(), app, "a", "b", 10)
	f.ok(err)
	f.equal("users", len(page), 0)
}

func sessions(f *fixture) {
	phone := store.Session{App: app, User: "alice", ID: "phone", Platform: "IOS_PHONE", LoginAt: now + 5}
	web := store.Session{App: app, User: "alice", ID: "web", Platform: "WEB", LoginAt: now}
	tv := store.Session{App: app, User: "alice", ID: "tv", Platform: "ANDROID_TV", LoginAt: now + 9, OfflineAt: now + 10}
	other := store.Session{App: app, User: "bob", ID: "phone", LoginAt: now + 1}
	f.commitSessions(&store.SessionCommit{App: app, User: "alice", Login: true, Put: []store.Session{phone, web}})
	f.commitSessions(&store.SessionCommit{App: app, User: "alice", Login: true, Put: []store.Session{tv}})
	f.commitSessions(&store.SessionCommit{App: app, User: "bob", Login: true, Put: []store.Session{other}})
	f.equal("sessions", f.sessionsOf("alice"), []store.Session{web, phone, tv})
	f.equal("count", f.users("alice")[0].Sessions, 3)

	// A login that kicks: one put and one dropped.
	web2 := web
	web2.ID, web2.LoginAt = "web2", now+20
	f.commitSessions(&store.SessionCommit{App: app, User: "alice", Login: true, Put: []store.Session{web2}, Drop: []call.SessionID{"web", "unknown"}})
	f.equal("sessions", f.sessionsOf("alice"), []store.Session{phone, tv, web2})
	phone.OfflineAt = now + 30
	tv.OfflineAt = 0
	tv.Platform = "LINUX"
	f.commitSessions(&store.SessionCommit{App: app, User: "alice", Put: []store.Session{phone, tv}})
	f.equal("sessions", f.sessionsOf("alice"), []store.Session{phone, tv, web2})
	f.commitSessions(&store.SessionCommit{App: app, User: "alice", Drop: []call.SessionID{"phone", "tv", "web2"}})
	f.equal("sessions", f.sessionsOf("alice"), []store.Session(nil))
	f.equal("user", f.users("alice", "bob"), []store.UserRecord{
		{User: store.User{ID: "alice"}, LoggedIn: true}, {User: store.User{ID: "bob"}, LoggedIn: true, Sessions: 1},
	})
	f.equal("sessions", f.sessionsOf("bob"), []store.Session{other})
}

func sessionsOpen(f *fixture) {
	var want []store.Session
	for a := range uint32(3) {
		for _, user := range []call.UserID{"b", "a", "B", "a a", "é"} {
			c := &store.SessionCommit{App: app + a, User: user, Login: true}
			for i, id := range []call.SessionID{"2", "1", "10"} {
				s := store.Session{App: app + a, User: user, ID: id, LoginAt: now + call.Instant(i)}
				if user == "b" && id == "1" {
					s.OfflineAt = now
				} else {
					want = append(want, s)
				}
				c.Put = append(c.Put, s)
			}
			f.commitSessions(c)
		}
	}
	slices.SortFunc(want, func(a, b store.Session) int {
		switch {
		case a.App != b.App:
			return int(a.App) - int(b.App)
		case a.User != b.User && a.User < b.User, a.User == b.User && a.ID < b.ID:
			return -1
		}
		return 1
	})
	for limit := 1; limit < len(want)+2; limit += 4 {
		var got []store.Session
		for after := (store.Session{}); ; after = got[len(got)-1] {
			page, err := f.OpenSessions(f.ctx(), after, limit)
			f.ok(err)
			if len(page) == 0 {
				break
			}
			got = append(got, page...)
		}
		f.equal("open sessions", got, want)
	}
}

func sessionsOffline(f *fixture) {
	offline := []call.Instant{now + 50, now + 10, 0, now + 30, now + 20, now + 40}
	for i, at := range offline {
		f.commitSessions(&store.SessionCommit{App: app, User: "alice", Put: []store.Session{
			{App: app, User: "alice", ID: call.SessionID('a' + rune(i)), LoginAt: now, OfflineAt: at},
		}})
	}
	list := func(before call.Instant, limit int) (times []call.Instant) {
		f.Helper()
		list, err := f.OfflineSessions(f.ctx(), before, limit)
		f.ok(err)
		for _, s := range list {
			times = append(times, s.OfflineAt)
		}
		return times
	}
	f.equal("all", list(now+100, 10), []call.Instant{now + 10, now + 20, now + 30, now + 40, now + 50})
	f.equal("some", list(now+40, 10), []call.Instant{now + 10, now + 20, now + 30})
	f.equal("two", list(now+40, 2), []call.Instant{now + 10, now + 20})
	f.equal("none", list(now+10, 10), []call.Instant(nil))
	// One comes back.
	f.commitSessions(&store.SessionCommit{App: app, User: "alice", Put: []store.Session{{App: app, User: "alice", ID: "b", LoginAt: now}}})
	f.equal("two", list(now+40, 2), []call.Instant{now + 20, now + 30})
}

func sessionEvents(f *fixture) {
	ep := f.endpoints("http://a")[0]
	e := f.event(nil, now, store.Subscription{Endpoint: ep})
	e.Name, e.Fields = "user_action", []byte(`{"action":0}`)
	quiet := f.event(nil, now)
	f.commitSessions(&store.SessionCommit{App: app, User: "alice", Login: true, Events: []*store.Event{e, quiet}})
	want := deliveriesDue(e)[0]
	f.equal("pending", f.pending(ep, now, true, 10), []*store.Delivery{want})
	f.equal("last event", f.lastEvent(), quiet.ID)

	a := store.Attempt{Delivery: want.Key(), Number: 1, Started: now, Status: 200, State: store.Delivered}
	f.ok(f.RecordAttempts(f.ctx(), []store.Attempt{a}))
	f.equal("pending", f.pending(ep, now, true, 10), []*store.Delivery(nil))
	got, err := f.Attempts(f.ctx(), want.Key())
	f.ok(err)
	f.equal("attempts", got, []store.Attempt{a})
}
