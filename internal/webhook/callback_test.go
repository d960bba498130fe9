package webhook

import (
	"slices"
	"testing"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/protocol"
)

// story applies commands one after another.
type story struct {
	t   *testing.T
	c   *call.Call
	now call.Instant
}

const noon = call.Instant(1_700_000_000_000)

func begin(t *testing.T, mode call.Mode, invitees ...call.UserID) (*story, []string) {
	s := &story{t: t, now: noon}
	return s, s.does(call.Create{
		Actor: call.Actor{User: "alice", Session: "a"}, ID: 42, App: 1, Invitees: invitees, Timeout: 60, Mode: mode,
		ExtendedData: "hi", NotReceivedCheck: true, MaxDuration: 86_400_000,
	})
}

// does gives the callbacks of a command as "name fields".
func (s *story) does(cmd call.Command) []string {
	s.t.Helper()
	res, err := call.Apply(s.c, cmd, s.now)
	if err != nil {
		s.t.Fatalf("%T: %v", cmd, err)
	}
	if res.Event == nil {
		return nil
	}
	list := Callbacks(s.c, res.Call, res.Event)
	s.c = res.Call
	var out []string
	for _, cb := range list {
		out = append(out, cb.Name+" "+string(cb.Fields))
	}
	return out
}

func (s *story) wait(seconds int64) *story {
	s.now = s.now.Add(seconds * 1000)
	return s
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("callbacks:\n got %q\nwant %q", got, want)
	}
}

func by(user call.UserID) call.Actor {
	return call.Actor{User: user, Session: call.SessionID(user[:1])}
}

func TestCreateCallback(t *testing.T) {
	_, got := begin(t, call.General, "bob", "carol")
	want(t, got, `call_create {"call_id":"42","user_ids":["bob","carol"],"create_time":1700000000,"payload":"hi","caller":"alice","timeout":60}`)
}

func TestLoggedOutInviteeIsNotInCreate(t *testing.T) {
	s := &story{t: t, now: noon}
	want(t, s.does(call.Create{Actor: by("alice"), ID: 42, Invitees: []call.UserID{"bob", "carol"}, Uninvitable: []call.UserID{"bob"}, Timeout: 9}),
		`call_create {"call_id":"42","user_ids":["carol"],"create_time":1700000000,"payload":"","caller":"alice","timeout":9}`)
}

func TestAnswerCallbacks(t *testing.T) {
	s, _ := begin(t, call.General, "bob", "carol")
	want(t, s.does(call.Receive{Actor: by("bob")}), `call_received {"call_id":"42","user_id":"bob","extend_data":""}`)
	want(t, s.does(call.Accept{Actor: by("bob"), ExtendedData: "<yes>"}), `call_accept {"call_id":"42","user_id":"bob","extend_data":"<yes>"}`)
	want(t, s.does(call.Reject{Actor: by("carol"), ExtendedData: "no"}), `call_reject {"call_id":"42","user_id":"carol","extend_data":"no"}`)
	if s.c.Live() {
		t.Error("the call lives on") // and a general call has no call_end
	}
}

func TestNotReceivedCheckGivesNothing(t *testing.T) {
	s, _ := begin(t, call.General, "bob")
	want(t, s.wait(5).does(call.Expire{}))
	if s.c.User("bob").State != call.NotYetReceived {
		t.Error("the check did not run")
	}
}

func TestCancelCallbacks(t *testing.T) {
	s, _ := begin(t, call.General, "bob", "carol", "dave")
	want(t, s.does(call.Cancel{Actor: by("alice"), Names: []call.UserID{"carol"}, ExtendedData: "wrong one"}),
		`call_cancel {"call_id":"42","user_ids":["carol"],"reason":"caller_cancel","payload":"wrong one"}`)
	want(t, s.does(call.Cancel{Actor: by("alice"), ExtendedData: "all"}),
		`call_cancel {"call_id":"42","user_ids":["bob","dave"],"reason":"caller_cancel","payload":"all"}`)

	s, _ = begin(t, call.General, "bob", "carol")
	want(t, s.does(call.CallerGone{}),
		`call_cancel {"call_id":"42","user_ids":["bob","carol"],"reason":"caller_cancel","payload":""}`)

	s, _ = begin(t, call.Advanced, "bob")
	want(t, s.does(call.Cancel{Actor: by("alice"), ExtendedData: "x"}),
		`call_cancel {"call_id":"42","user_ids":["bob"],"reason":"caller_cancel","payload":"x"}`,
		`call_end {"call_id":"42","reason":"unanswered","operator":"","duration":0,"extend_data":""}`)
}

func TestTimeoutCallbacks(t *testing.T) {
	const (
		cancelled = `call_cancel {"call_id":"42","user_ids":["bob","carol"],"reason":"timeout_cancel","payload":""}`
		timedOut  = `call_timeout {"call_id":"42","user_ids":["bob","carol"]}`
		carolOnly = `call_timeout {"call_id":"42","user_ids":["carol"]}`
	)
	// expire lets time pass until a timer gives callbacks.
	expire := func(s *story, lost bool) (list []string) {
		for len(list) == 0 {
			s.now = s.c.NextDue()
			list = s.does(call.Expire{CallerLost: lost})
		}
		return list
	}
	prepare := func(s *story, cmds ...call.Command) *story {
		for _, cmd := range cmds {
			s.does(cmd)
		}
		return s
	}
	online, _ := begin(t, call.General, "bob", "carol")
	want(t, expire(prepare(online, call.Receive{Actor: by("bob")}), false), cancelled) // to confirm is not to respond
	lost, _ := begin(t, call.General, "bob", "carol")
	want(t, expire(prepare(lost), true), timedOut)
	rejected, _ := begin(t, call.General, "bob", "carol")
	want(t, expire(prepare(rejected, call.Reject{Actor: by("bob")}), false), carolOnly)
	accepted, _ := begin(t, call.Advanced, "bob", "carol")
	want(t, expire(prepare(accepted, call.Accept{Actor: by("bob")}), false), carolOnly)

	// Those who were invited during the call are still being rung.
	late, _ := begin(t, call.Advanced, "bob", "carol")
	want(t, expire(prepare(late.wait(1), call.Invite{Actor: by("alice"), Invitees: []call.UserID{"dave"}}), false), timedOut)
	want(t, expire(late, false),
		`call_timeout {"call_id":"42","user_ids":["dave"]}`,
		`call_end {"call_id":"42","reason":"unanswered","operator":"","duration":0,"extend_data":""}`)

	advanced, _ := begin(t, call.Advanced, "bob", "carol")
	want(t, expire(prepare(advanced), false), cancelled,
		`call_end {"call_id":"42","reason":"unanswered","operator":"","duration":0,"extend_data":""}`)
}

func TestAdvancedCallbacks(t *testing.T) {
	s, _ := begin(t, call.Advanced, "bob")
	want(t, s.wait(1).does(call.Accept{Actor: by("bob")}), `call_accept {"call_id":"42","user_id":"bob","extend_data":""}`)
	want(t, s.wait(1).does(call.Invite{Actor: by("bob"), Invitees: []call.UserID{"carol", "dave", "alice"}}),
		`call_invite {"call_id":"42","user_ids":["carol","dave"],"inviter":"bob","invite_time":1700000002000}`)
	want(t, s.does(call.Join{Actor: by("carol"), ExtendedData: "me too"}), `call_accept {"call_id":"42","user_id":"carol","extend_data":"me too"}`)
	want(t, s.does(call.Join{Actor: by("eve"), ExtendedData: "in"}), `call_join {"call_id":"42","user_id":"eve","extend_data":"in"}`)
	want(t, s.does(call.Join{Actor: call.Actor{User: "eve", Session: "e2"}, ExtendedData: "moved"}),
		`call_join {"call_id":"42","user_id":"eve","extend_data":"moved"}`)
	want(t, s.does(call.Leave{Actor: by("eve"), ExtendedData: "bye"}), `call_quit {"call_id":"42","user_id":"eve","extend_data":"bye"}`)
	want(t, s.does(call.ParticipantGone{User: "carol"}), `call_quit {"call_id":"42","user_id":"carol","extend_data":""}`)
	s.now += 2999
	want(t, s.does(call.End{Actor: by("alice"), ExtendedData: "enough"}),
		`call_cancel {"call_id":"42","user_ids":["dave"],"reason":"caller_cancel","payload":"enough"}`,
		`call_end {"call_id":"42","reason":"ended","operator":"alice","duration":3,"extend_data":"enough"}`)
}

func TestLastQuitCallbacks(t *testing.T) {
	s, _ := begin(t, call.Advanced, "bob", "carol")
	s.does(call.Accept{Actor: by("bob")})
	want(t, s.does(call.Leave{Actor: by("alice")}), `call_quit {"call_id":"42","user_id":"alice","extend_data":""}`)
	want(t, s.wait(7).does(call.Leave{Actor: by("bob"), ExtendedData: "last"}),
		`call_quit {"call_id":"42","user_id":"bob","extend_data":"last"}`,
		`call_cancel {"call_id":"42","user_ids":["carol"],"reason":"caller_cancel","payload":""}`,
		`call_end {"call_id":"42","reason":"all_left","operator":"","duration":7,"extend_data":""}`)
}

func TestMaximumDurationCallbacks(t *testing.T) {
	s, _ := begin(t, call.Advanced, "bob")
	s.does(call.Accept{Actor: by("bob")})
	want(t, s.wait(86_400).does(call.Expire{}),
		`call_end {"call_id":"42","reason":"max_duration","operator":"","duration":86400,"extend_data":""}`)
}

func TestUserActionCallback(t *testing.T) {
	cb := UserAction(protocol.UserAction{UserID: "a", OS: "WEB", Action: protocol.UserLogout, SessionID: "s", LoginTime: 5, Relogin: "0", LogoutTime: 9, LogoutReason: "kicked"})
	want(t, []string{cb.Name + " " + string(cb.Fields)},
		`user_action {"user_id":"a","user_name":"","os":"WEB","action":1,"session_id":"s","login_time":5,"relogin":"0","logout_time":9,"logout_reason":"kicked"}`)
}

func TestUnknownEventPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Callbacks(nil, &call.Call{}, nil)
}
