package client

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/ringback/ringback/protocol"
)

func TestDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, rec := newNetwork(t), newRecorder()
		go func() {
			p := n.accept()
			r := p.expect(protocol.OpLogin)
			var l protocol.Login
			if err := json.Unmarshal(r.Body, &l); err != nil {
				t.Error(err)
			}
			if l.AppID != 7 || l.UserID != "alice" || l.UserName != "Alice" || l.Platform != "LINUX" || l.Token != "secret" ||
				l.SessionID != "old" || len(l.KnownCalls) != 1 || l.KnownCalls[0] != "5" {
				t.Errorf("login %+v", l)
			}
			p.reply(r, protocol.LoginReply{SessionID: "old", Resumed: true, ServerTimeMS: 1000, Snapshot: protocol.Snapshot{
				Ended: []protocol.EndedCall{{CallID: "5", Version: 3, State: 6, Reason: protocol.ReasonTimeout}},
			}})
		}()
		c, err := Dial(t.Context(), "http://server", Options{
			AppID: 7, UserID: "alice", UserName: "Alice", Platform: "LINUX", SessionID: "old", KnownCalls: []string{"5"},
			TokenSource: func(context.Context) (string, error) { return "secret", nil },
			OnEvent:     rec.handle, NetDial: n.dial,
		})
		if err != nil {
			t.Fatal(err)
		}
		if ev := want[*Connected](t, rec); !ev.Resumed || ev.SessionID != "old" || !ev.ServerTime.Equal(time.Unix(1, 0)) {
			t.Errorf("got %+v", ev)
		}
		if ev := want[*Snapshot](t, rec); len(ev.Ended) != 1 || ev.Ended[0].Reason != protocol.ReasonTimeout {
			t.Errorf("got %+v", ev)
		}
		if c.SessionID() != "old" || !c.Connected() || c.Err() != nil {
			t.Error("the client does not look alive")
		}
		c.Close()
		<-c.Done()
		if ev := want[*Disconnected](t, rec); !errors.Is(ev.Err, ErrClosed) || ev.WillReconnect {
			t.Errorf("got %+v", ev)
		}
		if _, err := c.Ping(t.Context()); !errors.Is(err, ErrClosed) || errors.Is(err, ErrConnectionLost) {
			t.Errorf("ping of a closed client: %v", err)
		}
		if c.Connected() || !errors.Is(c.Err(), ErrClosed) {
			t.Error("the client looks alive")
		}
	})
}

func TestDialRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		go func() {
			p := n.accept()
			p.refuse(p.expect(protocol.OpLogin), protocol.CodeTokenExpired)
			p.close(protocol.CloseUnauthenticated)
		}()
		_, err := Dial(t.Context(), "ws://server", Options{AppID: 1, UserID: "alice", Token: "t", NetDial: n.dial})
		if refused, ok := errors.AsType[*protocol.Error](err); !ok || refused.Code != protocol.CodeTokenExpired {
			t.Errorf("got %v", err)
		}
	})
}

func TestDialTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		begin := time.Now()
		_, err := Dial(t.Context(), "ws://server", Options{AppID: 1, UserID: "alice", Token: "t", NetDial: n.dial})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 10*time.Second {
			t.Errorf("got %v after %v", err, time.Since(begin))
		}
		n.accept().nc.Close()
	})
}

func TestDialMistakes(t *testing.T) {
	good := Options{AppID: 1, UserID: "alice", Token: "t"}
	for _, test := range []struct {
		url    string
		change func(*Options)
		want   string
	}{
		{"ftp://server", func(*Options) {}, "scheme"},
		{"http://", func(*Options) {}, "host"},
		{"http://server", func(o *Options) { o.AppID = 0 }, "AppID"},
		{"http://server", func(o *Options) { o.UserID = "" }, "UserID"},
		{"http://server", func(o *Options) { o.Token = "" }, "Token"},
		{"http://server", func(o *Options) {
			o.TokenSource = func(context.Context) (string, error) { return "", errors.New("no token today") }
		}, "no token today"},
	} {
		opts := good
		test.change(&opts)
		if _, err := Dial(t.Context(), test.url, opts); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want a word of %s", test.url, err, test.want)
		}
	}
}

func TestEndpoint(t *testing.T) {
	for in, want := range map[string]string{
		"http://host:8080":         "ws://host:8080/v1/connect",
		"https://host/":            "wss://host/v1/connect",
		"ws://host/v1/connect":     "ws://host/v1/connect",
		"wss://host/calls/connect": "wss://host/calls/connect",
	} {
		if got, err := endpoint(in); got != want || err != nil {
			t.Errorf("%s: got %s, %v", in, got, err)
		}
	}
}

func TestOperations(t *testing.T) {
	timeout := 30
	action := protocol.CallAction{CallID: "9", ExtendedData: "x"}
	tests := []struct {
		op, body, reply string
		call            func(context.Context, *Client) (any, error)
		want            string
	}{
		{
			protocol.OpCallInvite, `{"user_ids":["bob"],"timeout":30,"request_id":"r"}`, `{"call_id":"9","version":1,"error_users":[]}`,
			func(ctx context.Context, c *Client) (any, error) {
				return c.Invite(ctx, protocol.Invite{UserIDs: []string{"bob"}, Timeout: &timeout, RequestID: "r"})
			},
			`{"call_id":"9","version":1,"timeout":0,"create_time_ms":0,"error_users":[]}`,
		},
		{
			protocol.OpCallInviteMore, `{"call_id":"9","user_ids":["carol"]}`, `{"call_id":"9","version":2,"error_users":null}`,
			func(ctx context.Context, c *Client) (any, error) {
				return c.InviteMore(ctx, protocol.InviteMore{CallID: "9", UserIDs: []string{"carol"}})
			},
			`{"call_id":"9","version":2,"error_users":null}`,
		},
		{
			protocol.OpCallCancel, `{"call_id":"9"}`, `{"call_id":"9","version":2,"error_users":null}`,
			func(ctx context.Context, c *Client) (any, error) {
				return c.Cancel(ctx, protocol.Cancel{CallID: "9"})
			},
			`{"call_id":"9","version":2,"error_users":null}`,
		},
		{
			protocol.OpCallAccept, `{"call_id":"9","extended_data":"x"}`, `{"call_id":"9","version":2}`,
			func(ctx context.Context, c *Client) (any, error) { return c.Accept(ctx, action) },
			`{"call_id":"9","version":2}`,
		},
		{
			protocol.OpCallReject, `{"call_id":"9","extended_data":"x"}`, `{"call_id":"9","version":2}`,
			func(ctx context.Context, c *Client) (any, error) { return c.Reject(ctx, action) },
			`{"call_id":"9","version":2}`,
		},
		{
			protocol.OpCallReceived, `{"call_id":"9"}`, `{"call_id":"9","version":2}`,
			func(ctx context.Context, c *Client) (any, error) { return c.Received(ctx, "9") },
			`{"call_id":"9","version":2}`,
		},
		{
			protocol.OpCallQuit, `{"call_id":"9","extended_data":"x"}`, `{"call_id":"9","version":2,"quit_time_ms":5}`,
			func(ctx context.Context, c *Client) (any, error) { return c.Quit(ctx, action) },
			`{"call_id":"9","version":2,"create_time_ms":0,"accept_time_ms":0,"quit_time_ms":5}`,
		},
		{
			protocol.OpCallEnd, `{"call_id":"9","extended_data":"x"}`, `{"call_id":"9","version":2,"end_time_ms":5}`,
			func(ctx context.Context, c *Client) (any, error) { return c.End(ctx, action) },
			`{"call_id":"9","version":2,"create_time_ms":0,"accept_time_ms":0,"end_time_ms":5}`,
		},
		{
			protocol.OpCallQuery, `{"count":10,"next_flag":4}`, `{"calls":[],"next_flag":0}`,
			func(ctx context.Context, c *Client) (any, error) {
				return c.Query(ctx, protocol.Query{Count: 10, NextFlag: 4})
			},
			`{"calls":[],"next_flag":0}`,
		},
		{
			protocol.OpRenewToken, `{"token":"t2"}`, `{}`,
			func(ctx context.Context, c *Client) (any, error) { return nil, c.RenewToken(ctx, "t2") },
			`null`,
		},
		{
			protocol.OpPing, ``, `{"server_time_ms":1000}`,
			func(ctx context.Context, c *Client) (any, error) {
				at, err := c.Ping(ctx)
				return at.UnixMilli(), err
			},
			`1000`,
		},
		{
			protocol.OpCallSync, `{}`, `{"calls":[],"ended":[]}`,
			func(ctx context.Context, c *Client) (any, error) { return c.Sync(ctx) },
			`{"calls":[],"ended":[]}`,
		},
	}
	synctest.Test(t, func(t *testing.T) {
		g := start(t, nil)
		defer g.stop()
		for _, test := range tests {
			for _, refused := range []bool{false, true} {
				go func() {
					r := g.peer.expect(test.op)
					if string(r.Body) != test.body {
						t.Errorf("%s: sent %s, want %s", test.op, r.Body, test.body)
					}
					if refused {
						g.peer.refuse(r, protocol.CodeNoSuchCall)
					} else {
						g.peer.reply(r, json.RawMessage(test.reply))
					}
				}()
				got, err := test.call(t.Context(), g.c)
				if refused {
					if e, ok := errors.AsType[*protocol.Error](err); !ok || e.Code != protocol.CodeNoSuchCall {
						t.Errorf("%s: got %v, want a refusal", test.op, err)
					}
					continue
				}
				if b, _ := json.Marshal(got); string(b) != test.want || err != nil {
					t.Errorf("%s: got %s, %v, want %s", test.op, b, err, test.want)
				}
			}
		}
	})
}

func TestJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, nil)
		defer g.stop()
		go func() {
			g.peer.reply(g.peer.expect(protocol.OpCallJoin), protocol.JoinReply{
				Call: protocol.Call{CallID: "9", Version: 4, Mode: 1, Users: []protocol.CallUser{{UserID: "alice", State: 1}}}, JoinTimeMS: 6,
			})
		}()
		reply, err := g.c.Join(t.Context(), protocol.CallAction{CallID: "9"})
		if err != nil || reply.JoinTimeMS != 6 || len(reply.Users) != 1 {
			t.Errorf("got %+v, %v", reply, err)
		}
		if known := g.c.calls.shown(); len(known) != 1 {
			t.Errorf("known calls %v", known)
		}
	})
}

func TestManyRequestsOutOfOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, nil)
		defer g.stop()
		const n = 50
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				reply, err := g.c.Accept(t.Context(), protocol.CallAction{CallID: strconv.Itoa(i)})
				if err != nil || reply.CallID != strconv.Itoa(i) {
					t.Errorf("call %d: got %+v, %v", i, reply, err)
				}
			})
		}
		var requests []protocol.Request
		for range n {
			requests = append(requests, g.peer.expect(protocol.OpCallAccept))
		}
		for i := n - 1; i >= 0; i-- {
			g.peer.reply(requests[i], requests[i].Body)
		}
		wg.Wait()
	})
}

func TestContextEndsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, nil)
		defer g.stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		late := make(chan protocol.Request, 1)
		go func() { late <- g.peer.expect(protocol.OpPing) }()
		if _, err := g.c.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if _, err := g.c.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with an ended context: got %v", err)
		}
		g.peer.reply(<-late, protocol.PingReply{})
		g.none(t)
	})
}

func TestTooManyPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, func(o *Options) { o.MaxPending = 1 })
		defer g.stop()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := g.c.Ping(ctx)
			done <- err
		}()
		g.peer.expect(protocol.OpPing)
		if _, err := g.c.Ping(ctx); !errors.Is(err, ErrTooManyPending) {
			t.Errorf("got %v", err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestRequestTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, nil)
		defer g.stop()
		_, err := g.c.Accept(t.Context(), protocol.CallAction{CallID: "1", ExtendedData: strings.Repeat("x", protocol.MaxFrame)})
		if e, ok := errors.AsType[*protocol.Error](err); !ok || e.Code != protocol.CodeInvalidParameter {
			t.Errorf("got %v", err)
		}
	})
}

func TestLogout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, nil)
		go func() {
			g.peer.reply(g.peer.expect(protocol.OpLogout), struct{}{})
			g.peer.close(protocol.CloseLogout)
		}()
		if err := g.c.Logout(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-g.c.Done()
		if ev := want[*Disconnected](t, g.recorder); ev.WillReconnect || ev.CloseCode != protocol.CloseLogout {
			t.Errorf("got %+v", ev)
		}
		if err := g.c.Logout(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("second logout: %v", err)
		}
	})
}

func TestFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, func(o *Options) { o.ManualReceived = true })
		defer g.stop()

		big := ringing("1", 1)
		big.ExtendedData = strings.Repeat("é", 20_000)
		g.peer.event(protocol.EventCallInvited, big)
		if ev := want[*Invited](t, g.recorder); ev.ExtendedData != big.ExtendedData {
			t.Error("a large frame was damaged")
		}

		text := []byte(`{"event":"call.timed_out","body":{"call_id":"1","version":2}}`)
		ws.WriteFrame(g.peer.nc, ws.NewFrame(ws.OpText, false, text[:10]))
		ws.WriteFrame(g.peer.nc, ws.NewPingFrame([]byte("hello")))
		if op, payload := g.peer.frame(); op != ws.OpPong || string(payload) != "hello" {
			t.Errorf("got %v %q, want a pong", op, payload)
		}
		ws.WriteFrame(g.peer.nc, ws.NewFrame(ws.OpContinuation, true, text[10:]))
		want[*TimedOut](t, g.recorder)

		g.peer.event("call.unheard_of", 1)
		g.peer.text(`{"unheard_of":1}`)
		g.none(t)

		go wsutil.WriteServerBinary(g.peer.nc, []byte("{}"))
		if ev := want[*Disconnected](t, g.recorder); !ev.WillReconnect || ev.CloseCode != 0 {
			t.Errorf("after a binary frame: got %+v", ev)
		}
	})
}
