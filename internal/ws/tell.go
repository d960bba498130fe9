package ws

import (
	"encoding/json"
	"slices"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/engine"
	"github.com/ringback/ringback/internal/trace"
	"github.com/ringback/ringback/protocol"
)

// Tell sends the devices of this node what a transition means to them. It is
// the one place that says which device learns what of a call; the rows follow
// the event table of the client protocol.
func (s *Server) Tell(t engine.Transition) {
	m := mail{hub: &s.hub, c: t.After, at: s.now(), remote: t.Remote, elsewhere: t.Elsewhere, sent: make([]trace.Entry, 0, 8)}
	m.leftOut(t)
	switch e := t.Event.(type) {
	case call.CallCreated:
		m.call(protocol.EventCallCreated, e.User)
		m.invited(e.Invitees)
	case call.UsersInvited:
		m.invited(e.Invitees)
	case call.InvitationReceived:
		m.changed("", e.User)
	case call.InvitationsUnconfirmed:
		for _, id := range e.Users {
			if !t.Remote {
				m.note(trace.Unconfirmed, id, "", "")
			}
		}
		m.changed("", e.Users...)
	case call.CallAccepted:
		m.answered(e.Actor, call.Accepted)
		m.changed("", e.User)
	case call.CallRejected:
		m.answered(e.Actor, call.Rejected)
		m.changed(e.User, e.User)
	case call.InvitationsCancelled:
		for _, id := range e.Users {
			m.toUser(id, "", protocol.EventCallCancelled, m.cancelled(id, e.Reason, e.ExtendedData))
		}
		m.changed("", e.Users...)
	case call.InvitationsTimedOut:
		for _, id := range e.Users {
			m.toUser(id, "", protocol.EventCallTimedOut, m.timedOut())
		}
		m.changed("", e.Users...)
	case call.UserJoined:
		m.changed("", e.User)
	case call.UserQuit:
		m.quit(e.Actor)
	}
	if m.c.Mode == call.Advanced && !m.c.Live() && (t.Before == nil || t.Before.Live()) {
		m.ended()
	}
	m.send()
	s.Trace(m.c.ID, m.sent...)
}

// mail collects the frames of one transition, then has each connection write
// its share in one go.
type mail struct {
	hub     *hub
	c       *call.Call
	touched []*client
	at      call.Instant
	sent    []trace.Entry
	// The node that made the transition notes who was nowhere.
	remote    bool
	elsewhere []call.UserID
}

// call sends a user's devices the whole call.
func (m *mail) call(event string, to call.UserID) {
	clients := m.hub.of(userKey{m.c.App, to})
	if len(clients) == 0 {
		if event == protocol.EventCallInvited && !m.remote && !slices.Contains(m.elsewhere, to) {
			m.note(trace.Absent, to, "", event)
		}
		return
	}
	frame := eventFrame(event, viewCall(m.c, to, m.at))
	for _, cl := range clients {
		m.queue(cl, event, frame)
	}
}

// leftOut notes who was to be invited and could not be.
func (m *mail) leftOut(t engine.Transition) {
	if t.Remote {
		return
	}
	switch t.Event.(type) {
	case call.CallCreated, call.UsersInvited:
		for _, e := range t.Errors {
			m.sent = append(m.sent, trace.Entry{At: m.at, Kind: trace.LeftOut, User: e.User, Version: m.c.Version, Code: int(e.Code)})
		}
	}
}

// note adds to the trace of the call.
func (m *mail) note(kind trace.Kind, user call.UserID, session call.SessionID, event string) {
	m.sent = append(m.sent, trace.Entry{
		At: m.at, Kind: kind, User: user, Session: session, Event: event, Version: m.c.Version,
	})
}

func (m *mail) invited(ids []call.UserID) {
	for _, id := range ids {
		m.call(protocol.EventCallInvited, id)
	}
	m.changed("", ids...)
}

// changed tells every pending or accepted user, and one other, which users of
// the call have changed.
func (m *mail) changed(also call.UserID, ids ...call.UserID) {
	frame := m.usersChanged(ids)
	for i := range m.c.Users {
		if u := &m.c.Users[i]; u.State.Active() || u.ID == also {
			m.toClients(u.ID, "", protocol.EventCallUsersChanged, frame)
		}
	}
}

// quit tells the others, and of the devices of the user who left only the one
// that did it.
func (m *mail) quit(a call.Actor) {
	frame := m.usersChanged([]call.UserID{a.User})
	for i := range m.c.Users {
		if u := &m.c.Users[i]; u.State.Active() {
			m.toClients(u.ID, "", protocol.EventCallUsersChanged, frame)
		}
	}
	for _, cl := range m.hub.of(userKey{m.c.App, a.User}) {
		if cl.session == a.Session {
			m.queue(cl, protocol.EventCallUsersChanged, frame)
		}
	}
}

// usersChanged encodes the frame once for all who get it. None of the users
// that changed sees himself otherwise than others do: those who were
// cancelled are not among the receivers.
func (m *mail) usersChanged(ids []call.UserID) []byte {
	return eventFrame(protocol.EventCallUsersChanged, protocol.UsersChanged{
		CallID: m.c.ID.String(), Version: m.c.Version, Users: viewUsers(m.c, "", ids),
	})
}

// answered tells the other devices of a user that he answered on one.
func (m *mail) answered(a call.Actor, answer call.UserState) {
	m.toUser(a.User, a.Session, protocol.EventCallAnsweredElsewhere, m.answeredElsewhere(a.Session, answer))
}

// cancelled, timedOut and answeredElsewhere are what a device is told that
// rings no longer. Whoever answered has accepted, if he did not reject.
func (m *mail) cancelled(id call.UserID, reason call.Reason, extendedData string) protocol.Cancelled {
	return protocol.Cancelled{
		CallID: m.c.ID.String(), Version: m.c.Version, Mode: int(m.c.Mode), Inviter: string(m.c.User(id).Inviter),
		ExtendedData: extendedData, Reason: string(reason),
	}
}

func (m *mail) timedOut() protocol.TimedOut {
	return protocol.TimedOut{CallID: m.c.ID.String(), Version: m.c.Version, Mode: int(m.c.Mode)}
}

func (m *mail) answeredElsewhere(on call.SessionID, state call.UserState) protocol.AnsweredElsewhere {
	answer := "accepted"
	if state == call.Rejected {
		answer = "rejected"
	}
	return protocol.AnsweredElsewhere{CallID: m.c.ID.String(), Version: m.c.Version, Answer: answer, SessionID: string(on)}
}

func (m *mail) ended() {
	frame := eventFrame(protocol.EventCallEnded, protocol.Ended{
		CallID: m.c.ID.String(), Version: m.c.Version, Mode: int(m.c.Mode), Caller: string(m.c.Caller),
		Operator: string(m.c.EndOperator), ExtendedData: m.c.EndExtendedData, EndTimeMS: int64(m.c.EndedAt),
		Reason: string(m.c.EndReason),
	})
	for i := range m.c.Users {
		if u := &m.c.Users[i]; u.State.Active() {
			m.toClients(u.ID, "", protocol.EventCallEnded, frame)
		}
	}
}

// toUser sends an event to all devices of a user but one.
func (m *mail) toUser(id call.UserID, except call.SessionID, event string, body any) {
	if len(m.hub.of(userKey{m.c.App, id})) > 0 {
		m.toClients(id, except, event, eventFrame(event, body))
	}
}

func (m *mail) toClients(id call.UserID, except call.SessionID, event string, frame []byte) {
	for _, cl := range m.hub.of(userKey{m.c.App, id}) {
		if except == "" || cl.session != except {
			m.queue(cl, event, frame)
		}
	}
}

func (m *mail) queue(cl *client, event string, frame []byte) {
	m.note(trace.Sent, cl.key.user, cl.session, event)
	cl.event(m.c.ID, frame)
	for _, other := range m.touched {
		if other == cl {
			return
		}
	}
	m.touched = append(m.touched, cl)
}

func (m *mail) send() {
	for _, cl := range m.touched {
		cl.conn.flush()
	}
}

// eventFrame encodes an event. The bodies are types of package protocol, which
// always encode.
func eventFrame(event string, body any) []byte {
	return textFrame(mustJSON(struct {
		Event string `json:"event"`
		Body  any    `json:"body"`
	}{event, body}))
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("ws: " + err.Error())
	}
	return b
}
