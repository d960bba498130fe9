package engine

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

func TestAckBeforeEveryoneElse(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice, bob := w.login("alice"), w.login("bob")
		w.notes.take()
		id := alice.invite("bob")
		if err := bob.accept(id); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"ack invite alice", "tell call.CallCreated v1", "hand off call.CallCreated",
			"ack call.Accept bob", "tell call.CallAccepted v2", "hand off call.CallAccepted",
		}
		if got := w.notes.take(); !slices.Equal(got, want) {
			t.Errorf("order is %q, want %q", got, want)
		}
		if c := w.get(id); c.Live() || c.Version != 2 {
			t.Errorf("stored call: %+v", c)
		}
		if n := w.LiveCalls(); n != 0 {
			t.Errorf("%d calls are still in memory", n)
		}
	})
}

// TestEventsSayWho looks at the events of a call as they are stored.
func TestEventsSayWho(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice, bob := w.login("alice"), w.login("bob")
		w.login("carol")
		id := alice.invite("bob", "carol")
		if err := bob.receive(id); err != nil {
			t.Fatal(err)
		}
		if err := bob.reject(id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Second) // carol rings out
		events, err := w.store.EventsOf(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		last := store.EventID(0)
		for _, e := range events {
			got = append(got, fmt.Sprintf("%s v%d %s %v", e.Name, e.Version, e.Actor.User, e.Actor.Session != ""))
			if e.ID <= last {
				t.Errorf("event %d comes after %d", e.ID, last)
			}
			last = e.ID
		}
		want := []string{
			"call.CallCreated v1 alice true", "call.InvitationReceived v1 bob true", "call.CallRejected v2 bob true", "call.InvitationsTimedOut v3  false",
		}
		if !slices.Equal(got, want) {
			t.Errorf("events are %q, want %q", got, want)
		}
	})
}

func TestUnknownCallAndOtherApp(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice, bob := w.login("alice"), w.login("bob")
		if code := refusal(bob.accept(12345)); code != call.NoSuchCall {
			t.Errorf("unknown call: %d", code)
		}
		id := alice.invite("bob")
		err := w.Do(t.Context(), app+1, id, call.Accept{Actor: bob.actor()}, ignore)
		if code := refusal(err); code != call.NoSuchCall {
			t.Errorf("call of another app: %v", err)
		}
		long := string(make([]byte, call.MaxExtendedData+1))
		if code := refusal(bob.do(12345, call.Accept{Actor: bob.actor(), ExtendedData: long})); code != call.InvalidParameter {
			t.Errorf("malformed for an unknown call: %d", code)
		}
	})
}

func TestRingsOut(t *testing.T) {
	for _, lost := range []bool{false, true} {
		bubble(t, func(t *testing.T, w *world) {
			alice := w.login("alice")
			w.login("bob")
			id := alice.inviteWith(Invitation{Invitees: []call.UserID{"bob"}, Timeout: 20})
			if lost {
				alice.drop()
			}
			time.Sleep(20*time.Second - time.Millisecond)
			synctest.Wait()
			if s := w.state(id, "bob"); s != call.Inviting {
				t.Fatalf("bob is %s before his time", s)
			}
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
			e, ok := w.notes.last().Event.(call.InvitationsTimedOut)
			if !ok || !e.Whole || e.CallerLost != lost {
				t.Errorf("lost %v: last event is %+v", lost, w.notes.last().Event)
			}
			if s := w.state(id, "bob"); s != call.TimedOut {
				t.Errorf("bob is %s", s)
			}
		})
	}
}

func TestNotReceivedCheck(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice, bob := w.login("alice"), w.login("bob")
		w.login("carol")
		id := alice.inviteWith(Invitation{Invitees: []call.UserID{"bob", "carol"}, Timeout: 60, NotReceivedCheck: true})
		if err := bob.receive(id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if b, c := w.state(id, "bob"), w.state(id, "carol"); b != call.Received || c != call.NotYetReceived {
			t.Errorf("bob is %s, carol %s", b, c)
		}
	})
}

func TestReceivedIsWrittenSoon(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice, bob := w.login("alice"), w.login("bob")
		id := alice.invite("bob")
		var commits atomic.Int32
		w.store.fail(func(_ *store.CallCommit, real func() error) error { commits.Add(1); return real() })
		w.notes.take()
		if err := bob.receive(id); err != nil {
			t.Fatal(err)
		}
		if got := w.notes.take(); !slices.Equal(got, []string{"ack call.Receive bob", "tell call.InvitationReceived v1"}) {
			t.Errorf("at once: %q", got)
		}
		if commits.Load() != 0 {
			t.Error("received waited for a commit")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if s := w.state(id, "bob"); s != call.Received || commits.Load() != 1 {
			t.Errorf("after a second bob is %s after %d commits", s, commits.Load())
		}
		if got := w.notes.take(); !slices.Equal(got, []string{"hand off call.InvitationReceived"}) {
			t.Errorf("when durable: %q", got)
		}
	})
}

func TestReceivedRidesAlong(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice, bob := w.login("alice"), w.login("bob")
		id := alice.invite("bob")
		var written []int
		w.store.fail(func(c *store.CallCommit, real func() error) error {
			written = append(written, len(c.Events))
			return real()
		})
		if err := bob.receive(id); err != nil {
			t.Fatal(err)
		}
		if err := bob.accept(id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !slices.Equal(written, []int{2}) {
			t.Errorf("commits wrote %v events, want one commit with both", written)
		}
	})
}

func TestCallerGone(t *testing.T) {
	tests := map[string]func(alice *phone){
		"logs out":  func(alice *phone) { alice.logout() },
		"vanishes":  func(alice *phone) { alice.drop(); time.Sleep(35*time.Second + time.Millisecond) },
		"restarted": func(alice *phone) { alice.w.crash(); alice.w.start(); time.Sleep(36 * time.Second) },
	}
	for name, leave := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				alice := w.login("alice")
				w.login("bob")
				id := alice.invite("bob")
				leave(alice)
				synctest.Wait()
				c := w.get(id)
				if c.Live() || c.User("bob").State != call.Cancelled || c.User("bob").CancelReason != call.CallerLeft {
					t.Errorf("bob is %s, %+v", c.User("bob").State, c)
				}
			})
		})
	}
}

func TestCallerComesBackInTime(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice := w.login("alice")
		w.login("bob")
		id := alice.invite("bob")
		alice.drop()
		time.Sleep(34 * time.Second)
		w.notes.take()
		alice.back()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := w.notes.take(); len(got) != 0 {
			t.Errorf("coming back in time gave %q", got)
		}
		if s := w.state(id, "bob"); s != call.Inviting {
			t.Errorf("bob is %s", s)
		}
	})
}

func TestCallerWithAnotherSessionIsNotGone(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice := w.login("alice")
		second := w.login("alice")
		w.login("bob")
		id := alice.invite("bob")
		alice.logout()
		synctest.Wait()
		if s := w.state(id, "bob"); s != call.Inviting {
			t.Errorf("bob is %s while alice has another device", s)
		}
		second.drop()
		time.Sleep(36 * time.Second)
		synctest.Wait()
		if s := w.state(id, "bob"); s != call.Cancelled {
			t.Errorf("bob is %s after both are gone", s)
		}
	})
}

func TestCallerOfServerAPIIsNeverGone(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.login("bob")
		if _, err := w.store.RegisterUsers(t.Context(), app, []store.User{{ID: "robot"}}, w.now()); err != nil {
			t.Fatal(err)
		}
		var id call.ID
		err := w.Invite(t.Context(), app, call.Actor{User: "robot"}, Invitation{Invitees: []call.UserID{"bob"}, Timeout: 300},
			func(r call.Result) { id = r.Call.ID })
		if err != nil {
			t.Fatal(err)
		}
		w.crash()
		w.start()
		time.Sleep(100 * time.Second)
		synctest.Wait()
		if s := w.state(id, "bob"); s != call.Inviting {
			t.Errorf("bob is %s", s)
		}
		time.Sleep(201 * time.Second)
		synctest.Wait()
		if e, ok := w.notes.last().Event.(call.InvitationsTimedOut); !ok || e.CallerLost {
			t.Errorf("last event is %+v", w.notes.last().Event)
		}
	})
}

func TestParticipantGone(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice, bob, carol := w.login("alice"), w.login("bob"), w.login("carol")
		id := alice.inviteAdvanced("bob", "carol")
		for _, p := range []*phone{bob, carol} {
			if err := p.accept(id); err != nil {
				t.Fatal(err)
			}
		}
		bob.drop()
		carol.drop()
		time.Sleep(35*time.Second + time.Minute)
		carol.back()
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if b, c := w.state(id, "bob"), w.state(id, "carol"); b != call.Quit || c != call.Accepted {
			t.Errorf("bob is %s, carol %s", b, c)
		}
	})
}

func TestTimersSurviveACrash(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice := w.login("alice")
		w.login("bob")
		id := alice.inviteWith(Invitation{Invitees: []call.UserID{"bob"}, Timeout: 30})
		later := alice.inviteWith(Invitation{Invitees: []call.UserID{"bob"}, Timeout: 50})
		w.crash()
		time.Sleep(40 * time.Second)
		w.start()
		synctest.Wait()
		e, ok := w.notes.last().Event.(call.InvitationsTimedOut)
		if s := w.state(id, "bob"); s != call.TimedOut || !ok || !e.CallerLost {
			t.Errorf("due while down: bob is %s, last event %+v", s, w.notes.last().Event)
		}
		if s := w.state(later, "bob"); s != call.Inviting {
			t.Errorf("not yet due: bob is %s", s)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if s := w.state(later, "bob"); s != call.TimedOut {
			t.Errorf("due after the restart: bob is %s", s)
		}
	})
}

func TestOneWinner(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice, bob, other := w.login("alice"), w.login("bob"), w.login("bob")
		for range 50 {
			id := alice.invite("bob")
			race := []func(call.ID) error{alice.cancel, bob.accept, bob.reject, other.accept, other.reject}
			results := make([]error, len(race))
			var wg sync.WaitGroup
			for i, f := range race {
				wg.Go(func() { results[i] = f(id) })
			}
			wg.Wait()
			won := 0
			for _, err := range results {
				if err == nil {
					won++
				} else if refusal(err) == 0 {
					t.Fatal(err)
				}
			}
			if won != 1 {
				t.Fatalf("%d winners: %v", won, results)
			}
		}
	})
}

func TestRequestID(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice, bob := w.login("alice"), w.login("bob")
		in := Invitation{Invitees: []call.UserID{"bob", "nobody"}, Timeout: 60, RequestID: "r1"}
		first := alice.inviteWith(in)
		if again := alice.inviteWith(in); again != first {
			t.Errorf("repeat made call %s, want %s", again, first)
		}
		bob.logout()
		w.crash()
		w.start()
		alice.w = w
		alice = alice.back()
		var errs []call.UserError
		err := w.Invite(t.Context(), app, alice.actor(), Invitation{Invitees: []call.UserID{"zoe"}, Timeout: 1, RequestID: "r1"},
			func(r call.Result) {
				errs = r.Errors
				if r.Call.ID != first {
					t.Errorf("after a restart: call %s, want %s", r.Call.ID, first)
				}
			})
		if err != nil || !slices.Equal(errs, []call.UserError{{User: "nobody", Code: call.NotRegistered}}) {
			t.Errorf("after a restart: errors %v, %v", errs, err)
		}
		time.Sleep(25 * time.Hour)
		w.login("alice")
		if _, err := alice.tryInvite(in); refusal(err) != call.NotRegistered {
			t.Errorf("after 24 h the request is a new one: %v", err)
		}
	})
}

func TestRequestIDAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice := w.login("alice")
		w.login("bob")
		ids := make([]call.ID, 20)
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() {
				ids[i], _ = alice.tryInvite(Invitation{Invitees: []call.UserID{"bob"}, Timeout: 60, RequestID: "same"})
			})
		}
		wg.Wait()
		if distinct := slices.Compact(ids); ids[0] == 0 || len(distinct) != 1 {
			t.Errorf("one request made calls %v", ids)
		}
	})
}

func TestInvitable(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice := w.login("alice")
		offline, out := w.login("offline"), w.login("out")
		offline.drop()
		out.logout()
		time.Sleep(40 * time.Second)
		if _, err := w.store.RegisterUsers(t.Context(), app, []store.User{{ID: "registered"}}, w.now()); err != nil {
			t.Fatal(err)
		}
		var got []call.UserError
		err := w.Invite(t.Context(), app, alice.actor(), Invitation{
			Invitees: []call.UserID{"offline", "out", "registered", "unknown"}, Timeout: 60,
		}, func(r call.Result) { got = r.Errors })
		want := []call.UserError{{User: "out", Code: call.NotRegistered}, {User: "unknown", Code: call.NotRegistered}}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("left out %v, want %v (%v)", got, want, err)
		}
		if _, err := alice.tryInvite(Invitation{Invitees: []call.UserID{"out"}, Timeout: 60}); refusal(err) != call.NotRegistered {
			t.Errorf("nobody to invite: %v", err)
		}
	})
}

func TestStoreFailures(t *testing.T) {
	broken := errors.New("broken")
	bubble(t, func(t *testing.T, w *world) {
		alice, bob := w.login("alice"), w.login("bob")

		id := alice.invite("bob")
		w.store.failOnce(func(*store.CallCommit, func() error) error { return broken })
		if err := bob.accept(id); !errors.Is(err, broken) {
			t.Errorf("failed commit: %v", err)
		}
		if err := bob.accept(id); err != nil {
			t.Errorf("after a failed commit: %v", err)
		}

		id = alice.invite("bob")
		w.store.failOnce(func(*store.CallCommit, func() error) error { return store.ErrUnknown })
		if err := bob.accept(id); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("unknown, not written: %v", err)
		}
		if s := w.state(id, "bob"); s != call.Inviting {
			t.Errorf("unknown, not written: bob is %s", s)
		}

		w.store.failOnce(func(_ *store.CallCommit, real func() error) error { real(); return store.ErrUnknown })
		if err := bob.accept(id); err != nil {
			t.Errorf("unknown, written: %v", err)
		}

		id = alice.invite("bob")
		w.store.failOnce(func(*store.CallCommit, func() error) error { return store.ErrConflict })
		if err := bob.accept(id); err != nil {
			t.Errorf("after a conflict: %v", err)
		}
	})
}

// TestSlowStore has the store sleep while others wait for the same call, and
// for the same user. A lock that stops the bubble's clock would keep it here
// for good.
func TestSlowStore(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice, bob, carol := w.login("alice"), w.login("bob"), w.login("carol")
		id := alice.invite("bob", "carol")
		w.store.fail(func(_ *store.CallCommit, real func() error) error { time.Sleep(time.Second); return real() })
		var work sync.WaitGroup
		for _, p := range []*phone{bob, carol} {
			work.Go(func() {
				if err := p.accept(id); err != nil {
					t.Error(err)
				}
			})
		}
		work.Wait()

		unlock := w.lockUser(userKey{app, "alice"})
		work.Go(func() { w.loginOn("alice", "IOS") })
		time.Sleep(time.Second)
		unlock()
		work.Wait()
	})
}

func TestTimersTryAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice := w.login("alice")
		w.login("bob")
		id := alice.inviteWith(Invitation{Invitees: []call.UserID{"bob"}, Timeout: 10})
		failures := 0
		w.store.fail(func(_ *store.CallCommit, real func() error) error {
			if failures++; failures <= 5 {
				return store.ErrFull
			}
			return real()
		})
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if s := w.state(id, "bob"); s != call.TimedOut {
			t.Errorf("bob is %s after %d failures", s, failures)
		}
	})
}

func TestNearlyFull(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice, bob := w.login("alice"), w.login("bob")
		in := Invitation{Invitees: []call.UserID{"bob"}, Timeout: 60, RequestID: "before"}
		id := alice.inviteWith(in)
		w.store.headroom = store.ErrFull
		if _, err := alice.tryInvite(Invitation{Invitees: []call.UserID{"bob"}, Timeout: 60}); !errors.Is(err, store.ErrFull) {
			t.Errorf("invitation: %v", err)
		}
		if again, err := alice.tryInvite(in); again != id || err != nil {
			t.Errorf("repeat of an invitation: %s, %v", again, err)
		}
		if err := bob.accept(id); err != nil {
			t.Errorf("answer: %v", err)
		}
	})
}

// The events of a transition are of the instant that the call has noted,
// however long it takes to make them.
func TestEventsAreOfTheTransition(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		alice, bob := w.login("alice"), w.login("bob")
		w.notes.slow = 5 * time.Millisecond
		var at []call.Instant
		w.store.fail(func(c *store.CallCommit, real func() error) error {
			for _, ev := range c.Events {
				at = append(at, ev.At)
			}
			return real()
		})
		id := alice.invite("bob")
		if err := bob.receive(id); err != nil {
			t.Fatal(err)
		}
		received := w.now() - 5 // it is soft: committed with what follows
		if err := bob.accept(id); err != nil {
			t.Fatal(err)
		}
		c := w.get(id)
		want := []call.Instant{c.CreatedAt, received, c.EndedAt}
		if !slices.Equal(at, want) {
			t.Errorf("the events are of %v, the transitions of %v", at, want)
		}
	})
}
