package client

import (
	"cmp"
	"slices"
	"sync"

	"github.com/ringback/ringback/protocol"
)

// Bounds of the table of calls.
const (
	maxLive  = 1024 // calls that the device may show; the oldest is forgotten
	maxEnded = 64   // calls over, remembered for events that come late
)

// calls is what a device knows of its calls: the version of each, so that old
// news is dropped, and whether the device still shows it, so that the server
// can say how it ended. It is safe for concurrent use.
type calls struct {
	self string // the user of the device

	mu    sync.Mutex
	known map[string]*callState
	over  []string // known calls that are not live, oldest first
	live  int
	clock uint64
}

type callState struct {
	version int64
	told    kind // what was delivered at this version
	live    bool // the device shows it
	since   uint64
	mode    int
	users   []userState // nil when unknown
}

type userState struct {
	id    string
	state int
}

// kind is a set of kinds of call events.
type kind uint8

const (
	created kind = 1 << iota
	invited
	cancelled
	timedOut
	answered
	ended

	usersChanged kind = 0 // says states, not happenings: never told too often
	everything        = created | invited | cancelled | timedOut | answered | ended
)

// User states of the protocol in which a user is rung or takes part.
const (
	stateInviting       = 0
	stateAccepted       = 1
	stateReceived       = 5
	stateNotYetReceived = 9
)

func pending(state int) bool {
	return state == stateInviting || state == stateReceived || state == stateNotYetReceived
}

// admit takes note of an event and reports whether it is news.
func (t *calls) admit(ev Event) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch ev := ev.(type) {
	case *Created:
		return t.begin(created, &ev.Call)
	case *Invited:
		return t.begin(invited, &ev.Call)
	case *UsersChanged:
		s := t.see(usersChanged, ev.CallID, ev.Version)
		if s != nil {
			t.change(ev.CallID, s, ev.Users)
		}
		return s != nil
	case *Cancelled:
		return t.end(cancelled, ev.CallID, ev.Version)
	case *TimedOut:
		return t.end(timedOut, ev.CallID, ev.Version)
	case *AnsweredElsewhere:
		return t.end(answered, ev.CallID, ev.Version)
	case *Ended:
		return t.end(ended, ev.CallID, ev.Version)
	}
	return true // not about a call
}

// replied takes note of the reply to a request.
func (t *calls) replied(p *request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch r := p.reply.(type) {
	case *protocol.InviteReply:
		if s := t.see(usersChanged, r.CallID, r.Version); s != nil {
			t.show(r.CallID, s)
		}
	case *protocol.UsersReply:
		s := t.see(usersChanged, r.CallID, r.Version)
		if s != nil && p.ends {
			t.hide(r.CallID, s)
		}
	case *protocol.CallReply:
		s := t.see(usersChanged, r.CallID, r.Version)
		if s != nil && p.ends {
			t.hide(r.CallID, s)
		}
	case *protocol.JoinReply:
		t.begin(usersChanged, &r.Call)
	case *protocol.LeaveReply:
		t.end(usersChanged, r.CallID, r.Version)
	case *protocol.Snapshot:
		t.adoptLocked(r)
	}
}

// adopt takes a snapshot's versions for the device's own, and takes the ends
// out of it that the program has been told of: a sync may say them that was on
// its way when they came by an event, or by the snapshot of a login.
func (t *calls) adopt(snap *protocol.Snapshot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.adoptLocked(snap)
}

func (t *calls) adoptLocked(snap *protocol.Snapshot) {
	for i := range snap.Calls {
		c := &snap.Calls[i]
		s := t.state(c.CallID)
		s.version, s.told = c.Version, everything
		t.fill(c.CallID, s, c)
	}
	snap.Ended = slices.DeleteFunc(snap.Ended, func(e protocol.EndedCall) bool {
		s := t.known[e.CallID]
		return s != nil && !s.live
	})
	for _, e := range snap.Ended {
		s := t.state(e.CallID)
		s.version, s.told = e.Version, everything
		t.hide(e.CallID, s)
	}
}

// shown are the calls that the device still shows, oldest first.
func (t *calls) shown() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids := make([]string, 0, t.live)
	for id, s := range t.known {
		if s.live {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Compare(t.known[a].since, t.known[b].since)
	})
	return ids
}

// begin is for what carries the whole call.
func (t *calls) begin(k kind, c *protocol.Call) bool {
	s := t.see(k, c.CallID, c.Version)
	if s == nil {
		return false
	}
	t.fill(c.CallID, s, c)
	return true
}

// end is for what ends the call for this device.
func (t *calls) end(k kind, id string, version int64) bool {
	s := t.see(k, id, version)
	if s == nil {
		return false
	}
	t.hide(id, s)
	return true
}

// see returns the state of a call, with its version raised to the one given,
// or nil when a thing of kind k and this version is old.
func (t *calls) see(k kind, id string, version int64) *callState {
	s := t.known[id]
	switch {
	case s == nil:
		s = t.state(id)
		s.version = version
	case version < s.version, version == s.version && s.told&k != 0:
		return nil
	case version > s.version:
		s.version, s.told = version, 0
	}
	s.told |= k
	return s
}

// state returns the state of a call, a new one that is over if it is unknown.
func (t *calls) state(id string) *callState {
	s := t.known[id]
	if s == nil {
		if t.known == nil {
			t.known = make(map[string]*callState)
		}
		s = new(callState)
		t.known[id] = s
		t.bury(id)
	}
	return s
}

// fill replaces what is known of the users of a call.
func (t *calls) fill(id string, s *callState, c *protocol.Call) {
	s.mode = c.Mode
	s.users = make([]userState, 0, len(c.Users))
	t.show(id, s)
	t.change(id, s, c.Users)
}

// change notes the states of some users, and that the call is over for this
// device when they say so: the user is out, or it is a general call and nobody
// is pending any more.
func (t *calls) change(id string, s *callState, users []protocol.CallUser) {
	for _, u := range users {
		if u.UserID == t.self && !pending(u.State) && u.State != stateAccepted {
			t.hide(id, s)
		}
		i := slices.IndexFunc(s.users, func(have userState) bool { return have.id == u.UserID })
		switch {
		case i >= 0:
			s.users[i].state = u.State
		case s.users != nil:
			s.users = append(s.users, userState{u.UserID, u.State})
		}
	}
	if s.mode == 0 && s.users != nil && !slices.ContainsFunc(s.users, func(u userState) bool { return pending(u.state) }) {
		t.hide(id, s)
	}
}

// show marks a call as one that the device shows.
func (t *calls) show(id string, s *callState) {
	if s.live {
		return
	}
	if i := slices.Index(t.over, id); i >= 0 {
		t.over = slices.Delete(t.over, i, i+1)
	}
	t.clock++
	s.live, s.since = true, t.clock
	t.live++
	if t.live > maxLive {
		t.forgetOldest()
	}
}

// hide marks a call as one that the device no longer shows.
func (t *calls) hide(id string, s *callState) {
	s.users = nil
	if !s.live {
		return
	}
	s.live = false
	t.live--
	t.bury(id)
}

// bury remembers a call that is over, at the expense of the one longest over.
func (t *calls) bury(id string) {
	if len(t.over) >= maxEnded {
		delete(t.known, t.over[0])
		t.over = append(t.over[:0], t.over[1:]...)
	}
	t.over = append(t.over, id)
}

func (t *calls) forgetOldest() {
	var oldest string
	var since uint64
	for id, s := range t.known {
		if s.live && (oldest == "" || s.since < since) {
			oldest, since = id, s.since
		}
	}
	delete(t.known, oldest)
	t.live--
}
