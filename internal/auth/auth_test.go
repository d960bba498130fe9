package auth

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const testSecret = "0123456789abcdef0123456789abcdef"

// testNow is the instant at which the tests verify and, mostly, issue.
var testNow = time.Unix(1700000000, 0)

func TestMadeTokensVerify(t *testing.T) {
	makers := map[string]func(appID uint32, userID, secret string, issued time.Time, ttl time.Duration) (string, error){
		"jwt": NewJWT,
		"token04": func(appID uint32, userID, secret string, issued time.Time, ttl time.Duration) (string, error) {
			return NewToken04(appID, userID, secret, issued, ttl, `{"room":"<a> & \"b\""}`)
		},
	}
	users := []string{"a", "alice", strings.Repeat("u", 32), "!#$%&()+-:;<=.>?", "@[]^_{}|~ x y"}
	for name, newToken := range makers {
		t.Run(name, func(t *testing.T) {
			for _, user := range users {
				for _, appID := range []uint32{1, 4294967295} {
					issued := testNow.Add(700 * time.Millisecond)
					token, err := newToken(appID, user, testSecret, issued, time.Hour)
					if err != nil {
						t.Fatal(err)
					}
					expires, err := Verify(token, appID, user, testSecret, testNow)
					if err != nil {
						t.Fatalf("Verify of a token of app %d for %q: %v", appID, user, err)
					}
					if want := testNow.Add(time.Hour); !expires.Equal(want) {
						t.Errorf("app %d, %q: expires %v, want %v", appID, user, expires, want)
					}
					if _, err := Verify(token, appID^2, user, testSecret, testNow); err != ErrInvalid {
						t.Errorf("another app: %v, want ErrInvalid", err)
					}
					if _, err := Verify(token, appID, user+"x", testSecret, testNow); err != ErrInvalid {
						t.Errorf("another user: %v, want ErrInvalid", err)
					}
					if _, err := Verify(token, appID, user, strings.ToUpper(testSecret), testNow); err != ErrInvalid {
						t.Errorf("another secret: %v, want ErrInvalid", err)
					}
				}
			}
		})
	}
}

// TestValidity walks over the last seconds of a token to the nanosecond.
func TestValidity(t *testing.T) {
	token04, err := NewToken04(1, "alice", testSecret, testNow, time.Minute, "")
	if err != nil {
		t.Fatal(err)
	}
	jwt, err := NewJWT(1, "alice", testSecret, testNow, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		after time.Duration
		want  error
	}{
		{-time.Hour, nil},
		{0, nil},
		{30 * time.Second, nil},
		{30*time.Second + 1, ErrTooShort},
		{time.Minute - 1, ErrTooShort},
		{time.Minute, ErrExpired},
		{time.Hour, ErrExpired},
	}
	for _, tt := range tests {
		for _, token := range []string{token04, jwt} {
			if _, err := Verify(token, 1, "alice", testSecret, testNow.Add(tt.after)); err != tt.want {
				t.Errorf("%.5s… after %v: %v, want %v", token, tt.after, err, tt.want)
			}
		}
	}
}

func TestFormats(t *testing.T) {
	tests := []struct {
		token string
		want  error
	}{
		{"", ErrInvalid},
		{"0", ErrInvalid},
		{"token", ErrInvalid},
		{"0x04", ErrInvalid},
		{" 04AAAA", ErrInvalid},
		{"04", ErrInvalid},
		{"04====", ErrInvalid},
		{"04AAAAAGVT", ErrInvalid},
		{"03AAAAAGVT", ErrVersion},
		{"02", ErrVersion},
		{"99 bottles", ErrVersion},
		{"03.a.b", ErrInvalid}, // a JWT by its dots
		{"..", ErrInvalid},
		{"a.b.c.d", ErrInvalid},
		{strings.Repeat("0", maxToken+1), ErrInvalid},
	}
	for _, tt := range tests {
		if _, err := Verify(tt.token, 1, "alice", testSecret, testNow); !errors.Is(err, tt.want) {
			t.Errorf("Verify(%.20q): %v, want %v", tt.token, err, tt.want)
		}
	}
}

func TestSecretLength(t *testing.T) {
	token, err := NewJWT(1, "alice", testSecret, testNow, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"", "hunter2hunter2", testSecret + "x"} {
		_, err := Verify(token, 1, "alice", secret, testNow)
		for _, refusal := range []error{nil, ErrInvalid, ErrExpired, ErrVersion, ErrTooShort} {
			if errors.Is(err, refusal) {
				t.Errorf("Verify with a secret of %d bytes: %v", len(secret), err)
			}
		}
		if _, err := NewToken04(1, "alice", secret, testNow, time.Hour, ""); err == nil {
			t.Errorf("NewToken04 took a secret of %d bytes", len(secret))
		} else if secret != "" && strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows the secret: %v", err)
		}
		if _, err := NewJWT(1, "alice", secret, testNow, time.Hour); err == nil {
			t.Errorf("NewJWT took a secret of %d bytes", len(secret))
		}
	}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name    string
		appID   uint32
		user    string
		ttl     time.Duration
		payload string
	}{
		{"app 0", 0, "alice", time.Hour, ""},
		{"no user", 1, "", time.Hour, ""},
		{"ttl 0", 1, "alice", 0, ""},
		{"negative ttl", 1, "alice", -time.Hour, ""},
		{"payload over 64 KiB", 1, "alice", time.Hour, strings.Repeat("x", 1<<16)},
	}
	for _, tt := range tests {
		if token, err := NewToken04(tt.appID, tt.user, testSecret, testNow, tt.ttl, tt.payload); err == nil {
			t.Errorf("%s: NewToken04 made %.10s…", tt.name, token)
		}
		if tt.payload != "" {
			continue
		}
		if token, err := NewJWT(tt.appID, tt.user, testSecret, testNow, tt.ttl); err == nil {
			t.Errorf("%s: NewJWT made %.10s…", tt.name, token)
		}
	}
}
