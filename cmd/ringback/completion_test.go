package main

import (
	"strings"
	"testing"
)

func TestCompletionScripts(t *testing.T) {
	for shell, want := range map[string]string{
		"bash": "complete -o default -F __start_ringback", "zsh": "#compdef ringback", "fish": "complete -c ringback", "powershell": "Register-ArgumentCompleter",
	} {
		status, stdout, stderr := ringback(t, nil, "completion", shell)
		if status != 0 || stderr != "" || !strings.Contains(stdout, want) {
			t.Errorf("%s: status %d, stderr %q, %d bytes without %q", shell, status, stderr, len(stdout), want)
		}
	}
}

// The scripts ask the program for what may come next.
func TestCompletions(t *testing.T) {
	const noFiles = ":4"
	for line, want := range map[string]string{
		"tok":                             "token\tprint a login token\n" + noFiles,
		"token --format ":                 "token04\njwt\n" + noFiles,
		"serve --log-level ":              "debug\ninfo\nwarn\nerror\n" + noFiles,
		"serve --log-format=":             "text\njson\n" + noFiles,
		"token --user ":                   noFiles,
		"check ":                          noFiles,
		"check --config ":                 "yaml\nyml\n:8",
		"serve --data-dir ":               ":16",
		"calls list --state ":             "live\nended\n" + noFiles,
		"deliveries list --status ":       "pending\ndelivered\nfailed\n" + noFiles,
		"apps rotate 7 ":                  "app\ncallback\n" + noFiles,
		"endpoints update 3 --when-down ": "retry\nhold\n" + noFiles,
		"calls show ":                     noFiles,
		"trigger ":                        strings.Join(eventNames(), "\n") + "\n" + noFiles,
		"listen --event ":                 strings.Join(eventNames(), "\n") + "\nall\n" + noFiles,
		"completion ":                     "bash\nzsh\nfish\npowershell\n" + noFiles,
		"help tok":                        "token\tprint a login token\n" + noFiles,
	} {
		words := strings.Split(line, " ")
		status, stdout, _ := ringback(t, nil, append([]string{"__complete"}, words...)...)
		if status != 0 || !strings.HasPrefix(stdout, want+"\n") {
			t.Errorf("%q: status %d, %q, want %q", line, status, stdout, want)
		}
	}
}
