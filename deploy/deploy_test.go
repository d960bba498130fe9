package deploy

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/ringback/ringback/internal/config"
	"github.com/ringback/ringback/internal/need"
)

// compose is what the tests look at in compose.yaml.
type compose struct {
	Services map[string]struct {
		Image       string            `yaml:"image"`
		Build       map[string]string `yaml:"build"`
		EnvFile     string            `yaml:"env_file"`
		Environment map[string]string `yaml:"environment"`
		DependsOn   any               `yaml:"depends_on"`
		Volumes     []string          `yaml:"volumes"`
	} `yaml:"services"`
	Volumes map[string]any `yaml:"volumes"`
}

func readCompose(t *testing.T) compose {
	t.Helper()
	var c compose
	if err := yaml.Unmarshal([]byte(read(t, "compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// envFile reads NAME=value lines.
func envFile(t *testing.T, name string) []string {
	t.Helper()
	var list []string
	for line := range strings.Lines(read(t, name)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			list = append(list, line)
		}
	}
	return list
}

// TestNodesAreConfigured has the server read the environment of each node.
func TestNodesAreConfigured(t *testing.T) {
	secrets := envFile(t, "secrets.env.example")
	names := make(map[string]bool)
	for service, s := range readCompose(t).Services {
		if s.Build == nil {
			continue
		}
		environ := append(slices.Clone(secrets), "RINGBACK_LISTEN=:8080", "RINGBACK_DATA_DIR=/data")
		for name, value := range s.Environment {
			environ = append(environ, name+"="+value)
		}
		c, err := config.Load("", environ)
		if err != nil {
			t.Errorf("%s: %v", service, err)
			continue
		}
		if c.Store == "" || c.NATS == "" || len(c.Apps) == 0 || c.AdminToken == "" {
			t.Errorf("%s lacks something: %+v", service, c)
		}
		if names[c.Node] || c.Node != service {
			t.Errorf("%s has the name %q", service, c.Node)
		}
		names[c.Node] = true
		if s.EnvFile != "secrets.env" {
			t.Errorf("%s reads %q", service, s.EnvFile)
		}
	}
	if len(names) != 2 {
		t.Errorf("%d nodes, want 2", len(names))
	}
}

// TestComposeHoldsTogether looks for names that lead nowhere.
func TestComposeHoldsTogether(t *testing.T) {
	c := readCompose(t)
	for name, s := range c.Services {
		for _, other := range dependencies(s.DependsOn) {
			if _, ok := c.Services[other]; !ok {
				t.Errorf("%s depends on %s, which is not there", name, other)
			}
		}
		if s.Image != "" && !regexp.MustCompile(`:\d`).MatchString(s.Image) {
			t.Errorf("%s has an image without a version: %s", name, s.Image)
		}
		if f := s.Build["dockerfile"]; f != "" {
			if _, err := os.Stat(filepath.Join(s.Build["context"], f)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if _, named := c.Volumes[from]; named {
				continue
			}
			if _, err := os.Stat(from); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	proxy := read(t, "haproxy.cfg")
	for _, m := range regexp.MustCompile(`(?m)^\s+server (\S+) (\S+):8080`).FindAllStringSubmatch(proxy, -1) {
		if _, ok := c.Services[m[2]]; !ok || m[1] != m[2] {
			t.Errorf("the proxy has a server %s at %s, which is not there", m[1], m[2])
		}
	}
	if !strings.Contains(proxy, "GET /readyz") {
		t.Error("the proxy does not ask whether nodes are ready")
	}
}

func dependencies(v any) []string {
	switch v := v.(type) {
	case []any:
		var names []string
		for _, name := range v {
			names = append(names, name.(string))
		}
		return names
	case map[string]any:
		return slices.Collect(maps.Keys(v))
	}
	return nil
}

// TestContainerfileBuildsTheServer compares the Containerfile with the module.
func TestContainerfileBuildsTheServer(t *testing.T) {
	text := read(t, "Containerfile")
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "../go.mod"))[1]
	if !strings.Contains(text, "golang:"+version+"-") {
		t.Errorf("go.mod asks for Go %s, the Containerfile uses another", version)
	}
	build := regexp.MustCompile(`go build (.*) -o /out/ringback (\S+)`).FindStringSubmatch(text)
	if build == nil {
		t.Fatal("the Containerfile builds nothing that this test knows")
	}
	if _, err := os.Stat(filepath.Join("..", build[2], "main.go")); err != nil {
		t.Error(err)
	}
	for _, m := range regexp.MustCompile(`RINGBACK_\w+=\S+`).FindAllString(text, -1) {
		if _, err := config.Load("", []string{m}); err != nil {
			t.Errorf("%s: %v", m, err)
		}
	}
}

// TestUnit has systemd check the unit, where systemd is installed.
func TestUnit(t *testing.T) {
	verify, err := exec.LookPath("systemd-analyze")
	if err != nil {
		need.Missing(t, "systemd", "systemd-analyze is not installed")
	}
	// The binary need not be installed for the rest to be checked.
	dir := t.TempDir()
	unit := filepath.Join(dir, "ringback.service")
	text := strings.ReplaceAll(read(t, "ringback.service"), "/usr/local/bin/ringback", "/bin/true")
	if err := os.WriteFile(unit, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(verify, "verify", "--man=no", "--recursive-errors=no", unit).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "" {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
