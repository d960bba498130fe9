package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
)

var (
	loginPolicies = []string{"single", "dual", "multi"}
	joinPolicies  = []string{"anyone", "invited"}
)

// newAppsCommand manages apps.
func newAppsCommand(e *env) *cobra.Command {
	return newParent(e, "apps", "list apps, make and change them, replace their secrets",
		"Lists apps, makes and changes them, and replaces their secrets. Apps of the\n"+
			"configuration file belong to that file and are read-only here.",
		"  ringback apps list\n"+
			"  ringback apps create --name shop\n"+
			"  ringback apps rotate 1000 callback --overlap 24h",
		[]*cobra.Command{
			newAppsListCommand(e), newAppsShowCommand(e), newAppsCreateCommand(e), newAppsUpdateCommand(e), newAppsRotateCommand(e),
		})
}

// appArg reads the argument that is the ID of an app.
func appArg(cmd *cobra.Command, text string) (uint32, error) {
	var id appID
	if err := id.Set(text); err != nil {
		return 0, mistake(cmd, "%q is not the ID of an app; %v: ringback apps list shows them", text, err)
	}
	return uint32(id), nil
}

func newAppsListCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "list the apps",
		Long:    "Lists the apps, with how many endpoints they have and how these do.",
		Example: "  ringback apps list\n  ringback apps list --json",
		Args:    flagsOnly,
	}
	r := remoteFlags(e, cmd)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, _ []string) error {
		apps, err := adminclient.Collect(c.Apps(cmd.Context()))
		if err != nil {
			return err
		}
		list := listed[adminapi.App]{items: append([]adminapi.App{}, apps...)}
		return printList(out, list, "There is no app yet: make one with ringback apps create.", func(p *printer) error {
			t := p.table("APP", "NAME", "ORIGIN", "LOGIN", "JOIN", "ENDPOINTS", "HEALTH")
			for i := range apps {
				app := &apps[i]
				t.row(app.ID, orDash(app.Name), app.Origin, app.LoginPolicy, app.JoinPolicy, len(app.Endpoints), worst(app.Endpoints))
			}
			return t.flush()
		})
	})
	return cmd
}

// healthStyles are the states of endpoints, the worst first.
var healthStyles = []cell{{red, "down"}, {red, "failing"}, {yellow, "paused"}, {green, "ok"}, {faint, "unused"}}

// worst is the worst state of endpoints.
func worst(list []adminapi.Endpoint) cell {
	for _, c := range healthStyles {
		for i := range list {
			if list[i].Health.State == c.text {
				return c
			}
		}
	}
	return cell{plain, "-"}
}

func newAppsShowCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show APP",
		Short:   "show an app and its endpoints",
		Long:    "Shows an app and its endpoints. Secrets are not shown.",
		Example: "  ringback apps show 1000",
		Args:    oneArg("APP"),
	}
	r := remoteFlags(e, cmd)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, args []string) error {
		id, err := appArg(cmd, args[0])
		if err != nil {
			return err
		}
		app, err := c.App(cmd.Context(), id)
		if err != nil {
			return err
		}
		return out.print(app, func(p *printer) error { return p.printf("%s", tellApp(p, app)) })
	})
	return cmd
}

// tellApp writes an app for people.
func tellApp(p *printer, app *adminapi.App) string {
	var b strings.Builder
	origin := "made with the admin API"
	if app.Origin == "file" {
		origin = "from the configuration file: read-only here"
	}
	fmt.Fprintf(&b, "%s\n", p.styled(bold, "App "+appTitle(app)))
	fields := []field{{"origin", origin}, {"login policy", app.LoginPolicy}, {"join policy", app.JoinPolicy}}
	if app.CreatedAtMS != 0 {
		fields = append(fields, field{"created", moment(app.CreatedAtMS)})
	}
	if at := app.SecretOverlapUntilMS; at != 0 {
		fields = append(fields, field{"app secret", "the one before counts too until " + moment(at)})
	}
	if at := app.CallbackSecretOverlapUntilMS; at != 0 {
		fields = append(fields, field{"callback secret", "the one before counts too until " + moment(at)})
	}
	writeFields(&b, p, fields)
	if len(app.Endpoints) == 0 {
		fmt.Fprintf(&b, "\nIt has no endpoint: ringback endpoints create --app %d --url URL gives it one.\n", app.ID)
	}
	for i := range app.Endpoints {
		b.WriteString("\n" + tellEndpoint(p, &app.Endpoints[i]))
	}
	return b.String()
}

// changed gives the address of a flag's value if the flag was given, else nil.
func changed[T any](cmd *cobra.Command, name string, value *T) *T {
	if !cmd.Flags().Changed(name) {
		return nil
	}
	return value
}

func newAppsCreateCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create",
		Short: "make an app, and print its secrets this once",
		Long: "Makes an app and prints its two secrets, which are not shown again: the app secret\n" +
			"makes login tokens, the callback secret signs callbacks.",
		Example: "  ringback apps create --name shop\n" +
			"  ringback apps create --id 7 --login-policy multi --join-policy invited --json",
		Args: flagsOnly,
	}
	r := remoteFlags(e, cmd)
	var id appID
	var app adminapi.NewApp
	cmd.Flags().Var(&id, "id", "its `ID` (default: the lowest free one from 1000 on)")
	cmd.Flags().StringVar(&app.Name, "name", "", "its `NAME`, of up to 64 characters")
	login := choiceFlag(cmd, "login-policy", "", "how many devices a user may have: `POLICY` single, dual or multi (default single)", loginPolicies...)
	join := choiceFlag(cmd, "join-policy", "", "who may join a call: `POLICY` anyone or invited (default anyone)", joinPolicies...)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, _ []string) error {
		app.ID, app.LoginPolicy, app.JoinPolicy = uint32(id), *login, *join
		made, err := c.CreateApp(cmd.Context(), app)
		if err != nil {
			return err
		}
		return out.print(made, func(p *printer) error {
			return p.printf("App %s is made. Keep these secrets now: they are not shown again.\n\n"+
				"  app secret       %s   makes login tokens: ringback token --app %d --user alice\n"+
				"  callback secret  %s   signs callbacks\n\n"+
				"Give it an endpoint with ringback endpoints create --app %d --url URL.\n",
				p.styled(bold, appTitle(&made.App)), p.styled(bold, made.Secret), made.ID, p.styled(bold, made.CallbackSecret), made.ID)
		})
	})
	return cmd
}

func newAppsUpdateCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "update APP",
		Short:   "change an app",
		Long:    "Changes an app; what is not given stays.",
		Example: "  ringback apps update 1000 --name shop --login-policy dual",
		Args:    oneArg("APP"),
	}
	r := remoteFlags(e, cmd)
	name := cmd.Flags().String("name", "", "its `NAME`, of up to 64 characters")
	login := choiceFlag(cmd, "login-policy", "", "how many devices a user may have: `POLICY` single, dual or multi", loginPolicies...)
	join := choiceFlag(cmd, "join-policy", "", "who may join a call: `POLICY` anyone or invited", joinPolicies...)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, args []string) error {
		id, err := appArg(cmd, args[0])
		if err != nil {
			return err
		}
		change := adminapi.AppChange{
			Name: changed(cmd, "name", name), LoginPolicy: changed(cmd, "login-policy", login), JoinPolicy: changed(cmd, "join-policy", join),
		}
		if change == (adminapi.AppChange{}) {
			return mistake(cmd, "update needs what to change: --name, --login-policy or --join-policy")
		}
		app, err := c.UpdateApp(cmd.Context(), id, change)
		if err != nil {
			return err
		}
		return out.print(app, func(p *printer) error { return p.printf("%s", tellApp(p, app)) })
	})
	return cmd
}

func newAppsRotateCommand(e *env) *cobra.Command {
	kinds := []string{"app", "callback"}
	cmd := &cobra.Command{
		Use:   "rotate APP SECRET",
		Short: "replace a secret of an app, and print the new one this once",
		Long: "Replaces a secret of an app, which is app or callback, and prints the new one,\n" +
			"which is not shown again. The one before counts too until the overlap ends: login\n" +
			"tokens made with either are accepted, and callbacks carry a signature for each.",
		Example: "  ringback apps rotate 1000 app\n" +
			"  ringback apps rotate 1000 callback --overlap 72h",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := someArgs(2, "APP", "SECRET")(cmd, args); err != nil {
				return err
			}
			return oneArg("SECRET", kinds...)(cmd, args[1:])
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return kinds, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
	}
	r := remoteFlags(e, cmd)
	overlap := cmd.Flags().Duration("overlap", 24*time.Hour, "`time` for which the one before counts too, up to 720h; 0s: it does not")
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, args []string) error {
		id, err := appArg(cmd, args[0])
		if err != nil {
			return err
		}
		rotated, err := c.Rotate(cmd.Context(), id, adminapi.Rotation{Secret: args[1], Overlap: overlap.String()})
		if err != nil {
			return err
		}
		return out.print(rotated, func(p *printer) error {
			before := "The one before no longer counts."
			if rotated.OverlapUntilMS != 0 {
				before = "The one before counts too until " + moment(rotated.OverlapUntilMS) + "."
			}
			return p.printf("The new %s secret of app %d, which is not shown again:\n\n  %s\n\n%s\n", args[1], id, p.styled(bold, rotated.Secret), before)
		})
	})
	return cmd
}
