package timeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/trace"
	"github.com/ringback/ringback/protocol"
)

// Verdict answers, for one user of a call, whether it rang, and if not, why.
type Verdict struct {
	User call.UserID
	Rang Rang
	Text string // sentences
}

// Rang says whether a user's devices rang.
type Rang string

// Values of Rang.
const (
	RangYes     Rang = "yes"     // a device confirmed it
	RangMaybe   Rang = "maybe"   // the invitation was sent, no device confirmed it
	RangNo      Rang = "no"      // no device was given the invitation
	RangUnknown Rang = "unknown" // nothing is on record
)

// Verdicts gives the verdict on everybody who was invited or was to be.
func Verdicts(r Record) []Verdict {
	var list []Verdict
	for i := range r.Call.Users {
		if u := &r.Call.Users[i]; u.InvitedAt != 0 {
			list = append(list, verdict(r, u))
		}
	}
	for _, t := range r.Trace {
		known := r.Call.User(t.User) != nil || slices.ContainsFunc(list, func(v Verdict) bool { return v.User == t.User })
		if t.Kind == trace.LeftOut && !known {
			list = append(list, Verdict{t.User, RangNo, fmt.Sprintf(
				"%s was not part of the call: %s when invited (%d).", t.User, leftOutText(call.Code(t.Code)), t.Code)})
		}
	}
	return list
}

// ringing is what is on record of the ringing of one user since he was last
// invited.
type ringing struct {
	sent, caughtUp, confirmed []trace.Entry
	absent, refused           []trace.Entry
}

func verdict(r Record, u *call.User) Verdict {
	var seen ringing
	for _, t := range r.Trace {
		if t.User != u.ID || t.At < u.InvitedAt {
			continue
		}
		switch {
		case t.Kind == trace.Sent && t.Event == protocol.EventCallInvited:
			seen.sent = append(seen.sent, t)
		case t.Kind == trace.CaughtUp:
			seen.caughtUp = append(seen.caughtUp, t)
		case t.Kind == trace.Confirmed:
			seen.confirmed = append(seen.confirmed, t)
		case t.Kind == trace.Absent:
			seen.absent = append(seen.absent, t)
		case t.Kind == trace.Refused:
			seen.refused = append(seen.refused, t)
		}
	}
	v := Verdict{User: u.ID}
	v.Rang, v.Text = seen.judge(u, r.Call.Active(u.ID))
	for _, t := range seen.refused {
		v.Text += fmt.Sprintf(" Their device %s tried to %s %s after the invitation and was refused (%d).",
			short(t.Session), t.Event, since(u, t.At), t.Code)
	}
	v.Text += " " + ending(r.Call, u)
	return v
}

// judge says whether it rang, and the sentence that says so; active: the user
// is being rung still, or in the call.
func (s *ringing) judge(u *call.User, active bool) (Rang, string) {
	switch {
	case len(s.confirmed) > 0:
		first := s.confirmed[0]
		text := fmt.Sprintf("It rang: %s's device %s confirmed %s after the invitation", u.ID, short(first.Session), since(u, first.At))
		if len(s.absent) > 0 {
			text += ", having come back only then"
		}
		return RangYes, text + "."
	case answeredOn(u) != "":
		return RangYes, fmt.Sprintf("It got through: %s answered on the device %s, which never confirmed that it rings: "+
			"its client does not send call.received, or not before the answer.", u.ID, short(answeredOn(u)))
	case len(s.sent) > 0:
		return RangMaybe, fmt.Sprintf("The invitation was sent at once to %s of %s, but none confirmed that it rings: "+
			"its connection may have been dead already, the app frozen in the background, or its client does not send call.received.",
			devices(s.sent), u.ID)
	case len(s.caughtUp) > 0:
		return RangMaybe, fmt.Sprintf("%s had no connected device when invited; %s came back %s later and was given the call, but did not confirm that it rings.",
			u.ID, devices(s.caughtUp), since(u, s.caughtUp[0].At))
	case len(s.absent) > 0 && active && u.State.Pending():
		return RangNo, fmt.Sprintf("It has not rung so far: %s had no connected device when invited, and none has come back yet. "+
			"Only a push notification can wake one.", u.ID)
	case len(s.absent) > 0:
		return RangNo, fmt.Sprintf("It did not ring: %s had no connected device when invited, and none came back in time. "+
			"Only a push notification could have woken one.", u.ID)
	}
	return RangUnknown, fmt.Sprintf("Nothing is on record of what %s's devices were told.", u.ID)
}

// answeredOn is the device on which a user accepted or declined since he was
// last invited; "": he did not, or his backend did it.
func answeredOn(u *call.User) call.SessionID {
	for _, d := range append(slices.Clone(u.Earlier), call.Deed{Op: u.LastOp, By: u.LastBy}) {
		if (d.Op == call.OpAccept || d.Op == call.OpReject) && d.By != "" {
			return d.By
		}
	}
	return ""
}

// devices counts the devices of entries.
func devices(entries []trace.Entry) string {
	var names []string
	for _, t := range entries {
		if name := short(t.Session); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 1 {
		return "one device (" + names[0] + ")"
	}
	return fmt.Sprintf("%d devices (%s)", len(names), strings.Join(names, ", "))
}

// since is the time from the invitation of a user, for people.
func since(u *call.User, at call.Instant) string {
	ms := int64(at - u.InvitedAt)
	if ms < 1000 {
		return fmt.Sprintf("%d ms", ms)
	}
	return fmt.Sprintf("%.1f s", float64(ms)/1000)
}

// ending says what became of the invitation.
func ending(c *call.Call, u *call.User) string {
	backend := u.LastBy == "" && (u.LastOp == call.OpAccept || u.LastOp == call.OpReject)
	switch u.State {
	case call.Accepted:
		if backend {
			return "Their backend accepted for them, through the server API."
		}
		if u.LastOp == call.OpJoin {
			return "They joined."
		}
		return "They accepted."
	case call.Rejected:
		if backend {
			return "Their backend declined for them, through the server API."
		}
		return "They declined."
	case call.Quit:
		return "They were in the call and left."
	case call.TimedOut:
		return fmt.Sprintf("The invitation ran out after %d s.", c.Timeout)
	case call.Cancelled, call.BeCancelled:
		if u.CancelReason == call.CallerLeft {
			return "The invitation was taken back because the caller was gone."
		}
		return "The caller took the invitation back."
	}
	if c.Live() {
		return "The invitation still stands."
	}
	return "The call ended before they answered."
}
