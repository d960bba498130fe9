package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringback/ringback/internal/certify"
)

// callbackSecretVariable names the environment variable of the secret that
// signs callbacks.
const callbackSecretVariable = "RINGBACK_CALLBACK_SECRET"

// newCertifyCommand tests a receiver of callbacks.
func newCertifyCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "certify URL",
		Short: "test a receiver of callbacks against the contract",
		Long: "Sends callbacks to a receiver, good ones and forged ones, odd ones, late ones and\n" +
			"such that come twice or out of order, and says of each whether the answer was\n" +
			"right, and if not, what is wrong, why it matters and what to do.\n\n" +
			"The requests have the header Ringback-Test: true, and are about calls and users\n" +
			"that do not exist; still, test a receiver that is not in use. Without --secret\n" +
			"the secret is read from the environment variable " + callbackSecretVariable + ",\n" +
			"which keeps it out of the history of the shell.\n\n" +
			"Exits with status 1 if a check failed; warnings do no harm.",
		Example: "  ringback certify http://127.0.0.1:3000/callbacks --secret $SECRET\n" +
			"  ringback certify https://staging.example.com/callbacks --event call_create,call_accept\n" +
			"  ringback certify http://127.0.0.1:3000/callbacks --format form --json",
		Args: oneArg("URL"),
	}
	var cfg certify.Config
	flags := cmd.Flags()
	flags.StringVar(&cfg.Secret, "secret", "", "the secret with which callbacks to the receiver are signed")
	app := appFlag(cmd, 1)
	format := choiceFlag(cmd, "format", "json", "`FORMAT` of the bodies: json or form", "json", "form")
	events := choicesFlag(cmd, "event", "send this `EVENT` only; several with commas, or the flag again (default: all)", certify.Events...)
	flags.DurationVar(&cfg.Timeout, "timeout", certify.DefaultTimeout, "`time` to wait for an answer, as the endpoint's timeout")
	flags.DurationVar(&cfg.Limit, "limit", certify.DefaultLimit, "`time` for the whole test")
	out := newOutput(e, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg.URL, cfg.AppID, cfg.Form, cfg.Events = args[0], *app, *format == "form", *events
		if cfg.Secret == "" {
			cfg.Secret = e.lookup(callbackSecretVariable)
		}
		switch {
		case cfg.Secret == "":
			return mistake(cmd, "certify needs the secret of the callbacks, as %s or --secret", callbackSecretVariable)
		case cfg.Timeout <= 0:
			return mistake(cmd, "--timeout is %v; it must be above 0", cfg.Timeout)
		case cfg.Limit <= 0:
			return mistake(cmd, "--limit is %v; it must be above 0", cfg.Limit)
		}
		cfg.Version = versionText()
		if !out.json {
			p := newPrinter(e)
			cfg.Done = func(c *certify.Check) { printCheck(p, c) }
		}
		report, err := certify.Run(cmd.Context(), cfg)
		switch _, wrong := errors.AsType[*certify.ConfigError](err); {
		case wrong:
			return mistake(cmd, "%v", err)
		case errors.Is(err, context.Canceled):
			return errors.New("certify: it was interrupted")
		case err != nil:
			return fmt.Errorf("certify: %w", err)
		}
		err = out.print(report, func(p *printer) error {
			return p.printf("\n%d passed, %d with a warning, %d failed, %d skipped.\n", report.Passed, report.Warned, report.Failed, report.Skipped)
		})
		if err != nil {
			return err
		}
		return report.Err()
	}
	return cmd
}

// printCheck prints one check: a line, and unless it passed, what was sent,
// what came back and what that means. Errors show when the end is printed.
func printCheck(p *printer, c *certify.Check) {
	styles := map[certify.Result]style{certify.Pass: green, certify.Warn: yellow, certify.Fail: red, certify.Skip: faint}
	mark := p.styled(styles[c.Result], strings.ToUpper(string(c.Result)))
	if c.Result == certify.Pass {
		slowest := 0.0
		for _, ex := range c.Exchanges {
			slowest = max(slowest, ex.Milliseconds)
		}
		took := ""
		if len(c.Exchanges) > 0 {
			took = p.styled(faint, fmt.Sprintf("  %.1f ms", slowest))
		}
		p.printf("%s  %-20s %s%s\n", mark, c.Name, c.Title, took)
		return
	}
	p.printf("%s  %-20s %s\n", mark, c.Name, c.Title)
	for _, ex := range c.Exchanges {
		p.printf("        sent      %s\n        answered  %s\n", clean(ex.Sent), clean(ex.Outcome()))
	}
	for _, line := range []struct{ name, text string }{{"wrong", c.Problem}, {"because", c.Why}, {"to do", c.Fix}} {
		if c.Result == certify.Skip && line.name == "wrong" {
			line.name = "reason"
		}
		if line.text != "" {
			p.printf("        %-8s  %s\n", line.name, clean(line.text))
		}
	}
}
