//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringback/ringback/internal/need"
)

// network is what connects the parties of a cluster: the loopback of this
// machine or, for parties that are to be cut off from each other, a network of
// its own.
//
// The latter is made of network namespaces, one for each party and one for a
// router between all of them, which alone passes packets on. This process
// reaches the parties by it and they answer, but nothing listens on its side,
// so what they offer cannot be reached from another machine. A cut is a rule of
// the router that drops packets between two addresses. Nobody is told: no link
// is down and no route is missing, connections wait for answers that do not
// come, until they are given up or TCP tries again after the cut is mended.
type network struct {
	t      *testing.T
	cidr   string // of all addresses
	router string // its namespace; empty: the network is loopback
	prefix string // of the names of namespaces
	link   string // of this process to the router
	last   int    // of the addresses that are taken
}

// host is a party's place in a network. It may be shared by several on
// loopback.
type host struct {
	w         *network
	address   string
	namespace string // empty: that of this process
}

// loopback gives the network of tests that cut nothing.
func loopback(t *testing.T) *network { return &network{t: t, cidr: "127.0.0.0/8"} }

// benchmarking are the addresses for tests of networks (RFC 2544), of which
// each network takes 256. They collide with nobody's, wherever this machine is.
const benchmarking = "198.18.0.0/15"

// networks counts those that this process has made, or tried to.
var networks atomic.Int64

// newNetwork makes a network that can be cut.
func newNetwork(t *testing.T) *network {
	t.Helper()
	if os.Getuid() != 0 {
		need.Missing(t, "netns", "only root makes network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		need.Missing(t, "netns", "ip of iproute2 is not installed")
	}
	if err := sweep(); err != nil {
		t.Fatal(err)
	}
	var err error
	for range 20 {
		w := &network{t: t}
		if err = w.make(rand.IntN(512)); err == nil {
			return w
		}
	}
	need.Missing(t, "netns", fmt.Sprintf("no network can be made: %v", err))
	return nil
}

// make makes the network of a number, with the router and the link of this
// process, unless another test has it.
func (w *network) make(number int) (err error) {
	subnet := fmt.Sprintf("198.%d.%d.", 18+number/256, number%256)
	w.cidr, w.last = subnet+"0/24", 2
	w.link = fmt.Sprintf("ringback%d", number)
	w.prefix = fmt.Sprintf("%s%d-%d-", namespaces, os.Getpid(), networks.Add(1))
	w.router = w.prefix + "router"
	w.t.Cleanup(w.remove)
	defer func() {
		if err != nil {
			w.remove()
		}
	}()
	if err := ip("",
		"netns add "+w.router,
		// Only one network can have a link of this name.
		fmt.Sprintf("link add %s type veth peer name outside netns %s", w.link, w.router),
	); err != nil {
		w.link = "" // it is another's
		return err
	}
	router := &host{namespace: w.router}
	if err := router.in(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }); err != nil {
		return err
	}
	return errors.Join(
		ip(w.router,
			"link set lo up",
			fmt.Sprintf("addr add %s1/32 dev lo", subnet),
			"link set outside up",
			fmt.Sprintf("route add %s2/32 dev outside", subnet)),
		ip("",
			fmt.Sprintf("addr add %s2/32 dev %s", subnet, w.link),
			fmt.Sprintf("link set %s up", w.link),
			fmt.Sprintf("route add %s1/32 dev %s", subnet, w.link),
			fmt.Sprintf("route add %s via %s1 src %s2", w.cidr, subnet, subnet)),
	)
}

// host adds a party.
func (w *network) host(name string) *host {
	w.t.Helper()
	if w.router == "" {
		return &host{w: w, address: "127.0.0.1"}
	}
	w.last++
	subnet, _ := strings.CutSuffix(w.cidr, "0/24")
	h := &host{w: w, address: fmt.Sprintf("%s%d", subnet, w.last), namespace: w.prefix + name}
	device := fmt.Sprintf("host%d", w.last) // of the router
	if err := errors.Join(
		ip("",
			"netns add "+h.namespace,
			fmt.Sprintf("link add %s netns %s type veth peer name uplink netns %s", device, w.router, h.namespace)),
		ip(w.router,
			fmt.Sprintf("link set %s up", device),
			fmt.Sprintf("route add %s/32 dev %s", h.address, device)),
		ip(h.namespace,
			"link set lo up",
			fmt.Sprintf("addr add %s/32 dev uplink", h.address),
			"link set uplink up",
			fmt.Sprintf("route add %s1/32 dev uplink", subnet),
			fmt.Sprintf("route add default via %s1", subnet)),
	); err != nil {
		w.t.Fatal(err)
	}
	return h
}

// remove removes everything. What still runs in it stays without a network.
func (w *network) remove() {
	if w.link != "" {
		_ = ip("", "link del "+w.link) // it may not have come so far
		w.link = ""
	}
	names, err := namespacesOf(w.prefix)
	for _, name := range names {
		err = errors.Join(err, ip("", "netns del "+name))
	}
	if err != nil {
		w.t.Error(err)
	}
}

// in calls f by a thread that is where the host is: what f opens and starts is
// there, but not what goroutines do that f begins.
func (h *host) in(f func() error) error {
	if h.namespace == "" {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer here.Close()
	there, err := os.Open(filepath.Join(namespaceDir, h.namespace))
	if err != nil {
		return err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering %s: %w", h.namespace, err)
	}
	defer func() {
		if err := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(fmt.Sprintf("leaving %s: %v", h.namespace, err))
		}
	}()
	return f()
}

// listen listens on a free port.
func (h *host) listen() net.Listener {
	h.w.t.Helper()
	var l net.Listener
	err := h.in(func() (err error) {
		l, err = new(net.ListenConfig).Listen(context.Background(), "tcp", h.address+":0")
		return err
	})
	if err != nil {
		h.w.t.Fatal(err)
	}
	return l
}

// freeAddress is an address on which nobody listens at the moment.
func (h *host) freeAddress() string {
	h.w.t.Helper()
	l := h.listen()
	defer l.Close()
	return l.Addr().String()
}

// cut loses everything between the host and another from now on, silently.
func (h *host) cut(from *host) {
	h.w.t.Helper()
	h.w.rule("add", h.address, from.address)
}

// mend ends a cut.
func (h *host) mend(from *host) {
	h.w.t.Helper()
	h.w.rule("del", h.address, from.address)
}

// isolate cuts the host off from everybody.
func (h *host) isolate() {
	h.w.t.Helper()
	h.w.rule("add", h.address, "all")
}

// restore ends an isolation.
func (h *host) restore() {
	h.w.t.Helper()
	h.w.rule("del", h.address, "all")
}

// rule changes the rules by which the router loses what two addresses send to
// each other.
func (w *network) rule(verb, a, b string) {
	w.t.Helper()
	if w.router == "" {
		w.t.Fatal("loopback cannot be cut")
	}
	if err := ip(w.router, fmt.Sprintf("rule %s from %s to %s blackhole", verb, a, b), fmt.Sprintf("rule %s from %s to %s blackhole", verb, b, a)); err != nil {
		w.t.Fatal(err)
	}
}

const (
	// namespaces begins the names of all namespaces of tests; then comes the
	// ID of the process.
	namespaces   = "ringback-test-"
	namespaceDir = "/run/netns"
)

// sweep removes what processes left behind that were killed, and ends what runs
// in it.
func sweep() error {
	names, err := namespacesOf(namespaces)
	if err != nil {
		return err
	}
	for _, name := range names {
		owner, _, _ := strings.Cut(strings.TrimPrefix(name, namespaces), "-")
		pid, err := strconv.Atoi(owner)
		if err != nil || syscall.Kill(pid, 0) != syscall.ESRCH {
			continue
		}
		running, _ := exec.Command("ip", "netns", "pids", name).Output() // it may be gone meanwhile
		for _, field := range strings.Fields(string(running)) {
			if pid, err := strconv.Atoi(field); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		_ = ip("", "netns del "+name) // another process may do the same
	}
	return nil
}

// namespacesOf lists the namespaces whose names begin with a prefix.
func namespacesOf(prefix string) ([]string, error) {
	entries, err := os.ReadDir(namespaceDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// ip has ip carry out commands in a namespace, empty for that of this process,
// until one fails.
func ip(namespace string, commands ...string) error {
	var args []string
	if namespace != "" {
		args = append(args, "-n", namespace)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", append(args, "-batch", "-")...)
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip: %w: %s\n%s", err, strings.TrimSpace(string(out)), strings.Join(commands, "\n"))
	}
	return nil
}

// TestNetwork has a network lose what is sent through a cut, and nothing else.
func TestNetwork(t *testing.T) {
	w := newNetwork(t)
	server, one, two := w.host("server"), w.host("one"), w.host("two")
	l := server.listen()
	t.Cleanup(func() { l.Close() })
	arrived := make(chan string, 8)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for lines := bufio.NewScanner(c); lines.Scan(); {
					arrived <- lines.Text()
				}
			}()
		}
	}()
	dial := func(from *host, limit time.Duration) (c *net.TCPConn, err error) {
		err = from.in(func() error {
			nc, err := (&net.Dialer{Timeout: limit}).DialContext(t.Context(), "tcp", l.Addr().String())
			if err == nil {
				c = nc.(*net.TCPConn)
				t.Cleanup(func() { c.Close() })
			}
			return err
		})
		return c, err
	}
	say := func(c net.Conn, text string) {
		t.Helper()
		if _, err := fmt.Fprintln(c, text); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(want string) {
		t.Helper()
		select {
		case got := <-arrived:
			if got != want {
				t.Fatalf("%q arrives, want %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("%q does not arrive", want)
		}
	}
	first, err := dial(one, patience)
	if err != nil {
		t.Fatal(err)
	}
	say(first, "before")
	hear("before")

	for name, fault := range map[string]struct{ begin, end func() }{
		"cut":       {func() { one.cut(server) }, func() { one.mend(server) }},
		"isolation": {one.isolate, one.restore},
	} {
		fault.begin()
		say(first, "late")
		var timeout net.Error
		if _, err := dial(one, 500*time.Millisecond); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%s: connecting: %v, want no answer", name, err)
		}
		if n := resent(t, first); n == 0 {
			t.Errorf("%s: the connection does not send again", name)
		}
		other, err := dial(two, patience)
		if err != nil {
			t.Fatal(err)
		}
		say(other, "another")
		hear("another")
		fault.end()
		hear("late")
	}
	if c, err := net.DialTimeout("tcp", l.Addr().String(), patience); err != nil {
		t.Errorf("this process does not reach the server: %v", err)
	} else {
		c.Close()
	}
}

// resent is how often in a row a connection has sent again without an answer.
func resent(t *testing.T, c *net.TCPConn) int {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	if err2 := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); err2 != nil || err != nil {
		t.Fatal(errors.Join(err, err2))
	}
	return int(info.Retransmits)
}
