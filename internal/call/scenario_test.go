package call_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/call"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata/scenarios to what they are now")

// TestScenarios plays the files of testdata/scenarios: each tells a call step
// by step, and after "=>" what came of the step. Its README says how to write
// one.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := string(text)
			got, err := play(want)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case got == want:
			case *update:
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			default:
				t.Error(firstDifference(got, want))
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\n got %s\nwant %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// play gives the scenario with the answers as they are.
func play(scenario string) (string, error) {
	var p player
	for line := range strings.Lines(scenario) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "=>") {
			continue
		}
		p.out = append(p.out, line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := p.play(line); err != nil {
			return "", fmt.Errorf("%q: %w", line, err)
		}
	}
	return strings.Join(p.out, "\n") + "\n", nil
}

// player plays a scenario.
type player struct {
	c   *call.Call
	now call.Instant
	out []string
}

// play plays one step.
func (p *player) play(line string) error {
	l, err := parseStep(line)
	if err != nil {
		return err
	}
	p.now = start.Add(l.at.Milliseconds())
	switch l.verb {
	case "the clock runs":
		return p.runClock(call.Expire{CallerLost: slices.Contains(l.options, "the caller has lost the connection")})
	case "looks":
		p.look(l.actor)
		return nil
	}
	cmd, err := l.command()
	if err != nil {
		return err
	}
	p.do(cmd)
	return nil
}

func (p *player) say(format string, args ...any) {
	p.out = append(p.out, "=> "+fmt.Sprintf(format, args...))
}

// runClock lets every timer run in its time, up to now.
func (p *player) runClock(cmd call.Expire) error {
	now, version, ran := p.now, p.c.Version, false
	for due := p.c.NextDue(); due != 0 && due <= now; due = p.c.NextDue() {
		p.now, ran = due, true
		if p.do(cmd); p.c.Version == version {
			return fmt.Errorf("the timer at %d never comes to an end", due-start)
		}
		version = p.c.Version
	}
	if !ran {
		p.say("nothing is due")
	}
	return nil
}

// do applies a command and tells what came of it.
func (p *player) do(cmd call.Command) {
	res, err := call.Apply(p.c, cmd, p.now)
	if err != nil {
		refused := err.(*call.RefusedError)
		p.say("refused with %d: %s", refused.Code, refused.Message)
		return
	}
	var parts []string
	before := p.c
	p.c = res.Call
	if res.Event == nil {
		parts = append(parts, "nothing changes")
	} else {
		parts = append(parts, changes(before, p.c))
	}
	if e, ok := res.Event.(call.InvitationsTimedOut); ok {
		if e.Whole {
			parts = append(parts, "the call rang out as a whole")
		}
		if e.CallerLost {
			parts = append(parts, "the caller's connection is lost")
		}
	}
	var left []string
	for _, e := range res.Errors {
		left = append(left, fmt.Sprintf("%s (%d)", e.User, e.Code))
	}
	if len(left) > 0 {
		parts = append(parts, "left out: "+strings.Join(left, ", "))
	}
	if res.Event != nil && !p.c.Live() {
		parts = append(parts, "THE CALL HAS ENDED: "+string(p.c.EndReason))
	}
	when := ""
	if _, ok := cmd.(call.Expire); ok {
		when = fmt.Sprintf(" at %s", time.Duration(p.now-start)*time.Millisecond)
	}
	p.say("version %d%s: %s", p.c.Version, when, strings.Join(parts, "; "))
}

// changes names the users who are no longer as they were.
func changes(before, after *call.Call) string {
	var out []string
	for _, u := range after.Users {
		var was *call.User
		if before != nil {
			was = before.User(u.ID)
		}
		switch {
		case was == nil || was.State != u.State:
			phrase := fmt.Sprintf("%s %s", u.ID, u.State)
			if u.State == call.Accepted && u.Primary != "" {
				phrase += " on " + string(u.Primary)
			}
			if seen := u.SeenBy(u.ID); seen != u.State {
				phrase += fmt.Sprintf(" (sees himself %s)", seen)
			}
			if u.State == call.Inviting && u.Inviter != after.Caller {
				phrase += fmt.Sprintf(" by %s", u.Inviter)
			}
			out = append(out, phrase)
		case was.Primary != u.Primary:
			out = append(out, fmt.Sprintf("%s moves from %s to %s", u.ID, was.Primary, u.Primary))
		}
	}
	if out == nil {
		return "nobody's state changes"
	}
	return strings.Join(out, ", ")
}

// look tells what a device that shows the call is told on coming back.
func (p *player) look(a call.Actor) {
	switch left := p.c.RingRemaining(a.User, p.now); {
	case left > 0:
		p.say("it rings, for another %s", time.Duration(left)*time.Millisecond)
	case p.c.Active(a.User):
		p.say("in the call, on %s", p.c.User(a.User).Primary)
	default:
		state, reason := p.c.Ending(a.User, a.Session)
		p.say("over: %s, because %s", state, reason)
	}
}
