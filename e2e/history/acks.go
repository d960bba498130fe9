package history

import (
	"encoding/json"
	"slices"

	"github.com/ringback/ringback/protocol"
)

// acknowledged checks that what was acknowledged or told is in the store, that
// what was refused is not, and that one request made one call.
func (c *checker) acknowledged() {
	first := make(map[request]*story) // calls by caller and extended data
	for _, id := range c.order {
		s := c.calls[id]
		if len(s.events) == 0 || s.events[0].data.Payload == "" {
			continue
		}
		e := s.events[0]
		key := request{e.data.Caller, protocol.OpCallInvite, e.data.Payload}
		if other := first[key]; other != nil {
			c.violated(Doubled, id, s.proof(other.events[0], e), "the invitation %q of %s made two calls", e.data.Payload, e.data.Caller)
			continue
		}
		first[key] = s
	}
	for _, r := range c.records {
		switch r.Kind {
		case Reply:
			c.replied(r)
		case Event:
			c.toldEvent(r)
		}
	}
}

// makes are the events that a request makes of what it does, by operation. One
// that causes none, or one that keeps the version, is not in it.
var makes = map[string][]string{
	protocol.OpCallInvite:     {protocol.CallbackCreate},
	protocol.OpCallInviteMore: {protocol.CallbackInvite},
	protocol.OpCallCancel:     {protocol.CallbackCancel},
	protocol.OpCallAccept:     {protocol.CallbackAccept},
	protocol.OpCallReject:     {protocol.CallbackReject},
	protocol.OpCallJoin:       {protocol.CallbackAccept, protocol.CallbackJoin},
	protocol.OpCallQuit:       {protocol.CallbackQuit},
	protocol.OpCallEnd:        {protocol.CallbackEnd},
}

// replied checks one reply.
func (c *checker) replied(r Record) {
	sent, ok := c.sent[keyOf(&r)]
	if !ok {
		c.violated(Malformed, "", []Record{r}, "the reply has no request")
		return
	}
	if r.Error != "" {
		return // nothing is known
	}
	if r.Code != 0 {
		c.refused(sent, r)
		return
	}
	var body struct {
		about
		ErrorUsers []protocol.ErrorUser `json:"error_users"`
	}
	if len(r.Body) == 0 {
		return
	}
	if !c.decode(r, &body) {
		return
	}
	if body.CallID == "" {
		c.toldSnapshot(r)
		return
	}
	s := c.stored(r, body.about)
	if s == nil {
		return
	}
	var in struct {
		UserIDs []string `json:"user_ids"`
	}
	c.decode(sent, &in)
	named := slices.DeleteFunc(slices.Clone(in.UserIDs), func(id string) bool {
		return slices.ContainsFunc(body.ErrorUsers, func(e protocol.ErrorUser) bool { return e.UserID == id })
	})
	if len(in.UserIDs) > 0 && len(named) == 0 {
		return // nobody was left
	}
	// done looks for an event of the user, and of each of those named.
	done := func(named []string, events ...string) bool {
		matches := func(e *event, user string) bool {
			return slices.Contains(events, e.Event) && (user == "" || slices.Contains(e.users(), user))
		}
		if len(named) == 0 {
			named = []string{""}
		}
		for _, user := range named {
			if !slices.ContainsFunc(s.events, func(e *event) bool { return matches(e, user) }) {
				return false
			}
		}
		return true
	}
	events := makes[sent.Name]
	kept := true
	switch sent.Name {
	case protocol.OpCallInvite:
		kept = s.call.Caller == r.User && done(named, events...)
	case protocol.OpCallInviteMore, protocol.OpCallCancel:
		kept = done(named, events...)
	case protocol.OpCallAccept, protocol.OpCallReject, protocol.OpCallJoin, protocol.OpCallQuit:
		kept = done([]string{r.User}, events...)
	case protocol.OpCallEnd:
		kept = slices.ContainsFunc(s.events, func(e *event) bool {
			return e.Event == protocol.CallbackEnd && e.data.Operator == r.User
		})
	}
	if !kept {
		c.violated(Lost, s.id, append([]Record{sent, r}, s.proof(s.events...)...), "%s of %s was acknowledged and is not in the store", sent.Name, r.User)
	}
}

// stored is the story of a call of which something was said; nil, and a
// violation, when the store does not know as much.
func (c *checker) stored(r Record, a about) *story {
	s := c.calls[a.CallID]
	switch {
	case s == nil || s.call == nil:
		c.violated(Lost, a.CallID, []Record{r}, "the store does not have the call")
		return nil
	case a.Version > s.call.Version:
		c.violated(Lost, a.CallID, append([]Record{r}, s.proof()...), "version %d was told, the store has %d", a.Version, s.call.Version)
	}
	return s
}

// refused checks that an answer in general mode, where an invitation comes
// once, did not take effect when it was refused: a repeat by the same session
// would have been answered as the first.
func (c *checker) refused(sent, r Record) {
	s := c.calls[callOf(sent)]
	if s == nil || s.mode() == advanced || r.Session == "" {
		return
	}
	switch protocol.Code(r.Code) {
	case protocol.CodeCancelled, protocol.CodeNotInCall, protocol.CodeNoSuchCall:
	default:
		return
	}
	switch sent.Name {
	case protocol.OpCallAccept, protocol.OpCallReject:
	default:
		return
	}
	for _, e := range s.events {
		if slices.Contains(makes[sent.Name], e.Event) && e.UserID == r.User && e.SessionID == r.Session {
			c.violated(Refused, s.id, append([]Record{sent, r}, s.proof(e)...), "%s of %s was refused and is in the store", sent.Name, r.User)
		}
	}
}

// toldEvent checks that what a device was told is in the store.
func (c *checker) toldEvent(r Record) {
	if r.Name == Snapshot {
		c.toldSnapshot(r)
		return
	}
	var body struct {
		about
		Answer string `json:"answer"`
	}
	if len(r.Body) == 0 || !c.decode(r, &body) || body.CallID == "" {
		return
	}
	s := c.stored(r, body.about)
	if s == nil {
		return
	}
	var events []string
	switch r.Name {
	case protocol.EventCallInvited:
		events = []string{protocol.CallbackCreate, protocol.CallbackInvite}
	case protocol.EventCallCancelled:
		events = []string{protocol.CallbackCancel}
	case protocol.EventCallTimedOut:
		events = []string{protocol.CallbackTimeout, protocol.CallbackCancel}
	case protocol.EventCallAnsweredElsewhere:
		events = []string{"call_" + answers[body.Answer]}
	case protocol.EventCallEnded:
		if !slices.ContainsFunc(s.events, func(e *event) bool { return e.Event == protocol.CallbackEnd }) {
			c.violated(Lost, s.id, append([]Record{r}, s.proof()...), "the end that was told is not in the store")
		}
		return
	default:
		return
	}
	if !slices.ContainsFunc(s.events, func(e *event) bool {
		return e.Version <= body.Version && slices.Contains(events, e.Event) && slices.Contains(e.users(), r.User)
	}) {
		c.violated(Lost, s.id, append([]Record{r}, s.proof(s.events...)...), "%s of version %d was told to %s and is not in the store", r.Name, body.Version, r.User)
	}
}

// answers are the answers of answered_elsewhere, by the end of the event's name.
var answers = map[string]string{"accepted": "accept", "rejected": "reject"}

// toldSnapshot checks the versions of a snapshot.
func (c *checker) toldSnapshot(r Record) {
	var snap protocol.Snapshot
	if json.Unmarshal(r.Body, &snap) != nil {
		return // of another kind
	}
	for _, call := range snap.Calls {
		c.stored(r, about{call.CallID, call.Version})
	}
	for _, end := range snap.Ended {
		if end.Reason != protocol.ReasonUnknown {
			c.stored(r, about{end.CallID, end.Version})
		} else if s := c.calls[end.CallID]; s != nil && s.call != nil {
			c.violated(Lost, s.id, append([]Record{r}, s.proof()...), "%s was told that there is no such call", r.User)
		}
	}
}
