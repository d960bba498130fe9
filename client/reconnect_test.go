package client

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/ringback/ringback/protocol"
)

func TestReconnectByCloseCode(t *testing.T) {
	source := func(context.Context) (string, error) { return "fresh", nil }
	for _, test := range []struct {
		code   protocol.CloseCode // 0: the connection breaks
		source func(context.Context) (string, error)
		again  bool
	}{
		{0, nil, true},
		{protocol.CloseGoingAway, nil, true},
		{protocol.CloseInternal, nil, true},
		{protocol.CloseResumed, nil, true},
		{protocol.CloseSlowReader, nil, true},
		{protocol.CloseFlood, nil, true},
		{protocol.CloseTokenExpired, source, true},
		{protocol.CloseTokenExpired, nil, false},
		{protocol.CloseLogout, nil, false},
		{protocol.CloseKicked, nil, false},
		{protocol.CloseUnauthenticated, source, false},
		{protocol.CloseProtocol, nil, false},
	} {
		t.Run(strconv.Itoa(int(test.code)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := start(t, func(o *Options) { o.TokenSource = test.source })
				defer g.stop()
				if test.code == 0 {
					g.peer.nc.Close()
				} else {
					g.peer.close(test.code)
				}
				ev := want[*Disconnected](t, g.recorder)
				if ev.WillReconnect != test.again || ev.CloseCode != test.code || ev.Err == nil {
					t.Fatalf("got %+v", ev)
				}
				if !test.again {
					<-g.c.Done()
					if !errors.Is(g.c.Err(), ErrClosed) || closeCode(g.c.Err()) != test.code {
						t.Errorf("Err is %v", g.c.Err())
					}
					return
				}
				if l := g.again(protocol.Snapshot{}); l.SessionID != "s1" {
					t.Errorf("resumed %q", l.SessionID)
				}
				if ev := want[*Connected](t, g.recorder); !ev.Resumed {
					t.Error("not resumed")
				}
				want[*Snapshot](t, g.recorder)
			})
		})
	}
}

func TestNoReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, func(o *Options) { o.NoReconnect = true })
		g.peer.nc.Close()
		if ev := want[*Disconnected](t, g.recorder); ev.WillReconnect {
			t.Error("will reconnect")
		}
		<-g.c.Done()
	})
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, nil)
		defer g.stop()
		g.setDown(errNet)
		lost := time.Now()
		g.peer.nc.Close()
		time.Sleep(2 * time.Minute)
		dials := g.setDown(nil)
		last := lost
		for i, at := range dials[1:] {
			hi := min(15*time.Second, time.Second<<min(i, 10))
			if d := at.Sub(last); d < hi/2 || d > hi || d < minBackoff {
				t.Errorf("attempt %d came after %v, want %v to %v", i, d, hi/2, hi)
			}
			last = at
		}
		if len(dials) < 10 {
			t.Errorf("only %d attempts", len(dials))
		}
		g.again(protocol.Snapshot{})
		want[*Disconnected](t, g.recorder)
		want[*Connected](t, g.recorder)
		want[*Snapshot](t, g.recorder)

		// A connection that does not last does not make the wait short again.
		soon := time.Now()
		g.peer.nc.Close()
		g.again(protocol.Snapshot{})
		if d := time.Since(soon); d < maxBackoff/2 {
			t.Errorf("back after %v", d)
		}
		// One that lasts does.
		for range 2 {
			time.Sleep(9 * time.Second)
			ws.WriteFrame(g.peer.nc, ws.NewPingFrame(nil))
			g.peer.frame()
		}
		soon = time.Now()
		g.peer.nc.Close()
		g.again(protocol.Snapshot{})
		if d := time.Since(soon); d > 2*minBackoff {
			t.Errorf("back after %v", d)
		}
	})
}

func TestReconnectRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, nil)
		g.peer.nc.Close()
		if ev := want[*Disconnected](t, g.recorder); !ev.WillReconnect {
			t.Error("will not reconnect")
		}
		p := g.accept()
		p.refuse(p.expect(protocol.OpLogin), protocol.CodeStorageError) // may pass
		p.nc.Close()
		p = g.accept()
		p.refuse(p.expect(protocol.OpLogin), protocol.CodeTokenExpired)
		ev := want[*Disconnected](t, g.recorder)
		if e, ok := errors.AsType[*protocol.Error](ev.Err); !ok || e.Code != protocol.CodeTokenExpired || ev.WillReconnect {
			t.Errorf("got %+v", ev)
		}
		<-g.c.Done()
	})
}

func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, nil)
		defer g.stop()
		// Pings are life.
		for range 5 {
			time.Sleep(10 * time.Second)
			ws.WriteFrame(g.peer.nc, ws.NewPingFrame(nil))
			if op, _ := g.peer.frame(); op != ws.OpPong {
				t.Fatalf("got frame %v, want a pong", op)
			}
		}
		// So is the answer to the client's own ping when one of them is late.
		last := time.Now()
		if op, _ := g.peer.frame(); op != ws.OpPing {
			t.Fatalf("got frame %v, want a ping", op)
		}
		if d := time.Since(last); d < 10*time.Second || d > 15*time.Second {
			t.Errorf("asked after %v of silence", d)
		}
		ws.WriteFrame(g.peer.nc, ws.NewPongFrame(nil))
		last = time.Now()
		g.peer.frame()
		ev := want[*Disconnected](t, g.recorder)
		if !errors.Is(ev.Err, errSilent) || !ev.WillReconnect {
			t.Errorf("got %+v", ev)
		}
		if d := time.Since(last); d != 20*time.Second {
			t.Errorf("noticed after %v", d)
		}
	})
}

func TestRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, nil)
		defer g.stop()
		outcome := make(map[string]chan error)
		do := func(op string, f func(context.Context) error) {
			outcome[op] = make(chan error, 1)
			go func() { outcome[op] <- f(t.Context()) }()
		}
		action := protocol.CallAction{CallID: "1"}
		do(protocol.OpCallInvite, func(ctx context.Context) error {
			_, err := g.c.Invite(ctx, protocol.Invite{UserIDs: []string{"bob"}})
			return err
		})
		first := g.peer.expect(protocol.OpCallInvite)
		do(protocol.OpCallAccept, func(ctx context.Context) error {
			_, err := g.c.Accept(ctx, action)
			return err
		})
		g.peer.expect(protocol.OpCallAccept)
		do(protocol.OpCallJoin, func(ctx context.Context) error {
			_, err := g.c.Join(ctx, action)
			return err
		})
		g.peer.expect(protocol.OpCallJoin)
		g.peer.nc.Close()
		want[*Disconnected](t, g.recorder)
		if err := <-outcome[protocol.OpCallJoin]; !errors.Is(err, ErrConnectionLost) {
			t.Errorf("join: %v", err)
		}
		// What is requested now waits.
		do(protocol.OpCallInviteMore, func(ctx context.Context) error {
			_, err := g.c.InviteMore(ctx, protocol.InviteMore{CallID: "1", UserIDs: []string{"carol"}})
			return err
		})
		g.again(protocol.Snapshot{})
		second := g.peer.expect(protocol.OpCallInvite)
		var inv protocol.Invite
		if err := json.Unmarshal(second.Body, &inv); err != nil || inv.RequestID == "" {
			t.Errorf("request ID %q, %v", inv.RequestID, err)
		}
		if string(first.Body) != string(second.Body) {
			t.Errorf("repeated %s as %s", first.Body, second.Body)
		}
		g.peer.reply(second, protocol.InviteReply{CallID: "2", Version: 1})
		g.peer.reply(g.peer.expect(protocol.OpCallAccept), protocol.CallReply{CallID: "1", Version: 2})
		g.peer.reply(g.peer.expect(protocol.OpCallInviteMore), protocol.UsersReply{CallID: "1", Version: 3})
		for _, op := range []string{protocol.OpCallInvite, protocol.OpCallAccept, protocol.OpCallInviteMore} {
			if err := <-outcome[op]; err != nil {
				t.Errorf("%s: %v", op, err)
			}
		}
	})
}

func TestRepeatInNewSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, nil)
		defer g.stop()
		outcome := make(chan error, 1)
		go func() {
			_, err := g.c.Accept(t.Context(), protocol.CallAction{CallID: "1"})
			outcome <- err
		}()
		g.peer.expect(protocol.OpCallAccept)
		g.peer.nc.Close()
		g.peer = g.accept()
		g.peer.reply(g.peer.expect(protocol.OpLogin), protocol.LoginReply{SessionID: "s2"})
		g.peer.refuse(g.peer.expect(protocol.OpCallAccept), protocol.CodeNoSuchCall)
		err := <-outcome
		if e, ok := errors.AsType[*protocol.Error](err); !ok || e.Code != protocol.CodeNoSuchCall || !errors.Is(err, ErrConnectionLost) {
			t.Errorf("got %v", err)
		}
		if g.c.SessionID() != "s2" {
			t.Errorf("session %s", g.c.SessionID())
		}
	})
}

func TestRepeatIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, nil)
		defer g.stop()
		outcome := make(chan error, 1)
		go func() {
			_, err := g.c.Query(t.Context(), protocol.Query{})
			outcome <- err
		}()
		for range maxRepeats + 1 {
			g.peer.expect(protocol.OpCallQuery)
			g.peer.nc.Close()
			g.again(protocol.Snapshot{})
		}
		if err := <-outcome; !errors.Is(err, ErrConnectionLost) {
			t.Errorf("got %v", err)
		}
	})
}

func TestCloseFailsRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, nil)
		outcome := make(chan error, 1)
		ping := func() {
			_, err := g.c.Ping(t.Context())
			outcome <- err
		}
		go ping()
		g.peer.expect(protocol.OpPing)
		g.c.Close()
		if err := <-outcome; !errors.Is(err, ErrClosed) || !errors.Is(err, ErrConnectionLost) {
			t.Errorf("got %v", err)
		}
		<-g.c.Done()
	})
}

func TestCloseWhileReconnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, nil)
		g.setDown(errNet)
		g.peer.nc.Close()
		time.Sleep(time.Minute)
		outcome := make(chan error, 1)
		go func() {
			_, err := g.c.Ping(t.Context())
			outcome <- err
		}()
		synctest.Wait()
		g.c.Close()
		if err := <-outcome; !errors.Is(err, ErrClosed) || errors.Is(err, ErrConnectionLost) {
			t.Errorf("got %v", err)
		}
		<-g.c.Done()
		if ev := want[*Disconnected](t, g.recorder); !ev.WillReconnect {
			t.Errorf("got %+v", ev)
		}
		if ev := want[*Disconnected](t, g.recorder); ev.WillReconnect || !errors.Is(ev.Err, ErrClosed) {
			t.Errorf("got %+v", ev)
		}
	})
}

func TestKnownCallsAtReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, nil)
		defer g.stop()
		for _, id := range []string{"1", "2"} {
			g.peer.event(protocol.EventCallInvited, ringing(id, 1))
			g.peer.reply(g.peer.expect(protocol.OpCallReceived), protocol.CallReply{CallID: id, Version: 1})
			want[*Invited](t, g.recorder)
		}
		g.peer.event(protocol.EventCallTimedOut, protocol.TimedOut{CallID: "1", Version: 2})
		want[*TimedOut](t, g.recorder)
		g.peer.nc.Close()
		want[*Disconnected](t, g.recorder)
		l := g.again(protocol.Snapshot{
			Calls: []protocol.Call{ringing("3", 4)},
			Ended: []protocol.EndedCall{{CallID: "2", Version: 5, State: 3, Reason: protocol.ReasonCallerCancel}},
		})
		if !slices.Equal(l.KnownCalls, []string{"2"}) {
			t.Errorf("known calls %v", l.KnownCalls)
		}
		want[*Connected](t, g.recorder)
		if ev := want[*Snapshot](t, g.recorder); len(ev.Calls) != 1 || len(ev.Ended) != 1 {
			t.Errorf("got %+v", ev)
		}
		// The device rings for what it learned from the snapshot.
		r := g.peer.expect(protocol.OpCallReceived)
		g.peer.reply(r, protocol.CallReply{CallID: "3", Version: 4})
		// What the snapshot said is not said again.
		g.peer.event(protocol.EventCallInvited, ringing("3", 4))
		g.peer.event(protocol.EventCallCancelled, protocol.Cancelled{CallID: "2", Version: 5})
		g.peer.event(protocol.EventCallUsersChanged, protocol.UsersChanged{CallID: "3", Version: 3})
		g.none(t)
		g.peer.event(protocol.EventCallCancelled, protocol.Cancelled{CallID: "3", Version: 5})
		want[*Cancelled](t, g.recorder)
	})
}
