package adminapi

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/registry"
	"github.com/ringback/ringback/internal/store"
)

// kickReason is what a kicked device is told.
const kickReason = "an administrator has ended this session"

// UserInput names a user.
type UserInput struct {
	App  uint32 `path:"app"`
	User string `path:"user" doc:"Its ID, URL-encoded"`
}

func (a *API) registerUsers() {
	tags := []string{"Users"}
	huma.Register(a.huma, huma.Operation{
		OperationID: "list-users", Method: http.MethodGet, Path: Path + "/apps/{app}/users", Summary: "List the users of an app by ID", Tags: tags,
		Errors: []int{http.StatusBadRequest, http.StatusNotFound},
	}, func(ctx context.Context, in *struct {
		AppInput
		Prefix string `query:"prefix" doc:"Of their IDs"`
		PageInput
	},
	) (*output[Page[User]], error) {
		if _, ok := a.Registry.App(in.App); !ok {
			return nil, a.fail(registry.ErrNotFound, "app")
		}
		after, err := decodeCursor[call.UserID]("users", in.Cursor)
		if err != nil {
			return nil, err
		}
		users, err := a.Store.ListUsers(ctx, in.App, in.Prefix, after, in.Limit)
		if err != nil {
			return nil, a.fail(err, "user")
		}
		ids := make([]call.UserID, len(users))
		for i := range users {
			ids[i] = users[i].ID
		}
		online, err := a.Engine.Online(ctx, in.App, ids)
		if err != nil {
			return nil, a.fail(err, "user")
		}
		out := Page[User]{Items: make([]User, 0, len(users))}
		for _, u := range users {
			out.Items = append(out.Items, viewUser(u, online[u.ID]))
		}
		if len(users) == in.Limit {
			out.Next = encodeCursor("users", users[in.Limit-1].ID)
		}
		return &output[Page[User]]{out}, nil
	})

	huma.Register(a.huma, huma.Operation{
		OperationID: "get-user", Method: http.MethodGet, Path: Path + "/apps/{app}/users/{user}", Summary: "Show a user and his sessions", Tags: tags,
		Errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *UserInput) (*output[UserDetail], error) {
		id := call.UserID(in.User)
		users, err := a.Store.Users(ctx, in.App, []call.UserID{id})
		if err == nil && len(users) == 0 {
			err = store.ErrNotFound
		}
		if err != nil {
			return nil, a.fail(err, "user")
		}
		sessions, _, err := a.Store.SessionsOf(ctx, in.App, id)
		if err != nil {
			return nil, a.fail(err, "user")
		}
		connected, err := a.Engine.Connected(ctx, in.App, id)
		if err != nil {
			return nil, a.fail(err, "user")
		}
		out := UserDetail{User: viewUser(users[0], len(connected) > 0), SessionList: []Session{}}
		for _, s := range sessions {
			out.SessionList = append(out.SessionList, Session{
				SessionID: string(s.ID), Platform: s.Platform, LoginAtMS: int64(s.LoginAt), OfflineAtMS: int64(s.OfflineAt),
				Connected: slices.Contains(connected, s.ID),
			})
		}
		return &output[UserDetail]{out}, nil
	})

	huma.Register(a.huma, huma.Operation{
		OperationID: "kick-session", Method: http.MethodDelete, Path: Path + "/apps/{app}/users/{user}/sessions/{session}",
		Summary: "End a session", Description: "Its device is told and disconnected, with code 4001; the user counts as logged out there.",
		Tags: tags, Errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *struct {
		UserInput
		Session string `path:"session"`
	},
	) (*struct{}, error) {
		sessions, _, err := a.Store.SessionsOf(ctx, in.App, call.UserID(in.User))
		if err != nil {
			return nil, a.fail(err, "session")
		}
		if !slices.ContainsFunc(sessions, func(s store.Session) bool { return string(s.ID) == in.Session }) {
			return nil, a.fail(store.ErrNotFound, "session")
		}
		audit := by(ctx).Audit("session.kick", userTarget(in.App, in.User), map[string]string{"session": in.Session})
		if err := a.Store.AddAudit(ctx, audit); err != nil {
			return nil, a.fail(err, "session")
		}
		there, err := a.Engine.Kick(ctx, in.App, call.UserID(in.User), call.SessionID(in.Session), kickReason)
		if err == nil && !there {
			err = store.ErrNotFound
		}
		return nil, a.fail(err, "session")
	})

	huma.Register(a.huma, huma.Operation{
		OperationID: "kick-user", Method: http.MethodDelete, Path: Path + "/apps/{app}/users/{user}/sessions",
		Summary: "End all sessions of a user", Tags: tags,
	}, func(ctx context.Context, in *UserInput) (*output[struct {
		Ended int `json:"ended"`
	}], error,
	) {
		sessions, _, err := a.Store.SessionsOf(ctx, in.App, call.UserID(in.User))
		if err != nil {
			return nil, a.fail(err, "user")
		}
		if len(sessions) > 0 {
			if err := a.Store.AddAudit(ctx, by(ctx).Audit("user.kick", userTarget(in.App, in.User), struct{}{})); err != nil {
				return nil, a.fail(err, "user")
			}
		}
		out := new(output[struct {
			Ended int `json:"ended"`
		}])
		for _, s := range sessions {
			there, err := a.Engine.Kick(ctx, in.App, s.User, s.ID, kickReason)
			if err != nil {
				return nil, a.fail(err, "session")
			}
			if there {
				out.Body.Ended++
			}
		}
		return out, nil
	})
}

func userTarget(app uint32, user string) string {
	return "user " + user + " of app " + call.ID(app).String()
}

func viewUser(u store.UserRecord, online bool) User {
	return User{UserID: string(u.ID), Name: u.Name, Avatar: u.Avatar, Presence: presence(u, online), Sessions: u.Sessions}
}

// presence names the state of a user as the contract does.
func presence(u store.UserRecord, online bool) string {
	switch {
	case online:
		return "online"
	case u.Sessions > 0:
		return "offline"
	case u.LoggedIn:
		return "logged_out"
	}
	return "registered"
}
