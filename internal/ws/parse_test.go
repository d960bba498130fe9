package ws

import (
	"bytes"
	"net/http"
	"net/netip"
	"testing"
)

// Whatever a peer sends is a request with an ID, or closes the connection.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"id":1,"op":"login","body":{"app_id":1}}`, `{"id":1,"op":"call.end","body": {} }`, `{"id":1,"op":"x","body":{},"id":2}`, `{"op":"ping"}`, `{"id":"1"}`, `{"id":1,"op":[]}`, `null`, `[]`, ``,
		`{"id":1e3,"op":"ping"}`, `{"id":9223372036854775808,"op":"ping"}`, "{\"id\":1,\"op\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		req, broken := parse(payload)
		if usual, ok := parseUsual(payload); ok {
			slow, broken := parseAny(payload)
			if broken != nil || slow.ID != usual.ID || slow.Op != usual.Op || !bytes.Equal(bytes.TrimSpace(usual.Body), slow.Body) {
				t.Errorf("%q is %v the short way, %v (%v) the long way", payload, usual, slow, broken)
			}
		}
		if broken == nil && (req.ID < 0 || req.ID == 0 && req.Op != "ping") {
			t.Errorf("%q was taken for request %d %q", payload, req.ID, req.Op)
		}
		if broken == nil {
			var body struct {
				UserIDs []string `json:"user_ids"`
			}
			decode(req, &body) // must not panic
		}
	})
}

func TestRemoteAddress(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8")}
	tests := []struct {
		peer, forwarded, want string
	}{
		{"203.0.113.5:1", "", "203.0.113.5"},
		{"203.0.113.5:1", "198.51.100.1", "203.0.113.5"},
		{"10.1.1.1:1", "198.51.100.1", "198.51.100.1"},
		{"10.1.1.1:1", "1.1.1.1, 198.51.100.1, 10.2.2.2", "198.51.100.1"},
		{"10.1.1.1:1", "nonsense", "10.1.1.1"},
		{"[::ffff:127.0.0.1]:1", "2001:db8::1", "2001:db8::1"},
	}
	for _, tt := range tests {
		r := &http.Request{RemoteAddr: tt.peer, Header: http.Header{}}
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		if got := remoteAddress(r, trusted); got != tt.want {
			t.Errorf("%s forwarded for %q is %s, want %s", tt.peer, tt.forwarded, got, tt.want)
		}
	}
}
