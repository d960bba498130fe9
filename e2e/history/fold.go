package history

import (
	"slices"
	"time"

	"github.com/ringback/ringback/protocol"
)

// User states of the admin API.
const (
	accepted    = "accepted"
	rejected    = "rejected"
	cancelled   = "cancelled"
	beCancelled = "be-cancelled"
	timedOut    = "timed_out"
	quit        = "quit"
)

// invitation is one ringing of a user, from its event to the event that ended
// it.
type invitation struct {
	user     string
	deadline int64 // Unix milliseconds
	begun    *event
	ended    *event // nil: it is pending
}

// model is what the events of a call make of it.
type model struct {
	ringing map[string]*invitation
	state   map[string]string // of users who are not ringing
	ended   *event
}

// fold lives the events of a call through by the rules of calls, and holds the
// result against the call as the store has it.
func (c *checker) fold(s *story) {
	if len(s.events) == 0 {
		if s.call != nil {
			c.violated(Lost, s.id, s.proof(), "the call has no events")
		}
		return
	}
	m := model{ringing: make(map[string]*invitation), state: make(map[string]string)}
	for i, e := range s.events {
		var prior *event
		if i > 0 {
			prior = s.events[i-1]
		}
		c.versions(s, prior, e)
		if (i == 0) != (e.Event == protocol.CallbackCreate) {
			c.violated(Outcome, s.id, s.proof(e), "a call begins with its one call_create, and this is event %d", i+1)
		}
		if m.ended != nil && !sameTransition(m.ended, e) {
			c.violated(AfterEnd, s.id, s.proof(m.ended, e), "%s comes after the end of the call", e.Event)
		}
		c.step(s, &m, e)
		c.caused(s, e)
	}
	c.finalState(s, &m)
}

// sameTransition reports whether two events may be of one transition: the end
// of an advanced call follows the event that brought it about, and so does the
// cancel of those who were still being rung.
func sameTransition(a, b *event) bool {
	return a.Version == b.Version && (b.Event == protocol.CallbackEnd || b.Event == protocol.CallbackCancel)
}

// versions checks the version of an event against that of the one before.
func (c *checker) versions(s *story, prior, e *event) {
	var before int64
	if prior != nil {
		before = prior.Version
	}
	soft := e.Event == protocol.CallbackReceived || prior != nil && prior.Event == protocol.CallbackReceived
	switch {
	case prior != nil && e.Version == before && (soft || sameTransition(prior, e)):
	case e.Version == before+1 && e.Event != protocol.CallbackReceived:
	case e.Version > before && s.checked:
		// The not-received check raises the version without an event.
	case e.Version > before:
		c.violated(Gap, s.id, s.proof(e), "the version goes from %d to %d: a transition is missing", before, e.Version)
	default:
		c.violated(Gap, s.id, s.proof(prior, e), "the version goes from %d to %d", before, e.Version)
	}
}

// step applies an event.
func (c *checker) step(s *story, m *model, e *event) {
	switch e.Event {
	case protocol.CallbackCreate:
		m.state[e.data.Caller] = accepted
		c.invite(s, m, e, e.data.Timeout)
	case protocol.CallbackInvite:
		timeout := 0
		if len(s.events) > 0 {
			timeout = s.events[0].data.Timeout
		}
		c.invite(s, m, e, timeout)
	case protocol.CallbackAccept:
		c.settle(s, m, e, accepted)
	case protocol.CallbackReject:
		c.settle(s, m, e, rejected)
	case protocol.CallbackCancel:
		switch e.data.Reason {
		case protocol.CancelByTimeout:
			c.settle(s, m, e, timedOut)
		default:
			c.settle(s, m, e, cancelled)
		}
	case protocol.CallbackTimeout:
		c.settle(s, m, e, timedOut)
	case protocol.CallbackReceived:
		if m.ringing[e.data.UserID] == nil {
			c.violated(Outcome, s.id, s.proof(e), "%s confirms a ringing that is not", e.data.UserID)
		}
	case protocol.CallbackJoin:
		if inv := m.ringing[e.data.UserID]; inv != nil {
			c.violated(Outcome, s.id, s.proof(inv.begun, e), "%s joins while being rung, which is an accept", e.data.UserID)
		}
		m.state[e.data.UserID] = accepted
	case protocol.CallbackQuit:
		if m.state[e.data.UserID] != accepted {
			c.violated(Outcome, s.id, s.proof(e), "%s quits without being in the call", e.data.UserID)
		}
		m.state[e.data.UserID] = quit
	case protocol.CallbackEnd:
		// Those still ringing at the end keep their states; their call_cancel
		// has come before this.
		m.ended = e
	}
	if s.mode() != advanced && m.ended == nil && len(m.ringing) == 0 {
		m.ended = e
	}
}

// mode is that of the call; "" when the store has none.
func (s *story) mode() string {
	if s.call == nil {
		return ""
	}
	return s.call.Mode
}

func (c *checker) invite(s *story, m *model, e *event, timeout int) {
	for _, user := range e.data.UserIDs {
		if inv := m.ringing[user]; inv != nil || m.state[user] == accepted {
			c.violated(Outcome, s.id, s.proof(e), "%s is invited again while being rung or in the call", user)
			continue
		}
		inv := &invitation{user: user, deadline: e.AtMS + int64(timeout)*1000, begun: e}
		m.ringing[user] = inv
		s.invites = append(s.invites, inv)
		delete(m.state, user)
	}
}

// settle gives invitations their outcome.
func (c *checker) settle(s *story, m *model, e *event, state string) {
	for _, user := range e.users() {
		inv := m.ringing[user]
		if inv == nil {
			proof := s.proof(e)
			for _, old := range s.invites {
				if old.user == user && old.ended != nil {
					proof = s.proof(old.ended, e)
				}
			}
			c.violated(Outcome, s.id, proof, "%s for %s, who is not being rung (%q): an invitation has one outcome", e.Event, user, m.state[user])
			continue
		}
		inv.ended = e
		m.state[user] = state
		delete(m.ringing, user)
	}
}

// finalState holds the call of the store against its events.
func (c *checker) finalState(s *story, m *model) {
	if s.call == nil {
		c.violated(Lost, s.id, s.proof(s.events[0]), "there are events of a call that the store does not have")
		return
	}
	last := s.events[len(s.events)-1]
	for _, u := range s.call.Users {
		inv, want := m.ringing[u.UserID], m.state[u.UserID]
		switch {
		case inv != nil && (u.State == "inviting" || u.State == "received" || u.State == "not_yet_received"):
		case inv != nil:
			c.violated(State, s.id, s.proof(last), "%s is %q, but by the events still being rung", u.UserID, u.State)
		case u.State == want || want == cancelled && s.cancelledState(m, u.State):
		default:
			c.violated(State, s.id, s.proof(last), "%s is %q, but by the events %q", u.UserID, u.State, want)
		}
	}
	for user := range m.state {
		if !slices.ContainsFunc(s.call.Users, func(u struct {
			UserID string `json:"user_id"`
			State  string `json:"state"`
		},
		) bool {
			return u.UserID == user
		}) {
			c.violated(State, s.id, s.proof(last), "%s is in the events, but not in the call", user)
		}
	}
	if s.call.Version != last.Version && !s.checked {
		c.violated(State, s.id, s.proof(last), "the call has version %d, its last event %d", s.call.Version, last.Version)
	}
	if over := m.ended != nil; over == (s.call.State == live) {
		c.violated(State, s.id, s.proof(last), "the call is %q; by its events it has ended: %v", s.call.State, over)
	}
	if s.call.State == live {
		c.violated(Unsettled, s.id, s.proof(last), "the call lives on")
	}
}

// cancelledState reports whether that is a state of one whom a call_cancel
// named: those whom the end of an advanced call left ringing keep their state.
func (s *story) cancelledState(m *model, state string) bool {
	switch state {
	case cancelled, beCancelled:
		return true
	case "inviting", "received", "not_yet_received":
		return m.ended != nil && m.ended.Event == protocol.CallbackEnd
	}
	return false
}

// caused checks that a user asked for what a device of his is said to have
// done.
func (c *checker) caused(s *story, e *event) {
	user := e.UserID
	did := func(ops ...string) bool {
		return slices.ContainsFunc(ops, func(op string) bool { return c.asked[request{user, op, s.id}] })
	}
	asked := true
	switch e.Event {
	case protocol.CallbackCreate:
		user = e.data.Caller
		asked = c.asked[request{user, protocol.OpCallInvite, e.data.Payload}]
	case protocol.CallbackInvite:
		asked = did(protocol.OpCallInviteMore)
	case protocol.CallbackAccept:
		asked = did(protocol.OpCallAccept, protocol.OpCallJoin)
	case protocol.CallbackReject:
		asked = did(protocol.OpCallReject)
	case protocol.CallbackJoin:
		asked = did(protocol.OpCallJoin)
	case protocol.CallbackReceived:
		// The library confirms by itself.
	case protocol.CallbackCancel:
		// Without a session it was because the caller was gone, or by time.
		asked = e.SessionID == "" || did(protocol.OpCallCancel, protocol.OpCallEnd, protocol.OpCallQuit)
	case protocol.CallbackQuit:
		asked = e.SessionID == "" || did(protocol.OpCallQuit)
	case protocol.CallbackEnd:
		user = e.data.Operator
		asked = user == "" || did(protocol.OpCallEnd)
	}
	if !asked {
		c.violated(Uncaused, s.id, s.proof(e), "%s did not ask for %s", user, e.Event)
	}
}

// invitations checks the instants of what ended invitations.
func (c *checker) invitations() {
	for _, id := range c.order {
		s := c.calls[id]
		for _, inv := range s.invites {
			deadline := c.at(inv.deadline)
			if inv.ended == nil {
				if late := c.calm(deadline, c.end); late > c.limits.Late {
					c.violated(Timer, id, s.proof(inv.begun), "%s should have timed out %v before the end of the history", inv.user, late.Round(time.Millisecond))
				}
				continue
			}
			byTime := inv.ended.Event == protocol.CallbackTimeout || inv.ended.data.Reason == protocol.CancelByTimeout
			if late := c.calm(deadline, c.at(inv.ended.AtMS)); late > c.limits.Late {
				c.violated(Timer, id, s.proof(inv.begun, inv.ended), "%s of %s comes %v after the deadline", inv.ended.Event, inv.user, late.Round(time.Millisecond))
			}
			if early := inv.deadline - inv.ended.AtMS; byTime && early > 0 {
				c.violated(Timer, id, s.proof(inv.begun, inv.ended), "%s of %s comes %d ms before the deadline", inv.ended.Event, inv.user, early)
			}
		}
	}
}
