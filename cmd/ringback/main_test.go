package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

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
		for _, c := range newRoot(new(env)).Commands() {
			if !strings.Contains(stdout, "\n  "+c.Name()+" ") || !strings.Contains(stdout, "  "+c.Short+"\n") {
				t.Errorf("%q: nothing of %s in\n%s", args, c.Name(), stdout)
			}
		}
		for _, heading := range []string{"\nServer:\n", "\nDevelop:\n", "\nOperate:\n", "\nOther commands:\n"} {
			if strings.Count(stdout, heading) != 1 {
				t.Errorf("%q: no %q in\n%s", args, heading, stdout)
			}
		}
	}
}

// Every command says what it does, and shows command lines that it takes.
func TestHelpOfEveryCommand(t *testing.T) {
	each(newRoot(new(env)), func(c *cobra.Command) {
		path := strings.Fields(c.CommandPath())[1:]
		for _, args := range [][]string{
			append([]string{"help"}, path...), append(slices.Clone(path), "-h"), append(slices.Clone(path), "--help"),
		} {
			status, stdout, stderr := ringback(t, nil, args...)
			if status != 0 || stderr != "" || !strings.Contains(stdout, "\nUsage:\n  "+c.CommandPath()) ||
				!strings.Contains(stdout, "\nFlags:\n") || !strings.HasSuffix(stdout, "\n") {
				t.Errorf("%q: status %d, stdout %q, stderr %q", args, status, stdout, stderr)
			}
		}
		if c.Short == "" || c.Long == "" || c.Example == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short %q, long %q, example %q", c.CommandPath(), c.Short, c.Long, c.Example)
		}
		for line := range strings.Lines(c.Example) {
			testExample(t, c, line)
		}
	})
}

// testExample parses the flags of an example's line. Variables and pipes are
// the shell's.
func testExample(t *testing.T, c *cobra.Command, line string) {
	t.Helper()
	words := strings.Fields(line)
	at := slices.IndexFunc(words, func(w string) bool { return strings.TrimPrefix(w, "<(") == "ringback" })
	if at < 0 {
		t.Errorf("%s: no command line in the example %q", c.CommandPath(), line)
		return
	}
	words = words[at+1:]
	if end := slices.IndexFunc(words, func(w string) bool { return strings.ContainsAny(w[:1], "#|>") }); end >= 0 {
		words = words[:end]
	}
	found, rest, err := newRoot(new(env)).Find(words)
	if err == nil && (found == c || strings.HasPrefix(found.CommandPath()+" ", c.CommandPath()+" ")) {
		found.InitDefaultHelpFlag()
		err = found.ParseFlags(rest)
	} else if err == nil {
		err = fmt.Errorf("it is one of %s", found.CommandPath())
	}
	if err != nil {
		t.Errorf("%s: the example %q: %v", c.CommandPath(), line, err)
	}
}

// each visits a command and all below it.
func each(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, child := range c.Commands() {
		each(child, visit)
	}
}

func TestNoCommand(t *testing.T) {
	status, stdout, stderr := ringback(t, nil)
	if status != 2 || stdout != "" || !strings.Contains(stderr, "\nUsage:\n  ringback COMMAND") {
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
		{[]string{"vers"}, `unknown command "vers"; did you mean "version"?`},
		{[]string{"start", "--config", "x"}, `unknown command "start"; did you mean "serve"?`},
		{[]string{"tokn", "--app", "1"}, `unknown command "tokn"; did you mean "token"?`},
		{[]string{"tokn", "--help"}, `unknown command "tokn"; did you mean "token"?`},
		{[]string{"--frob", "token"}, "unknown flag --frob"},
		{[]string{"help", "token", "check"}, `ringback token has no commands of its own, such as "check"`},
		{[]string{"version", "1"}, `version takes flags only, not "1"`},
		{[]string{"check", "ringback.yaml"}, `check takes flags only, not "ringback.yaml"`},
		{[]string{"check", "--confg", "x"}, "unknown flag --confg; did you mean --config?"},
		{[]string{"check", "-config", "x"}, "unknown flag -config; did you mean --config?"},
		{[]string{"check", "--config"}, "--config needs a value"},
		{[]string{"check", "--json=maybe"}, `--json is "maybe"; it must be true or false`},
		{[]string{"bench", "--connections", "many"}, `--connections is "many"; it must be a whole number`},
		{[]string{"bench", "--duration", "10"}, `--duration is "10"; it must be a duration, such as 500ms, 10s or 2m`},
		{[]string{"serve", "--log-level", "loud"}, `--log-level is "loud"; it must be debug, info, warn or error`},
		{[]string{"dev", "--log-format", "xml"}, `--log-format is "xml"; it must be text or json`},
		{[]string{"completion"}, "completion needs a SHELL; it must be bash, zsh, fish or powershell"},
		{[]string{"completion", "cmd"}, `SHELL is "cmd"; it must be bash, zsh, fish or powershell`},
		{[]string{"certify"}, "certify needs a URL"},
		{[]string{"certify", "http://a", "http://b"}, `certify takes one URL, not "http://b" too`},
		{[]string{"certify", "http://a"}, "certify needs the secret of the callbacks, as RINGBACK_CALLBACK_SECRET or --secret"},
		{[]string{"certify", "a", "--secret", "s"}, "the receiver needs a URL such as https://backend.example.com/callbacks"},
		{[]string{"certify", "http://a", "--secret", "s", "--timeout", "0s"}, "--timeout is 0s; it must be above 0"},
		{[]string{"certify", "http://a", "--event", "call_create,call_crate"}, `--event is "call_create,call_crate"; did you mean call_create? it must be call_create, call_cancel, `},
		{[]string{"token"}, "token needs --app, a number from 1 to 4294967295"},
		{[]string{"token", "--app", "0"}, `--app is "0"; it must be a number from 1 to 4294967295`},
		{[]string{"token", "--app", "4294967296"}, `--app is "4294967296"; it must be a number from 1 to 4294967295`},
		{[]string{"token", "--app", "1"}, "token needs --user"},
		{[]string{"token", "--app", "1", "--user", "alice"}, "token needs the app's secret, as RINGBACK_SECRET or --secret"},
		{append(token, "--user", "al/ice"), `"al/ice" is not a user ID: it may have 32 bytes of ASCII letters, digits, spaces and some signs`},
		{append(token, "--ttl", "30s"), "a token must be valid for more than 30s; --ttl is 30s"},
		{append(token, "--format", "token03"), `--format is "token03"; it must be token04 or jwt`},
	}
	for _, tt := range tests {
		status, stdout, stderr := ringback(t, nil, tt.args...)
		if status != 2 || stdout != "" || !strings.HasPrefix(stderr, "ringback: "+tt.want) || strings.Count(stderr, "\n") != 2 || !strings.Contains(stderr, "\nRun 'ringback") || !strings.HasSuffix(stderr, " --help' for usage.\n") {
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
		{[]string{"--format=jwt", "--ttl=31s"}, "eyJ", 31 * time.Second},
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
