package adminapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// RedeliveryInput names a job.
type RedeliveryInput struct {
	ID int64 `path:"id"`
}

var redeliveryStates = map[store.RedeliveryState]string{
	store.RedeliveryRunning: "running", store.RedeliveryDone: "done", store.RedeliveryStopped: "stopped",
}

func (a *API) registerRedeliveries() {
	tags := []string{"Redeliveries"}
	huma.Register(a.huma, huma.Operation{
		OperationID: "create-redelivery", Method: http.MethodPost, Path: Path + "/redeliveries", Summary: "Redeliver everything that a search finds",
		Description: "A job does it bit by bit, the oldest first, so that live callbacks are not held up. Jobs run one after another and go on after a restart.",
		Tags:        tags, DefaultStatus: http.StatusAccepted,
		Errors: []int{http.StatusBadRequest},
	}, func(ctx context.Context, in *struct{ Body NewRedelivery }) (*output[Redelivery], error) {
		q, err := a.query(in.Body.Filter)
		if err != nil {
			return nil, err
		}
		job, err := a.Redeliverer.Begin(ctx, q, in.Body.PerSecond, by(ctx).Audit("redelivery.create", "deliveries", in.Body))
		if err != nil {
			return nil, a.fail(err, "redelivery")
		}
		return &output[Redelivery]{viewRedelivery(job)}, nil
	})

	huma.Register(a.huma, huma.Operation{
		OperationID: "list-redeliveries", Method: http.MethodGet, Path: Path + "/redeliveries", Summary: "List the jobs, the newest first", Tags: tags,
		Errors: []int{http.StatusBadRequest},
	}, func(ctx context.Context, in *PageInput) (*output[Page[Redelivery]], error) {
		before, err := decodeCursor[int64]("redeliveries", in.Cursor)
		if err != nil {
			return nil, err
		}
		jobs, err := a.Store.ListRedeliveries(ctx, before, in.Limit)
		if err != nil {
			return nil, a.fail(err, "redelivery")
		}
		out := Page[Redelivery]{Items: make([]Redelivery, 0, len(jobs))}
		for _, job := range jobs {
			out.Items = append(out.Items, viewRedelivery(job))
		}
		if len(jobs) == in.Limit {
			out.Next = encodeCursor("redeliveries", jobs[in.Limit-1].ID)
		}
		return &output[Page[Redelivery]]{out}, nil
	})

	huma.Register(a.huma, huma.Operation{
		OperationID: "get-redelivery", Method: http.MethodGet, Path: Path + "/redeliveries/{id}", Summary: "Show a job and how far it is", Tags: tags,
		Errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *RedeliveryInput) (*output[Redelivery], error) {
		job, err := a.Store.Redelivery(ctx, in.ID)
		if err != nil {
			return nil, a.fail(err, "redelivery")
		}
		return &output[Redelivery]{viewRedelivery(job)}, nil
	})

	huma.Register(a.huma, huma.Operation{
		OperationID: "stop-redelivery", Method: http.MethodPost, Path: Path + "/redeliveries/{id}/stop", Summary: "Stop a job",
		Description: "What it has made pending by now is still delivered.",
		Tags:        tags, Errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *RedeliveryInput) (*output[Redelivery], error) {
		target := "redelivery " + strconv.FormatInt(in.ID, 10)
		job, err := a.Redeliverer.Stop(ctx, in.ID, by(ctx).Audit("redelivery.stop", target, struct{}{}))
		if err != nil {
			return nil, a.fail(err, "redelivery")
		}
		return &output[Redelivery]{viewRedelivery(job)}, nil
	})
}

func viewRedelivery(job *store.Redelivery) Redelivery {
	q := job.Query
	f := DeliveryFilter{AppID: q.App, CallID: viewCallID(q.Call), EndpointID: int64(q.Endpoint), Event: q.Event}
	if len(q.States) == 1 {
		f.Status = deliveryStates[q.States[0]]
	}
	if q.From != 0 {
		f.From = formatInstant(q.From.Instant())
	}
	if q.Until != 0 {
		f.Until = formatInstant(q.Until.Instant())
	}
	return Redelivery{
		ID: job.ID, State: redeliveryStates[job.State], Filter: f, PerSecond: job.PerSecond, Total: job.Total, Done: job.Done,
		Skipped: job.Skipped, CreatedAtMS: int64(job.CreatedAt), EndedAtMS: int64(job.EndedAt),
	}
}

func formatInstant(at call.Instant) string { return strconv.FormatInt(int64(at), 10) }
