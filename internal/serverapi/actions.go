package serverapi

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
)

const (
	actionRegister = "UserRegister"
	actionEvents   = "Events" // how the feed is called in limits and metrics
)

// action is how an action is carried out and described.
type action struct {
	method  string
	summary string
	newIn   func() any // makes the struct of its parameters
	newOut  func() answer
	run     func(s *Server, ctx context.Context, rq request, in any) (answer, error)
}

// actions are all there are, by name.
var actions = map[string]action{
	"CallInvite":           act(http.MethodPost, "Make a call invitation in general mode", (*Server).callInvite),
	"CallAccept":           act(http.MethodGet, "Accept an invitation for a user", (*Server).callAccept),
	"CallReject":           act(http.MethodGet, "Reject an invitation for a user", (*Server).callReject),
	"CallCancel":           act(http.MethodPost, "Take back invitations for their caller", (*Server).callCancel),
	"CallEnd":              act(http.MethodPost, "End an advanced-mode call for one of its users", (*Server).callEnd),
	"QueryCall":            act(http.MethodGet, "Read a call", (*Server).queryCall),
	"QueryCallList":        act(http.MethodGet, "List the calls of a user, the newest first", (*Server).queryCallList),
	actionRegister:         act(http.MethodPost, "Register users before they have logged in", (*Server).userRegister),
	"QueryUserOnlineState": act(http.MethodGet, "Ask whether users are online", (*Server).queryUserOnlineState),
}

// act makes an action from the method that carries it out, which gives an
// answer, or an error, or with an error an answer that says more.
func act[In, Out any, P interface {
	*Out
	answer
}](method, summary string, run func(*Server, context.Context, request, *In) (P, error),
) action {
	return action{
		method: method, summary: summary,
		newIn:  func() any { return new(In) },
		newOut: func() answer { return P(new(Out)) },
		run: func(s *Server, ctx context.Context, rq request, in any) (answer, error) {
			out, err := run(s, ctx, rq, in.(*In))
			if out == nil {
				return nil, err
			}
			return out, err
		},
	}
}

// actionNames lists the names of all actions.
var actionNames = sync.OnceValue(func() []string { return slices.Sorted(maps.Keys(actions)) })
