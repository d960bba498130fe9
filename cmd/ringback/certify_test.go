package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ringback/ringback/internal/certify"
	"github.com/ringback/ringback/protocol"
)

// A receiver that accepts everything fails, and is told why; one that is
// subscribed to two events is sent no others.
func TestCertify(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.WriteHeader(http.StatusMethodNotAllowed)
		}
		w.Write([]byte("\x1b[2J"))
	}))
	defer server.Close()
	environ := []string{"RINGBACK_CALLBACK_SECRET=hunter2"}

	status, stdout, stderr := ringback(t, environ, "certify", server.URL, "--event", "call_create", "--event", "call_quit")
	for _, want := range []string{
		"\nPASS  event/call_create ", "\nPASS  event/call_quit ", "\nFAIL  signature/body ", "\nWARN  signature/stale ", "\nSKIP  delivery/reordered ",
		"\n        sent      a callback without webhook-signature", "\n        answered  200 OK in ", "\n        because   ", "\n        to do     ",
		" 4 failed, 1 skipped.\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	if status != 1 || stderr != "ringback: certify: 4 checks failed\n" || strings.Contains(stdout, "event/call_end") || strings.ContainsAny(stdout, "\x1b") {
		t.Errorf("status %d, stderr %q\n%s", status, stderr, stdout)
	}

	status, stdout, stderr = ringback(t, environ, "certify", server.URL, "--json", "--format", "form")
	var report certify.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || status != 1 || report.Failed != 4 || report.Format != "form" ||
		len(report.Checks) != report.Passed+report.Warned+report.Failed+report.Skipped || strings.Contains(stdout+stderr, "hunter2") {
		t.Errorf("status %d, %v, %+v", status, err, report)
	}
}

func TestCertifyCompletion(t *testing.T) {
	_, stdout, _ := ringback(t, nil, "__complete", "certify", "http://127.0.0.1", "--event", "")
	for _, event := range append(protocol.DocumentedCallbacks, protocol.CallbackUserAction, protocol.CallbackEnd) {
		if !strings.Contains(stdout, event+"\n") {
			t.Errorf("%s is not offered: %s", event, stdout)
		}
	}
}
