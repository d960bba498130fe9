package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
	"github.com/ringback/ringback/internal/config"
)

// Variables of commands that talk to a server.
const (
	serverVariable = "RINGBACK_SERVER"
	tokenVariable  = "RINGBACK_ADMIN_TOKEN"
)

const defaultServer = "http://" + devListen

// remote is the server that a command talks to.
type remote struct {
	e             *env
	server, token string // of the flags
}

// remoteFlags defines the flags of a command that talks to a server.
func remoteFlags(e *env, cmd *cobra.Command) *remote {
	r := &remote{e: e}
	cmd.Flags().StringVar(&r.server, "server", "", "`URL` of the server (default: that in "+serverVariable+", or "+defaultServer+")")
	cmd.Flags().StringVar(&r.token, "token", "", "its admin_token; by default that in the environment variable "+tokenVariable)
	return r
}

// action is what a command does at a server.
type action func(cmd *cobra.Command, c *adminclient.Client, args []string) error

// run makes the RunE of a command from what it does.
func (r *remote) run(do action) func(cmd *cobra.Command, args []string) error {
	return func(cmd *cobra.Command, args []string) error {
		server, token := r.server, r.token
		if server == "" {
			server = r.e.lookup(serverVariable)
		}
		if server == "" {
			server = defaultServer
		}
		if token == "" {
			token = r.e.lookup(tokenVariable)
		}
		c, err := adminclient.New(adminclient.Options{Server: server, Token: token, UserAgent: "ringback/" + versionText()})
		if err != nil {
			name := "--server"
			if r.server == "" {
				name = serverVariable
			}
			return mistake(cmd, "%s: %v", name, err)
		}
		return r.explain(do(cmd, c, args))
	}
}

// explain says what to do about an error of the API.
func (r *remote) explain(err error) error {
	if refused, ok := errors.AsType[*adminclient.Error](err); ok && refused.Status == http.StatusUnauthorized {
		switch {
		case r.token != "":
			return errors.New("the server refuses the token in --token: it must be the admin_token of the server's configuration")
		case r.e.lookup(tokenVariable) != "":
			return fmt.Errorf("the server refuses the token in %s: it must be the admin_token of the server's configuration", tokenVariable)
		}
		return fmt.Errorf("the server wants a token: set %s, or --token, to the admin_token of its configuration", tokenVariable)
	}
	if lost, ok := errors.AsType[*adminclient.UnreachableError](err); ok {
		hint := "--server or " + serverVariable + " names another"
		if errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("nothing listens at %s: is the server running? %s", lost.Server, hint)
		}
		return fmt.Errorf("%w: is it a server's URL? %s", err, hint)
	}
	return err
}

// soleApp gives the app that --app names, or the only one there is.
func soleApp(cmd *cobra.Command, c *adminclient.Client, app uint32) (uint32, error) {
	if app != 0 {
		return app, nil
	}
	apps, err := adminclient.Collect(c.Apps(cmd.Context()))
	switch {
	case err != nil:
		return 0, err
	case len(apps) == 1:
		return apps[0].ID, nil
	case len(apps) == 0:
		return 0, errors.New("the server has no app yet: make one with ringback apps create")
	}
	names := make([]string, 0, len(apps))
	for i := range apps {
		if i == 10 {
			names = append(names, fmt.Sprintf("and %d more", len(apps)-i))
			break
		}
		names = append(names, appTitle(&apps[i]))
	}
	return 0, mistake(cmd, "%s needs --app, for there is more than one: %s", cmd.Name(), strings.Join(names, ", "))
}

// appTitle is the ID of an app, and its name if it has one.
func appTitle(app *adminapi.App) string {
	if app.Name == "" {
		return strconv.FormatUint(uint64(app.ID), 10)
	}
	return fmt.Sprintf("%d (%s)", app.ID, clean(app.Name))
}

// eventNames are those of all callback events.
func eventNames() []string { return append(config.DefaultEvents(), config.ExtraEvents()...) }

// limitFlag defines the flag of a command that lists.
func limitFlag(cmd *cobra.Command, value int) *int {
	return cmd.Flags().Int("limit", value, "list at most this `number`; 0: all")
}

// timeFlags define the flags of a search in a span of time.
func timeFlags(cmd *cobra.Command, what string) (from, until *string) {
	from = cmd.Flags().String("from", "", what+" not before this `TIME`: 2h for two hours ago, RFC 3339, or Unix milliseconds")
	until = cmd.Flags().String("until", "", what+" before this `TIME`")
	return from, until
}

// listed is what a command has got of a list.
type listed[T any] struct {
	items []T
	more  bool // there are more of them
}

// take reads the list that query asks for, up to a limit; 0: all of it.
func take[T any](cmd *cobra.Command, limit int, query func(limit int) iter.Seq2[T, error]) (listed[T], error) {
	out := listed[T]{items: []T{}}
	if limit < 0 {
		return out, mistake(cmd, "--limit is %d; it must not be below 0", limit)
	}
	ask := limit
	if limit > 0 {
		ask++ // so that it is known whether there are more
	}
	items, err := adminclient.Collect(query(ask))
	if err != nil {
		return out, err
	}
	if limit > 0 && len(items) > limit {
		items, out.more = items[:limit], true
	}
	out.items = append(out.items, items...)
	return out, nil
}

// printList prints a list, as a table for people, with a note if there are
// more.
func printList[T any](out *output, l listed[T], nothing string, text func(p *printer) error) error {
	return out.print(l.items, func(p *printer) error {
		if len(l.items) == 0 {
			return p.printf("%s\n", nothing)
		}
		if err := text(p); err != nil {
			return err
		}
		if l.more {
			return p.printf("%s\n", p.styled(faint, "There are more: see --limit."))
		}
		return nil
	})
}

// someArgs gives the rule for commands with arguments: at least low of them, and
// at most as many as there are names. What they are is called by the names.
func someArgs(low int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < low:
			return mistake(cmd, "%s needs %s", cmd.Name(), article(names[len(args)]))
		case len(args) > len(names):
			return mistake(cmd, "%s takes no more than %s, not %q too", cmd.Name(), strings.Join(names, " and "), args[len(names)])
		}
		if i := slices.Index(args, ""); i >= 0 {
			return mistake(cmd, "%s is empty", names[i])
		}
		return nil
	}
}

func article(what string) string {
	if strings.ContainsAny(what[:1], "AEIO") {
		return "an " + what
	}
	return "a " + what
}

// endpointArg reads the argument that is the ID of an endpoint.
func endpointArg(cmd *cobra.Command, text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id <= 0 {
		return 0, mistake(cmd, "%q is not the ID of an endpoint, a number such as 3: ringback endpoints list shows them", text)
	}
	return id, nil
}

// interrupted reports whether an error is that of Ctrl-C.
func interrupted(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled))
}
