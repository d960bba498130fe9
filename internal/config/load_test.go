package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// load loads a file that must be right, and forgets where its settings are.
func load(t *testing.T, path string, environ ...string) *Config {
	t.Helper()
	c, err := Load(path, environ)
	if err != nil {
		t.Fatalf("Load(%q):\n%v", path, err)
	}
	c.origin = origin{}
	return c
}

// mistakes loads what must be wrong and returns the lines of the error.
func mistakes(t *testing.T, path string, environ ...string) []string {
	t.Helper()
	c, err := Load(path, environ)
	var problems *Problems
	if !errors.As(err, &problems) {
		t.Fatalf("Load(%q, %q) = %v, %v; want *Problems", path, environ, c, err)
	}
	if len(problems.List) == 0 {
		t.Fatalf("Load(%q): an error without problems", path)
	}
	return strings.Split(err.Error(), "\n")
}

// write makes a file of the given text.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ringback.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func compare(t *testing.T, got, want *Config) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestLoadDefaults(t *testing.T) {
	compare(t, load(t, "", "HOME=/root", "RINGBACK_TEST_POSTGRES=x", "RINGBACK_SECRET=x", "RINGBACK_CALLBACK_SECRET=x", "RINGBACK_SERVER=x"), Default())
	for _, text := range []string{"", "# nothing\n", "---\n", "~\n", "apps:\ntls:\ntrusted_proxies:\n"} {
		compare(t, load(t, write(t, text)), Default())
	}
}

func TestLoadDocumented(t *testing.T) {
	want := Default()
	want.TrustedProxies = []netip.Prefix{}
	want.Callbacks.AllowNetworks = []netip.Prefix{}
	app := DefaultApp()
	app.ID, app.Name, app.Secret = 1, "demo", "0123456789abcdef0123456789abcdef"
	endpoint := DefaultEndpoint()
	endpoint.URL = "http://127.0.0.1:9000/callback"
	endpoint.Events = []string{}
	app.Callbacks = []Endpoint{endpoint}
	want.Apps = []App{app}
	compare(t, load(t, "testdata/documented.yaml"), want)
}

// changed is what testdata/changed.yaml says.
func changed() *Config {
	second := DefaultEndpoint()
	second.URL = "https://[2001:db8::1]:8443/"
	second.Retry = []time.Duration{}
	return &Config{
		Listen:            "[::]:443",
		DataDir:           "/var/lib/ringback",
		Store:             "postgres://ringback:secret@db.example.com/ringback?sslmode=require",
		NATS:              "nats://one.example.com:4222,tls://two.example.com",
		NATSPrefix:        "ringback.eu",
		Node:              "eu-1",
		Lease:             4 * time.Second,
		AdminToken:        "wall-clock",
		HeartbeatInterval: 5 * time.Second,
		HeartbeatTimeout:  16 * time.Second,
		AbsenceTimeout:    90 * time.Second,
		MaxCallDuration:   8 * time.Hour,
		SessionTTL:        48 * time.Hour,
		Limits:            Limits{RequestsPerSecond: 20, Burst: 40, ServerAPI: 20},
		TrustedProxies:    []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")},
		Apps: []App{
			{
				ID:          4294967295,
				Name:        "Zürich & co",
				Secret:      "12345678901234567890123456789012",
				LoginPolicy: "multi",
				JoinPolicy:  "invited",
				Callbacks: []Endpoint{
					{
						URL:      "https://backend.example/hook?k=v",
						Secret:   "endpoint-secret",
						Format:   "form",
						Events:   []string{"call_create", "user_action", "call_end"},
						Timeout:  100 * time.Millisecond,
						Retry:    []time.Duration{time.Second, 24 * time.Hour},
						Ordering: "strict",
						WhenDown: "hold",
					},
					second,
				},
			},
			{
				ID:          2,
				Secret:      "~!@ printable characters, 32 {}[",
				LoginPolicy: "single",
				JoinPolicy:  "anyone",
			},
		},
		Callbacks: Callbacks{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}},
		Retention: 24 * time.Hour,
	}
}

func TestLoadChanged(t *testing.T) {
	compare(t, load(t, "testdata/changed.yaml"), changed())
}

// TestMistakes has one mistake of each kind, all reported at once.
func TestMistakes(t *testing.T) {
	const file = "testdata/mistakes.yaml"
	want := []string{
		`:1: listen: "localhost" is not host:port; write one such as 127.0.0.1:8080, or :8080 for all addresses`,
		`:2: data_dir: has no value; give it one or remove the line`,
		`:3: store: is not the URL of a PostgreSQL database; write one such as postgres://ringback:PASSWORD@db.example.com/ringback, or nothing for the embedded store`,
		`:4: nats: holds what is not the URL of a NATS server; write one such as nats://nats.example.com:4222, several with commas between`,
		`:5: heartbeat_interval: is 500ms; it must be at least 1s`,
		`:6: heartbeat_timeout: "35" has no unit; write 35s, 35m or 35h`,
		`:7: absence_timeout: is 0s; it must be longer than 0`,
		`:8: max_call_duration: is -1h0m0s; it must be longer than 0`,
		`:9: session_ttl: "soon" is not a duration; write one such as 500ms, 10s, 2m or 24h`,
		`:10: limits.burst: "many" is not a whole number; write one such as 400`,
		`:10: limits.bursts: is not a setting; did you mean burst?`,
		`:10: limits.requests_per_second: is 0; it must be at least 1`,
		`:10: limits.server_api: is -1; it must be at least 1, or 0 for no limit`,
		`:11: tls.key: is empty but tls.cert is set; set both, or none`,
		`:12: trusted_proxies[0]: 10.0.0.1 is an address, not a network; write 10.0.0.1/32`,
		`:12: trusted_proxies[1]: 10.0.0.1/8 is an address within a network; write 10.0.0.0/8 for the network`,
		`:12: trusted_proxies[2]: ::ffff:10.0.0.0/104 is an IPv4 network in the form of IPv6, which matches nothing; write it as one of IPv4`,
		`:12: trusted_proxies[3]: "home" is not a network; write one such as 10.0.0.0/8 or fd00::/8`,
		`:14: retention: is already set on line 13; remove one of the two`,
		`:15: listn: is not a setting; did you mean listen?`,
		`:17: apps[0].id: is missing or 0; give the app a number from 1 to 4294967295`,
		`:17: apps[0].secret: is missing; make one with: openssl rand -hex 16`,
		`:19: apps[1].name: has 73 bytes; it may have 64`,
		`:20: apps[1].secret: has 7 characters; it must have exactly 32; make one with: openssl rand -hex 16`,
		`:21: apps[1].login_policy: is "sinlge"; it must be single, dual or multi`,
		`:22: apps[1].join_policy: is "nobody"; it must be anyone or invited`,
		`:23: apps[2].id: is 7, as that of apps[1]; give each app its own`,
		`:24: apps[2].name: has control characters or is not UTF-8; remove them`,
		`:25: apps[2].secret: has characters other than printable ASCII; make one with: openssl rand -hex 16`,
		`:26: apps[2].secrets: is not a setting; did you mean secret?`,
		`:28: apps[2].callbacks[0].url: is missing; write one such as https://example.com/callback`,
		`:28: apps[2].callbacks[0].secret: has characters other than printable ASCII; make one with: openssl rand -hex 16`,
		`:29: apps[2].callbacks[1].url: does not begin with http:// or https://; write one such as https://example.com/callback`,
		`:30: apps[2].callbacks[1].format: is "xml"; it must be json or form`,
		`:31: apps[2].callbacks[1].events[1]: "call_creat" is not an event; did you mean call_create?`,
		`:31: apps[2].callbacks[1].events[2]: "call_create" is already in the list; remove one of the two`,
		`:31: apps[2].callbacks[1].events[3]: "ring" is not an event; the events are call_create, call_cancel, call_accept, call_reject, call_timeout, call_invite, user_action, call_received, call_join, call_quit or call_end`,
		`:32: apps[2].callbacks[1].timeout: is 1m1s; it must be from 100ms to 1m0s`,
		`:33: apps[2].callbacks[1].retry[0]: is 0s; it must be longer than 0 and at most 24h`,
		`:33: apps[2].callbacks[1].retry[1]: is 25h0m0s; it must be longer than 0 and at most 24h`,
		`:34: apps[2].callbacks[1].ordering: is "any"; it must be first_attempt or strict`,
		`:35: apps[2].callbacks[1].when_down: is "drop"; it must be retry or hold`,
		`:36: apps[2].callbacks[2].url: has no host; write one such as https://example.com/callback`,
		`:37: apps[2].callbacks[2].timeout: is 99ms; it must be from 100ms to 1m0s`,
		`:38: apps[2].callbacks[3].url: has a user or a password; callbacks are signed, so remove them and check the signature`,
		`:39: apps[2].callbacks[3].events: must be a list, such as [a, b] or lines beginning with -`,
		`:40: apps[2].callbacks[4].url: has a fragment, which is never sent; remove # and what follows`,
		`:41: apps[2].callbacks[4].retry: must be a list, such as [a, b] or lines beginning with -`,
		`:42: apps[2].callbacks[5].url: is not a URL; write one such as https://example.com/callback`,
		`:43: apps[2].callbacks[6].url: leads to 169.254.169.254, a link-local address, which is never called; use another`,
		`:45: apps[2].callbacks[8].url: is the same as that of apps[2].callbacks[7]; an endpoint is known by its URL, so join the two`,
		`:46: apps[2].callbacks[9].url: has no port from 1 to 65535; write one such as https://example.com/callback`,
		`:47: apps[2].callbacks[10]: must be a group of settings, with lines such as url: …`,
		`:48: apps[3].id: "4294967296" is not a whole number from 1 to 4294967295`,
		`:49: apps[3].secret: must be a single value, not a list or a group`,
		`:50: apps[4].id: "one" is not a whole number from 1 to 4294967295`,
		`:51: apps[4].secret: has no value; give it one or remove the line`,
		`:53: callbacks.allow_networks[1]: 169.254.169.0/24 holds link-local addresses only, which are never called; remove it`,
		`:53: callbacks.allow_networks[2]: 224.0.0.0/4 holds multicast addresses only, which are never called; remove it`,
		`:53: callbacks.allow_networks[3]: fe80::/64 holds link-local addresses only, which are never called; remove it`,
		`:54: callbacks.networks: is not a setting; remove it`,
	}
	got := mistakes(t, file)
	for i := range max(len(got), len(want)) {
		var g, w string
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = file + want[i]
		}
		if g != w {
			t.Errorf("problem %d:\n got %s\nwant %s", i, g, w)
		}
	}
	if text := strings.Join(got, "\n"); strings.Contains(text, "hunter2") {
		t.Error("a secret is shown")
	}
}

func TestNotAConfiguration(t *testing.T) {
	tests := []struct{ text, want string }{
		{"listen: [a\n", "is not valid YAML: did not find expected ',' or ']'"},
		{"listen: a\n\tdata_dir: b\n", ":2: is not valid YAML: "},
		{"listen: *hunter2\n", ":1: is not valid YAML: an alias names no anchor; quote a value that begins with *"},
		{"listen: \xff\n", "is not valid YAML: "},
		{"- listen\n", ":1: the file must be a mapping, with lines such as listen: 127.0.0.1:8080"},
		{"hello", ":1: the file must be a mapping, with lines such as listen: 127.0.0.1:8080"},
		{"listen: :1\n---\nlisten: :2\n", ":2: a second YAML document begins here; keep one and remove the line ---"},
		{"? [a, b]\n: c\n", ":1: is not a setting; remove it"},
	}
	for _, tt := range tests {
		path := write(t, tt.text)
		got := mistakes(t, path, "RINGBACK_APPS_3_ID=1")[0]
		if !strings.HasPrefix(got, path) || !strings.Contains(got, tt.want) {
			t.Errorf("%q: %s, want %s", tt.text, got, tt.want)
		}
		if strings.Contains(got, "hunter2") {
			t.Errorf("%q: the value is shown: %s", tt.text, got)
		}
	}
	if got, want := mistakes(t, "testdata/nowhere.yaml"), "testdata/nowhere.yaml: cannot be read: no such file or directory"; len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTLSFiles(t *testing.T) {
	cert, key := writePair(t)
	dir := t.TempDir()
	tests := []struct{ cert, key, want string }{
		{cert, key, ""},
		{cert, "", "key: is empty but"},
		{"", key, "cert: is empty but"},
		{dir + "/nowhere.pem", key, "cert: " + dir + "/nowhere.pem cannot be read: no such file or directory"},
		{cert, dir, "key: " + dir + " cannot be read: is a directory"},
		{key, cert, "cert: " + key + " and " + cert + " are not a certificate and its key in PEM: "},
	}
	for _, tt := range tests {
		for _, group := range []string{"tls", "nats_tls"} {
			path := write(t, group+": {cert: '"+tt.cert+"', key: '"+tt.key+"'}\n")
			if tt.want == "" {
				c := load(t, path)
				if got := map[string]TLS{"tls": c.TLS, "nats_tls": {Cert: c.NATSTLS.Cert, Key: c.NATSTLS.Key}}[group]; got != (TLS{Cert: tt.cert, Key: tt.key}) {
					t.Errorf("%s: %v", group, got)
				}
				continue
			}
			got := mistakes(t, path)
			if len(got) != 1 || !strings.HasPrefix(got[0], path+":1: "+group+"."+tt.want) {
				t.Errorf("%s, cert %q, key %q: %q, want %q", group, tt.cert, tt.key, got, tt.want)
			}
		}
	}
}

func TestNATSFiles(t *testing.T) {
	cert, key := writePair(t)
	c := load(t, write(t, "nats_credentials: "+key+"\nnats_tls: {ca: "+cert+"}\n"))
	if c.NATSCredentials != key || c.NATSTLS.CA != cert {
		t.Errorf("%q, %+v", c.NATSCredentials, c.NATSTLS)
	}
	path := write(t, "nats_credentials: nowhere.creds\nnats_tls: {ca: "+key+"}\n")
	want := []string{
		path + ":1: nats_credentials: nowhere.creds cannot be read: no such file or directory",
		path + ":2: nats_tls.ca: " + key + " has no certificate in PEM",
	}
	if got := mistakes(t, path); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// writePair makes the files of a certificate and its key.
func writePair(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certDER, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert = write(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certDER})))
	key = write(t, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	return cert, key
}

func TestHeartbeats(t *testing.T) {
	const message = "heartbeat_timeout (10s) must be longer than heartbeat_interval (10s); three times as long is usual"
	path := write(t, "heartbeat_timeout: 10s\n")
	if got, want := mistakes(t, path), path+":1: heartbeat_timeout: "+message; len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
	path = write(t, "retention: 1h\nheartbeat_interval: 1m\n")
	if got, want := mistakes(t, path)[0], path+":2: heartbeat_interval: heartbeat_timeout (35s) must be longer"; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestListen(t *testing.T) {
	for _, listen := range []string{":8080", ":0", "localhost:80", "0.0.0.0:65535", "[::1]:8080", "[fe80::1%eth0]:1"} {
		load(t, "", "RINGBACK_LISTEN="+listen)
	}
	for _, listen := range []string{"", "8080", "localhost", ":", ":http", ":65536", ":-1", ":080", "::1:8080", "a b:80", "http://localhost:80", "/run/x:80"} {
		if got := mistakes(t, "", "RINGBACK_LISTEN="+listen); len(got) != 1 || !strings.HasPrefix(got[0], "RINGBACK_LISTEN: listen: ") {
			t.Errorf("%q: %q", listen, got)
		}
	}
}

func TestTooManyRetries(t *testing.T) {
	const app = "apps:\n- id: 1\n  secret: 0123456789abcdef0123456789abcdef\n  callbacks:\n  - url: https://backend.example/\n    retry: [1s"
	load(t, write(t, app+strings.Repeat(", 1s", 49)+"]\n"))
	path := write(t, app+strings.Repeat(", 1s", 50)+"]\n")
	if got := mistakes(t, path); len(got) != 1 || !strings.Contains(got[0], ":6: apps[0].callbacks[0].retry: has 51 pauses; it may have 50") {
		t.Errorf("got %q", got)
	}
}

// TestAliases: anchors and aliases work as in any YAML.
func TestAliases(t *testing.T) {
	c := load(t, write(t, "trusted_proxies: &inside [10.0.0.0/8]\ncallbacks: {allow_networks: *inside}\n"))
	if len(c.Callbacks.AllowNetworks) != 1 || c.Callbacks.AllowNetworks[0] != c.TrustedProxies[0] {
		t.Errorf("networks %v and %v", c.TrustedProxies, c.Callbacks.AllowNetworks)
	}
}

// FuzzLoad checks that no file makes Load panic.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"documented", "changed", "mistakes"} {
		text, err := os.ReadFile("testdata/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("a: &a [*a]\napps: &b\n- callbacks: *b\n")
	path := filepath.Join(f.TempDir(), "ringback.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(path, []string{"RINGBACK_APPS_0_CALLBACKS_0_RETRY=1s,2s", "RINGBACK_TLS_CERT="})
		if err == nil {
			c.Warnings()
		}
	})
}
