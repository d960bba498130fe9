package callback

import (
	"crypto/hmac"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ringback/ringback/protocol"
)

// Require says which signatures a callback must carry.
type Require int

// Signatures to require.
const (
	// RequireWebhook is the default: the signature of Standard Webhooks in the
	// header, which every callback of Ringback carries and which covers the ID,
	// the time and the whole body.
	RequireWebhook Require = iota
	// RequireBoth requires the documented SHA-1 signature in the body as well.
	// It adds no security to the first. While a secret is being replaced it is
	// made with the old one alone until the overlap ends, and with the new one
	// from then on, so the receiver must know both by that time.
	RequireBoth
	// RequireEither accepts a callback that has no Standard Webhooks headers
	// by its SHA-1 signature alone. It is for receivers that also get
	// callbacks from the original hosted product. That signature does not
	// cover the body: whoever has seen one callback can send others with its
	// timestamp, nonce and signature until they are stale.
	RequireEither
)

// DefaultTolerance is how far the time of a callback may be from now.
const DefaultTolerance = 5 * time.Minute

// secretPrefix begins a secret in the form of the Standard Webhooks libraries.
const secretPrefix = "whsec_"

// Verifier checks that callbacks come from who knows a secret, and are fresh.
// It holds no state, and may be copied and used concurrently.
type Verifier struct {
	// Secrets are the callback secrets, at least one; all are accepted. To
	// change a secret, add the new one here first, then change it at the
	// server, and remove the old one when no callback signed with it can come
	// any more. One that begins with whsec_ is the base64 of a secret, as
	// protocol.WebhookSecret gives it; it is also tried as it stands.
	Secrets []string
	// Require says which signatures must be there and right.
	Require Require
	// Tolerance bounds the difference between the signed time and now, in both
	// directions; default DefaultTolerance.
	Tolerance time.Duration
}

// Verify checks the signatures and the time of a callback and gives what it
// says. header and body are those of the request, body as it was received,
// byte for byte. Errors are of type *Error, save for ErrSecrets. Whether the
// callback was handled before is for the caller to know: see [Store].
func (v *Verifier) Verify(header http.Header, body []byte) (*Event, error) {
	keys, err := v.keys()
	if err != nil {
		return nil, err
	}
	signed := hasAny(header, protocol.HeaderWebhookID, protocol.HeaderWebhookTimestamp, protocol.HeaderWebhookSignature)
	webhook := signed || v.Require != RequireEither
	if webhook {
		// Before anything of the body is read: nothing of a stranger reaches
		// the parser.
		if err := v.webhook(header, body, keys); err != nil {
			return nil, err
		}
	}
	e, err := Parse(header, body)
	if err != nil {
		return nil, err
	}
	if !webhook || v.Require == RequireBoth {
		if err := v.documented(e, keys); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// webhook checks the signature of Standard Webhooks.
func (v *Verifier) webhook(header http.Header, body []byte, keys []string) error {
	for _, name := range []string{
		protocol.HeaderWebhookID, protocol.HeaderWebhookTimestamp, protocol.HeaderWebhookSignature,
	} {
		if header.Get(name) == "" {
			return problem(ErrUnsigned, "the header %s is missing: only signed callbacks are accepted, and a proxy must pass the webhook headers on", name)
		}
	}
	id := header.Get(protocol.HeaderWebhookID)
	at, err := strconv.ParseInt(header.Get(protocol.HeaderWebhookTimestamp), 10, 64)
	if err != nil {
		return problem(ErrMalformed, "the header %s is not a number of seconds", protocol.HeaderWebhookTimestamp)
	}
	given := strings.Fields(strings.Join(header.Values(protocol.HeaderWebhookSignature), " "))
	right := false
	for _, key := range keys {
		want := []byte(protocol.WebhookSignature(key, id, at, body))
		for _, signature := range given {
			right = hmac.Equal(want, []byte(signature)) || right
		}
	}
	if !right {
		return problem(ErrSignature, "the header %s matches none of the receiver's secrets: compare them with the secret of the endpoint, and verify the body as it was sent",
			protocol.HeaderWebhookSignature)
	}
	return v.fresh(at)
}

// documented checks the SHA-1 signature in the body.
func (v *Verifier) documented(e *Event, keys []string) error {
	if e.signature == "" || e.nonce == "" {
		return problem(ErrUnsigned, "the body has no nonce and signature: only signed callbacks are accepted")
	}
	right := false
	for _, key := range keys {
		want := protocol.CallbackSignature(key, e.timestamp, e.nonce)
		right = hmac.Equal([]byte(want), []byte(e.signature)) || right
	}
	if !right {
		return problem(ErrSignature, "the signature in the body matches none of the receiver's secrets: compare them with the secret of the endpoint")
	}
	return v.fresh(e.timestamp)
}

// fresh checks a signed time, in Unix seconds.
func (v *Verifier) fresh(at int64) error {
	tolerance := v.tolerance()
	now := time.Now()
	switch signed := time.Unix(at, 0); {
	case signed.Before(now.Add(-tolerance)):
		return problem(ErrStale, "the timestamp is more than %v in the past: it is a replay, or a clock is wrong", tolerance)
	case signed.After(now.Add(tolerance)):
		return problem(ErrStale, "the timestamp is more than %v in the future: a clock is wrong", tolerance)
	}
	return nil
}

func (v *Verifier) tolerance() time.Duration {
	if v.Tolerance > 0 {
		return v.Tolerance
	}
	return DefaultTolerance
}

// keys are the secrets as keys.
func (v *Verifier) keys() ([]string, error) {
	if len(v.Secrets) == 0 {
		return nil, fmt.Errorf("%w: there is none: give the secret of the endpoint", ErrSecrets)
	}
	keys := make([]string, 0, len(v.Secrets))
	for i, secret := range v.Secrets {
		if secret == "" {
			return nil, fmt.Errorf("%w: number %d is empty", ErrSecrets, i+1)
		}
		keys = append(keys, secret)
		if encoded, ok := strings.CutPrefix(secret, secretPrefix); ok {
			key, err := base64.StdEncoding.DecodeString(encoded)
			if err != nil || len(key) == 0 {
				return nil, fmt.Errorf("%w: number %d begins with %s, but base64 does not follow", ErrSecrets, i+1, secretPrefix)
			}
			keys = append(keys, string(key))
		}
	}
	return keys, nil
}

func hasAny(header http.Header, names ...string) bool {
	for _, name := range names {
		if header.Get(name) != "" {
			return true
		}
	}
	return false
}
