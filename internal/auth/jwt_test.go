package auth

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TestMutatedJWT changes each character of a valid token to each other one,
// which also finds two texts for one signature.
func TestMutatedJWT(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=.\n\r "
	for i := range len(foreignJWT) {
		for _, c := range []byte(alphabet) {
			if c == foreignJWT[i] {
				continue
			}
			changed := foreignJWT[:i] + string(c) + foreignJWT[i+1:]
			if _, err := Verify(changed, 1, "alice", testSecret, testNow); err == nil {
				t.Errorf("valid with %q at %d", c, i)
			}
			inserted := foreignJWT[:i] + string(c) + foreignJWT[i:]
			if _, err := Verify(inserted, 1, "alice", testSecret, testNow); err == nil {
				t.Errorf("valid with %q inserted at %d", c, i)
			}
		}
	}
}

func TestJWTCriticalHeader(t *testing.T) {
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": "alice", "aud": "1", "exp": testNow.Add(time.Hour).Unix(),
	})
	token.Header["crit"] = []string{"exp"}
	text, err := token.SignedString([]byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(text, 1, "alice", testSecret, testNow); err != ErrInvalid {
		t.Errorf("token with a critical header: %v, want ErrInvalid", err)
	}
}
