package config

import (
	"strings"
	"testing"
)

// warnings returns those of a configuration, one a line.
func warnings(t *testing.T, path string, environ ...string) string {
	t.Helper()
	c, err := Load(path, environ)
	if err != nil {
		t.Fatal(err)
	}
	return (&Problems{List: c.Warnings()}).Error()
}

func TestWarnings(t *testing.T) {
	path := write(t, `admin_token: hunter2
trusted_proxies: [10.0.0.0/8, "::/0"]
apps:
- id: 1
  secret: 0123456789abcdef0123456789abcdef
  callbacks:
  - url: http://127.0.0.1:9000/callback
  - url: http://localhost:9000/callback
    secret: hunter2
  - url: https://backend.example/
    secret: hunter2
  - {url: "http://192.168.1.1", secret: hunter2}
  - {url: "http://192.168.1.2", secret: hunter2}
  - {url: "http://[::1]/", secret: ""}
  - {url: "http://[::ffff:10.1.2.3]/", secret: hunter2}
  - {url: "http://8.8.8.8/", secret: hunter2}
callbacks: {allow_networks: [192.168.1.2/32]}
`)
	want := strings.ReplaceAll(`FILE:1: admin_token: has only 7 characters, which can be guessed; make one with: openssl rand -hex 24
FILE:2: trusted_proxies[1]: every client is trusted to say what its address is; name the networks of your proxies only
FILE:5: apps[0].secret: is the one of the documentation, which everybody knows; make one with: openssl rand -hex 16
FILE:7: apps[0].callbacks[0].secret: is not set, so callbacks are signed with the app's secret, and whoever checks them can log in as anybody; a separate one is safer
FILE:7: apps[0].callbacks[0].url: leads to 127.0.0.1, which is not a public address, so no callback will be sent; add 127.0.0.0/8 to callbacks.allow_networks
FILE:8: apps[0].callbacks[1].url: leads to localhost, which is not a public address, so no callback will be sent; add 127.0.0.0/8 to callbacks.allow_networks
FILE:12: apps[0].callbacks[3].url: leads to 192.168.1.1, which is not a public address, so no callback will be sent; add 192.168.0.0/16 to callbacks.allow_networks
FILE:14: apps[0].callbacks[5].secret: is not set, so callbacks are signed with the app's secret, and whoever checks them can log in as anybody; a separate one is safer
FILE:14: apps[0].callbacks[5].url: leads to ::1, which is not a public address, so no callback will be sent; add ::1/128 to callbacks.allow_networks
FILE:15: apps[0].callbacks[6].url: leads to ::ffff:10.1.2.3, which is not a public address, so no callback will be sent; add 10.0.0.0/8 to callbacks.allow_networks`, "FILE", path)
	if got := warnings(t, path); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	t.Run("none", func(t *testing.T) {
		allowed := "RINGBACK_CALLBACKS_ALLOW_NETWORKS=127.0.0.0/8"
		if got := warnings(t, "", "RINGBACK_APPS_0_ID=1", "RINGBACK_APPS_0_SECRET=abcdef0123456789abcdef0123456789",
			"RINGBACK_APPS_0_CALLBACKS_0_URL=http://localhost:9000", "RINGBACK_APPS_0_CALLBACKS_0_SECRET=s", allowed); got != "" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("no apps", func(t *testing.T) {
		if got, want := warnings(t, ""), "apps: there is no app"; !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q…", got, want)
		}
	})
}

func TestWarningsOfDefault(t *testing.T) {
	if got := Default().Warnings(); len(got) != 1 || got[0].Key != "apps" || got[0].File != "" || got[0].Line != 0 {
		t.Errorf("got %v", got)
	}
}
