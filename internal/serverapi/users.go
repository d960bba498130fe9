package serverapi

import (
	"context"
	"fmt"
	"strings"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// Bounds of the user actions.
const (
	maxUsers  = 100 // in one request
	maxName   = 256 // bytes
	maxAvatar = 500 // bytes
)

// UserRegister are the parameters of UserRegister.
type UserRegister struct {
	UserInfo []UserInfo `json:"UserInfo" nullable:"false" minItems:"1" maxItems:"100"`
}

// UserInfo is a user to register.
type UserInfo struct {
	UserID     string `json:"UserId" maxLength:"32" example:"dave"`
	UserName   string `json:"UserName,omitempty" doc:"At most 256 bytes" example:"Dave"`
	UserAvatar string `json:"UserAvatar,omitempty" doc:"A URL of at most 500 bytes"`
}

// UserRegisterAnswer is the answer of UserRegister.
type UserRegisterAnswer struct {
	Answer
	ErrorList []RegisterError `json:"ErrorList,omitzero" nullable:"false" doc:"Those who were not registered"`
}

// RegisterError is a user who was not registered, and why.
type RegisterError struct {
	UserID     string `json:"UserId"`
	SubCode    Code   `json:"SubCode" doc:"See the table of codes"`
	SubMessage string `json:"SubMessage"`
}

func (s *Server) userRegister(ctx context.Context, rq request, in *UserRegister) (*UserRegisterAnswer, error) {
	switch {
	case len(in.UserInfo) == 0:
		return nil, faultf(CodeParameter, "UserInfo is empty: name at least one user")
	case len(in.UserInfo) > maxUsers:
		return nil, faultf(CodeTooManyUsers, "UserInfo has %d users, the limit is %d: register them in several requests", len(in.UserInfo), maxUsers)
	}
	failed := make([]error, len(in.UserInfo))
	place := make(map[call.UserID]int) // of those that can be registered
	var users []store.User
	for i, u := range in.UserInfo {
		id := call.UserID(u.UserID)
		if failed[i] = checkUserInfo(u); failed[i] != nil {
			continue
		}
		if _, twice := place[id]; twice {
			failed[i] = userExists(u.UserID)
			continue
		}
		place[id] = i
		users = append(users, store.User{ID: id, Name: u.UserName, Avatar: u.UserAvatar})
	}
	if len(users) > 0 {
		existed, err := s.Store.RegisterUsers(ctx, rq.app.ID, users, s.now())
		if err != nil {
			return nil, fmt.Errorf("registering users: %w", err)
		}
		for _, id := range existed {
			failed[place[id]] = userExists(string(id))
		}
	}
	out := &UserRegisterAnswer{ErrorList: []RegisterError{}}
	for i, err := range failed {
		if err != nil {
			code, message := codeOf(rq.action, err)
			out.ErrorList = append(out.ErrorList, RegisterError{in.UserInfo[i].UserID, code, message})
		}
	}
	if len(out.ErrorList) == len(failed) {
		return out, failed[0]
	}
	return out, nil
}

func checkUserInfo(u UserInfo) error {
	err := checkUser("UserId", u.UserID)
	switch {
	case err != nil:
		return err
	case len(u.UserName) > maxName:
		return faultf(CodeNameTooLong, "UserName has %d bytes, the limit is %d", len(u.UserName), maxName)
	case len(u.UserAvatar) > maxAvatar:
		return faultf(CodeAvatarTooLong, "UserAvatar has %d bytes, the limit is %d", len(u.UserAvatar), maxAvatar)
	case strings.Contains(u.UserName+u.UserAvatar, "\x00"):
		return faultf(CodeParameter, "UserName and UserAvatar must not contain the character NUL")
	}
	return nil
}

func userExists(id string) error {
	return faultf(CodeUserExists, "user %q exists already; nothing was changed", id)
}

// QueryUserOnlineState are the parameters of QueryUserOnlineState.
type QueryUserOnlineState struct {
	UserIDs []string `json:"UserId[]" nullable:"false" minItems:"1" maxItems:"100" doc:"Whom to ask about: UserId[]=a&UserId[]=b" example:"[\"alice\",\"bob\"]"`
}

// QueryUserOnlineStateAnswer is the answer of QueryUserOnlineState.
type QueryUserOnlineStateAnswer struct {
	Answer
	Result    []UserState `json:"Result,omitzero" nullable:"false"`
	ErrorList []ErrorUser `json:"ErrorList,omitzero" nullable:"false" doc:"Users who are unknown, logged out, or were only registered"`
}

// UserState says whether a user is online.
type UserState struct {
	UserID string `json:"UserId"`
	Status string `json:"Status" enum:"Online,Offline"`
}

func (s *Server) queryUserOnlineState(ctx context.Context, rq request, in *QueryUserOnlineState) (*QueryUserOnlineStateAnswer, error) {
	ids := userIDs(in.UserIDs)
	switch {
	case len(ids) == 0:
		return nil, faultf(CodeParameter, "UserId[] is missing: name at least one user, as in UserId[]=a&UserId[]=b")
	case len(ids) > maxUsers:
		return nil, faultf(CodeTooManyUsers, "UserId[] names %d users, the limit is %d", len(ids), maxUsers)
	}
	sessions, err := s.sessions(ctx, rq.app.ID, ids)
	if err != nil {
		return nil, err
	}
	online, err := s.Engine.Online(ctx, rq.app.ID, ids)
	if err != nil {
		return nil, err
	}
	out := &QueryUserOnlineStateAnswer{Result: []UserState{}, ErrorList: []ErrorUser{}}
	for _, id := range ids {
		switch {
		case online[id]:
			out.Result = append(out.Result, UserState{string(id), "Online"})
		case sessions[id] > 0:
			out.Result = append(out.Result, UserState{string(id), "Offline"})
		default:
			out.ErrorList = append(out.ErrorList, ErrorUser{string(id), CodeNoSuchUser})
		}
	}
	return out, nil
}

// sessions counts the sessions of users, offline ones included.
func (s *Server) sessions(ctx context.Context, app uint32, ids []call.UserID) (map[call.UserID]int, error) {
	var ask []call.UserID
	for _, id := range ids {
		if id.Valid() { // there are no others
			ask = append(ask, id)
		}
	}
	if len(ask) == 0 {
		return nil, nil
	}
	known, err := s.Store.Users(ctx, app, ask)
	if err != nil {
		return nil, fmt.Errorf("reading users: %w", err)
	}
	counts := make(map[call.UserID]int, len(known))
	for _, u := range known {
		counts[u.ID] = u.Sessions
	}
	return counts, nil
}
