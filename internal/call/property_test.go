package call_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringback/ringback/internal/call"
)

// drawn is a chooser by rapid.
type drawn struct{ t *rapid.T }

func (d drawn) choose(n int) int { return rapid.IntRange(0, n-1).Draw(d.t, "choice") }

// TestSequences leads calls through random commands; see sequence for what is
// looked at.
func TestSequences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &sequence{fatalf: t.Fatalf}
		s.begin(drawn{t})
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			s.step(drawn{t})
		}
		s.runOut()
	})
}

// TestExactlyOneWins: of commands that race for one invitation exactly one
// wins, in whatever order they come; the others are refused or change nothing.
func TestExactlyOneWins(t *testing.T) {
	early, late := start+second, start+ringTime*second
	races := []struct {
		name    string
		mode    call.Mode
		others  string // invited beside bob
		before  []call.Command
		now     call.Instant
		racers  []call.Command
		winners int // how many of the racers can win
	}{
		{"two devices of one user", call.General, "", nil, early, []call.Command{
			accepts("bob-1"), accepts("bob-2"), rejects("bob-3"), rejects("bob"),
		}, 4},
		{"answers against cancels", call.General, "", nil, early, []call.Command{
			accepts("bob-1"), rejects("bob-2"), cancels("alice-1", ""), cancels("alice-2", "bob"), call.CallerGone{}, call.Expire{},
		}, 5},
		{"answers against cancels, advanced", call.Advanced, "", nil, early, []call.Command{
			accepts("bob-1"), rejects("bob-2"), cancels("alice-1", ""), cancels("alice-2", "bob"), call.CallerGone{}, call.Expire{},
		}, 5},
		{"answers against cancels, others in the call", call.Advanced, "carol", []call.Command{accepts("carol-1")}, early, []call.Command{
			accepts("bob-1"), rejects("bob-2"), cancels("alice-1", ""), cancels("alice-2", "bob"), call.CallerGone{}, call.Expire{},
		}, 3},
		{"a join against cancels", call.Advanced, "", nil, early, []call.Command{
			joins("bob-1"), accepts("bob-2"), cancels("alice-1", ""), cancels("alice-2", "bob"), call.CallerGone{}, ends("alice-1"),
		}, 6},
		{"answers against the timeout", call.General, "", nil, late, []call.Command{
			accepts("bob-1"), rejects("bob-2"), joins("bob-3"), call.Expire{}, call.Expire{CallerLost: true},
		}, 2},
		{"a cancel against the timeout", call.Advanced, "", nil, late, []call.Command{
			accepts("bob-1"), rejects("bob-2"), joins("bob-3"), call.Expire{}, cancels("alice-1", ""), call.CallerGone{},
		}, 3},
	}
	for _, race := range races {
		t.Run(race.name, func(t *testing.T) {
			begun := begin(t, race.mode, "bob "+race.others).do(race.before...).at(1).do(receives("bob-1")).c
			winners := make(map[string]bool)
			permute(race.racers, func(order []call.Command) {
				c, won, version := begun, 0, begun.Version
				for _, cmd := range order {
					pending := c.Active("bob") && c.User("bob").State.Pending()
					res, err := call.Apply(c, cmd, race.now)
					if err != nil || res.Event == nil {
						continue
					}
					c = res.Call
					if pending && !(c.Active("bob") && c.User("bob").State.Pending()) {
						won++
						version = c.Version
						winners[fmt.Sprintf("%T %+v", cmd, cmd)] = true
					}
				}
				if won != 1 {
					t.Errorf("%d winners in the order %+v", won, order)
				}
				if version != begun.Version+1 {
					t.Errorf("the winner made version %d in the order %+v", version, order)
				}
			})
			if len(winners) != race.winners {
				t.Errorf("%d of the racers can win, want %d: %v", len(winners), race.winners, winners)
			}
		})
	}
}

// permute calls f with every order of the commands.
func permute(cmds []call.Command, f func([]call.Command)) {
	var place func(n int)
	cmds = slices.Clone(cmds)
	place = func(n int) {
		if n == len(cmds) {
			f(cmds)
			return
		}
		for i := n; i < len(cmds); i++ {
			cmds[n], cmds[i] = cmds[i], cmds[n]
			place(n + 1)
			cmds[n], cmds[i] = cmds[i], cmds[n]
		}
	}
	place(0)
}

// TestEveryOrderComesToOneEnd: in whatever order users of a group act, and
// whatever timers do in between, the call comes to exactly one end.
func TestEveryOrderComesToOneEnd(t *testing.T) {
	cmds := []call.Command{
		accepts("bob-1"), rejects("carol-1"), cancels("alice-1", "dave"), joins("erin-1"), call.CallerGone{},
	}
	for _, mode := range []call.Mode{call.General, call.Advanced} {
		permute(cmds, func(order []call.Command) {
			s := &sequence{fatalf: t.Fatalf, now: start}
			s.apply(invites(mode, "bob carol dave"))
			for _, cmd := range order {
				if c, ok := cmd.(call.Cancel); ok {
					c.Names = slices.Clone(c.Names) // the sequence overwrites it
					cmd = c
				}
				s.now += second
				s.apply(cmd)
			}
			s.runOut()
		})
	}
}
