package auth

import (
	"strings"
	"testing"
)

// FuzzVerify checks that no text makes Verify panic, and that no JWT under the
// secret is accepted save those that were signed with it.
func FuzzVerify(f *testing.F) {
	signed := make(map[string]bool)
	for _, v := range vectors(f) {
		f.Add(v.Token)
		signed[v.Token] = signed[v.Token] || v.Want == "ok"
	}
	f.Fuzz(func(t *testing.T, token string) {
		expires, err := Verify(token, 1, "alice", testSecret, testNow)
		switch err {
		case nil:
			if expires.Sub(testNow) < MinValidity {
				t.Errorf("accepted until %v", expires)
			}
			if strings.Count(token, ".") == 2 && !signed[token] {
				t.Errorf("accepted a mutated JWT")
			}
		case ErrInvalid, ErrExpired, ErrVersion, ErrTooShort:
			if !expires.IsZero() {
				t.Errorf("refused with expiry %v", expires)
			}
		default:
			t.Errorf("Verify: %v", err)
		}
	})
}
