package adminapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

func (a *API) registerAudit() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "list-audit", Method: http.MethodGet, Path: Path + "/audit", Summary: "List what operators did, the newest first", Tags: []string{"Audit"},
		Errors: []int{http.StatusBadRequest},
	}, func(ctx context.Context, in *PageInput) (*output[Page[Audit]], error) {
		before, err := decodeCursor[int64]("audit", in.Cursor)
		if err != nil {
			return nil, err
		}
		entries, err := a.Store.AuditLog(ctx, before, in.Limit)
		if err != nil {
			return nil, a.fail(err, "audit log")
		}
		out := Page[Audit]{Items: make([]Audit, 0, len(entries))}
		for _, e := range entries {
			out.Items = append(out.Items, Audit{
				ID: e.ID, AtMS: int64(e.At), Actor: e.Actor, Remote: e.Remote, Action: e.Action, Target: e.Target, Details: e.Details,
			})
		}
		if len(entries) == in.Limit {
			out.Next = encodeCursor("audit", entries[in.Limit-1].ID)
		}
		return &output[Page[Audit]]{out}, nil
	})
}
