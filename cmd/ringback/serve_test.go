package main

import (
	"bytes"
	"errors"
	"testing"
)

// A forgotten --config does not leave a server running that nobody can use.
func TestServeNothing(t *testing.T) {
	var out, errOut bytes.Buffer
	err := run(t.Context(), []string{"serve"}, nil, &out, &errOut)
	var usage *usageError
	if !errors.As(err, &usage) {
		t.Errorf("serve without a configuration: %v", err)
	}
}
