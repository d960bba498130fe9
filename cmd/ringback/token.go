package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/ringback/ringback/internal/auth"
	"github.com/ringback/ringback/internal/call"
)

// secretVariable names the environment variable of the secret for tokens.
const secretVariable = "RINGBACK_SECRET"

// runToken prints a login token.
func runToken(_ context.Context, args, environ []string, stdout, _ io.Writer) error {
	fs := newFlags("token", "--app ID --user ID [flags]",
		"Prints a token with which a user logs in, made with the secret of an app.\n"+
			"Without --secret the secret is read from the environment variable "+secretVariable+",\n"+
			"which keeps it out of the history of the shell.")
	app := appFlag(fs)
	user := fs.String("user", "", "`ID` of the user")
	secret := fs.String("secret", "", "the app's secret of 32 characters")
	ttl := fs.Duration("ttl", time.Hour, "`time` for which the token is valid, over "+auth.MinValidity.String())
	format := fs.String("format", "token04", "token04 or jwt")
	if done, err := parse(fs, args, stdout); done || err != nil {
		return err
	}
	if *secret == "" {
		*secret = lookup(environ, secretVariable)
	}

	mistake := func(format string, args ...any) error {
		return &usageError{"token", fmt.Sprintf(format, args...)}
	}
	switch {
	case *app == 0:
		return mistake("token needs --app, a number from 1 to %d", uint32(math.MaxUint32))
	case *user == "":
		return mistake("token needs --user")
	case !call.UserID(*user).Valid():
		return mistake("%q is not a user ID: it may have 32 bytes of ASCII letters, digits, spaces and some signs", *user)
	case *secret == "":
		return mistake("token needs the app's secret, as %s or --secret", secretVariable)
	case *ttl <= auth.MinValidity:
		return mistake("a token must be valid for more than %v; --ttl is %v", auth.MinValidity, *ttl)
	}
	var token string
	var err error
	switch *format {
	case "token04":
		token, err = auth.NewToken04(*app, *user, *secret, time.Now(), *ttl, "")
	case "jwt":
		token, err = auth.NewJWT(*app, *user, *secret, time.Now(), *ttl)
	default:
		return mistake("--format is %q; it must be token04 or jwt", *format)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, token)
	return err
}

// appFlag defines the flag --app.
func appFlag(fs *flag.FlagSet) *uint32 {
	app := new(uint32)
	fs.Func("app", "`ID` of the app", func(s string) error {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil || n == 0 {
			return fmt.Errorf("not a number from 1 to %d", uint32(math.MaxUint32))
		}
		*app = uint32(n)
		return nil
	})
	return app
}

// lookup returns the value of a variable of environ, or "". Of equals the last
// one counts.
func lookup(environ []string, name string) (value string) {
	for _, entry := range environ {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}
