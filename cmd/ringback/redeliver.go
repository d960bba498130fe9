package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
	"github.com/ringback/ringback/internal/webhook"
)

const (
	jobPoll  = 200 * time.Millisecond
	jobLines = 5 * time.Second // between lines of progress where there is no terminal
)

// newRedeliverCommand delivers once more.
func newRedeliverCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "redeliver [DELIVERY ...]",
		Short: "deliver once more: some, those of a call, or all that a search finds",
		Long: "Delivers once more. A finished delivery becomes pending with a fresh schedule, and\n" +
			"its attempts go on counting; one that waits for its next attempt is attempted now.\n\n" +
			"With IDs, or with --call alone (or with --endpoint), that is done at once. With any\n" +
			"other flags of a search the server makes a job of it, which takes what the search\n" +
			"finds bit by bit, the oldest first, so that live callbacks are not held up. It is\n" +
			"confirmed on a terminal, and its progress is shown; Ctrl-C leaves it running.",
		Example: "  ringback deliveries redeliver dlv_93364000000000_3\n" +
			"  ringback deliveries redeliver --call 3855899564912691699\n" +
			"  ringback deliveries redeliver --status failed --from 2h --endpoint 3 --per-second 50 --yes",
		Args: cobra.ArbitraryArgs,
	}
	r := remoteFlags(e, cmd)
	q := deliveryFlags(cmd)
	event := choiceFlag(cmd, "event", "", "of this `EVENT`", eventNames()...)
	status := choiceFlag(cmd, "status", "", "with this `STATUS`: delivered or failed", "delivered", "failed")
	from, until := timeFlags(cmd, "happened")
	perSecond := cmd.Flags().Int("per-second", 0, fmt.Sprintf("at most this `number` a second, up to %d (default %d)", webhook.MaxPerSecond, webhook.DefaultPerSecond))
	yes := cmd.Flags().Bool("yes", false, "do not ask")
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, ids []string) error {
		q.Event, q.Status, q.From, q.Until = *event, *status, *from, *until
		searched := *q != adminclient.DeliveryQuery{}
		bulk := *q != adminclient.DeliveryQuery{Call: q.Call, Endpoint: q.Endpoint} || q.Call == ""
		switch {
		case len(ids) > 0 && (searched || *perSecond != 0):
			return mistake(cmd, "redeliver takes IDs or a search, not both")
		case len(ids) == 0 && !searched:
			return mistake(cmd, "redeliver needs the IDs of deliveries, or flags that say which, such as --status failed --from 2h")
		case *perSecond < 0 || *perSecond > webhook.MaxPerSecond:
			return mistake(cmd, "--per-second is %d; it must be from 1 to %d", *perSecond, webhook.MaxPerSecond)
		}
		switch {
		case len(ids) > 0:
			return redeliverSome(cmd.Context(), c, out, ids)
		case !bulk && *perSecond == 0:
			list, err := c.RedeliverCall(cmd.Context(), q.Call, q.Endpoint)
			if err != nil {
				return err
			}
			return out.print(list, func(p *printer) error { return deliveryTable(p, list, e.width()) })
		}
		filter := adminapi.DeliveryFilter{
			AppID: q.App, CallID: q.Call, EndpointID: q.Endpoint, Event: q.Event, Status: q.Status, From: q.From, Until: q.Until,
		}
		if !*yes && isTerminal(e.stderr) && inputIsTerminal() {
			question := fmt.Sprintf("Deliver once more to real endpoints: %s?", filterText(filter))
			if !confirm(cmd.Context(), stdin(), e.stderr, question) {
				return errNothingDone
			}
		}
		job, err := c.BeginRedelivery(cmd.Context(), adminapi.NewRedelivery{Filter: filter, PerSecond: *perSecond})
		if err != nil {
			return err
		}
		if job, err = followJob(cmd.Context(), e, c, job); err != nil {
			return err
		}
		if err := out.print(job, func(p *printer) error { return p.printf("%s\n", jobText(job)) }); err != nil {
			return err
		}
		if job.State == "stopped" {
			return errors.New("the job was stopped")
		}
		return nil
	})
	return cmd
}

// redeliverSome repeats deliveries one by one; what fails does not keep it
// from the others.
func redeliverSome(ctx context.Context, c *adminclient.Client, out *output, ids []string) error {
	list := []adminapi.Delivery{}
	var errs []error
	for _, id := range ids {
		d, err := c.Redeliver(ctx, id)
		if refused, ok := errors.AsType[*adminclient.Error](err); ok && refused.Status != 401 {
			errs = append(errs, fmt.Errorf("%s: %w", id, err))
			continue
		}
		if err != nil {
			return err
		}
		list = append(list, *d)
	}
	if len(list) > 0 || out.json {
		if err := out.print(list, func(p *printer) error { return deliveryTable(p, list, out.e.width()) }); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

// followJob shows the progress of a job until it is over.
func followJob(ctx context.Context, e *env, c *adminclient.Client, job *adminapi.Redelivery) (*adminapi.Redelivery, error) {
	bar := isTerminal(e.stderr)
	tick := time.NewTicker(jobPoll)
	defer tick.Stop()
	told := time.Now()
	for job.State == "running" {
		switch {
		case bar:
			fmt.Fprintf(e.stderr, "\r\x1b[K%s", jobBar(job, time.Now()))
		case time.Since(told) >= jobLines:
			fmt.Fprintln(e.stderr, jobText(job))
			told = time.Now()
		}
		var err error
		select {
		case <-tick.C:
			job2, failed := c.Redelivery(ctx, job.ID)
			if failed == nil {
				job = job2
			}
			err = failed
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err == nil {
			continue
		}
		if bar {
			fmt.Fprintln(e.stderr)
		}
		left := fmt.Sprintf("job %d goes on at the server: ringback deliveries jobs shows it, ringback deliveries stop %d stops it", job.ID, job.ID)
		if ctx.Err() != nil {
			return nil, errors.New("interrupted; " + left)
		}
		return nil, fmt.Errorf("%w; %s", err, left)
	}
	if bar {
		fmt.Fprint(e.stderr, "\r\x1b[K")
	}
	return job, nil
}

// jobBar draws how far a job is.
func jobBar(job *adminapi.Redelivery, now time.Time) string {
	const width = 30
	through := job.Done + job.Skipped
	if job.Total < 0 {
		return fmt.Sprintf("Job %d: counting …", job.ID)
	}
	part := 1.0
	if job.Total > 0 {
		part = min(1, float64(through)/float64(job.Total))
	}
	full := int(part * width)
	text := fmt.Sprintf("Job %d: [%s%s] %3.0f%%  %d of %d", job.ID, strings.Repeat("=", full), strings.Repeat(" ", width-full), 100*part, through, job.Total)
	if spent := now.Sub(time.UnixMilli(job.CreatedAtMS)); spent > time.Second && through > 0 && through < job.Total {
		left := time.Duration(float64(spent) / float64(through) * float64(job.Total-through))
		text += fmt.Sprintf("  %v left", left.Round(time.Second))
	}
	return text
}

// errNothingDone is the end of a command that was not confirmed.
var errNothingDone = errors.New("nothing was done")

// confirm asks a question and reads whether the answer is yes.
func confirm(ctx context.Context, in io.Reader, out io.Writer, question string) bool {
	fmt.Fprintf(out, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(in).ReadString('\n') // what cannot be read is no yes
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case a := <-answer:
		return a == "y" || a == "yes"
	case <-ctx.Done():
		fmt.Fprintln(out)
		return false
	}
}
