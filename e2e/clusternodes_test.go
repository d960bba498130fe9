//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// nodesView is what `ringback nodes --json` prints.
type nodesView struct {
	Clustered  bool   `json:"clustered"`
	Partitions int    `json:"partitions"`
	Unheld     int    `json:"unheld"`
	Trouble    string `json:"trouble"`
	Bus        struct {
		State   string `json:"state"`
		Trouble string `json:"trouble"`
	} `json:"bus"`
	Items []struct {
		Name       string `json:"name"`
		Self       bool   `json:"self"`
		Partitions int    `json:"partitions"`
		JoinedAtMS int64  `json:"joined_at_ms"`
	} `json:"items"`
}

// shares says in short who holds how much, and whom the node asked takes for
// itself.
func (v *nodesView) shares() string {
	var list []string
	for _, n := range v.Items {
		mark := ""
		if n.Self {
			mark = "*"
		}
		list = append(list, fmt.Sprintf("%s%s %d", n.Name, mark, n.Partitions))
	}
	return strings.Join(list, ", ")
}

// awaitNodes asks the node by the command line until what it sees is as
// wanted.
func (n *clusterNode) awaitNodes(what string, want func(v *nodesView) bool) {
	n.c.t.Helper()
	var text []byte
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		cmd := exec.Command(binary, "nodes", "--server", n.url(), "--json")
		cmd.Env = append(os.Environ(), "RINGBACK_ADMIN_TOKEN="+clusterAdmin)
		var err error
		if text, err = cmd.Output(); err != nil {
			n.c.t.Fatalf("ringback nodes: %v", err)
		}
		v := new(nodesView)
		if err := json.Unmarshal(text, v); err != nil {
			n.c.t.Fatalf("%v in %s", err, text)
		}
		if want(v) {
			return
		}
	}
	n.c.t.Fatalf("%s: %s does not see it: %s", what, n.name, text)
}

// awaitMetrics reads /metrics until every one of the lines is there.
func (n *clusterNode) awaitMetrics(lines ...string) {
	n.c.t.Helper()
	missing := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(n.url() + "/metrics")
		if err != nil {
			n.c.t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			n.c.t.Fatal(err)
		}
		missing = ""
		for _, line := range lines {
			if !strings.Contains(string(body), "\n"+line+"\n") {
				missing = line
			}
		}
		if missing == "" {
			return
		}
	}
	n.c.t.Fatalf("the metrics of %s have no %q", n.name, missing)
}

// TestClusterNodes has operators see who is there, who holds what, and what is
// wrong.
func TestClusterNodes(t *testing.T) {
	t.Parallel()
	c := newCluster(t, loopback(t), 2, "")
	one, two := c.nodes[0], c.nodes[1]
	one.awaitNodes("both", func(v *nodesView) bool {
		return v.shares() == "node-1* 32, node-2 32" && v.Clustered && v.Unheld == 0 && v.Trouble == "" && v.Bus.State == "connected" &&
			v.Partitions == 64 && v.Items[0].JoinedAtMS > 0
	})
	two.awaitNodes("both", func(v *nodesView) bool { return v.shares() == "node-1 32, node-2* 32" })
	one.awaitMetrics("ringback_nodes 2", "ringback_partitions_held 32", "ringback_bus_connected 1")

	c.stopNATS()
	one.awaitNodes("no NATS", func(v *nodesView) bool {
		return v.Bus.State == "disconnected" && v.Bus.Trouble != "" && v.Trouble == ""
	})
	one.awaitMetrics("ringback_bus_connected 0")
	c.startNATS()
	one.awaitNodes("NATS again", func(v *nodesView) bool { return v.Bus.State == "connected" })
}

// TestClusterNodeCutOff has operators see a node without PostgreSQL, by itself
// and by the others.
func TestClusterNodeCutOff(t *testing.T) {
	t.Parallel()
	c := newCluster(t, newNetwork(t), 2, "")
	one, two := c.nodes[0], c.nodes[1]
	one.awaitNodes("both", func(v *nodesView) bool { return v.shares() == "node-1* 32, node-2 32" })
	// What is asked of PostgreSQL by connections that are open already.
	calls := func() (status int, err error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, two.url()+"/admin/v1/calls", nil)
		if err != nil {
			return 0, err
		}
		req.Header.Set("Authorization", "Bearer "+clusterAdmin)
		resp, err := (&http.Client{Timeout: patience}).Do(req)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	if status, err := calls(); status != http.StatusOK {
		t.Fatalf("calls of node-2: %d, %v", status, err)
	}
	two.host.cut(c.store)
	const requests = 4
	failed := make(chan error, requests)
	for range requests {
		go func() {
			status, err := calls()
			if err == nil && status < http.StatusInternalServerError {
				err = fmt.Errorf("status %d", status)
			}
			failed <- err
		}()
	}
	two.awaitNodes("no store", func(v *nodesView) bool {
		return strings.Contains(v.Trouble, "lease") && v.Items[1].Self && v.Items[1].Partitions == 0 && v.Unheld == 32
	})
	two.awaitMetrics("ringback_partitions_held 0")
	one.awaitNodes("one is gone", func(v *nodesView) bool { return v.shares() == "node-1* 64" && v.Unheld == 0 })
	one.awaitMetrics("ringback_nodes 1", "ringback_partitions_held 64")
	for range requests {
		if err := <-failed; err != nil {
			t.Errorf("a request of a node without PostgreSQL should be told that it failed: %v", err)
		}
	}
	two.host.mend(c.store)
	one.awaitNodes("it is back", func(v *nodesView) bool { return v.shares() == "node-1* 32, node-2 32" })
}

// TestClusterConsole has the overview show the nodes while there are several.
func TestClusterConsole(t *testing.T) {
	t.Parallel()
	ctx := browserFor(t, 2*time.Minute)
	c := newCluster(t, loopback(t), 2, "")
	o := &operator{t: t, ctx: ctx, address: c.nodes[0].address}
	o.visit("")
	o.fill("#token", clusterAdmin)
	o.click(".sign-in button")
	o.await("h1", "Overview")
	o.await(`[data-swap="nodes"]`, "node-1 this one")
	o.await(`[data-swap="nodes"]`, "node-2")
	o.await(`[data-swap="scope"]`, "2 nodes share the store. The numbers, charts and endpoints in trouble are those of node-1 alone")
	c.stopNATS()
	o.await(`[data-swap="nodes"]`, "this node does not hear the others")
	(&page{t: t, ctx: ctx}).shot("overview")
	c.nodes[1].terminate()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		text := o.eval(`[...document.querySelectorAll('[data-swap="nodes"], [data-swap="scope"]')].map((e) => e.textContent).join('')`)
		if strings.TrimSpace(text) == "" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("one node is left, and the overview shows %q", text)
		}
	}
	(&page{t: t, ctx: ctx}).shot("alone")
}
