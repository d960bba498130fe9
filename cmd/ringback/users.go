package main

import (
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
)

// newUsersCommand looks at users and ends their sessions.
func newUsersCommand(e *env) *cobra.Command {
	return newParent(e, "users", "find users, see on which devices they are, end their sessions",
		"Finds the users of an app, shows on which devices one is, and ends sessions.",
		"  ringback users list --prefix al\n"+
			"  ringback users show alice --app 1000\n"+
			"  ringback users kick alice",
		[]*cobra.Command{newUsersListCommand(e), newUsersShowCommand(e), newUsersKickCommand(e)})
}

var presenceStyles = map[string]style{"online": green, "offline": yellow, "registered": faint, "logged_out": faint}

func presenceCell(presence string) cell {
	s, ok := presenceStyles[presence]
	if !ok {
		s = plain
	}
	return cell{s, strings.ReplaceAll(presence, "_", " ")}
}

func newUsersListCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list the users of an app by ID",
		Long:  "Lists the users of an app by ID, with whether they are here. An app that is not\ngiven is the only one.",
		Example: "  ringback users list\n" +
			"  ringback users list --app 1000 --prefix al --limit 100 --json",
		Args: flagsOnly,
	}
	r := remoteFlags(e, cmd)
	app := appFlag(cmd, 0)
	prefix := cmd.Flags().String("prefix", "", "with IDs that begin with this `TEXT`")
	limit := limitFlag(cmd, 50)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, _ []string) error {
		id, err := soleApp(cmd, c, *app)
		if err != nil {
			return err
		}
		list, err := take(cmd, *limit, func(n int) iter.Seq2[adminapi.User, error] {
			return c.Users(cmd.Context(), id, *prefix, n)
		})
		if err != nil {
			return err
		}
		return printList(out, list, "There are no such users.", func(p *printer) error {
			t := p.table("USER", "NAME", "PRESENCE", "SESSIONS")
			for _, u := range list.items {
				t.row(u.UserID, orDash(u.Name), presenceCell(u.Presence), u.Sessions)
			}
			return t.flush()
		})
	})
	return cmd
}

func newUsersShowCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show USER",
		Short:   "show a user and his sessions",
		Long:    "Shows a user and his sessions, the earliest login first.",
		Example: "  ringback users show alice\n  ringback users show alice --app 1000 --json",
		Args:    oneArg("USER"),
	}
	r := remoteFlags(e, cmd)
	app := appFlag(cmd, 0)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, args []string) error {
		id, err := soleApp(cmd, c, *app)
		if err != nil {
			return err
		}
		user, err := c.User(cmd.Context(), id, args[0])
		if err != nil {
			return err
		}
		return out.print(user, func(p *printer) error {
			var b strings.Builder
			presence := presenceCell(user.Presence)
			fmt.Fprintf(&b, "%s  %s\n", p.styled(bold, "User "+clean(user.UserID)), p.styled(presence.style, fmt.Sprint(presence.text)))
			writeFields(&b, p, []field{{"app", fmt.Sprint(id)}, {"name", user.Name}, {"avatar", user.Avatar}})
			if len(user.SessionList) == 0 {
				b.WriteString("\nNo session: calls cannot ring.\n")
				return p.printf("%s", b.String())
			}
			if err := p.printf("%s\n", b.String()); err != nil {
				return err
			}
			t := p.table("SESSION", "PLATFORM", "LOGIN", "STATE")
			for _, s := range user.SessionList {
				state := cell{green, "connected"}
				if !s.Connected {
					state = cell{yellow, "offline"}
					if s.OfflineAtMS != 0 {
						state.text = "offline since " + clock(s.OfflineAtMS)
					}
				}
				t.row(s.SessionID, s.Platform, clock(s.LoginAtMS), state)
			}
			return t.flush()
		})
	})
	return cmd
}

func newUsersKickCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kick USER [SESSION]",
		Short: "end all sessions of a user, or one",
		Long: "Ends all sessions of a user, or one of them: its device is told and disconnected,\n" +
			"and the user counts as logged out there, so calls do not ring on it. The user can\n" +
			"log in again while his token is valid.",
		Example: "  ringback users kick alice\n" +
			"  ringback users kick alice 7f3a0c9e5b1d4e2f8a6b0c1d2e3f4a5b --app 1000",
		Args: someArgs(1, "USER", "SESSION"),
	}
	r := remoteFlags(e, cmd)
	app := appFlag(cmd, 0)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, args []string) error {
		id, err := soleApp(cmd, c, *app)
		if err != nil {
			return err
		}
		ended := 1
		if len(args) == 2 {
			err = c.KickSession(cmd.Context(), id, args[0], args[1])
		} else {
			ended, err = c.KickUser(cmd.Context(), id, args[0])
		}
		if err != nil {
			return err
		}
		if err := out.print(map[string]int{"ended": ended}, func(p *printer) error {
			return p.printf("%s of %s ended.\n", count(ended, "session"), clean(args[0]))
		}); err != nil {
			return err
		}
		if ended == 0 {
			return errors.New("there was no session to end: ringback users list shows the users of app " + strconv.FormatUint(uint64(id), 10))
		}
		return nil
	})
	return cmd
}
