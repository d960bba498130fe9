package need

import (
	"fmt"
	"testing"
)

// ending notes how a test would end.
type ending struct {
	testing.TB
	how string
}

func (e *ending) Helper()                      {}
func (e *ending) Fatalf(f string, args ...any) { e.how = "fails: " + fmt.Sprintf(f, args...); panic(e) }

func (e *ending) Skipf(f string, args ...any) {
	e.how = "skipped: " + fmt.Sprintf(f, args...)
	panic(e)
}

func TestMissing(t *testing.T) {
	for required, want := range map[string]string{
		"":                 "skipped: no Chromium (RINGBACK_TEST_REQUIRE=browser makes this a failure)",
		"node,browsers":    "skipped: no Chromium (RINGBACK_TEST_REQUIRE=browser makes this a failure)",
		"browser":          "fails: browser is required: no Chromium",
		"node,browser,php": "fails: browser is required: no Chromium",
	} {
		t.Setenv(Required, required)
		e := new(ending)
		func() {
			defer func() { _ = recover() }()
			Missing(e, "browser", "no Chromium")
		}()
		if e.how != want {
			t.Errorf("%q: it is %s; want %s", required, e.how, want)
		}
	}
}
