// Package auth verifies and makes the tokens with which users log in.
//
// Two formats are known, both under the 32-byte secret of an app: Token04, as
// the token generators of ZEGOCLOUD make it, and JWT with HS256. The format is
// seen from the token alone.
package auth

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The refusals of [Verify], to be matched with [errors.Is]. They carry no
// detail on purpose: whoever holds a refused token must not learn from the
// answer what is inside.
var (
	// ErrInvalid says that the token is malformed, forged, not valid yet, or
	// made for another app or user.
	ErrInvalid = errors.New("auth: the token is invalid")

	// ErrExpired says that the token was valid once.
	ErrExpired = errors.New("auth: the token has expired")

	// ErrVersion says that the text looks like a token of another version,
	// such as Token03.
	ErrVersion = errors.New("auth: the token is of another version than 04")

	// ErrTooShort says that the token is valid for less than [MinValidity].
	ErrTooShort = errors.New("auth: the token expires too soon")
)

// MinValidity is the time for which a token must still be valid when it is
// verified.
const MinValidity = 30 * time.Second

// secretLen is the length of an app's secret in bytes: the key of AES-256.
const secretLen = 32

// maxToken bounds the length of a token in bytes. The longest Token04, whose
// ciphertext is counted by 16 bits, is a little shorter.
const maxToken = 88 << 10

// maxExpiry is the last second of the year 9999. Later expiries are taken as
// this one, so that no arithmetic on them overflows.
const maxExpiry = 253402300799

// Verify checks that token lets userID log in to app appID under the app's
// secret at the instant now, without leeway, and returns when it expires. That
// is a whole second, at most the end of the year 9999; from it on the token is
// expired.
//
// The error is one of [ErrInvalid], [ErrExpired], [ErrVersion] and
// [ErrTooShort], or, if the secret is not 32 bytes long, one that is none of
// them, since then the server is at fault and not the user. A token that is
// both forged and expired is invalid; one that has expired is not too short.
//
// Verify does not judge whether userID is well formed; the empty one is
// refused. It may be called concurrently.
func Verify(token string, appID uint32, userID, secret string, now time.Time) (expires time.Time, err error) {
	if err := checkSecret(secret); err != nil {
		return time.Time{}, err
	}
	if len(token) > maxToken || userID == "" {
		return time.Time{}, ErrInvalid
	}
	var expiry int64
	var ok bool
	switch {
	case strings.Count(token, ".") == 2:
		expiry, ok = openJWT(token, appID, userID, secret, now)
	case strings.HasPrefix(token, prefix04):
		expiry, ok = openToken04(token, appID, userID, secret)
	case len(token) >= 2 && isDigit(token[0]) && isDigit(token[1]):
		return time.Time{}, ErrVersion
	}
	if !ok {
		return time.Time{}, ErrInvalid
	}
	expires = time.Unix(min(max(expiry, 0), maxExpiry), 0)
	switch {
	case !now.Before(expires):
		return time.Time{}, ErrExpired
	case expires.Sub(now) < MinValidity:
		return time.Time{}, ErrTooShort
	}
	return expires, nil
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

// checkSecret reports a secret that cannot be the key of a token, without
// showing it.
func checkSecret(secret string) error {
	if len(secret) != secretLen {
		return fmt.Errorf("auth: the app's secret has %d bytes, tokens need one of %d", len(secret), secretLen)
	}
	return nil
}

// checkNew reports what forbids making a token.
func checkNew(appID uint32, userID, secret string, ttl time.Duration) error {
	if err := checkSecret(secret); err != nil {
		return err
	}
	switch {
	case appID == 0:
		return errors.New("auth: the app ID is 0")
	case userID == "":
		return errors.New("auth: the user ID is empty")
	case ttl < time.Second:
		return errors.New("auth: a token must be valid for at least one second")
	}
	return nil
}
