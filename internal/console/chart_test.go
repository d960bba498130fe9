package console

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/adminapi"
)

// wellFormed reads markup to its end.
func wellFormed(t *testing.T, text string) {
	t.Helper()
	for dec := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
}

func TestOverviewView(t *testing.T) {
	at := time.Date(2026, 3, 4, 12, 30, 30, 0, time.UTC).UnixMilli()
	o := &adminapi.Overview{
		AtMS: at, Now: adminapi.Gauges{LiveCalls: 1234, Backlog: 2, OldestPendingMS: at - 120_000},
		Samples: []adminapi.Sample{
			{AtMS: at - 2*3600_000, Created: 100, Ended: map[string]int{"accepted": 100}}, // before what is drawn
			{AtMS: at - 600_000, Created: 4, Ended: map[string]int{"accepted": 3, "timeout": 1}, Delivered: 9, Failed: 1, LatencyP50MS: 5, LatencyP95MS: 80},
			{AtMS: at, Created: 1, Ended: map[string]int{}, Connections: 7},
		},
	}
	v := newOverviewView(o, false, nil, new(adminapi.Nodes))
	want := map[string]string{"live": "1\u202f234", "answered": "75 %", "success": "90 %", "latency": "80 ms", "backlog": "2", "connections": "0"}
	for _, tile := range v.Tiles {
		if tile.Value != want[tile.ID] {
			t.Errorf("%s is %q, want %q", tile.ID, tile.Value, want[tile.ID])
		}
	}
	if len(v.Charts) != 4 {
		t.Fatalf("%d charts", len(v.Charts))
	}
	for _, c := range v.Charts {
		wellFormed(t, string(c.SVG))
		if c.Empty || c.To-c.From != 3600_000 {
			t.Errorf("%s: %+v", c.ID, c)
		}
	}
	if svg := string(v.Charts[0].SVG); !strings.Contains(svg, "12:20 UTC: accepted 3, rang out 1") {
		t.Errorf("no field says what happened: %s", svg)
	}
	for _, c := range newOverviewView(&adminapi.Overview{AtMS: at}, true, nil, new(adminapi.Nodes)).Charts {
		wellFormed(t, string(c.SVG))
		if !c.Empty || c.To-c.From != 24*3600_000 {
			t.Errorf("of nothing: %s: %+v", c.ID, c)
		}
	}
}

func TestCeiling(t *testing.T) {
	for v, want := range map[float64]float64{0: 1, 1: 1, 7: 8, 11: 20, 99: 100, 0.3: 0.3, 2500: 3000} {
		if got := ceiling(v); math.Abs(got-want) > want/1e9 {
			t.Errorf("%v: %v, want %v", v, got, want)
		}
	}
}

func TestPicture(t *testing.T) {
	c := &adminapi.CallDetail{
		Call: adminapi.Call{State: "ended", Outcome: "accepted", Caller: "alice", CreatedAtMS: 1000, EndedAtMS: 6000, Users: []adminapi.CallUser{
			{UserID: "alice", State: "accepted"}, {UserID: "bob", State: "accepted"}, {UserID: "carol", State: "rejected"},
		}},
		Deliveries: make([]adminapi.Delivery, 1),
		Timeline: []adminapi.TimelineEntry{
			{AtMS: 1000, Lane: "transition", Name: "call_create", UserID: "alice"},
			{AtMS: 1000, Lane: "device", Name: "sent", UserID: "bob"},
			{AtMS: 1000, Lane: "device", Name: "absent", UserID: "carol", Bad: true},
			{AtMS: 2000, Lane: "transition", Name: "call_reject", UserID: "carol"},
			{AtMS: 3000, Lane: "transition", Name: "call_accept", UserID: "bob"},
			{AtMS: 9000, Lane: "callback", Name: "call_accept", Attempt: 1, Bad: true},
		},
	}
	p := draw(c)
	if len(p.Lanes) != 4 || p.From >= 1000 || p.To <= 9000 {
		t.Fatalf("%+v", p)
	}
	for i, want := range [][]string{{"calling", "talking"}, {"ringing", "talking"}, {"ringing"}, nil} {
		spans := p.Lanes[i].Spans
		if len(spans) != len(want) {
			t.Errorf("lane %d: %+v, want %v", i, spans, want)
			continue
		}
		end := 0.0
		for j, s := range spans {
			if s.Kind != want[j] || s.X < end || s.Width <= 0 || s.X+s.Width > pictureWidth {
				t.Errorf("lane %d: %+v, want %v", i, spans, want)
			}
			end = s.X
		}
	}
	if marks := p.Lanes[3].Marks; len(marks) != 1 || marks[0].Kind != "bad" {
		t.Errorf("callbacks: %+v", marks)
	}
	if n := len(p.Ticks); n < 2 || n > 8 {
		t.Errorf("%d ticks: %+v", n, p.Ticks)
	}
}

// Nodes are shown when there are several, with what is wrong, and then it is
// said whose numbers these are.
func TestOverviewOfNodes(t *testing.T) {
	read := func(nodes *adminapi.Nodes) string {
		v := newOverviewView(new(adminapi.Overview), false, nil, nodes)
		var b strings.Builder
		for _, part := range []string{"scope", "nodes"} {
			text, err := fragment("overview", part, v)
			if err != nil {
				t.Fatal(err)
			}
			b.WriteString(text)
		}
		return b.String()
	}
	one := adminapi.Node{Name: "one", Self: true, Partitions: 64}
	if text := read(&adminapi.Nodes{Partitions: 64, Items: []adminapi.Node{one}}); strings.TrimSpace(text) != "" {
		t.Errorf("of one node: %s", text)
	}
	one.Partitions = 32
	nodes := &adminapi.Nodes{Partitions: 64, Items: []adminapi.Node{one, {Name: "<two>", Partitions: 31}}}
	text := read(nodes)
	for _, want := range []string{"2 nodes share the store", "those of <b><bdi>one</bdi></b> alone", `<bdi>one</bdi> <span class="badge calm">this one</span>`, "32 of 64", "&lt;two&gt;", "31 of 64"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if strings.Contains(text, "failing") {
		t.Errorf("trouble where there is none: %s", text)
	}
	nodes.Unheld, nodes.Trouble, nodes.Bus = 1, "the lease ended", adminapi.Bus{State: "disconnected", Trouble: "no NATS"}
	text = read(nodes)
	for _, want := range []string{"Nobody holds 1 partition:", "the lease ended", "no NATS"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
}
