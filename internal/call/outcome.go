package call

// Outcome is what a call came to in a word: the one thing that people search
// and count calls by. A live call has none.
type Outcome string

// Outcomes. The first that fits is a call's.
const (
	OutcomeAccepted    Outcome = "accepted"      // somebody beside the caller was ever in it
	OutcomeCancelled   Outcome = "caller_cancel" // the caller took the last invitations back
	OutcomeCallerLeft  Outcome = "caller_left"   // the caller was gone
	OutcomeEnded       Outcome = "ended"         // an advanced call ended while it rang
	OutcomeMaxDuration Outcome = "max_duration"  // so did this one, by itself
	OutcomeTimeout     Outcome = "timeout"       // an invitee let it ring out
	OutcomeRejected    Outcome = "rejected"      // every invitee declined
)

// Outcomes lists all outcomes.
var Outcomes = []Outcome{
	OutcomeAccepted, OutcomeCancelled, OutcomeCallerLeft, OutcomeEnded, OutcomeMaxDuration, OutcomeTimeout, OutcomeRejected,
}

// Outcome says what the call came to; "" while it lives.
func (c *Call) Outcome() Outcome {
	switch {
	case c.Live():
		return ""
	case c.AnyAccepted():
		return OutcomeAccepted
	case c.CancelledAll && c.cancelReason() == CallerLeft:
		return OutcomeCallerLeft
	case c.CancelledAll:
		return OutcomeCancelled
	case c.EndReason == ByOperator, c.EndReason == AllLeft:
		return OutcomeEnded
	case c.EndReason == MaxDuration:
		return OutcomeMaxDuration
	case c.count(func(s UserState) bool { return s == TimedOut }) > 0:
		return OutcomeTimeout
	case c.count(func(s UserState) bool { return s == BeCancelled }) > 0:
		return OutcomeCancelled
	}
	return OutcomeRejected
}
