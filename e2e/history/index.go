package history

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/ringback/ringback/protocol"
)

// storedCall is a call of the admin API, as far as it is looked at.
type storedCall struct {
	CallID   string `json:"call_id"`
	Mode     string `json:"mode"`
	State    string `json:"state"`
	Caller   string `json:"caller"`
	TimeoutS int    `json:"timeout_s"`
	EndedMS  int64  `json:"ended_at_ms"`
	Version  int64  `json:"version"`
	Users    []struct {
		UserID string `json:"user_id"`
		State  string `json:"state"`
	} `json:"users"`
}

const (
	advanced = "advanced"
	live     = "live"
	pending  = "pending" // a delivery
)

// storedEvent is an event of the admin API.
type storedEvent struct {
	ID        string          `json:"id"`
	Event     string          `json:"event"`
	CallID    string          `json:"call_id"`
	AtMS      int64           `json:"at_ms"`
	Version   int64           `json:"version"`
	UserID    string          `json:"user_id"`
	SessionID string          `json:"session_id"`
	Test      bool            `json:"test"`
	Data      json.RawMessage `json:"data"`
}

// eventData are the fields of all events.
type eventData struct {
	UserIDs  []string `json:"user_ids"`
	UserID   string   `json:"user_id"`
	Caller   string   `json:"caller"`
	Inviter  string   `json:"inviter"`
	Operator string   `json:"operator"`
	Reason   string   `json:"reason"`
	Payload  string   `json:"payload"`
	Extended string   `json:"extend_data"`
	Timeout  int      `json:"timeout"`
}

// event is an event of the store, with the record that has it.
type event struct {
	storedEvent
	data   eventData
	record Record
}

// users are those whom the event is about.
func (e *event) users() []string {
	if e.data.UserID != "" {
		return []string{e.data.UserID}
	}
	return e.data.UserIDs
}

// storedDelivery is a delivery of the admin API.
type storedDelivery struct {
	EventID    string `json:"event_id"`
	EndpointID int64  `json:"endpoint_id"`
	Sequence   int    `json:"sequence"`
	Status     string `json:"status"`
	CallID     string `json:"call_id"`
}

type delivery struct {
	storedDelivery
	record Record
}

// story is what the store has of a call.
type story struct {
	id      string
	call    *storedCall // nil: the store has none
	record  Record
	events  []*event
	invites []*invitation
	checked bool // it was made with a not-received check, whose transition has no event
}

func (s *story) proof(events ...*event) []Record {
	var out []Record
	if s.call != nil {
		out = append(out, s.record)
	}
	for _, e := range events {
		out = append(out, e.record)
	}
	return out
}

// requestKey ties a reply to its request.
type requestKey struct {
	device string
	via    Via
	conn   int64
	id     int64
}

func keyOf(r *Record) requestKey { return requestKey{r.Device, r.Via, r.Conn, r.ID} }

// request is something that a user asked for; the call of an invitation is its
// extended data.
type request struct{ user, op, call string }

// index sorts the records.
func (c *checker) index(records []Record) {
	c.calls = make(map[string]*story)
	c.events = make(map[string]*event)
	c.deliver = make(map[string][]*delivery)
	c.sent = make(map[requestKey]Record)
	c.replies = make(map[requestKey]Record)
	c.asked = make(map[request]bool)
	open := make(map[string]time.Duration)
	for _, r := range records {
		switch r.Kind {
		case Began:
			c.began = r.UnixMS
			continue
		case FinalCall:
			c.finalCall(r)
			continue
		case FinalEvent:
			c.finalEvent(r)
			continue
		case FinalDelivery:
			d := &delivery{record: r}
			if c.decode(r, &d.storedDelivery) {
				c.deliver[d.EventID] = append(c.deliver[d.EventID], d)
			}
			continue
		case Sent:
			c.sent[keyOf(&r)] = r
			c.ask(r)
		case Reply:
			c.replies[keyOf(&r)] = r
		case Fault:
			open[r.Name] = r.At
		case Healed:
			c.fault(r.Name, open[r.Name], r.At)
			delete(open, r.Name)
		}
		c.records = append(c.records, r)
		c.end = max(c.end, r.At)
	}
	for name, from := range open {
		c.fault(name, from, c.end)
	}
	c.faults = union(c.faults)
	for key, r := range c.sent {
		// Calls that the store does not know are found by what was asked.
		var in protocol.Invite
		reply, answered := c.replies[key]
		if r.Name != protocol.OpCallInvite || !answered || reply.Code != 0 || reply.Error != "" {
			continue
		}
		if c.decode(r, &in); in.NotReceivedCheck {
			c.story(callOf(reply)).checked = true
		}
	}
}

func (c *checker) finalCall(r Record) {
	call := new(storedCall)
	if !c.decode(r, call) {
		return
	}
	s := c.story(call.CallID)
	if s.call != nil {
		c.violated(Malformed, call.CallID, []Record{s.record, r}, "the final state has the call twice")
	}
	s.call, s.record = call, r
}

func (c *checker) finalEvent(r Record) {
	e := &event{record: r}
	if !c.decode(r, &e.storedEvent) || e.Test {
		return
	}
	if err := json.Unmarshal(e.Data, &e.data); err != nil {
		c.violated(Malformed, e.CallID, []Record{r}, "the data of the event: %v", err)
		return
	}
	if before := c.events[e.ID]; before != nil {
		c.violated(EventID, e.CallID, []Record{before.record, r}, "two events have the ID %s", e.ID)
		return
	}
	c.events[e.ID] = e
	c.feed = append(c.feed, e)
	if e.CallID != "" {
		s := c.story(e.CallID)
		s.events = append(s.events, e)
	}
}

func (c *checker) ask(r Record) {
	call := callOf(r)
	if r.Name == protocol.OpCallInvite {
		var in protocol.Invite
		c.decode(r, &in)
		call = in.ExtendedData
	}
	c.asked[request{r.User, r.Name, call}] = true
}

func (c *checker) fault(name string, from, to time.Duration) {
	if name == ReceiverFault {
		// It is no excuse for what devices are told.
		c.silent = append(c.silent, span{from, to + c.limits.Recovery})
		return
	}
	c.faults = append(c.faults, span{from, to + c.limits.Recovery})
}

// union joins spans that overlap.
func union(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return int(a.from - b.from) })
	var out []span
	for _, s := range spans {
		if n := len(out); n > 0 && s.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, s.to)
		} else {
			out = append(out, s)
		}
	}
	return out
}

// story is the story of a call, an empty one for a call not heard of before.
func (c *checker) story(id string) *story {
	s := c.calls[id]
	if s == nil {
		s = &story{id: id}
		c.calls[id] = s
		c.order = append(c.order, id)
	}
	return s
}

// decode decodes the body of a record.
func (c *checker) decode(r Record, into any) bool {
	if err := json.Unmarshal(r.Body, into); err != nil {
		c.violated(Malformed, "", []Record{r}, "the body: %v", err)
		return false
	}
	return true
}

// about is what every body about a call has.
type about struct {
	CallID  string `json:"call_id"`
	Version int64  `json:"version"`
}

func callOf(r Record) string {
	var a about
	if len(r.Body) == 0 || json.Unmarshal(r.Body, &a) != nil {
		return ""
	}
	return a.CallID
}
