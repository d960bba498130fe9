package ws

import (
	"bytes"
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
