package call_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ringback/ringback/internal/call"
)

// The tables below say what comes of every command in every state. A row is
// the situation of bob, a column is a command:
//
//	receive … join   given by bob, from a device that has done nothing yet
//	cancel, unring   alice cancels all, alice cancels bob, both from a device that has cancelled nothing yet
//	expire           the clock reaches what is due next
//	gone, absent     the caller is gone, bob has been absent for too long
//
// A cell is the last three digits of the refusal, or "." when nothing changes,
// or else the state of bob afterwards by its number ("x": he is not in the
// call), with "!" when the command ended the call.
//
//	0 inviting   1 accepted   2 rejected    3 cancelled          5 received
//	6 timed out  7 quit       9 not yet received   10 be-cancelled
const (
	// Carol is being rung as well, all the time.
	generalLive = `
	bob is        | receive accept reject  join quit  end  add | cancel unring expire gone absent
	--------------+--------------------------------------------+---------------------------------
	a stranger    |     274    274    274   286  286  286  286 |     x!    274     x!   x!      .
	the caller    |     274    274    274   286  286  286  286 |     1!    271     1!   1!      .
	inviting      |       5      1      2   286  286  286  286 |     3!     10     6!   3!      .
	received      |       .      1      2   286  286  286  286 |     3!     10     6!   3!      .
	not received  |       5      1      2   286  286  286  286 |     3!     10     6!   3!      .
	accepted      |     276    276    276   286  286  286  286 |    271    271     1!    .      .
	rejected      |     276    276    276   286  286  286  286 |     2!    276     2!   2!      .
	be-cancelled  |     276    273    273   286  286  286  286 |    10!    276    10!  10!      .
	`
	// Carol has rejected, and what became of bob has ended the call.
	generalEnded = `
	bob is        | receive accept reject  join quit  end  add | cancel unring expire gone absent
	--------------+--------------------------------------------+---------------------------------
	a stranger    |     276    274    274   286  286  286  286 |    276    276      .    .      .
	the caller    |     276    274    274   286  286  286  286 |    276    276      .    .      .
	accepted      |     276    276    276   286  286  286  286 |    271    271      .    .      .
	rejected      |     276    276    276   286  286  286  286 |    276    276      .    .      .
	timed out     |     276    276    276   286  286  286  286 |    276    276      .    .      .
	cancelled     |     276    273    273   286  286  286  286 |    276    276      .    .      .
	be-cancelled  |     276    273    273   286  286  286  286 |    276    276      .    .      .
	`
	// Carol is being rung as well, and nobody but bob has ever answered.
	advancedRinging = `
	bob is        | receive accept reject  join quit  end  add | cancel unring expire gone absent
	--------------+--------------------------------------------+---------------------------------
	a stranger    |     274    274    274     1  274  274  274 |     x!    274     x!   x!      .
	the caller    |     274    274    274     1   7!   1!    1 |     1!    271     1!   1!     7!
	inviting      |       5      1      2     1  274  274  274 |     3!     10     6!   3!      .
	received      |       .      1      2     1  274  274  274 |     3!     10     6!   3!      .
	not received  |       5      1      2     1  274  274  274 |     3!     10     6!   3!      .
	accepted      |     276    276    276     1    7   1!    1 |    271    271      1    .      7
	joined        |     274    274    274     1    7   1!    1 |    271    271      1    .      7
	rejected      |     276    276    276     1  274  274  274 |     2!    276     2!   2!      .
	timed out     |     276    276    276     1  274  274  274 |     6!    276     6!   6!      .
	be-cancelled  |     276    273    273     1  274  274  274 |    10!    276    10!  10!      .
	quit          |     276    276    276     1  274  274  274 |    271    271      7    .      .
	asked back    |       5      1      2     1  274  274  274 |    271     10      0    .      .
	`
	// Carol is in the call.
	advancedTalking = `
	bob is        | receive accept reject  join quit  end  add | cancel unring expire gone absent
	--------------+--------------------------------------------+---------------------------------
	a stranger    |     274    274    274     1  274  274  274 |    271    274     x!    .      .
	the caller    |     274    274    274     1    7   1!    1 |    271    271     1!    .      7
	inviting      |       5      1      2     1  274  274  274 |    271     10      6    .      .
	received      |       .      1      2     1  274  274  274 |    271     10      6    .      .
	not received  |       5      1      2     1  274  274  274 |    271     10      6    .      .
	accepted      |     276    276    276     1    7   1!    1 |    271    271     1!    .      7
	joined        |     274    274    274     1    7   1!    1 |    271    271     1!    .      7
	rejected      |     276    276    276     1  274  274  274 |    271    276     2!    .      .
	timed out     |     276    276    276     1  274  274  274 |    271    276     6!    .      .
	be-cancelled  |     276    273    273     1  274  274  274 |    271    276    10!    .      .
	quit          |     276    276    276     1  274  274  274 |    271    271     7!    .      .
	asked back    |       5      1      2     1  274  274  274 |    271     10      6    .      .
	`
	// Carol was in the call, and has ended it.
	advancedEnded = `
	bob is        | receive accept reject  join quit  end  add | cancel unring expire gone absent
	--------------+--------------------------------------------+---------------------------------
	a stranger    |     276    274    274   276  274  274  274 |    271    276      .    .      .
	the caller    |     276    274    274   276  276  276  276 |    271    271      .    .      .
	inviting      |     276    276    276   276  274  274  274 |    271    276      .    .      .
	received      |     276    276    276   276  274  274  274 |    271    276      .    .      .
	not received  |     276    276    276   276  274  274  274 |    271    276      .    .      .
	accepted      |     276    276    276   276  276  276  276 |    271    271      .    .      .
	joined        |     276    274    274   276  276  276  276 |    271    271      .    .      .
	rejected      |     276    276    276   276  274  274  274 |    271    276      .    .      .
	timed out     |     276    276    276   276  274  274  274 |    271    276      .    .      .
	be-cancelled  |     276    273    273   276  274  274  274 |    271    276      .    .      .
	quit          |     276    276    276   276  274  274  274 |    271    271      .    .      .
	asked back    |     276    276    276   276  274  274  274 |    271    276      .    .      .
	`
	// Nobody ever accepted: the call is over since alice cancelled whoever was
	// left.
	advancedCancelled = `
	bob is        | receive accept reject  join quit  end  add | cancel unring expire gone absent
	--------------+--------------------------------------------+---------------------------------
	a stranger    |     276    273    273   276  274  274  274 |    276    276      .    .      .
	the caller    |     276    273    273   276  276  276  276 |    276    276      .    .      .
	cancelled     |     276    273    273   276  274  274  274 |    276    276      .    .      .
	rejected      |     276    273    273   276  274  274  274 |    276    276      .    .      .
	be-cancelled  |     276    273    273   276  274  274  274 |    276    276      .    .      .
	`
)

// bobs leads a call that row has begun to where bob is as the row says.
var bobs = map[string]func(s *story){
	"a stranger":   func(*story) {},
	"the caller":   func(*story) {},
	"joined":       func(s *story) { s.do(joins("bob-1")) },
	"inviting":     func(*story) {},
	"received":     func(s *story) { s.do(receives("bob-1")) },
	"not received": func(s *story) { s.at(5).do(call.Expire{}) },
	"accepted":     func(s *story) { s.do(accepts("bob-1")) },
	"rejected":     func(s *story) { s.do(rejects("bob-1")) },
	"cancelled":    func(s *story) { s.do(cancels("alice-1", "")) },
	"be-cancelled": func(s *story) { s.do(cancels("alice-1", "bob")) },
	"timed out":    func(s *story) { s.at(ringTime).do(call.Expire{}) },
	"quit":         func(s *story) { s.do(accepts("bob-1"), quits("bob-1")) },
	"asked back":   func(s *story) { s.do(accepts("bob-1"), quits("bob-1"), adds("alice-1", "bob")) },
}

// row begins the call of a row: alice invites carol, and bob unless the row
// has him come in otherwise.
func row(t *testing.T, mode call.Mode, bob string) *story {
	t.Helper()
	create := invites(mode, "bob carol")
	switch bob {
	case "a stranger", "the caller", "joined":
		create.Invitees = ids("carol")
	case "not received":
		create.NotReceivedCheck = true
	}
	s := &story{t: t, now: start}
	s.do(create).at(1)
	return s
}

func TestEveryCommandInEveryState(t *testing.T) {
	tables := []struct {
		name  string
		table string
		make  func(t *testing.T, bob string) *story
	}{
		{"general, live", generalLive, func(t *testing.T, bob string) *story {
			s := row(t, call.General, bob)
			bobs[bob](s)
			return s.states("carol " + ringing(bob)).live()
		}},
		{"general, ended", generalEnded, func(t *testing.T, bob string) *story {
			s := row(t, call.General, bob).do(rejects("carol-1"))
			bobs[bob](s)
			if s.c.Live() {
				t.Fatal("the call is live")
			}
			return s
		}},
		{"advanced, ringing", advancedRinging, func(t *testing.T, bob string) *story {
			s := row(t, call.Advanced, bob)
			if bob == "timed out" { // so must carol be, but she is asked again
				s.do(rejects("carol-1")).at(ringTime - 1).do(adds("alice-1", "carol"))
			}
			bobs[bob](s)
			return s.states("carol " + ringing(bob)).live()
		}},
		{"advanced, talking", advancedTalking, func(t *testing.T, bob string) *story {
			s := row(t, call.Advanced, bob).do(accepts("carol-1"))
			bobs[bob](s)
			return s.states("carol accepted").live()
		}},
		{"advanced, ended", advancedEnded, func(t *testing.T, bob string) *story {
			s := row(t, call.Advanced, bob).do(accepts("carol-1"))
			bobs[bob](s)
			return s.do(ends("carol-1")).ended(call.ByOperator)
		}},
		{"advanced, cancelled", advancedCancelled, func(t *testing.T, bob string) *story {
			s := row(t, call.Advanced, bob)
			bobs[bob](s)
			if s.c.Live() {
				s.do(cancels("alice-1", ""))
			}
			return s.ended(call.Unanswered)
		}},
	}
	for _, tt := range tables {
		t.Run(tt.name, func(t *testing.T) {
			columns, rows := readTable(t, tt.table)
			for _, bob := range slices.Sorted(maps.Keys(rows)) {
				for i, column := range columns {
					s := tt.make(t, bob)
					if got, want := outcome(s, column, bob == "the caller"), rows[bob][i]; got != want {
						t.Errorf("bob is %s, %s: got %s, want %s", bob, column, got, want)
					}
				}
			}
		})
	}
}

// ringing is the state of carol while she is being rung beside bob.
func ringing(bob string) string {
	if bob == "not received" {
		return "not yet received"
	}
	return "inviting"
}

// readTable gives the columns of a table and its rows by their first word.
func readTable(t *testing.T, table string) (columns []string, rows map[string][]string) {
	rows = make(map[string][]string)
	for line := range strings.Lines(strings.TrimSpace(table)) {
		head, cells, found := strings.Cut(strings.TrimSpace(line), "|")
		fields := strings.Fields(strings.ReplaceAll(cells, "|", " "))
		switch {
		case !found:
		case columns == nil:
			columns = fields
		default:
			rows[strings.TrimSpace(head)] = fields
			if len(fields) != len(columns) {
				t.Fatalf("%d cells for %d columns: %s", len(fields), len(columns), line)
			}
		}
	}
	return columns, rows
}

// outcome gives the command of a column and says what came of it, as a cell
// does. Bob may be the caller himself.
func outcome(s *story, column string, bobCalls bool) string {
	bob := "bob"
	if bobCalls {
		bob = "alice"
	}
	device, now := bob+"-9", s.now.Add(second)
	var cmd call.Command
	switch column {
	case "receive":
		cmd = receives(device)
	case "accept":
		cmd = accepts(device)
	case "reject":
		cmd = rejects(device)
	case "join":
		cmd = joins(device)
	case "quit":
		cmd = quits(device)
	case "end":
		cmd = ends(device)
	case "add":
		cmd = adds(device, "dave")
	case "cancel":
		cmd = cancels("alice-8", "")
	case "unring":
		cmd = cancels("alice-8", bob)
	case "expire":
		cmd, now = call.Expire{}, max(now, s.c.NextDue())
	case "gone":
		cmd = call.CallerGone{}
	case "absent":
		cmd = absent(call.UserID(bob))
	}
	wasLive := s.c.Live()
	res, err := call.Apply(s.c, cmd, now)
	switch {
	case err != nil:
		return fmt.Sprint(refusal(s.t, s.c, cmd, now) % 1000)
	case res.Event == nil:
		return "."
	}
	cell := "x"
	if u := res.Call.User(call.UserID(bob)); u != nil {
		cell = fmt.Sprint(int(u.State))
	}
	if wasLive && !res.Call.Live() {
		cell += "!"
	}
	return cell
}
