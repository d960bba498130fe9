package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
	"github.com/ringback/ringback/protocol"
)

const (
	triggerWait = 10 * time.Second
	triggerPoll = 50 * time.Millisecond
)

// newTriggerCommand sends a synthetic event.
func newTriggerCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trigger EVENT",
		Short: "send a synthetic callback, really signed and delivered",
		Long: "Sends a synthetic event to those endpoints of an app that are subscribed to it, and\n" +
			"to whoever listens: really signed, through the real deliverer and into the log,\n" +
			"with the header Ringback-Test: true. No call knows of it.\n\n" +
			"A field that is not given is made up. The value of --field is JSON where that fits\n" +
			"the field, else text; a list may be written with commas. Exits with status 1 if a\n" +
			"delivery has failed, or has not succeeded within " + triggerWait.String() + ".",
		Example: "  ringback trigger call_create\n" +
			"  ringback trigger call_create --field caller=alice --field user_ids=bob,carol\n" +
			"  ringback trigger call_end --app 1000 --endpoint 3 --field duration=90 --wait=false",
		Args:      oneArg("EVENT", eventNames()...),
		ValidArgs: eventNames(),
	}
	r := remoteFlags(e, cmd)
	app := appFlag(cmd, 0)
	endpoint := cmd.Flags().Int64("endpoint", 0, "to this endpoint only, by its `ID`, whether or not it is subscribed")
	t := triggerFlags(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, args []string) error {
		if *endpoint != 0 {
			if *endpoint < 0 {
				return mistake(cmd, "--endpoint is %d; it must be the ID of an endpoint", *endpoint)
			}
			return t.send(cmd, c, args[0], func(in adminapi.Trigger) (*adminapi.Triggered, error) {
				return c.TestEndpoint(cmd.Context(), *endpoint, in)
			})
		}
		id, err := soleApp(cmd, c, *app)
		if err != nil {
			return err
		}
		return t.send(cmd, c, args[0], func(in adminapi.Trigger) (*adminapi.Triggered, error) {
			return c.Trigger(cmd.Context(), id, in)
		})
	})
	return cmd
}

// triggering is what commands have in common that send synthetic events.
type triggering struct {
	fields []string
	wait   bool
	out    *output
}

func triggerFlags(e *env, cmd *cobra.Command) *triggering {
	t := new(triggering)
	cmd.Flags().StringArrayVar(&t.fields, "field", nil, "a field of the event, as `NAME=VALUE`; the flag again for more")
	cmd.Flags().BoolVar(&t.wait, "wait", true, "wait up to "+triggerWait.String()+" for what becomes of the deliveries")
	t.out = newOutput(e, cmd)
	return t
}

// send sends an event and shows what becomes of it.
func (t *triggering) send(cmd *cobra.Command, c *adminclient.Client, event string, send func(adminapi.Trigger) (*adminapi.Triggered, error)) error {
	fields, err := readFields(cmd, event, t.fields)
	if err != nil {
		return err
	}
	sent, err := send(adminapi.Trigger{Event: event, Fields: fields})
	if err != nil {
		return err
	}
	p := newPrinter(t.out.e)
	if !t.out.json {
		if err := p.printf("%s  %s  to %s\n", p.styled(bold, sent.Event), sent.EventID, count(len(sent.Deliveries), "endpoint")); err != nil {
			return err
		}
		if len(sent.Deliveries) == 0 {
			return p.printf("No endpoint of the app is subscribed to it; those who listen have got it.\n")
		}
	}
	var failure error
	if t.wait {
		failure = t.follow(cmd.Context(), p, c, sent)
	} else if !t.out.json {
		for _, d := range sent.Deliveries {
			p.printf("  %s  %s\n", d.ID, clean(d.URL)) // an error comes again
		}
	}
	if t.out.json {
		if err := t.out.print(sent, nil); err != nil {
			return err
		}
	}
	return failure
}

// follow shows the attempts of deliveries as they are made, until all are
// finished or it has waited long enough. The error says that one failed.
func (t *triggering) follow(ctx context.Context, p *printer, c *adminclient.Client, sent *adminapi.Triggered) error {
	limit, cancel := context.WithTimeout(ctx, triggerWait)
	defer cancel()
	tick := time.NewTicker(triggerPoll)
	defer tick.Stop()
	shown := make([]int, len(sent.Deliveries))
	for {
		pending := false
		for i := range sent.Deliveries {
			d := &sent.Deliveries[i]
			if d.Status != "pending" {
				continue
			}
			now, err := c.Delivery(ctx, d.ID)
			if err != nil {
				return err
			}
			*d = now.Delivery
			pending = pending || d.Status == "pending"
			if t.out.json {
				continue
			}
			for _, a := range now.AttemptLog[min(shown[i], len(now.AttemptLog)):] {
				printAttempt(p, d, &a.AttemptSummary)
			}
			shown[i] = max(shown[i], len(now.AttemptLog))
		}
		if !pending {
			break
		}
		select {
		case <-tick.C:
			continue
		case <-limit.Done():
		}
		if ctx.Err() != nil {
			return errors.New("it was interrupted; what is pending is still delivered")
		}
		break
	}
	return undelivered(sent.Deliveries)
}

// printAttempt prints what came of an attempt.
func printAttempt(p *printer, d *adminapi.Delivery, a *adminapi.AttemptSummary) {
	s, text := green, fmt.Sprint(a.Status)
	if a.Error != "" {
		s, text = red, a.Error
	}
	number := ""
	if a.Number > 1 {
		number = fmt.Sprintf("  attempt %d", a.Number)
	}
	p.printf("  %s  %s%s  %s  %s\n", clean(d.ID), clean(d.URL), number, p.styled(s, clean(text)), p.styled(faint, span(a.DurationMS))) // an error comes again
}

// undelivered gives an error if not all are delivered.
func undelivered(list []adminapi.Delivery) error {
	failed, pending := 0, 0
	for _, d := range list {
		switch {
		case d.Status == "delivered":
		case d.Status == "failed", d.LatestAttempt != nil:
			failed++
		default:
			pending++
		}
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%s failed: ringback deliveries show ID says what was sent and answered", count(failed, "delivery", "deliveries"))
	case pending > 0:
		return fmt.Errorf("%s not made within %v; is the endpoint paused or busy? see ringback endpoints list",
			count(pending, "delivery was", "deliveries were"), triggerWait)
	}
	return nil
}

// readFields reads the values of --field as those of an event.
func readFields(cmd *cobra.Command, event string, given []string) (map[string]json.RawMessage, error) {
	sample := adminapi.Fields(event)
	if sample == nil || len(given) == 0 {
		return nil, nil // the server says what events there are
	}
	types := make(map[string]reflect.Type)
	var names []string
	for f := range reflect.TypeOf(sample).Elem().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		types[name] = f.Type
		names = append(names, name)
	}
	fields := make(map[string]json.RawMessage)
	for _, field := range given {
		name, value, ok := strings.Cut(field, "=")
		if !ok {
			return nil, mistake(cmd, "--field is %q; it must be NAME=VALUE", field)
		}
		if !slices.Contains(names, name) {
			return nil, mistake(cmd, "%s has no field %q; its fields are %s", event, name, strings.Join(names, ", "))
		}
		text, err := fieldValue(types[name], value)
		if err != nil {
			return nil, mistake(cmd, "--field %s is %q; %v", name, value, err)
		}
		fields[name] = text
	}
	return fields, nil
}

// fieldValue makes JSON of a value for a field of type t.
func fieldValue(t reflect.Type, value string) (json.RawMessage, error) {
	if json.Unmarshal([]byte(value), reflect.New(t).Interface()) == nil && value != "null" {
		return json.RawMessage(value), nil
	}
	switch t.Kind() {
	case reflect.String:
		return json.Marshal(value)
	case reflect.Slice:
		list := []string{}
		if value != "" {
			list = strings.Split(value, ",")
		}
		return json.Marshal(list)
	}
	return nil, errors.New("it must be a whole number")
}

// newEndpointsTestCommand sends one endpoint a synthetic event.
func newEndpointsTestCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test ENDPOINT",
		Short: "send an endpoint a synthetic callback",
		Long: "Sends an endpoint a synthetic callback, really signed, whether or not it is\n" +
			"subscribed, and shows what comes of it: as 'ringback trigger EVENT --endpoint ID'.",
		Example: "  ringback endpoints test 3\n" +
			"  ringback endpoints test 3 --event call_accept --field user_id=bob",
		Args: oneArg("ENDPOINT"),
	}
	r := remoteFlags(e, cmd)
	event := choiceFlag(cmd, "event", protocol.CallbackCreate, "the `EVENT` to send", eventNames()...)
	t := triggerFlags(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, args []string) error {
		id, err := endpointArg(cmd, args[0])
		if err != nil {
			return err
		}
		return t.send(cmd, c, *event, func(in adminapi.Trigger) (*adminapi.Triggered, error) {
			return c.TestEndpoint(cmd.Context(), id, in)
		})
	})
	return cmd
}
