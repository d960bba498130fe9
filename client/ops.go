package client

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/ringback/ringback/protocol"
)

// Invite calls users. When inv.RequestID is empty the client makes one, so
// that the invitation can be repeated safely after a reconnection. Users that
// cannot be invited are in the ErrorUsers of the reply; when none is left the
// error has code protocol.CodeNotRegistered.
func (c *Client) Invite(ctx context.Context, inv protocol.Invite) (*protocol.InviteReply, error) {
	if inv.RequestID == "" {
		inv.RequestID = rand.Text()
	}
	return await[protocol.InviteReply](ctx, c, &request{op: protocol.OpCallInvite, body: inv, repeat: always})
}

// InviteMore invites more users into an advanced-mode call.
func (c *Client) InviteMore(ctx context.Context, inv protocol.InviteMore) (*protocol.UsersReply, error) {
	return await[protocol.UsersReply](ctx, c, &request{op: protocol.OpCallInviteMore, body: inv})
}

// Cancel takes back invitations: those of cancel.UserIDs, or all that are
// pending. It fails when nobody could be cancelled; those of the list who
// could not are in the ErrorUsers of the reply.
func (c *Client) Cancel(ctx context.Context, cancel protocol.Cancel) (*protocol.UsersReply, error) {
	return await[protocol.UsersReply](ctx, c, &request{
		op: protocol.OpCallCancel, body: cancel, repeat: inSession, ends: len(cancel.UserIDs) == 0,
	})
}

// Accept answers an invitation. It fails with protocol.CodeNoSuchCall or
// protocol.CodeCancelled when the invitation is over.
func (c *Client) Accept(ctx context.Context, action protocol.CallAction) (*protocol.CallReply, error) {
	return await[protocol.CallReply](ctx, c, &request{op: protocol.OpCallAccept, body: action, repeat: inSession})
}

// Reject declines an invitation. It fails as Accept does.
func (c *Client) Reject(ctx context.Context, action protocol.CallAction) (*protocol.CallReply, error) {
	return await[protocol.CallReply](ctx, c, &request{op: protocol.OpCallReject, body: action, repeat: inSession, ends: true})
}

// Received says that this device rings. The client does so by itself unless
// Options.ManualReceived is set.
func (c *Client) Received(ctx context.Context, callID string) (*protocol.CallReply, error) {
	return await[protocol.CallReply](ctx, c, &request{
		op: protocol.OpCallReceived, body: protocol.CallAction{CallID: callID}, repeat: always,
	})
}

// Join enters an advanced-mode call with this device.
func (c *Client) Join(ctx context.Context, action protocol.CallAction) (*protocol.JoinReply, error) {
	return await[protocol.JoinReply](ctx, c, &request{op: protocol.OpCallJoin, body: action})
}

// Quit leaves an advanced-mode call.
func (c *Client) Quit(ctx context.Context, action protocol.CallAction) (*protocol.LeaveReply, error) {
	return await[protocol.LeaveReply](ctx, c, &request{op: protocol.OpCallQuit, body: action, repeat: inSession})
}

// End ends an advanced-mode call for everybody.
func (c *Client) End(ctx context.Context, action protocol.CallAction) (*protocol.LeaveReply, error) {
	return await[protocol.LeaveReply](ctx, c, &request{op: protocol.OpCallEnd, body: action, repeat: inSession})
}

// Query returns a page of the user's calls, newest first.
func (c *Client) Query(ctx context.Context, query protocol.Query) (*protocol.QueryReply, error) {
	return await[protocol.QueryReply](ctx, c, &request{op: protocol.OpCallQuery, body: query, repeat: always})
}

// Sync asks for the state of all calls, for example after the machine slept.
// The client says by itself which calls the device still shows. The answer is
// also delivered as a Snapshot, in its place among the events, so that a
// program which keeps its calls there need not look at what Sync returns.
func (c *Client) Sync(ctx context.Context) (*protocol.Snapshot, error) {
	return await[protocol.Snapshot](ctx, c, &request{
		op: protocol.OpCallSync, body: protocol.Sync{KnownCalls: c.calls.shown()}, repeat: always,
	})
}

// Ping makes a round trip and returns the time on the server. It is not
// repeated after a reconnection.
func (c *Client) Ping(ctx context.Context) (time.Time, error) {
	reply, err := await[protocol.PingReply](ctx, c, &request{op: protocol.OpPing})
	if err != nil {
		return time.Time{}, err
	}
	return time.UnixMilli(reply.ServerTimeMS), nil
}

// RenewToken replaces the token of the session, and on success the one with
// which the client logs in again.
func (c *Client) RenewToken(ctx context.Context, token string) error {
	err := c.do(ctx, &request{op: protocol.OpRenewToken, body: protocol.RenewToken{Token: token}, repeat: always})
	if err == nil {
		c.mu.Lock()
		c.token = token
		c.mu.Unlock()
	}
	return err
}

// Logout ends the session, and with it the client: calls in which the user
// waits for answers are cancelled unless he is logged in elsewhere. It fails
// with ErrConnectionLost when the server may not have heard of it.
func (c *Client) Logout(ctx context.Context) error {
	return c.do(ctx, &request{op: protocol.OpLogout, body: struct{}{}})
}
