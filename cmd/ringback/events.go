package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
)

// followWait is how many seconds the server is asked to wait for an event.
const followWait = 30

// newEventsCommand reads the events.
func newEventsCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "events",
		Short: "read what happened, in order, or follow it",
		Long: "Reads the events in the order in which they became durable, whether or not an\n" +
			"endpoint is subscribed, from the oldest that is kept or after a cursor. The cursor\n" +
			"of the end is printed: go on with it, and nothing is skipped. With --follow it\n" +
			"waits for more until Ctrl-C; then --json prints one document a line.",
		Example: "  ringback events --event call_create --limit 10\n" +
			"  ringback events --follow --after latest\n" +
			"  ringback events --app 1 --call 3855899564912691699 --json",
		Args: flagsOnly,
	}
	r := remoteFlags(e, cmd)
	flags := cmd.Flags()
	app := appFlag(cmd, 0)
	events := choicesFlag(cmd, "event", "this `EVENT` only; several with commas, or the flag again (default: all)", eventNames()...)
	call := flags.String("call", "", "of this call only, by its `ID`")
	after := flags.String("after", "", "begin after this `CURSOR`, or with latest now (default: the oldest event that is kept)")
	follow := flags.Bool("follow", false, "wait for more")
	limit := flags.Int("limit", 100, "end after this `number` of events; 0: none (with --follow the default is 0)")
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, _ []string) error {
		switch {
		case *limit < 0:
			return mistake(cmd, "--limit is %d; it must not be below 0", *limit)
		case *follow && !cmd.Flags().Changed("limit"):
			*limit = 0
		}
		q := adminclient.EventQuery{App: *app, Event: *events, Call: *call, After: *after}
		reader := &eventReader{e: e, p: newPrinter(e), out: out, left: *limit, limited: *limit > 0, follow: *follow, page: adminapi.EventPage{Items: []adminapi.Event{}}}
		return reader.run(cmd, c, q)
	})
	return cmd
}

// errEnough ends the reading of events.
var errEnough = errors.New("enough")

// eventReader is an events command at work.
type eventReader struct {
	e       *env
	p       *printer
	out     *output
	left    int // events that may come, if limited
	limited bool
	follow  bool
	page    adminapi.EventPage // the result
}

func (r *eventReader) run(cmd *cobra.Command, c *adminclient.Client, q adminclient.EventQuery) error {
	const most = 1000 // that the API gives at once
	ctx := cmd.Context()
	var err error
	if r.follow {
		q.Wait, q.Limit = followWait, most
		if r.limited {
			q.Limit = min(r.left, most)
		}
		err = c.Follow(ctx, q, r.lost, r.handle)
	} else {
		for err == nil {
			q.Limit = most
			if r.limited {
				q.Limit = min(r.left, most)
			}
			var page *adminapi.EventPage
			if page, err = c.Events(ctx, q); err == nil {
				q.After = page.Cursor
				err = r.handle(page)
			}
			if err == nil && !page.More {
				err = errEnough
			}
		}
	}
	switch {
	case errors.Is(err, errEnough), r.follow && interrupted(ctx, err):
	case err != nil:
		return err
	}
	switch {
	case r.follow && r.out.json:
		return nil
	case r.out.json:
		return r.out.print(r.page, nil)
	case r.page.Cursor == "":
		return nil
	}
	return r.p.printf("%s\n", r.p.styled(faint, "Go on with --after "+r.page.Cursor))
}

// lost says that the server is gone, or back.
func (r *eventReader) lost(err error) {
	if err == nil {
		fmt.Fprintln(r.e.stderr, "Connected again; nothing was missed.")
		return
	}
	fmt.Fprintf(r.e.stderr, "The connection is lost (%v). Waiting for it …\n", err)
}

// handle shows the events of a page, or collects them.
func (r *eventReader) handle(page *adminapi.EventPage) error {
	r.page.Cursor, r.page.More = page.Cursor, page.More
	for i := range page.Items {
		ev := &page.Items[i]
		var err error
		switch {
		case r.out.json && r.follow:
			err = r.line(ev)
		case r.out.json:
			r.page.Items = append(r.page.Items, *ev)
		default:
			err = r.show(ev)
		}
		if err != nil {
			return err
		}
	}
	if r.left -= len(page.Items); r.limited && r.left <= 0 {
		return errEnough
	}
	return nil
}

// line prints an event as one line of JSON.
func (r *eventReader) line(ev *adminapi.Event) error {
	enc := json.NewEncoder(r.e.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(ev)
}

// show prints an event for people.
func (r *eventReader) show(ev *adminapi.Event) error {
	about := ev.ID
	if ev.CallID != "" {
		about = "call " + ev.CallID
	}
	if ev.Test {
		about += "  (test)"
	}
	return r.p.printf("%s  %s %s%s\n", r.p.styled(faint, time.UnixMilli(ev.AtMS).Format("2006-01-02 15:04:05.000")),
		r.p.styled(bold, pad(clean(ev.Event), 13)), clean(about), clean(summary(string(ev.Data))))
}
