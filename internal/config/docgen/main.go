// Command docgen writes docs/configuration.md from the structs of package
// config: their comments, tags and defaults. Run "go generate
// ./internal/config", or "make generate".
//
// What is prose stands in configuration.md.tmpl beside this file.
package main

import (
	"fmt"
	"os"
)

// The places of things as seen from the directory of package config, in which
// go generate runs this program.
const (
	source = "config.go"
	target = "../../docs/configuration.md"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
}

func run() error {
	text, err := generate(source)
	if err != nil {
		return err
	}
	return os.WriteFile(target, text, 0o644)
}
