package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ringback/ringback/internal/config/typo"
)

// flagError says what is wrong with a flag.
func flagError(cmd *cobra.Command, err error) error {
	if name := cmd.Flags().Arg(0); name != "" && cmd.HasSubCommands() {
		return unknownCommand(cmd, name) // and so its flags are unknown too
	}
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		return mistake(cmd, "%s", unknownFlag(cmd, e))
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return mistake(cmd, "--%s needs a value", e.GetFlag().Name)
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return mistake(cmd, "--%s is %q; %s", e.GetFlag().Name, e.GetValue(), invalidValue(e))
	}
	return mistake(cmd, "%v", err)
}

// unknownFlag says which flag may be meant.
func unknownFlag(cmd *cobra.Command, e *pflag.NotExistError) string {
	message, name := "unknown flag --"+e.GetSpecifiedName(), e.GetSpecifiedName()
	if group := e.GetSpecifiedShortnames(); group != "" {
		message = fmt.Sprintf("unknown flag -%s", group)
		name, _, _ = strings.Cut(group, "=")
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	meant := typo.Closest(name, names)
	if slices.Contains(names, name) { // with one dash
		meant = name
	}
	if meant != "" {
		message += fmt.Sprintf("; did you mean --%s?", meant)
	}
	return message
}

// invalidValue says what a flag takes.
func invalidValue(e *pflag.InvalidValueError) string {
	switch e.GetFlag().Value.Type() {
	case "bool":
		return "it must be true or false"
	case "int", "int64":
		return "it must be a whole number"
	case "uint", "uint32", "uint64":
		return "it must be a whole number, not below 0"
	case "float64":
		return "it must be a number"
	case "duration":
		return "it must be a duration, such as 500ms, 10s or 2m"
	}
	return e.Unwrap().Error()
}

// choice is the value of a flag that takes one of a few words, or, when it is
// a list, several of them: separated by commas, or with the flag given again.
type choice struct {
	name    string // of what is chosen, for help
	list    bool
	allowed []string
	chosen  []string
}

// choiceFlag defines a flag that takes one of the allowed words, in any case
// of letters.
func choiceFlag(cmd *cobra.Command, name, value, usage string, allowed ...string) *string {
	c := &choice{name: "string", allowed: allowed, chosen: []string{value}}
	c.define(cmd, name, usage)
	return &c.chosen[0]
}

// choicesFlag defines a flag that takes any number of the allowed words; none
// by default.
func choicesFlag(cmd *cobra.Command, name, usage string, allowed ...string) *[]string {
	c := &choice{name: "strings", list: true, allowed: allowed}
	c.define(cmd, name, usage)
	return &c.chosen
}

func (c *choice) define(cmd *cobra.Command, name, usage string) {
	cmd.Flags().Var(c, name, usage)
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(c.allowed, cobra.ShellCompDirectiveNoFileComp)) // it is known
}

// String implements pflag.Value.
func (c *choice) String() string { return strings.Join(c.chosen, ",") }

// Type implements pflag.Value.
func (c *choice) Type() string { return c.name }

// Set implements pflag.Value.
func (c *choice) Set(s string) error {
	words := []string{s}
	if c.list {
		words = strings.Split(s, ",")
	}
	for i, word := range words {
		at := slices.IndexFunc(c.allowed, func(a string) bool { return strings.EqualFold(a, word) })
		if at < 0 {
			return notOneOf(word, c.allowed)
		}
		words[i] = c.allowed[at]
	}
	if c.list {
		c.chosen = append(c.chosen, words...)
	} else {
		c.chosen[0] = words[0] // choiceFlag gave out its address
	}
	return nil
}

// notOneOf says which words are allowed, and which of them may be meant.
func notOneOf(word string, allowed []string) error {
	last := len(allowed) - 1
	text := fmt.Sprintf("it must be %s or %s", strings.Join(allowed[:last], ", "), allowed[last])
	if meant := typo.Closest(word, allowed); meant != "" && len(allowed) > 4 {
		text = fmt.Sprintf("did you mean %s? %s", meant, text)
	}
	return errors.New(text)
}

// appID is the value of a flag that takes the ID of an app.
type appID uint32

// appFlag defines the flag --app. It is 0 when it is not given, unless there
// is a default.
func appFlag(cmd *cobra.Command, value uint32) *uint32 {
	app := new(uint32)
	*app = value
	cmd.Flags().Var((*appID)(app), "app", "`ID` of the app")
	return app
}

// String implements pflag.Value.
func (a *appID) String() string { return strconv.FormatUint(uint64(*a), 10) }

// Type implements pflag.Value.
func (a *appID) Type() string { return "ID" }

// Set implements pflag.Value.
func (a *appID) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return fmt.Errorf("it must be a number from 1 to %d", uint32(math.MaxUint32))
	}
	*a = appID(n)
	return nil
}

// fileFlag defines a flag that takes the name of a YAML file.
func fileFlag(cmd *cobra.Command, name, usage string) *string {
	file := cmd.Flags().String(name, "", usage)
	_ = cmd.MarkFlagFilename(name, "yaml", "yml") // it is known
	return file
}

// dirFlag defines a flag that takes the name of a directory.
func dirFlag(cmd *cobra.Command, name, usage string) *string {
	dir := cmd.Flags().String(name, "", usage)
	_ = cmd.MarkFlagDirname(name) // it is known
	return dir
}
