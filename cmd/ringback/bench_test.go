package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

func TestBenchMistakes(t *testing.T) {
	for want, args := range map[string][]string{
		"another machine":  {"--url", "http://example.com", "--app", "1", "--secret", "s"},
		"an app":           {"--url", "http://localhost"},
		"at least 2":       {"--connections", "1"},
		"takes flags only": {"now"},
		"--app":            {"--app", "x"},
	} {
		err := runBench(t.Context(), args, nil, io.Discard, io.Discard)
		if want == "--app" {
			if _, ok := errors.AsType[*usageError](err); !ok {
				t.Errorf("got %v, want a mistake in the command line", err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want a word of %s", err, want)
		}
	}
}

func TestBenchHelp(t *testing.T) {
	var out bytes.Buffer
	if err := runBench(t.Context(), []string{"-h"}, nil, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Usage: ringback bench", "-rate", "-allow-remote"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the help does not say %s:\n%s", want, out.String())
		}
	}
}

func TestIsTerminal(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if isTerminal(f) || isTerminal(new(bytes.Buffer)) {
		t.Error("a file or a buffer is taken for a terminal")
	}
}
