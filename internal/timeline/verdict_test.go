package timeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/trace"
	"github.com/ringback/ringback/protocol"
)

const t0 = call.Instant(1_790_000_000_000)

// ringingCall is a call from alice, of the state and with the users given.
func ringingCall(state call.State, users ...call.User) *call.Call {
	c := &call.Call{
		ID: call.NewID(t0, 5), App: 1, Version: 4, State: state, Caller: "alice", Timeout: 90, CreatedAt: t0,
		Users: append([]call.User{{ID: "alice", State: call.Accepted, Inviter: "alice", Primary: "s-alice", AcceptedAt: t0}}, users...),
	}
	if state == call.Ended {
		c.EndedAt, c.EndReason = t0+90_000, call.Unanswered
	}
	return c
}

// bob was invited at t0 and is in the state.
func bob(state call.UserState, more ...func(*call.User)) call.User {
	u := call.User{ID: "bob", State: state, Inviter: "alice", InvitedAt: t0, Deadline: t0 + 90_000}
	for _, change := range more {
		change(&u)
	}
	return u
}

func did(op call.Op, by call.SessionID) func(*call.User) {
	return func(u *call.User) { u.LastOp, u.LastBy = op, by }
}

func because(r call.Reason) func(*call.User) { return func(u *call.User) { u.CancelReason = r } }

// Entries of traces of bob.

func absent(at call.Instant) trace.Entry {
	return trace.Entry{At: at, Kind: trace.Absent, User: "bob", Event: protocol.EventCallInvited, Version: 1}
}

func onDevice(kind trace.Kind, at call.Instant, device call.SessionID) trace.Entry {
	e := trace.Entry{At: at, Kind: kind, User: "bob", Session: device, Version: 1}
	if kind == trace.Sent {
		e.Event = protocol.EventCallInvited
	}
	return e
}

func refused(at call.Instant, device call.SessionID, op string, code call.Code) trace.Entry {
	e := onDevice(trace.Refused, at, device)
	e.Event, e.Code = op, int(code)
	return e
}

func leftOut(user call.UserID, code call.Code) trace.Entry {
	return trace.Entry{At: t0 + 2, Kind: trace.LeftOut, User: user, Version: 1, Code: int(code)}
}

func TestVerdicts(t *testing.T) {
	const (
		laptop = call.SessionID("laptop-0001-of-bob")
		phone  = call.SessionID("phone-00002-of-bob")
	)
	for name, c := range map[string]struct {
		call  *call.Call
		trace []trace.Entry
		want  []string
	}{
		"absent and never back": {
			ringingCall(call.Ended, bob(call.TimedOut)),
			[]trace.Entry{absent(t0 + 1)},
			[]string{"bob no: It did not ring: bob had no connected device when invited, and none came back in time. " +
				"Only a push notification could have woken one. The invitation ran out after 90 s."},
		},
		"absent so far": {
			ringingCall(call.Started, bob(call.NotYetReceived)),
			[]trace.Entry{absent(t0 + 1), {At: t0 + 5000, Kind: trace.Unconfirmed, User: "bob"}},
			[]string{"bob no: It has not rung so far: bob had no connected device when invited, and none has come back yet. " +
				"Only a push notification can wake one. The invitation still stands."},
		},
		"absent, then taken back": {
			ringingCall(call.Ended, bob(call.Cancelled, because(call.CallerCancel))),
			[]trace.Entry{absent(t0 + 1)},
			[]string{"bob no: It did not ring: bob had no connected device when invited, and none came back in time. " +
				"Only a push notification could have woken one. The caller took the invitation back."},
		},
		"absent, then caught up and confirmed": {
			ringingCall(call.Started, bob(call.Received)),
			[]trace.Entry{absent(t0 + 1), onDevice(trace.CaughtUp, t0+7_200, phone), onDevice(trace.Confirmed, t0+7_260, phone)},
			[]string{"bob yes: It rang: bob's device phone-00 confirmed 7.3 s after the invitation, having come back only then. The invitation still stands."},
		},
		"absent, then caught up without a word": {
			ringingCall(call.Ended, bob(call.TimedOut)),
			[]trace.Entry{absent(t0 + 1), onDevice(trace.CaughtUp, t0+80_000, phone)},
			[]string{"bob maybe: bob had no connected device when invited; one device (phone-00) came back 80.0 s later and was given the call, " +
				"but did not confirm that it rings. The invitation ran out after 90 s."},
		},
		"sent and confirmed at once": {
			ringingCall(call.Ended, bob(call.Rejected, did(call.OpReject, laptop))),
			[]trace.Entry{onDevice(trace.Sent, t0, laptop), onDevice(trace.Confirmed, t0+40, laptop)},
			[]string{"bob yes: It rang: bob's device laptop-0 confirmed 40 ms after the invitation. They declined."},
		},
		"sent to several devices, none confirmed": {
			ringingCall(call.Ended, bob(call.Cancelled, because(call.CallerLeft))),
			[]trace.Entry{onDevice(trace.Sent, t0+1, laptop), onDevice(trace.Sent, t0+1, phone)},
			[]string{"bob maybe: The invitation was sent at once to 2 devices (laptop-0, phone-00) of bob, but none confirmed that it rings: " +
				"its connection may have been dead already, the app frozen in the background, or its client does not send call.received. " +
				"The invitation was taken back because the caller was gone."},
		},
		"several devices, the second confirmed first": {
			ringingCall(call.Ended, bob(call.Accepted, did(call.OpAccept, laptop))),
			[]trace.Entry{
				onDevice(trace.Sent, t0+1, laptop), onDevice(trace.Sent, t0+1, phone),
				onDevice(trace.Confirmed, t0+90, phone), onDevice(trace.Confirmed, t0+1100, laptop),
			},
			[]string{"bob yes: It rang: bob's device phone-00 confirmed 90 ms after the invitation. They accepted."},
		},
		"answered without a confirmation": {
			ringingCall(call.Ended, bob(call.Accepted, did(call.OpAccept, laptop))),
			[]trace.Entry{onDevice(trace.Sent, t0+1, laptop)},
			[]string{"bob yes: It got through: bob answered on the device laptop-0, which never confirmed that it rings: " +
				"its client does not send call.received, or not before the answer. They accepted."},
		},
		"refused too late": {
			ringingCall(call.Ended, bob(call.TimedOut)),
			[]trace.Entry{onDevice(trace.Sent, t0+1, phone), refused(t0+95_040, phone, "accept", call.NoSuchCall)},
			[]string{"bob maybe: The invitation was sent at once to one device (phone-00) of bob, but none confirmed that it rings: " +
				"its connection may have been dead already, the app frozen in the background, or its client does not send call.received. " +
				"Their device phone-00 tried to accept 95.0 s after the invitation and was refused (6000276). The invitation ran out after 90 s."},
		},
		"what an earlier invitation left behind does not count": {
			ringingCall(call.Started, bob(call.Inviting, func(u *call.User) { u.InvitedAt = t0 + 30_000 })),
			[]trace.Entry{onDevice(trace.Sent, t0+1, phone), onDevice(trace.Confirmed, t0+20, phone), absent(t0 + 30_001)},
			[]string{"bob no: It has not rung so far: bob had no connected device when invited, and none has come back yet. " +
				"Only a push notification can wake one. The invitation still stands."},
		},
		"left out": {
			ringingCall(call.Started, bob(call.Received)),
			[]trace.Entry{
				leftOut("carol", call.NotRegistered), leftOut("dave", call.TooManyUsers), leftOut("bob", call.AlreadyInCall),
				leftOut("carol", call.NotRegistered), onDevice(trace.Confirmed, t0+20, phone),
			},
			[]string{
				"bob yes: It rang: bob's device phone-00 confirmed 20 ms after the invitation. The invitation still stands.",
				"carol no: carol was not part of the call: not registered, or logged out when invited (6000281).",
				"dave no: dave was not part of the call: no room when invited (6000272).",
			},
		},
		"answered by the backend": {
			ringingCall(call.Ended, bob(call.Accepted, did(call.OpAccept, ""))),
			[]trace.Entry{absent(t0 + 1)},
			[]string{"bob no: It did not ring: bob had no connected device when invited, and none came back in time. " +
				"Only a push notification could have woken one. Their backend accepted for them, through the server API."},
		},
		"declined by the backend while it rang": {
			ringingCall(call.Ended, bob(call.Rejected, did(call.OpReject, ""))),
			[]trace.Entry{onDevice(trace.Confirmed, t0+20, phone)},
			[]string{"bob yes: It rang: bob's device phone-00 confirmed 20 ms after the invitation. Their backend declined for them, through the server API."},
		},
		"the call ended by itself": {
			ringingCall(call.Ended, bob(call.Inviting)),
			[]trace.Entry{absent(t0 + 1)},
			[]string{"bob no: It did not ring: bob had no connected device when invited, and none came back in time. " +
				"Only a push notification could have woken one. The call ended before they answered."},
		},
		"joined after the invitation was over": {
			ringingCall(call.Started, bob(call.Accepted, did(call.OpJoin, laptop))),
			[]trace.Entry{absent(t0 + 1)},
			[]string{"bob no: It did not ring: bob had no connected device when invited, and none came back in time. " +
				"Only a push notification could have woken one. They joined."},
		},
		"left": {
			ringingCall(call.Started, bob(call.Quit, did(call.OpQuit, laptop), func(u *call.User) { u.Earlier = []call.Deed{{Op: call.OpAccept, By: laptop}} })),
			[]trace.Entry{onDevice(trace.Confirmed, t0+20, laptop)},
			[]string{"bob yes: It rang: bob's device laptop-0 confirmed 20 ms after the invitation. They were in the call and left."},
		},
		"nothing on record": {
			ringingCall(call.Ended, bob(call.BeCancelled, because(call.CallerCancel))),
			nil,
			[]string{"bob unknown: Nothing is on record of what bob's devices were told. The caller took the invitation back."},
		},
		"nobody was invited": {
			// Somebody who joined by himself was never to be rung.
			ringingCall(call.Started, call.User{ID: "erin", State: call.Accepted, AcceptedAt: t0}),
			nil, nil,
		},
	} {
		var got []string
		for _, v := range Verdicts(Record{Call: c.call, Trace: c.trace}) {
			got = append(got, fmt.Sprintf("%s %s: %s", v.User, v.Rang, v.Text))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}
