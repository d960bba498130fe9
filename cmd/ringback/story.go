package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/protocol"
)

// markWidth is how many columns the marks of a story take.
const markWidth = 6

// storyMark is how an entry of a story begins: each lane has a column of its
// own, so that the eye can follow one of them.
func storyMark(e *adminapi.TimelineEntry) string {
	lanes := map[string]int{"transition": 0, "device": 2, "callback": 4}
	glyphs := map[string]string{"transition": "●", "device": "→", "callback": "◆"}
	glyph := glyphs[e.Lane]
	switch {
	case e.Bad:
		glyph = "✗"
	case e.Name == "confirmed":
		glyph = "←"
	}
	if glyph == "" {
		glyph = "·"
	}
	return pad(strings.Repeat(" ", lanes[e.Lane])+glyph, markWidth)
}

// tellStory draws a call for a terminal of that width.
func tellStory(p *printer, call *adminapi.CallDetail, width int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n", p.styled(bold, "Call "+clean(call.CallID)), p.styled(outcomeStyle(&call.Call), clean(callTitle(&call.Call))))
	for _, line := range wrap(fmt.Sprintf("%s mode, app %d, to ring for %d s, created %s", call.Mode, call.AppID, call.TimeoutS, moment(call.CreatedAtMS)), width) {
		b.WriteString(line + "\n")
	}
	b.WriteString("\n")
	storyUsers(&b, p, call)
	if len(call.Verdicts) > 0 {
		fmt.Fprintf(&b, "\n%s\n", p.styled(bold, "Did it ring?"))
	}
	for _, v := range call.Verdicts {
		storyVerdict(&b, p, v, width)
	}
	if len(call.Timeline) > 0 {
		fmt.Fprintf(&b, "\n%s  %s\n", p.styled(bold, "What happened"), p.styled(faint, "● the call  → to a device  ← from it  ◆ a callback  ✗ went wrong"))
	}
	clockWidth := 0
	for _, e := range call.Timeline {
		clockWidth = max(clockWidth, len(since(e.AtMS-call.CreatedAtMS)))
	}
	for i := range call.Timeline {
		e := &call.Timeline[i]
		storyEntry(&b, p, e, fmt.Sprintf("%*s", clockWidth, since(e.AtMS-call.CreatedAtMS)), width)
	}
	storyDeliveries(&b, p, call)
	return b.String()
}

// storyUsers lists who was part of the call.
func storyUsers(b *strings.Builder, p *printer, call *adminapi.CallDetail) {
	longest := 0
	for _, u := range call.Users {
		longest = max(longest, columns(clean(u.UserID)))
	}
	for _, u := range call.Users {
		how := "called"
		if u.UserID != call.Caller {
			how = "invited by " + clean(u.Inviter)
		}
		state := strings.ReplaceAll(clean(u.State), "_", " ")
		fmt.Fprintf(b, "  %s  %s  %s\n", pad(clean(u.UserID), longest), p.styled(userStyle(u.State), pad(state, 12)), p.styled(faint, how))
	}
}

func userStyle(state string) style {
	switch state {
	case "accepted", "quit":
		return green
	case "inviting", "received":
		return yellow
	}
	return red
}

// storyVerdict says for one user whether it rang.
func storyVerdict(b *strings.Builder, p *printer, v adminapi.Verdict, width int) {
	marks := map[string]struct {
		style style
		text  string
	}{"yes": {green, "✓ yes  "}, "no": {red, "✗ no   "}, "maybe": {yellow, "? maybe"}, "unknown": {yellow, "? "}}
	mark := marks[v.Rang]
	const indent = 11
	for i, line := range wrap(clean(v.Text), width-indent) {
		if i == 0 {
			fmt.Fprintf(b, "  %s  %s\n", p.styled(mark.style, pad(mark.text, indent-4)), line)
			continue
		}
		fmt.Fprintf(b, "%s%s\n", strings.Repeat(" ", indent), line)
	}
}

// storyEntry writes one line of the story, which happened at that time.
func storyEntry(b *strings.Builder, p *printer, e *adminapi.TimelineEntry, at string, width int) {
	s := map[string]style{"transition": bold, "device": plain, "callback": plain}[e.Lane]
	switch {
	case e.Bad:
		s = red
	case e.Name == "sent" && !strings.HasPrefix(e.Text, protocol.EventCallInvited+" "): // about what happened above it
		s = faint
	case s == "":
		s = plain
	}
	indent := 2 + len(at) + 2 + markWidth
	for i, line := range wrap(clean(e.Text), width-indent) {
		if i == 0 {
			fmt.Fprintf(b, "  %s  %s%s\n", p.styled(faint, at), p.styled(s, storyMark(e)), p.styled(s, line))
			continue
		}
		fmt.Fprintf(b, "%s%s\n", strings.Repeat(" ", indent), p.styled(s, line))
	}
}

// since writes a time from the beginning of a call.
func since(ms int64) string {
	sign := "+"
	if ms < 0 {
		sign, ms = "-", -ms
	}
	switch seconds := ms / 1000; {
	case seconds < 100:
		return fmt.Sprintf("%s%d.%03d s", sign, seconds, ms%1000)
	case seconds < 3600:
		return fmt.Sprintf("%s%d:%02d.%03d", sign, seconds/60, seconds%60, ms%1000)
	default:
		return fmt.Sprintf("%s%d:%02d:%02d", sign, seconds/3600, seconds/60%60, seconds%60)
	}
}

// storyDeliveries names the deliveries that did not succeed, and what to do.
func storyDeliveries(b *strings.Builder, p *printer, call *adminapi.CallDetail) {
	bad := slices.DeleteFunc(slices.Clone(call.Deliveries), func(d adminapi.Delivery) bool {
		return d.Status == "delivered" || d.Status == "pending" && d.Attempts == 0
	})
	if len(bad) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", p.styled(bold, "Callbacks that did not arrive"))
	for _, d := range bad {
		what := "given up after " + count(d.Attempts, "attempt")
		if d.Status == "pending" {
			what = fmt.Sprintf("%s so far, the next at %s", count(d.Attempts, "attempt"), clock(d.NextAttemptMS))
		}
		fmt.Fprintf(b, "  %s  %s  %s\n", p.styled(red, pad(clean(d.Event), 13)), clean(d.ID), what)
	}
	fmt.Fprintf(b, "  %s\n", p.styled(faint, "ringback deliveries show ID says why, ringback deliveries redeliver ID tries again."))
}
