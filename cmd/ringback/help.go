package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// writeHelp writes the help of a command: what it does, how it is used,
// examples, its commands by group, and its flags.
func writeHelp(w io.Writer, cmd *cobra.Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nUsage:\n  %s\n", cmp.Or(cmd.Long, cmd.Short), useLine(cmd))
	if cmd.Example != "" {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	for _, group := range cmd.Groups() {
		writeCommands(&b, cmd, group.ID, group.Title)
	}
	title := "Commands:"
	if len(cmd.Groups()) > 0 {
		title = "Other commands:"
	}
	writeCommands(&b, cmd, "", title)
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	fmt.Fprintf(&b, "\nFlags:\n%s", cmd.LocalFlags().FlagUsages())
	if inherited := cmd.InheritedFlags(); inherited.HasAvailableFlags() {
		fmt.Fprintf(&b, "\nFlags of all %s commands:\n%s", cmd.Parent().Name(), inherited.FlagUsages())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\nRun '%s COMMAND --help' for more about a command.\n", cmd.CommandPath())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func useLine(cmd *cobra.Command) string {
	if cmd.HasAvailableSubCommands() {
		return cmd.CommandPath() + " COMMAND [flags]"
	}
	return cmd.UseLine()
}

// writeCommands lists the commands of a group; "" are those without one.
func writeCommands(b *strings.Builder, parent *cobra.Command, group, title string) {
	heading := "\n" + title + "\n"
	for _, cmd := range parent.Commands() {
		if cmd.GroupID == group && (cmd.IsAvailableCommand() || cmd.Name() == "help") {
			fmt.Fprintf(b, "%s  %-*s  %s\n", heading, cmd.NamePadding(), cmd.Name(), cmd.Short)
			heading = ""
		}
	}
}

// newHelpCommand prints the help of a command.
func newHelpCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND ...]",
		Short:   "say more about a command",
		Long:    "Says what a command does, with its flags and examples, or lists the commands.",
		Example: "  ringback help\n  ringback help token",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			about, err := find(cmd.Root(), args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var list []cobra.Completion
			for _, child := range about.Commands() {
				if child.IsAvailableCommand() && strings.HasPrefix(child.Name(), begun) {
					list = append(list, cobra.CompletionWithDesc(child.Name(), child.Short))
				}
			}
			return list, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, err := find(cmd.Root(), args)
			if err != nil {
				return err
			}
			return writeHelp(e.stdout, about)
		},
	}
}

// find gives the command that a path of names leads to.
func find(root *cobra.Command, path []string) (*cobra.Command, error) {
	cmd := root
next:
	for _, name := range path {
		for _, child := range cmd.Commands() {
			if child.Name() == name || child.HasAlias(name) {
				cmd = child
				continue next
			}
		}
		if !cmd.HasSubCommands() {
			return nil, mistake(cmd, "%s has no commands of its own, such as %q", cmd.CommandPath(), name)
		}
		return nil, unknownCommand(cmd, name)
	}
	return cmd, nil
}
