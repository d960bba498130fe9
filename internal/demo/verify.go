package demo

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ringback/ringback/protocol"
)

// tolerance is how far the timestamp of a callback may lie from this clock.
// Every attempt is signed anew, so that a late retry is fresh too.
const tolerance = 5 * time.Minute

// check is the result of one kind of signature. Problem is empty when the
// signature holds.
type check struct {
	Name    string `json:"name"`
	Problem string `json:"problem"`
}

// verify checks both signatures of a callback: the documented one in the
// body, then that of Standard Webhooks in the headers.
func verify(secret string, h http.Header, body []byte, now time.Time) []check {
	return []check{
		{"signature", problem(verifyBody(secret, body, now))},
		{protocol.HeaderWebhookSignature, problem(verifyHeaders(secret, h, body, now))},
	}
}

func problem(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// verifyBody checks the fields signature, timestamp and nonce of the body.
func verifyBody(secret string, body []byte, now time.Time) error {
	var common protocol.CallbackCommon
	if err := json.Unmarshal(body, &common); err != nil {
		return fmt.Errorf("the body is not a callback: %w", err)
	}
	if common.Signature == "" {
		return fmt.Errorf("the body has no signature")
	}
	want := protocol.CallbackSignature(secret, common.Timestamp, common.Nonce)
	if !equal(want, common.Signature) {
		return fmt.Errorf("it does not match timestamp, nonce and the callback secret")
	}
	return fresh(common.Timestamp, now)
}

// verifyHeaders checks webhook-id, webhook-timestamp and webhook-signature.
// During the rotation of a secret the last holds several signatures, of which
// one must match.
func verifyHeaders(secret string, h http.Header, body []byte, now time.Time) error {
	signatures := strings.Fields(h.Get(protocol.HeaderWebhookSignature))
	if len(signatures) == 0 {
		return fmt.Errorf("there is no such header")
	}
	timestamp, err := strconv.ParseInt(h.Get(protocol.HeaderWebhookTimestamp), 10, 64)
	if err != nil {
		return fmt.Errorf("%s is not a number", protocol.HeaderWebhookTimestamp)
	}
	want := protocol.WebhookSignature(secret, h.Get(protocol.HeaderWebhookID), timestamp, body)
	for _, s := range signatures {
		if equal(want, s) {
			return fresh(timestamp, now)
		}
	}
	return fmt.Errorf("it does not match id, timestamp, body and the callback secret")
}

// fresh refuses a timestamp, in Unix seconds, that is too far from now.
func fresh(timestamp int64, now time.Time) error {
	if age := now.Sub(time.Unix(timestamp, 0)); age.Abs() > tolerance {
		return fmt.Errorf("its timestamp is more than %v away from this clock", tolerance)
	}
	return nil
}

// equal compares two signatures in constant time.
func equal(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}
