package ws_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	gws "github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/engine"
	"github.com/ringback/ringback/protocol"
)

func decodeBody[T any](t *testing.T, f protocol.Frame) T {
	t.Helper()
	var v T
	if f.Error != nil {
		t.Fatal(f.Error)
	}
	if err := json.Unmarshal(f.Body, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestLoginRefused(t *testing.T) {
	s := newSite(t, settings{})
	good := token(t, "alice", time.Hour)
	tests := []struct {
		name string
		in   any
		code protocol.Code
	}{
		{"unknown app", protocol.Login{AppID: 9, UserID: "alice", Token: good}, protocol.CodeTokenInvalid},
		{"another user's token", protocol.Login{AppID: appID, UserID: "bob", Token: good}, protocol.CodeTokenInvalid},
		{"no token", protocol.Login{AppID: appID, UserID: "alice"}, protocol.CodeTokenInvalid},
		{"bad user ID", protocol.Login{AppID: appID, UserID: "a/b", Token: good}, protocol.CodeInvalidParameter},
		{"long user ID", protocol.Login{AppID: appID, UserID: strings.Repeat("a", 33), Token: good}, protocol.CodeInvalidParameter},
		{"long name", protocol.Login{AppID: appID, UserID: "alice", Token: good, UserName: strings.Repeat("n", 257)}, protocol.CodeInvalidParameter},
		{"bad platform", protocol.Login{AppID: appID, UserID: "alice", Token: good, Platform: "TOASTER"}, protocol.CodeInvalidParameter},
		{"bad known calls", map[string]any{"app_id": 1, "user_id": "alice", "token": good, "known_calls": []int{1}}, protocol.CodeInvalidParameter},
		{"wrong type", map[string]any{"app_id": "1"}, protocol.CodeInvalidParameter},
		{"app ID out of range", map[string]any{"app_id": -1}, protocol.CodeInvalidParameter},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := s.dial()
			d.refused(tt.code, protocol.OpLogin, tt.in)
			d.gone(protocol.CloseUnauthenticated)
		})
	}
}

func TestBeforeAndAfterLogin(t *testing.T) {
	s := newSite(t, settings{})
	d := s.dial()
	d.refused(protocol.CodeNotLoggedIn, protocol.OpCallInvite, protocol.Invite{UserIDs: []string{"bob"}})
	d.refused(protocol.CodeNotLoggedIn, protocol.OpLogout, struct{}{})
	d.refused(protocol.CodeInvalidParameter, "call.dance", struct{}{})
	d.refused(protocol.CodeNotLoggedIn, protocol.OpPing, struct{}{})
	in := protocol.Login{AppID: appID, UserID: "alice", Token: token(t, "alice", time.Hour)}
	if reply := d.login(in); reply.SessionID == "" || reply.Resumed || reply.HeartbeatIntervalMS != 10_000 || reply.Calls == nil || reply.Ended == nil {
		t.Errorf("login reply %+v", reply)
	}
	d.refused(protocol.CodeAlreadyLoggedIn, protocol.OpLogin, in)
	d.ok(protocol.OpLogout, struct{}{}, nil)
	d.gone(protocol.CloseLogout)
}

func TestLogoutCancels(t *testing.T) {
	s := newSite(t, settings{})
	alice, bob := s.login("alice"), s.login("bob")
	alice.invite(call.General, "bob")
	bob.event(protocol.EventCallInvited, nil)
	bob.changed()
	alice.ok(protocol.OpLogout, struct{}{}, nil)
	var cancelled protocol.Cancelled
	bob.event(protocol.EventCallCancelled, &cancelled)
	if cancelled.Reason != protocol.ReasonCallerLeft {
		t.Errorf("bob got %+v", cancelled)
	}
}

func TestKickedByNewLogin(t *testing.T) {
	s := newSite(t, settings{policy: engine.PolicySingle})
	old := s.login("alice")
	s.login("alice")
	var kicked protocol.Kicked
	old.event(protocol.EventSessionKicked, &kicked)
	if kicked.Reason == "" {
		t.Error("no reason was given")
	}
	old.gone(protocol.CloseKicked)
}

func TestResumedElsewhere(t *testing.T) {
	s := newSite(t, settings{})
	old := s.login("alice")
	d := s.dial()
	reply := d.login(protocol.Login{AppID: appID, UserID: "alice", Token: token(t, "alice", time.Hour), SessionID: old.session})
	if !reply.Resumed {
		t.Error("not resumed")
	}
	old.gone(protocol.CloseResumed)
	stranger := s.dial()
	reply = stranger.login(protocol.Login{AppID: appID, UserID: "mallory", Token: token(t, "mallory", time.Hour), SessionID: old.session})
	if reply.Resumed || reply.SessionID == old.session {
		t.Error("resumed another user's session")
	}
	d.quiet()
}

func TestTokenExpiry(t *testing.T) {
	s := newSite(t, settings{})
	d := s.dial()
	d.login(protocol.Login{AppID: appID, UserID: "alice", Token: token(t, "alice", 32*time.Second)})
	var soon protocol.TokenExpiring
	d.event(protocol.EventTokenExpiring, &soon)
	if soon.SecondsLeft < 28 || soon.SecondsLeft > 30 {
		t.Errorf("%d s are left", soon.SecondsLeft)
	}
	d.refused(protocol.CodeRenewedTokenInvalid, protocol.OpRenewToken, protocol.RenewToken{Token: "04x"})
	d.refused(protocol.CodeTokenExpired, protocol.OpRenewToken, protocol.RenewToken{Token: expired(t, "alice")})
	d.ok(protocol.OpRenewToken, protocol.RenewToken{Token: token(t, "alice", time.Hour)}, nil)
	d.quiet()
}

func TestNotARequest(t *testing.T) {
	s := newSite(t, settings{})
	frames := map[string]string{
		"not JSON":    `hello`,
		"an array":    `[1]`,
		"null":        `null`,
		"no id":       `{"op":"call.query"}`,
		"zero id":     `{"id":0,"op":"call.query"}`,
		"ping 0":      `{"id":0,"op":"ping"}`,
		"ping null":   `{"id":null,"op":"ping"}`,
		"negative id": `{"id":-1,"op":"call.query"}`,
		"text id":     `{"id":"1","op":"call.query"}`,
		"fraction":    `{"id":1.5,"op":"call.query"}`,
		"empty":       ``,
		"two":         `{"id":1,"op":"ping"}{"id":2,"op":"ping"}`,
	}
	for name, frame := range frames {
		t.Run(name, func(t *testing.T) {
			d := s.login("alice")
			d.send(frame)
			d.gone(protocol.CloseProtocol)
		})
	}
	t.Run("binary", func(t *testing.T) {
		d := s.login("alice")
		if err := wsutil.WriteClientBinary(d.conn, []byte(`{"id":1,"op":"ping"}`)); err != nil {
			t.Fatal(err)
		}
		d.gone(protocol.CloseProtocol)
	})
	t.Run("too large", func(t *testing.T) {
		d := s.login("alice")
		d.send(`{"id":1,"op":"ping","body":"` + strings.Repeat("x", protocol.MaxFrame) + `"}`)
		d.gone(protocol.CloseTooBig)
	})
	t.Run("large enough", func(t *testing.T) {
		d := s.login("alice")
		head, tail := `{"id":1,"op":"ping","more":"`, `"}`
		d.send(head + strings.Repeat("x", protocol.MaxFrame-len(head)-len(tail)) + tail)
		d.reply(1)
	})
	t.Run("not masked", func(t *testing.T) {
		d := s.login("alice")
		if err := gws.WriteFrame(d.conn, gws.NewTextFrame([]byte(`{"id":1,"op":"ping"}`))); err != nil {
			t.Fatal(err)
		}
		d.gone(protocol.CloseProtocol)
	})
	t.Run("ping without id", func(t *testing.T) {
		d := s.login("alice")
		d.send(`{"op":"ping"}`)
		d.reply(0)
	})
	t.Run("op of a wrong type", func(t *testing.T) {
		d := s.login("alice")
		d.send(`{"id":7,"op":5}`)
		if f := d.reply(7); f.Error == nil || f.Error.Code != protocol.CodeInvalidParameter {
			t.Errorf("got %+v", f)
		}
	})
	t.Run("fragments", func(t *testing.T) {
		d := s.login("alice")
		parts := []gws.Frame{
			gws.NewFrame(gws.OpText, false, []byte(`{"id":3,`)), gws.NewPingFrame([]byte("between")),
			gws.NewFrame(gws.OpContinuation, false, []byte(`"op":`)), gws.NewFrame(gws.OpContinuation, true, []byte(`"ping"}`)),
		}
		for _, f := range parts {
			if err := gws.WriteFrame(d.conn, gws.MaskFrame(f)); err != nil {
				t.Fatal(err)
			}
		}
		d.reply(3)
	})
}

func TestMalformedBodies(t *testing.T) {
	s := newSite(t, settings{})
	alice, _ := s.login("alice"), s.login("bob")
	made := alice.invite(call.Advanced, "bob")
	alice.event(protocol.EventCallCreated, nil)
	alice.changed()
	long := strings.Repeat("x", call.MaxExtendedData+1)
	ids := func(n int) []string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprint("u", i))
		}
		return out
	}
	tests := []struct {
		op   string
		body any
		code protocol.Code
	}{
		{protocol.OpCallInvite, []int{1}, protocol.CodeInvalidParameter},
		{protocol.OpCallInvite, nil, protocol.CodeInvalidParameter},
		{protocol.OpCallInvite, map[string]any{"user_ids": "bob"}, protocol.CodeInvalidParameter},
		{protocol.OpCallInvite, map[string]any{"user_ids": []any{1}}, protocol.CodeInvalidParameter},
		{protocol.OpCallInvite, map[string]any{"user_ids": []string{"bob"}, "timeout": "10"}, protocol.CodeInvalidParameter},
		{protocol.OpCallInvite, map[string]any{"user_ids": []string{"bob"}, "timeout": 0}, protocol.CodeInvalidParameter},
		{protocol.OpCallInvite, map[string]any{"user_ids": []string{"bob"}, "timeout": 601}, protocol.CodeInvalidParameter},
		{protocol.OpCallInvite, map[string]any{"user_ids": []string{"bob"}, "mode": 2}, protocol.CodeInvalidParameter},
		{protocol.OpCallInvite, map[string]any{"user_ids": []string{"bob"}, "push": "x"}, protocol.CodeInvalidParameter},
		{protocol.OpCallInvite, map[string]any{"user_ids": []string{"bob"}, "push": map[string]string{"title": strings.Repeat("x", 4096)}}, protocol.CodeInvalidParameter},
		{protocol.OpCallInvite, map[string]any{"user_ids": []string{"bob"}, "request_id": strings.Repeat("x", 65)}, protocol.CodeInvalidParameter},
		{protocol.OpCallInvite, protocol.Invite{UserIDs: []string{"bob"}, ExtendedData: long}, protocol.CodeInvalidParameter},
		{protocol.OpCallInvite, protocol.Invite{UserIDs: []string{"alice"}}, protocol.CodeInvalidParameter},
		{protocol.OpCallInvite, protocol.Invite{UserIDs: []string{"bob", "b/b"}}, protocol.CodeInvalidParameter},
		{protocol.OpCallInvite, protocol.Invite{UserIDs: ids(10)}, protocol.CodeTooManyUsers},
		{protocol.OpCallInvite, protocol.Invite{UserIDs: ids(3)}, protocol.CodeNotRegistered},
		{protocol.OpCallAccept, about(""), protocol.CodeInvalidParameter},
		{protocol.OpCallAccept, about("12x"), protocol.CodeInvalidParameter},
		{protocol.OpCallAccept, about("9223372036854775808"), protocol.CodeInvalidParameter},
		{protocol.OpCallAccept, map[string]any{"call_id": 5}, protocol.CodeInvalidParameter},
		{protocol.OpCallAccept, about("5"), protocol.CodeNoSuchCall},
		{protocol.OpCallAccept, about(made.CallID), protocol.CodeNotInCall},
		{protocol.OpCallCancel, map[string]any{"call_id": made.CallID, "user_ids": []string{""}}, protocol.CodeInvalidParameter},
		{protocol.OpCallQuery, map[string]any{"count": -1}, protocol.CodeInvalidParameter},
		{protocol.OpCallQuery, map[string]any{"next_flag": int64(1) << 53}, protocol.CodeInvalidParameter},
		{protocol.OpCallSync, map[string]any{"known_calls": "x"}, protocol.CodeInvalidParameter},
		{protocol.OpPing, "x", protocol.CodeInvalidParameter},
		{protocol.OpLogout, []int{}, protocol.CodeInvalidParameter},
	}
	for _, tt := range tests {
		alice.refused(tt.code, tt.op, tt.body)
	}
	alice.quiet()
}

func TestFlood(t *testing.T) {
	s := newSite(t, settings{rate: 5, burst: 5})
	d := s.login("alice")
	refused := 0
	var ids []int64
	for range 30 {
		ids = append(ids, d.request(protocol.OpPing, struct{}{}))
	}
	got := make(map[int64]bool)
	for len(got) < len(ids) {
		f, err := d.read()
		if err != nil {
			t.Fatal(err)
		}
		got[f.ID] = true
		if f.Error != nil {
			if f.Error.Code != protocol.CodeTooManyRequests {
				t.Fatal(f.Error)
			}
			refused++
		}
	}
	if refused < 20 {
		t.Errorf("%d of 30 requests were refused", refused)
	}
}

func TestStayingOverTheLimit(t *testing.T) {
	s := newSite(t, settings{rate: 1, burst: 1})
	d := s.login("alice")
	stop := time.AfterFunc(patience, func() { d.conn.Close() })
	defer stop.Stop()
	go func() {
		for wsutil.WriteClientText(d.conn, []byte(`{"id":1,"op":"ping"}`)) == nil {
			time.Sleep(20 * time.Millisecond)
		}
	}()
	d.gone(protocol.CloseFlood)
}

func TestPingFlood(t *testing.T) {
	s := newSite(t, settings{})
	d := s.login("alice")
	go func() {
		for range 100 * maxPings {
			if wsutil.WriteClientMessage(d.conn, gws.OpPing, nil) != nil {
				return
			}
		}
	}()
	d.gone(protocol.CloseFlood)
}

const maxPings = 100 // a second, as the server has it

func TestSilentPeerIsLost(t *testing.T) {
	s := newSite(t, settings{heartbeat: 100 * time.Millisecond})
	d := s.login("alice")
	deadline := time.Now().Add(patience)
	for s.devices.Connections() > 0 { // nobody reads, so nobody answers the pings
		if time.Now().After(deadline) {
			t.Fatal("the connection of a silent peer stays open")
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = d
}

func TestSlowReader(t *testing.T) {
	s := newSite(t, settings{rate: 1e6, burst: 1e6})
	slow, alice := s.login("slow"), s.login("alice")
	if tcp, ok := slow.conn.(interface{ SetReadBuffer(int) error }); ok {
		tcp.SetReadBuffer(4 << 10)
	}
	data := strings.Repeat("x", call.MaxExtendedData)
	for i := 0; s.devices.Connections() > 1; i++ {
		if i > 20_000 {
			t.Fatal("a reader that does not read is kept")
		}
		var made protocol.InviteReply
		alice.ok(protocol.OpCallInvite, protocol.Invite{UserIDs: []string{"slow"}, ExtendedData: data}, &made)
		alice.ok(protocol.OpCallCancel, protocol.Cancel{CallID: made.CallID, ExtendedData: data}, nil)
		alice.waiting = nil
	}
}

func TestServerGoesAway(t *testing.T) {
	s := newSite(t, settings{})
	d := s.login("alice")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.devices.Close(ctx) }()
	d.gone(protocol.CloseGoingAway)
	d.conn.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestHandshake(t *testing.T) {
	s := newSite(t, settings{})
	resp, err := http.Get("http" + strings.TrimPrefix(s.url, "ws"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("plain GET: %s", resp.Status)
	}
	d := s.dialWith(gws.Dialer{Timeout: patience})
	d.gone(protocol.CloseProtocol)
}
