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
		"must be a number": {"--app", "x"},
		"name them by":     {"--spread", "--url", "http://localhost"},
		"one of the two":   {"--url", "http://localhost", "--nodes", "http://localhost,http://localhost:81"},
		"has no host":      {"--nodes", "localhost", "--app", "1", "--secret", "s"},
	} {
		err := run(t.Context(), append([]string{"bench"}, args...), nil, io.Discard, io.Discard)
		if usage, ok := errors.AsType[*usageError](err); !ok || !strings.Contains(usage.message, want) {
			t.Errorf("got %v, want a mistake in the command line with %q", err, want)
		}
	}
}

func TestBenchHelp(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"bench", "-h"}, nil, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ringback bench [flags]", "--rate", "--nodes", "--allow-remote"} {
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
