package bench

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// fakeNodes starts a fake server that is reached by several URLs, and counts
// the WebSocket connections that each gets.
func fakeNodes(t *testing.T, fault, endpoint string, n int) (urls []string, conns []*atomic.Int64) {
	t.Helper()
	dir := t.TempDir()
	listen, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	conf := serverConfig{listen: listen, dataDir: filepath.Join(dir, "data"), app: 1, secret: strings.Repeat("s", 32), callbackSecret: "callbacks"}
	if endpoint != "" {
		conf.endpoints = []string{"http://" + endpoint + callbackPath}
	}
	srv, err := startServer(t.Context(), fakeCommand(fault), dir, conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.stop() })
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		count := new(atomic.Int64)
		urls, conns = append(urls, "http://"+ln.Addr().String()), append(conns, count)
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go relay(c, listen, count)
			}
		}()
	}
	return urls, conns
}

// relay passes bytes on in both directions, and counts clients.
func relay(c net.Conn, to string, count *atomic.Int64) {
	defer c.Close()
	up, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer up.Close()
	first := make([]byte, 4<<10)
	n, err := c.Read(first)
	if err != nil {
		return
	}
	if bytes.Contains(first[:n], []byte("Upgrade")) {
		count.Add(1)
	}
	if _, err := up.Write(first[:n]); err != nil {
		return
	}
	go func() {
		defer up.Close()
		io.Copy(up, c)
	}()
	io.Copy(c, up)
}

func nodesConfig(urls []string) Config {
	cfg := quick("")
	cfg.Command, cfg.URLs, cfg.AppID, cfg.Secret, cfg.CallbackSecret = nil, urls, 1, strings.Repeat("s", 32), "callbacks"
	return cfg
}

func TestRunOverNodes(t *testing.T) {
	receiver, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	urls, conns := fakeNodes(t, "", receiver, 2)
	cfg := nodesConfig(urls)
	cfg.Receive = receiver
	r := mustRun(t, cfg)
	if err := r.Err(); err != nil || r.Calls != 60 || r.Nodes != 2 {
		t.Errorf("got %+v, %v: %v", r, err, r.Errors.ByKind)
	}
	for i, n := range conns {
		if n.Load() != 5 {
			t.Errorf("node %d got %d of 10 devices", i, n.Load())
		}
	}
	if r.Callbacks == nil || r.Callbacks.Received != 120 {
		t.Errorf("callbacks %+v", r.Callbacks)
	}
	// Both nodes say the same of the one process behind them.
	if r.Server == nil || r.Server.RSS == 0 || r.Server.RSSConnected == 0 {
		t.Errorf("server %+v, notes %v", r.Server, r.Notes)
	}
	var out bytes.Buffer
	r.Print(&out)
	if !strings.Contains(out.String(), "2; each call goes from one to another") {
		t.Errorf("the report does not say that there are nodes:\n%s", &out)
	}
	r.Spread = true
	out.Reset()
	r.Print(&out)
	if !strings.Contains(out.String(), "2; one call in 2 is within a node") {
		t.Errorf("the report does not say that users are on any node:\n%s", &out)
	}
}

func TestWhatIsNotMeasured(t *testing.T) {
	urls, _ := fakeNodes(t, "meterless", "", 1)
	r := mustRun(t, nodesConfig(urls))
	notes := strings.Join(r.Notes, "\n")
	if r.Server != nil || r.Callbacks != nil || !strings.Contains(notes, "404") || !strings.Contains(notes, "--receive") {
		t.Errorf("server %+v, callbacks %+v, notes:\n%s", r.Server, r.Callbacks, notes)
	}
	// A process of this machine is measured without its help.
	cfg := nodesConfig(urls)
	cfg.PIDs = []int{os.Getpid()}
	if r := mustRun(t, cfg); r.Server == nil || r.Server.RSS == 0 {
		t.Errorf("server %+v, notes %v", r.Server, r.Notes)
	}
}

func TestNodeOf(t *testing.T) {
	type test struct {
		nodes  int
		spread bool
		want   string
	}
	for _, test := range []test{
		{1, false, "00 00 00"},
		{2, false, "01 10 01 10"},
		{3, false, "01 12 20"},
		{1, true, "00 00 00"},
		{2, true, "00 11 01 10"},
		{3, true, "00 11 22 01 12 20 02 10 21"},
	} {
		got := ""
		for user := range 2 * (1 + strings.Count(test.want, " ")) {
			if user > 0 && user%2 == 0 {
				got += " "
			}
			got += string(rune('0' + nodeOf(user, test.nodes, test.spread)))
		}
		if got != test.want {
			t.Errorf("%d nodes, spread %v: pairs are on %s, want %s", test.nodes, test.spread, got, test.want)
		}
	}
}
