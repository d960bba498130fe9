package main

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
)

// newEndpointsCommand manages endpoints.
func newEndpointsCommand(e *env) *cobra.Command {
	return newParent(e, "endpoints", "list endpoints and how they do, make, change, pause and test them",
		"Lists the endpoints to which callbacks go and how they do, makes and changes,\n"+
			"pauses and tests them. Those of apps of the configuration file belong to that file:\n"+
			"they can be paused and tested only.",
		"  ringback endpoints list\n"+
			"  ringback endpoints create --app 1000 --url https://backend.example.com/callbacks\n"+
			"  ringback endpoints pause 3",
		[]*cobra.Command{
			newEndpointsListCommand(e), newEndpointsShowCommand(e), newEndpointsCreateCommand(e), newEndpointsUpdateCommand(e),
			newEndpointsPauseCommand(e, true), newEndpointsPauseCommand(e, false), newEndpointsTestCommand(e), newEndpointsDeleteCommand(e),
		})
}

func newEndpointsListCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "list endpoints and how they do",
		Long:    "Lists endpoints, of all apps or of one, and how they do: how many deliveries are\npending, and what went wrong last.",
		Example: "  ringback endpoints list\n  ringback endpoints list --app 1000 --json",
		Args:    flagsOnly,
	}
	r := remoteFlags(e, cmd)
	app := appFlag(cmd, 0)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, _ []string) error {
		list := listed[adminapi.Endpoint]{items: []adminapi.Endpoint{}}
		if *app != 0 {
			found, err := c.App(cmd.Context(), *app)
			if err != nil {
				return err
			}
			list.items = append(list.items, found.Endpoints...)
		} else {
			for app, err := range c.Apps(cmd.Context()) {
				if err != nil {
					return err
				}
				list.items = append(list.items, app.Endpoints...)
			}
		}
		return printList(out, list, "There is no endpoint yet: make one with ringback endpoints create.", func(p *printer) error {
			longest := 0
			t := p.table("ENDPOINT", "APP", "HEALTH", "PENDING", "URL")
			for i := range list.items {
				ep := &list.items[i]
				longest = max(longest, len(ep.Health.LastError))
				t.row(ep.ID, ep.AppID, worst(list.items[i:i+1]), ep.Health.Backlog, ep.URL)
			}
			if err := t.flush(); err != nil || longest == 0 {
				return err
			}
			for i := range list.items {
				if h := &list.items[i].Health; h.LastError != "" && h.ConsecutiveFailures > 0 {
					if err := p.printf("%s\n", p.styled(red, fmt.Sprintf("Endpoint %d failed %s in a row, lastly at %s: %s",
						list.items[i].ID, count(h.ConsecutiveFailures, "time"), clock(h.LastFailureMS), clean(h.LastError)))); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
	return cmd
}

// tellEndpoint writes an endpoint for people.
func tellEndpoint(p *printer, ep *adminapi.Endpoint) string {
	var b strings.Builder
	health := worst([]adminapi.Endpoint{*ep})
	fmt.Fprintf(&b, "%s  %s\n", p.styled(bold, fmt.Sprintf("Endpoint %d", ep.ID)), p.styled(health.style, fmt.Sprint(health.text)))
	fields := []field{
		{"url", ep.URL},
		{"app", fmt.Sprint(ep.AppID)},
		{"format", ep.Format},
		{"events", strings.Join(ep.Events, ", ")},
		{"timeout", ep.Timeout},
		{"retry after", strings.Join(ep.Retry, ", ")},
		{"ordering", ep.Ordering},
		{"when down", ep.WhenDown},
	}
	h := &ep.Health
	if h.Backlog > 0 {
		fields = append(fields, field{"pending", fmt.Sprintf("%d, the oldest since %s", h.Backlog, moment(h.OldestPendingMS))})
	}
	if h.LastSuccessMS != 0 {
		fields = append(fields, field{"last success", moment(h.LastSuccessMS)})
	}
	if h.LastFailureMS != 0 {
		fields = append(fields, field{"last failure", moment(h.LastFailureMS) + ": " + h.LastError})
	}
	writeFields(&b, p, fields)
	return b.String()
}

func newEndpointsShowCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show ENDPOINT",
		Short:   "show an endpoint, its settings and how it does",
		Long:    "Shows an endpoint, its settings and how it does, as far as the server has seen\nsince it started.",
		Example: "  ringback endpoints show 3",
		Args:    oneArg("ENDPOINT"),
	}
	r := remoteFlags(e, cmd)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, args []string) error {
		id, err := endpointArg(cmd, args[0])
		if err != nil {
			return err
		}
		ep, err := c.Endpoint(cmd.Context(), id)
		return printEndpoint(out, ep, err)
	})
	return cmd
}

// printEndpoint prints the result of a request for an endpoint.
func printEndpoint(out *output, ep *adminapi.Endpoint, err error) error {
	if err != nil {
		return err
	}
	return out.print(ep, func(p *printer) error { return p.printf("%s", tellEndpoint(p, ep)) })
}

// endpointSettings are the flags that say how an endpoint is to be.
type endpointSettings struct {
	format, ordering, whenDown *string
	events                     *[]string
	timeout                    string
	retry                      []string
}

func settingsFlags(cmd *cobra.Command) *endpointSettings {
	s := new(endpointSettings)
	s.format = choiceFlag(cmd, "format", "", "`FORMAT` of the bodies: json or form", "json", "form")
	s.events = choicesFlag(cmd, "event", "an `EVENT` that it gets; several with commas, or the flag again (default: the documented call_* events)", eventNames()...)
	cmd.Flags().StringVar(&s.timeout, "timeout", "", "`time` for one attempt, 100ms to 60s")
	cmd.Flags().StringSliceVar(&s.retry, "retry", nil, "`pauses` after failed attempts, such as 2s,4s,8s; \"\" for no second attempt")
	s.ordering = choiceFlag(cmd, "ordering", "", "`ORDER` of the callbacks of a call: first_attempt, or strict, where one waits until those before are delivered or given up", "first_attempt", "strict")
	s.whenDown = choiceFlag(cmd, "when-down", "", "`WHAT` to do while it does not answer: retry, or hold everything until it does", "retry", "hold")
	return s
}

// settings gives what was said; what was not is nil.
func (s *endpointSettings) settings(cmd *cobra.Command) adminapi.EndpointSettings {
	if s.retry == nil {
		s.retry = []string{} // in JSON a list
	}
	return adminapi.EndpointSettings{
		Format: changed(cmd, "format", s.format), Events: changed(cmd, "event", s.events), Timeout: changed(cmd, "timeout", &s.timeout),
		Retry: changed(cmd, "retry", &s.retry), Ordering: changed(cmd, "ordering", s.ordering), WhenDown: changed(cmd, "when-down", s.whenDown),
	}
}

func newEndpointsCreateCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create --url URL",
		Short: "give an app another endpoint",
		Long:  "Gives an app another endpoint. An app that is not given is the only one.",
		Example: "  ringback endpoints create --url https://backend.example.com/callbacks\n" +
			"  ringback endpoints create --app 1000 --url https://b.example.com --event call_create,call_accept --ordering strict",
		Args: flagsOnly,
	}
	r := remoteFlags(e, cmd)
	app := appFlag(cmd, 0)
	url := cmd.Flags().String("url", "", "its `URL`, which cannot be changed")
	s := settingsFlags(cmd)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, _ []string) error {
		if *url == "" {
			return mistake(cmd, "create needs --url, such as https://backend.example.com/callbacks")
		}
		id, err := soleApp(cmd, c, *app)
		if err != nil {
			return err
		}
		ep, err := c.CreateEndpoint(cmd.Context(), id, adminapi.NewEndpoint{URL: *url, EndpointSettings: s.settings(cmd)})
		return printEndpoint(out, ep, err)
	})
	return cmd
}

func newEndpointsUpdateCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "update ENDPOINT",
		Short:   "change an endpoint",
		Long:    "Changes an endpoint; what is not given stays. Its URL cannot be changed, for an\nendpoint is known by it: make another one.",
		Example: "  ringback endpoints update 3 --timeout 10s --retry 5s,30s,5m",
		Args:    oneArg("ENDPOINT"),
	}
	r := remoteFlags(e, cmd)
	s := settingsFlags(cmd)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, args []string) error {
		id, err := endpointArg(cmd, args[0])
		if err != nil {
			return err
		}
		settings := s.settings(cmd)
		if reflect.ValueOf(settings).IsZero() {
			return mistake(cmd, "update needs what to change, such as --timeout 10s")
		}
		ep, err := c.UpdateEndpoint(cmd.Context(), id, settings)
		return printEndpoint(out, ep, err)
	})
	return cmd
}

func newEndpointsPauseCommand(e *env, paused bool) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "pause ENDPOINT",
		Short:   "hold the deliveries of an endpoint",
		Long:    "Holds the deliveries of an endpoint: they stay pending and use up no attempts until\nit is resumed. This works for endpoints of the configuration file too.",
		Example: "  ringback endpoints pause 3",
		Args:    oneArg("ENDPOINT"),
	}
	if !paused {
		cmd.Use, cmd.Short, cmd.Example = "resume ENDPOINT", "let the deliveries of an endpoint go again", "  ringback endpoints resume 3"
		cmd.Long = "Lets the deliveries of an endpoint go again: what is pending is delivered, for each\ncall in order."
	}
	r := remoteFlags(e, cmd)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, args []string) error {
		id, err := endpointArg(cmd, args[0])
		if err != nil {
			return err
		}
		ep, err := c.PauseEndpoint(cmd.Context(), id, paused)
		return printEndpoint(out, ep, err)
	})
	return cmd
}

func newEndpointsDeleteCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "delete ENDPOINT",
		Short:   "take an endpoint away",
		Long:    "Takes an endpoint away. What it is still due becomes failed, and stays in the log.",
		Example: "  ringback endpoints delete 3",
		Args:    oneArg("ENDPOINT"),
	}
	r := remoteFlags(e, cmd)
	yes := cmd.Flags().Bool("yes", false, "do not ask")
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, args []string) error {
		id, err := endpointArg(cmd, args[0])
		if err != nil {
			return err
		}
		ep, err := c.Endpoint(cmd.Context(), id)
		if err != nil {
			return err
		}
		if !*yes && isTerminal(e.stderr) && inputIsTerminal() {
			question := fmt.Sprintf("Take away endpoint %d of app %d, %s, with %s?", ep.ID, ep.AppID, clean(ep.URL),
				count(ep.Health.Backlog, "pending delivery", "pending deliveries"))
			if !confirm(cmd.Context(), stdin(), e.stderr, question) {
				return errNothingDone
			}
		}
		if err := c.DeleteEndpoint(cmd.Context(), id); err != nil {
			return err
		}
		return newPrinter(e).printf("Endpoint %d (%s) is gone.\n", id, clean(ep.URL))
	})
	return cmd
}
