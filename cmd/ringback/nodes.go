package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/adminclient"
)

// newNodesCommand lists the nodes that share a store.
func newNodesCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "nodes",
		Short: "list the nodes that share the store, and who does what",
		Long: "Lists the nodes that share the store as the one that answers sees them: how much\n" +
			"of the work each holds, since when it is there, and what is wrong.",
		Example: "  ringback nodes\n  ringback nodes --server http://10.0.0.2:8080 --json",
		Args:    flagsOnly,
	}
	r := remoteFlags(e, cmd)
	out := newOutput(e, cmd)
	cmd.RunE = r.run(func(cmd *cobra.Command, c *adminclient.Client, _ []string) error {
		nodes, err := c.Nodes(cmd.Context())
		if err != nil {
			return err
		}
		return out.print(nodes, func(p *printer) error { return printNodes(p, nodes) })
	})
	return cmd
}

func printNodes(p *printer, nodes *adminapi.Nodes) error {
	t := p.table("NODE", "PARTITIONS", "JOINED", "")
	for _, n := range nodes.Items {
		self := ""
		if n.Self {
			self = "this one"
		}
		t.row(n.Name, fmt.Sprintf("%d of %d", n.Partitions, nodes.Partitions), clock(n.JoinedAtMS), self)
	}
	if err := t.flush(); err != nil || !nodes.Clustered {
		return err
	}
	bus := cell{green, nodes.Bus.State}
	switch nodes.Bus.State {
	case "none":
		bus.style = plain
	case "disconnected":
		bus = cell{red, nodes.Bus.State + ": " + clean(nodes.Bus.Trouble)}
	}
	if err := p.printf("\nbus: %s\n", p.styled(bus.style, fmt.Sprint(bus.text))); err != nil {
		return err
	}
	if nodes.Unheld > 0 {
		text := fmt.Sprintf("Nobody holds %s of %d: timers and callbacks there wait.", count(nodes.Unheld, "partition"), nodes.Partitions)
		if err := p.printf("%s\n", p.styled(yellow, text)); err != nil {
			return err
		}
	}
	if nodes.Trouble != "" {
		return p.printf("%s\n", p.styled(red, "This node: "+clean(nodes.Trouble)))
	}
	return nil
}
