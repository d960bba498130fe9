package console

import (
	"strings"
	"testing"
	"time"

	"github.com/ringback/ringback/internal/adminapi"
)

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"plain\ntext":    "plain\ntext",
		"a\u202eb":       "a⟨U+202E⟩b",
		"a\x00b\x1b[31m": "a⟨U+0000⟩b⟨U+001B⟩[31m",
		"zero\u200bwide": "zero⟨U+200B⟩wide",
		"עברית 📞":        "עברית 📞",
		"bad \xff utf-8": "bad \uFFFD utf-8",
	} {
		if got := visible(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestBDI(t *testing.T) {
	if got := bdi(`<script>"'&`); got != "<bdi>&lt;script&gt;&#34;&#39;&amp;</bdi>" {
		t.Error(got)
	}
	want := `<bdi>It rang: <bdi>ע&lt;b&gt;</bdi>&#39;s device.</bdi>`
	if got := story("It rang: ע<b>'s device.", []string{"alice", "ע<b>"}); string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestPretty(t *testing.T) {
	const signature = "0123456789abcdef0123456789abcdef01234567"
	for body, want := range map[string]string{
		`{"event":"call_end","signature":"` + signature + `","n":12345678901234567890}`: "{\n  \"event\": \"call_end\",\n  \"signature\": \"01234567…\",\n  \"n\": 12345678901234567890\n}",
		"event=call_end&signature=" + signature + "&user=a%20b":                         "event = call_end\nsignature = 01234567…\nuser = a b",
		"<html>":             "<html>",
		"[1,":                "[1,",
		"":                   "",
		`{"a":"\u202e"}`:     "{\n  \"a\": \"\\u202e\"\n}",
		"{\"a\":\"\u202e\"}": "{\n  \"a\": \"⟨U+202E⟩\"\n}",
	} {
		if got := pretty(body); got != want {
			t.Errorf("%s:\n%s, want\n%s", body, got, want)
		}
	}
}

func TestSecretsAreMasked(t *testing.T) {
	for _, h := range []adminapi.Header{
		{Name: "Authorization", Value: "Basic c2VjcmV0"},
		{Name: "set-cookie", Value: "session=c2VjcmV0"},
		{Name: "X-API-Key", Value: "c2VjcmV0"},
		{Name: "Webhook-Signature", Value: "v1,0123456789c2VjcmV0= v1,9876543210c2VjcmV0="},
	} {
		if got := maskHeader(h); strings.Contains(got, "c2VjcmV0") {
			t.Errorf("%s shows %s", h.Name, got)
		}
	}
	if got := maskHeader(adminapi.Header{Name: "Content-Type", Value: "application/json"}); got != "application/json" {
		t.Error(got)
	}
	if got := redacted("https://user:hunter2@example.com/x"); strings.Contains(got, "hunter2") || !strings.Contains(got, "example.com/x") {
		t.Error(got)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 ms", 1500 * time.Microsecond: "1.5 ms", 250 * time.Millisecond: "250 ms", 1500 * time.Millisecond: "1.5 s",
		75 * time.Second: "75 s", 5 * time.Minute: "5 min", 3 * time.Hour: "3 h", 72 * time.Hour: "3 days",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1\u202f000", 1234567: "1\u202f234\u202f567", -1000: "-1\u202f000", -100: "-100"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestPercent(t *testing.T) {
	for want, n := range map[string][2]int{"–": {0, 0}, "100 %": {5, 0}, "0 %": {0, 5}, "66.7 %": {2, 1}, "99.9 %": {1_000_000, 1}} {
		if got := percent(n[0], n[1]); got != want {
			t.Errorf("%v: %s, want %s", n, got, want)
		}
	}
}
