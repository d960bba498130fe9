package serverapi

import (
	"context"
	"errors"
	"fmt"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// maxCalls is how many calls a page has at most, and if nothing else is asked
// for.
const maxCalls = 100

// QueryCall are the parameters of QueryCall.
type QueryCall struct {
	CallID string `json:"CallId" example:"3844045877051392001"`
}

// QueryCallAnswer is the answer of QueryCall.
type QueryCallAnswer struct {
	Answer
	Call *CallInfo `json:"Call,omitempty"`
}

// QueryCallList are the parameters of QueryCallList.
type QueryCallList struct {
	UserID   string `json:"UserId" maxLength:"32" doc:"Whose calls: those that he is or was part of" example:"alice"`
	Count    int64  `json:"Count,omitempty" minimum:"0" doc:"How many at most; 0 or over 100: 100"`
	NextFlag int64  `json:"NextFlag,omitempty" minimum:"0" doc:"Of the page before; 0: the newest calls"`
}

// QueryCallListAnswer is the answer of QueryCallList.
type QueryCallListAnswer struct {
	Answer
	CallList []*CallInfo `json:"CallList,omitzero" nullable:"false"`
	NextFlag int64       `json:"NextFlag" required:"false" doc:"For the next page; 0: that was all"`
}

// CallInfo is a call. Times are Unix milliseconds, and 0 for what has not
// happened.
type CallInfo struct {
	CallID       string     `json:"CallId"`
	Version      int64      `json:"Version" doc:"Grows by one with each change"`
	Mode         int        `json:"Mode" enum:"0,1" doc:"0: general; 1: advanced"`
	State        int        `json:"State" enum:"1,2" doc:"1: started; 2: ended"`
	Outcome      string     `json:"Outcome" doc:"What the call came to, in a word; empty while it lives"`
	Caller       string     `json:"Caller"`
	ExtendedData string     `json:"ExtendedData" doc:"Of the invitation"`
	Timeout      int        `json:"Timeout" doc:"Seconds"`
	CreateTime   int64      `json:"CreateTime" doc:"Unix milliseconds"`
	EndTime      int64      `json:"EndTime" doc:"Unix milliseconds; 0: it lives"`
	CallUserList []CallUser `json:"CallUserList" nullable:"false" doc:"The caller first, then the others as they came"`
}

// CallUser is a user of a call.
type CallUser struct {
	UserID       string `json:"UserId"`
	State        int    `json:"State" doc:"0: inviting; 1: accepted; 2: rejected; 3: cancelled; 5: received; 6: timeout; 7: quit; 9: not yet received; 10: cancelled by name"`
	Inviter      string `json:"Inviter"`
	ExtendedData string `json:"ExtendedData" doc:"Of his latest answer"`
	InviteTime   int64  `json:"InviteTime" doc:"Unix milliseconds; 0: he was not invited"`
	AcceptTime   int64  `json:"AcceptTime" doc:"Unix milliseconds; 0: he has not accepted"`
	QuitTime     int64  `json:"QuitTime" doc:"Unix milliseconds; 0: he has not quit"`
}

func (s *Server) queryCall(ctx context.Context, rq request, in *QueryCall) (*QueryCallAnswer, error) {
	id, err := parseCallID(in.CallID)
	if err != nil {
		return nil, err
	}
	c, err := s.Engine.Call(ctx, rq.app.ID, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, faultf(CodeNoSuchCall, "there is no call %s, or it is so old that it was deleted", id)
	case err != nil:
		return nil, err
	}
	return &QueryCallAnswer{Call: viewCall(c)}, nil
}

func (s *Server) queryCallList(ctx context.Context, rq request, in *QueryCallList) (*QueryCallListAnswer, error) {
	if err := checkUser("UserId", in.UserID); err != nil {
		return nil, err
	}
	if in.Count < 0 || in.NextFlag < 0 || in.NextFlag >= 1<<53 {
		return nil, faultf(CodeParameter, "Count and NextFlag must not be negative, and NextFlag is below 2^53: give the one of the page before")
	}
	if in.Count == 0 || in.Count > maxCalls {
		in.Count = maxCalls
	}
	user := call.UserID(in.UserID)
	if !s.Engine.OnlineHere(rq.app.ID, user) {
		known, err := s.Store.Users(ctx, rq.app.ID, []call.UserID{user})
		if err != nil {
			return nil, fmt.Errorf("reading users: %w", err)
		}
		if len(known) == 0 {
			return nil, faultf(CodeNoSuchUser, "there is no user %q", in.UserID)
		}
	}
	calls, next, err := s.Engine.History(ctx, rq.app.ID, user, in.NextFlag, int(in.Count))
	if err != nil {
		return nil, err
	}
	out := &QueryCallListAnswer{CallList: make([]*CallInfo, 0, len(calls)), NextFlag: next}
	for _, c := range calls {
		out.CallList = append(out.CallList, viewCall(c))
	}
	return out, nil
}

// viewCall is a call as a backend sees it.
func viewCall(c *call.Call) *CallInfo {
	info := &CallInfo{
		CallID: c.ID.String(), Version: c.Version, Mode: int(c.Mode), State: int(c.State), Outcome: string(c.Outcome()),
		Caller: string(c.Caller), ExtendedData: c.ExtendedData, Timeout: c.Timeout,
		CreateTime: int64(c.CreatedAt), EndTime: int64(c.EndedAt), CallUserList: make([]CallUser, 0, len(c.Users)),
	}
	for i := range c.Users {
		u := &c.Users[i]
		info.CallUserList = append(info.CallUserList, CallUser{
			UserID: string(u.ID), State: int(u.SeenBy("")), Inviter: string(u.Inviter), ExtendedData: u.ExtendedData,
			InviteTime: int64(u.InvitedAt), AcceptTime: int64(u.AcceptedAt), QuitTime: int64(u.QuitAt),
		})
	}
	return info
}
