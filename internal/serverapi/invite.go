package serverapi

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/engine"
	"github.com/ringback/ringback/protocol"
)

// CallInvite are the parameters of CallInvite.
type CallInvite struct {
	FromUserID   string      `json:"FromUserId" maxLength:"32" doc:"The caller, who must be registered" example:"alice"`
	UserIDs      []string    `json:"UserIds" nullable:"false" minItems:"1" doc:"Whom to ring: at most 9" example:"[\"bob\",\"carol\"]"`
	Timeout      int         `json:"Timeout,omitempty" minimum:"0" maximum:"600" doc:"For how long, in seconds; 0: 90" example:"60"`
	ExtendedData string      `json:"ExtendedData,omitempty" maxLength:"2048" doc:"For the callees; at most 2048 bytes" example:"video"`
	OfflinePush  OfflinePush `json:"OfflinePush,omitzero"`
}

// OfflinePush is what a push to an offline callee says.
type OfflinePush struct {
	Enable  Switch `json:"Enable,omitempty" doc:"1: push; 0: do not" example:"1"`
	Title   string `json:"Title,omitempty" example:"Alice"`
	Content string `json:"Content,omitempty" example:"is calling you"`
	Payload string `json:"Payload,omitempty" doc:"For the app on the device"`
}

// Switch is a bool that JSON may also write as 0 or 1.
type Switch bool

// UnmarshalJSON reads 0, 1, true or false.
func (s *Switch) UnmarshalJSON(data []byte) error {
	switch string(data) {
	case "1", "true":
		*s = true
	case "0", "false":
		*s = false
	default:
		return errors.New("must be 0 or 1")
	}
	return nil
}

// object is the push object that is kept with the call; nil when there is to
// be no push.
func (p OfflinePush) object() ([]byte, error) {
	if !p.Enable {
		return nil, nil
	}
	push, err := json.Marshal(struct {
		Title   string `json:"title,omitempty"`
		Content string `json:"content,omitempty"`
		Payload string `json:"payload,omitempty"`
	}{p.Title, p.Content, p.Payload})
	if err == nil && len(push) > protocol.MaxPush {
		err = faultf(CodeParameter, "OfflinePush has %d bytes, the limit is %d: shorten Title, Content or Payload", len(push), protocol.MaxPush)
	}
	return push, err
}

// CallInviteAnswer is the answer of CallInvite.
type CallInviteAnswer struct {
	Answer
	CallID     string      `json:"CallId,omitempty" doc:"Decimal digits"`
	CreateTime int64       `json:"CreateTime,omitempty" doc:"Unix milliseconds"`
	ErrorUsers []ErrorUser `json:"ErrorUsers,omitzero" nullable:"false" doc:"Whom the call left out"`
}

// ErrorUser is a user who was left out, and why.
type ErrorUser struct {
	UserID  string `json:"UserId"`
	SubCode Code   `json:"SubCode" doc:"See the table of codes"`
}

func (s *Server) callInvite(ctx context.Context, rq request, in *CallInvite) (*CallInviteAnswer, error) {
	ids := userIDs(in.UserIDs)
	err := first(checkUser("FromUserId", in.FromUserID), checkUsers("UserIds", in.UserIDs), checkExtendedData(in.ExtendedData))
	switch {
	case err != nil:
		return nil, err
	case len(ids) == 0:
		return nil, faultf(CodeParameter, "UserIds is empty: name at least one user to ring")
	case slices.Contains(in.UserIDs, in.FromUserID):
		return nil, faultf(CodeParameter, "nobody rings himself: take %q out of UserIds", in.FromUserID)
	case in.Timeout < 0 || in.Timeout > call.MaxTimeout:
		return nil, faultf(CodeParameter, "Timeout is %d, it must be 1 to %d seconds, or 0 for %d", in.Timeout, call.MaxTimeout, call.DefaultTimeout)
	case in.Timeout == 0:
		in.Timeout = call.DefaultTimeout
	}
	push, err := in.OfflinePush.object()
	if err != nil {
		return nil, err
	}
	out := &CallInviteAnswer{ErrorUsers: []ErrorUser{}}
	invitation := engine.Invitation{Invitees: ids, Timeout: in.Timeout, ExtendedData: in.ExtendedData, Push: push}
	err = s.Engine.Invite(ctx, rq.app.ID, call.Actor{User: call.UserID(in.FromUserID)}, invitation, func(r call.Result) {
		out.CallID, out.CreateTime = r.Call.ID.String(), int64(r.Call.CreatedAt)
		out.ErrorUsers = s.errorUsers(r.Errors, r.Call)
	})
	var refused *call.RefusedError
	if !errors.As(err, &refused) {
		return out, err
	}
	if refused.Code == call.NotRegistered {
		for _, id := range ids {
			out.ErrorUsers = append(out.ErrorUsers, ErrorUser{string(id), CodeNoSuchUser})
		}
	}
	return out, &refusal{RefusedError: refused}
}

func (s *Server) errorUsers(errors []call.UserError, c *call.Call) []ErrorUser {
	list := make([]ErrorUser, 0, len(errors))
	for _, e := range errors {
		list = append(list, ErrorUser{string(e.User), userCode(e, c, s.now())})
	}
	return list
}

// userIDs drops repetitions.
func userIDs(texts []string) []call.UserID {
	ids := make([]call.UserID, 0, len(texts))
	for _, text := range texts {
		if id := call.UserID(text); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// checkUser checks the parameter that names a user.
func checkUser(name, id string) error {
	switch {
	case id == "":
		return faultf(CodeParameter, "%s is missing: give the ID of a user", name)
	case len(id) > call.MaxUserID:
		return faultf(CodeUserIDTooLong, "%s has a user ID of %d bytes, the limit is %d", name, len(id), call.MaxUserID)
	case !call.UserID(id).Valid():
		return faultf(CodeParameter, "%s has the user ID %q: only ASCII letters, digits, space and !#$%%&()+-:;<=.>?@[]^_{}|~ are allowed", name, id)
	}
	return nil
}

// checkUsers checks the parameter that lists users.
func checkUsers(name string, ids []string) error {
	for _, id := range ids {
		if err := checkUser(name, id); err != nil {
			return err
		}
	}
	return nil
}

func checkExtendedData(data string) error {
	if len(data) > call.MaxExtendedData {
		return faultf(CodeParameter, "ExtendedData has %d bytes, the limit is %d", len(data), call.MaxExtendedData)
	}
	if !utf8.ValidString(data) {
		return faultf(CodeParameter, "ExtendedData is not UTF-8")
	}
	return nil
}

// Schema describes the two ways to write it.
func (Switch) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{{Type: "integer", Enum: []any{0, 1}}, {Type: "boolean"}}}
}
