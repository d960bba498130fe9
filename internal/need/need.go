// Package need has the one rule by which a test is skipped: something is
// missing that a machine may lack, such as a browser, and RINGBACK_TEST_REQUIRE
// does not name it. It is for tests only.
package need

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Required is the variable with the names, separated by commas, of what must
// not be missing. CONTRIBUTING.md lists them.
const Required = "RINGBACK_TEST_REQUIRE"

// Missing ends a test for want of what: it fails where what is required, and
// is skipped elsewhere. The hint says what is missing and what to do.
func Missing(t testing.TB, what, hint string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv(Required), ","), what) {
		t.Fatalf("%s is required: %s", what, hint)
	}
	t.Skipf("%s (%s=%s makes this a failure)", hint, Required, what)
}
