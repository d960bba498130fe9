//go:build e2e

package e2e

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestServeAndStop(t *testing.T) {
	address := freeAddress(t)
	dir := filepath.Join(t.TempDir(), "data")
	p := serve(t, configure(t, address, dir, "http://127.0.0.1:9/"), address)
	for path, want := range map[string]string{
		"/healthz": `"status":"up"`,
		"/readyz":  `"ready":true`,
		"/metrics": "ringback_connections 0",
	} {
		resp, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s %s", path, resp.Status, body)
		}
	}
	resp, err := http.Get("http://" + address + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("/: %s", resp.Status)
	}

	second := start(t, "serve", "--config", configure(t, freeAddress(t), dir, "http://127.0.0.1:9/"))
	if status := second.status(); status != 1 || !strings.Contains(second.printed(), dir) {
		t.Errorf("a second server on the same directory: status %d, %s", status, second.printed())
	}
	taken := start(t, "serve", "--config", configure(t, address, filepath.Join(t.TempDir(), "data"), "http://127.0.0.1:9/"))
	if status := taken.status(); status != 1 || !strings.Contains(taken.printed(), address) {
		t.Errorf("a second server on the same address: status %d, %s", status, taken.printed())
	}
	p.terminate()
	if strings.Contains(p.printed(), secret) {
		t.Error("the secret is in the log")
	}
}

func TestBadConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bad.yaml")
	text := "listen: nowhere\nhartbeat_interval: 1s\napps:\n  - id: 0\n    secret: short\n    callbacks:\n      - url: ftp://x\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"serve", "check"} {
		p := start(t, command, "--config", file)
		if status := p.status(); status != 1 {
			t.Errorf("%s: status %d", command, status)
		}
		for _, want := range []string{"listen", "hartbeat_interval", "heartbeat_interval", "apps[0].id", "apps[0].secret", "url", ":2"} {
			if !strings.Contains(p.printed(), want) {
				t.Errorf("%s does not say %q:\n%s", command, want, p.printed())
			}
		}
	}
}

func TestUnusableDataDir(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "serve", "--config", configure(t, freeAddress(t), filepath.Join(file, "data"), "http://127.0.0.1:9/"))
	if status := p.status(); status != 1 || !strings.Contains(p.printed(), file) {
		t.Errorf("status %d, %s", status, p.printed())
	}
}

func TestDevRings(t *testing.T) {
	p := start(t, "dev", "--listen", "127.0.0.1:0", "--ring")
	p.await(`callback +call_create .*signatures verified`)
	p.await(`bob +accepts`)
	p.await(`callback +call_accept .*signatures verified`)
	p.terminate()
	data := p.await(`Data +(\S+)`)
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("the temporary directory %s is still there", data)
	}
}
