package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// The file in the documentation is complete, and shows the defaults.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	example, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("the documentation has no YAML file")
	}
	file := filepath.Join(t.TempDir(), "ringback.yaml")
	if err := os.WriteFile(file, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	app, endpoint := DefaultApp(), DefaultEndpoint()
	app.ID, app.Secret = 1, got.Apps[0].Secret
	endpoint.URL = got.Apps[0].Callbacks[0].URL
	app.Callbacks = []Endpoint{endpoint}
	want.Apps = []App{app}
	got.origin, want.origin = origin{}, origin{}
	if !reflect.DeepEqual(normal(got), normal(want)) {
		t.Errorf("the documentation shows\n%+v\nbut the defaults are\n%+v", got, want)
	}
	for _, key := range keys(reflect.TypeFor[Config]()) {
		if !strings.Contains(example, key+":") {
			t.Errorf("the documentation does not show the key %s", key)
		}
	}
}

// normal makes empty lists nil, which the two ways to say nothing differ in.
func normal(c *Config) *Config {
	for i := range c.Apps {
		for j := range c.Apps[i].Callbacks {
			if ep := &c.Apps[i].Callbacks[j]; len(ep.Events) == 0 {
				ep.Events = nil
			}
		}
	}
	if len(c.TrustedProxies) == 0 {
		c.TrustedProxies = nil
	}
	if len(c.Callbacks.AllowNetworks) == 0 {
		c.Callbacks.AllowNetworks = nil
	}
	return c
}

// keys lists the YAML keys of a struct and of those in it.
func keys(t reflect.Type) []string {
	var list []string
	for field := range t.Fields() {
		if key := field.Tag.Get("yaml"); key != "" {
			list = append(list, key)
		}
		inner := field.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && inner.PkgPath() == t.PkgPath() {
			list = append(list, keys(inner)...)
		}
	}
	return list
}
