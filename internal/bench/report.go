package bench

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// Report is what a run found.
type Report struct {
	Nodes          int        `json:"nodes"`  // of the server; its usage is their sum
	Spread         bool       `json:"spread"` // users are on any of them
	Connections    int        `json:"connections"`
	ConnectSeconds float64    `json:"connect_seconds"`
	Idle           bool       `json:"idle"`
	RateWanted     float64    `json:"rate_wanted"` // calls a second; 0: as fast as possible
	Seconds        float64    `json:"seconds"`     // that were measured
	Calls          int64      `json:"calls"`       // measured and complete
	CallsPerSecond float64    `json:"calls_per_second"`
	Latency        []Latency  `json:"latency"`
	Callbacks      *Callbacks `json:"callbacks,omitempty"` // nil: not measured
	Server         *Usage     `json:"server,omitempty"`    // nil: not measured
	Bench          *Usage     `json:"bench"`
	Errors         Errors     `json:"errors"`
	ServerExit     string     `json:"server_exit,omitempty"` // of a server that was started; "0" is success
	Notes          []string   `json:"notes,omitempty"`
}

// Latency is the distribution of one latency, in milliseconds.
type Latency struct {
	Name  string  `json:"name"`
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// Callbacks are the callbacks of a run.
type Callbacks struct {
	callbackCounts
	Hanging int64 `json:"hanging"` // attempts at the endpoint that never answers
}

// Usage is what a process used.
type Usage struct {
	CPUSeconds       float64 `json:"cpu_seconds"` // while measured
	CPUMicrosPerCall float64 `json:"cpu_us_per_call,omitempty"`
	RSSBefore        int64   `json:"rss_before_bytes,omitempty"`    // before the connections
	RSSConnected     int64   `json:"rss_connected_bytes,omitempty"` // with them, before the load
	RSS              int64   `json:"rss_bytes"`                     // at the end
	RSSPerConnection float64 `json:"rss_per_connection_bytes,omitempty"`
}

// Errors counts what went wrong, by kind.
type Errors struct {
	Total  int            `json:"total"`
	ByKind map[string]int `json:"by_kind,omitempty"`
}

// Err says in what the run fell short: calls failed, callbacks were lost or
// came out of order, or the server did not exit well.
func (r *Report) Err() error {
	var short []string
	if r.Errors.Total > 0 {
		short = append(short, fmt.Sprintf("%d errors", r.Errors.Total))
	}
	if c := r.Callbacks; c != nil && c.Lost > 0 {
		short = append(short, fmt.Sprintf("%d callbacks lost", c.Lost))
	}
	if c := r.Callbacks; c != nil && c.OutOfOrder > 0 {
		short = append(short, fmt.Sprintf("%d callbacks out of order", c.OutOfOrder))
	}
	if r.ServerExit != "" && r.ServerExit != exitedWell {
		short = append(short, "the server ended with "+r.ServerExit)
	}
	if len(short) == 0 {
		return nil
	}
	return fmt.Errorf("bench: %s", strings.Join(short, ", "))
}

// report draws up the report.
func (b *run) report(before, connected int64, open, shut usage) *Report {
	calls := shut.calls - open.calls
	r := &Report{
		Nodes: len(b.cfg.URLs), Spread: b.cfg.Spread, Connections: len(b.users), ConnectSeconds: b.connectTime.Seconds(), Idle: b.cfg.Idle,
		RateWanted: b.cfg.Rate, Seconds: shut.at.Sub(open.at).Seconds(), Calls: b.measured.Load(),
		Errors: Errors{b.errs.sum(), b.errs.all()},
	}
	perCall := func(cpu time.Duration) float64 {
		if calls == 0 {
			return 0
		}
		return float64(cpu.Microseconds()) / float64(calls)
	}
	own, _ := residentSize(os.Getpid())
	r.Bench = &Usage{CPUSeconds: (shut.own - open.own).Seconds(), CPUMicrosPerCall: perCall(shut.own - open.own), RSS: own}
	rss := b.read().rss
	if b.meters == nil {
		r.Notes = append(r.Notes, fmt.Sprintf("the server was not measured: %v", b.unmetered))
	} else {
		r.Server = &Usage{
			CPUSeconds: (shut.server - open.server).Seconds(), CPUMicrosPerCall: perCall(shut.server - open.server),
			RSSBefore: before, RSSConnected: connected, RSS: rss,
			RSSPerConnection: float64(connected-before) / float64(len(b.users)),
		}
	}
	if b.server != nil && inMemory(b.server.dir) {
		r.Notes = append(r.Notes, "the data of the server was in memory (tmpfs), where a commit costs nothing: --dir names another place")
	}
	if b.cfg.Idle {
		return r
	}
	r.CallsPerSecond = float64(calls) / r.Seconds
	r.Latency = []Latency{
		latency("invite → ring", &b.ring),
		latency("invite → reply", &b.inviteReply),
		latency("accept → reply", &b.acceptReply),
	}
	if b.cfg.Receive != "" {
		r.Callbacks = &Callbacks{b.tracker.counts(), b.receiver.hanging.Load()}
		r.Latency = append(
			r.Latency,
			latency("invite → callback", &b.tracker.fromInvite),
			latency("accept → callback", &b.tracker.fromAccept),
			latency("transition → callback", &b.tracker.fromTransition),
		)
	}
	if b.cfg.Receive == "" && !b.cfg.NoCallbacks {
		r.Notes = append(r.Notes, "callbacks were not measured: bench must be the app's endpoint, at an address that --receive names")
	}
	if b.cfg.Rate > 0 {
		r.Latency = append(r.Latency, latency("started late by", &b.lag))
	}
	return r
}

func latency(name string, h *histogram) Latency {
	ms := func(q float64) float64 { return float64(h.quantile(q).Microseconds()) / 1000 }
	return Latency{name, h.n.Load(), ms(0.50), ms(0.90), ms(0.99), float64(time.Duration(h.max.Load()).Microseconds()) / 1000}
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) error {
	var s strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&s, "%-12s "+format+"\n", append([]any{name}, args...)...)
	}
	line("connections", "%d in %.2f s", r.Connections, r.ConnectSeconds)
	if r.Nodes > 1 {
		how := "each call goes from one to another"
		if r.Spread {
			how = fmt.Sprintf("one call in %d is within a node", r.Nodes)
		}
		line("nodes", "%d; %s", r.Nodes, how)
	}
	if !r.Idle {
		wanted := ""
		if r.RateWanted > 0 {
			wanted = fmt.Sprintf(" (wanted: %.1f/s)", r.RateWanted)
		}
		line("calls", "%d in %.1f s: %.1f/s%s", r.Calls, r.Seconds, r.CallsPerSecond, wanted)
	}
	if len(r.Latency) > 0 {
		fmt.Fprintf(&s, "\n%-24s%9s%9s%9s%9s\n", "latency in ms", "p50", "p90", "p99", "max")
		for _, l := range r.Latency {
			fmt.Fprintf(&s, "%-24s%9.2f%9.2f%9.2f%9.2f\n", l.Name, l.P50, l.P90, l.P99, l.Max)
		}
		s.WriteByte('\n')
	}
	if c := r.Callbacks; c != nil {
		line("callbacks", "%d expected, %d received, %d lost, %d twice, %d out of order, %d unexpected",
			c.Expected, c.Received, c.Lost, c.Duplicates, c.OutOfOrder, c.Unexpected)
		if c.Hanging > 0 {
			line("", "%d attempts at the endpoint that hangs", c.Hanging)
		}
	}
	for _, p := range []struct {
		name string
		use  *Usage
	}{{"server", r.Server}, {"bench", r.Bench}} {
		if p.use == nil {
			line(p.name, "not measured")
			continue
		}
		text := fmt.Sprintf("CPU %.2f s", p.use.CPUSeconds)
		if p.use.CPUMicrosPerCall > 0 {
			text += fmt.Sprintf(", %.0f µs a call", p.use.CPUMicrosPerCall)
		}
		text += fmt.Sprintf("; RSS %s", mebibytes(p.use.RSS))
		if p.use.RSSConnected > 0 {
			text += fmt.Sprintf(" (%s before the connections, %s with them: %.1f KiB each)",
				mebibytes(p.use.RSSBefore), mebibytes(p.use.RSSConnected), p.use.RSSPerConnection/1024)
		}
		line(p.name, "%s", text)
	}
	if r.ServerExit != "" {
		line("", "ended with %s", r.ServerExit)
	}
	if r.Errors.Total == 0 {
		line("errors", "none")
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Errors.ByKind)) {
		line("errors", "%d× %s", r.Errors.ByKind[kind], kind)
	}
	for _, note := range r.Notes {
		line("note", "%s", note)
	}
	_, err := io.WriteString(w, s.String())
	return err
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func millis(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }
