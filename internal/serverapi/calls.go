package serverapi

import (
	"context"
	"errors"
	"fmt"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// CallAnswer are the parameters of CallAccept and CallReject.
type CallAnswer struct {
	FromUserID   string `json:"FromUserId" maxLength:"32" doc:"The invited user who answers" example:"bob"`
	CallID       string `json:"CallId" doc:"Of CallInvite, or of a call_create callback" example:"3844045877051392001"`
	ExtendedData string `json:"ExtendedData,omitempty" maxLength:"2048" doc:"For the others; at most 2048 bytes"`
}

// CallCancel are the parameters of CallCancel.
type CallCancel struct {
	FromUserID   string   `json:"FromUserId" maxLength:"32" doc:"The caller" example:"alice"`
	CallID       string   `json:"CallId" example:"3844045877051392001"`
	UserIDs      []string `json:"UserIds,omitempty" nullable:"false" maxItems:"64" doc:"Whose invitations to take back; absent or empty: everybody's" example:"[\"carol\"]"`
	ExtendedData string   `json:"ExtendedData,omitempty" maxLength:"2048" doc:"For the callees; at most 2048 bytes"`
}

// CallCancelAnswer is the answer of CallCancel.
type CallCancelAnswer struct {
	Answer
	ErrorUsers []ErrorUser `json:"ErrorUsers,omitzero" nullable:"false" doc:"Those named who were not cancelled"`
}

// CallEnd are the parameters of CallEnd.
type CallEnd struct {
	FromUserID   string `json:"FromUserId" maxLength:"32" doc:"A user who is in the call" example:"alice"`
	CallID       string `json:"CallId" example:"3844045877051392001"`
	ExtendedData string `json:"ExtendedData,omitempty" maxLength:"2048" doc:"For the others; at most 2048 bytes"`
}

// CallEndAnswer is the answer of CallEnd.
type CallEndAnswer struct {
	Answer
	EndTime int64 `json:"EndTime,omitempty" doc:"Unix milliseconds"`
}

func (s *Server) callAccept(ctx context.Context, rq request, in *CallAnswer) (*Answer, error) {
	cmd := call.Accept{Actor: actor(in.FromUserID), ExtendedData: in.ExtendedData}
	_, err := s.do(ctx, rq, operation{in.FromUserID, in.CallID, in.ExtendedData, cmd})
	return nil, err
}

func (s *Server) callReject(ctx context.Context, rq request, in *CallAnswer) (*Answer, error) {
	cmd := call.Reject{Actor: actor(in.FromUserID), ExtendedData: in.ExtendedData}
	_, err := s.do(ctx, rq, operation{in.FromUserID, in.CallID, in.ExtendedData, cmd})
	return nil, err
}

func (s *Server) callCancel(ctx context.Context, rq request, in *CallCancel) (*CallCancelAnswer, error) {
	if err := checkUsers("UserIds", in.UserIDs); err != nil {
		return nil, err
	}
	names := userIDs(in.UserIDs)
	if len(names) > call.MaxCancelNames {
		return nil, faultf(CodeTooManyUsers, "UserIds names %d users, the limit is %d", len(names), call.MaxCancelNames)
	}
	cmd := call.Cancel{Actor: actor(in.FromUserID), Names: names, ExtendedData: in.ExtendedData}
	r, err := s.do(ctx, rq, operation{in.FromUserID, in.CallID, in.ExtendedData, cmd})
	if err != nil {
		return nil, err
	}
	return &CallCancelAnswer{ErrorUsers: s.errorUsers(r.Errors, r.Call)}, nil
}

func (s *Server) callEnd(ctx context.Context, rq request, in *CallEnd) (*CallEndAnswer, error) {
	cmd := call.End{Actor: actor(in.FromUserID), ExtendedData: in.ExtendedData}
	r, err := s.do(ctx, rq, operation{in.FromUserID, in.CallID, in.ExtendedData, cmd})
	if err != nil {
		return nil, err
	}
	return &CallEndAnswer{EndTime: int64(r.Call.EndedAt)}, nil
}

// actor is a user for whom the server API acts.
func actor(user string) call.Actor { return call.Actor{User: call.UserID(user)} }

// operation is a command on a call, with the parameters that all have in
// common.
type operation struct {
	user, callID, data string
	cmd                call.Command
}

// do checks an operation and has it carried out.
func (s *Server) do(ctx context.Context, rq request, op operation) (r call.Result, err error) {
	if err := first(checkUser("FromUserId", op.user), checkExtendedData(op.data)); err != nil {
		return r, err
	}
	id, err := parseCallID(op.callID)
	if err != nil {
		return r, err
	}
	user := call.UserID(op.user)
	if err := s.checkRegistered(ctx, rq.app.ID, user); err != nil {
		return r, err
	}
	err = s.Engine.Do(ctx, rq.app.ID, id, op.cmd, func(done call.Result) { r = done })
	var refused *call.RefusedError
	if !errors.As(err, &refused) {
		return r, err
	}
	c, err := s.Engine.Call(ctx, rq.app.ID, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return r, err
	}
	return r, &refusal{RefusedError: refused, cmd: op.cmd, call: c, actor: user, at: s.now()}
}

// checkRegistered refuses users whom nobody has ever registered or logged in.
func (s *Server) checkRegistered(ctx context.Context, app uint32, user call.UserID) error {
	if s.Engine.OnlineHere(app, user) {
		return nil
	}
	known, err := s.Store.Users(ctx, app, []call.UserID{user})
	if err != nil {
		return fmt.Errorf("reading users: %w", err)
	}
	if len(known) == 0 {
		return faultf(CodeNotRegistered, "FromUserId %q is not registered: register the user, or have him log in", string(user))
	}
	return nil
}

func parseCallID(text string) (call.ID, error) {
	if text == "" {
		return 0, faultf(CodeParameter, "CallId is missing: give the ID of a call")
	}
	id, err := call.ParseID(text)
	if err != nil {
		return 0, faultf(CodeParameter, "CallId %.30q is not the decimal digits of a number below 2^63", text)
	}
	return id, nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
