package callback

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/protocol"
)

// at runs f when the vectors are five seconds old at most.
func at(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Unix(1700000005, 0)))
		f(t)
	})
}

// The vectors verify as they stand, by each of their secrets, in both forms
// of the secret and both signatures.
func TestVerifyVectors(t *testing.T) {
	at(t, func(t *testing.T) {
		for _, v := range readVectors(t).Requests {
			for i, secret := range v.Secrets {
				for _, given := range []string{secret, protocol.WebhookSecret(secret)} {
					one := Verifier{Secrets: []string{"another", given}}
					if _, err := one.Verify(v.header(), []byte(v.Body)); err != nil {
						t.Errorf("%s, secret %d: %v", v.Name, i, err)
					}
					both := Verifier{Secrets: []string{"another", given}, Require: RequireBoth}
					_, err := both.Verify(v.header(), []byte(v.Body))
					// The body is signed by the newest secret alone.
					if i == 0 && err != nil || i > 0 && !errors.Is(err, ErrSignature) {
						t.Errorf("%s, secret %d, both: %v", v.Name, i, err)
					}
				}
			}
		}
	})
}

func TestVerifySignatureVectors(t *testing.T) {
	v := readVectors(t)
	for _, w := range v.Webhooks {
		verifier := Verifier{Secrets: []string{w.Key}, Tolerance: 100 * 365 * 24 * time.Hour}
		r := resign(http.Header{"Webhook-Id": {w.ID}}, w.Body, time.Unix(w.Timestamp, 0))
		r.Header.Set(protocol.HeaderWebhookSignature, w.Want)
		// The bodies are no callbacks, so a good signature gets to the parser.
		if _, err := verifier.Verify(r.Header, []byte(w.Body)); !errors.Is(err, ErrMediaType) {
			t.Errorf("%s: %v", w.ID, err)
		}
	}
	for _, s := range v.Signatures {
		verifier := Verifier{Secrets: []string{s.Secret}, Require: RequireEither, Tolerance: 100 * 365 * 24 * time.Hour}
		e := &Event{nonce: s.Nonce, signature: s.Want, timestamp: s.Timestamp}
		if err := verifier.documented(e, verifier.Secrets); err != nil {
			t.Errorf("%s: %v", s.Nonce, err)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	drop := func(names ...string) func(http.Header) {
		return func(h http.Header) {
			for _, name := range names {
				h.Del(name)
			}
		}
	}
	set := func(name, value string) func(http.Header) { return func(h http.Header) { h.Set(name, value) } }
	all := drop(protocol.HeaderWebhookID, protocol.HeaderWebhookTimestamp, protocol.HeaderWebhookSignature)
	wrongNonce := func(body string) string { return strings.Replace(body, `"nonce":"7"`, `"nonce":"8"`, 1) }
	noSignature := func(body string) string { return strings.Replace(body, `"nonce":"7"`, `"nonce":""`, 1) }
	otherUser := func(body string) string { return strings.Replace(body, "bob", "eve", 1) }
	for _, tt := range []struct {
		name    string
		require Require
		change  func(http.Header)
		body    func(string) string
		want    error
	}{
		{"as it is", RequireWebhook, nil, nil, nil},
		{"as it is", RequireBoth, nil, nil, nil},
		{"as it is", RequireEither, nil, nil, nil},
		{"another body", RequireWebhook, nil, otherUser, ErrSignature},
		{"another body", RequireBoth, nil, otherUser, ErrSignature},
		{"another body", RequireEither, nil, otherUser, ErrSignature},
		{"another ID", RequireWebhook, set(protocol.HeaderWebhookID, "evt_2"), nil, ErrSignature},
		{"another time", RequireWebhook, set(protocol.HeaderWebhookTimestamp, "1700000004"), nil, ErrSignature},
		{"no time", RequireWebhook, set(protocol.HeaderWebhookTimestamp, "now"), nil, ErrMalformed},
		{"no headers", RequireWebhook, all, nil, ErrUnsigned},
		{"no headers", RequireBoth, all, nil, ErrUnsigned},
		{"no headers", RequireEither, all, nil, nil},
		{"no headers, wrong nonce", RequireEither, all, wrongNonce, ErrSignature},
		{"no headers, no nonce", RequireEither, all, noSignature, ErrUnsigned},
		{"no ID", RequireWebhook, drop(protocol.HeaderWebhookID), nil, ErrUnsigned},
		{"no signature", RequireWebhook, drop(protocol.HeaderWebhookSignature), nil, ErrUnsigned},
		{"no signature", RequireEither, drop(protocol.HeaderWebhookSignature), nil, ErrUnsigned},
		{"another version", RequireWebhook, set(protocol.HeaderWebhookSignature, "v1a,x v2,y"), nil, ErrSignature},
		{"empty signature", RequireWebhook, set(protocol.HeaderWebhookSignature, "v1, , v1"), nil, ErrSignature},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at(t, func(t *testing.T) {
				r := accept("evt_1", "1", 1)
				raw, _ := io.ReadAll(r.Body)
				body := string(raw)
				if tt.change != nil {
					tt.change(r.Header)
				}
				if tt.body != nil {
					body = tt.body(body)
				}
				v := Verifier{Secrets: []string{secret}, Require: tt.require}
				_, err := v.Verify(r.Header, []byte(body))
				if !errors.Is(err, tt.want) {
					t.Errorf("gave %v, want %v", err, tt.want)
				}
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("it shows the secret: %v", err)
				}
			})
		})
	}
}

// The signature in the body must be right as well where both are required,
// even when the header vouches for the body.
func TestRequireBoth(t *testing.T) {
	at(t, func(t *testing.T) {
		r := accept("evt_1", "1", 1)
		raw, _ := io.ReadAll(r.Body)
		body := strings.Replace(string(raw), `"nonce":"7"`, `"nonce":"8"`, 1)
		r = resign(r.Header, body, time.Now(), secret)
		for require, want := range map[Require]error{RequireWebhook: nil, RequireBoth: ErrSignature, RequireEither: nil} {
			v := Verifier{Secrets: []string{secret}, Require: require}
			if _, err := v.Verify(r.Header, []byte(body)); !errors.Is(err, want) {
				t.Errorf("%d: %v, want %v", require, err, want)
			}
		}
	})
}

// The window is five minutes wide on both sides, and closed at its edges.
func TestFreshness(t *testing.T) {
	at(t, func(t *testing.T) {
		for _, tt := range []struct {
			tolerance, age time.Duration
			want           error
		}{
			{0, 0, nil},
			{0, 5 * time.Minute, nil},
			{0, 5*time.Minute + time.Second, ErrStale},
			{0, -5 * time.Minute, nil},
			{0, -5*time.Minute - time.Second, ErrStale},
			{time.Minute, 2 * time.Minute, ErrStale},
			{time.Hour, 50 * time.Minute, nil},
			{0, 200 * 365 * 24 * time.Hour, ErrStale},
			{0, -200 * 365 * 24 * time.Hour, ErrStale},
		} {
			r := accepted("evt_1", "1", 1, secret, time.Now().Add(-tt.age))
			body, _ := io.ReadAll(r.Body)
			for _, require := range []Require{RequireWebhook, RequireBoth, RequireEither} {
				v := Verifier{Secrets: []string{secret}, Require: require, Tolerance: tt.tolerance}
				if _, err := v.Verify(r.Header, body); !errors.Is(err, tt.want) {
					t.Errorf("age %v of %v, require %d: %v, want %v", tt.age, tt.tolerance, require, err, tt.want)
				}
			}
			for _, name := range []string{protocol.HeaderWebhookID, protocol.HeaderWebhookTimestamp, protocol.HeaderWebhookSignature} {
				r.Header.Del(name)
			}
			v := Verifier{Secrets: []string{secret}, Require: RequireEither, Tolerance: tt.tolerance}
			if _, err := v.Verify(r.Header, body); !errors.Is(err, tt.want) {
				t.Errorf("age %v of %v, SHA-1 alone: %v, want %v", tt.age, tt.tolerance, err, tt.want)
			}
		}
	})
}

func TestSecrets(t *testing.T) {
	for _, tt := range []struct {
		secrets []string
		want    string
	}{
		{nil, "there is none"},
		{[]string{"a", ""}, "number 2 is empty"},
		{[]string{"whsec_"}, "number 1 begins with whsec_"},
		{[]string{"a", "b", "whsec_tail-of-it"}, "number 3 begins with whsec_"},
	} {
		v := Verifier{Secrets: tt.secrets}
		_, err := v.Verify(http.Header{}, nil)
		if !errors.Is(err, ErrSecrets) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "tail-of-it") {
			t.Errorf("%v: %v", tt.secrets, err)
		}
		if _, err := NewHandler(Options{Secrets: tt.secrets}); !errors.Is(err, ErrSecrets) {
			t.Errorf("%v: %v", tt.secrets, err)
		}
	}
	// A server whose secret itself looks like one of Standard Webhooks.
	odd := protocol.WebhookSecret("x")
	r := accepted("evt_1", "1", 1, odd, time.Now())
	body, _ := io.ReadAll(r.Body)
	v := Verifier{Secrets: []string{odd}, Require: RequireBoth}
	if _, err := v.Verify(r.Header, body); err != nil {
		t.Error(err)
	}
}
