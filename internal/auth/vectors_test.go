package auth

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

var update = flag.Bool("update", false, "write the golden tokens")

// goldenFile is shared with the tests of other languages.
var goldenFile = filepath.Join("..", "..", "protocol", "testdata", "tokens.json")

// vector is one entry of the golden file.
type vector struct {
	Name   string `json:"name"`
	Secret string `json:"secret"`
	App    uint32 `json:"app"`
	User   string `json:"user"`
	Now    int64  `json:"now"` // Unix seconds
	Token  string `json:"token"`
	Want   string `json:"want"` // "ok", "invalid", "expired", "version" or "too_short"

	Expires int64 `json:"expires,omitempty"` // Unix seconds, if ok
}

// Tokens made by Node.js after the vendor's generators, old (CBC) and new
// (GCM), and with its crypto module alone (JWT).
const (
	foreignCBC = "04AAAAAGVT/xAAEDAxMjM0NTY3ODlhYmNkZWYAcMxqWWRJRMEf+qQkioLQtz7tS6dZHN+RuZXaE1+SzeRUa/8LyzagIRuUrO7XGpPxcQ8/s9rlGN7yHB8ApYtyDgOH9KAjzIbx1M0fh/wpyb34jJhGTjdRYkkkVM8EE3ixSVIlWMqBoyaZXe/657+2uZQ="
	foreignGCM = "04AAAAAGVT/xAADDAxMjM0NTY3ODlhYgBz4ouGSjOV8X/XPxKRkXEPQjDZvas18kgKSOasfOvUu8dFEQQc0MgI9FLdS1T9vkf83Rj1xcczQxVE78J4PEkkqVCKLAmR6vCcl65l62YpPVOtm3H9bvR3uXZoiOiuGjbzXT838Ryvks+TJKIHmM36dq6DCQE="
	foreignJWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImF1ZCI6IjEiLCJleHAiOjE3MDAwMDM2MDB9.qzJo8_fTvR2qghJUWrX-suoEmH8S1ixWAJ1coP90NPc"
)

// vectors makes the golden tokens, with a fixed IV and nonce.
func vectors(t testing.TB) []vector {
	iv := [16]byte([]byte("fedcba9876543210"))
	now := testNow.Unix()
	claims := claims04{AppID: 1, UserID: "alice", Nonce: 20250101, CTime: now, Expire: now + 3600}
	token04 := func(change func(*claims04)) string {
		c := claims
		change(&c)
		token, err := seal04(c, testSecret, iv)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	text04 := func(text string) string {
		token, err := sealText04([]byte(text), now+3600, testSecret, iv)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	signed := func(method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
		token, err := jwt.NewWithClaims(method, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	hs256 := func(claims jwt.MapClaims) string {
		return signed(jwt.SigningMethodHS256, []byte(testSecret), claims)
	}
	list := []vector{
		{Name: "token04: CBC, of a foreign generator", Token: foreignCBC, Want: "ok"},
		{Name: "token04: GCM, of a foreign generator", Token: foreignGCM, Want: "ok"},
		{Name: "token04", Token: token04(func(c *claims04) {}), Want: "ok"},
		{Name: "token04: payload", Token: token04(func(c *claims04) { c.Payload = `{"room_id":"r","privilege":{"1":1}}` }), Want: "ok"},
		{Name: "token04: members in another order, spaces", Token: text04(`{"user_id": "alice", "expire": 1700003600, "app_id": 1, "payload": null, "ctime": 1700000000, "nonce": -7}`), Want: "ok"},
		{Name: "token04: app ID as a string", Token: text04(`{"app_id":"1","user_id":"alice","nonce":1,"ctime":1700000000,"expire":1700003600,"payload":""}`), Want: "ok"},
		{Name: "token04: only what is needed", Token: text04(`{"app_id":1,"user_id":"alice","expire":1700003600}`), Want: "ok"},
		{Name: "token04: another app", Token: token04(func(c *claims04) { c.AppID = 2 }), Want: "invalid"},
		{Name: "token04: another user", Token: token04(func(c *claims04) { c.UserID = "bob" }), Want: "invalid"},
		{Name: "token04: expired", Token: token04(func(c *claims04) { c.Expire = now }), Want: "expired"},
		{Name: "token04: expired by its JSON only", Token: text04(`{"app_id":1,"user_id":"alice","expire":1699999999}`), Want: "expired"},
		{Name: "token04: expired, of another user", Token: token04(func(c *claims04) { c.UserID, c.Expire = "bob", now }), Want: "invalid"},
		{Name: "token04: 30 s left", Token: token04(func(c *claims04) { c.Expire = now + 30 }), Want: "ok", Expires: now + 30},
		{Name: "token04: 29 s left", Token: token04(func(c *claims04) { c.Expire = now + 29 }), Want: "too_short"},
		{Name: "token04: JSON of another type", Token: text04(`["app_id",1]`), Want: "invalid"},
		{Name: "token04: expire as a string", Token: text04(`{"app_id":1,"user_id":"alice","expire":"1700003600"}`), Want: "invalid"},
		{Name: "token04: no expire", Token: text04(`{"app_id":1,"user_id":"alice"}`), Want: "invalid"},
		{Name: "token04: member twice", Token: text04(`{"app_id":1,"user_id":"bob","user_id":"alice","expire":1700003600}`), Want: "invalid"},
		{Name: "token04: unknown member", Token: text04(`{"app_id":1,"user_id":"alice","admin":true,"expire":1700003600}`), Want: "invalid"},
		{Name: "token04: text after the JSON", Token: text04(`{"app_id":1,"user_id":"alice","expire":1700003600}{}`), Want: "invalid"},
		{Name: "token04: not UTF-8", Token: text04("{\"app_id\":1,\"user_id\":\"alice\",\"expire\":1700003600,\"payload\":\"\xff\"}"), Want: "invalid"},
		{Name: "token04: another secret", Token: foreignCBC, Secret: "fedcba9876543210fedcba9876543210", Want: "invalid"},
		{Name: "token04: no base64", Token: "04not base64!", Want: "invalid"},
		{Name: "version 03", Token: "03AAAAAGVT", Want: "version"},
		{Name: "version 02", Token: "02AAAAAGVT", Want: "version"},
		{Name: "no token", Token: "hello", Want: "invalid"},
		{Name: "empty", Token: "", Want: "invalid"},
		{Name: "jwt: of a foreign generator", Token: foreignJWT, Want: "ok"},
		{Name: "jwt: audience as an array", Token: hs256(jwt.MapClaims{"sub": "alice", "aud": []string{"7", "1"}, "exp": now + 3600}), Want: "ok"},
		{Name: "jwt: audience as a number", Token: hs256(jwt.MapClaims{"sub": "alice", "aud": 1, "exp": now + 3600}), Want: "invalid"},
		{Name: "jwt: another app", Token: hs256(jwt.MapClaims{"sub": "alice", "aud": "2", "exp": now + 3600}), Want: "invalid"},
		{Name: "jwt: no audience", Token: hs256(jwt.MapClaims{"sub": "alice", "exp": now + 3600}), Want: "invalid"},
		{Name: "jwt: another user", Token: hs256(jwt.MapClaims{"sub": "bob", "aud": "1", "exp": now + 3600}), Want: "invalid"},
		{Name: "jwt: no exp", Token: hs256(jwt.MapClaims{"sub": "alice", "aud": "1"}), Want: "invalid"},
		{Name: "jwt: exp as a string", Token: hs256(jwt.MapClaims{"sub": "alice", "aud": "1", "exp": "1700003600"}), Want: "invalid"},
		{Name: "jwt: exp with a fraction", Token: hs256(jwt.MapClaims{"sub": "alice", "aud": "1", "exp": 1700003600.9}), Want: "ok"},
		{Name: "jwt: exp far away", Token: hs256(jwt.MapClaims{"sub": "alice", "aud": "1", "exp": 1e30}), Want: "ok", Expires: maxExpiry},
		{Name: "jwt: expired", Token: hs256(jwt.MapClaims{"sub": "alice", "aud": "1", "exp": now}), Want: "expired"},
		{Name: "jwt: expired, of another user", Token: hs256(jwt.MapClaims{"sub": "bob", "aud": "1", "exp": now}), Want: "invalid"},
		{Name: "jwt: 29 s left", Token: hs256(jwt.MapClaims{"sub": "alice", "aud": "1", "exp": now + 29}), Want: "too_short"},
		{Name: "jwt: nbf now", Token: hs256(jwt.MapClaims{"sub": "alice", "aud": "1", "exp": now + 3600, "nbf": now}), Want: "ok"},
		{Name: "jwt: nbf in a second", Token: hs256(jwt.MapClaims{"sub": "alice", "aud": "1", "exp": now + 3600, "nbf": now + 1}), Want: "invalid"},
		{Name: "jwt: nbf of another type", Token: hs256(jwt.MapClaims{"sub": "alice", "aud": "1", "exp": now + 3600, "nbf": "now"}), Want: "invalid"},
		{Name: "jwt: alg none", Token: signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"sub": "alice", "aud": "1", "exp": now + 3600}), Want: "invalid"},
		{Name: "jwt: alg HS512", Token: signed(jwt.SigningMethodHS512, []byte(testSecret), jwt.MapClaims{"sub": "alice", "aud": "1", "exp": now + 3600}), Want: "invalid"},
		{Name: "jwt: another secret", Token: foreignJWT, Secret: "fedcba9876543210fedcba9876543210", Want: "invalid"},
		{Name: "jwt: line break", Token: foreignJWT + "\n", Want: "invalid"},
	}
	for i := range list {
		v := &list[i]
		v.App, v.User, v.Now = 1, "alice", now
		if v.Secret == "" {
			v.Secret = testSecret
		}
		if v.Want == "ok" && v.Expires == 0 {
			v.Expires = now + 3600
		}
	}
	return list
}

// TestGolden keeps the golden file in step with what makes it.
func TestGolden(t *testing.T) {
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(vectors(t)); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(goldenFile, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what the tests make; run this test with -update and look at the difference", goldenFile)
	}
}

func TestVectors(t *testing.T) {
	file, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	if err := json.Unmarshal(file, &list); err != nil {
		t.Fatal(err)
	}
	errs := map[string]error{
		"ok": nil, "invalid": ErrInvalid, "expired": ErrExpired, "version": ErrVersion, "too_short": ErrTooShort,
	}
	for _, v := range list {
		t.Run(v.Name, func(t *testing.T) {
			want, known := errs[v.Want]
			if !known {
				t.Fatalf("unknown want %q", v.Want)
			}
			expires, err := Verify(v.Token, v.App, v.User, v.Secret, time.Unix(v.Now, 0))
			if err != want {
				t.Fatalf("Verify: %v, want %v", err, want)
			}
			if err == nil && expires.Unix() != v.Expires {
				t.Errorf("expires %d, want %d", expires.Unix(), v.Expires)
			}
		})
	}
}
