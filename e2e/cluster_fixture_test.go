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
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/ringback/ringback/internal/store/postgres/pgtest"
)

// clusterAdmin signs in at the nodes of a cluster.
const clusterAdmin = "e2e-cluster-admin-token"

// cluster is nodes that share a PostgreSQL database and a NATS server. Each
// reaches them by wires of its own, which can be cut.
type cluster struct {
	t        *testing.T
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
	address string
	config  string // file
	env     []string
	store   *wire
	bus     *wire
	*process
}

// newCluster starts n nodes. extra is added to the configuration of each.
func newCluster(t *testing.T, n int, extra string) *cluster {
	t.Helper()
	c := &cluster{t: t, extra: extra}
	c.postgres = pgtest.Launch(t)
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
	s, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true})
	if err != nil {
		c.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		c.t.Fatal("NATS does not start")
	}
	c.nats, c.natsPort = s, s.Addr().(*net.TCPAddr).Port
}

// stopNATS stops the server of messages, for good or until startNATS.
func (c *cluster) stopNATS() {
	c.nats.Shutdown()
	c.nats.WaitForShutdown()
}

// add prepares a node.
func (c *cluster) add(name string, env ...string) *clusterNode {
	c.t.Helper()
	n := &clusterNode{c: c, name: name, address: freeAddress(c.t), env: env}
	n.store = newWire(c.t, hostOf(c.t, c.database))
	n.bus = newWire(c.t, fmt.Sprintf("127.0.0.1:%d", c.natsPort))
	n.config = filepath.Join(c.t.TempDir(), name+".yaml")
	database := strings.Replace(c.database, hostOf(c.t, c.database), n.store.address(), 1)
	text := fmt.Sprintf("listen: %s\nstore: %s\nnats: nats://%s\nnode: %s\nlease: 3s\nadmin_token: %s\n%s", n.address, database, n.bus.address(), name, clusterAdmin, c.extra)
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
	n.process = launch(n.c.t, cmd)
	n.awaitReady()
}

func (n *clusterNode) url() string { return "http://" + n.address }

// ready gives the answer of /readyz.
func (n *clusterNode) ready() (ok bool, text string) {
	resp, err := http.Get(n.url() + "/readyz")
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
		if ok, last = n.ready(); ok || n.wrongClock() && strings.Contains(last, "the clock of this machine is") {
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

// wire passes TCP connections on to a server until it is cut. What is sent
// meanwhile is neither delivered nor refused, as on a network that loses
// everything.
type wire struct {
	to string
	l  net.Listener

	mu    sync.Mutex
	whole chan struct{} // closed while it is not cut
	open  map[net.Conn]struct{}
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{to: to, l: l, whole: make(chan struct{}), open: make(map[net.Conn]struct{})}
	close(w.whole)
	go w.run()
	t.Cleanup(func() {
		l.Close()
		w.mend()
		w.mu.Lock()
		defer w.mu.Unlock()
		for c := range w.open {
			c.Close()
		}
	})
	return w
}

func (w *wire) address() string { return w.l.Addr().String() }

func (w *wire) run() {
	for {
		c, err := w.l.Accept()
		if err != nil {
			return
		}
		go w.pass(c)
	}
}

func (w *wire) pass(c net.Conn) {
	defer c.Close()
	w.await()
	s, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer s.Close()
	w.mu.Lock()
	w.open[c], w.open[s] = struct{}{}, struct{}{}
	w.mu.Unlock()
	done := make(chan struct{}, 2)
	go func() { w.copy(s, c); done <- struct{}{} }()
	go func() { w.copy(c, s); done <- struct{}{} }()
	<-done
	w.mu.Lock()
	delete(w.open, c)
	delete(w.open, s)
	w.mu.Unlock()
}

func (w *wire) copy(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		w.await()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (w *wire) await() {
	w.mu.Lock()
	whole := w.whole
	w.mu.Unlock()
	<-whole
}

// cut holds everything back from now on.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.whole = make(chan struct{})
}

// mend ends a cut. What was under way then arrives, unless its connection was
// given up.
func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.whole:
	default:
		close(w.whole)
	}
}
