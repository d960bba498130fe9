package console

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/auth"
	"github.com/ringback/ringback/internal/need"
)

const snippetSecret = "0123456789abcdef0123456789abcdef"

// snippet gives a snippet for app 7.
func snippet(t *testing.T, language string, choose func(snippets) string) string {
	t.Helper()
	for _, l := range snippetsFor(7) {
		if l.Name == language {
			return choose(l)
		}
	}
	t.Fatalf("there is no code in %s", language)
	return ""
}

// program finds an interpreter, as the tests of the example receivers do.
func program(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	need.Missing(t, strings.TrimSuffix(names[0], "3"), "there is no "+names[0]+": run scripts/setup")
	return ""
}

// execute writes files, runs a program in their directory and gives what it
// prints.
func execute(t *testing.T, files map[string]string, name string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	for file, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", name, err, out, problems.String())
	}
	return strings.TrimSpace(string(out))
}

// The tokens that the code makes let a device in.
func TestTokenSnippets(t *testing.T) {
	token := func(l snippets) string { return l.Token }
	call := `("alice", "` + snippetSecret + `")`
	for language, run := range map[string]func(t *testing.T, code string) string{
		"Go": func(t *testing.T, code string) string {
			return execute(t, map[string]string{
				"go.mod": "module snippet\n\ngo 1.26\n", "tokens/tokens.go": code,
				"main.go": "package main\n\nimport (\n\t\"fmt\"\n\n\t\"snippet/tokens\"\n)\n\nfunc main() {\n\tfmt.Println(tokens.Login" + call + ")\n}\n",
			}, program(t, "go"), "run", ".")
		},
		"Node.js": func(t *testing.T, code string) string {
			return execute(t, map[string]string{"token.mjs": code, "main.mjs": "import { login } from './token.mjs'; console.log(login" + call + ")"}, program(t, "node"), "main.mjs")
		},
		"Python": func(t *testing.T, code string) string {
			return execute(t, map[string]string{"token_code.py": code, "main.py": "from token_code import login\nprint(login" + call + ")"}, program(t, "python3"), "main.py")
		},
		"PHP": func(t *testing.T, code string) string {
			return execute(t, map[string]string{"token.php": code, "main.php": "<?php require 'token.php'; echo login" + call + ";"}, program(t, "php"), "main.php")
		},
	} {
		t.Run(language, func(t *testing.T) {
			made, _, _ := strings.Cut(run(t, snippet(t, language, token)), " <nil>") // Go prints the error too
			if _, err := auth.Verify(made, 7, "alice", snippetSecret, time.Now()); err != nil {
				t.Errorf("%q: %v", made, err)
			}
			if _, err := auth.Verify(made, 8, "alice", snippetSecret, time.Now()); err == nil {
				t.Error("it lets into another app")
			}
		})
	}
}

// The receivers tell what is signed from what is not.
func TestReceiverSnippets(t *testing.T) {
	const body = `{"event":"call_end","call_id":"1"}`
	at := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(snippetSecret))
	mac.Write([]byte("evt_1." + at + "." + body))
	good := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	forged := "v1," + base64.StdEncoding.EncodeToString(make([]byte, sha256.Size))
	old := strconv.FormatInt(time.Now().Unix()-3600, 10)
	cases := []struct {
		At, Signature string
		Want          bool
	}{{at, good, true}, {at, forged + " " + good, true}, {at, forged, false}, {at, "", false}, {old, good, false}, {"", good, false}}
	input, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	want := "true true false false false false"
	receiver := func(l snippets) string { return l.Receiver }
	for language, run := range map[string]func(t *testing.T, code string) string{
		"Node.js": func(t *testing.T, code string) string {
			code, _, _ = strings.Cut(code, "createServer(async") // without the server
			return execute(t, map[string]string{"receiver.mjs": code, "cases.json": string(input), "main.mjs": `
import { readFileSync } from 'node:fs';
import { verify } from './receiver.mjs';
console.log(JSON.parse(readFileSync('cases.json')).map((c) => verify({'webhook-id': 'evt_1', 'webhook-timestamp': c.At, 'webhook-signature': c.Signature}, '` + body + `', '` + snippetSecret + `')).join(' '));
`}, program(t, "node"), "main.mjs")
		},
		"Python": func(t *testing.T, code string) string {
			return execute(t, map[string]string{"receiver.py": code, "cases.json": string(input), "main.py": `
import json
from receiver import verify
print(" ".join(str(verify({"webhook-id": "evt_1", "webhook-timestamp": c["At"], "webhook-signature": c["Signature"]}, b'` + body + `', "` + snippetSecret + `")).lower() for c in json.load(open("cases.json"))))
`}, program(t, "python3"), "main.py")
		},
		"PHP": func(t *testing.T, code string) string {
			code, _, _ = strings.Cut(code, "$body = ") // without the request
			return execute(t, map[string]string{"receiver.php": code, "cases.json": string(input), "main.php": `<?php
require 'receiver.php';
$said = [];
foreach (json_decode(file_get_contents('cases.json'), true) as $c) {
    $said[] = verify(['HTTP_WEBHOOK_ID' => 'evt_1', 'HTTP_WEBHOOK_TIMESTAMP' => $c['At'], 'HTTP_WEBHOOK_SIGNATURE' => $c['Signature']], '` + body + `', '` + snippetSecret + `') ? 'true' : 'false';
}
echo implode(' ', $said);
`}, program(t, "php"), "main.php")
		},
	} {
		t.Run(language, func(t *testing.T) {
			if got := run(t, snippet(t, language, receiver)); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
	t.Run("Go", func(t *testing.T) {
		module, err := filepath.Abs("../..")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "main.go")
		if err := os.WriteFile(file, []byte(snippet(t, "Go", receiver)), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), program(t, "go"), "vet", file) // within the module, whose packages it imports
		cmd.Dir = module
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
}
