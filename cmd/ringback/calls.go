package main

import (
	"fmt"
	"iter"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
)

var callOutcomes = []string{"accepted", "caller_cancel", "caller_left", "ended", "max_duration", "timeout", "rejected"}

// newCallsCommand looks at calls.
func newCallsCommand(e *env) *cobra.Command {
	return newParent(e, "calls", "find calls, and see what happened in them",
		"Finds calls, and tells the story of one: what happened, what each device was told\n"+
			"and whether it confirmed it, which callbacks were delivered, and for everybody\n"+
			"whether it rang, and if not, why.",
		"  ringback calls list --app 1 --user bob --from 1h\n"+
			"  ringback calls show 3855899564912691699",
		[]*cobra.Command{newCallsListCommand(e), newCallsShowCommand(e)})
}

func newCallsListCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list calls, the newest first",
		Long:  "Lists calls, the newest first.",
		Example: "  ringback calls list\n" +
			"  ringback calls list --app 1 --user bob --from 2h\n" +
			"  ringback calls list --outcome timeout --limit 10 --json",
		Args: flagsOnly,
	}
	r := remoteFlags(e, cmd)
	app := appFlag(cmd, 0)
	user := cmd.Flags().String("user", "", "with this user, by its `ID` (default app: the only one)")
	state := choiceFlag(cmd, "state", "", "in this `STATE`: live or ended", "live", "ended")
	outcome := choiceFlag(cmd, "outcome", "", "with this `OUTCOME`", callOutcomes...)
	from, until := timeFlags(cmd, "created")
	limit := limitFlag(cmd, 20)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, _ []string) error {
		q := adminclient.CallQuery{App: *app, User: *user, State: *state, Outcome: *outcome, From: *from, Until: *until}
		if q.User != "" {
			var err error
			if q.App, err = soleApp(cmd, c, q.App); err != nil {
				return err
			}
		}
		list, err := take(cmd, *limit, func(n int) iter.Seq2[adminapi.Call, error] {
			q.Limit = n
			return c.Calls(cmd.Context(), q)
		})
		if err != nil {
			return err
		}
		return printList(out, list, "There are no such calls.", func(p *printer) error {
			t := p.table("CALL", "CREATED", "OUTCOME", "RANG FOR", "USERS")
			for i := range list.items {
				call := &list.items[i]
				t.row(call.CallID, clock(call.CreatedAtMS), callCell(call), rangFor(call), shorten(callUsers(call), max(20, e.width()-58)))
			}
			return t.flush()
		})
	})
	return cmd
}

// callCell is what a call came to, in a table.
func callCell(call *adminapi.Call) cell {
	return cell{outcomeStyle(call), callOutcome(call)}
}

func callOutcome(call *adminapi.Call) string {
	if call.State == "live" && call.AcceptedMS != 0 {
		return "in progress"
	}
	if call.State == "live" {
		return "ringing"
	}
	return call.Outcome
}

func outcomeStyle(call *adminapi.Call) style {
	switch {
	case call.State == "live":
		return yellow
	case call.Outcome == "accepted", call.AcceptedMS != 0:
		return green
	}
	return red
}

// rangFor is how long it rang before somebody accepted or it ended.
func rangFor(call *adminapi.Call) string {
	switch {
	case call.AcceptedMS != 0:
		return span(call.AcceptedMS - call.CreatedAtMS)
	case call.EndedAtMS != 0:
		return span(call.EndedAtMS - call.CreatedAtMS)
	}
	return "-"
}

// callUsers is who called whom.
func callUsers(call *adminapi.Call) string {
	var others []string
	for _, u := range call.Users {
		if u.UserID != call.Caller {
			others = append(others, u.UserID)
		}
	}
	return call.Caller + " → " + strings.Join(others, ", ")
}

func newCallsShowCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show CALL",
		Short: "tell the story of a call: did it ring, and if not, why",
		Long: "Tells the story of a call: for everybody whether it rang, and if not, why; then\n" +
			"what happened, what each device was told and whether it confirmed it, and each\n" +
			"attempt to deliver a callback, with times from the beginning of the call.",
		Example: "  ringback calls show 3855899564912691699\n" +
			"  ringback calls show 3855899564912691699 --json",
		Args: oneArg("CALL"),
	}
	r := remoteFlags(e, cmd)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, args []string) error {
		call, err := c.Call(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return out.print(call, func(p *printer) error {
			return p.printf("%s", tellStory(p, call, e.width()))
		})
	})
	return cmd
}

// callTitle is the line that says what a call is and what it came to.
func callTitle(call *adminapi.Call) string {
	switch {
	case call.State == "live" && call.AcceptedMS != 0:
		return "in progress, accepted after " + span(call.AcceptedMS-call.CreatedAtMS)
	case call.State == "live":
		return "ringing"
	case call.AcceptedMS != 0 && call.Outcome == "accepted":
		return "accepted after " + span(call.AcceptedMS-call.CreatedAtMS)
	case call.AcceptedMS != 0:
		return fmt.Sprintf("%s, accepted after %s and over after %s", call.Outcome,
			span(call.AcceptedMS-call.CreatedAtMS), span(call.EndedAtMS-call.CreatedAtMS))
	}
	return call.Outcome + " after " + span(call.EndedAtMS-call.CreatedAtMS)
}
