// Command ringback is the Ringback server and its tools.
//
// Run "ringback help" for its commands. The exit status is 0 on success, 2
// after a mistake in the command line, and 1 after any other failure.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(report(err, os.Stderr))
}

// run does what the command line args, without the name of the program, says,
// until it is done or ctx is. The environ is in the form of [os.Environ]. A
// mistake in the args is a [usageError].
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	e := &env{environ: environ, stdout: stdout, stderr: stderr}
	root := newRoot(e)
	root.SetArgs(append([]string{}, args...)) // nil would stand for those of the process
	cmd, err := root.ExecuteContextC(ctx)
	switch _, told := errors.AsType[*usageError](err); {
	case err == nil:
		return e.helped
	case told, e.started:
		return err
	default: // found before the command began: by its rules for arguments or flags
		return mistake(cmd, "%v", err)
	}
}

// usageError is a mistake in the command line.
type usageError struct {
	command string // the path of the command, such as "ringback token"
	message string // empty if it was told already
}

func (e *usageError) Error() string { return e.message }

// report prints err, if any, and returns the exit status that goes with it.
func report(err error, stderr io.Writer) int {
	usage, isUsage := errors.AsType[*usageError](err)
	switch {
	case err == nil:
		return 0
	case !isUsage:
		fmt.Fprintf(stderr, "ringback: %v\n", err)
		return 1
	case usage.message != "":
		fmt.Fprintf(stderr, "ringback: %v\nRun '%s --help' for usage.\n", err, usage.command)
	}
	return 2
}
