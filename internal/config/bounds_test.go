package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// bounds are values at the edges of what the tags of settings say, and beyond.
// A setting is known here by its variable without RINGBACK_, and values are
// written as there.
var bounds = map[string]struct {
	says string
	good []string
	bad  []string
}{
	"LISTEN":              {says: "host:port", good: []string{"127.0.0.1:0", ":65535", "localhost:8080"}, bad: []string{"", "127.0.0.1", ":65536"}},
	"DATA_DIR":            {says: "not empty", good: []string{"x"}, bad: []string{""}},
	"STORE":               {says: "a postgres:// URL, or empty", good: []string{"", "postgres://localhost/x"}, bad: []string{"postgres://localhost", "mysql://localhost/x", "x"}},
	"NATS":                {says: "nats:// or tls:// URLs, or empty", good: []string{""}, bad: []string{"nats://localhost", "http://localhost"}}, // without a store
	"NATS_PREFIX":         {says: "letters, digits, dashes, dots between", good: []string{"x", "ringback.eu-1"}, bad: []string{"", "a b", "a..b", ".a", "a.*"}},
	"NATS_CREDENTIALS":    {says: "a file that can be read, or empty", good: []string{"", "bounds_test.go"}, bad: []string{"x.creds", "."}},
	"NATS_TLS_CA":         {says: "a file of certificates, or empty", good: []string{""}, bad: []string{"x.pem", "bounds_test.go"}},
	"NATS_TLS_CERT":       {says: "set with nats_tls.key, or not at all", good: []string{""}, bad: []string{"x.pem"}},
	"NATS_TLS_KEY":        {says: "set with nats_tls.cert, or not at all", good: []string{""}, bad: []string{"x.pem"}},
	"NODE":                {says: "at most 64 letters, digits, dots and dashes", good: []string{"", "a-1.b", strings.Repeat("n", 64)}, bad: []string{"a b", strings.Repeat("n", 65)}},
	"LEASE":               {says: "2s to 1m", good: []string{"2s", "1m"}, bad: []string{"1999ms", "61s"}},
	"ADMIN_TOKEN":         {says: "printable ASCII characters without spaces", good: []string{"", "x", "!~"}, bad: []string{"a b", "é", "\t"}},
	"HEARTBEAT_INTERVAL":  {says: "at least 1s", good: []string{"1s"}, bad: []string{"999ms"}},
	"HEARTBEAT_TIMEOUT":   {says: "over heartbeat_interval", good: []string{"10001ms"}, bad: []string{"10s"}},
	"ABSENCE_TIMEOUT":     {says: "over 0", good: []string{"1ns"}, bad: []string{"0s"}},
	"MAX_CALL_DURATION":   {says: "over 0", good: []string{"1ns"}, bad: []string{"0s"}},
	"SESSION_TTL":         {says: "over 0", good: []string{"1ns"}, bad: []string{"0s"}},
	"RETENTION":           {says: "over 0", good: []string{"1ns"}, bad: []string{"0s"}},
	"LIMITS_BURST":        {says: "at least 1", good: []string{"1"}, bad: []string{"0"}},
	"LIMITS_SERVER_API":   {says: "at least 0", good: []string{"0"}, bad: []string{"-1"}},
	"TLS_CERT":            {says: "set with tls.key, or not at all", good: []string{""}, bad: []string{"x.pem"}},
	"TLS_KEY":             {says: "set with tls.cert, or not at all", good: []string{""}, bad: []string{"x.pem"}},
	"TRUSTED_PROXIES":     {says: "networks such as 10.0.0.0/8", good: []string{"", "10.0.0.0/8,fd00::/8"}, bad: []string{"10.0.0.1", "10.0.0.1/8", "x"}},
	"APPS_0_ID":           {says: "1 to 4294967295", good: []string{"1", "4294967295"}, bad: []string{"0", "4294967296", "-1"}},
	"APPS_0_NAME":         {says: "at most 64 bytes", good: []string{"", strings.Repeat("n", 64)}, bad: []string{strings.Repeat("n", 65)}},
	"APPS_0_SECRET":       {says: "exactly 32 printable ASCII characters", good: []string{strings.Repeat("~", 32)}, bad: []string{strings.Repeat("s", 31), strings.Repeat("s", 33), strings.Repeat("é", 16)}},
	"APPS_0_LOGIN_POLICY": {says: "single, dual or multi"},
	"APPS_0_JOIN_POLICY":  {says: "anyone or invited"},
	"APPS_0_CALLBACKS_0_URL": {
		says: "http or https, at most 2048 bytes, without user and fragment",
		good: []string{"http://example.com", "https://example.com/" + strings.Repeat("p", 2028)},
		bad:  []string{"", "ftp://example.com", "https://example.com/" + strings.Repeat("p", 2029), "https://u@example.com/", "https://example.com/#x"},
	},
	"APPS_0_CALLBACKS_0_SECRET":    {says: "at most 256 printable ASCII characters", good: []string{"", strings.Repeat("s", 256)}, bad: []string{strings.Repeat("s", 257), "é"}},
	"APPS_0_CALLBACKS_0_FORMAT":    {says: "json or form"},
	"APPS_0_CALLBACKS_0_EVENTS":    {says: "names of events, each once", good: []string{"", "call_create,call_end"}, bad: []string{"call_creat", "call_end,call_end"}},
	"APPS_0_CALLBACKS_0_TIMEOUT":   {says: "100ms to 60s", good: []string{"100ms", "60s"}, bad: []string{"99ms", "60001ms"}},
	"APPS_0_CALLBACKS_0_RETRY":     {says: "at most 50, each over 0 and at most 24h", good: []string{"", "1ns,24h", strings.Repeat("1s,", 49) + "1s"}, bad: []string{"0s", "24h1s", strings.Repeat("1s,", 50) + "1s"}},
	"APPS_0_CALLBACKS_0_ORDERING":  {says: "first_attempt or strict"},
	"APPS_0_CALLBACKS_0_WHEN_DOWN": {says: "retry or hold"},
	"CALLBACKS_ALLOW_NETWORKS": {
		says: "never link-local, multicast or unspecified",
		good: []string{"", "127.0.0.0/8"}, bad: []string{"169.254.0.0/16", "fe80::/10", "224.0.0.0/4", "0.0.0.0/8"},
	},
	"LIMITS_REQUESTS_PER_SECOND": {says: "at least 1", good: []string{"1"}, bad: []string{"0"}},
}

// What the documentation says of bounds is what Load does.
func TestBounds(t *testing.T) {
	valid := map[string]string{
		"APPS_0_ID": "1", "APPS_0_SECRET": strings.Repeat("s", 32), "APPS_0_CALLBACKS_0_URL": "https://example.com/",
	}
	load := func(name, value string) error {
		environ := []string{envPrefix + name + "=" + value}
		for other, text := range valid {
			if other != name {
				environ = append(environ, envPrefix+other+"="+text)
			}
		}
		_, err := Load("", environ)
		return err
	}
	seen := make(map[string]bool)
	for name, says := range boundsTags(reflect.TypeFor[Config](), "") {
		row, ok := bounds[name]
		if seen[name] = true; !ok || row.says != says {
			t.Errorf("%s: the tag bounds says %q, the test has %q", name, says, row.says)
			continue
		}
		if words := strings.Split(strings.ReplaceAll(says, " or ", ", "), ", "); row.good == nil {
			row.good, row.bad = words, []string{"", words[0] + "x"}
		}
		for _, value := range row.good {
			if err := load(name, value); err != nil {
				t.Errorf("%s=%.60q is within %q: %v", name, value, says, err)
			}
		}
		for _, value := range row.bad {
			if err := load(name, value); !isProblem(err) {
				t.Errorf("%s=%.60q is beyond %q: got %v", name, value, says, err)
			}
		}
	}
	for name := range bounds {
		if !seen[name] {
			t.Errorf("%s: there is no such setting", name)
		}
	}
}

func isProblem(err error) bool {
	_, ok := errors.AsType[*Problems](err)
	return ok
}

// boundsTags gives the tag bounds of every setting that is a value, by the
// name of its variable.
func boundsTags(t reflect.Type, within string) map[string]string {
	out := make(map[string]string)
	for f := range t.Fields() {
		name := tag(f)
		if name == "" {
			continue
		}
		name = within + strings.ToUpper(name)
		group := f.Type
		switch {
		case group.Kind() == reflect.Slice && !isTexts(group):
			group, name = group.Elem(), name+"_0"
		case group.Kind() != reflect.Struct || isText(group):
			out[name] = f.Tag.Get("bounds")
			continue
		}
		for inner, says := range boundsTags(group, name+"_") {
			out[inner] = says
		}
	}
	return out
}

// Limits that are constants are in the tags as numbers.
func TestBoundsNameConstants(t *testing.T) {
	tags := boundsTags(reflect.TypeFor[Config](), "")
	for name, n := range map[string]any{
		"APPS_0_SECRET": SecretLen, "APPS_0_NAME": MaxName, "APPS_0_CALLBACKS_0_SECRET": MaxEndpointSecret,
		"APPS_0_CALLBACKS_0_URL": MaxURL, "APPS_0_CALLBACKS_0_RETRY": MaxRetries,
	} {
		if !slices.Contains(strings.FieldsFunc(tags[name], isSeparator), fmt.Sprint(n)) {
			t.Errorf("%s: %q does not say %v", name, tags[name], n)
		}
	}
}

func isSeparator(r rune) bool { return r == ' ' || r == ',' }
