package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringback/ringback/internal/config"
)

// The document is what the structs give.
func TestCurrent(t *testing.T) {
	want, err := generate("../config.go")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/configuration.md is not what internal/config says (or was changed by hand); run: make generate")
	}
}

// Every variable that the table names is one, and every default is what the
// server takes it for.
func TestVariables(t *testing.T) {
	list, err := settings("../config.go")
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 30 {
		t.Fatalf("there are %d settings only", len(list))
	}
	for _, s := range list {
		if s.Env == "" {
			continue
		}
		text := strings.Trim(s.Example, `[]"`)
		environ := []string{s.Env + "=" + text}
		for _, must := range list {
			if must.Must() && must != s {
				environ = append(environ, must.Env+"="+must.Example)
			}
		}
		if _, err := config.Load("", environ); err != nil {
			t.Errorf("%s=%s: %v", s.Env, text, err)
		}
	}
}

func TestMeaning(t *testing.T) {
	for _, test := range []struct{ field, comment, want string }{
		{"Listen", "Listen is the address. More.", "The address. More."},
		{"Retry", "Retry are the pauses.", "The pauses."},
		{"Secret", "Secret signs callbacks.", "Signs callbacks."},
		{"Secret", "It signs callbacks.", ""},
		{"Secret", "Secret signs callbacks", ""},
		{"Name", "Name has at most [MaxName] bytes.", ""},
	} {
		got, err := meaning(test.field, test.comment)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%q: got %q, %v; want %q", test.comment, got, err, test.want)
		}
	}
}

// A field without a comment is a mistake, not an empty cell.
func TestUndocumented(t *testing.T) {
	src, err := os.ReadFile("../config.go")
	if err != nil {
		t.Fatal(err)
	}
	bare := strings.Replace(string(src), "	// Burst is", "	// Says", 1)
	file := filepath.Join(t.TempDir(), "config.go")
	if err := os.WriteFile(file, []byte(bare), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := generate(file); err == nil || !strings.Contains(err.Error(), "Burst") {
		t.Errorf("got %v", err)
	}
}

func TestDefaults(t *testing.T) {
	list, err := settings("../config.go")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"heartbeat_interval": "10s", "absence_timeout": "2m", "max_call_duration": "24h",
		"apps[].callbacks[].retry": "[2s, 4s, 8s, 16s, 32s]", "apps[].id": "", "apps[].name": `""`, "limits.server_api": "0",
	}
	for _, s := range list {
		if w, ok := want[s.Key]; ok && s.Default != w {
			t.Errorf("%s: %q, want %q", s.Key, s.Default, w)
		}
	}
}
