package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringback/ringback/internal/config"
)

// checkReport is what check prints as JSON.
type checkReport struct {
	Subject  string         `json:"subject"` // the file, or "the environment"
	Valid    bool           `json:"valid"`
	Mistakes []checkProblem `json:"mistakes"`
	Warnings []checkProblem `json:"warnings"`
}

// checkProblem is a [config.Problem] as JSON.
type checkProblem struct {
	Where   string `json:"where"` // the file or the variable; "" for a default
	Line    int    `json:"line"`  // 0: none
	Key     string `json:"key"`   // "" for the file as a whole
	Message string `json:"message"`
}

func checkProblems(problems []config.Problem) []checkProblem {
	list := make([]checkProblem, len(problems))
	for i, p := range problems {
		list[i] = checkProblem{p.File, p.Line, p.Key, p.Message}
	}
	return list
}

// newCheckCommand validates a configuration: mistakes and warnings go to
// stderr, the good news to stdout.
func newCheckCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [--config FILE]",
		Short: "validate a configuration",
		Long: "Validates a configuration, with the RINGBACK_ variables of the environment, and\n" +
			"prints every mistake. Exits with status 1 if there is one; warnings do no harm.",
		Example: "  ringback check --config ringback.yaml\n" +
			"  RINGBACK_APPS_0_ID=1 RINGBACK_APPS_0_SECRET=$SECRET ringback check",
		Args: flagsOnly,
	}
	file := fileFlag(cmd, "config", "the configuration `FILE`; without it only the environment is validated")
	out := newOutput(e, cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		subject := *file
		if subject == "" {
			subject = "the environment"
		}
		c, err := config.Load(*file, e.environ)
		problems, wrong := errors.AsType[*config.Problems](err)
		switch {
		case wrong:
			return e.printMistakes(out, subject, problems.List)
		case err != nil:
			return err
		}
		warnings := c.Warnings()
		if !out.json {
			for _, warning := range warnings {
				fmt.Fprintln(e.stderr, "warning:", warning)
			}
		}
		report := checkReport{subject, true, checkProblems(nil), checkProblems(warnings)}
		return out.print(report, func(p *printer) error { return p.printf("%s is valid\n", subject) })
	}
	return cmd
}

// printMistakes prints the mistakes of a configuration, and counts them in its
// error.
func (e *env) printMistakes(out *output, subject string, list []config.Problem) error {
	err := out.print(checkReport{subject, false, checkProblems(list), checkProblems(nil)}, func(*printer) error {
		for _, problem := range list {
			fmt.Fprintln(e.stderr, problem)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(list) == 1 {
		return fmt.Errorf("%s has 1 mistake", subject)
	}
	return fmt.Errorf("%s has %d mistakes", subject, len(list))
}
