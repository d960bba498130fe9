package history

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ringback/ringback/protocol"
)

// Limits say how much time there may be between what belongs together. Time
// in which a fault is on is not counted. The zero value of a field means the
// default that its comment gives.
type Limits struct {
	// Told is for a connected device to learn that it rings no more; default 2 s.
	Told time.Duration
	// Late is for a timer after its instant; default 2 s.
	Late time.Duration
	// Recovery is the time after a fault that is not counted either; default 2 s.
	Recovery time.Duration
	// Events are those that the endpoint of the receiver gets; default
	// protocol.DocumentedCallbacks.
	Events []string
}

// CallEvents are all events of calls: the documented ones and the extensions,
// for an endpoint that is to see everything.
func CallEvents() []string {
	return append(slices.Clone(protocol.DocumentedCallbacks),
		protocol.CallbackReceived, protocol.CallbackJoin, protocol.CallbackQuit, protocol.CallbackEnd)
}

func (l Limits) withDefaults() Limits {
	l.Told = cmp.Or(l.Told, 2*time.Second)
	l.Late = cmp.Or(l.Late, 2*time.Second)
	l.Recovery = cmp.Or(l.Recovery, 2*time.Second)
	if l.Events == nil {
		l.Events = protocol.DocumentedCallbacks
	}
	return l
}

// Rule is a promise that can be broken.
type Rule string

// The rules.
const (
	Malformed Rule = "malformed" // the history itself cannot be read

	Lost      Rule = "lost"      // what was acknowledged or told is in the store
	Uncaused  Rule = "uncaused"  // what is in the store was asked for, or is a consequence that the rules know
	Refused   Rule = "refused"   // what was refused did not happen
	Doubled   Rule = "doubled"   // one request makes one call
	Outcome   Rule = "outcome"   // an invitation has one outcome
	AfterEnd  Rule = "after end" // nothing happens to a call that has ended
	Gap       Rule = "gap"       // versions rise one by one
	State     Rule = "state"     // the call is what its events make it
	Timer     Rule = "timer"     // an invitation runs out at its deadline
	Unsettled Rule = "unsettled" // in the end no call lives and no delivery is pending

	Version    Rule = "version"     // on one connection the versions of a call never go back
	ReplyFirst Rule = "reply first" // the reply comes before the events of its request
	Ghost      Rule = "ghost"       // a device that rings learns why it stops
	Overring   Rule = "overring"    // no device rings longer than its invitation
	Twice      Rule = "twice"       // the end of a ringing has one reason; the library tells it once

	Undelivered Rule = "undelivered" // every event that is subscribed to reaches the receiver
	Unfounded   Rule = "unfounded"   // every callback is of an event, and says what it says
	Order       Rule = "order"       // first attempts of a call come in order
	Sequence    Rule = "sequence"    // sequences count the callbacks of a call from 1, without gaps
	Signature   Rule = "signature"   // every callback can be verified
	EventID     Rule = "event id"    // an event ID names one event
)

// Violation is a broken promise, and the records that prove it.
type Violation struct {
	Rule  Rule
	Call  string // "" when it is not about one call
	Text  string
	Proof []Record
}

// String is the violation for people, on several lines.
func (v Violation) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s: ", v.Rule)
	if v.Call != "" {
		fmt.Fprintf(&s, "call %s: ", v.Call)
	}
	s.WriteString(v.Text)
	for _, r := range v.Proof {
		fmt.Fprintf(&s, "\n    %s", r)
	}
	return s.String()
}

// mostPrinted is how many violations of one rule Print shows.
const mostPrinted = 5

// Print writes violations for people: the number of each rule, and the first
// few in full.
func Print(w io.Writer, violations []Violation) error {
	var s strings.Builder
	shown := make(map[Rule]int)
	for _, v := range violations {
		if shown[v.Rule]++; shown[v.Rule] <= mostPrinted {
			fmt.Fprintln(&s, v)
		}
	}
	for rule, n := range shown {
		if n > mostPrinted {
			fmt.Fprintf(&s, "%s: %d more\n", rule, n-mostPrinted)
		}
	}
	_, err := io.WriteString(w, s.String())
	return err
}

// Check says which promises the history shows broken. The records are in the
// order of time, the final ones in the order of the feed.
func Check(records []Record, limits Limits) []Violation {
	c := &checker{limits: limits.withDefaults()}
	c.index(records)
	for _, id := range c.order {
		c.fold(c.calls[id])
	}
	c.acknowledged()
	c.invitations()
	c.connections()
	c.ringing()
	c.callbacks()
	slices.SortStableFunc(c.found, func(a, b Violation) int { return cmp.Compare(a.Rule, b.Rule) })
	return c.found
}

// checker is one check.
type checker struct {
	limits  Limits
	began   int64 // Unix milliseconds at the zero of the history
	end     time.Duration
	records []Record // those before the final state
	calls   map[string]*story
	order   []string // the calls as the store has them, then those it does not have
	events  map[string]*event
	feed    []*event
	deliver map[string][]*delivery // by event
	sent    map[requestKey]Record
	replies map[requestKey]Record
	asked   map[request]bool
	faults  []span // with the recovery, in order, not overlapping
	silent  []span // in which the receiver did not answer
	found   []Violation
}

func (c *checker) violated(rule Rule, call string, proof []Record, format string, args ...any) {
	c.found = append(c.found, Violation{rule, call, fmt.Sprintf(format, args...), proof})
}

// span is a time.
type span struct{ from, to time.Duration }

// at is the place of an instant of the store in the history.
func (c *checker) at(ms int64) time.Duration {
	return time.Duration(ms-c.began) * time.Millisecond
}

// calm is how much of a time was without faults.
func (c *checker) calm(from, to time.Duration) time.Duration {
	return max(0, to-from) - overlap(c.faults, from, to)
}

func overlap(spans []span, from, to time.Duration) time.Duration {
	var sum time.Duration
	for _, s := range spans {
		sum += max(0, min(s.to, to)-max(s.from, from))
	}
	return sum
}
