package history

import (
	"encoding/json"
	"time"

	"github.com/ringback/ringback/protocol"
)

// device is what a device went through.
type device struct {
	name     string
	via      Via
	online   []span // logged in; the last may last until the end
	up       bool
	rings    map[string]*ring
	open     map[int64]bool // connections that are logged in
	answered map[string]Record
}

// ring is what a device knows of its ringing for one call.
type ring struct {
	call    string
	user    string
	begun   Record
	version int64
	timeout time.Duration
	stop    *Record  // why it stopped; nil: it rings
	reasons []Record // that were told of this ringing: cancelled, timed out, answered elsewhere
	ends    []Record // that were told of the call as a whole
	own     bool     // the device answered itself
	inside  bool     // the user is known to be in the call
	gone    bool     // it stopped because it logged out
}

// ringing checks that every device that rang learned why it stopped.
func (c *checker) ringing() {
	devices := make(map[string]*device)
	for _, r := range c.records {
		if r.Device == "" || r.Via == API {
			continue
		}
		d := devices[r.Device]
		if d == nil {
			d = &device{name: r.Device, via: r.Via, rings: make(map[string]*ring), open: make(map[int64]bool), answered: make(map[string]Record)}
			devices[r.Device] = d
		}
		c.follow(d, r)
	}
	for _, d := range devices {
		d.down(c.end, true)
		for _, ring := range d.rings {
			c.judge(d, ring)
		}
	}
}

// down notes that the device is no longer logged in.
func (d *device) down(at time.Duration, all bool) {
	if d.up && (all || len(d.open) == 0) {
		d.online[len(d.online)-1].to = at
		d.up = false
	}
}

func (d *device) login(at time.Duration, conn int64) {
	d.open[conn] = true
	if !d.up {
		d.online = append(d.online, span{from: at})
		d.up = true
	}
}

// follow takes note of a record of a device.
func (c *checker) follow(d *device, r Record) {
	switch r.Kind {
	case Opened:
		if r.Via == Client {
			d.login(r.At, 0)
		}
	case Closed:
		if r.Via == Client {
			clear(d.open)
		}
		delete(d.open, r.Conn)
		d.down(r.At, false)
	case Sent:
		// What a method returns is known a moment later than what the request
		// caused, so a library device has answered when it asked to.
		reply, ok := c.replies[keyOf(&r)]
		if d.via == Client && ok && reply.Code == 0 && reply.Error == "" {
			c.answer(d, r.Name, callOf(r), reply)
		}
	case Reply:
		if r.Code != 0 || r.Error != "" {
			return
		}
		switch sent := c.sent[keyOf(&r)]; sent.Name {
		case protocol.OpLogin:
			d.login(r.At, r.Conn)
			c.caughtUp(d, r)
		case protocol.OpCallSync:
			if d.via == Wire { // the library gives an event, too
				c.caughtUp(d, r)
			}
		case protocol.OpLogout:
			for _, ring := range d.rings {
				if ring.stop == nil {
					ring.stop, ring.gone = &r, true
				}
			}
		default:
			// A library device may have asked on a connection that broke, and
			// have been shown the call again before its answer went through.
			c.answer(d, sent.Name, callOf(sent), r)
		}
	case Event:
		c.told(d, r)
	}
}

// answer notes that the device answered by itself, and how it knows.
func (c *checker) answer(d *device, op, call string, reply Record) {
	switch op {
	case protocol.OpCallAccept, protocol.OpCallReject, protocol.OpCallJoin:
	default:
		return
	}
	ring := d.rings[call]
	if ring == nil {
		return
	}
	ring.own = true
	ring.inside = ring.inside || op != protocol.OpCallReject
	if ring.stop == nil {
		ring.stop = &reply
	}
}

// told takes note of an event.
func (c *checker) told(d *device, r Record) {
	switch r.Name {
	case Snapshot:
		c.caughtUp(d, r)
		return
	case protocol.EventSessionKicked:
		for _, ring := range d.rings {
			if ring.stop == nil {
				ring.stop, ring.gone = &r, true
			}
		}
		return
	case protocol.EventCallInvited:
		var call protocol.Call
		if c.decode(r, &call) {
			c.begin(d, r, &call)
		}
		return
	}
	var a struct {
		about
		Answer string `json:"answer"`
	}
	if len(r.Body) == 0 || json.Unmarshal(r.Body, &a) != nil {
		return
	}
	ring := d.rings[a.CallID]
	if ring == nil {
		return
	}
	switch r.Name {
	case protocol.EventCallCancelled, protocol.EventCallTimedOut, protocol.EventCallAnsweredElsewhere:
		c.reason(d, ring, r, a.Version)
		ring.inside = ring.inside || a.Answer == accepted
	case protocol.EventCallEnded:
		c.over(d, ring, r)
	default:
		return
	}
	if ring.stop == nil {
		ring.stop = &r
	}
}

// reason notes a reason for the end of a ringing.
func (c *checker) reason(d *device, ring *ring, r Record, version int64) {
	if version < ring.version {
		return // old news, which a client drops
	}
	if ring.stop != nil && ring.stop.Session != r.Session {
		return // to a device that has logged in anew since, which is another
	}
	if ring.own {
		c.violated(Twice, ring.call, []Record{ring.begun, *ring.stop, r}, "%s answered by itself, and is told %s", d.name, r.Name)
	}
	for _, before := range ring.reasons {
		if d.via == Client || before.Name != r.Name {
			c.violated(Twice, ring.call, []Record{ring.begun, before, r}, "%s is told %s after %s", d.name, r.Name, before.Name)
			break
		}
	}
	ring.reasons = append(ring.reasons, r)
}

// over notes that the call has ended as a whole. Those who rang and were told
// why they stopped are out of it.
func (c *checker) over(d *device, ring *ring, r Record) {
	if len(ring.ends) > 0 && d.via == Client {
		c.violated(Twice, ring.call, []Record{ring.begun, ring.ends[0], r}, "%s is told the end of the call twice", d.name)
	}
	if len(ring.reasons) > 0 && !ring.inside && d.via == Client {
		c.violated(Twice, ring.call, []Record{ring.begun, ring.reasons[0], r}, "%s is told the end of a call that it was out of", d.name)
	}
	ring.ends = append(ring.ends, r)
}

// begin notes that the device rings.
func (c *checker) begin(d *device, r Record, call *protocol.Call) {
	ring := d.rings[call.CallID]
	if ring != nil && (ring.stop == nil || call.Version <= ring.version && !ring.gone) {
		return // it was told so before
	}
	if ring != nil {
		c.judge(d, ring) // a second invitation
	}
	d.rings[call.CallID] = newRing(r, call)
}

func newRing(r Record, call *protocol.Call) *ring {
	return &ring{
		call: call.CallID, user: r.User, begun: r, version: call.Version, timeout: time.Duration(call.Timeout) * time.Second,
	}
}

// caughtUp takes note of a snapshot.
func (c *checker) caughtUp(d *device, r Record) {
	var snap protocol.Snapshot
	if !c.decode(r, &snap) {
		return
	}
	for i := range snap.Calls {
		call := &snap.Calls[i]
		rung, in := false, false
		for _, u := range call.Users {
			if u.UserID == r.User {
				rung = u.State == 0 || u.State == 5 || u.State == 9
				in = u.State == 1
			}
		}
		ring := d.rings[call.CallID]
		switch {
		case rung:
			c.begin(d, r, call)
		case ring != nil:
			ring.inside = ring.inside || in
			if ring.stop == nil {
				ring.stop = &r
			}
		}
	}
	for _, end := range snap.Ended {
		ring := d.rings[end.CallID]
		if ring == nil {
			continue
		}
		ring.inside = ring.inside || end.State == 1 || end.State == 7
		c.over(d, ring, r)
		if ring.stop == nil {
			ring.stop = &r
		}
	}
}

// judge checks one ringing.
func (c *checker) judge(d *device, ring *ring) {
	until := c.end
	proof := []Record{ring.begun}
	if ring.stop != nil {
		until = ring.stop.At
		proof = append(proof, *ring.stop)
	}
	if rang := c.heard(d, ring.begun.At, until); rang > ring.timeout+c.limits.Late+c.limits.Told {
		c.violated(Overring, ring.call, proof, "%s rings for %v, the timeout is %v", d.name, rang.Round(time.Millisecond), ring.timeout)
	}
	inv := c.invitationOf(ring)
	if inv == nil || inv.ended == nil || ring.gone {
		return
	}
	over := max(c.at(inv.ended.AtMS), ring.begun.At)
	late := c.heard(d, over, until)
	proof = append(proof, inv.ended.record)
	switch {
	case late <= c.limits.Told:
	case ring.stop == nil:
		c.violated(Ghost, ring.call, proof, "%s has not been told why it stops, %v after it should", d.name, late.Round(time.Millisecond))
	default:
		c.violated(Ghost, ring.call, proof, "%s was told why it stops %v too late", d.name, late.Round(time.Millisecond))
	}
}

// invitationOf is the invitation of the store for which a device rang: that
// of the latest version up to the one it was told.
func (c *checker) invitationOf(ring *ring) *invitation {
	s := c.calls[ring.call]
	if s == nil {
		return nil
	}
	var found *invitation
	for _, inv := range s.invites {
		if inv.user == ring.user && inv.begun.Version <= ring.version {
			found = inv
		}
	}
	return found
}

// heard is for how much of a time the device was connected to a server that
// had no fault.
func (c *checker) heard(d *device, from, to time.Duration) time.Duration {
	var sum time.Duration
	for _, s := range d.online {
		if s.to == 0 {
			s.to = c.end
		}
		if lo, hi := max(from, s.from), min(to, s.to); lo < hi {
			sum += c.calm(lo, hi)
		}
	}
	return sum
}
