package auth

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// jwtParser checks form, algorithm and signature. The claims are judged by
// [claimsHold], so that both formats agree on what expired means. Decoding is
// strict: otherwise several texts would be the same token.
var jwtParser = jwt.NewParser(
	jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
	jwt.WithJSONNumber(),
	jwt.WithStrictDecoding(),
	jwt.WithoutClaimsValidation(),
)

// NewJWT makes a JWT, signed with HS256, that lets userID log in to app appID
// from issued until ttl later, both cut to whole seconds.
//
// It is an error if the secret is not 32 bytes long, an ID is zero, or ttl is
// under a second. Whether the user ID is well formed is not checked.
func NewJWT(appID uint32, userID, secret string, issued time.Time, ttl time.Duration) (string, error) {
	if err := checkNew(appID, userID, secret, ttl); err != nil {
		return "", err
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": userID,
		"aud": formatAppID(appID),
		"iat": issued.Unix(),
		"exp": issued.Add(ttl).Unix(),
	}).SignedString([]byte(secret))
}

// openJWT returns the expiry of a JWT in Unix seconds, and whether everything
// else about the token holds.
func openJWT(token string, appID uint32, userID, secret string, now time.Time) (expiry int64, ok bool) {
	// The decoder of base64 skips line breaks wherever they are.
	if strings.ContainsAny(token, "\r\n") {
		return 0, false
	}
	claims := jwt.MapClaims{}
	parsed, err := jwtParser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		// RFC 7515, section 4.1.11: extensions that are not understood must be refused.
		if _, ok := t.Header["crit"]; ok {
			return nil, errors.New("critical header")
		}
		return []byte(secret), nil
	})
	if err != nil || !parsed.Valid {
		return 0, false
	}
	return claimsHold(claims, appID, userID, now)
}

// claimsHold returns the expiry among claims, and whether they name app and
// user and are in force at now.
func claimsHold(claims jwt.MapClaims, appID uint32, userID string, now time.Time) (expiry int64, ok bool) {
	if sub, ok := claims["sub"].(string); !ok || sub != userID {
		return 0, false
	}
	if !inAudience(claims["aud"], formatAppID(appID)) {
		return 0, false
	}
	if nbf, present := claims["nbf"]; present {
		from, ok := numericDate(nbf, math.Ceil)
		if !ok || now.Before(time.Unix(from, 0)) {
			return 0, false
		}
	}
	return numericDate(claims["exp"], math.Floor)
}

// inAudience reports whether aud, a string or an array of strings, names want.
func inAudience(aud any, want string) bool {
	switch aud := aud.(type) {
	case string:
		return aud == want
	case []any:
		found := false
		for _, a := range aud {
			s, ok := a.(string)
			if !ok {
				return false
			}
			found = found || s == want
		}
		return found
	}
	return false
}

// numericDate returns the whole seconds, from 0 to [maxExpiry], of a date as
// RFC 7519 has it: a JSON number that may have a fraction, which round takes
// away.
func numericDate(v any, round func(float64) float64) (seconds int64, ok bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	if i, err := n.Int64(); err == nil {
		return min(max(i, 0), maxExpiry), true
	}
	f, err := n.Float64()
	if err != nil {
		return 0, false
	}
	return int64(round(min(max(f, 0), maxExpiry))), true
}

func formatAppID(id uint32) string { return strconv.FormatUint(uint64(id), 10) }
