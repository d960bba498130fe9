package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/auth"
)

const testSecret = "abcdef0123456789abcdef0123456789"

// ringback runs a command line as main does.
func ringback(t *testing.T, environ []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	err := run(t.Context(), args, environ, &out, &errs)
	status = report(err, &errs)
	return status, out.String(), errs.String()
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"-h"}, {"--help"}} {
		status, stdout, stderr := ringback(t, nil, args...)
		if status != 0 || stderr != "" {
			t.Errorf("%q: status %d, stderr %q", args, status, stderr)
		}
		for _, c := range commands() {
			if !strings.Contains(stdout, "  "+c.name) || !strings.Contains(stdout, c.summary) {
				t.Errorf("%q: nothing of %s in\n%s", args, c.name, stdout)
			}
		}
	}
	for _, c := range commands() {
		for _, args := range [][]string{{"help", c.name}, {c.name, "-h"}, {c.name, "--help"}} {
			status, stdout, stderr := ringback(t, nil, args...)
			if status != 0 || stderr != "" || !strings.HasPrefix(stdout, "Usage: ringback "+c.name) {
				t.Errorf("%q: status %d, stdout %q, stderr %q", args, status, stdout, stderr)
			}
		}
	}
}

func TestNoCommand(t *testing.T) {
	status, stdout, stderr := ringback(t, nil)
	if status != 2 || stdout != "" || !strings.Contains(stderr, "\nUsage: ringback COMMAND") {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
}

func TestUsageMistakes(t *testing.T) {
	token := []string{"token", "--app", "1", "--user", "alice", "--secret", testSecret}
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"tokn"}, `unknown command "tokn"; did you mean "token"?`},
		{[]string{"help", "chekc"}, `unknown command "chekc"; did you mean "check"?`},
		{[]string{"frobnicate"}, `unknown command "frobnicate"`},
		{[]string{"help", "token", "check"}, "help takes one command at most"},
		{[]string{"version", "1"}, `version takes flags only, not "1"`},
		{[]string{"check", "ringback.yaml"}, `check takes flags only, not "ringback.yaml"`},
		{[]string{"check", "--confg", "x"}, "flag provided but not defined: -confg"},
		{[]string{"token"}, "token needs --app, a number from 1 to 4294967295"},
		{[]string{"token", "--app", "0"}, `invalid value "0" for flag -app: not a number from 1 to 4294967295`},
		{[]string{"token", "--app", "4294967296"}, `invalid value "4294967296" for flag -app: not a number from 1 to 4294967295`},
		{[]string{"token", "--app", "1"}, "token needs --user"},
		{[]string{"token", "--app", "1", "--user", "alice"}, "token needs the app's secret, as RINGBACK_SECRET or --secret"},
		{append(token, "--user", "al/ice"), `"al/ice" is not a user ID: it may have 32 bytes of ASCII letters, digits, spaces and some signs`},
		{append(token, "--ttl", "30s"), "a token must be valid for more than 30s; --ttl is 30s"},
		{append(token, "--format", "token03"), `--format is "token03"; it must be token04 or jwt`},
	}
	for _, tt := range tests {
		status, stdout, stderr := ringback(t, nil, tt.args...)
		if status != 2 || stdout != "" || !strings.HasPrefix(stderr, "ringback: "+tt.want+"\nRun 'ringback help") {
			t.Errorf("%q: status %d, stdout %q, stderr %q; want %q", tt.args, status, stdout, stderr, tt.want)
		}
	}
}

func TestToken(t *testing.T) {
	environ := []string{"RINGBACK_SECRET=" + strings.Repeat("x", 32), "RINGBACK_SECRET=" + testSecret}
	tests := []struct {
		args   []string
		prefix string
		ttl    time.Duration
	}{
		{nil, "04", time.Hour},
		{[]string{"--secret", testSecret}, "04", time.Hour},
		{[]string{"--format=jwt", "-ttl=31s"}, "eyJ", 31 * time.Second},
	}
	for _, tt := range tests {
		now := time.Now()
		status, stdout, stderr := ringback(t, environ, append([]string{"token", "--app", "7", "--user", "alice"}, tt.args...)...)
		if status != 0 || stderr != "" || !strings.HasPrefix(stdout, tt.prefix) {
			t.Fatalf("%q: status %d, stdout %q, stderr %q", tt.args, status, stdout, stderr)
		}
		expires, err := auth.Verify(strings.TrimSuffix(stdout, "\n"), 7, "alice", testSecret, now.Truncate(time.Second))
		if err != nil {
			t.Fatalf("%q: %v", tt.args, err)
		}
		if off := expires.Sub(now) - tt.ttl; off < -time.Second || off > time.Minute {
			t.Errorf("%q: expires in %v", tt.args, expires.Sub(now))
		}
	}
}

func TestTokenSecretLength(t *testing.T) {
	status, stdout, stderr := ringback(t, []string{"RINGBACK_SECRET=hunter2"}, "token", "--app", "1", "--user", "alice")
	if status != 1 || stdout != "" || !strings.Contains(stderr, "has 7 bytes") || strings.Contains(stderr, "hunter2") {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
}

// file makes a configuration file.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ringback.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheck(t *testing.T) {
	const app = "apps:\n- id: 1\n  secret: " + testSecret + "\n"
	valid := file(t, app)
	warned := file(t, "admin_token: x\n"+app)
	wrong := file(t, "listen: 8080\nretention: soon\n")
	tests := []struct {
		environ        []string
		args           []string
		status         int
		stdout, stderr string
	}{
		{nil, []string{"--config", valid}, 0, valid + " is valid\n", ""},
		{
			nil,
			[]string{"--config", warned},
			0,
			warned + " is valid\n",
			"warning: " + warned + ":1: admin_token: has only 1 characters, which can be guessed; make one with: openssl rand -hex 24\n",
		},
		{
			nil,
			[]string{"--config", wrong},
			1, "",
			wrong + `:1: listen: "8080" is not host:port; write one such as 127.0.0.1:8080, or :8080 for all addresses` + "\n" +
				wrong + `:2: retention: "soon" is not a duration; write one such as 500ms, 10s, 2m or 24h` + "\n" +
				"ringback: " + wrong + " has 2 mistakes\n",
		},
		{
			[]string{"RINGBACK_LISTN=:1"},
			[]string{"--config", valid},
			1, "",
			"RINGBACK_LISTN: is not a setting; did you mean RINGBACK_LISTEN?\nringback: " + valid + " has 1 mistake\n",
		},
		{
			[]string{"RINGBACK_APPS_0_ID=1", "RINGBACK_APPS_0_SECRET=" + testSecret},
			nil, 0,
			"the environment is valid\n", "",
		},
		{
			nil,
			[]string{"--config", "nowhere.yaml"},
			1, "",
			"nowhere.yaml: cannot be read: no such file or directory\nringback: nowhere.yaml has 1 mistake\n",
		},
	}
	for _, tt := range tests {
		status, stdout, stderr := ringback(t, tt.environ, append([]string{"check"}, tt.args...)...)
		if status != tt.status || stdout != tt.stdout || stderr != tt.stderr {
			t.Errorf("%q %q:\n got %d\n%s%s\nwant %d\n%s%s", tt.environ, tt.args, status, stdout, stderr, tt.status, tt.stdout, tt.stderr)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, arg := range []string{"version", "--version"} {
		status, stdout, stderr := ringback(t, nil, arg)
		if status != 0 || stderr != "" || !strings.HasPrefix(stdout, "ringback ") || strings.Count(stdout, "\n") != 1 {
			t.Errorf("%s: status %d, stdout %q, stderr %q", arg, status, stdout, stderr)
		}
	}
}

func TestDescribe(t *testing.T) {
	built := &debug.BuildInfo{
		Main: debug.Module{Version: "v1.2.3"},
		Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"},
			{Key: "vcs.modified", Value: "true"},
		},
	}
	tests := []struct {
		release string
		info    *debug.BuildInfo
		want    string
	}{
		{"v2.0.0", built, "v2.0.0 (commit 0123456789ab with changes, go"},
		{"", built, "v1.2.3 (commit 0123456789ab with changes, go"},
		{"", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "devel (go"},
		{"", nil, "devel (go"},
	}
	for _, tt := range tests {
		if got := describe(tt.release, tt.info); !strings.HasPrefix(got, tt.want) {
			t.Errorf("describe(%q): %q, want %q…", tt.release, got, tt.want)
		}
	}
}

func TestReport(t *testing.T) {
	var stderr strings.Builder
	if status := report(errors.New("the disk is full"), &stderr); status != 1 || stderr.String() != "ringback: the disk is full\n" {
		t.Errorf("status %d, stderr %q", status, stderr.String())
	}
}
