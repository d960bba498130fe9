package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	for _, colour := range []bool{false, true} {
		var b strings.Builder
		table := (&printer{&b, colour}).table("ID", "STATE", "NOTE")
		table.row(7, cell{red, "failed"}, "a\tb\n\x1b[2J\u202e")
		table.row("long name", cell{green, "ok"}, "👩\u200d👧")
		if err := table.flush(); err != nil {
			t.Fatal(err)
		}
		got := b.String()
		if colour {
			if !strings.Contains(got, "\x1b[31mfailed\x1b[0m") || !strings.Contains(got, "\x1b[01mID\x1b[0m") {
				t.Errorf("no colours in %q", got)
			}
			for _, s := range []style{plain, bold, faint, red, green, yellow, styleEnd} {
				got = strings.ReplaceAll(got, string(s), "")
			}
		}
		want := "ID         STATE   NOTE\n7          failed  a�b��[2J�\nlong name  ok      👩\u200d👧\n"
		if got != want {
			t.Errorf("colour %v:\n%q, want\n%q", colour, got, want)
		}
	}
}

// What is no terminal gets no colours.
func TestColour(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if newPrinter(&env{stdout: f}).colour || newPrinter(&env{stdout: new(strings.Builder)}).colour {
		t.Error("a file or a buffer gets colours")
	}
}

func TestJSON(t *testing.T) {
	valid := file(t, "admin_token: x\napps:\n- id: 1\n  secret: "+testSecret+"\n")
	wrong := file(t, "listen: 8080\n")
	tests := []struct {
		args   []string
		status int
		stderr string
		want   map[string]any
	}{
		{[]string{"version"}, 0, "", map[string]any{"version": versionText()}},
		{[]string{"token", "--app", "7", "--user", "alice", "--secret", testSecret}, 0, "", map[string]any{"app_id": 7.0, "user_id": "alice", "format": "token04"}},
		{[]string{"check", "--config", valid}, 0, "", map[string]any{"subject": valid, "valid": true}},
		{[]string{"check", "--config", wrong}, 1, "ringback: " + wrong + " has 1 mistake\n", map[string]any{"subject": wrong, "valid": false}},
	}
	for _, tt := range tests {
		status, stdout, stderr := ringback(t, nil, append(tt.args, "--json")...)
		var got map[string]any
		dec := json.NewDecoder(strings.NewReader(stdout))
		if err := dec.Decode(&got); err != nil || dec.More() || status != tt.status || stderr != tt.stderr {
			t.Errorf("%q: status %d, stderr %q, %v in %s", tt.args, status, stderr, err, stdout)
		}
		for name, want := range tt.want {
			if got[name] != want {
				t.Errorf("%q: %s is %v, want %v", tt.args, name, got[name], want)
			}
		}
		for _, list := range []string{"mistakes", "warnings"} {
			if _, ok := got[list].([]any); tt.args[0] == "check" && !ok {
				t.Errorf("%q: %s is %v, want a list", tt.args, list, got[list])
			}
		}
	}
	_, stdout, _ := ringback(t, nil, "check", "--json", "--config", valid)
	if !strings.Contains(stdout, `"key": "admin_token"`) || !strings.Contains(stdout, `"line": 1`) {
		t.Errorf("no warning in %s", stdout)
	}
	_, stdout, _ = ringback(t, nil, "token", "--app", "7", "--user", "alice", "--secret", testSecret, "--json")
	var token tokenReport
	if err := json.Unmarshal([]byte(stdout), &token); err != nil || !strings.HasPrefix(token.Token, "04") || !token.ExpiresAt.After(time.Now()) {
		t.Errorf("%v, %v", token, err)
	}
}
