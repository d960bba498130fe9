//go:build e2e

package e2e

import (
	"encoding/json"
	"os/exec"
	"testing"
)

// The benchmark runs a server of its own, beside a hanging endpoint, and loses
// nothing.
func TestBench(t *testing.T) {
	cmd := exec.Command(binary, "bench", "--connections", "20", "--rate", "100", "--duration", "2s", "--hang", "--json", "--quiet")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var report struct {
		Calls  int `json:"calls"`
		Errors struct {
			Total int `json:"total"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if report.Calls < 100 || report.Errors.Total != 0 {
		t.Errorf("the report is %s", out)
	}
}
