package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
)

// newDeliveriesCommand looks at deliveries and repeats them.
func newDeliveriesCommand(e *env) *cobra.Command {
	return newParent(e, "deliveries", "find deliveries of callbacks, see why they failed, repeat them",
		"Finds deliveries of callbacks to endpoints, shows each attempt with request and\n"+
			"answer, and delivers once more: one, those of a call, or all that a search finds.",
		"  ringback deliveries list --status failed\n"+
			"  ringback deliveries show dlv_93364000000000_3\n"+
			"  ringback deliveries redeliver --status failed --from 2h",
		[]*cobra.Command{
			newDeliveriesListCommand(e), newDeliveriesShowCommand(e), newRedeliverCommand(e),
			newJobsCommand(e), newStopCommand(e),
		})
}

// deliveryFlags define the flags of a search for deliveries.
func deliveryFlags(cmd *cobra.Command) *adminclient.DeliveryQuery {
	q := new(adminclient.DeliveryQuery)
	flags := cmd.Flags()
	cmd.Flags().Var((*appID)(&q.App), "app", "`ID` of the app")
	flags.StringVar(&q.Call, "call", "", "of this call, by its `ID`")
	flags.Int64Var(&q.Endpoint, "endpoint", 0, "to this endpoint, by its `ID`")
	return q
}

func newDeliveriesListCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list deliveries, the newest first",
		Long:  "Lists deliveries, the newest first, with what came of the latest attempt.",
		Example: "  ringback deliveries list\n" +
			"  ringback deliveries list --status failed --from 2h\n" +
			"  ringback deliveries list --call 3855899564912691699 --json",
		Args: flagsOnly,
	}
	r := remoteFlags(e, cmd)
	q := deliveryFlags(cmd)
	event := choiceFlag(cmd, "event", "", "of this `EVENT`", eventNames()...)
	status := choiceFlag(cmd, "status", "", "with this `STATUS`: pending, delivered or failed", "pending", "delivered", "failed")
	from, until := timeFlags(cmd, "happened")
	limit := limitFlag(cmd, 20)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, _ []string) error {
		q.Event, q.Status, q.From, q.Until = *event, *status, *from, *until
		list, err := take(cmd, *limit, func(n int) iter.Seq2[adminapi.Delivery, error] {
			q.Limit = n
			return c.Deliveries(cmd.Context(), *q)
		})
		if err != nil {
			return err
		}
		return printList(out, list, "There are no such deliveries.", func(p *printer) error {
			return deliveryTable(p, list.items, e.width())
		})
	})
	return cmd
}

// deliveryTable prints deliveries. On a wide terminal the URL is there too.
func deliveryTable(p *printer, list []adminapi.Delivery, width int) error {
	wide := width >= 120
	room := max(12, width-72) // beside the other columns
	url := room * 3 / 5
	if wide {
		room -= url + 2
	}
	headings := []string{"DELIVERY", "EVENT", "AT", "STATUS", "ATTEMPT"}
	if wide {
		headings = append(headings, "URL")
	}
	t := p.table(append(headings, "LATEST")...)
	for i := range list {
		d := &list[i]
		row := []any{d.ID, d.Event, clock(d.EventAtMS), cell{deliveryStyle(d), d.Status}, d.Attempts}
		if wide {
			row = append(row, shorten(d.URL, url))
		}
		t.row(append(row, shorten(latest(d), room))...)
	}
	return t.flush()
}

func deliveryStyle(d *adminapi.Delivery) style {
	switch {
	case d.Status == "delivered":
		return green
	case d.Status == "failed":
		return red
	}
	return yellow
}

// latest is what came of the latest attempt, in a few words.
func latest(d *adminapi.Delivery) string {
	a := d.LatestAttempt
	switch {
	case a == nil:
		return "-"
	case a.Error != "" && a.Status == 0:
		return a.Error
	}
	return fmt.Sprintf("%d %s", a.Status, span(a.DurationMS))
}

func newDeliveriesShowCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show DELIVERY",
		Short: "show a delivery with each attempt, its request and its answer",
		Long: "Shows a delivery with each attempt: the request as it was sent, with headers and\n" +
			"body, and the beginning of the answer.",
		Example: "  ringback deliveries show dlv_93364000000000_3\n" +
			"  ringback deliveries show dlv_93364000000000_3 --json",
		Args: oneArg("DELIVERY"),
	}
	r := remoteFlags(e, cmd)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, args []string) error {
		d, err := c.Delivery(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return out.print(d, func(p *printer) error { return p.printf("%s", tellDelivery(p, d)) })
	})
	return cmd
}

// tellDelivery writes a delivery for people.
func tellDelivery(p *printer, d *adminapi.DeliveryDetail) string {
	var b strings.Builder
	state := d.Status
	if d.Status == "pending" && d.NextAttemptMS != 0 {
		state += ", the next attempt is due at " + moment(d.NextAttemptMS)
	}
	fmt.Fprintf(&b, "%s  %s\n", p.styled(bold, "Delivery "+clean(d.ID)), p.styled(deliveryStyle(&d.Delivery), state))
	fields := []field{
		{"event", d.Event + ", " + d.EventID},
		{"happened", moment(d.EventAtMS)},
		{"call", d.CallID},
		{"to", fmt.Sprintf("%s (endpoint %d, app %d)", d.URL, d.EndpointID, d.AppID)},
	}
	if d.Sequence > 0 {
		fields = append(fields, field{"sequence", strconv.Itoa(d.Sequence)})
	}
	if d.Test {
		fields = append(fields, field{"test", "the event is synthetic"})
	}
	writeFields(&b, p, fields)
	if len(d.AttemptLog) == 0 {
		fmt.Fprintf(&b, "\nThere was no attempt yet.\n")
	}
	for i := range d.AttemptLog {
		tellAttempt(&b, p, &d.AttemptLog[i])
	}
	return b.String()
}

// tellAttempt writes an attempt for people.
func tellAttempt(b *strings.Builder, p *printer, a *adminapi.Attempt) {
	s, result := green, fmt.Sprintf("%d %s", a.Status, http.StatusText(a.Status))
	if a.Error != "" {
		s, result = red, a.Error
	}
	fmt.Fprintf(b, "\n%s  %s  %s\n", p.styled(bold, fmt.Sprintf("Attempt %d", a.Number)), p.styled(s, clean(result)),
		p.styled(faint, "in "+span(a.DurationMS)+", begun "+moment(a.StartedMS)))
	if q := a.Request; q != nil {
		fmt.Fprintf(b, "  %s\n", p.styled(bold, clean(q.Method+" "+q.URL)))
		tellMessage(b, p, q.Headers, q.Body)
	}
	if q := a.Response; q != nil {
		fmt.Fprintf(b, "  %s\n", p.styled(bold, fmt.Sprintf("%d %s", q.Status, http.StatusText(q.Status))))
		tellMessage(b, p, q.Headers, q.Body)
	}
}

// tellMessage writes headers and a body, which is spread out if it is JSON.
func tellMessage(b *strings.Builder, p *printer, headers []adminapi.Header, body string) {
	for _, h := range headers {
		fmt.Fprintf(b, "    %s %s\n", p.styled(faint, clean(h.Name)+":"), clean(h.Value))
	}
	if body == "" {
		return
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, []byte(body), "", "  ") == nil {
		body = pretty.String()
	}
	b.WriteString("\n")
	for line := range strings.Lines(body) {
		fmt.Fprintf(b, "    %s\n", clean(strings.TrimRight(line, "\r\n")))
	}
	b.WriteString("\n")
}

// field is a named value for people.
type field struct{ name, value string }

// writeFields writes those fields that are not empty.
func writeFields(b *strings.Builder, p *printer, fields []field) {
	width := 0
	for _, f := range fields {
		if f.value != "" {
			width = max(width, len(f.name))
		}
	}
	for _, f := range fields {
		if f.value != "" {
			fmt.Fprintf(b, "  %s  %s\n", p.styled(faint, pad(f.name, width)), clean(f.value))
		}
	}
}

func newJobsCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "jobs",
		Short:   "list the jobs of bulk redelivery, the newest first",
		Long:    "Lists the jobs that 'ringback deliveries redeliver' made from searches, the newest\nfirst, and how far they are.",
		Example: "  ringback deliveries jobs\n  ringback deliveries jobs --limit 1 --json",
		Args:    flagsOnly,
	}
	r := remoteFlags(e, cmd)
	limit := limitFlag(cmd, 20)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, _ []string) error {
		list, err := take(cmd, *limit, func(n int) iter.Seq2[adminapi.Redelivery, error] {
			return c.Redeliveries(cmd.Context(), n)
		})
		if err != nil {
			return err
		}
		return printList(out, list, "There was no such job yet.", func(p *printer) error {
			t := p.table("JOB", "STATE", "BEGUN", "TOTAL", "DONE", "SKIPPED", "WHAT")
			for i := range list.items {
				job := &list.items[i]
				total := strconv.Itoa(job.Total)
				if job.Total < 0 {
					total = "-"
				}
				t.row(job.ID, cell{jobStyle(job), job.State}, clock(job.CreatedAtMS), total, job.Done, job.Skipped, filterText(job.Filter))
			}
			return t.flush()
		})
	})
	return cmd
}

func jobStyle(job *adminapi.Redelivery) style {
	switch job.State {
	case "done":
		return green
	case "stopped":
		return red
	}
	return yellow
}

// filterText says which deliveries a filter means.
func filterText(f adminapi.DeliveryFilter) string {
	parts := []string{"everything"}
	if f.Status != "" {
		parts[0] = "status " + f.Status
	}
	if f.Event != "" {
		parts = append(parts, f.Event)
	}
	if f.AppID != 0 {
		parts = append(parts, fmt.Sprintf("app %d", f.AppID))
	}
	if f.EndpointID != 0 {
		parts = append(parts, fmt.Sprintf("endpoint %d", f.EndpointID))
	}
	if f.CallID != "" {
		parts = append(parts, "call "+f.CallID)
	}
	if f.From != "" {
		parts = append(parts, "from "+instantText(f.From))
	}
	if f.Until != "" {
		parts = append(parts, "until "+instantText(f.Until))
	}
	return strings.Join(parts, ", ")
}

// instantText writes a time of a filter: Unix milliseconds as the time that
// they are.
func instantText(text string) string {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return clock(ms)
	}
	return text
}

func newStopCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "stop JOB",
		Short:   "stop a job of bulk redelivery",
		Long:    "Stops a job of bulk redelivery. What it has made pending by now is still delivered.",
		Example: "  ringback deliveries stop 7",
		Args:    oneArg("JOB"),
	}
	r := remoteFlags(e, cmd)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, args []string) error {
		id, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil || id <= 0 {
			return mistake(cmd, "%q is not the ID of a job, a number such as 7: ringback deliveries jobs shows them", args[0])
		}
		job, err := c.StopRedelivery(cmd.Context(), id)
		if err != nil {
			return err
		}
		return out.print(job, func(p *printer) error { return p.printf("%s\n", jobText(job)) })
	})
	return cmd
}

// jobText is how far a job is.
func jobText(job *adminapi.Redelivery) string {
	of := ""
	if job.Total >= 0 {
		of = fmt.Sprintf(" of %d", job.Total)
	}
	text := fmt.Sprintf("Job %d is %s: %d%s made pending again", job.ID, job.State, job.Done, of)
	if job.Skipped > 0 {
		text += fmt.Sprintf(", %d passed over, for they were pending already or their endpoint is gone", job.Skipped)
	}
	return text + "."
}
