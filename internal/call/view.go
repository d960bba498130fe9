package call

// Reasons, beside those of a call's own end, why a call is over for one user.
const (
	RangOut           Reason = "timeout"
	AnsweredElsewhere Reason = "answered_elsewhere"
	HasQuit           Reason = "quit"
	NeverKnown        Reason = "unknown"
)

// Ending says how the call came to its end for a user, as one of his devices
// that still shows it must be told. The call must not be live for him: see
// [Call.Active].
func (c *Call) Ending(id UserID, device SessionID) (UserState, Reason) {
	u := c.User(id)
	if u == nil {
		return 0, NeverKnown
	}
	state, reason := u.SeenBy(id), c.EndReason
	switch u.State {
	case Cancelled, BeCancelled:
		reason = u.CancelReason
	case TimedOut:
		reason = RangOut
	case Quit:
		reason = HasQuit
	case Rejected, Accepted:
		if u.ID != c.Caller && u.LastBy != device {
			reason = AnsweredElsewhere
		}
	}
	if reason == Unanswered && c.CancelledAll {
		reason = c.cancelReason() // says more
	}
	if reason == "" {
		reason = ByOperator // he rejected on this very device, and the others go on
	}
	return state, reason
}

// cancelReason says why everybody was cancelled.
func (c *Call) cancelReason() Reason {
	for i := range c.Users {
		if reason := c.Users[i].CancelReason; reason != "" {
			return reason
		}
	}
	return Unanswered
}
