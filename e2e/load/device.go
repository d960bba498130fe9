package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ringback/ringback/e2e/history"
	"github.com/ringback/ringback/protocol"
)

// patience bounds each request of a device. It is longer than a fault, so that
// a request is not given up that the library would repeat.
const patience = 15 * time.Second

// device is a device of a user, which comes back when it loses its connection.
// It is safe for concurrent use.
type device struct {
	run  *run
	user string
	name string
	via  history.Via

	mu       sync.Mutex
	link     link   // nil while not logged in
	session  string // to resume
	shown    []string
	requests int64
	awayTil  time.Time
	err      error // of the latest attempt to log in
}

// link is a device's login: by one connection, or by one library client.
type link interface {
	// do makes a request, recorded or not by the caller, and gives the body of
	// the reply. The error is a *protocol.Error when it was refused.
	do(ctx context.Context, op string, in any) (any, error)
	// cut breaks the connection, as a network does.
	cut()
	// connected reports whether it is logged in at this moment.
	connected() bool
	// leave ends the link without a logout.
	leave()
}

// errOffline is what a request fails with, unsent and unrecorded, when the
// device is not logged in.
var errOffline = errors.New("not logged in")

func newDevice(r *run, user string, via history.Via) *device {
	return &device{run: r, user: user, via: via, name: user + "-" + string(via)}
}

// live keeps the device logged in until ctx ends.
func (d *device) live(ctx context.Context) {
	for ctx.Err() == nil {
		d.mu.Lock()
		away := time.Until(d.awayTil)
		d.mu.Unlock()
		if away > 0 {
			wait(ctx, away)
			continue
		}
		var err error
		if d.via == history.Wire {
			err = d.connect(ctx)
		} else {
			err = d.dial(ctx)
		}
		d.mu.Lock()
		d.err, d.link = err, nil
		d.mu.Unlock()
		wait(ctx, 50*time.Millisecond+d.run.within(200*time.Millisecond))
	}
}

func (d *device) online() bool {
	d.mu.Lock()
	l := d.link
	d.mu.Unlock()
	return l != nil && l.connected()
}

func (d *device) lastError() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// up notes that the device is logged in.
func (d *device) up(l link, session string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.link, d.session = l, session
}

// down notes that it is no longer.
func (d *device) down() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.link = nil
}

func (d *device) current() link {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.link
}

// known are the calls that the device shows, and the session to resume.
func (d *device) known() (session string, calls []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.session, slices.Clone(d.shown)
}

// record adds a record of this device.
func (d *device) record(r history.Record) {
	d.mu.Lock()
	session := d.session
	d.mu.Unlock()
	r.Via, r.User, r.Device = d.via, d.user, d.name
	if r.Session == "" {
		r.Session = session
	}
	d.run.log.Add(r)
}

func (d *device) nextID() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests++
	return d.requests
}

// do makes a request. Both are recorded, by the link.
func (d *device) do(ctx context.Context, op string, in any) (any, error) {
	l := d.current()
	if l == nil {
		return nil, errOffline
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	reply, err := l.do(ctx, op, in)
	if err == nil {
		switch action, ok := in.(protocol.CallAction); {
		case ok && (op == protocol.OpCallAccept || op == protocol.OpCallReject || op == protocol.OpCallJoin):
			d.hide(action.CallID)
		case op == protocol.OpLogout:
			d.mu.Lock()
			d.session, d.shown = "", nil
			d.mu.Unlock()
		}
	}
	return reply, err
}

// act makes a request about a call.
func (d *device) act(ctx context.Context, op, call string) error {
	_, err := d.do(ctx, op, protocol.CallAction{CallID: call})
	return err
}

// cut breaks the connection; the device comes back at once.
func (d *device) cut() {
	if l := d.current(); l != nil {
		l.cut()
	}
}

// vanish breaks the connection and stays away for a time.
func (d *device) vanish(away time.Duration) {
	d.mu.Lock()
	d.awayTil = time.Now().Add(away)
	l := d.link
	d.mu.Unlock()
	if l != nil {
		l.leave()
	}
}

// told keeps what the device shows by an event, and does what the plan of a
// call wants of the device when it begins to ring.
func (d *device) told(ctx context.Context, name string, body json.RawMessage) {
	var in struct {
		CallID string `json:"call_id"`
	}
	switch name {
	case protocol.EventCallInvited:
		var call protocol.Call
		if json.Unmarshal(body, &call) == nil {
			d.ring(ctx, &call)
		}
	case protocol.EventCallCancelled, protocol.EventCallTimedOut, protocol.EventCallAnsweredElsewhere, protocol.EventCallEnded:
		if json.Unmarshal(body, &in) == nil {
			d.hide(in.CallID)
		}
	}
}

// caughtUp is told for a snapshot.
func (d *device) caughtUp(ctx context.Context, snap *protocol.Snapshot) {
	for i := range snap.Calls {
		call := &snap.Calls[i]
		for _, u := range call.Users {
			switch {
			case u.UserID != d.user:
			case u.State == 1:
				d.hide(call.CallID)
			default:
				d.ring(ctx, call)
			}
		}
	}
	for _, end := range snap.Ended {
		d.hide(end.CallID)
	}
}

func (d *device) hide(call string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shown = slices.DeleteFunc(d.shown, func(id string) bool { return id == call })
}

// ring begins to ring, if the device does not ring already.
func (d *device) ring(ctx context.Context, call *protocol.Call) {
	d.mu.Lock()
	again := slices.Contains(d.shown, call.CallID)
	if !again {
		d.shown = append(d.shown, call.CallID)
	}
	d.mu.Unlock()
	if again {
		return
	}
	id := call.CallID
	for _, step := range planOf(call.ExtendedData) {
		if step.Device != d.name {
			continue
		}
		d.run.acting.Go(func() {
			wait(ctx, time.Duration(step.AfterMS)*time.Millisecond)
			switch step.Op {
			case opCut:
				d.cut()
			default:
				d.act(ctx, step.Op, id)
			}
		})
	}
}

// refusal is the record of a reply that is an error: a refusal by its code, or
// an outcome that is not known.
func refusal(r history.Record, err error) history.Record {
	if refused, ok := errors.AsType[*protocol.Error](err); ok {
		r.Code = int(refused.Code)
	} else {
		r.Error = err.Error()
	}
	return r
}

// bodyOf encodes a body for a record, without the token.
func bodyOf(v any) json.RawMessage {
	if login, ok := v.(protocol.Login); ok {
		login.Token = ""
		v = login
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("load: encoding %T: %v", v, err)) // types of protocol always encode
	}
	return b
}
