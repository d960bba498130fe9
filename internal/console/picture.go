package console

import (
	"slices"
	"time"

	"github.com/ringback/ringback/internal/adminapi"
)

// pictureWidth is the width of the picture of a call; lanes are 30 high.
const pictureWidth = 1000

// picture is a call drawn to scale: a lane for each user and one for the
// callbacks.
type picture struct {
	From, To int64 // Unix milliseconds
	Lanes    []lane
	Ticks    []tick
}

// lane is what is drawn for a user, or for the callbacks.
type lane struct {
	User  string // "": the callbacks
	Note  string
	Spans []stretch
	Marks []mark
}

// stretch is a time during which something was so.
type stretch struct {
	Kind     string // ringing, talking
	X, Width float64
	Title    string
}

// mark is something that happened at a moment.
type mark struct {
	Kind  string // its class: good, bad, calm, sent
	X     float64
	Title string
}

// tick is a time on the axis. The text of the last one ends where the picture
// does, if it might reach beyond.
type tick struct {
	X    float64
	Text string
	Last bool
}

// textRoom is how far the text of a tick may reach to either side.
const textRoom = 75

// scale maps times to places.
type scale struct {
	from, to int64
}

func (s scale) x(ms int64) float64 {
	return float64(min(max(ms, s.from), s.to)-s.from) / float64(s.to-s.from) * pictureWidth
}

// draw makes the picture of a call.
func draw(c *adminapi.CallDetail) picture {
	s := scale{from: c.CreatedAtMS, to: c.CreatedAtMS}
	for _, e := range c.Timeline {
		s.from, s.to = min(s.from, e.AtMS), max(s.to, e.AtMS)
	}
	s.to = max(s.to, c.EndedAtMS)
	if c.State == "live" {
		s.to = max(s.to, time.Now().UnixMilli())
	}
	s.to = max(s.to, s.from+40) // so that there is a margin
	margin := (s.to - s.from) / 40
	s.from, s.to = s.from-margin, s.to+margin
	p := picture{From: s.from, To: s.to, Ticks: ticks(s, c.CreatedAtMS)}
	for _, u := range c.Users {
		p.Lanes = append(p.Lanes, userLane(c, &u, s))
	}
	callbacks := lane{Note: count(len(c.Deliveries), "callback", "callbacks")}
	for _, e := range c.Timeline {
		if e.Lane == "callback" {
			callbacks.Marks = append(callbacks.Marks, mark{markKind(e), s.x(e.AtMS), e.Text})
		}
	}
	p.Lanes = append(p.Lanes, callbacks)
	return p
}

func markKind(e adminapi.TimelineEntry) string {
	switch {
	case e.Bad:
		return "bad"
	case e.Lane == "callback" && e.Attempt == 0:
		return "calm"
	case e.Lane == "callback", e.Name == "confirmed", e.Name == "call_accept", e.Name == "call_received", e.Name == "call_join":
		return "good"
	case e.Lane == "device":
		return "sent"
	}
	return "calm"
}

// userLane draws when a user rang and was in the call, and what happened.
func userLane(c *adminapi.CallDetail, u *adminapi.CallUser, s scale) lane {
	l := lane{User: u.UserID, Note: words(u.State)}
	end := c.EndedAtMS
	if end == 0 {
		end = s.to
	}
	ringing, talking := int64(0), int64(0)
	if u.UserID == c.Caller {
		l.Note, talking = "caller", 0
		ringing = c.CreatedAtMS
	}
	stop := func(at int64) {
		if ringing != 0 {
			kind, title := "ringing", "It rang for "
			if u.UserID == c.Caller {
				kind, title = "calling", "Was calling for "
			}
			l.Spans = append(l.Spans, stretch{kind, s.x(ringing), max(s.x(at)-s.x(ringing), 2), title + took(ringing, at)})
			ringing = 0
		}
		if talking != 0 {
			l.Spans = append(l.Spans, stretch{"talking", s.x(talking), max(s.x(at)-s.x(talking), 2), "Was in the call for " + took(talking, at)})
			talking = 0
		}
	}
	for _, e := range c.Timeline {
		if e.Lane == "callback" {
			continue
		}
		mine := e.UserID == u.UserID
		if mine {
			l.Marks = append(l.Marks, mark{markKind(e), s.x(e.AtMS), e.Text})
		}
		switch {
		case mine && e.Lane == "device" && slices.Contains([]string{"sent", "absent", "caught_up"}, e.Name) && ringing == 0 && talking == 0 &&
			u.UserID != c.Caller && len(l.Spans) == 0:
			ringing = e.AtMS
		case mine && (e.Name == "call_accept" || e.Name == "call_join"):
			stop(e.AtMS)
			talking = e.AtMS
		case mine && (e.Name == "call_reject" || e.Name == "call_quit"):
			stop(e.AtMS)
		case u.UserID == c.Caller && e.Name == "call_accept" && ringing != 0:
			stop(e.AtMS)
			talking = e.AtMS
		case ringing != 0 && u.UserID != c.Caller && (e.Name == "call_timeout" && u.State == "timed_out" ||
			e.Name == "call_cancel" && slices.Contains([]string{"cancelled", "be_cancelled"}, u.State)):
			stop(e.AtMS)
		}
	}
	stop(end)
	return l
}

// ticks are up to six round times on the axis, counted from the beginning.
func ticks(s scale, zero int64) []tick {
	steps := []int64{10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000}
	step := steps[len(steps)-1]
	for _, candidate := range steps {
		if (s.to-zero)/candidate < 6 {
			step = candidate
			break
		}
	}
	step *= max(1, (s.to-zero)/step/6)
	var list []tick
	for at := zero; at <= s.to && len(list) < 8; at += step {
		text := "0"
		if at > zero {
			text = "+" + took(zero, at)
		}
		list = append(list, tick{s.x(at), text, s.x(at) > pictureWidth-textRoom})
	}
	return list
}
