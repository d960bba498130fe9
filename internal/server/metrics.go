package server

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/engine"
	"github.com/ringback/ringback/internal/serverapi"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/webhook"
	"github.com/ringback/ringback/protocol"
)

// metrics are what an operator sees under /metrics.
type metrics struct {
	registry *prometheus.Registry

	created  *prometheus.CounterVec
	ended    *prometheus.CounterVec
	commands *prometheus.CounterVec
	took     *prometheus.HistogramVec
	actions  *prometheus.CounterVec
	answered *prometheus.HistogramVec
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
		actions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringback_server_api_requests_total", Help: "Requests of backends, by action and code (0: carried out).",
		}, []string{"action", "code"}),
		answered: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ringback_server_api_seconds", Help: "Time from a request of a backend to its answer.", Buckets: latencies,
		}, []string{"action"}),
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
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.created, m.ended, m.commands, m.took, m.actions, m.answered, m.attempts, m.request, m.latency,
		gauge("ringback_connections", "Open connections of devices.", func() int { return s.devices.Connections() }),
		gauge("ringback_calls_live", "Calls that have not ended.", func() int { return s.engine.LiveCalls() }),
		gauge("ringback_users_present", "Users who are online or have lately lost their connection.", func() int { return s.engine.PresentUsers() }),
		backlog{s},
	)
	if s.node != nil {
		m.registerNodes(s)
	}
	return m
}

// command notes a request of a device.
func (m *metrics) command(op string, code protocol.Code, took time.Duration) {
	m.commands.WithLabelValues(op, strconv.Itoa(int(code))).Inc()
	m.took.WithLabelValues(op).Observe(took.Seconds())
}

// action notes a request of a backend.
func (m *metrics) action(action string, code serverapi.Code, took time.Duration) {
	m.actions.WithLabelValues(action, strconv.Itoa(int(code))).Inc()
	m.answered.WithLabelValues(action).Observe(took.Seconds())
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
		m.ended.WithLabelValues(mode, string(t.After.Outcome())).Inc()
	}
}

// attempt notes an attempt to deliver a callback.
func (m *metrics) attempt(o webhook.Observation) {
	endpoint := endpointLabel(o.Endpoint)
	m.attempts.WithLabelValues(endpoint, string(o.Result)).Inc()
	m.request.WithLabelValues(endpoint).Observe(o.Duration.Seconds())
	if o.Latency > 0 {
		m.latency.Observe(o.Latency.Seconds())
	}
}

func endpointLabel(id store.EndpointID) string { return strconv.FormatInt(int64(id), 10) }

// backlog collects what endpoints are due, at the time of asking.
type backlog struct{ s *Server }

var (
	backlogDesc = prometheus.NewDesc("ringback_callback_backlog", "Deliveries that are pending.", []string{"app", "endpoint"}, nil)
	oldestDesc  = prometheus.NewDesc("ringback_callback_oldest_undelivered_seconds",
		"Age of the oldest pending event; 0 when there is none.", []string{"app", "endpoint"}, nil)
	flyingDesc = prometheus.NewDesc("ringback_callback_in_flight", "Requests in flight.", []string{"app", "endpoint"}, nil)
)

// Describe implements prometheus.Collector.
func (backlog) Describe(ch chan<- *prometheus.Desc) {
	ch <- backlogDesc
	ch <- oldestDesc
	ch <- flyingDesc
}

// Collect implements prometheus.Collector.
func (b backlog) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
	defer cancel()
	for _, st := range b.s.deliverer.Stats(ctx) {
		labels := []string{strconv.FormatUint(uint64(st.App), 10), endpointLabel(st.Endpoint)}
		age := 0.0
		if st.Oldest != 0 {
			age = -b.s.clock.Until(st.Oldest.Time()).Seconds()
		}
		ch <- prometheus.MustNewConstMetric(backlogDesc, prometheus.GaugeValue, float64(st.Backlog), labels...)
		ch <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, age, labels...)
		ch <- prometheus.MustNewConstMetric(flyingDesc, prometheus.GaugeValue, float64(st.InFlight), labels...)
	}
}
