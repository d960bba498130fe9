package engine

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

func TestLoginPolicies(t *testing.T) {
	tests := []struct {
		policy    string
		platforms []string // of the logins, one after another
		kicked    []int    // who is out after the last
	}{
		{PolicySingle, []string{"WEB", "ANDROID"}, []int{0}},
		{PolicyDual, []string{"WEB", "ANDROID"}, nil},
		{PolicyDual, []string{"WEB", "ANDROID", "PC"}, []int{1}},
		{PolicyDual, []string{"WEB", "ANDROID", "WEB"}, []int{0}},
		{PolicyMulti, slices.Repeat([]string{"WEB"}, 10), nil},
		{PolicyMulti, slices.Repeat([]string{"WEB"}, 12), []int{0, 1}},
	}
	for _, tt := range tests {
		bubbleWith(t, App{LoginPolicy: tt.policy}, func(t *testing.T, w *world) {
			var phones []*phone
			for _, platform := range tt.platforms {
				phones = append(phones, w.loginOn("alice", platform))
				time.Sleep(time.Second)
			}
			var kicked []int
			for i, p := range phones {
				if p.kicked != "" {
					kicked = append(kicked, i)
				}
			}
			if !slices.Equal(kicked, tt.kicked) {
				t.Errorf("%s %v: kicked %v, want %v", tt.policy, tt.platforms, kicked, tt.kicked)
			}
			left, _, err := w.store.SessionsOf(t.Context(), app, "alice")
			if err != nil || len(left) != len(phones)-len(kicked) {
				t.Errorf("%s: %d sessions are stored, %v", tt.policy, len(left), err)
			}
		})
	}
}

func TestMultiDropsOfflineFirst(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var phones []*phone
		for range MaxSessions {
			phones = append(phones, w.login("alice"))
			time.Sleep(time.Second)
		}
		phones[5].drop()
		time.Sleep(40 * time.Second)
		synctest.Wait()
		w.login("alice")
		if phones[0].kicked != "" {
			t.Error("the earliest was kicked although one was offline")
		}
		again := &phone{w: w, user: "alice"}
		_, resumed, err := w.Login(t.Context(), Login{App: app, User: "alice", Resume: phones[5].session, Device: again})
		if err != nil || resumed {
			t.Errorf("the offline session is still there: %v, %v", resumed, err)
		}
	})
}

func TestResume(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice := w.login("alice")
		w.notes.take()
		again := alice.back()
		if !alice.moved || again.session != alice.session {
			t.Error("the old connection was not told that the session moved")
		}
		alice.drop() // the old connection closes at last
		synctest.Wait()
		if w.connectionLost(userKey{app, "alice"}) {
			t.Error("the end of the old connection was taken for the session's")
		}
		again.drop()
		time.Sleep(40 * time.Second)
		synctest.Wait()
		again.back()
		want := []string{"hand off user_action 2 alice false", "hand off user_action 0 alice true"}
		if got := w.notes.take(); !slices.Equal(got, want) {
			t.Errorf("callbacks %q, want %q", got, want)
		}
		stranger := &phone{w: w, user: "mallory"}
		_, resumed, err := w.Login(t.Context(), Login{App: app, User: "mallory", Resume: alice.session, Device: stranger})
		if err != nil || resumed || stranger.session == alice.session {
			t.Errorf("another user resumed the session: %v, %v", resumed, err)
		}
	})
}

func TestOldSessionsAreDropped(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice := w.login("alice")
		caller := w.login("caller")
		alice.drop()
		time.Sleep(sessionTTL + 2*time.Minute)
		synctest.Wait()
		if left, _, err := w.store.SessionsOf(t.Context(), app, "alice"); err != nil || len(left) != 0 {
			t.Errorf("%d sessions are left, %v", len(left), err)
		}
		if _, err := caller.tryInvite(Invitation{Invitees: []call.UserID{"alice"}, Timeout: 60}); refusal(err) != call.NotRegistered {
			t.Errorf("inviting somebody whose session was dropped: %v", err)
		}
	})
}

func TestSnapshot(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice, bob, tablet := w.login("alice"), w.login("bob"), w.login("bob")
		rings := alice.invite("bob")
		cancelled := alice.invite("bob")
		answered := alice.invite("bob")
		rangOut := alice.inviteWith(Invitation{Invitees: []call.UserID{"bob"}, Timeout: 1})
		w.login("carol")
		foreign := alice.invite("carol")
		if err := alice.cancel(cancelled); err != nil {
			t.Fatal(err)
		}
		if err := tablet.reject(answered); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		var seen []call.ID
		snap, err := w.Snapshot(t.Context(), app, bob.actor(), []call.ID{rings, cancelled, answered, rangOut, foreign, 999},
			func(c *call.Call) { seen = append(seen, c.ID) })
		if err != nil {
			t.Fatal(err)
		}
		if len(snap.Live) != 1 || snap.Live[0].ID != rings {
			t.Errorf("live: %v", snap.Live)
		}
		reasons := make(map[call.ID]call.Reason)
		for _, end := range snap.Over {
			reasons[end.ID] = end.Reason
		}
		want := map[call.ID]call.Reason{
			cancelled: call.CallerCancel, answered: call.AnsweredElsewhere, rangOut: call.RangOut,
			foreign: call.NeverKnown, 999: call.NeverKnown,
		}
		for id, reason := range want {
			if reasons[id] != reason {
				t.Errorf("call %s is over by %q, want %q", id, reasons[id], reason)
			}
		}
		if len(reasons) != len(want) || len(seen) != 4 {
			t.Errorf("over: %v; seen: %v", reasons, seen)
		}
	})
}

func TestHistory(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice := w.login("alice")
		w.login("bob")
		var made []call.ID
		for range 5 {
			made = append(made, alice.invite("bob"))
			time.Sleep(time.Second)
		}
		slices.Reverse(made)
		var got []call.ID
		for flag := int64(0); ; {
			page, next, err := w.History(t.Context(), app, "bob", flag, 2)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range page {
				got = append(got, c.ID)
			}
			if flag = next; next == 0 {
				break
			}
		}
		if !slices.Equal(got, made) {
			t.Errorf("history is %v, want %v", got, made)
		}
	})
}

func (w *world) online(app uint32, user call.UserID) bool {
	w.t.Helper()
	online, err := w.Online(w.t.Context(), app, []call.UserID{user})
	if err != nil {
		w.t.Fatal(err)
	}
	return online[user]
}

func TestOnline(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice := w.login("alice")
		if !w.online(app, "alice") || w.online(app, "bob") || w.online(app+1, "alice") {
			t.Error("only alice is online")
		}
		alice.drop()
		if w.online(app, "alice") {
			t.Error("without a connection alice is online")
		}
		alice.back()
		if !w.online(app, "alice") {
			t.Error("alice is back, but not online")
		}
	})
}

func TestRestartLeavesCallsOfTheServerAPI(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice := w.login("alice")
		w.login("bob")
		alice.drop()
		time.Sleep(40 * time.Second)
		synctest.Wait()
		backend := &phone{w: w, user: "alice"}
		id := backend.invite("bob")
		w.crash()
		w.start()
		synctest.Wait()
		if s := w.state(id, "bob"); s != call.Inviting {
			t.Fatalf("after a restart bob is %s, but the caller had been offline before", s)
		}
		alice.back().drop()
		w.crash()
		w.start()
		time.Sleep(40 * time.Second)
		synctest.Wait()
		if s := w.state(id, "bob"); s != call.Cancelled {
			t.Errorf("the caller came and went, and bob is %s", s)
		}
	})
}

// TestRemovedEndpoint gives up whatever an endpoint was due that was removed,
// also when it is more than the store gives up at once.
func TestRemovedEndpoint(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		apps := []store.App{{ID: app, Endpoints: []string{"http://a"}}}
		ids, err := w.store.SyncApps(t.Context(), apps, w.now())
		if err != nil {
			t.Fatal(err)
		}
		events := make([]*store.Event, store.FailAtOnce+300)
		for i := range events {
			events[i] = &store.Event{App: app, Name: "user_action", At: w.now(), Fields: []byte("{}"), Deliveries: []store.Subscription{{Endpoint: ids[0][0]}}}
		}
		if err := w.store.CommitSessions(t.Context(), &store.SessionCommit{App: app, User: "alice", Events: events}); err != nil {
			t.Fatal(err)
		}
		apps[0].Endpoints = nil
		if _, err := w.store.SyncApps(t.Context(), apps, w.now()); err != nil {
			t.Fatal(err)
		}
		due := func() int {
			list, err := w.store.PendingDeliveries(t.Context(), store.AllPartitions, ids[0][0], w.now(), false, 1000)
			if err != nil {
				t.Fatal(err)
			}
			return len(list)
		}
		if n := due(); n != 300 {
			t.Errorf("%d are pending at once, want 300", n)
		}
		time.Sleep(2 * time.Minute)
		if n := due(); n != 0 {
			t.Errorf("%d are pending at last", n)
		}
	})
}
