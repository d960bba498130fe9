package client

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ringback/ringback/protocol"
)

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, func(o *Options) { o.ManualReceived = true })
		defer g.stop()
		g.peer.event(protocol.EventCallInvited, ringing("1", 3))
		if ev := want[*Invited](t, g.recorder); ev.Caller != "bob" || len(ev.Users) != 2 {
			t.Errorf("got %+v", ev)
		}
		g.peer.event(protocol.EventCallCreated, protocol.Call{CallID: "2", Version: 1})
		want[*Created](t, g.recorder)
		g.peer.event(protocol.EventCallUsersChanged, protocol.UsersChanged{CallID: "1", Version: 3})
		want[*UsersChanged](t, g.recorder)
		g.peer.event(protocol.EventCallAnsweredElsewhere, protocol.AnsweredElsewhere{CallID: "1", Version: 4, Answer: "accepted", SessionID: "s"})
		if ev := want[*AnsweredElsewhere](t, g.recorder); ev.Answer != "accepted" {
			t.Errorf("got %+v", ev)
		}
		g.peer.event(protocol.EventCallCancelled, protocol.Cancelled{CallID: "4", Version: 4, Reason: protocol.ReasonCallerLeft})
		want[*Cancelled](t, g.recorder)
		g.peer.event(protocol.EventCallTimedOut, protocol.TimedOut{CallID: "5", Version: 4})
		want[*TimedOut](t, g.recorder)
		g.peer.event(protocol.EventCallEnded, protocol.Ended{CallID: "6", Version: 4, Reason: protocol.ReasonAllLeft})
		want[*Ended](t, g.recorder)
		g.peer.event(protocol.EventTokenExpiring, protocol.TokenExpiring{SecondsLeft: 30})
		if ev := want[*TokenExpiring](t, g.recorder); ev.SecondsLeft != 30 {
			t.Errorf("got %+v", ev)
		}
		g.peer.event(protocol.EventSessionKicked, protocol.Kicked{Reason: "elsewhere"})
		want[*Kicked](t, g.recorder)
		g.peer.close(protocol.CloseKicked)
		want[*Disconnected](t, g.recorder)
	})
}

func TestOldEventsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, func(o *Options) { o.ManualReceived = true })
		defer g.stop()
		g.peer.event(protocol.EventCallInvited, ringing("1", 2))
		want[*Invited](t, g.recorder)
		g.peer.event(protocol.EventCallInvited, ringing("1", 2)) // again
		g.peer.event(protocol.EventCallUsersChanged, protocol.UsersChanged{CallID: "1", Version: 1})
		g.none(t)
		for range 2 { // received keeps the version
			g.peer.event(protocol.EventCallUsersChanged, protocol.UsersChanged{CallID: "1", Version: 2})
			want[*UsersChanged](t, g.recorder)
		}
		// A reply counts as well.
		go func() {
			g.peer.reply(g.peer.expect(protocol.OpCallReject), protocol.CallReply{CallID: "1", Version: 3})
		}()
		if _, err := g.c.Reject(t.Context(), protocol.CallAction{CallID: "1"}); err != nil {
			t.Fatal(err)
		}
		g.peer.event(protocol.EventCallUsersChanged, protocol.UsersChanged{CallID: "1", Version: 2})
		g.none(t)
		// Invited anew.
		g.peer.event(protocol.EventCallInvited, ringing("1", 4))
		want[*Invited](t, g.recorder)
		// A sync may set a version back.
		go func() {
			g.peer.reply(g.peer.expect(protocol.OpCallSync), protocol.Snapshot{Calls: []protocol.Call{ringing("1", 1)}})
		}()
		if _, err := g.c.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		want[*Snapshot](t, g.recorder)
		g.peer.event(protocol.EventCallTimedOut, protocol.TimedOut{CallID: "1", Version: 2})
		want[*TimedOut](t, g.recorder)
	})
}

func TestReceivedIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, nil)
		defer g.stop()
		g.peer.event(protocol.EventCallInvited, ringing("1", 1))
		r := g.peer.expect(protocol.OpCallReceived)
		if string(r.Body) != `{"call_id":"1"}` {
			t.Errorf("got %s", r.Body)
		}
		g.peer.refuse(r, protocol.CodeNoSuchCall) // nobody minds
		other := ringing("2", 1)
		other.Users[1].State = stateReceived // by another device
		g.peer.event(protocol.EventCallInvited, other)
		want[*Invited](t, g.recorder)
		want[*Invited](t, g.recorder)
		g.c.mu.Lock()
		defer g.c.mu.Unlock()
		if len(g.c.pending) != 0 {
			t.Error("requests are pending")
		}
	})
}

func TestReplySettlesBeforeItsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var handled []Event
		q := events{limit: 10, handle: func(ev Event) { handled = append(handled, ev) }}
		r := &request{settled: make(chan struct{})}
		q.push(&Created{}, []*request{r})
		q.push(&UsersChanged{}, nil)
		synctest.Wait()
		if len(handled) != 0 {
			t.Fatal("an event overtook the reply that comes before it")
		}
		close(r.settled)
		<-q.drained()
		if len(handled) != 2 {
			t.Fatalf("%d events were handled", len(handled))
		}
	})
}

func TestReplyThenEvents(t *testing.T) {
	// The promise of the package comment, with a lock.
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		mine := make(map[string]bool)
		var wrong int
		g := start(t, func(o *Options) {
			record := o.OnEvent
			o.OnEvent = func(c *Client, ev Event) {
				if ev, ok := ev.(*Created); ok {
					mu.Lock()
					if !mine[ev.CallID] {
						wrong++
					}
					mu.Unlock()
				}
				record(c, ev)
			}
		})
		defer g.stop()
		const n = 200
		go func() {
			for i := range n {
				id := strconv.Itoa(i)
				g.peer.reply(g.peer.expect(protocol.OpCallInvite), protocol.InviteReply{CallID: id, Version: 1})
				g.peer.event(protocol.EventCallCreated, protocol.Call{CallID: id, Version: 1})
			}
		}()
		for range n {
			mu.Lock()
			reply, err := g.c.Invite(t.Context(), protocol.Invite{UserIDs: []string{"bob"}})
			if err != nil {
				t.Fatal(err)
			}
			mine[reply.CallID] = true
			mu.Unlock()
		}
		for range n {
			want[*Created](t, g.recorder)
		}
		if wrong != 0 {
			t.Errorf("%d of %d events came before their replies", wrong, n)
		}
	})
}

func TestHandlerSendsRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answered := make(chan error, 1)
		g := start(t, func(o *Options) {
			record := o.OnEvent
			o.OnEvent = func(c *Client, ev Event) {
				if ev, ok := ev.(*Invited); ok {
					_, err := c.Accept(context.Background(), protocol.CallAction{CallID: ev.CallID})
					answered <- err
				}
				record(c, ev)
			}
		})
		defer g.stop()
		g.peer.event(protocol.EventCallInvited, ringing("1", 1))
		g.peer.expect(protocol.OpCallReceived)
		g.peer.reply(g.peer.expect(protocol.OpCallAccept), protocol.CallReply{CallID: "1", Version: 2})
		if err := <-answered; err != nil {
			t.Error(err)
		}
	})
}

func TestSlowHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		slow := false
		g := start(t, func(o *Options) {
			o.EventBuffer = 3
			record := o.OnEvent
			o.OnEvent = func(c *Client, ev Event) {
				if _, ok := ev.(*Invited); ok && !slow {
					slow = true
					<-gate
				}
				record(c, ev)
			}
			o.ManualReceived = true
		})
		defer g.stop()
		synctest.Wait() // nothing of the login waits any more
		for i := range 6 {
			g.peer.event(protocol.EventCallInvited, ringing(strconv.Itoa(i), 1))
		}
		synctest.Wait()
		close(gate)
		for range 3 {
			want[*Invited](t, g.recorder)
		}
		r := g.peer.expect(protocol.OpCallSync)
		if string(r.Body) != `{"known_calls":["0","1","2"]}` {
			t.Errorf("got %s", r.Body)
		}
		g.peer.reply(r, protocol.Snapshot{Calls: []protocol.Call{ringing("5", 1)}})
		want[*Snapshot](t, g.recorder)
		g.none(t)
	})
}

func TestTokenIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		g := start(t, func(o *Options) {
			o.TokenSource = func(context.Context) (string, error) {
				n++
				return "t" + strconv.Itoa(n), nil
			}
		})
		defer g.stop()
		for range 2 {
			g.peer.event(protocol.EventTokenExpiring, protocol.TokenExpiring{SecondsLeft: 30})
		}
		r := g.peer.expect(protocol.OpRenewToken)
		if string(r.Body) != `{"token":"t2"}` {
			t.Errorf("got %s", r.Body)
		}
		g.peer.reply(r, struct{}{})
		want[*TokenExpiring](t, g.recorder)
		want[*TokenExpiring](t, g.recorder)
		g.none(t)
	})
}

func TestRenewedTokenIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, nil)
		defer g.stop()
		go func() { g.peer.reply(g.peer.expect(protocol.OpRenewToken), struct{}{}) }()
		if err := g.c.RenewToken(t.Context(), "t1"); err != nil {
			t.Fatal(err)
		}
		g.peer.nc.Close()
		if l := g.again(protocol.Snapshot{}); l.Token != "t1" {
			t.Errorf("logged in with %s", l.Token)
		}
	})
}
