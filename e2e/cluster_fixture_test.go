//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/ringback/ringback/internal/store/postgres/pgtest"
)

// clusterAdmin signs in at the nodes of a cluster.
const clusterAdmin = "e2e-cluster-admin-token"

// cluster is nodes that share a PostgreSQL database and a NATS server, each a
// host of a network.
type cluster struct {
	t        *testing.T
	network  *network
	store    *host // of PostgreSQL
	bus      *host // of NATS
	postgres *pgtest.Server
	database string // its URL
	nats     *natsserver.Server
	natsPort int
	extra    string // configuration of all nodes
	nodes    []*clusterNode
}

// clusterNode is one node, running or not.
type clusterNode struct {
	c       *cluster
	name    string
	host    *host
	address string // where it listens
	config  string // file
	env     []string
	*process
}

// newCluster starts n nodes. extra is added to the configuration of each.
func newCluster(t *testing.T, w *network, n int, extra string) *cluster {
	t.Helper()
	c := &cluster{t: t, network: w, store: w.host("store"), bus: w.host("bus"), extra: extra}
	c.postgres = pgtest.Launch(t, pgtest.Place{Address: c.store.address, In: c.store.in})
	c.database = c.postgres.Database(t)
	c.startNATS()
	t.Cleanup(func() { c.nats.Shutdown() })
	for i := range n {
		c.add(fmt.Sprintf("node-%d", i+1))
	}
	for _, node := range c.nodes {
		node.start()
	}
	return c
}

func (c *cluster) startNATS() {
	c.t.Helper()
	port := c.natsPort
	if port == 0 {
		port = natsserver.RANDOM_PORT
	}
	s, err := natsserver.NewServer(&natsserver.Options{Host: c.bus.address, Port: port, NoSigs: true, NoLog: true})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.bus.in(func() error { s.Start(); return nil }); err != nil {
		c.t.Fatal(err)
	}
	if !s.ReadyForConnections(patience) {
		c.t.Fatal("NATS does not start")
	}
	c.nats, c.natsPort = s, s.Addr().(*net.TCPAddr).Port
}

func (c *cluster) natsAddress() string { return fmt.Sprintf("%s:%d", c.bus.address, c.natsPort) }

// stopNATS stops the server of messages, for good or until startNATS.
func (c *cluster) stopNATS() {
	c.nats.Shutdown()
	c.nats.WaitForShutdown()
}

// add prepares a node.
func (c *cluster) add(name string, env ...string) *clusterNode {
	c.t.Helper()
	h := c.network.host(name)
	n := &clusterNode{c: c, name: name, host: h, address: h.freeAddress(), env: env}
	n.config = filepath.Join(c.t.TempDir(), name+".yaml")
	text := fmt.Sprintf("listen: %s\nstore: %s\nnats: nats://%s\nnode: %s\nlease: 3s\nadmin_token: %s\n%s", n.address, c.database, c.natsAddress(), name, clusterAdmin, c.extra)
	if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.nodes = append(c.nodes, n)
	return n
}

// start runs the node and waits until it is ready.
func (n *clusterNode) start() {
	n.c.t.Helper()
	cmd := exec.Command(binary, "serve", "--config", n.config)
	cmd.Env = append(os.Environ(), n.env...)
	if err := n.host.in(func() error { n.process = launch(n.c.t, cmd); return nil }); err != nil {
		n.c.t.Fatal(err)
	}
	n.awaitReady()
}

func (n *clusterNode) url() string { return "http://" + n.address }

// looking asks nodes how they are, by a new connection each time, for an old
// one may have been cut.
var looking = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// ready gives the answer of /readyz.
func (n *clusterNode) ready() (ok bool, text string) {
	resp, err := looking.Get(n.url() + "/readyz")
	if err != nil {
		return false, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return false, err.Error()
	}
	return resp.StatusCode == http.StatusOK, string(body)
}

// wrongClock reports whether the node never says that it is ready, because it
// says that its clock is wrong.
func (n *clusterNode) wrongClock() bool { return len(n.env) > 0 }

func (n *clusterNode) awaitReady() {
	n.c.t.Helper()
	last := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var ok bool
		ok, last = n.ready()
		ok = ok || n.wrongClock() && strings.Contains(last, "the clock of this machine is")
		if ok && strings.Contains(last, `"bus":"ok"`) {
			return
		}
		select {
		case <-n.exited:
			n.c.t.Fatalf("%s ended: %v\n%s", n.name, n.err, n.printed())
		default:
		}
	}
	n.c.t.Fatalf("%s is not ready: %s", n.name, last)
}

func (c *cluster) urls() []string {
	var urls []string
	for _, n := range c.nodes {
		urls = append(urls, n.url())
	}
	return urls
}

func hostOf(t *testing.T, url string) string {
	t.Helper()
	_, rest, ok := strings.Cut(url, "@")
	host, _, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		t.Fatalf("no host in %s", url)
	}
	return host
}
