package main

import (
	"iter"

	"github.com/spf13/cobra"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
)

// newAuditCommand lists what operators did.
func newAuditCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "audit",
		Short:   "list what operators did, the newest first",
		Long:    "Lists what operators did with the admin API, the newest first.",
		Example: "  ringback audit\n  ringback audit --limit 500 --json",
		Args:    flagsOnly,
	}
	r := remoteFlags(e, cmd)
	limit := limitFlag(cmd, 50)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, _ []string) error {
		list, err := take(cmd, *limit, func(n int) iter.Seq2[adminapi.Audit, error] { return c.Audit(cmd.Context(), n) })
		if err != nil {
			return err
		}
		return printList(out, list, "Nothing was done yet.", func(p *printer) error {
			t := p.table("AT", "FROM", "ACTION", "TARGET", "DETAILS")
			for _, a := range list.items {
				details := string(a.Details)
				if details == "{}" || details == "null" {
					details = ""
				}
				t.row(clock(a.AtMS), orDash(a.Remote), a.Action, a.Target, shorten(details, max(12, e.width()-72)))
			}
			return t.flush()
		})
	})
	return cmd
}
