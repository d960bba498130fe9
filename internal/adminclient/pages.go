package adminclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ringback/ringback/internal/adminapi"
)

// Place is a place in a list: the cursor of a page and how long the page may
// be.
type Place struct {
	Cursor string // "": the beginning
	Limit  int    // 1 to 500; 0: the API's default
}

// page reads one page of a list.
func page[T any](ctx context.Context, c *Client, path string, query url.Values, at Place) (*adminapi.Page[T], error) {
	if query == nil {
		query = url.Values{}
	}
	if at.Cursor != "" {
		query.Set("cursor", at.Cursor)
	}
	if at.Limit != 0 {
		query.Set("limit", strconv.Itoa(at.Limit))
	}
	out := new(adminapi.Page[T])
	return out, c.do(ctx, http.MethodGet, path, query, nil, out)
}

// CallsPage reads one page of a search for calls; the limit of the query does
// not count.
func (c *Client) CallsPage(ctx context.Context, q CallQuery, at Place) (*adminapi.Page[adminapi.Call], error) {
	return page[adminapi.Call](ctx, c, "/calls", values(q), at)
}

// DeliveriesPage reads one page of a search for deliveries; the limit of the
// query does not count.
func (c *Client) DeliveriesPage(ctx context.Context, q DeliveryQuery, at Place) (*adminapi.Page[adminapi.Delivery], error) {
	return page[adminapi.Delivery](ctx, c, "/deliveries", values(q), at)
}

// UsersPage reads one page of the users of an app whose IDs begin with a
// prefix.
func (c *Client) UsersPage(ctx context.Context, app uint32, prefix string, at Place) (*adminapi.Page[adminapi.User], error) {
	query := url.Values{}
	if prefix != "" {
		query.Set("prefix", prefix)
	}
	return page[adminapi.User](ctx, c, "/apps/"+number(app)+"/users", query, at)
}

// AuditPage reads one page of what operators did.
func (c *Client) AuditPage(ctx context.Context, at Place) (*adminapi.Page[adminapi.Audit], error) {
	return page[adminapi.Audit](ctx, c, "/audit", nil, at)
}

// RedeliveriesPage reads one page of the jobs.
func (c *Client) RedeliveriesPage(ctx context.Context, at Place) (*adminapi.Page[adminapi.Redelivery], error) {
	return page[adminapi.Redelivery](ctx, c, "/redeliveries", nil, at)
}

// Nodes lists the nodes that share the store.
func (c *Client) Nodes(ctx context.Context) (*adminapi.Nodes, error) {
	return get[adminapi.Nodes](ctx, c, "/nodes")
}

// Overview reads how the server does, and did in the last hour or day.
func (c *Client) Overview(ctx context.Context, day bool) (*adminapi.Overview, error) {
	query := url.Values{"window": {"1h"}}
	if day {
		query.Set("window", "24h")
	}
	out := new(adminapi.Overview)
	return out, c.do(ctx, http.MethodGet, "/overview", query, nil, out)
}
