package client_test

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/ringback/ringback/protocol"
)

// newServer starts a server that knows just enough for the examples.
func newServer() *httptest.Server {
	s := &server{users: make(map[string]net.Conn)}
	return httptest.NewServer(s)
}

type server struct {
	mu    sync.Mutex
	users map[string]net.Conn
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	up := ws.HTTPUpgrader{Protocol: func(p string) bool { return p == protocol.Subprotocol }}
	conn, _, _, err := up.Upgrade(r, w)
	if err != nil {
		return
	}
	go func() {
		defer conn.Close()
		var user string
		for {
			data, _, err := wsutil.ReadClientData(conn)
			if err != nil {
				return
			}
			var req protocol.Request
			if err := json.Unmarshal(data, &req); err != nil {
				return
			}
			s.mu.Lock()
			user = s.handle(user, conn, req)
			s.mu.Unlock()
		}
	}()
}

func (s *server) handle(user string, conn net.Conn, req protocol.Request) string {
	const alice, callID = "alice", "7512345678901234567"
	switch req.Op {
	case protocol.OpLogin:
		var l protocol.Login
		if err := json.Unmarshal(req.Body, &l); err != nil {
			return user
		}
		user = l.UserID
		s.users[user] = conn
		send(conn, map[string]any{"id": req.ID, "body": protocol.LoginReply{SessionID: "s", HeartbeatIntervalMS: 10_000}})
	case protocol.OpCallInvite:
		var inv protocol.Invite
		if err := json.Unmarshal(req.Body, &inv); err != nil {
			return user
		}
		callee := s.users[inv.UserIDs[0]]
		if callee == nil {
			send(conn, protocol.Frame{ID: req.ID, Error: protocol.Errorf(protocol.CodeNotRegistered, "not registered")})
			return user
		}
		call := protocol.Call{CallID: callID, Version: 1, Caller: user, Inviter: user, ExtendedData: inv.ExtendedData}
		send(conn, map[string]any{"id": req.ID, "body": protocol.InviteReply{CallID: callID, Version: 1}})
		send(conn, map[string]any{"event": protocol.EventCallCreated, "body": call})
		send(callee, map[string]any{"event": protocol.EventCallInvited, "body": call})
	case protocol.OpCallAccept:
		send(conn, map[string]any{"id": req.ID, "body": protocol.CallReply{CallID: callID, Version: 2}})
		send(s.users[alice], map[string]any{"event": protocol.EventCallUsersChanged, "body": protocol.UsersChanged{
			CallID: callID, Version: 2, Users: []protocol.CallUser{{UserID: user, State: 1}},
		}})
	}
	return user
}

func send(conn net.Conn, v any) {
	b, err := json.Marshal(v)
	if err == nil {
		wsutil.WriteServerText(conn, b)
	}
}

// table is a program's table of calls.
type table struct {
	sync.Mutex
	topics  map[string]string
	created chan struct{}
}

func newTable() *table {
	return &table{topics: make(map[string]string), created: make(chan struct{})}
}
