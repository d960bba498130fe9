package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/pflag"
)

// documents are those that people read, from the root of the project.
func documents(t *testing.T) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/adr/*.md", "examples/*/*.md"} {
		files, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			out[file] = string(text)
		}
	}
	if len(out) < 10 {
		t.Fatalf("there are %d documents only", len(out))
	}
	return out
}

var (
	fence      = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")
	inlineCode = regexp.MustCompile("`([^`\n]+)`")
	link       = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading    = regexp.MustCompile(`(?m)^#+ (.+)$`)
)

// Links within the project lead to files, and to headings in them.
func TestLinks(t *testing.T) {
	texts := documents(t)
	links := 0
	for file, text := range texts {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			path, anchor, _ := strings.Cut(m[1], "#")
			target := filepath.Join(filepath.Dir(file), path)
			if path == "" {
				target = file
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: the link %s leads nowhere", file, m[1])
			} else if anchor != "" && !slices.Contains(anchors(texts[target]), anchor) {
				t.Errorf("%s: the link %s leads to no heading; there are %v", file, m[1], anchors(texts[target]))
			}
		}
	}
	if links < 20 {
		t.Errorf("there are %d links only", links)
	}
}

// anchors are the names of the headings of a document.
func anchors(text string) []string {
	var out []string
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		out = append(out, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1]))
	}
	return out
}

// Command lines of ringback in the documents are such that it takes.
func TestDocumentedCommands(t *testing.T) {
	lines := 0
	for file, text := range documents(t) {
		var scripts []string
		for _, m := range fence.FindAllStringSubmatch(text, -1) {
			if m[1] == "sh" {
				scripts = append(scripts, m[2])
			}
		}
		for _, m := range inlineCode.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			scripts = append(scripts, m[1])
		}
		for _, script := range scripts {
			for _, args := range commandLines(script) {
				lines++
				if err := accepts(args); err != nil {
					t.Errorf("%s: ringback %s: %v", file, strings.Join(args, " "), err)
				}
			}
		}
	}
	if lines < 20 {
		t.Errorf("there are %d command lines only", lines)
	}
}

var (
	comment    = regexp.MustCompile(`(?m)(^|\s)#.*$`)
	assignment = regexp.MustCompile(`^[A-Z_]+=`)
)

// commandLines gives the arguments of each ringback in a script of a shell.
// Quotes and variables stay in them.
func commandLines(script string) [][]string {
	var out [][]string
	script = strings.ReplaceAll(comment.ReplaceAllString(script, ""), "\\\n", " ")
	for _, part := range strings.FieldsFunc(script, func(r rune) bool { return strings.ContainsRune("|;&()<>\n", r) }) {
		words := strings.Fields(part)
		for len(words) > 0 && assignment.MatchString(words[0]) {
			words = words[1:]
		}
		if len(words) > 2 && words[0] == "go" && words[1] == "run" && words[2] == "./cmd/ringback" {
			words = words[2:]
		}
		if len(words) > 1 && (words[0] == "./cmd/ringback" || words[0] == "./ringback" || words[0] == "ringback") {
			out = append(out, words[1:])
		}
	}
	return out
}

// accepts says whether there is such a command with such flags.
func accepts(args []string) error {
	cmd, rest, err := newRoot(new(env)).Find(args)
	if err != nil {
		return err
	}
	if cmd.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return fmt.Errorf("%s has no command %q", cmd.CommandPath(), rest[0])
	}
	cmd.InitDefaultHelpFlag()
	err = cmd.ParseFlags(rest)
	if _, placeholder := errors.AsType[*pflag.InvalidValueError](err); placeholder && isPlaceholder(rest) {
		return nil
	}
	return err
}

// isPlaceholder reports whether a value stands for one, such as ID or $SECRET.
func isPlaceholder(args []string) bool {
	return slices.ContainsFunc(args, func(s string) bool { return s == strings.ToUpper(s) || strings.Contains(s, "$") })
}

func TestCommandLines(t *testing.T) {
	const script = "# ringback nothing\n" +
		"A=1 ./ringback calls show \"$(./ringback calls list --limit 1 | cut -c1)\"   # ringback of another kind\n" +
		"go run ./cmd/ringback dev \\\n  --ring && ringbackup x; ringback\n"
	want := [][]string{{"calls", "show", `"$`}, {"calls", "list", "--limit", "1"}, {"dev", "--ring"}}
	if got := commandLines(script); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for args, ok := range map[string]bool{
		"dev --ring": true, "dev --rings": false, "devv": false, "token --app 1": true, "token --app ID": true,
		"token --app one": false, "completion bash": true, "--nothing": false,
	} {
		if err := accepts(strings.Fields(args)); (err == nil) != ok {
			t.Errorf("%q: got %v", args, err)
		}
	}
}
