package main

import (
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringback/ringback/internal/auth"
	"github.com/ringback/ringback/internal/call"
)

// secretVariable names the environment variable of the secret for tokens.
const secretVariable = "RINGBACK_SECRET"

// tokenReport is what token prints as JSON.
type tokenReport struct {
	Token     string    `json:"token"`
	Format    string    `json:"format"`
	AppID     uint32    `json:"app_id"`
	UserID    string    `json:"user_id"`
	ExpiresAt time.Time `json:"expires_at"`
}

// newTokenCommand prints a login token.
func newTokenCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token --app ID --user ID",
		Short: "print a login token",
		Long: "Prints a token with which a user logs in, made with the secret of an app.\n" +
			"Without --secret the secret is read from the environment variable " + secretVariable + ",\n" +
			"which keeps it out of the history of the shell.",
		Example: "  ringback token --app 1 --user alice\n" +
			"  ringback token --app 1 --user alice --ttl 5m --format jwt",
		Args: flagsOnly,
	}
	flags := cmd.Flags()
	app := appFlag(cmd, 0)
	user := flags.String("user", "", "`ID` of the user")
	secret := flags.String("secret", "", "the app's secret of 32 characters")
	ttl := flags.Duration("ttl", time.Hour, "`time` for which the token is valid, over "+auth.MinValidity.String())
	format := choiceFlag(cmd, "format", "token04", "`FORMAT` of the token: token04 or jwt", "token04", "jwt")
	out := newOutput(e, cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *secret == "" {
			*secret = e.lookup(secretVariable)
		}
		switch {
		case *app == 0:
			return mistake(cmd, "token needs --app, a number from 1 to %d", uint32(math.MaxUint32))
		case *user == "":
			return mistake(cmd, "token needs --user")
		case !call.UserID(*user).Valid():
			return mistake(cmd, "%q is not a user ID: it may have 32 bytes of ASCII letters, digits, spaces and some signs", *user)
		case *secret == "":
			return mistake(cmd, "token needs the app's secret, as %s or --secret", secretVariable)
		case *ttl <= auth.MinValidity:
			return mistake(cmd, "a token must be valid for more than %v; --ttl is %v", auth.MinValidity, *ttl)
		}
		var token string
		var err error
		now := time.Now()
		if *format == "jwt" {
			token, err = auth.NewJWT(*app, *user, *secret, now, *ttl)
		} else {
			token, err = auth.NewToken04(*app, *user, *secret, now, *ttl, "")
		}
		if err != nil {
			return err
		}
		report := tokenReport{token, *format, *app, *user, now.Add(*ttl).UTC().Truncate(time.Second)}
		return out.print(report, func(p *printer) error { return p.printf("%s\n", token) })
	}
	return cmd
}
