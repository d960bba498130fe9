package call_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringback/ringback/internal/call"
)

// scriptStep is a line of a scenario, such as
//
//	t=8s bob-1 accepts "on my way"
//	t=0s alice-1 invites bob carol (general, 90s)
type scriptStep struct {
	at      time.Duration // since the start
	actor   call.Actor
	verb    string
	names   []call.UserID
	data    string
	options []string
}

// scriptVerbs are what a device can do.
var scriptVerbs = []string{"invites", "receives", "accepts", "rejects", "cancels", "adds", "joins", "quits", "ends", "looks", "is absent"}

func parseStep(line string) (scriptStep, error) {
	var l scriptStep
	when, rest, found := strings.Cut(line, " ")
	at, isTime := strings.CutPrefix(when, "t=")
	if !found || !isTime {
		return l, errors.New("a step begins with its time, such as t=8s")
	}
	var err error
	if l.at, err = time.ParseDuration(at); err != nil {
		return l, err
	}
	rest, l.options = cutOptions(strings.TrimSpace(rest))
	if i := strings.Index(rest, `"`); i >= 0 {
		if l.data, err = strconv.Unquote(rest[i:]); err != nil {
			return l, fmt.Errorf("data %s: %w", rest[i:], err)
		}
		rest = strings.TrimSpace(rest[:i])
	}
	if rest == "the clock runs" || rest == "the caller is gone" {
		l.verb = rest
		return l, nil
	}
	device, rest, _ := strings.Cut(rest, " ")
	l.actor = on(device)
	for _, verb := range scriptVerbs {
		if names, ok := strings.CutPrefix(rest, verb); ok {
			l.verb, l.names = verb, ids(names)
			return l, nil
		}
	}
	return l, fmt.Errorf("%q: a device can do one of %q", rest, scriptVerbs)
}

// cutOptions splits off what stands in parentheses at the end.
func cutOptions(line string) (rest string, options []string) {
	rest, in, found := strings.Cut(line, "(")
	if !found {
		return line, nil
	}
	return strings.TrimSpace(rest), strings.Split(strings.TrimSuffix(in, ")"), ", ")
}

// command gives the command that the step stands for.
func (l scriptStep) command() (call.Command, error) {
	switch l.verb {
	case "invites":
		return l.create()
	case "receives":
		return call.Receive{Actor: l.actor}, nil
	case "accepts":
		return call.Accept{Actor: l.actor, ExtendedData: l.data}, nil
	case "rejects":
		return call.Reject{Actor: l.actor, ExtendedData: l.data}, nil
	case "cancels":
		if slices.Equal(l.names, ids("all")) {
			return call.Cancel{Actor: l.actor, ExtendedData: l.data}, nil
		}
		if len(l.names) > 0 {
			return call.Cancel{Actor: l.actor, Names: l.names, ExtendedData: l.data}, nil
		}
		return nil, errors.New("cancels whom? Write their names, or all")
	case "adds":
		return call.Invite{Actor: l.actor, Invitees: l.names, Uninvitable: l.unreachable()}, nil
	case "joins":
		return call.Join{Actor: l.actor, ExtendedData: l.data, InvitedOnly: slices.Contains(l.options, "invited users only")}, nil
	case "quits":
		return call.Leave{Actor: l.actor, ExtendedData: l.data}, nil
	case "ends":
		return call.End{Actor: l.actor, ExtendedData: l.data}, nil
	case "is absent":
		return call.ParticipantGone{User: l.actor.User}, nil
	case "the caller is gone":
		return call.CallerGone{}, nil
	}
	return nil, fmt.Errorf("%q is no command", l.verb)
}

func (l scriptStep) create() (call.Command, error) {
	create := call.Create{
		Actor: l.actor, ID: anID, App: 7, Invitees: l.names, Uninvitable: l.unreachable(),
		Timeout: call.DefaultTimeout, ExtendedData: l.data, MaxDuration: 24 * time.Hour.Milliseconds(),
	}
	for _, option := range l.options {
		switch option {
		case "general":
			create.Mode = call.General
		case "advanced":
			create.Mode = call.Advanced
		case "with the not-received check":
			create.NotReceivedCheck = true
		default:
			if strings.HasPrefix(option, unreachable) {
				continue
			}
			timeout, err := time.ParseDuration(option)
			if err != nil {
				return nil, fmt.Errorf("option %q: %w", option, err)
			}
			create.Timeout = int(timeout.Seconds())
		}
	}
	return create, nil
}

// unreachable begins the option that names those who cannot be invited.
const unreachable = "logged out: "

func (l scriptStep) unreachable() []call.UserID {
	for _, option := range l.options {
		if names, ok := strings.CutPrefix(option, unreachable); ok {
			return ids(names)
		}
	}
	return nil
}
