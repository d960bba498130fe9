package ws

import (
	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/trace"
	"github.com/ringback/ringback/protocol"
)

// CatchUp tells the devices of this node what became of a call between two
// looks at it: who rings now, who has changed, that it ended, and to whoever rang
// and no longer does, why. before is nil when they know nothing of the call. A
// device that is told something twice sees it by the version.
func (s *Server) CatchUp(before, after *call.Call) {
	m := mail{hub: &s.hub, c: after, at: s.now(), sent: make([]trace.Entry, 0, 8)}
	var changed []call.UserID
	for i := range after.Users {
		u := &after.Users[i]
		var was *call.User
		if before != nil {
			was = before.User(u.ID)
		}
		if was == nil || was.State != u.State {
			changed = append(changed, u.ID)
		}
		rang := was != nil && before.Live() && was.State.Pending()
		rings := after.Live() && u.State.Pending()
		switch {
		case before == nil && after.Live() && u.ID == after.Caller:
			m.toAll(u.ID, protocol.EventCallCreated)
		case rings && !rang:
			m.toAll(u.ID, protocol.EventCallInvited)
		case rang && !rings:
			m.stopped(u)
		}
	}
	if len(changed) > 0 {
		m.changed("", changed...)
	}
	if after.Mode == call.Advanced && !after.Live() && before != nil && before.Live() {
		m.ended()
	}
	m.send()
	s.Trace(m.c.ID, m.sent...)
}

// toAll sends the whole call to a user's devices, if there are any here.
func (m *mail) toAll(id call.UserID, event string) {
	if len(m.hub.of(userKey{m.c.App, id})) > 0 {
		m.call(event, id)
	}
}

// stopped tells the devices of a user who rang and no longer does why that is,
// unless the end of the call itself says so, or they did it.
func (m *mail) stopped(u *call.User) {
	for _, cl := range m.hub.of(userKey{m.c.App, u.ID}) {
		switch _, reason := m.c.Ending(u.ID, cl.session); reason {
		case call.CallerCancel, call.CallerLeft:
			m.toClient(cl, protocol.EventCallCancelled, m.cancelled(u.ID, reason, ""))
		case call.RangOut:
			m.toClient(cl, protocol.EventCallTimedOut, m.timedOut())
		case call.AnsweredElsewhere, call.HasQuit: // who has quit had accepted before
			if u.LastBy != cl.session {
				m.toClient(cl, protocol.EventCallAnsweredElsewhere, m.answeredElsewhere(u.LastBy, u.State))
			}
		}
	}
}

func (m *mail) toClient(cl *client, event string, body any) {
	m.queue(cl, event, eventFrame(event, body))
}
