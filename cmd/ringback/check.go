package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ringback/ringback/internal/config"
)

// runCheck validates a configuration: mistakes and warnings go to stderr, the
// good news to stdout.
func runCheck(_ context.Context, args, environ []string, stdout, stderr io.Writer) error {
	fs := newFlags("check", "[--config FILE]",
		"Validates a configuration, with the RINGBACK_ variables of the environment, and\n"+
			"prints every mistake. Exits with status 1 if there is one; warnings do no harm.")
	file := fs.String("config", "", "the configuration `FILE`; without it only the environment is validated")
	if done, err := parse(fs, args, stdout); done || err != nil {
		return err
	}
	subject := *file
	if subject == "" {
		subject = "the environment"
	}

	c, err := config.Load(*file, environ)
	var problems *config.Problems
	switch {
	case errors.As(err, &problems):
		fmt.Fprintln(stderr, problems)
		mistakes := "1 mistake"
		if n := len(problems.List); n > 1 {
			mistakes = fmt.Sprintf("%d mistakes", n)
		}
		return fmt.Errorf("%s has %s", subject, mistakes)
	case err != nil:
		return err
	}
	for _, warning := range c.Warnings() {
		fmt.Fprintln(stderr, "warning:", warning)
	}
	_, err = fmt.Fprintf(stdout, "%s is valid\n", subject)
	return err
}
