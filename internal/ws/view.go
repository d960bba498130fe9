package ws

import (
	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/protocol"
)

// viewCall is a call as a user sees it at now.
func viewCall(c *call.Call, viewer call.UserID, now call.Instant) protocol.Call {
	inviter := call.UserID("")
	if u := c.User(viewer); u != nil {
		inviter = u.Inviter
	}
	return protocol.Call{
		CallID: c.ID.String(), Version: c.Version, Mode: int(c.Mode), State: int(c.State),
		Caller: string(c.Caller), Inviter: string(inviter), ExtendedData: c.ExtendedData, Timeout: c.Timeout,
		CreateTimeMS: int64(c.CreatedAt), EndTimeMS: int64(c.EndedAt),
		RingRemainingMS: c.RingRemaining(viewer, now), Users: viewUsers(c, viewer, nil),
	}
}

// viewUsers lists the users of a call, or some of them, as a user sees them.
func viewUsers(c *call.Call, viewer call.UserID, only []call.UserID) []protocol.CallUser {
	users := make([]protocol.CallUser, 0, len(c.Users))
	add := func(u *call.User) {
		users = append(users, protocol.CallUser{
			UserID: string(u.ID), State: int(u.SeenBy(viewer)), ExtendedData: u.ExtendedData,
		})
	}
	if only == nil {
		for i := range c.Users {
			add(&c.Users[i])
		}
	}
	for _, id := range only {
		add(c.User(id))
	}
	return users
}

func viewErrors(errors []call.UserError) []protocol.ErrorUser {
	list := make([]protocol.ErrorUser, 0, len(errors))
	for _, e := range errors {
		list = append(list, protocol.ErrorUser{UserID: string(e.User), Code: protocol.Code(e.Code)})
	}
	return list
}
