package ws_test

import (
	"slices"
	"testing"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/protocol"
)

func TestGeneralCall(t *testing.T) {
	s := newSite(t, settings{})
	alice, bob, tablet := s.login("alice"), s.login("bob"), s.login("bob")
	made := alice.invite(call.General, "bob", "nobody")
	if made.Version != 1 || made.Timeout != 90 || len(made.ErrorUsers) != 1 || made.ErrorUsers[0].Code != protocol.CodeNotRegistered {
		t.Errorf("reply %+v", made)
	}
	var view protocol.Call
	alice.event(protocol.EventCallCreated, &view)
	if view.Caller != "alice" || view.Inviter != "alice" || view.RingRemainingMS != 0 || len(view.Users) != 2 {
		t.Errorf("alice sees %+v", view)
	}
	alice.sees("v1 bob:0")
	for _, d := range []*device{bob, tablet} {
		d.event(protocol.EventCallInvited, &view)
		if view.CallID != made.CallID || view.Inviter != "alice" || view.ExtendedData != "hello" ||
			view.RingRemainingMS <= 80_000 || view.RingRemainingMS > 90_000 {
			t.Errorf("bob sees %+v", view)
		}
		d.sees("v1 bob:0")
	}

	var reply protocol.CallReply
	bob.ok(protocol.OpCallReceived, about(made.CallID), &reply)
	if reply.Version != 1 {
		t.Errorf("received raised the version to %d", reply.Version)
	}
	for _, d := range []*device{alice, bob, tablet} {
		d.sees("v1 bob:5")
	}

	bob.ok(protocol.OpCallAccept, protocol.CallAction{CallID: made.CallID, ExtendedData: "coming"}, &reply)
	if reply.Version != 2 {
		t.Errorf("version %d after accept", reply.Version)
	}
	alice.sees("v2 bob:1")
	bob.sees("v2 bob:1")
	var elsewhere protocol.AnsweredElsewhere
	tablet.event(protocol.EventCallAnsweredElsewhere, &elsewhere)
	if elsewhere.Answer != "accepted" || elsewhere.SessionID != bob.session || elsewhere.Version != 2 {
		t.Errorf("tablet got %+v", elsewhere)
	}
	tablet.sees("v2 bob:1")

	bob.ok(protocol.OpCallAccept, about(made.CallID), &reply) // a repeat
	tablet.refused(protocol.CodeNoSuchCall, protocol.OpCallAccept, about(made.CallID))
	alice.refused(protocol.CodeCannotCancel, protocol.OpCallCancel, protocol.Cancel{CallID: made.CallID})
	alice.refused(protocol.CodeNotAdvancedMode, protocol.OpCallEnd, about(made.CallID))
	for _, d := range []*device{alice, bob, tablet} {
		d.quiet()
	}
}

func TestRejectAndCancel(t *testing.T) {
	s := newSite(t, settings{})
	alice, bob, carol := s.login("alice"), s.login("bob"), s.login("carol")
	made := alice.invite(call.General, "bob", "carol")
	for _, d := range []*device{bob, carol} {
		d.event(protocol.EventCallInvited, nil)
		d.changed()
	}
	alice.event(protocol.EventCallCreated, nil)
	alice.changed()
	bob.ok(protocol.OpCallReject, about(made.CallID), nil)
	for _, d := range []*device{alice, bob, carol} {
		d.sees("v2 bob:2")
	}
	alice.ok(protocol.OpCallCancel, protocol.Cancel{CallID: made.CallID, ExtendedData: "never mind"}, nil)
	var cancelled protocol.Cancelled
	carol.event(protocol.EventCallCancelled, &cancelled)
	if cancelled.Reason != protocol.ReasonCallerCancel || cancelled.ExtendedData != "never mind" || cancelled.Inviter != "alice" || cancelled.Version != 3 {
		t.Errorf("carol got %+v", cancelled)
	}
	alice.sees("v3 carol:3")
	for _, d := range []*device{alice, bob, carol} {
		d.quiet()
	}
	carol.refused(protocol.CodeCancelled, protocol.OpCallAccept, about(made.CallID))
}

func TestAdvancedCall(t *testing.T) {
	s := newSite(t, settings{})
	alice, bob, carol, dave := s.login("alice"), s.login("bob"), s.login("carol"), s.login("dave")
	made := alice.invite(call.Advanced, "bob", "carol")
	alice.event(protocol.EventCallCreated, nil)
	alice.changed()
	for _, d := range []*device{bob, carol} {
		d.event(protocol.EventCallInvited, nil)
		d.changed()
	}
	var users protocol.UsersReply
	alice.ok(protocol.OpCallCancel, protocol.Cancel{CallID: made.CallID, UserIDs: []string{"carol", "zoe"}}, &users)
	if len(users.ErrorUsers) != 1 || users.ErrorUsers[0] != (protocol.ErrorUser{UserID: "zoe", Code: protocol.CodeNotInCall}) {
		t.Errorf("errors %+v", users.ErrorUsers)
	}
	carol.event(protocol.EventCallCancelled, nil)
	for _, d := range []*device{alice, bob} {
		d.sees("v2 carol:10")
	}
	bob.ok(protocol.OpCallAccept, about(made.CallID), nil)
	for _, d := range []*device{alice, bob} {
		d.sees("v3 bob:1")
	}
	bob.ok(protocol.OpCallInviteMore, protocol.InviteMore{CallID: made.CallID, UserIDs: []string{"carol", "alice"}}, &users)
	if len(users.ErrorUsers) != 1 || users.ErrorUsers[0].Code != protocol.CodeAlreadyInCall {
		t.Errorf("errors %+v", users.ErrorUsers)
	}
	var view protocol.Call
	carol.event(protocol.EventCallInvited, &view)
	if view.Inviter != "bob" {
		t.Errorf("carol was invited by %q", view.Inviter)
	}
	for _, d := range []*device{carol, alice, bob} {
		d.sees("v4 carol:0")
	}
	var joined protocol.JoinReply
	dave.ok(protocol.OpCallJoin, about(made.CallID), &joined)
	if joined.Version != 5 || joined.JoinTimeMS == 0 || len(joined.Users) != 4 {
		t.Errorf("dave joined %+v", joined)
	}
	for _, d := range []*device{alice, bob, carol, dave} {
		d.sees("v5 dave:1")
	}
	dave.refused(protocol.CodeAlreadyOnDevice, protocol.OpCallJoin, about(made.CallID))
	var left protocol.LeaveReply
	dave.ok(protocol.OpCallQuit, about(made.CallID), &left)
	if left.QuitTimeMS == 0 || left.AcceptTimeMS == 0 || left.EndTimeMS != 0 {
		t.Errorf("dave left %+v", left)
	}
	for _, d := range []*device{alice, bob, carol, dave} {
		d.sees("v6 dave:7")
	}
	alice.ok(protocol.OpCallEnd, protocol.CallAction{CallID: made.CallID, ExtendedData: "bye"}, &left)
	for _, d := range []*device{alice, bob, carol} {
		var ended protocol.Ended
		d.event(protocol.EventCallEnded, &ended)
		if ended.Operator != "alice" || ended.ExtendedData != "bye" || ended.Reason != protocol.ReasonEnded || ended.EndTimeMS != left.EndTimeMS {
			t.Errorf("%s got %+v", d.user, ended)
		}
	}
	for _, d := range []*device{alice, bob, carol, dave} {
		d.quiet()
	}
}

func TestJoinPolicyInvited(t *testing.T) {
	s := newSite(t, settings{invitedOnly: true})
	alice, _, dave := s.login("alice"), s.login("bob"), s.login("dave")
	made := alice.invite(call.Advanced, "bob")
	dave.refused(protocol.CodeNotInCall, protocol.OpCallJoin, about(made.CallID))
}

func TestAwayWhileItEnds(t *testing.T) {
	s := newSite(t, settings{})
	alice, bob := s.login("alice"), s.login("bob")
	first := alice.invite(call.General, "bob")
	second := alice.invite(call.General, "bob")
	bob.conn.Close()
	alice.ok(protocol.OpCallCancel, protocol.Cancel{CallID: first.CallID}, nil)
	back := s.dial()
	reply := back.login(protocol.Login{
		AppID: appID, UserID: "bob", Token: token(t, "bob", 1e12), SessionID: bob.session,
		KnownCalls: []string{first.CallID, second.CallID, "77", "spoilt"},
	})
	if !reply.Resumed || reply.SessionID != bob.session {
		t.Errorf("not resumed: %+v", reply)
	}
	if len(reply.Calls) != 1 || reply.Calls[0].CallID != second.CallID || reply.Calls[0].RingRemainingMS == 0 {
		t.Errorf("calls %+v", reply.Calls)
	}
	want := []protocol.EndedCall{
		{CallID: "77", Reason: protocol.ReasonUnknown},
		{CallID: first.CallID, Version: 2, State: 3, Reason: protocol.ReasonCallerCancel},
		{CallID: "spoilt", Reason: protocol.ReasonUnknown},
	}
	if !slices.Equal(reply.Ended, want) {
		t.Errorf("ended %+v, want %+v", reply.Ended, want)
	}
	var snap protocol.Snapshot
	back.ok(protocol.OpCallSync, protocol.Sync{KnownCalls: []string{first.CallID}}, &snap)
	if len(snap.Calls) != 1 || len(snap.Ended) != 1 {
		t.Errorf("sync %+v", snap)
	}
	back.quiet()
}

func TestQuery(t *testing.T) {
	s := newSite(t, settings{})
	alice, _ := s.login("alice"), s.login("bob")
	for range 3 {
		made := alice.invite(call.General, "bob")
		alice.ok(protocol.OpCallCancel, protocol.Cancel{CallID: made.CallID, UserIDs: []string{"bob"}}, nil)
	}
	alice.waiting = nil
	var page protocol.QueryReply
	alice.ok(protocol.OpCallQuery, protocol.Query{Count: 2}, &page)
	if len(page.Calls) != 2 || page.NextFlag <= 0 || page.NextFlag >= 1<<53 || page.Calls[0].Users[1].State != 10 {
		t.Errorf("first page %+v", page)
	}
	alice.ok(protocol.OpCallQuery, protocol.Query{Count: 2, NextFlag: page.NextFlag}, &page)
	if len(page.Calls) != 1 || page.NextFlag != 0 {
		t.Errorf("last page %+v", page)
	}
}

// A page of large calls is cut so that it fits into one frame.
func TestQueryFitsIntoAFrame(t *testing.T) {
	s := newSite(t, settings{})
	alice, _ := s.login("alice"), s.login("bob")
	long := make([]byte, call.MaxExtendedData)
	for i := range long {
		long[i] = 1 // six bytes of JSON
	}
	for range 8 {
		alice.ok(protocol.OpCallInvite, protocol.Invite{UserIDs: []string{"bob"}, ExtendedData: string(long)}, nil)
	}
	alice.waiting = nil
	found := 0
	for flag := int64(0); ; {
		f := alice.reply(alice.request(protocol.OpCallQuery, protocol.Query{NextFlag: flag}))
		if len(f.Body) > protocol.MaxFrame {
			t.Fatalf("a page of %d bytes", len(f.Body))
		}
		page := decodeBody[protocol.QueryReply](t, f)
		found += len(page.Calls)
		if flag = page.NextFlag; flag == 0 {
			break
		}
	}
	if found != 8 {
		t.Errorf("found %d calls, want 8", found)
	}
}
