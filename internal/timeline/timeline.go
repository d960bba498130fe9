// Package timeline tells the story of a call from what is on record: its
// transitions, what was sent to which device and whether the device confirmed
// it, and the callbacks with their attempts.
//
// It is pure: what is read is given, what is told is returned.
package timeline

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/trace"
	"github.com/ringback/ringback/protocol"
)

// Record is everything that is known of a call.
type Record struct {
	Call       *call.Call
	Events     []*store.Event
	Deliveries []Delivery
	Trace      []trace.Entry
}

// Delivery is a callback of the call and its attempts.
type Delivery struct {
	*store.Delivery
	URL      string
	Attempts []store.Attempt
}

// Lane is the kind of thing that an entry is about.
type Lane string

// Lanes.
const (
	Transitions Lane = "transition" // something happened to the call
	Devices     Lane = "device"     // between the server and a device
	Callbacks   Lane = "callback"   // an attempt to deliver a callback
)

// Entry is one line of the story.
type Entry struct {
	At       call.Instant
	Lane     Lane
	Name     string // the callback event, the kind of trace, or the outcome of the attempt
	Text     string // a sentence
	Bad      bool   // something went wrong
	Version  int64  // of the call; 0: it says nothing about that
	User     call.UserID
	Session  call.SessionID
	Event    store.EventID    // of transitions and callbacks
	Endpoint store.EndpointID // of callbacks
	Attempt  int              // of callbacks
}

// Build puts everything in order. Of things at the same millisecond the
// transition comes first, then what devices were told, then callbacks.
func Build(r Record) []Entry {
	var list []Entry
	for _, ev := range r.Events {
		list = append(list, transition(ev))
	}
	if c := r.Call; c != nil && !c.Live() && !endTold(r.Events) {
		list = append(list, Entry{
			At: c.EndedAt, Lane: Transitions, Name: "ended", Version: c.Version,
			Text: "The call ended: " + outcomeText[c.Outcome()] + ".",
		})
	}
	for _, t := range r.Trace {
		list = append(list, device(t))
	}
	for _, d := range r.Deliveries {
		list = append(list, callbacks(d)...)
	}
	rank := map[Lane]int{Transitions: 0, Devices: 1, Callbacks: 2}
	slices.SortStableFunc(list, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(rank[a.Lane], rank[b.Lane]))
	})
	return list
}

// endTold reports whether the end of the call is an event of its own, as in
// advanced mode.
func endTold(events []*store.Event) bool {
	return slices.ContainsFunc(events, func(ev *store.Event) bool { return ev.Name == protocol.CallbackEnd })
}

var outcomeText = map[call.Outcome]string{
	call.OutcomeAccepted:    "it was accepted",
	call.OutcomeCancelled:   "the caller took it back",
	call.OutcomeCallerLeft:  "the caller was gone",
	call.OutcomeEnded:       "somebody ended it while it rang",
	call.OutcomeMaxDuration: "it reached the maximum duration",
	call.OutcomeTimeout:     "an invitation ran out",
	call.OutcomeRejected:    "everybody declined",
}

// fields are those of callbacks that a story is told from.
type fields struct {
	UserIDs []string `json:"user_ids"`
	UserID  string   `json:"user_id"`
	Caller  string   `json:"caller"`
	Inviter string   `json:"inviter"`
	Reason  string   `json:"reason"`
	Timeout int      `json:"timeout"`
}

func transition(ev *store.Event) Entry {
	e := Entry{
		At: ev.At, Lane: Transitions, Name: ev.Name, Version: ev.Version, User: ev.Actor.User, Session: ev.Actor.Session, Event: ev.ID,
	}
	var f fields
	if err := json.Unmarshal(ev.Fields, &f); err != nil {
		e.Text = ev.Name
		return e
	}
	who := strings.Join(f.UserIDs, ", ")
	switch ev.Name {
	case protocol.CallbackCreate:
		e.User = call.UserID(f.Caller)
		e.Text = fmt.Sprintf("%s%s invited %s, to ring for %d s.", f.Caller, by(ev), who, f.Timeout)
	case protocol.CallbackInvite:
		e.User = call.UserID(f.Inviter)
		e.Text = fmt.Sprintf("%s%s invited %s as well.", f.Inviter, by(ev), who)
	case protocol.CallbackAccept:
		e.Text = f.UserID + by(ev) + " accepted."
	case protocol.CallbackReject:
		e.Text = f.UserID + by(ev) + " declined."
	case protocol.CallbackReceived:
		e.Text = f.UserID + by(ev) + " confirmed that it rings."
	case protocol.CallbackJoin:
		e.Text = f.UserID + by(ev) + " joined."
	case protocol.CallbackQuit:
		e.Text = f.UserID + by(ev) + " left."
	case protocol.CallbackTimeout:
		e.Text = who + " did not answer in time."
	case protocol.CallbackCancel:
		e.Text = cancelText(f, ev, who)
	case protocol.CallbackEnd:
		e.Text = "The call ended: " + f.Reason + "."
	default:
		e.Text = ev.Name
	}
	if len(f.UserID) > 0 {
		e.User = call.UserID(f.UserID)
	}
	return e
}

func cancelText(f fields, ev *store.Event, who string) string {
	switch {
	case f.Reason == protocol.CancelByTimeout:
		return "The invitations of " + who + " ran out."
	case ev.Actor.Session == "" && ev.Actor.User != "":
		return fmt.Sprintf("The invitations of %s were taken back, for the caller was gone, or the backend did it.", who)
	}
	return "The invitations of " + who + " were taken back."
}

// by says from which device something was done.
func by(ev *store.Event) string {
	if ev.Actor.Session == "" {
		return ""
	}
	return " (on " + short(ev.Actor.Session) + ")"
}

// short is enough of a session's ID to tell it from others.
func short(id call.SessionID) string { return string(id[:min(len(id), 8)]) }

func device(t trace.Entry) Entry {
	e := Entry{At: t.At, Lane: Devices, Name: string(t.Kind), Version: t.Version, User: t.User, Session: t.Session}
	on := ""
	if t.Session != "" {
		on = "'s device " + short(t.Session)
	}
	who := string(t.User) + on
	switch t.Kind {
	case trace.Sent:
		e.Text = t.Event + " was sent to " + who + "."
	case trace.Absent:
		e.Text, e.Bad = who+" had no connected device when the invitation went out.", true
	case trace.CaughtUp:
		e.Text = who + " came back and was given the call."
	case trace.Confirmed:
		e.Text = who + " confirmed the invitation."
	case trace.Unconfirmed:
		e.Text, e.Bad = who+" has not confirmed the invitation so far.", true
	case trace.Refused:
		e.Text, e.Bad = fmt.Sprintf("%s was refused to %s (%d).", who, t.Event, t.Code), true
	case trace.LeftOut:
		e.Text, e.Bad = fmt.Sprintf("%s could not be invited: %s (%d).", who, leftOutText(call.Code(t.Code)), t.Code), true
	default:
		e.Text = string(t.Kind)
	}
	return e
}

func leftOutText(code call.Code) string {
	switch code {
	case call.NotRegistered:
		return "not registered, or logged out"
	case call.AlreadyInCall:
		return "already in the call"
	case call.TooManyUsers:
		return "no room"
	}
	return "refused"
}

// callbacks are the entries of a delivery: its attempts, or that there were
// none yet.
func callbacks(d Delivery) []Entry {
	base := Entry{Lane: Callbacks, Event: d.Event, Endpoint: d.Endpoint}
	var list []Entry
	for i, a := range d.Attempts {
		e := base
		e.At, e.Attempt = a.Started.Add(a.Duration), a.Number
		e.Name = d.Name
		switch {
		case a.Error == "":
			e.Text = fmt.Sprintf("%s was delivered to %s: %d in %d ms.", d.Name, d.URL, a.Status, a.Duration)
		default:
			e.Bad = true
			e.Text = fmt.Sprintf("%s to %s failed, attempt %d: %s (%d ms).", d.Name, d.URL, a.Number, a.Error, a.Duration)
			if d.State == store.Failed && i == len(d.Attempts)-1 {
				e.Text += " It was given up."
			}
		}
		list = append(list, e)
	}
	if len(d.Attempts) == 0 {
		base.At, base.Name = d.At, d.Name
		base.Text = fmt.Sprintf("%s to %s has not been attempted yet.", d.Name, d.URL)
		if d.State == store.Failed {
			base.Text, base.Bad = fmt.Sprintf("%s to %s was given up without an attempt: the endpoint was removed.", d.Name, d.URL), true
		}
		list = append(list, base)
	}
	return list
}
