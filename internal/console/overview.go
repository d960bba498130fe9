package console

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
)

// liveShown is how many live calls the overview lists.
const liveShown = 6

// tile is a number of the overview.
type tile struct {
	ID, Name, Value, Note, Tone, Link string
}

// overviewView is what the overview shows.
type overviewView struct {
	*adminapi.Overview
	Day    bool
	Tiles  []tile
	Charts []chart
	Live   []adminapi.Call
	Nodes  *adminapi.Nodes
}

// Several reports whether there is more than one node, so that it matters
// which of them the numbers are of.
func (v *overviewView) Several() bool { return len(v.Nodes.Items) > 1 }

// Answering is the name of the node whose numbers are shown.
func (v *overviewView) Answering() string {
	for _, n := range v.Nodes.Items {
		if n.Self {
			return n.Name
		}
	}
	return "a node that has just ended"
}

func (v *visit) overview() error {
	day := v.r.FormValue("window") == "24h"
	view, err := readOverview(v.r.Context(), v.api, day)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "overview", page{Title: "Overview", Section: "overview", Data: view})
}

// readOverview reads everything that the overview shows.
func readOverview(ctx context.Context, api *adminclient.Client, day bool) (*overviewView, error) {
	o, err := api.Overview(ctx, day)
	if err != nil {
		return nil, err
	}
	live, err := api.CallsPage(ctx, adminclient.CallQuery{State: "live"}, adminclient.Place{Limit: liveShown})
	if err != nil {
		return nil, err
	}
	nodes, err := api.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	return newOverviewView(o, day, live.Items, nodes), nil
}

// outcomes are those of calls, in the order in which they are drawn.
var outcomes = []string{"accepted", "rejected", "timeout", "caller_cancel", "caller_left", "ended", "max_duration"}

func newOverviewView(o *adminapi.Overview, day bool, live []adminapi.Call, nodes *adminapi.Nodes) *overviewView {
	a := axis{step: time.Minute, steps: 60}
	if day {
		a = axis{step: 15 * time.Minute, steps: 96}
	}
	step := a.step.Milliseconds()
	a.from = o.AtMS/step*step - int64(a.steps-1)*step
	t := gather(o, a)
	v := &overviewView{Overview: o, Day: day, Live: live, Nodes: nodes}
	v.Tiles, v.Charts = t.tiles(o), t.charts(a)
	return v
}

// totals are samples gathered for drawing.
type totals struct {
	ended                       map[string][]float64
	delivered, failed           []float64
	p50, p95                    []float64 // in milliseconds; -1: there was none
	connections, calls, backlog []float64 // -1: not known

	created, over, answered, sent, lost int
	latest                              float64 // the latest p95, in milliseconds
}

func blank(n int, value float64) []float64 {
	list := make([]float64, n)
	for i := range list {
		list[i] = value
	}
	return list
}

func gather(o *adminapi.Overview, a axis) *totals {
	n := a.steps
	t := &totals{
		ended: make(map[string][]float64), delivered: blank(n, 0), failed: blank(n, 0), p50: blank(n, -1), p95: blank(n, -1),
		connections: blank(n, -1), calls: blank(n, -1), backlog: blank(n, -1),
	}
	for _, name := range outcomes {
		t.ended[name] = blank(n, 0)
	}
	for _, s := range o.Samples {
		i, ok := a.of(s.AtMS)
		if !ok {
			continue
		}
		t.created += s.Created
		for name, count := range s.Ended {
			if list := t.ended[name]; list != nil {
				list[i] += float64(count)
			}
			t.over += count
			if name == "accepted" {
				t.answered += count
			}
		}
		t.delivered[i] += float64(s.Delivered)
		t.failed[i] += float64(s.Failed)
		t.sent += s.Delivered
		t.lost += s.Failed
		if s.LatencyP95MS > 0 {
			t.p50[i], t.p95[i] = max(t.p50[i], s.LatencyP50MS), max(t.p95[i], s.LatencyP95MS)
			t.latest = s.LatencyP95MS
		}
		t.connections[i], t.calls[i], t.backlog[i] = float64(s.Connections), max(t.calls[i], float64(s.LiveCalls)), float64(s.Backlog)
	}
	return t
}

func (t *totals) tiles(o *adminapi.Overview) []tile {
	backlog := tile{
		ID: "backlog", Name: "Waiting callbacks", Value: grouped(o.Now.Backlog), Note: "nothing is due", Link: Path + "/callbacks?status=pending",
	}
	if o.Now.OldestPendingMS != 0 {
		age := time.Duration(o.AtMS-o.Now.OldestPendingMS) * time.Millisecond
		backlog.Note = "oldest: " + span(age)
		if age > time.Minute {
			backlog.Tone = "warn"
		}
	}
	success := tile{
		ID: "success", Name: "Callback success", Value: percent(t.sent, t.lost), Note: fmt.Sprintf("%s of %s failed", grouped(t.lost), grouped(t.sent+t.lost)),
		Link: Path + "/callbacks",
	}
	if t.lost > 0 {
		success.Tone = "warn"
	}
	latency := tile{ID: "latency", Name: "Callback latency", Value: "–", Note: "no callback yet"}
	if t.latest > 0 {
		latency.Value, latency.Note = milliseconds(t.latest), "in 95 of 100"
	}
	return []tile{
		{ID: "live", Name: "Live calls", Value: grouped(o.Now.LiveCalls), Note: grouped(t.created) + " began", Link: Path + "/calls?state=live"},
		{ID: "answered", Name: "Calls answered", Value: percent(t.answered, t.over-t.answered), Note: grouped(t.over) + " ended", Link: Path + "/calls?state=ended"},
		success, latency, backlog,
		{ID: "connections", Name: "Connections", Value: grouped(o.Now.Connections), Note: count(o.Now.PresentUsers, "user is", "users are") + " present", Link: Path + "/users"},
	}
}

// percent is the part of good ones.
func percent(good, bad int) string {
	if good+bad == 0 {
		return "–"
	}
	p := float64(good) / float64(good+bad) * 100
	if bad > 0 {
		p = min(p, 99.9) // all is when none is missing
	}
	if p == math.Trunc(p) {
		return fmt.Sprintf("%.0f %%", p)
	}
	return fmt.Sprintf("%.1f %%", p)
}

func (t *totals) charts(a axis) []chart {
	whole := func(v float64) string { return grouped(int(math.Round(v))) }
	sum := func(list []float64) string {
		total := 0.0
		for _, v := range list {
			total += max(v, 0)
		}
		return whole(total)
	}
	last := func(list []float64, format func(float64) string) string {
		for i := len(list) - 1; i >= 0; i-- {
			if list[i] >= 0 {
				return format(list[i])
			}
		}
		return "–"
	}
	var ended []line
	for _, name := range outcomes {
		if total := sum(t.ended[name]); total != "0" || name == "accepted" || name == "rejected" || name == "timeout" {
			ended = append(ended, line{words(name), name, total, t.ended[name]})
		}
	}
	return []chart{
		stacked("outcomes", "Calls by outcome", a, whole, ended),
		stacked("attempts", "Attempts to deliver callbacks", a, whole, []line{
			{"succeeded", "accepted", sum(t.delivered), t.delivered}, {"failed", "rejected", sum(t.failed), t.failed},
		}),
		drawn("latency", "Callback latency", a, milliseconds[float64], []line{
			{"median", "main", last(t.p50, milliseconds[float64]), t.p50}, {"95 of 100", "second", last(t.p95, milliseconds[float64]), t.p95},
		}),
		drawn("connections", "Connections and live calls", a, whole, []line{
			{"connections", "main", last(t.connections, whole), t.connections}, {"live calls", "accepted", last(t.calls, whole), t.calls},
		}),
	}
}
