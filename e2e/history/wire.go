package history

import (
	"encoding/json"
	"slices"

	"github.com/ringback/ringback/protocol"
)

// onConn is what was seen of one call on one connection.
type onConn struct {
	highest Record
	version int64
	events  []Record // about the call, while requests of the connection wait
}

// connections checks what holds for each connection by itself: the order of
// versions, and of replies and events.
func (c *checker) connections() {
	type place struct {
		device string
		conn   int64
		call   string
	}
	seen := make(map[place]*onConn)
	epoch := make(map[string]int64) // connections of library devices, counted here
	known := make(map[requestKey][]string)
	for _, r := range c.records {
		if r.Via == Client && r.Kind == Opened {
			epoch[r.Device]++
		}
		if r.Kind == Sent && (r.Name == protocol.OpLogin || r.Name == protocol.OpCallSync) && r.Via == Wire {
			var in protocol.Sync
			c.decode(r, &in)
			known[keyOf(&r)] = in.KnownCalls
		}
		// A library gives replies and events on different goroutines: only its
		// events have an order.
		if r.Kind != Event && (r.Kind != Reply || r.Via != Wire) || r.Code != 0 {
			continue
		}
		conn := r.Conn
		if r.Via == Client {
			conn = epoch[r.Device]
		}
		if r.Kind == Reply {
			c.accounted(r, known[keyOf(&r)])
		}
		for _, a := range mentioned(r) {
			at := place{r.Device, conn, a.CallID}
			s := seen[at]
			if s == nil {
				s = new(onConn)
				seen[at] = s
			}
			// A call that is over and unknown has no version.
			if a.Version < s.version && a.Version != 0 && (r.Name != Snapshot || r.Via == Wire) {
				c.violated(Version, a.CallID, []Record{s.highest, r}, "on one connection version %d comes after %d", a.Version, s.version)
			}
			if a.Version >= s.version {
				s.version, s.highest = a.Version, r
			}
			if r.Via != Wire {
				continue
			}
			if r.Kind == Reply {
				c.replyFirst(r, a, s.events)
			} else {
				s.events = append(s.events, r)
			}
		}
	}
}

// mentioned are the calls of which a record gives the version.
func mentioned(r Record) []about {
	if len(r.Body) == 0 || r.Error != "" {
		return nil
	}
	var body struct {
		about
		Calls []about `json:"calls"`
		Ended []about `json:"ended"`
	}
	if json.Unmarshal(r.Body, &body) != nil {
		return nil
	}
	if body.CallID != "" {
		return []about{body.about}
	}
	if r.Name == protocol.OpCallQuery {
		return nil
	}
	return append(body.Calls, body.Ended...)
}

// replyFirst checks that no event that the request caused, which is to say one
// of the version that it made, came since it was sent and before its reply.
func (c *checker) replyFirst(reply Record, a about, events []Record) {
	sent := c.sent[keyOf(&reply)]
	s := c.calls[a.CallID]
	if s == nil || reply.Session == "" || !slices.ContainsFunc(s.events, func(e *event) bool {
		return e.Version == a.Version && e.UserID == reply.User && e.SessionID == reply.Session && slices.Contains(makes[sent.Name], e.Event)
	}) {
		return // the version is not this request's doing
	}
	for _, e := range events {
		var told about
		json.Unmarshal(e.Body, &told)
		if e.At >= sent.At && told.Version >= a.Version {
			c.violated(ReplyFirst, a.CallID, []Record{sent, e, reply}, "%s of version %d came before the reply to %s", e.Name, told.Version, sent.Name)
			return
		}
	}
}

// accounted checks that a login or a sync says of every call that the device
// shows what has become of it.
func (c *checker) accounted(r Record, known []string) {
	if r.Error != "" || len(known) == 0 {
		return
	}
	there := mentioned(r)
	for _, id := range known {
		if !slices.ContainsFunc(there, func(a about) bool { return a.CallID == id }) {
			c.violated(Ghost, id, []Record{c.sent[keyOf(&r)], r}, "the device shows the call, and the reply does not say what has become of it")
		}
	}
}
