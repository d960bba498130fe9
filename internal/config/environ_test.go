package config

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestEnvironment says all of testdata/changed.yaml by variables alone.
func TestEnvironment(t *testing.T) {
	environ := []string{
		"PATH=/bin",
		"RINGBACK_LISTEN=[::]:443",
		"RINGBACK_DATA_DIR=/var/lib/ringback",
		"RINGBACK_STORE=postgres://ringback:secret@db.example.com/ringback?sslmode=require",
		"RINGBACK_NATS=nats://one.example.com:4222,tls://two.example.com",
		"RINGBACK_NATS_PREFIX=ringback.eu",
		"RINGBACK_NODE=eu-1",
		"RINGBACK_LEASE=4s",
		"RINGBACK_ADMIN_TOKEN=wall-clock",
		"RINGBACK_HEARTBEAT_INTERVAL=5s",
		"RINGBACK_HEARTBEAT_TIMEOUT=16s",
		"RINGBACK_ABSENCE_TIMEOUT=90s",
		"RINGBACK_MAX_CALL_DURATION=8h",
		"RINGBACK_SESSION_TTL=48h",
		"RINGBACK_LIMITS_REQUESTS_PER_SECOND=20",
		"RINGBACK_LIMITS_BURST=40",
		"RINGBACK_LIMITS_SERVER_API=20",
		"RINGBACK_TRUSTED_PROXIES=10.0.0.0/8, 2001:db8::/32",
		"RINGBACK_APPS_1_ID=2",
		"RINGBACK_APPS_1_SECRET=~!@ printable characters, 32 {}[",
		"RINGBACK_APPS_0_ID=4294967295",
		"RINGBACK_APPS_0_NAME=Zürich & co",
		"RINGBACK_APPS_0_SECRET=12345678901234567890123456789012",
		"RINGBACK_APPS_0_LOGIN_POLICY=multi",
		"RINGBACK_APPS_0_JOIN_POLICY=invited",
		"RINGBACK_APPS_0_CALLBACKS_0_URL=https://backend.example/hook?k=v",
		"RINGBACK_APPS_0_CALLBACKS_0_SECRET=endpoint-secret",
		"RINGBACK_APPS_0_CALLBACKS_0_FORMAT=form",
		"RINGBACK_APPS_0_CALLBACKS_0_EVENTS=call_create,user_action,call_end",
		"RINGBACK_APPS_0_CALLBACKS_0_TIMEOUT=100ms",
		"RINGBACK_APPS_0_CALLBACKS_0_RETRY=1s,24h",
		"RINGBACK_APPS_0_CALLBACKS_0_ORDERING=strict",
		"RINGBACK_APPS_0_CALLBACKS_0_WHEN_DOWN=hold",
		"RINGBACK_APPS_0_CALLBACKS_1_URL=https://[2001:db8::1]:8443/",
		"RINGBACK_APPS_0_CALLBACKS_1_RETRY=",
		"RINGBACK_CALLBACKS_ALLOW_NETWORKS=10.0.0.0/8,fd00::/8",
		"RINGBACK_RETENTION=24h",
	}
	compare(t, load(t, "", environ...), changed())
}

func TestEnvironmentOverridesFile(t *testing.T) {
	c := load(t, "testdata/changed.yaml",
		"RINGBACK_LISTEN=:1",
		"RINGBACK_LISTEN=:9999", // the last one wins
		"RINGBACK_TRUSTED_PROXIES=",
		"RINGBACK_APPS_0_NAME=",
		"RINGBACK_APPS_0_CALLBACKS_0_EVENTS=call_join",
		"RINGBACK_APPS_1_JOIN_POLICY=invited",
		"RINGBACK_APPS_2_ID=3",
		"RINGBACK_APPS_2_SECRET=0123456789abcdef0123456789abcdef",
	)
	want := changed()
	want.Listen = ":9999"
	want.TrustedProxies = []netip.Prefix{}
	want.Apps[0].Name = ""
	want.Apps[0].Callbacks[0].Events = []string{"call_join"}
	want.Apps[1].JoinPolicy = "invited"
	third := DefaultApp()
	third.ID, third.Secret = 3, "0123456789abcdef0123456789abcdef"
	want.Apps = append(want.Apps, third)
	compare(t, c, want)
}

// TestEnvironmentMends: a mistake in the file does not count if a variable
// overrides it.
func TestEnvironmentMends(t *testing.T) {
	path := write(t, "listen: 8080\nretention: soon\ntrusted_proxies: [home]\napps:\n- id: one\n  secret: short\n")
	c := load(t, path,
		"RINGBACK_LISTEN=:8080",
		"RINGBACK_RETENTION=1h",
		"RINGBACK_TRUSTED_PROXIES=10.0.0.0/8",
		"RINGBACK_APPS_0_ID=1",
		"RINGBACK_APPS_0_SECRET=0123456789abcdef0123456789abcdef",
	)
	if c.Retention != time.Hour || c.Apps[0].ID != 1 {
		t.Errorf("retention %v, app %d", c.Retention, c.Apps[0].ID)
	}
}

func TestEnvironmentMistakes(t *testing.T) {
	got := mistakes(t, "",
		"RINGBACK_APPS_0_SECRET=hunter2",
		"RINGBACK_APPS_0_SECRTE=hunter2",
		"RINGBACK_APPS_2_ID=1",
		"RINGBACK_APPS_01_ID=1",
		"RINGBACK_APPS=[]",
		"RINGBACK_APPS_0_CALLBACKS_0_RETRY=1s,soon,,25h",
		"RINGBACK_APPS_0_CALLBACKS_0_URL=https://backend.example/#hunter2",
		"RINGBACK_ABSENCE_TIMEOUT=",
		"RINGBACK_LIMITS_BURST=1e3",
		"RINGBACK_LISTN=:8080",
		"RINGBACK_TLS=x",
		"RINGBACK_LISTEN_0=:8080",
		"RINGBACK_=",
		"RINGBACK_WEATHER_FORECAST=rain",
	)
	want := []string{
		`RINGBACK_: is not a setting; unset it`,
		`RINGBACK_ABSENCE_TIMEOUT: absence_timeout: "" is not a duration; write one such as 500ms, 10s, 2m or 24h`,
		`RINGBACK_APPS: apps is more than a single value; set its parts, such as RINGBACK_APPS_0_ID`,
		`RINGBACK_APPS_01_ID: is not a setting; did you mean RINGBACK_APPS_1_ID?`,
		`RINGBACK_APPS_0_CALLBACKS_0_RETRY: apps[0].callbacks[0].retry[1]: "soon" is not a duration; write one such as 500ms, 10s, 2m or 24h`,
		`RINGBACK_APPS_0_CALLBACKS_0_RETRY: apps[0].callbacks[0].retry[2]: "" is not a duration; write one such as 500ms, 10s, 2m or 24h`,
		`RINGBACK_APPS_0_CALLBACKS_0_RETRY: apps[0].callbacks[0].retry[3]: is 25h0m0s; it must be longer than 0 and at most 24h`,
		`RINGBACK_APPS_0_CALLBACKS_0_URL: apps[0].callbacks[0].url: has a fragment, which is never sent; remove # and what follows`,
		`RINGBACK_APPS_0_SECRET: apps[0].secret: has 7 characters; it must have exactly 32; make one with: openssl rand -hex 16`,
		`RINGBACK_APPS_0_SECRTE: is not a setting; did you mean RINGBACK_APPS_0_SECRET?`,
		`RINGBACK_APPS_2_ID: apps[2]: there is no apps[1] before it; number the elements of a list from 0 without gaps`,
		`RINGBACK_LIMITS_BURST: limits.burst: "1e3" is not a whole number; write one such as 400`,
		`RINGBACK_LISTEN_0: is not a setting; did you mean RINGBACK_LISTEN?`,
		`RINGBACK_LISTN: is not a setting; did you mean RINGBACK_LISTEN?`,
		`RINGBACK_TLS: tls is more than a single value; set its parts, such as RINGBACK_TLS_CERT`,
		`RINGBACK_WEATHER_FORECAST: is not a setting; unset it`,
	}
	// The app has no ID; that is said where the app began.
	text := strings.Join(got, "\n")
	if !strings.Contains(text, ": apps[0].id: is missing or 0;") {
		t.Errorf("nothing of the missing ID in\n%s", text)
	}
	for _, line := range want {
		if !strings.Contains("\n"+text+"\n", "\n"+line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}
	if len(got) != len(want)+1 {
		t.Errorf("%d problems, want %d:\n%s", len(got), len(want)+1, text)
	}
	if strings.Contains(text, "hunter2") {
		t.Errorf("a secret is shown:\n%s", text)
	}
}

// TestVariableNames: each setting has a variable of its own, which leads to
// it.
func TestVariableNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, name := range variableNames("") {
		if seen[name] {
			t.Errorf("%s belongs to two settings", name)
		}
		seen[name] = true
		path, ok := resolve(reflect.TypeFor[Config](), strings.TrimPrefix(name, envPrefix))
		if !ok {
			t.Errorf("%s leads nowhere", name)
			continue
		}
		back := strings.TrimSuffix(envPrefix, "_")
		for _, s := range path {
			if s.name == "" {
				s.name = "0"
			}
			back += "_" + strings.ToUpper(s.name)
		}
		if back != name {
			t.Errorf("%s leads to %s", name, back)
		}
	}
	if len(seen) < 25 {
		t.Errorf("only %d settings", len(seen))
	}
}
