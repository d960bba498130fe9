package server

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/ringback/ringback/internal/adminapi"
	"github.com/ringback/ringback/internal/config"
)

// knock asks for the apps with other headers than usual.
func (a *admin) knock(method string, change func(*http.Request)) (*http.Response, string) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+adminapi.Path+"/apps", http.NoBody)
	if err != nil {
		a.t.Fatal(err)
	}
	change(req)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, resp.Body); err != nil {
		a.t.Fatal(err)
	}
	return resp, b.String()
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", token) }
}

func TestAdminToken(t *testing.T) {
	a := serveAdmin(t, nil)
	for _, c := range []struct {
		authorization, want string
	}{
		{"", "there is no token"},
		{"Bearer", "is wrong"},
		{"Bearer ", "is wrong"},
		{"Bearer not-the-token", "is wrong"},
		{"Bearer " + adminToken + "x", "is wrong"},
		{"Bearer " + adminToken[1:], "is wrong"},
		{"Basic " + adminToken, "is wrong"},
		{adminToken, "is wrong"},
	} {
		resp, text := a.knock(http.MethodGet, bearer(c.authorization))
		if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(text, c.want) || !strings.Contains(text, "admin_token of the configuration") ||
			resp.Header.Get("Content-Type") != "application/problem+json" || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer ") {
			t.Errorf("%q: HTTP %d %v %s", c.authorization, resp.StatusCode, resp.Header, text)
		}
		if strings.Contains(text, "not-the-token") {
			t.Errorf("the answer repeats the token: %s", text)
		}
	}
	if resp, text := a.knock(http.MethodGet, bearer("bearer "+adminToken)); resp.StatusCode != http.StatusOK || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the right token: HTTP %d %s", resp.StatusCode, text)
	}
	if log := a.log.String(); !strings.Contains(log, "an admin request was refused") || !strings.Contains(log, "127.0.0.1") || strings.Contains(log, "not-the-token") {
		t.Errorf("the log is %s", log)
	}
}

// TestWrongTokensAreLimited: ten from one address, however they come; others
// are not held up by it.
func TestWrongTokensAreLimited(t *testing.T) {
	a := serveAdmin(t, func(c *config.Config, _ *Options) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	from := func(address, token string) int {
		resp, text := a.knock(http.MethodGet, func(r *http.Request) {
			r.Header.Set("X-Forwarded-For", address)
			r.Header.Set("Authorization", "Bearer "+token)
		})
		if resp.StatusCode == http.StatusTooManyRequests &&
			(resp.Header.Get("Retry-After") == "" || resp.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(text, "wait a minute")) {
			t.Errorf("the refusal is %v %s", resp.Header, text)
		}
		return resp.StatusCode
	}
	for n := range 10 {
		if got := from("192.0.2.1", fmt.Sprintf("guess-%d", n)); got != http.StatusUnauthorized {
			t.Errorf("wrong token %d: HTTP %d", n+1, got)
		}
	}
	for _, c := range []struct {
		address, token string
		want           int
	}{
		{"192.0.2.1", "one more", http.StatusTooManyRequests},
		{"192.0.2.1", adminToken, http.StatusTooManyRequests},
		{"192.0.2.2", "first", http.StatusUnauthorized},
		{"192.0.2.2", adminToken, http.StatusOK},
	} {
		if got := from(c.address, c.token); got != c.want {
			t.Errorf("from %s: HTTP %d, want %d", c.address, got, c.want)
		}
	}
	for range 50 {
		if got := from("192.0.2.3", adminToken); got != http.StatusOK {
			t.Fatalf("right tokens count as wrong ones: HTTP %d", got)
		}
	}
}

// TestEveryOperationNeedsTheToken: no operation answers without it, nor does
// the description; what they say is described.
func TestEveryOperationNeedsTheToken(t *testing.T) {
	a := serveAdmin(t, func(c *config.Config, _ *Options) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	address, operations := 0, 0
	try := func(method, path string) (*http.Response, []byte) {
		req, err := http.NewRequestWithContext(t.Context(), method, a.url+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		address++ // so that nothing is refused for its number
		req.Header.Set("X-Forwarded-For", fmt.Sprintf("192.0.2.%d", address))
		req.Header.Set("Authorization", "Bearer wrong")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s %s: HTTP %d %s", method, path, resp.StatusCode, text)
		}
		return resp, text
	}
	for path, item := range a.doc.doc["paths"].(object) {
		path = regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(path, "1")
		for method := range item.(object) {
			resp, text := try(strings.ToUpper(method), path)
			a.doc.check(t, strings.ToUpper(method), resp, text)
			operations++
		}
	}
	if operations < 25 {
		t.Errorf("there are only %d operations", operations)
	}
	try(http.MethodGet, adminapi.Path+"/openapi.json")
	try(http.MethodGet, adminapi.Path+"/nothing")
}

// TestWrongTokensInANetwork: somebody who has a whole network of IPv6
// addresses is still one.
func TestWrongTokensInANetwork(t *testing.T) {
	a := serveAdmin(t, func(c *config.Config, _ *Options) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	refused := 0
	for n := range 20 {
		resp, _ := a.knock(http.MethodGet, func(r *http.Request) {
			r.Header.Set("X-Forwarded-For", fmt.Sprintf("2001:db8::%x:1", n+1))
			r.Header.Set("Authorization", "Bearer guess")
		})
		if resp.StatusCode == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused == 0 {
		t.Error("every address of the network may try anew")
	}
}

// TestOpenAdmin: without a token, only this machine is answered, and no page
// of another site.
func TestOpenAdmin(t *testing.T) {
	a := serveAdmin(t, func(c *config.Config, o *Options) { c.AdminToken, o.OpenAdmin = "", true })
	own := strings.TrimPrefix(a.url, "http://")
	_, port, _ := strings.Cut(own, ":")
	for _, c := range []struct {
		host, origin string
		want         int
	}{
		{own, "", http.StatusOK},
		{"localhost:" + port, "", http.StatusOK},
		{"LOCALHOST", "", http.StatusOK},
		{"[::1]:" + port, "", http.StatusOK},
		{"127.8.9.10", "", http.StatusOK},
		{own, a.url, http.StatusOK},
		{"localhost:" + port, "http://localhost:" + port, http.StatusOK},
		{"rebound.example:" + port, "", http.StatusForbidden},
		{"rebound.example:" + port, "http://rebound.example:" + port, http.StatusForbidden},
		{"127.0.0.1.rebound.example", "", http.StatusForbidden},
		{"192.0.2.1:" + port, "", http.StatusForbidden},
		{"0.0.0.0:" + port, "", http.StatusForbidden},
		{own, "http://evil.example", http.StatusForbidden},
		{own, "http://127.0.0.1:1", http.StatusForbidden},
		{own, "http://localhost:" + port, http.StatusForbidden},
		{own, "null", http.StatusForbidden},
		{own, "http://" + own + "@evil.example", http.StatusForbidden},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			resp, text := a.knock(method, func(r *http.Request) {
				r.Host = c.host
				if c.origin != "" {
					r.Header.Set("Origin", c.origin)
				}
			})
			refused := resp.StatusCode == http.StatusForbidden
			if refused != (c.want == http.StatusForbidden) {
				t.Errorf("%s with Host %s and Origin %q: HTTP %d %s", method, c.host, c.origin, resp.StatusCode, text)
			}
			if refused && (resp.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(text, "without a token")) {
				t.Errorf("the refusal is %s", text)
			}
			if resp.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Error("another site may read the answer")
			}
		}
	}
}

func TestAdminIsOffWithoutAToken(t *testing.T) {
	url, _ := serve(t)
	resp, err := http.Get(url + adminapi.Path + "/apps")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("HTTP %d", resp.StatusCode)
	}
}
