package history

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/ringback/ringback/protocol"
)

const beganMS = 1_700_000_000_000

// world is a server that keeps all promises, its devices and its receiver, in
// a time of their own. It writes the history of what happens in it.
type world struct {
	now     time.Duration
	records []Record
	finals  []Record
	devices []*simDevice
	calls   []*simCall
	numbers int64
	subs    []string
}

type simDevice struct {
	name, user, session string
	via                 Via
	conn                int64 // 0: not connected
	shown               []string
}

type simCall struct {
	protocol.Call
	users    []string // in order of their invitation
	state    map[string]int
	deadline map[string]time.Duration
	seq      int
	lastCB   time.Duration
}

// newWorld has users u0, u1, … with one device on the wire and one with the
// library each, and sometimes not.
func newWorld(users int) *world {
	w := &world{subs: CallEvents()}
	w.records = append(w.records, Record{Kind: Began, UnixMS: beganMS})
	for i := range users {
		user := "u" + strconv.Itoa(i)
		for _, via := range []Via{Wire, Client} {
			d := &simDevice{name: user + "-" + string(via), user: user, via: via, session: "s-" + user + string(via)}
			w.devices = append(w.devices, d)
			w.connect(d)
		}
	}
	return w
}

func (w *world) number() int64 { w.numbers++; return w.numbers }

// pass lets time go by, at least a millisecond.
func (w *world) pass(d time.Duration) { w.now += max(d, time.Millisecond) }

func body(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func (w *world) add(d *simDevice, r Record) {
	r.At, r.Via, r.User, r.Device, r.Session = w.now, d.via, d.user, d.name, d.session
	if d.via == Wire {
		r.Conn = d.conn
	}
	w.records = append(w.records, r)
}

func (w *world) connect(d *simDevice) {
	w.pass(0)
	d.conn = w.number()
	w.add(d, Record{Kind: Opened})
	snap := protocol.Snapshot{Calls: []protocol.Call{}, Ended: []protocol.EndedCall{}}
	var still []string
	for _, c := range w.calls {
		if s, in := c.state[d.user]; in && c.State == 1 && (pendingState(s) || s == 1) {
			snap.Calls = append(snap.Calls, c.view())
			still = append(still, c.CallID)
		} else if slices.Contains(d.shown, c.CallID) {
			snap.Ended = append(snap.Ended, protocol.EndedCall{CallID: c.CallID, Version: c.Version, State: s, Reason: "ended"})
		}
	}
	if d.via == Wire {
		id := w.number()
		w.add(d, Record{Kind: Sent, Name: protocol.OpLogin, ID: id, Body: body(protocol.Sync{KnownCalls: d.shown})})
		w.pass(0)
		w.add(d, Record{Kind: Reply, Name: protocol.OpLogin, ID: id, Body: body(protocol.LoginReply{SessionID: d.session, Snapshot: snap})})
	} else {
		w.add(d, Record{Kind: Event, Name: Snapshot, Body: body(snap)})
	}
	d.shown = still
}

func (w *world) disconnect(d *simDevice) {
	w.pass(0)
	w.add(d, Record{Kind: Closed, Code: 1001})
	d.conn = 0
}

func pendingState(s int) bool { return s == 0 || s == 5 || s == 9 }

func (c *simCall) view() protocol.Call {
	v := c.Call
	v.Users = nil
	for _, u := range c.users {
		v.Users = append(v.Users, protocol.CallUser{UserID: u, State: c.state[u]})
	}
	return v
}

func (c *simCall) count(want func(int) bool) (n int) {
	for _, s := range c.state {
		if want(s) {
			n++
		}
	}
	return n
}

// request has a device ask for something, which do does and answers, and then
// tells the events.
func (w *world) request(d *simDevice, op string, in any, do func() (reply any, tell func())) {
	id := w.number()
	w.pass(0)
	w.add(d, Record{Kind: Sent, Name: op, ID: id, Body: body(in)})
	w.pass(0)
	reply, tell := do()
	w.add(d, Record{Kind: Reply, Name: op, ID: id, Body: body(reply)})
	tell()
}

// tell tells all devices of users but one.
func (w *world) tell(c *simCall, event string, v any, except *simDevice, users ...string) {
	for _, d := range w.devices {
		if d.conn == 0 || d == except || !slices.Contains(users, d.user) {
			continue
		}
		w.add(d, Record{Kind: Event, Name: event, Body: body(v)})
		switch event {
		case protocol.EventCallInvited:
			d.shown = append(d.shown, c.CallID)
		case protocol.EventCallCancelled, protocol.EventCallTimedOut, protocol.EventCallAnsweredElsewhere, protocol.EventCallEnded:
			d.shown = slices.DeleteFunc(d.shown, func(id string) bool { return id == c.CallID })
		}
	}
}

// commit stores an event of the call's version, and calls back.
func (w *world) commit(c *simCall, name string, by *simDevice, fields any) {
	e := storedEvent{
		ID: fmt.Sprintf("evt_%d", w.number()), Event: name, CallID: c.CallID, AtMS: beganMS + w.now.Milliseconds(), Version: c.Version, Data: body(fields),
	}
	if by != nil {
		e.UserID, e.SessionID = by.user, by.session
	}
	w.finals = append(w.finals, Record{Kind: FinalEvent, Body: body(e)})
	if !slices.Contains(w.subs, name) {
		return
	}
	c.seq++
	w.finals = append(w.finals, Record{Kind: FinalDelivery, Body: body(storedDelivery{
		EventID: e.ID, EndpointID: 1, Sequence: c.seq, Status: "delivered", CallID: c.CallID,
	})})
	var cb map[string]any
	json.Unmarshal(e.Data, &cb)
	cb["event"], cb["call_id"] = name, c.CallID
	at := max(w.now, c.lastCB) + 3*time.Millisecond
	for attempt, status := range []int{500, 200} {
		w.records = append(w.records, Record{
			Kind: Callback, At: at, Done: at + time.Millisecond, WebhookID: e.ID, Attempt: attempt + 1, Sequence: c.seq, Status: status, Body: body(cb),
		})
		if attempt == 0 {
			c.lastCB = at + time.Millisecond
		}
		at += 2 * time.Second
	}
}

func (w *world) invite(d *simDevice, mode, timeout int, users ...string) *simCall {
	c := &simCall{
		Call: protocol.Call{
			CallID: strconv.FormatInt(w.number(), 10), Version: 1, Mode: mode, State: 1, Caller: d.user, Timeout: timeout, ExtendedData: fmt.Sprint("call ", w.numbers),
		},
		users: append([]string{d.user}, users...), state: map[string]int{d.user: 1}, deadline: make(map[string]time.Duration),
	}
	w.request(d, protocol.OpCallInvite, protocol.Invite{UserIDs: users, ExtendedData: c.ExtendedData, Timeout: &timeout}, func() (any, func()) {
		w.calls = append(w.calls, c)
		for _, u := range users {
			c.state[u], c.deadline[u] = 0, w.now+time.Duration(timeout)*time.Second
		}
		w.commit(c, protocol.CallbackCreate, d, protocol.CallCreate{
			CallID: c.CallID, UserIDs: users, Payload: c.ExtendedData, Caller: d.user, Timeout: timeout,
		})
		return protocol.InviteReply{CallID: c.CallID, Version: 1, Timeout: timeout}, func() {
			w.tell(c, protocol.EventCallCreated, c.view(), nil, d.user)
			w.tell(c, protocol.EventCallInvited, c.view(), nil, users...)
		}
	})
	return c
}

func (w *world) answer(d *simDevice, c *simCall, accept bool) {
	op, name, word, state := protocol.OpCallReject, protocol.CallbackReject, "rejected", 2
	if accept {
		op, name, word, state = protocol.OpCallAccept, protocol.CallbackAccept, "accepted", 1
	}
	w.request(d, op, protocol.CallAction{CallID: c.CallID}, func() (any, func()) {
		c.Version++
		c.state[d.user] = state
		w.commit(c, name, d, protocol.CallAnswer{CallID: c.CallID, UserID: d.user})
		ended := w.settle(c)
		d.shown = slices.DeleteFunc(d.shown, func(id string) bool { return id == c.CallID && !accept })
		return protocol.CallReply{CallID: c.CallID, Version: c.Version}, func() {
			w.tell(c, protocol.EventCallAnsweredElsewhere, protocol.AnsweredElsewhere{
				CallID: c.CallID, Version: c.Version, Answer: word, SessionID: d.session,
			}, d, d.user)
			w.tell(c, protocol.EventCallUsersChanged, protocol.UsersChanged{CallID: c.CallID, Version: c.Version}, nil, c.users...)
			ended()
		}
	})
}

// settle ends the call if nothing is left of it, and gives what to tell then.
func (w *world) settle(c *simCall) func() {
	if c.State == 2 || c.count(pendingState) > 0 || c.Mode == 1 && c.count(func(s int) bool { return s == 1 }) > 1 {
		return func() {}
	}
	return w.end(c, nil)
}

func (w *world) end(c *simCall, by *simDevice) func() {
	c.State = 2
	if c.Mode == 0 {
		return func() {}
	}
	operator := ""
	if by != nil {
		operator = by.user
	}
	var left, active []string
	for _, u := range c.users {
		if pendingState(c.state[u]) {
			left = append(left, u)
		}
		if pendingState(c.state[u]) || c.state[u] == 1 {
			active = append(active, u)
		}
	}
	if len(left) > 0 {
		w.commit(c, protocol.CallbackCancel, by, protocol.CallCancel{CallID: c.CallID, UserIDs: left, Reason: protocol.CancelByCaller})
	}
	w.commit(c, protocol.CallbackEnd, by, protocol.CallEnd{CallID: c.CallID, Operator: operator, Reason: "ended"})
	return func() {
		w.tell(c, protocol.EventCallEnded, protocol.Ended{CallID: c.CallID, Version: c.Version, Mode: 1}, nil, active...)
	}
}

func (w *world) pendingUsers(c *simCall) (out []string) {
	for _, u := range c.users {
		if pendingState(c.state[u]) {
			out = append(out, u)
		}
	}
	return out
}

// inviteAgain has a device invite somebody who is being rung, which changes
// nothing. While it is answered somebody else confirms that he is rung, which
// keeps the version.
func (w *world) inviteAgain(d *simDevice, c *simCall, user string) {
	w.request(d, protocol.OpCallInviteMore, protocol.InviteMore{CallID: c.CallID, UserIDs: []string{user}}, func() (any, func()) {
		w.tell(c, protocol.EventCallUsersChanged, protocol.UsersChanged{CallID: c.CallID, Version: c.Version}, nil, c.users...)
		refused := []protocol.ErrorUser{{UserID: user, Code: protocol.CodeAlreadyInCall}}
		return protocol.UsersReply{CallID: c.CallID, Version: c.Version, ErrorUsers: refused}, func() {}
	})
}

func (w *world) cancel(d *simDevice, c *simCall) {
	users := w.pendingUsers(c)
	w.request(d, protocol.OpCallCancel, protocol.Cancel{CallID: c.CallID}, func() (any, func()) {
		c.Version++
		for _, u := range users {
			c.state[u] = 3
		}
		w.commit(c, protocol.CallbackCancel, d, protocol.CallCancel{CallID: c.CallID, UserIDs: users, Reason: protocol.CancelByCaller})
		ended := w.settle(c)
		return protocol.UsersReply{CallID: c.CallID, Version: c.Version}, func() {
			w.tell(c, protocol.EventCallCancelled, protocol.Cancelled{CallID: c.CallID, Version: c.Version, Reason: "caller_cancel"}, nil, users...)
			ended()
		}
	})
}

// expire lets the deadline of a call come, 5 ms late.
func (w *world) expire(c *simCall) {
	users := w.pendingUsers(c)
	w.now = max(w.now, c.deadline[users[0]]+5*time.Millisecond)
	c.Version++
	for _, u := range users {
		c.state[u] = 6
	}
	w.commit(c, protocol.CallbackTimeout, nil, protocol.CallTimeout{CallID: c.CallID, UserIDs: users})
	ended := w.settle(c)
	w.tell(c, protocol.EventCallTimedOut, protocol.TimedOut{CallID: c.CallID, Version: c.Version}, nil, users...)
	ended()
}

func (w *world) endBy(d *simDevice, c *simCall) {
	w.request(d, protocol.OpCallEnd, protocol.CallAction{CallID: c.CallID}, func() (any, func()) {
		c.Version++
		tell := w.end(c, d)
		return protocol.LeaveReply{CallID: c.CallID, Version: c.Version}, tell
	})
}

// device is the device of a user.
func (w *world) device(name string) *simDevice {
	return w.devices[slices.IndexFunc(w.devices, func(d *simDevice) bool { return d.name == name })]
}

var stateNames = map[int]string{0: "inviting", 1: accepted, 2: rejected, 3: cancelled, 6: timedOut, 7: quit}

// finish gives the history, as it is 20 s later.
func (w *world) finish() []Record {
	w.pass(10 * time.Second)
	for _, d := range w.devices {
		if d.conn == 0 {
			w.connect(d)
		}
	}
	w.pass(10 * time.Second)
	for _, d := range w.devices {
		w.disconnect(d)
	}
	out := slices.Clone(w.records)
	slices.SortStableFunc(out, func(a, b Record) int { return int(a.At - b.At) })
	for _, c := range w.calls {
		s := map[string]any{
			"call_id": c.CallID, "mode": []string{"general", "advanced"}[c.Mode], "state": []string{1: "live", 2: "ended"}[c.State], "caller": c.Caller,
			"timeout_s": c.Timeout, "version": c.Version,
		}
		var users []map[string]string
		for _, u := range c.users {
			users = append(users, map[string]string{"user_id": u, "state": stateNames[c.state[u]]})
		}
		s["users"] = users
		out = append(out, Record{Kind: FinalCall, Body: body(s)})
	}
	return append(out, w.finals...)
}

// random makes a history of calls that take every course.
func random(seed uint64) []Record {
	rng := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(6)
	for range 40 {
		w.pass(time.Duration(rng.IntN(300)) * time.Millisecond)
		for _, d := range w.devices {
			switch online := d.conn != 0; {
			case online && rng.IntN(20) == 0:
				w.disconnect(d)
			case !online && rng.IntN(2) == 0:
				w.connect(d)
			}
		}
		var online []*simDevice
		for _, d := range w.devices {
			if d.conn != 0 {
				online = append(online, d)
			}
		}
		caller := online[rng.IntN(len(online))]
		var users []string
		for _, i := range rng.Perm(6)[:1+rng.IntN(3)] {
			if u := "u" + strconv.Itoa(i); u != caller.user {
				users = append(users, u)
			}
		}
		if len(users) == 0 {
			continue
		}
		c := w.invite(caller, rng.IntN(2), 2, users...)
		w.pass(time.Duration(rng.IntN(100)) * time.Millisecond)
		for c.State == 1 {
			ringing := w.pendingUsers(c)
			answering := slices.DeleteFunc(slices.Clone(online), func(d *simDevice) bool { return !slices.Contains(ringing, d.user) })
			switch n := rng.IntN(6); {
			case n < 3 && len(answering) > 0:
				w.answer(answering[rng.IntN(len(answering))], c, n > 0)
			case n == 3 && len(ringing) > 0 && c.count(func(s int) bool { return s == 1 }) == 1:
				w.cancel(caller, c)
			case n == 4 && c.Mode == 1:
				w.endBy(caller, c)
			case n == 5 && c.Mode == 1 && len(ringing) > 0:
				w.inviteAgain(caller, c, ringing[0])
			case len(ringing) > 0:
				w.expire(c)
			}
		}
	}
	return w.finish()
}
