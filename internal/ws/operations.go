package ws

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/engine"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/trace"
	"github.com/ringback/ringback/protocol"
)

const (
	maxUserName  = 256 // bytes
	fullLogPause = 10  // seconds between two lines that say that the store is full
)

// operation is how an op is carried out. run queues the reply itself unless it
// gives an error.
type operation struct {
	needsLogin bool
	run        func(*client, protocol.Request) error
}

var operations = map[string]operation{
	protocol.OpLogin:      {false, (*client).login},
	protocol.OpPing:       {true, (*client).ping},
	protocol.OpLogout:     {true, (*client).logout},
	protocol.OpRenewToken: {true, (*client).renewToken},

	protocol.OpCallSync:       {true, (*client).callSync},
	protocol.OpCallInvite:     {true, (*client).callInvite},
	protocol.OpCallInviteMore: {true, (*client).callInviteMore},
	protocol.OpCallCancel:     {true, (*client).callCancel},
	protocol.OpCallAccept:     {true, (*client).callAccept},
	protocol.OpCallReject:     {true, (*client).callReject},
	protocol.OpCallReceived:   {true, (*client).callReceived},
	protocol.OpCallJoin:       {true, (*client).callJoin},
	protocol.OpCallQuit:       {true, (*client).callQuit},
	protocol.OpCallEnd:        {true, (*client).callEnd},
	protocol.OpCallQuery:      {true, (*client).callQuery},
}

func (s *Server) now() call.Instant { return call.At(s.Clock.Now()) }

func (cl *client) actor() call.Actor { return call.Actor{User: cl.key.user, Session: cl.session} }

func (cl *client) ping(req protocol.Request) error {
	if err := decode(req, &struct{}{}); err != nil {
		return err
	}
	cl.reply(req.ID, protocol.PingReply{ServerTimeMS: int64(cl.server.now())}, nil)
	return nil
}

func (cl *client) login(req protocol.Request) error {
	if cl.in {
		return protocol.Errorf(protocol.CodeAlreadyLoggedIn, "already logged in on this connection")
	}
	var in protocol.Login
	if err := decode(req, &in); err != nil {
		return err
	}
	if err := checkLogin(in); err != nil {
		return err
	}
	cl.key = userKey{in.AppID, call.UserID(in.UserID)}
	expires, err := cl.verify(in.Token)
	if err != nil {
		return cl.tokenError(err, protocol.CodeTokenInvalid)
	}
	if in.Platform == "" {
		in.Platform = "WEB"
	}
	id, resumed, err := cl.server.engine.Login(cl.server.ctx, engine.Login{
		App: in.AppID, User: cl.key.user, Name: in.UserName, Platform: in.Platform,
		Resume: call.SessionID(in.SessionID), Device: cl,
	})
	if err != nil {
		return err
	}
	cl.in = true
	defer cl.release()
	snapshot, err := cl.snapshot(in.KnownCalls)
	if err != nil {
		cl.conn.close(protocol.CloseGoingAway, "the calls could not be read: reconnect")
		return err
	}
	cl.reply(req.ID, protocol.LoginReply{
		SessionID: string(id), Resumed: resumed, ServerTimeMS: int64(cl.server.now()),
		HeartbeatIntervalMS: cl.server.HeartbeatInterval.Milliseconds(), Snapshot: snapshot,
	}, nil)
	cl.authenticated(expires)
	return nil
}

func checkLogin(in protocol.Login) error {
	switch {
	case !call.UserID(in.UserID).Valid():
		return protocol.Errorf(protocol.CodeInvalidParameter,
			"user_id must be 1 to %d bytes of ASCII letters, digits, space and !#$%%&()+-:;<=.>?@[]^_{}|~", call.MaxUserID)
	case len(in.UserName) > maxUserName || !utf8.ValidString(in.UserName):
		return protocol.Errorf(protocol.CodeInvalidParameter, "user_name has %d bytes, the limit is %d", len(in.UserName), maxUserName)
	case in.Platform != "" && !slices.Contains(protocol.Platforms, in.Platform):
		return protocol.Errorf(protocol.CodeInvalidParameter, "platform %.20q is none of %v", in.Platform, protocol.Platforms)
	}
	return nil
}

// verify checks a token of the client's user with the secrets of his app.
func (cl *client) verify(token string) (expires time.Time, err error) {
	app, ok := cl.server.App(cl.key.app)
	if !ok || len(app.Secrets) == 0 {
		return time.Time{}, protocol.Errorf(protocol.CodeTokenInvalid, "no app %d on this server", cl.key.app)
	}
	for _, secret := range app.Secrets {
		expires, err = cl.server.Verify(token, cl.key.app, string(cl.key.user), secret, cl.server.Clock.Now())
		if err == nil {
			return expires, nil
		}
		if code := cl.server.Refusal(err); code != 0 && code != protocol.CodeTokenInvalid {
			return time.Time{}, err // it was made with this secret
		}
	}
	return expires, err
}

func (cl *client) invitedOnly() bool {
	app, _ := cl.server.App(cl.key.app)
	return app.InvitedOnly
}

func (cl *client) tokenError(err error, invalid protocol.Code) error {
	var wire *protocol.Error
	if errors.As(err, &wire) {
		return err
	}
	code := cl.server.Refusal(err)
	if code == 0 || code == protocol.CodeTokenInvalid {
		code = invalid
	}
	return &protocol.Error{Code: code, Message: err.Error()}
}

func (cl *client) logout(req protocol.Request) error {
	if err := decode(req, &struct{}{}); err != nil {
		return err
	}
	if err := cl.server.engine.Logout(cl.server.ctx, cl.key.app, cl.key.user, cl.session); err != nil {
		return err
	}
	cl.reply(req.ID, struct{}{}, nil)
	cl.conn.close(protocol.CloseLogout, "logged out")
	return nil
}

func (cl *client) renewToken(req protocol.Request) error {
	var in protocol.RenewToken
	if err := decode(req, &in); err != nil {
		return err
	}
	expires, err := cl.verify(in.Token)
	if err != nil {
		return cl.tokenError(err, protocol.CodeRenewedTokenInvalid)
	}
	cl.reply(req.ID, struct{}{}, nil)
	cl.authenticated(expires)
	return nil
}

func callID(text string) (call.ID, error) {
	id, err := call.ParseID(text)
	if err != nil {
		return 0, protocol.Errorf(protocol.CodeInvalidParameter, "call_id %.30q: %v", text, err)
	}
	return id, nil
}

// snapshot reads the user's calls while events are held. A known call whose ID
// is none is as unknown as one that never was: what a device has kept must not
// lock it out.
func (cl *client) snapshot(shown []string) (protocol.Snapshot, error) {
	var known []call.ID
	var strange []protocol.EndedCall
	for _, text := range shown {
		if id, err := call.ParseID(text); err == nil {
			known = append(known, id)
		} else {
			strange = append(strange, protocol.EndedCall{CallID: text, Reason: protocol.ReasonUnknown})
		}
	}
	snap, err := cl.server.engine.Snapshot(cl.server.ctx, cl.key.app, cl.actor(), known, cl.seen)
	if err != nil {
		return protocol.Snapshot{}, err
	}
	out := protocol.Snapshot{Calls: make([]protocol.Call, 0, len(snap.Live)), Ended: make([]protocol.EndedCall, 0, len(snap.Over))}
	for _, c := range snap.Live {
		out.Calls = append(out.Calls, viewCall(c, cl.key.user, cl.server.now()))
		cl.trace(c.ID, trace.Entry{Kind: trace.CaughtUp, Version: c.Version})
	}
	for _, end := range snap.Over {
		over := protocol.EndedCall{CallID: end.ID.String(), State: int(end.State), Reason: string(end.Reason)}
		if end.Call != nil {
			over.Version = end.Call.Version
		}
		out.Ended = append(out.Ended, over)
	}
	out.Ended = append(out.Ended, strange...)
	return out, nil
}

func (cl *client) callSync(req protocol.Request) error {
	var in protocol.Sync
	if err := decode(req, &in); err != nil {
		return err
	}
	cl.hold()
	defer cl.release()
	snapshot, err := cl.snapshot(in.KnownCalls)
	if err != nil {
		return err
	}
	cl.reply(req.ID, snapshot, nil)
	return nil
}

func (cl *client) callInvite(req protocol.Request) error {
	var in protocol.Invite
	if err := decode(req, &in); err != nil {
		return err
	}
	timeout := call.DefaultTimeout
	if in.Timeout != nil {
		timeout = *in.Timeout
	}
	if len(in.RequestID) > protocol.MaxRequestID {
		return protocol.Errorf(protocol.CodeInvalidParameter, "request_id has %d bytes, the limit is %d", len(in.RequestID), protocol.MaxRequestID)
	}
	push, err := checkPush(in.Push)
	if err != nil {
		return err
	}
	invitation := engine.Invitation{
		Invitees: userIDs(in.UserIDs), Timeout: timeout, Mode: call.Mode(in.Mode), ExtendedData: in.ExtendedData,
		NotReceivedCheck: in.NotReceivedCheck, Push: push, RequestID: in.RequestID,
	}
	return cl.server.engine.Invite(cl.server.ctx, cl.key.app, cl.actor(), invitation, func(r call.Result) {
		cl.reply(req.ID, protocol.InviteReply{
			CallID: r.Call.ID.String(), Version: r.Call.Version, Timeout: r.Call.Timeout,
			CreateTimeMS: int64(r.Call.CreatedAt), ErrorUsers: viewErrors(r.Errors),
		}, nil)
	})
}

func (cl *client) callInviteMore(req protocol.Request) error {
	var in protocol.InviteMore
	if err := decode(req, &in); err != nil {
		return err
	}
	id, push, err := target(in.CallID, in.Push)
	if err != nil {
		return err
	}
	cmd := call.Invite{Actor: cl.actor(), Invitees: userIDs(in.UserIDs), Push: push}
	return cl.server.engine.InviteMore(cl.server.ctx, cl.key.app, id, cmd, cl.ackUsers(req.ID))
}

func (cl *client) callCancel(req protocol.Request) error {
	var in protocol.Cancel
	if err := decode(req, &in); err != nil {
		return err
	}
	id, push, err := target(in.CallID, in.Push)
	if err != nil {
		return err
	}
	return cl.do(id, call.Cancel{Actor: cl.actor(), Names: userIDs(in.UserIDs), ExtendedData: in.ExtendedData, Push: push},
		cl.ackUsers(req.ID))
}

func (cl *client) callAccept(req protocol.Request) error {
	return cl.act(req, func(in protocol.CallAction, _ []byte) call.Command {
		return call.Accept{Actor: cl.actor(), ExtendedData: in.ExtendedData}
	}, cl.ackVersion(req.ID))
}

func (cl *client) callReject(req protocol.Request) error {
	return cl.act(req, func(in protocol.CallAction, _ []byte) call.Command {
		return call.Reject{Actor: cl.actor(), ExtendedData: in.ExtendedData}
	}, cl.ackVersion(req.ID))
}

func (cl *client) callReceived(req protocol.Request) error {
	ack := cl.ackVersion(req.ID)
	return cl.act(req, func(protocol.CallAction, []byte) call.Command {
		return call.Receive{Actor: cl.actor()}
	}, func(r call.Result) {
		cl.trace(r.Call.ID, trace.Entry{Kind: trace.Confirmed, Version: r.Call.Version})
		ack(r)
	})
}

func (cl *client) callJoin(req protocol.Request) error {
	return cl.act(req, func(in protocol.CallAction, _ []byte) call.Command {
		return call.Join{Actor: cl.actor(), ExtendedData: in.ExtendedData, InvitedOnly: cl.invitedOnly()}
	}, func(r call.Result) {
		at := cl.server.now()
		reply := protocol.JoinReply{Call: viewCall(r.Call, cl.key.user, at), JoinTimeMS: int64(at)}
		cl.reply(req.ID, reply, nil)
	})
}

func (cl *client) callQuit(req protocol.Request) error {
	return cl.act(req, func(in protocol.CallAction, push []byte) call.Command {
		return call.Leave{Actor: cl.actor(), ExtendedData: in.ExtendedData, Push: push}
	}, func(r call.Result) {
		reply := cl.leaveReply(r)
		reply.QuitTimeMS = int64(r.Call.User(cl.key.user).QuitAt)
		cl.reply(req.ID, reply, nil)
	})
}

func (cl *client) callEnd(req protocol.Request) error {
	return cl.act(req, func(in protocol.CallAction, push []byte) call.Command {
		return call.End{Actor: cl.actor(), ExtendedData: in.ExtendedData, Push: push}
	}, func(r call.Result) {
		reply := cl.leaveReply(r)
		reply.EndTimeMS = int64(r.Call.EndedAt)
		cl.reply(req.ID, reply, nil)
	})
}

func (cl *client) leaveReply(r call.Result) protocol.LeaveReply {
	return protocol.LeaveReply{
		CallID: r.Call.ID.String(), Version: r.Call.Version, CreateTimeMS: int64(r.Call.CreatedAt),
		AcceptTimeMS: int64(r.Call.User(cl.key.user).AcceptedAt),
	}
}

// callQuery gives a page of the user's history: as many calls as were asked
// for, or as fit into a frame.
func (cl *client) callQuery(req protocol.Request) error {
	var in protocol.Query
	if err := decode(req, &in); err != nil {
		return err
	}
	if in.Count < 0 || in.NextFlag < 0 || in.NextFlag >= 1<<53 {
		return protocol.Errorf(protocol.CodeInvalidParameter, "count and next_flag must not be negative, next_flag is below 2^53")
	}
	if in.Count == 0 || in.Count > protocol.MaxQueryCount {
		in.Count = protocol.MaxQueryCount
	}
	cl.hold()
	defer cl.release()
	for count := in.Count; ; {
		calls, next, err := cl.server.engine.History(cl.server.ctx, cl.key.app, cl.key.user, in.NextFlag, count)
		if err != nil {
			return err
		}
		reply, fits := cl.page(calls)
		if fits == len(calls) || fits == 0 && count == 1 {
			reply.NextFlag = next
			cl.reply(req.ID, reply, nil)
			return nil
		}
		count = max(1, fits)
	}
}

// page makes the page, and says how many of the calls fit into one frame.
func (cl *client) page(calls []*call.Call) (protocol.QueryReply, int) {
	const envelope = 256 // bytes around the calls, generously
	reply := protocol.QueryReply{Calls: make([]protocol.Call, 0, len(calls))}
	size, fits := envelope, 0
	for _, c := range calls {
		view := viewCall(c, cl.key.user, cl.server.now())
		reply.Calls = append(reply.Calls, view)
		if size += len(mustJSON(view)) + 1; size <= protocol.MaxFrame {
			fits++
		}
	}
	return reply, fits
}

// act decodes the request of an operation on one call and has it carried out.
func (cl *client) act(req protocol.Request, command func(protocol.CallAction, []byte) call.Command, ack func(call.Result)) error {
	var in protocol.CallAction
	if err := decode(req, &in); err != nil {
		return err
	}
	id, push, err := target(in.CallID, in.Push)
	if err != nil {
		return err
	}
	return cl.do(id, command(in, push), ack)
}

func (cl *client) do(id call.ID, cmd call.Command, ack func(call.Result)) error {
	return cl.refusal(id, cmd, cl.server.engine.Do(cl.server.ctx, cl.key.app, id, cmd, ack))
}

// refusal passes an error on, and traces it if the call's rules refused the
// command: who asks why a device did not ring looks for that, too.
func (cl *client) refusal(id call.ID, cmd call.Command, err error) error {
	var refused *call.RefusedError
	if errors.As(err, &refused) && !refused.NoCall && refused.Code != call.NotInCall {
		name := strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", cmd), "call."))
		cl.trace(id, trace.Entry{Kind: trace.Refused, Event: name, Code: int(refused.Code)})
	}
	return err
}

// trace notes something between this device and the server.
func (cl *client) trace(id call.ID, e trace.Entry) {
	e.At, e.User, e.Session = cl.server.now(), cl.key.user, cl.session
	cl.server.Trace(id, e)
}

func (cl *client) ackVersion(id int64) func(call.Result) {
	return func(r call.Result) {
		cl.reply(id, protocol.CallReply{CallID: r.Call.ID.String(), Version: r.Call.Version}, nil)
	}
}

func (cl *client) ackUsers(id int64) func(call.Result) {
	return func(r call.Result) {
		cl.reply(id, protocol.UsersReply{
			CallID: r.Call.ID.String(), Version: r.Call.Version, ErrorUsers: viewErrors(r.Errors),
		}, nil)
	}
}

// target checks what requests about a call have in common.
func target(id string, push json.RawMessage) (call.ID, []byte, error) {
	parsed, err := callID(id)
	if err != nil {
		return 0, nil, err
	}
	object, err := checkPush(push)
	return parsed, object, err
}

func checkPush(push json.RawMessage) ([]byte, error) {
	switch {
	case len(push) == 0 || string(push) == "null":
		return nil, nil
	case push[0] != '{':
		return nil, protocol.Errorf(protocol.CodeInvalidParameter, "push must be an object")
	case len(push) > protocol.MaxPush:
		return nil, protocol.Errorf(protocol.CodeInvalidParameter, "push has %d bytes, the limit is %d", len(push), protocol.MaxPush)
	}
	return push, nil
}

func userIDs(texts []string) []call.UserID {
	ids := make([]call.UserID, len(texts))
	for i, text := range texts {
		ids[i] = call.UserID(text)
	}
	return ids
}

// decode reads the body of a request; a missing one counts as {}.
func decode(req protocol.Request, into any) error {
	if len(req.Body) == 0 || string(req.Body) == "null" {
		return nil
	}
	err := json.Unmarshal(req.Body, into)
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return protocol.Errorf(protocol.CodeInvalidParameter, "body.%s must be of type %s, not %s", wrongType.Field, typeName(wrongType), wrongType.Value)
	case errors.As(err, &wrongType):
		return protocol.Errorf(protocol.CodeInvalidParameter, "body must be an object, not %s", wrongType.Value)
	}
	return protocol.Errorf(protocol.CodeInvalidParameter, "body of %s: %v", req.Op, err)
}

// typeName names a Go type as JSON does.
func typeName(err *json.UnmarshalTypeError) string {
	switch err.Type.Kind().String() {
	case "string", "bool":
		return err.Type.Kind().String()
	case "slice":
		return "list"
	case "struct", "map":
		return "object"
	}
	return "integer"
}

// wireError maps an error to what the device is told. Refusals are the
// device's business; everything else is the operator's, so it is logged here
// and nowhere before.
func (s *Server) wireError(err error, op string, cl *client) *protocol.Error {
	var wire *protocol.Error
	var refused *call.RefusedError
	switch {
	case errors.As(err, &wire):
		return wire
	case errors.As(err, &refused):
		return &protocol.Error{Code: protocol.Code(refused.Code), Message: refused.Message}
	case errors.Is(err, store.ErrFull):
		s.logFull(err)
		return protocol.Errorf(protocol.CodeStorageError, "the server has too little room left for this: its operator must free some")
	}
	s.Logger.Error("a request failed", "op", op, "app_id", cl.key.app, "user_id", string(cl.key.user),
		"session_id", string(cl.session), "error", err)
	return protocol.Errorf(protocol.CodeServerError, "the server could not carry out %s: try again", op)
}

// logFull says once in a while that the store is full: a line for each refusal
// would fill what is left.
func (s *Server) logFull(err error) {
	now := time.Now().Unix()
	if last := s.fullLogged.Load(); now-last >= fullLogPause && s.fullLogged.CompareAndSwap(last, now) {
		s.Logger.Error("requests are refused for lack of space", "error", err)
	}
}
