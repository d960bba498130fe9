package certify

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/webhook"
	"github.com/ringback/ringback/protocol"
)

// story is a made-up call, of which the callbacks tell.
type story struct {
	id string
	at time.Time // of its creation
}

// Users of the stories.
const (
	caller  = "certify-alice"
	invitee = "certify-bob"
)

func newCall() story {
	now := time.Now()
	return story{id: call.NewID(call.At(now), rand.Uint32()).String(), at: now}
}

// create is the call_create of the story.
func (s story) create(payload string, users ...string) webhook.Callback {
	return webhook.NewCallback(protocol.CallbackCreate, protocol.CallCreate{
		CallID: s.id, UserIDs: users, CreateTime: s.at.Unix(), Payload: payload, Caller: caller, Timeout: 60,
	})
}

// answer is a callback of the story that is about one user.
func (s story) answer(event, user, data string) webhook.Callback {
	return webhook.NewCallback(event, protocol.CallAnswer{CallID: s.id, UserID: user, ExtendData: data})
}

// cancel is a call_cancel of the story.
func (s story) cancel(reason, payload string, users ...string) webhook.Callback {
	return webhook.NewCallback(protocol.CallbackCancel, protocol.CallCancel{CallID: s.id, UserIDs: users, Reason: reason, Payload: payload})
}

// basic is the callback that most checks send, and its sequence: the first
// thing that the receiver learns of a call.
func (r *run) basic(s story) (webhook.Callback, int) {
	if r.sends(protocol.CallbackCreate) {
		return s.create("certify", invitee), 1
	}
	if i := slices.IndexFunc(r.cfg.Events, func(e string) bool { return e != protocol.CallbackUserAction }); i >= 0 {
		return s.callbacks(r.cfg.Events[i])[0], 1
	}
	return s.callbacks(protocol.CallbackUserAction)[0], 0
}

// order is that of the events in a call that has all of them.
var order = []string{
	protocol.CallbackCreate, protocol.CallbackReceived, protocol.CallbackAccept, protocol.CallbackReject, protocol.CallbackInvite,
	protocol.CallbackJoin, protocol.CallbackTimeout, protocol.CallbackQuit, protocol.CallbackCancel, protocol.CallbackEnd,
	protocol.CallbackUserAction,
}

// callbacks are those of an event in the story.
func (s story) callbacks(event string) []webhook.Callback {
	const (
		carol, dave, erin, frank, grace = "certify-carol", "certify-dave", "certify-erin", "certify-frank", "certify-grace"
	)
	switch event {
	case protocol.CallbackCreate:
		return []webhook.Callback{s.create("certify", invitee, carol, dave)}
	case protocol.CallbackReject:
		return []webhook.Callback{s.answer(event, carol, "busy")}
	case protocol.CallbackInvite:
		return []webhook.Callback{webhook.NewCallback(event, protocol.CallInvite{
			CallID: s.id, UserIDs: []string{erin, frank}, Inviter: invitee, InviteTime: s.at.Add(time.Second).UnixMilli(),
		})}
	case protocol.CallbackJoin:
		return []webhook.Callback{s.answer(event, grace, "")}
	case protocol.CallbackTimeout:
		return []webhook.Callback{webhook.NewCallback(event, protocol.CallTimeout{CallID: s.id, UserIDs: []string{erin}})}
	case protocol.CallbackCancel:
		return []webhook.Callback{s.cancel(protocol.CancelByCaller, "", dave, frank)}
	case protocol.CallbackEnd:
		return []webhook.Callback{webhook.NewCallback(event, protocol.CallEnd{CallID: s.id, Reason: string(call.ByOperator), Operator: caller, Duration: 3})}
	case protocol.CallbackUserAction:
		return userActions(s.at)
	}
	return []webhook.Callback{s.answer(event, invitee, "")}
}

// userActions are a user who comes, is lost, comes back and logs out.
func userActions(now time.Time) (list []webhook.Callback) {
	action := protocol.UserAction{
		UserID: caller, UserName: "Alice", OS: "WEB", Action: protocol.UserOnline,
		SessionID: "certify", LoginTime: now.Unix(), Relogin: "0",
	}
	offline, back, logout := action, action, action
	offline.Action, offline.OfflineTime = protocol.UserOffline, now.Unix()
	back.Relogin = "1"
	logout.Action, logout.LogoutTime, logout.LogoutReason = protocol.UserLogout, now.Unix(), "logout"
	for _, a := range []protocol.UserAction{action, offline, back, logout} {
		list = append(list, webhook.UserAction(a))
	}
	return list
}

// events sends each event, as parts of one call, well signed.
func (r *run) events() {
	s, sequence := newCall(), 0
	for _, event := range order {
		if !r.sends(event) {
			continue
		}
		r.check("event/"+event, "a "+event+" is answered with 2xx", func(c *Check) {
			for _, cb := range s.callbacks(event) {
				number := 0
				if event != protocol.CallbackUserAction {
					sequence++
					number = sequence
				}
				r.expectEvent(c, r.message(cb, number), "a "+event+", well signed")
			}
			if event == protocol.CallbackCancel && r.sends(protocol.CallbackCreate) && c.Result == Pass {
				unanswered := newCall()
				r.expectEvent(c, r.message(unanswered.create("", invitee), 1), "a call_create of another call")
				r.expectEvent(c, r.message(unanswered.cancel(protocol.CancelByTimeout, "", invitee), 2), "the call_cancel of that, because of the timeout")
			}
		})
	}
	r.check("signature/valid", "a good signature is accepted", func(c *Check) {
		cb, number := r.basic(newCall())
		ex := r.send(c, r.message(cb, number), "a "+cb.Name+", well signed")
		if !c.mustSucceed(ex, Fail, "every callback is refused, and given up after its last attempt", signatureFix) {
			r.refused = "a callback with good signatures is refused too, so it proves nothing that a bad one is"
		}
	})
}

const signatureFix = "see that the receiver has this secret; that it computes webhook-signature over the raw bytes of the body, and the signature of the " +
	"body over secret, timestamp and nonce, sorted as strings; and that its clock is right"

// expectEvent sends a callback that must succeed.
func (r *run) expectEvent(c *Check, m *message, what string) {
	ex := r.send(c, m, what)
	fix := "answer 2xx to every event, also to those that the receiver has no use for"
	if ex.Status == 401 || ex.Status == 403 {
		fix = signatureFix
	}
	c.mustSucceed(ex, Fail, "it is repeated until its attempts are used up, and then is lost to the receiver", fix)
}
