package load

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ringback/ringback/e2e/history"
	"github.com/ringback/ringback/protocol"
)

// finalCall is a call of the admin API, as far as it is looked at here.
type finalCall struct {
	CallID    string `json:"call_id"`
	Mode      string `json:"mode"`
	Outcome   string `json:"outcome"`
	CreatedMS int64  `json:"created_at_ms"`
	TimeoutS  int    `json:"timeout_s"`
	Users     []struct {
		UserID string `json:"user_id"`
		State  string `json:"state"`
	} `json:"users"`
}

// began is the beginning of the history, in Unix milliseconds.
func (r *run) began() string {
	return strconv.FormatInt(r.log.Records()[0].UnixMS, 10)
}

// quiet waits until no call of the run lives and no delivery is pending.
// Advanced calls whose users could not end them are ended by the backend.
func (r *run) quiet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Settle)
	defer cancel()
	query := url.Values{"app": {r.app()}, "from": {r.began()}}
	var last error
	for {
		calls, err1 := r.list(ctx, "calls", query, "state", "live")
		deliveries, err2 := r.list(ctx, "deliveries", query, "status", "pending")
		if err1 == nil && err2 == nil && len(calls)+len(deliveries) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return cmp.Or(last, ctx.Err())
		}
		last = cmp.Or(errors.Join(err1, err2), fmt.Errorf("after %v %d calls live and %d deliveries are pending", r.cfg.Settle, len(calls), len(deliveries)))
		for _, raw := range calls {
			r.endLeftOver(ctx, raw)
		}
		wait(ctx, 200*time.Millisecond)
	}
}

func (r *run) endLeftOver(ctx context.Context, raw json.RawMessage) {
	var c finalCall
	if json.Unmarshal(raw, &c) != nil || c.Mode != "advanced" {
		return
	}
	if time.Since(time.UnixMilli(c.CreatedMS)) < time.Duration(c.TimeoutS)*time.Second {
		return
	}
	for _, u := range c.Users {
		if u.State == "accepted" {
			r.api.act(ctx, protocol.OpCallEnd, u.UserID, c.CallID)
			return
		}
	}
}

func (r *run) app() string { return strconv.FormatUint(uint64(r.cfg.AppID), 10) }

// result reads the final state and checks the history.
func (r *run) result(ctx context.Context) (*Result, error) {
	res := &Result{Scenarios: r.played, Outcomes: make(map[string]int)}
	res.Records = r.log.Records()
	for _, rec := range res.Records {
		switch {
		case rec.Kind == history.Callback:
			res.Callbacks++
		case rec.Kind == history.Opened:
			res.Logins++
		}
	}
	query := url.Values{"app": {r.app()}, "from": {r.began()}}
	calls, err := r.list(ctx, "calls", query, "", "")
	if err != nil {
		return nil, err
	}
	for _, raw := range calls {
		var c finalCall
		if err := json.Unmarshal(raw, &c); err != nil {
			return nil, err
		}
		res.Calls++
		res.Outcomes[c.Outcome]++
		res.Records = append(res.Records, history.Record{Kind: history.FinalCall, Body: raw})
	}
	events, err := r.events(ctx)
	if err != nil {
		return nil, err
	}
	res.Events = len(events)
	for _, raw := range events {
		res.Records = append(res.Records, history.Record{Kind: history.FinalEvent, Body: raw})
	}
	deliveries, err := r.list(ctx, "deliveries", query, "", "")
	if err != nil {
		return nil, err
	}
	for _, raw := range deliveries {
		res.Records = append(res.Records, history.Record{Kind: history.FinalDelivery, Body: raw})
	}
	res.Violations = history.Check(res.Records, r.cfg.Limits)
	return res, nil
}

// list reads all pages of a list of the admin API, with one more parameter.
func (r *run) list(ctx context.Context, path string, query url.Values, name, value string) ([]json.RawMessage, error) {
	var out []json.RawMessage
	q := url.Values{"limit": {"500"}}
	for k, v := range query {
		q[k] = v
	}
	if name != "" {
		q.Set(name, value)
	}
	for {
		var page struct {
			Items []json.RawMessage `json:"items"`
			Next  string            `json:"next"`
		}
		if err := r.admin(ctx, path, q, &page); err != nil {
			return nil, err
		}
		out = append(out, page.Items...)
		if page.Next == "" {
			return out, nil
		}
		q.Set("cursor", page.Next)
	}
}

// events reads the feed, as far as it is of the time of the history.
func (r *run) events(ctx context.Context) ([]json.RawMessage, error) {
	began := r.log.Records()[0].UnixMS
	var out []json.RawMessage
	q := url.Values{"limit": {"1000"}, "app": {r.app()}}
	for {
		var page struct {
			Items  []json.RawMessage `json:"items"`
			Cursor string            `json:"cursor"`
			More   bool              `json:"more"`
		}
		if err := r.admin(ctx, "events", q, &page); err != nil {
			return nil, err
		}
		for _, raw := range page.Items {
			var e struct {
				AtMS int64 `json:"at_ms"`
			}
			if err := json.Unmarshal(raw, &e); err != nil {
				return nil, err
			}
			if e.AtMS >= began {
				out = append(out, raw)
			}
		}
		if !page.More {
			return out, nil
		}
		q.Set("after", page.Cursor)
	}
}

// admin asks the admin API, of the nodes in turn until one answers.
func (r *run) admin(ctx context.Context, path string, query url.Values, into any) error {
	var errs []error
	for _, node := range r.cfg.Admin {
		err := r.adminOf(ctx, node, path, query, into)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("admin API of %s: %w", node, err))
	}
	return errors.Join(errs...)
}

func (r *run) adminOf(ctx context.Context, node, path string, query url.Values, into any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, node+"/admin/v1/"+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+r.cfg.AdminToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
