package load

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ringback/ringback/e2e/history"
	"github.com/ringback/ringback/protocol"
)

// serverAPI is the customer's backend. What it asks for is recorded in the
// form of the client protocol, as done by a device of its own.
type serverAPI struct{ run *run }

// apiDevice is the name under which the server API is recorded.
const apiDevice = "api"

// answer is what every action answers, and CallInvite.
type answer struct {
	Code       int    `json:"Code"`
	Message    string `json:"Message"`
	CallID     string `json:"CallId"`
	CreateTime int64  `json:"CreateTime"`
	ErrorUsers []struct {
		UserID  string `json:"UserId"`
		SubCode int    `json:"SubCode"`
	} `json:"ErrorUsers"`
}

// actions are those of the operations of the client protocol.
var actions = map[string]struct{ name, method string }{
	protocol.OpCallInvite: {"CallInvite", http.MethodPost},
	protocol.OpCallAccept: {"CallAccept", http.MethodGet},
	protocol.OpCallReject: {"CallReject", http.MethodGet},
	protocol.OpCallCancel: {"CallCancel", http.MethodPost},
	protocol.OpCallEnd:    {"CallEnd", http.MethodPost},
}

// invite makes a call and gives its ID, "" when none is known to be made.
func (a *serverAPI) invite(ctx context.Context, caller string, users []string, timeout int, extended string) string {
	var out answer
	err := a.record(ctx, protocol.OpCallInvite, caller, protocol.Invite{UserIDs: users, Timeout: &timeout, ExtendedData: extended},
		map[string]any{"FromUserId": caller, "UserIds": users, "Timeout": timeout, "ExtendedData": extended}, &out)
	if err != nil {
		return ""
	}
	return out.CallID
}

// act answers, cancels or ends a call for a user.
func (a *serverAPI) act(ctx context.Context, op, user, call string) error {
	return a.record(ctx, op, user, protocol.CallAction{CallID: call}, map[string]any{"FromUserId": user, "CallId": call}, new(answer))
}

func (a *serverAPI) record(ctx context.Context, op, user string, in any, params map[string]any, out *answer) error {
	node := a.run.node()
	rec := history.Record{Via: history.API, Device: apiDevice, User: user, Node: node, Name: op, ID: a.run.number.Add(1)}
	rec.Kind, rec.Body = history.Sent, bodyOf(in)
	a.run.log.Add(rec)
	err := a.do(ctx, node, op, params, out)
	rec.Kind, rec.Body = history.Reply, nil
	switch {
	case err != nil:
		rec.Error = err.Error()
	case out.Code != 0:
		rec.Code = out.Code
		err = fmt.Errorf("%s (%d)", out.Message, out.Code)
	default:
		reply := protocol.InviteReply{CallID: out.CallID, CreateTimeMS: out.CreateTime}
		if action, ok := in.(protocol.CallAction); ok {
			reply.CallID = action.CallID
		}
		for _, e := range out.ErrorUsers {
			reply.ErrorUsers = append(reply.ErrorUsers, protocol.ErrorUser{UserID: e.UserID, Code: protocol.Code(e.SubCode)})
		}
		rec.Body = bodyOf(reply)
	}
	a.run.log.Add(rec)
	return err
}

// do makes a signed request.
func (a *serverAPI) do(ctx context.Context, node, op string, params map[string]any, out *answer) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	action := actions[op]
	appID, nonce, now := strconv.FormatUint(uint64(a.run.cfg.AppID), 10), rand.Text(), strconv.FormatInt(time.Now().Unix(), 10)
	sum := md5.Sum([]byte(appID + nonce + a.run.cfg.Secret + now))
	query := url.Values{
		"Action": {action.name}, "AppId": {appID}, "SignatureNonce": {nonce}, "Timestamp": {now},
		"SignatureVersion": {"2.0"}, "Signature": {hex.EncodeToString(sum[:])},
	}
	var body io.Reader
	if action.method == http.MethodGet {
		for name, v := range params {
			query.Set(name, fmt.Sprint(v))
		}
	} else {
		body = bytes.NewReader(mustBody(params))
	}
	req, err := http.NewRequestWithContext(ctx, action.method, node+"/?"+query.Encode(), body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server API answered %s", resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}
