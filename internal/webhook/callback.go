package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/protocol"
)

// Callback is what a business server is told of one thing that happened.
type Callback struct {
	Name   string // the event, one of protocol's Callback constants
	Fields []byte // JSON object: the fields beyond the common ones, in the documented order
}

// Callbacks maps a transition of a call, from before (nil when the call was
// created) by e to after, to its callbacks, in the order in which they are to
// be delivered: the one about a user, then the cancel of those who were still
// being rung when an advanced call ended, then that end. It is the only place
// that knows the mapping. It panics on an event of an unknown type.
func Callbacks(before, after *call.Call, e call.Event) []Callback {
	var list []Callback
	if cb := own(after, e); cb.Name != "" {
		list = append(list, cb)
	}
	if before == nil || !before.Live() || after.Live() || after.Mode != call.Advanced {
		return list
	}
	if ids := stillPending(after); len(ids) > 0 {
		list = append(list, cancel(after, ids, protocol.CancelByCaller, after.EndExtendedData))
	}
	return append(list, callback(protocol.CallbackEnd, protocol.CallEnd{
		CallID: after.ID.String(), Reason: string(after.EndReason), Operator: string(after.EndOperator),
		Duration: duration(after), ExtendData: after.EndExtendedData,
	}))
}

// UserAction is the callback of a login, a logout or a user who went offline.
func UserAction(a protocol.UserAction) Callback {
	return callback(protocol.CallbackUserAction, a)
}

// own is the callback that an event gives by itself; without a name when it
// gives none.
func own(c *call.Call, e call.Event) Callback {
	id := c.ID.String()
	switch e := e.(type) {
	case call.CallCreated:
		return callback(protocol.CallbackCreate, protocol.CallCreate{
			CallID: id, UserIDs: names(e.Invitees), CreateTime: e.At.Time().Unix(),
			Payload: e.ExtendedData, Caller: string(e.User), Timeout: e.Timeout,
		})
	case call.InvitationsCancelled:
		payload := e.ExtendedData
		if e.Reason == call.CallerLeft {
			payload = ""
		}
		return cancel(c, names(e.Users), protocol.CancelByCaller, payload)
	case call.InvitationsTimedOut:
		if e.Whole && !e.CallerLost {
			return cancel(c, names(e.Users), protocol.CancelByTimeout, "")
		}
		return callback(protocol.CallbackTimeout, protocol.CallTimeout{CallID: id, UserIDs: names(e.Users)})
	case call.UsersInvited:
		return callback(protocol.CallbackInvite, protocol.CallInvite{
			CallID: id, UserIDs: names(e.Invitees), Inviter: string(e.User), InviteTime: int64(e.At),
		})
	case call.CallAccepted:
		return answer(protocol.CallbackAccept, id, e.User, e.ExtendedData)
	case call.CallRejected:
		return answer(protocol.CallbackReject, id, e.User, e.ExtendedData)
	case call.InvitationReceived:
		return answer(protocol.CallbackReceived, id, e.User, "")
	case call.UserJoined:
		return answer(protocol.CallbackJoin, id, e.User, e.ExtendedData)
	case call.UserQuit:
		return answer(protocol.CallbackQuit, id, e.User, e.ExtendedData)
	case call.CallEnded, call.InvitationsUnconfirmed:
		return Callback{}
	}
	panic(fmt.Sprintf("webhook: unknown event %T", e))
}

func answer(name, id string, user call.UserID, data string) Callback {
	return callback(name, protocol.CallAnswer{CallID: id, UserID: string(user), ExtendData: data})
}

func cancel(c *call.Call, users []string, reason, payload string) Callback {
	return callback(protocol.CallbackCancel, protocol.CallCancel{
		CallID: c.ID.String(), UserIDs: users, Reason: reason, Payload: payload,
	})
}

// callback encodes the fields, which are of a type of protocol.
func callback(name string, fields any) Callback {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(fields); err != nil {
		panic(fmt.Sprintf("webhook: encoding %T: %v", fields, err)) // strings and numbers: cannot be
	}
	return Callback{Name: name, Fields: bytes.TrimSuffix(b.Bytes(), []byte("\n"))}
}

func names(ids []call.UserID) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = string(id)
	}
	return list
}

// stillPending lists those whom the end of the call left ringing; an end
// leaves the states of the users as they are.
func stillPending(c *call.Call) []string {
	var list []string
	for i := range c.Users {
		if c.Users[i].State.Pending() {
			list = append(list, string(c.Users[i].ID))
		}
	}
	return list
}

// duration is the time in whole seconds from the first accept to the end.
func duration(c *call.Call) int64 {
	if !c.AnyAccepted() {
		return 0
	}
	return int64(c.EndedAt-c.FirstAcceptAt) / 1000
}

// NewCallback makes a callback of a name and of its fields, which are of a
// type of protocol, or another that is encoded as a JSON object. It panics on
// what cannot be encoded.
func NewCallback(name string, fields any) Callback { return callback(name, fields) }
