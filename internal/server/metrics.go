package server

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/engine"
	"github.com/ringback/ringback/protocol"
)

// metrics are what an operator sees under /metrics.
type metrics struct {
	registry *prometheus.Registry

	created  *prometheus.CounterVec
	ended    *prometheus.CounterVec
	commands *prometheus.CounterVec
	took     *prometheus.HistogramVec
	attempts *prometheus.CounterVec
	request  *prometheus.HistogramVec
	latency  prometheus.Histogram
}

// latencies are histogram buckets in seconds, from 0.5 ms to about 16 s.
var latencies = prometheus.ExponentialBuckets(0.0005, 2, 16)

func newMetrics(s *Server) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		created: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringback_calls_created_total", Help: "Calls that were created.",
		}, []string{"mode"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringback_calls_ended_total", Help: "Calls that ended, by what they came to.",
		}, []string{"mode", "outcome"}),
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringback_commands_total", Help: "Requests of devices, by operation and error code (0: carried out).",
		}, []string{"op", "code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ringback_command_seconds", Help: "Time from a request's turn to its reply, the commit included.", Buckets: latencies,
		}, []string{"op"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringback_callback_attempts_total", Help: "Attempts to deliver callbacks, by result.",
		}, []string{"endpoint", "result"}),
		request: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ringback_callback_attempt_seconds", Help: "Duration of an attempt.", Buckets: latencies,
		}, []string{"endpoint"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ringback_callback_latency_seconds", Help: "Time from an event to the answer to the first attempt.", Buckets: latencies,
		}),
	}
	gauge := func(name, help string, read func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(read()) })
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.created, m.ended, m.commands, m.took, m.attempts, m.request, m.latency,
		gauge("ringback_connections", "Open connections of devices.", func() int { return s.devices.Connections() }),
		gauge("ringback_calls_live", "Calls that have not ended.", func() int { return s.engine.LiveCalls() }),
		gauge("ringback_users_present", "Users who are online or have lately lost their connection.", func() int { return s.engine.PresentUsers() }),
		backlog{s},
	)
	return m
}

// command notes a request of a device.
func (m *metrics) command(op string, code protocol.Code, took time.Duration) {
	m.commands.WithLabelValues(op, strconv.Itoa(int(code))).Inc()
	m.took.WithLabelValues(op).Observe(took.Seconds())
}

// transition notes the beginning and the end of calls.
func (m *metrics) transition(t engine.Transition) {
	mode := "general"
	if t.After.Mode == call.Advanced {
		mode = "advanced"
	}
	if t.Before == nil {
		m.created.WithLabelValues(mode).Inc()
		return
	}
	if t.Before.Live() && !t.After.Live() {
		m.ended.WithLabelValues(mode, outcome(t)).Inc()
	}
}

// outcome names what a call came to: accepted if anyone ever did, else what
// its last event was.
func outcome(t engine.Transition) string {
	if t.After.AnyAccepted() {
		return "accepted"
	}
	switch e := t.Event.(type) {
	case call.CallRejected:
		return "rejected"
	case call.InvitationsTimedOut:
		return "timeout"
	case call.InvitationsCancelled:
		return string(e.Reason)
	}
	return string(t.After.EndReason)
}
