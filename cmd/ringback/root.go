package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ringback/ringback/internal/config/typo"
)

// env is what commands get besides their arguments.
type env struct {
	environ        []string // in the form of os.Environ
	stdout, stderr io.Writer

	started bool  // the command line was accepted, and the command began
	helped  error // what came of printing help with --help
}

// lookup returns the value of a variable of the environment, or "". Of equals
// the last one counts.
func (e *env) lookup(name string) (value string) {
	for _, entry := range e.environ {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}

// Groups of commands in the list of help.
const (
	groupServer  = "server"
	groupDevelop = "develop"
	groupOperate = "operate"
)

func init() { cobra.EnableCommandSorting = false } // the order is that of newRoot

// newRoot makes the command line: a command is a function here and a file of
// its own, commands with commands of their own are made by [newParent].
func newRoot(e *env) *cobra.Command {
	root := newParent(e, "ringback", "a self-hosted server for call invitations",
		"Ringback is a self-hosted server for call invitations.",
		"  ringback dev --ring                     see it work\n"+
			"  ringback serve --config ringback.yaml   run it for real",
		inGroup(groupServer,
			newServeCommand(e),
			newCheckCommand(e),
		),
		inGroup(groupDevelop,
			newDevCommand(e),
			newTokenCommand(e),
			newListenCommand(e),
			newTriggerCommand(e),
			newCertifyCommand(e),
		),
		inGroup(groupOperate,
			newCallsCommand(e),
			newDeliveriesCommand(e),
			newEventsCommand(e),
			newAppsCommand(e),
			newEndpointsCommand(e),
			newUsersCommand(e),
			newNodesCommand(e),
			newAuditCommand(e),
			newBenchCommand(e),
		),
		[]*cobra.Command{
			newVersionCommand(e),
			newCompletionCommand(e),
		},
	)
	root.AddGroup(
		&cobra.Group{ID: groupServer, Title: "Server:"},
		&cobra.Group{ID: groupDevelop, Title: "Develop:"},
		&cobra.Group{ID: groupOperate, Title: "Operate:"},
	)
	root.SetHelpCommand(newHelpCommand(e))
	root.InitDefaultHelpCmd()
	root.CompletionOptions.DisableDefaultCmd = true
	root.Version = describe(version, buildInfo())
	root.SetVersionTemplate("ringback {{.Version}}\n")
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		if name := cmd.Flags().Arg(0); name != "" && cmd.HasSubCommands() {
			e.helped = unknownCommand(cmd, name)
			return
		}
		e.helped = writeHelp(e.stdout, cmd)
	})
	finish(e, root)
	return root
}

// newParent makes a command that only has others, in the order in which help
// lists them.
func newParent(e *env, name, short, long, example string, children ...[]*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Short: short, Long: long, Example: example,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			if err := writeHelp(e.stderr, cmd); err != nil {
				return err
			}
			return &usageError{command: cmd.CommandPath()}
		},
	}
	for _, list := range children {
		cmd.AddCommand(list...)
	}
	return cmd
}

// inGroup puts commands into a group.
func inGroup(id string, list ...*cobra.Command) []*cobra.Command {
	for _, cmd := range list {
		cmd.GroupID = id
	}
	return list
}

// finish sets what all commands have in common: it is noted when one begins,
// and shells offer files only where a file is meant.
func finish(e *env, cmd *cobra.Command) {
	if begin := cmd.RunE; begin != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			e.started = true
			return begin(cmd, args)
		}
	}
	if cmd.ValidArgsFunction == nil && len(cmd.ValidArgs) == 0 {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		_, known := cmd.GetFlagCompletionFunc(f.Name)
		if !known && len(f.Annotations) == 0 {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions) // fails for unknown flags only
		}
	})
	for _, child := range cmd.Commands() {
		finish(e, child)
	}
}

// mistake makes the error of a mistake in the command line.
func mistake(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd.CommandPath(), fmt.Sprintf(format, args...)}
}

// unknownCommand says that cmd has no command of this name, and which one may
// be meant.
func unknownCommand(cmd *cobra.Command, name string) error {
	message := fmt.Sprintf("unknown command %q", name)
	if cmd.HasParent() {
		message += fmt.Sprintf(" for %q", cmd.CommandPath())
	}
	var names []string
	for _, child := range cmd.Commands() {
		if child.IsAvailableCommand() || child.Name() == "help" {
			names = append(names, child.Name())
		}
	}
	meant := typo.Closest(name, names)
	if begun := slices.IndexFunc(names, func(n string) bool { return strings.HasPrefix(n, name) }); begun >= 0 {
		meant = names[begun]
	}
	if meant == "" { // another word for it
		for _, s := range cmd.SuggestionsFor(name) {
			meant = s
			break
		}
	}
	if meant != "" {
		message += fmt.Sprintf("; did you mean %q?", meant)
	}
	return mistake(cmd, "%s", message)
}

// flagsOnly is the rule for commands without arguments.
func flagsOnly(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return mistake(cmd, "%s takes flags only, not %q", cmd.Name(), args[0])
	}
	return nil
}

// oneArg is the rule for commands with one argument, which is called what, and
// is one of the words, if there are any.
func oneArg(what string, words ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0 && len(words) > 0:
			return mistake(cmd, "%s needs a %s; %v", cmd.Name(), what, notOneOf("", words))
		case len(args) == 0:
			return mistake(cmd, "%s needs a %s", cmd.Name(), what)
		case len(args) > 1:
			return mistake(cmd, "%s takes one %s, not %q too", cmd.Name(), what, args[1])
		case len(words) > 0 && !slices.Contains(words, args[0]):
			return mistake(cmd, "%s is %q; %v", what, args[0], notOneOf(args[0], words))
		}
		return nil
	}
}
