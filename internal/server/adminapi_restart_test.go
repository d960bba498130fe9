package server

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/config"
)

// TestAppsOutliveARestart: apps that were made, an overlap that goes on, and
// pauses, also of an endpoint of the file, with what waits because of them.
func TestAppsOutliveARestart(t *testing.T) {
	dir, ofFile := t.TempDir(), newInbox(t)
	keep := func(c *config.Config, _ *Options) { c.DataDir, c.Apps[0].Callbacks[0].URL = dir, ofFile.url }
	var s shop
	var second string
	var waiting []adminapi.Triggered
	t.Run("before", func(t *testing.T) {
		a := serveAdmin(t, keep)
		s = a.openShop(`,"retry":["1h"],"events":["call_create"]`)
		second = s.rotate("app", "1h")
		a.do(http.StatusOK, "POST", fmt.Sprintf("/endpoints/%d/pause", a.endpoint()), nil)
		a.do(http.StatusOK, "POST", s.endpoint+"/pause", nil)
		waiting = append(waiting, s.trigger(), request[adminapi.Triggered](a, http.StatusAccepted, "POST", "/apps/1/trigger", nil))
	})
	t.Run("after", func(t *testing.T) {
		a := serveAdmin(t, keep)
		for name, secret := range map[string]string{"old": s.Secret, "new": second} {
			c, err := login(t, a.url, s.ID, "alice", secret)
			if err != nil {
				t.Errorf("with the %s secret: %v", name, err)
				continue
			}
			c.Close()
		}
		app := get[adminapi.App](a, s.path(""))
		if app.SecretOverlapUntilMS == 0 || len(app.Endpoints) != 1 || !app.Endpoints[0].Paused || app.Endpoints[0].Health.State != "paused" {
			t.Errorf("the app is %+v", app)
		}
		path := fmt.Sprintf("/endpoints/%d", a.endpoint())
		if e := get[adminapi.Endpoint](a, path); !e.Paused || e.Health.Backlog != 1 || ofFile.count() != 0 {
			t.Errorf("the endpoint of the file is %+v, and got %d", e, ofFile.count())
		}
		for _, one := range waiting {
			if d := get[adminapi.DeliveryDetail](a, "/deliveries/"+one.Deliveries[0].ID); d.Status != "pending" || d.Attempts != 0 || !d.Test {
				t.Errorf("a delivery is %+v", d)
			}
		}
		a.do(http.StatusOK, "POST", path+"/resume", nil)
		if got := ofFile.await(t, 1)[0]; got.header.Get("webhook-id") != waiting[1].EventID {
			t.Errorf("after the pause came %v", got.header)
		}
	})
}
