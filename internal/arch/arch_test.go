package arch

import (
	"bytes"
	"encoding/json"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ringback/ringback"

// allowed says, for each package with a rule, which packages of the project
// it may import. The tests of a package are free.
var allowed = map[string][]string{
	"protocol":              {},
	"client":                {"protocol"},
	"callback":              {"protocol"},
	"examples/receivers/go": {"callback", "protocol"},
	"examples/webrtc":       {},
	"internal/call":         {},
	"internal/store":        {"internal/call"},
	"internal/store/group":  {"internal/store"},
	"internal/store/scan":   {"internal/call", "internal/store"},
	"internal/store/sqlite": {"internal/call", "internal/store", "internal/store/group", "internal/store/scan"},

	"internal/store/postgres":        {"internal/call", "internal/store", "internal/store/group", "internal/store/scan"},
	"internal/store/postgres/pgtest": {"internal/need"},

	"internal/need":        {},
	"internal/clock":       {},
	"internal/bus":         {"internal/store"},
	"internal/bus/bustest": {"internal/bus", "internal/store"},
	"internal/bus/natsbus": {"internal/bus", "internal/store"},
	"internal/cluster":     {"internal/bus", "internal/clock", "internal/store"},
	"internal/engine":      {"internal/call", "internal/clock", "internal/store", "internal/wire"},
	"internal/wire":        {},
	"internal/trace":       {"internal/call", "internal/store"},
	"internal/feed":        {"internal/store"},
	"internal/serverapi":   {"internal/call", "internal/clock", "internal/engine", "internal/feed", "internal/store", "protocol"},
	"internal/timeline":    {"internal/call", "internal/store", "internal/trace", "protocol"},
	"internal/registry":    {"internal/call", "internal/clock", "internal/config", "internal/store"},
	"internal/ws":          {"internal/call", "internal/clock", "internal/engine", "internal/peer", "internal/store", "internal/trace", "protocol"},
	"internal/webhook":     {"internal/call", "internal/clock", "internal/store", "protocol"},
	"internal/adminapi": {
		"internal/auth", "internal/call", "internal/clock", "internal/config", "internal/feed", "internal/peer", "internal/registry", "internal/stats", "internal/store", "internal/timeline",
		"internal/trace", "internal/webhook", "protocol",
	},
	"internal/adminclient": {"internal/adminapi"},
	"internal/console":     {"internal/adminapi", "internal/adminclient", "internal/config", "internal/demo/static"},
	"internal/stats":       {"internal/call", "internal/clock"},
	"internal/auth":        {},
	"internal/peer":        {},
	"internal/config":      {"internal/config/typo"},
	"internal/config/typo": {},
	"internal/demo":        {"examples/webrtc", "internal/demo/static", "protocol"},
	"internal/demo/static": {},
	"internal/bench":       {"client", "protocol", "internal/auth"},
	"internal/certify":     {"internal/call", "internal/store", "internal/webhook", "protocol"},
	// What checks the server shares no code with it.
	"e2e/history": {"protocol"},
	"e2e/load":    {"callback", "client", "e2e/history", "protocol"},

	"internal/config/docgen": {"internal/config"},
}

// pure packages import nothing but the standard library and the project.
var pure = []string{
	"protocol", "callback", "internal/call", "internal/clock", "internal/store", "internal/store/group", "internal/store/scan", "internal/bus", "internal/bus/bustest", "internal/cluster", "internal/engine", "internal/trace", "internal/feed", "internal/timeline", "internal/peer", "internal/stats",
}

// only says who may import a package; everybody else goes through its
// contract.
var only = map[string][]string{
	"internal/store/sqlite": {"internal/server"},
	"internal/store/group":  {"internal/store/postgres", "internal/store/sqlite"},
	"internal/store/scan":   {"internal/store/postgres", "internal/store/sqlite"},

	"internal/store/postgres":        {"internal/server"},
	"internal/store/postgres/pgtest": {}, // tests only
	"internal/bus/bustest":           {}, // tests only
	"internal/need":                  {"internal/store/postgres/pgtest"},
	"internal/bus/natsbus":           {"internal/server"},
	"internal/serverapi":             {"internal/server"},
	"internal/server":                {"cmd/ringback"},
	"internal/adminclient":           {"cmd/ringback", "internal/console"},
	"internal/console":               {"internal/server"},
	"internal/demo":                  {"cmd/ringback"},
	"internal/bench":                 {"cmd/ringback"},
	"internal/certify":               {"cmd/ringback"},
}

// testOnly are modules that tests use and the binary must not hold.
var testOnly = []string{"github.com/nats-io/nats-server/"}

// maxLines is the length over which a file needs to be split.
const maxLines = 600

type listed struct {
	ImportPath string
	Imports    []string
	Doc        string
}

func TestImports(t *testing.T) {
	for _, pkg := range packages(t) {
		name := strings.TrimPrefix(pkg.ImportPath, module+"/")
		rule, ruled := allowed[name]
		for _, path := range pkg.Imports {
			imported, ours := strings.CutPrefix(path, module+"/")
			switch {
			case slices.ContainsFunc(testOnly, func(m string) bool { return strings.HasPrefix(path, m) }):
				t.Errorf("%s imports %s outside of its tests", name, path)
			case !ours:
				if slices.Contains(pure, name) && strings.Contains(strings.SplitN(path, "/", 2)[0], ".") {
					t.Errorf("%s imports %s, but it keeps to the standard library", name, path)
				}
			case ruled && !slices.Contains(rule, imported):
				t.Errorf("%s imports %s; it may import %v", name, imported, rule)
			case only[imported] != nil && !slices.Contains(only[imported], name):
				t.Errorf("%s imports %s, which only %v may", name, imported, only[imported])
			}
		}
	}
}

func TestPackageComments(t *testing.T) {
	for _, pkg := range packages(t) {
		if len(pkg.Doc) < len("Package x does y.") {
			t.Errorf("%s has no package comment", pkg.ImportPath)
		}
	}
}

func TestFileLength(t *testing.T) {
	err := filepath.WalkDir(root(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if n := bytes.Count(src, []byte("\n")); n > maxLines {
			t.Errorf("%s has %d lines, more than %d: split it by subject", path, n, maxLines)
		}
		_, err = parser.ParseFile(token.NewFileSet(), path, src, parser.SkipObjectResolution)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Doc", "./...")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var pkg listed
		if err := dec.Decode(&pkg); err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, pkg)
	}
	if len(pkgs) < 10 {
		t.Fatalf("go list found %d packages", len(pkgs))
	}
	return pkgs
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
