package adminclient

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"github.com/ringback/ringback/internal/adminapi"
)

// Apps lists the apps by ID.
func (c *Client) Apps(ctx context.Context) iter.Seq2[adminapi.App, error] {
	return list[adminapi.App](ctx, c, "/apps", nil, 0)
}

// App reads an app.
func (c *Client) App(ctx context.Context, app uint32) (*adminapi.App, error) {
	return get[adminapi.App](ctx, c, "/apps/"+number(app))
}

// CreateApp makes an app. Its secrets are shown this once.
func (c *Client) CreateApp(ctx context.Context, app adminapi.NewApp) (*adminapi.AppSecrets, error) {
	return call[adminapi.AppSecrets](ctx, c, http.MethodPost, "/apps", app)
}

// UpdateApp changes an app.
func (c *Client) UpdateApp(ctx context.Context, app uint32, change adminapi.AppChange) (*adminapi.App, error) {
	return call[adminapi.App](ctx, c, http.MethodPatch, "/apps/"+number(app), change)
}

// Rotate replaces a secret of an app. The new one is shown this once.
func (c *Client) Rotate(ctx context.Context, app uint32, r adminapi.Rotation) (*adminapi.Rotated, error) {
	return call[adminapi.Rotated](ctx, c, http.MethodPost, "/apps/"+number(app)+"/rotate", r)
}

// CreateToken makes a login token for a user of an app.
func (c *Client) CreateToken(ctx context.Context, app uint32, user string) (*adminapi.Token, error) {
	return call[adminapi.Token](ctx, c, http.MethodPost, "/apps/"+number(app)+"/tokens", adminapi.NewToken{UserID: user})
}

// Trigger sends a synthetic event to those endpoints of an app that ask for
// it.
func (c *Client) Trigger(ctx context.Context, app uint32, t adminapi.Trigger) (*adminapi.Triggered, error) {
	return call[adminapi.Triggered](ctx, c, http.MethodPost, "/apps/"+number(app)+"/trigger", t)
}

// CreateEndpoint gives an app another endpoint.
func (c *Client) CreateEndpoint(ctx context.Context, app uint32, e adminapi.NewEndpoint) (*adminapi.Endpoint, error) {
	return call[adminapi.Endpoint](ctx, c, http.MethodPost, "/apps/"+number(app)+"/endpoints", e)
}

// Endpoint reads an endpoint.
func (c *Client) Endpoint(ctx context.Context, endpoint int64) (*adminapi.Endpoint, error) {
	return get[adminapi.Endpoint](ctx, c, "/endpoints/"+number(endpoint))
}

// UpdateEndpoint changes an endpoint.
func (c *Client) UpdateEndpoint(ctx context.Context, endpoint int64, s adminapi.EndpointSettings) (*adminapi.Endpoint, error) {
	return call[adminapi.Endpoint](ctx, c, http.MethodPatch, "/endpoints/"+number(endpoint), s)
}

// DeleteEndpoint takes an endpoint away.
func (c *Client) DeleteEndpoint(ctx context.Context, endpoint int64) error {
	return c.do(ctx, http.MethodDelete, "/endpoints/"+number(endpoint), nil, nil, nil)
}

// PauseEndpoint holds the deliveries of an endpoint, or lets them go again.
func (c *Client) PauseEndpoint(ctx context.Context, endpoint int64, paused bool) (*adminapi.Endpoint, error) {
	what := "/resume"
	if paused {
		what = "/pause"
	}
	return call[adminapi.Endpoint](ctx, c, http.MethodPost, "/endpoints/"+number(endpoint)+what, nil)
}

// TestEndpoint sends a synthetic event to one endpoint, whether or not it asks
// for it.
func (c *Client) TestEndpoint(ctx context.Context, endpoint int64, t adminapi.Trigger) (*adminapi.Triggered, error) {
	return call[adminapi.Triggered](ctx, c, http.MethodPost, "/endpoints/"+number(endpoint)+"/test", t)
}

// CallQuery says which calls are meant; what is zero means any. Times are
// written as the API takes them.
type CallQuery struct {
	App     uint32 `query:"app"`
	User    string `query:"user"` // needs App
	State   string `query:"state"`
	Outcome string `query:"outcome"`
	From    string `query:"from"`
	Until   string `query:"until"`
	Limit   int    // of them all; 0: none
}

// Calls searches the calls, the newest first.
func (c *Client) Calls(ctx context.Context, q CallQuery) iter.Seq2[adminapi.Call, error] {
	return list[adminapi.Call](ctx, c, "/calls", values(q), q.Limit)
}

// Call reads a call and its story.
func (c *Client) Call(ctx context.Context, id string) (*adminapi.CallDetail, error) {
	return get[adminapi.CallDetail](ctx, c, "/calls/"+url.PathEscape(id))
}

// DeliveryQuery says which deliveries are meant; what is zero means any.
// Times are written as the API takes them.
type DeliveryQuery struct {
	App      uint32 `query:"app"`
	Call     string `query:"call"`
	Endpoint int64  `query:"endpoint"`
	Event    string `query:"event"`
	Status   string `query:"status"`
	From     string `query:"from"`
	Until    string `query:"until"`
	Limit    int    // of them all; 0: none
}

// Deliveries searches the deliveries, the newest first.
func (c *Client) Deliveries(ctx context.Context, q DeliveryQuery) iter.Seq2[adminapi.Delivery, error] {
	return list[adminapi.Delivery](ctx, c, "/deliveries", values(q), q.Limit)
}

// Delivery reads a delivery and its attempts.
func (c *Client) Delivery(ctx context.Context, id string) (*adminapi.DeliveryDetail, error) {
	return get[adminapi.DeliveryDetail](ctx, c, "/deliveries/"+url.PathEscape(id))
}

// Redeliver delivers once more.
func (c *Client) Redeliver(ctx context.Context, id string) (*adminapi.Delivery, error) {
	return call[adminapi.Delivery](ctx, c, http.MethodPost, "/deliveries/"+url.PathEscape(id)+"/redeliver", nil)
}

// RedeliverCall delivers all callbacks of a call once more, to one endpoint;
// 0: to all.
func (c *Client) RedeliverCall(ctx context.Context, id string, endpoint int64) ([]adminapi.Delivery, error) {
	query := url.Values{}
	if endpoint != 0 {
		query.Set("endpoint", number(endpoint))
	}
	var out struct {
		Deliveries []adminapi.Delivery `json:"deliveries"`
	}
	err := c.do(ctx, http.MethodPost, "/calls/"+url.PathEscape(id)+"/redeliver", query, nil, &out)
	return out.Deliveries, err
}

// BeginRedelivery makes a job that redelivers all that is found.
func (c *Client) BeginRedelivery(ctx context.Context, r adminapi.NewRedelivery) (*adminapi.Redelivery, error) {
	return call[adminapi.Redelivery](ctx, c, http.MethodPost, "/redeliveries", r)
}

// Redeliveries lists the jobs, the newest first, at most limit; 0: all.
func (c *Client) Redeliveries(ctx context.Context, limit int) iter.Seq2[adminapi.Redelivery, error] {
	return list[adminapi.Redelivery](ctx, c, "/redeliveries", nil, limit)
}

// Redelivery reads a job.
func (c *Client) Redelivery(ctx context.Context, id int64) (*adminapi.Redelivery, error) {
	return get[adminapi.Redelivery](ctx, c, "/redeliveries/"+number(id))
}

// StopRedelivery stops a job.
func (c *Client) StopRedelivery(ctx context.Context, id int64) (*adminapi.Redelivery, error) {
	return call[adminapi.Redelivery](ctx, c, http.MethodPost, "/redeliveries/"+number(id)+"/stop", nil)
}

// Users lists the users of an app whose IDs begin with a prefix, at most
// limit; 0: all.
func (c *Client) Users(ctx context.Context, app uint32, prefix string, limit int) iter.Seq2[adminapi.User, error] {
	query := url.Values{}
	if prefix != "" {
		query.Set("prefix", prefix)
	}
	return list[adminapi.User](ctx, c, "/apps/"+number(app)+"/users", query, limit)
}

// User reads a user and his sessions.
func (c *Client) User(ctx context.Context, app uint32, user string) (*adminapi.UserDetail, error) {
	return get[adminapi.UserDetail](ctx, c, userPath(app, user))
}

// KickUser ends all sessions of a user, and gives how many there were.
func (c *Client) KickUser(ctx context.Context, app uint32, user string) (int, error) {
	var out struct {
		Ended int `json:"ended"`
	}
	err := c.do(ctx, http.MethodDelete, userPath(app, user)+"/sessions", nil, nil, &out)
	return out.Ended, err
}

// KickSession ends one session of a user.
func (c *Client) KickSession(ctx context.Context, app uint32, user, session string) error {
	return c.do(ctx, http.MethodDelete, userPath(app, user)+"/sessions/"+url.PathEscape(session), nil, nil, nil)
}

func userPath(app uint32, user string) string {
	segment := url.PathEscape(user)
	if user == "." || user == ".." { // in a path they would lead elsewhere
		segment = strings.ReplaceAll(user, ".", "%2E")
	}
	return "/apps/" + number(app) + "/users/" + segment
}

// Audit lists what operators did, the newest first, at most limit; 0: all.
func (c *Client) Audit(ctx context.Context, limit int) iter.Seq2[adminapi.Audit, error] {
	return list[adminapi.Audit](ctx, c, "/audit", nil, limit)
}
