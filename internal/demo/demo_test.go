package demo_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/ringback/ringback/internal/demo"
)

const secret = "0123456789abcdef0123456789abcdef"

// start serves a demo on a loopback address until the test ends.
func start(t *testing.T) *httptest.Server {
	t.Helper()
	d := demo.New(demo.Options{
		AppID:     7,
		AppName:   "shop",
		AppSecret: secret,
		Token: func(userID string) (string, error) {
			if userID == "nobody" {
				return "", errors.New("no such user")
			}
			return "token-of-" + userID, nil
		},
	})
	srv := httptest.NewServer(d)
	t.Cleanup(srv.Close)
	t.Cleanup(d.Close) // before srv.Close, which waits for the streams
	return srv
}

// do sends a request and returns the status, the headers and the body of the
// answer, or zeros and a failed test. Headers come in pairs; Host is one of
// them. It may be called on any goroutine.
func do(t *testing.T, method, url, body string, headers ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, nil, ""
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0, nil, ""
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
		return 0, nil, ""
	}
	return res.StatusCode, res.Header, string(text)
}

func TestPage(t *testing.T) {
	srv := start(t)
	for path, want := range map[string]struct{ contentType, text string }{
		"/":                 {"text/html; charset=utf-8", "<title>Ringback"},
		"/phone?user=alice": {"text/html; charset=utf-8", "<title>Phone"},
		"/demo/main.js":     {"text/javascript; charset=utf-8", "import"},
		"/demo/ringback.js": {"text/javascript; charset=utf-8", "ringback.v1"},
		"/demo/style.css":   {"text/css; charset=utf-8", "prefers-color-scheme"},
		"/demo/icons.svg":   {"image/svg+xml", "<symbol"},

		"/examples/webrtc/?user=alice": {"text/html; charset=utf-8", "<title>WebRTC call"},
		"/examples/webrtc/peer.js":     {"text/javascript; charset=utf-8", "RTCPeerConnection"},
		"/examples/webrtc/ringback.js": {"text/javascript; charset=utf-8", "ringback.v1"},
		"/examples/webrtc/style.css":   {"text/css; charset=utf-8", "prefers-color-scheme"},
		"/examples/webrtc/icon.svg":    {"image/svg+xml", "<svg"},
	} {
		status, h, body := do(t, "GET", srv.URL+path, "")
		if status != http.StatusOK || h.Get("Content-Type") != want.contentType || !strings.Contains(body, want.text) {
			t.Errorf("GET %s = %d, %q, want 200, %q and a body with %q", path, status, h.Get("Content-Type"), want.contentType, want.text)
		}
		if csp := h.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'self';") || strings.Contains(csp, "unsafe") {
			t.Errorf("GET %s has Content-Security-Policy %q", path, csp)
		}
	}
	for _, path := range []string{"/index.html", "/demo/", "/demo/index.html", "/demo/static.go", "/demo/missing.js", "/demo/..%2fdemo.go", "/other", "/examples/", "/examples/webrtc/webrtc.go", "/examples/webrtc/main.css", "/examples/webrtc/x/main.js"} {
		if status, _, _ := do(t, "GET", srv.URL+path, ""); status != http.StatusNotFound {
			t.Errorf("GET %s = %d, want 404", path, status)
		}
	}
}

// The phones run on the web SDK: the very file that its users get.
func TestSDKIsTheBuiltOne(t *testing.T) {
	want, err := os.ReadFile("../../sdk/web/dist/ringback.js")
	if err != nil {
		t.Fatal(err)
	}
	if status, _, body := do(t, "GET", start(t).URL+"/demo/ringback.js", ""); status != http.StatusOK || body != string(want) {
		t.Errorf("the page's ringback.js (status %d) is not sdk/web/dist/ringback.js: run go generate ./internal/demo/static and commit it", status)
	}
}

// The policy of the page forbids inline script and style, so the page must
// have none.
func TestPageHasNothingInline(t *testing.T) {
	srv := start(t)
	for _, path := range []string{"/", "/phone", "/examples/webrtc/"} {
		_, _, page := do(t, "GET", srv.URL+path, "")
		for _, inline := range []string{"<style", " style=", " onclick=", "<script>", "javascript:"} {
			if strings.Contains(page, inline) {
				t.Errorf("%s contains %q", path, inline)
			}
		}
	}
}

func TestConfig(t *testing.T) {
	srv := start(t)
	status, _, body := do(t, "GET", srv.URL+"/demo/config.json", "")
	want := `{"app_id":7,"app_name":"shop","users":[{"user_id":"alice","name":"Alice"},{"user_id":"bob","name":"Bob"}]}` + "\n"
	if status != http.StatusOK || body != want {
		t.Errorf("config = %d %s, want %s", status, body, want)
	}
	status, h, body := do(t, "POST", srv.URL+"/demo/secret", "")
	if status != http.StatusOK || body != `{"app_secret":"`+secret+`"}`+"\n" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("secret = %d %q, Cache-Control %q", status, body, h.Get("Cache-Control"))
	}
}

func TestToken(t *testing.T) {
	srv := start(t)
	tests := []struct {
		name, body string
		status     int
		token      string
	}{
		{"minted", `{"user_id":"alice"}`, 200, "token-of-alice"},
		{"no user", `{}`, 400, ""},
		{"user ID too long", `{"user_id":"` + strings.Repeat("x", 33) + `"}`, 400, ""},
		{"not JSON", `user_id=alice`, 400, ""},
		{"too large", `{"user_id":"` + strings.Repeat("x", 2000) + `"}`, 413, ""},
		{"not minted", `{"user_id":"nobody"}`, 500, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, _, body := do(t, "POST", srv.URL+"/demo/token", tt.body)
			if status != tt.status {
				t.Fatalf("status %d, want %d: %s", status, tt.status, body)
			}
			var reply struct{ Token string }
			if status == http.StatusOK {
				if err := json.Unmarshal([]byte(body), &reply); err != nil {
					t.Fatal(err)
				}
			}
			if reply.Token != tt.token {
				t.Errorf("token %q, want %q", reply.Token, tt.token)
			}
		})
	}
	if status, _, _ := do(t, "GET", srv.URL+"/demo/token", ""); status != http.StatusNotFound {
		t.Errorf("GET of a token = %d, want 404", status)
	}
}

func TestHost(t *testing.T) {
	srv := start(t)
	for host, want := range map[string]int{
		"localhost":              200,
		"LOCALHOST:8080":         200,
		"demo.localhost:8080":    200,
		"127.0.0.1:8080":         200,
		"127.1.2.3":              200,
		"[::1]:8080":             200,
		"example.com":            403,
		"localhost.example.com":  403,
		"127.0.0.1.example.com":  403,
		"notlocalhost":           403,
		"192.168.1.10:8080":      403,
		"0.0.0.0:8080":           403,
		"169.254.169.254":        403,
		"[::ffff:10.0.0.1]:8080": 403,
	} {
		for _, path := range []string{"/", "/demo/config.json"} {
			if status, _, _ := do(t, "GET", srv.URL+path, "", "Host", host); status != want {
				t.Errorf("GET %s with Host %q = %d, want %d", path, host, status, want)
			}
		}
	}
}

func TestOrigin(t *testing.T) {
	srv := start(t)
	tests := []struct {
		name    string
		headers []string
		status  int
	}{
		{"none", nil, 200},
		{"own", []string{"Origin", srv.URL}, 200},
		{"own, said by the browser", []string{"Origin", srv.URL, "Sec-Fetch-Site", "same-origin"}, 200},
		{"foreign", []string{"Origin", "https://evil.example"}, 403},
		{"opaque", []string{"Origin", "null"}, 403},
		{"other port", []string{"Origin", "http://127.0.0.1:1"}, 403},
		{"foreign, said by the browser", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"other port, said by the browser", []string{"Sec-Fetch-Site", "same-site"}, 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, path := range []string{"/demo/token", "/demo/secret"} {
				if status, _, _ := do(t, "POST", srv.URL+path, `{"user_id":"alice"}`, tt.headers...); status != tt.status {
					t.Errorf("POST %s = %d, want %d", path, status, tt.status)
				}
			}
		})
	}
	for _, r := range []struct{ method, path string }{{"POST", "/demo/callbacks"}, {"POST", "/demo/receiver"}, {"DELETE", "/demo/inbox"}} {
		if status, _, _ := do(t, r.method, srv.URL+r.path, `{"mode":"fail"}`, "Origin", "https://evil.example"); status != http.StatusForbidden {
			t.Errorf("%s %s of a foreign page = %d, want 403", r.method, r.path, status)
		}
	}
}
