package load

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ringback/ringback/e2e/history"
	"github.com/ringback/ringback/protocol"
)

// opCut, in a plan, breaks the device's connection.
const opCut = "cut"

// step is what one device does when a call rings there. Plans travel in the
// extended data of the call, so that a device acts on what it was told alone.
type step struct {
	Device  string `json:"device"`
	Op      string `json:"op"`
	AfterMS int64  `json:"after_ms"`
}

// plan is the extended data of a call. Tag makes it unique.
type plan struct {
	Tag   string `json:"tag"`
	Steps []step `json:"steps,omitempty"`
}

func planOf(extended string) []step {
	var p plan
	if json.Unmarshal([]byte(extended), &p) != nil {
		return nil // a call that is not of this run
	}
	return p.Steps
}

// scenario is one kind of call.
type scenario struct {
	name     string
	vanishes bool // the caller stays away for Config.VanishFor
	play     func(*scene)
}

// scenarios are played at random, what is named twice twice as often.
var scenarios = []scenario{
	{name: "accept", play: func(s *scene) { s.answered(protocol.OpCallAccept) }},
	{name: "accept", play: func(s *scene) { s.answered(protocol.OpCallAccept) }},
	{name: "reject", play: func(s *scene) { s.answered(protocol.OpCallReject) }},
	{name: "reject", play: func(s *scene) { s.answered(protocol.OpCallReject) }},
	{name: "devices race", play: (*scene).devicesRace},
	{name: "cancel", play: func(s *scene) { s.cancelled(false) }},
	{name: "cancel races accept", play: func(s *scene) { s.cancelled(true) }},
	{name: "ring out", play: (*scene).ringOut},
	{name: "accept at the deadline", play: (*scene).atTheDeadline},
	{name: "group", play: (*scene).group},
	{name: "cancel of one", play: (*scene).cancelOne},
	{name: "advanced", play: (*scene).advanced},
	{name: "advanced", play: (*scene).advanced},
	{name: "logout of the caller", play: (*scene).callerLogsOut},
	{name: "caller vanishes", play: (*scene).callerVanishes, vanishes: true},
	{name: "callee is cut off", play: (*scene).calleeCutOff},
	{name: "server API", play: (*scene).serverAPI},
	{name: "sync", play: (*scene).sync},
}

// scene is a scenario that is being played.
type scene struct {
	run *run
	ctx context.Context
}

// users are different users, at random.
func (s *scene) users(n int) [][2]*device {
	s.run.mu.Lock()
	defer s.run.mu.Unlock()
	out := make([][2]*device, 0, n)
	for _, i := range s.run.rng.Perm(len(s.run.devices) / 2)[:n] {
		out = append(out, [2]*device(s.run.devices[2*i:2*i+2]))
	}
	return out
}

func (s *scene) either(of [2]*device) *device { return of[s.run.random(2)] }

// extended makes the extended data of a call.
func (s *scene) extended(steps ...step) string {
	p := plan{Tag: fmt.Sprintf("%s-%d", s.run.tag, s.run.number.Add(1)), Steps: steps}
	return string(mustBody(p))
}

func (s *scene) pause(d time.Duration) { wait(s.ctx, d) }

// soon is a time in which a call rings before somebody does something.
func (s *scene) soon() time.Duration { return s.run.within(400 * time.Millisecond) }

func (s *scene) step(d *device, op string, after time.Duration) step {
	return step{d.name, op, after.Milliseconds()}
}

// invite makes a call and gives its ID, "" when it could not be made, or is
// not known to have been made.
func (s *scene) invite(caller *device, mode, timeout int, steps []step, callees ...[2]*device) string {
	var ids []string
	for _, c := range callees {
		ids = append(ids, c[0].user)
	}
	in := protocol.Invite{UserIDs: ids, Mode: mode, Timeout: &timeout, ExtendedData: s.extended(steps...)}
	in.RequestID = fmt.Sprint("r", s.run.number.Add(1), "-", time.Now().UnixNano())
	reply, err := caller.do(s.ctx, protocol.OpCallInvite, in)
	if err != nil {
		return ""
	}
	return reply.(*protocol.InviteReply).CallID
}

// ringTime is a short timeout in seconds.
func (s *scene) ringTime() int { return 2 + s.run.random(3) }

func (s *scene) answered(op string) {
	u := s.users(2)
	s.invite(s.either(u[0]), 0, s.ringTime(), []step{s.step(s.either(u[1]), op, s.soon())}, u[1])
}

func (s *scene) devicesRace() {
	u := s.users(2)
	at := s.soon()
	ops := []string{protocol.OpCallAccept, protocol.OpCallReject}
	s.invite(s.either(u[0]), 0, s.ringTime(), []step{
		s.step(u[1][0], ops[s.run.random(2)], at), s.step(u[1][1], ops[s.run.random(2)], at),
	}, u[1])
}

func (s *scene) cancelled(race bool) {
	u := s.users(2)
	caller, at := s.either(u[0]), s.soon()
	var steps []step
	if race {
		steps = append(steps, s.step(s.either(u[1]), protocol.OpCallAccept, at))
	}
	call := s.invite(caller, 0, s.ringTime(), steps, u[1])
	if call == "" {
		return
	}
	s.pause(at)
	caller.do(s.ctx, protocol.OpCallCancel, protocol.Cancel{CallID: call})
}

func (s *scene) ringOut() {
	u := s.users(3)
	s.invite(s.either(u[0]), s.run.random(2), s.ringTime(), nil, u[1], u[2])
}

func (s *scene) atTheDeadline() {
	u := s.users(2)
	at := 2*time.Second - 20*time.Millisecond + s.run.within(30*time.Millisecond)
	s.invite(s.either(u[0]), 0, 2, []step{s.step(s.either(u[1]), protocol.OpCallAccept, at)}, u[1])
}

func (s *scene) group() {
	u := s.users(4)
	var steps []step
	for i, op := range []string{protocol.OpCallReject, protocol.OpCallAccept, ""} {
		if op != "" {
			steps = append(steps, s.step(s.either(u[i+1]), op, s.soon()))
		}
	}
	s.invite(s.either(u[0]), 0, s.ringTime(), steps, u[1], u[2], u[3])
}

// cancelOne takes back one of two invitations; the other callee may answer.
func (s *scene) cancelOne() {
	u := s.users(3)
	caller := s.either(u[0])
	call := s.invite(caller, s.run.random(2), s.ringTime(), []step{s.step(s.either(u[1]), protocol.OpCallReject, s.soon())}, u[1], u[2])
	if call == "" {
		return
	}
	s.pause(s.soon())
	caller.do(s.ctx, protocol.OpCallCancel, protocol.Cancel{CallID: call, UserIDs: []string{u[2][0].user}})
}

// advanced is a call that one accepts, one joins, one is brought into, and one
// leaves before it is ended.
func (s *scene) advanced() {
	u := s.users(5)
	caller, callee, guest := s.either(u[0]), s.either(u[1]), s.either(u[3])
	at := s.soon()
	steps := []step{s.step(callee, protocol.OpCallAccept, at)}
	if op := []string{protocol.OpCallAccept, protocol.OpCallReject, ""}[s.run.random(3)]; op != "" {
		steps = append(steps, s.step(s.either(u[4]), op, s.soon())) // should he be brought in
	}
	call := s.invite(caller, 1, 3+s.run.random(3), steps, u[1], u[2])
	if call == "" {
		return
	}
	s.pause(at + s.soon())
	guest.act(s.ctx, protocol.OpCallJoin, call)
	if s.run.random(2) == 0 {
		// The first is being rung already, or was.
		caller.do(s.ctx, protocol.OpCallInviteMore, protocol.InviteMore{CallID: call, UserIDs: []string{u[2][0].user, u[4][0].user}})
	}
	s.pause(s.soon())
	callee.act(s.ctx, protocol.OpCallQuit, call)
	s.pause(s.soon())
	if s.run.random(3) == 0 {
		// It ends when the last one has left.
		guest.act(s.ctx, protocol.OpCallQuit, call)
		caller.act(s.ctx, protocol.OpCallQuit, call)
		return
	}
	caller.act(s.ctx, protocol.OpCallEnd, call)
}

// callerLogsOut logs both devices of the caller out while it rings.
func (s *scene) callerLogsOut() {
	u := s.users(2)
	if s.invite(s.either(u[0]), 0, 4, nil, u[1]) == "" {
		return
	}
	s.pause(s.soon())
	for _, d := range u[0] {
		d.do(s.ctx, protocol.OpLogout, struct{}{})
	}
}

// callerVanishes has both devices of the caller gone for longer than the
// server waits, while it rings.
func (s *scene) callerVanishes() {
	u := s.users(2)
	timeout := int(s.run.cfg.VanishFor/time.Second) + 3
	if s.invite(s.either(u[0]), 0, timeout, nil, u[1]) == "" {
		return
	}
	s.pause(s.soon())
	for _, d := range u[0] {
		d.vanish(s.run.cfg.VanishFor)
	}
}

// calleeCutOff breaks the connection of one device that rings, while another
// answers, or it itself after it is back.
func (s *scene) calleeCutOff() {
	u := s.users(2)
	cut, at := s.run.random(2), s.soon()
	answering := u[1][s.run.random(2)]
	s.invite(s.either(u[0]), 0, s.ringTime(), []step{
		s.step(u[1][cut], opCut, at), s.step(answering, protocol.OpCallAccept, at+s.run.within(time.Second)),
	}, u[1])
}

func (s *scene) serverAPI() {
	u := s.users(3)
	call := s.run.api.invite(s.ctx, u[0][0].user, []string{u[1][0].user, u[2][0].user}, s.ringTime(),
		s.extended(s.step(s.either(u[1]), protocol.OpCallReject, s.soon())))
	if call == "" {
		return
	}
	s.pause(s.soon())
	switch s.run.random(3) {
	case 0:
		s.run.api.act(s.ctx, protocol.OpCallAccept, u[2][0].user, call)
	case 1:
		s.run.api.act(s.ctx, protocol.OpCallCancel, u[0][0].user, call)
	}
}

// sync has a device ask what is the case.
func (s *scene) sync() {
	d := s.either(s.users(1)[0])
	_, known := d.known()
	if d.via == history.Client {
		known = nil // the library knows by itself
	}
	d.do(s.ctx, protocol.OpCallSync, protocol.Sync{KnownCalls: known})
}
