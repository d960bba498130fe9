package storetest

import (
	"slices"
	"sync"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// older orders calls as a history does.
func older(a, b *call.Call) int {
	if a.CreatedAt != b.CreatedAt {
		return int(b.CreatedAt - a.CreatedAt)
	}
	if a.ID < b.ID {
		return 1
	}
	return -1
}

func historyOrder(f *fixture) {
	var want []*call.Call
	for i, offset := range []call.Instant{5000, 0, 1, 5000, 70, 2000, 1, 1} {
		caller, invitee := call.UserID("alice"), call.UserID("bob")
		if i%2 == 0 {
			caller, invitee = invitee, caller
		}
		c := f.ring(now+offset, caller, invitee)
		f.create(c)
		want = append(want, c)
	}
	ended := f.end(want[2], now+9000)
	want[2] = ended
	slices.SortFunc(want, older)
	got, next, err := f.CallsOf(f.ctx(), app, "alice", 0, 100)
	f.ok(err)
	f.equal("next", next, int64(0))
	f.equal("history", got, want)

	// A user who joins later has the call at the time of its creation.
	joined := call.Evolve(want[3], call.UserJoined{Actor: call.Actor{User: "dave"}, At: now + 9000})
	f.ok(f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: joined}, Prior: 1, NewUsers: []call.UserID{"dave"}}))
	f.equal("history of one who joined", f.history("dave"), []call.ID{joined.ID})

	// Other apps have other users.
	calls, _, err := f.CallsOf(f.ctx(), app+1, "alice", 0, 100)
	f.ok(err)
	f.equal("history in another app", len(calls), 0)
}

// pages reads a history in pages of a size.
func (f *fixture) pages(user call.UserID, limit int) (ids []call.ID) {
	f.Helper()
	for flag := int64(0); ; {
		calls, next, err := f.CallsOf(f.ctx(), app, user, flag, limit)
		f.ok(err)
		ids = append(ids, idsOf(calls)...)
		switch {
		case next < 0 || next >= 1<<53:
			f.Fatalf("next is %d", next)
		case next == 0:
			return ids
		case len(calls) != limit:
			f.Fatalf("a page before the last has %d calls of %d", len(calls), limit)
		}
		flag = next
	}
}

func historyPages(f *fixture) {
	var all []*call.Call
	for i := range 40 {
		c := f.ring(now+call.Instant(i/7), "alice", "bob") // seven in each millisecond
		f.create(c)
		all = append(all, c)
	}
	// The clock of a simulation begins long ago.
	past := f.ring(946684800_000, "alice", "bob")
	f.create(past)
	past2 := f.ring(946684800_000, "alice", "bob")
	f.create(past2)
	all = append(all, past, past2)
	slices.SortFunc(all, older)
	for limit := 1; limit <= len(all)+1; limit++ {
		f.equal("history", f.pages("alice", limit), idsOf(all))
	}
}

// historyOfDays has calls of many days, of which some are pruned and made
// again.
func historyOfDays(f *fixture) {
	const day = call.Instant(24 * 60 * 60 * 1000)
	var all []*call.Call
	add := func(at call.Instant) *call.Call {
		c := f.ring(at, "alice", "bob")
		f.create(c)
		all = append(all, c)
		slices.SortFunc(all, older)
		return c
	}
	for _, n := range []call.Instant{9, 0, 30, 2, 9, 1, 2} {
		midnight := (now/day + n) * day
		add(midnight)
		add(midnight - 1)
		add(midnight + 3*n)
	}
	check := func() {
		f.Helper()
		for _, limit := range []int{1, 2, 5, 100} {
			f.equal("history", f.pages("alice", limit), idsOf(all))
		}
		live, err := f.LiveCallsOf(f.ctx(), app, "bob")
		f.ok(err)
		f.equal("live calls", len(live), len(all))
	}
	check()
	for _, r := range [][2]call.Instant{{0, 2}, {1, 9}, {9, 9}, {3, 8}, {30, 31}} {
		from, until := (now/day+r[0])*day, (now/day+r[1])*day+1
		page, err := f.SearchCalls(f.ctx(), store.CallQuery{App: app, User: "bob", From: from, Until: until, Limit: 100})
		f.ok(err)
		var want []call.ID
		for _, c := range all {
			if c.CreatedAt >= from && c.CreatedAt < until {
				want = append(want, c.ID)
			}
		}
		f.equal("calls of some days", idsOf(page.Calls), want)
	}
	first := all[len(all)-3:] // of the first day and the midnight before
	all = all[:len(all)-3]
	for _, c := range first {
		f.end(c, c.CreatedAt+5)
	}
	f.pruneAll(now+20*day, 100)
	check()
	add(now - 5)
	add(now - day)
	check()
}

// historyUnderWrites turns pages while newer calls come.
func historyUnderWrites(f *fixture) {
	var old []*call.Call
	for i := range 30 {
		c := f.ring(now+call.Instant(i/4), "alice", "bob")
		f.create(c)
		old = append(old, c)
	}
	slices.SortFunc(old, older)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := call.Instant(1); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			c := f.ring(now+1000+i/3, "alice", "bob")
			if err := f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: c}, NewUsers: []call.UserID{"alice"}}); err != nil {
				f.Error(err)
				return
			}
		}
	})
	for range 20 {
		ids := f.pages("alice", 3)
		ids = ids[max(0, len(ids)-len(old)):]
		if !slices.Equal(ids, idsOf(old)) {
			f.Errorf("pages under writes end with %v, want %v", ids, idsOf(old))
			break
		}
	}
	close(stop)
	wg.Wait()
}
