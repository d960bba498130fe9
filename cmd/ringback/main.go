// Command ringback is the Ringback server and its tools.
//
// Run "ringback help" for its commands. The exit status is 0 on success, 2
// after a mistake in the command line, and 1 after any other failure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/ringback/ringback/internal/config/typo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(report(err, os.Stderr))
}

// command is one sub-command.
type command struct {
	name    string
	summary string // what it does, on one line, for the list of commands

	// run does it, until it is done or ctx is. The args are those behind the
	// name. A mistake in them is a [usageError].
	run func(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error
}

// commands returns the sub-commands in the order in which help lists them.
func commands() []command {
	return []command{
		{"dev", "run a server for one person on one machine, with a page to try it", runDev},
		{"serve", "run the server", runServe},
		{"bench", "measure a server with real clients", runBench},
		{"token", "print a login token", runToken},
		{"check", "validate a configuration", runCheck},
		{"version", "print the version", runVersion},
	}
}

// run does what the command line args, without the name of the program, says.
// The environ is in the form of [os.Environ].
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		printUsage(stderr)
		return &usageError{}
	}
	name, rest := args[0], args[1:]
	switch name {
	case "-h", "-help", "--help":
		name = "help"
	case "-version", "--version":
		name = "version"
	}
	if name == "help" {
		switch len(rest) {
		case 0:
			printUsage(stdout)
			return nil
		case 1:
			name, rest = rest[0], []string{"-h"}
		default:
			return &usageError{message: "help takes one command at most"}
		}
	}
	var names []string
	for _, c := range commands() {
		if c.name == name {
			return c.run(ctx, rest, environ, stdout, stderr)
		}
		names = append(names, c.name)
	}
	message := fmt.Sprintf("unknown command %q", name)
	if meant := typo.Closest(name, names); meant != "" {
		message += fmt.Sprintf("; did you mean %q?", meant)
	}
	return &usageError{message: message}
}

// printUsage lists the commands.
func printUsage(w io.Writer) {
	var b strings.Builder
	b.WriteString("Ringback is a self-hosted server for call invitations.\n\nUsage: ringback COMMAND [flags]\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-9s %s\n", c.name, c.summary)
	}
	b.WriteString("\nRun 'ringback COMMAND -h' for the flags of a command.\n")
	io.WriteString(w, b.String())
}

// usageError is a mistake in the command line.
type usageError struct {
	command string // if known
	message string // empty if it was told already
}

func (e *usageError) Error() string { return e.message }

// report prints err, if any, and returns the exit status that goes with it.
func report(err error, stderr io.Writer) int {
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &usage):
		fmt.Fprintf(stderr, "ringback: %v\n", err)
		return 1
	case usage.message != "":
		fmt.Fprintf(stderr, "ringback: %v\n", err)
		fmt.Fprintf(stderr, "Run '%s' for usage.\n", strings.TrimSpace("ringback help "+usage.command))
	}
	return 2
}

// newFlags returns the flags of a command, to be parsed by [parse]. The line
// shows how the command is used, and text says more about it.
func newFlags(name, line, text string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "Usage: ringback %s\n\n%s\n", strings.TrimSpace(name+" "+line), text)
		flags := false
		fs.VisitAll(func(*flag.Flag) { flags = true })
		if flags {
			fmt.Fprint(fs.Output(), "\nFlags:\n")
			fs.PrintDefaults()
		}
	}
	return fs
}

// parse parses the args of a command that takes flags only. If they ask for
// help it prints that and returns done.
func parse(fs *flag.FlagSet, args []string, stdout io.Writer) (done bool, err error) {
	usage := fs.Usage
	fs.Usage = func() {} // Parse would print it after an error, too
	fs.SetOutput(io.Discard)
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fs.SetOutput(stdout)
		usage()
		return true, nil
	case err != nil:
		return false, &usageError{fs.Name(), err.Error()}
	case fs.NArg() > 0:
		return false, &usageError{fs.Name(), fmt.Sprintf("%s takes flags only, not %q", fs.Name(), fs.Arg(0))}
	}
	return false, nil
}
