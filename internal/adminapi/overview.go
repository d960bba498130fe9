package adminapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ringback/ringback/internal/stats"
)

// Overview is how the server does, and did as far as it has seen since it
// started.
type Overview struct {
	AtMS        int64      `json:"at_ms"`
	StartedAtMS int64      `json:"started_at_ms" doc:"When the server started"`
	Version     string     `json:"version" doc:"Of the server"`
	Apps        int        `json:"apps" doc:"How many there are"`
	Endpoints   int        `json:"endpoints" doc:"How many there are"`
	Activity    int64      `json:"activity" doc:"Grows with every change of a call and every attempt to deliver"`
	Now         Gauges     `json:"now"`
	StepS       int        `json:"step_s" doc:"Length of the samples in seconds"`
	Samples     []Sample   `json:"samples" doc:"The oldest first; the last one is not over yet"`
	Trouble     []Endpoint `json:"trouble" doc:"Endpoints that fail, are down or are paused"`
}

// Gauges is what is open at a moment.
type Gauges struct {
	LiveCalls       int   `json:"live_calls"`
	Connections     int   `json:"connections" doc:"Of devices"`
	PresentUsers    int   `json:"present_users" doc:"Online, or offline for a short time"`
	Backlog         int   `json:"backlog" doc:"Deliveries that are pending"`
	InFlight        int   `json:"in_flight" doc:"Requests of callbacks"`
	OldestPendingMS int64 `json:"oldest_pending_ms" doc:"When the oldest pending event happened; 0: there is none"`
}

// Sample is what happened in a stretch of time, and what was open at its end.
type Sample struct {
	AtMS         int64          `json:"at_ms" doc:"Its beginning"`
	Created      int            `json:"created" doc:"Calls"`
	Ended        map[string]int `json:"ended" doc:"Calls by outcome"`
	Delivered    int            `json:"delivered" doc:"Attempts that succeeded"`
	Failed       int            `json:"failed" doc:"Attempts that did not"`
	LatencyP50MS float64        `json:"latency_p50_ms" doc:"From the event to the answer to the first attempt; 0: there was none"`
	LatencyP95MS float64        `json:"latency_p95_ms"`
	LiveCalls    int            `json:"live_calls"`
	Connections  int            `json:"connections"`
	Backlog      int            `json:"backlog"`
}

func (a *API) registerOverview() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "overview", Method: http.MethodGet, Path: Path + "/overview", Summary: "How the server does", Tags: []string{"Overview"},
		Description: "What is open now, and samples of the last hour or day. They are kept in memory and begin anew with the server.",
	}, func(ctx context.Context, in *struct {
		Window string `query:"window" enum:"1h,24h" default:"1h" doc:"1h: samples of 10 s; 24h: of a minute"`
	},
	) (*output[Overview], error) {
		r := a.Stats.Report(ctx, in.Window == "24h")
		out := Overview{
			AtMS: int64(r.At), StartedAtMS: int64(r.Started), Version: a.Version, Activity: r.Activity, Now: viewGauges(r.Now),
			StepS: int(r.Step.Seconds()), Samples: make([]Sample, len(r.Samples)), Trouble: []Endpoint{},
		}
		for i := range r.Samples {
			out.Samples[i] = viewSample(&r.Samples[i])
		}
		health := a.health(ctx)
		for _, app := range a.Registry.Apps() {
			out.Apps++
			for i := range app.Endpoints {
				out.Endpoints++
				switch e := viewEndpoint(app, &app.Endpoints[i], health); e.Health.State {
				case "failing", "down", "paused":
					out.Trouble = append(out.Trouble, e)
				}
			}
		}
		return &output[Overview]{out}, nil
	})
}

func viewGauges(g stats.Gauges) Gauges {
	return Gauges{
		LiveCalls: g.LiveCalls, Connections: g.Connections, PresentUsers: g.PresentUsers,
		Backlog: g.Backlog, InFlight: g.InFlight, OldestPendingMS: int64(g.Oldest),
	}
}

func viewSample(s *stats.Sample) Sample {
	out := Sample{
		AtMS: int64(s.At), Created: s.Created, Ended: make(map[string]int, len(s.Ended)), Delivered: s.Delivered, Failed: s.Failed,
		LatencyP50MS: float64(s.P50.Microseconds()) / 1000, LatencyP95MS: float64(s.P95.Microseconds()) / 1000,
		LiveCalls: s.LiveCalls, Connections: s.Connections, Backlog: s.Backlog,
	}
	for outcome, n := range s.Ended {
		out.Ended[string(outcome)] = n
	}
	return out
}
