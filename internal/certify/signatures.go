package certify

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ringback/ringback/protocol"
)

// stale is the age of a callback that a receiver should no longer accept.
const stale = 10 * time.Minute

// forgeries is what is known of how the receiver takes forged callbacks.
type forgeries struct {
	body, header         Exchange // of the two forgeries with one good signature
	bodyTaken, headTaken bool     // they were accepted
}

// signatures finds out what the receiver verifies.
func (r *run) signatures() {
	var f forgeries
	if r.stopped == "" && r.refused == "" && r.ctx.Err() == nil {
		f = r.forgeOne()
	}
	r.judgeForgeries(f)
	r.refusal("signature/none", "a callback without signatures is refused", func(c *Check) {
		ex := r.forge(c, r.signed(), "a callback without webhook-signature, and without signature in the body", unsign)
		c.mustBeRefused(ex, Fail, "whoever knows the URL can make the receiver believe anything about calls",
			"refuse with 401 what has no signature; verify, not only when there is one")
	})
	r.refusal("signature/tampered", "a callback whose content was changed is refused", func(c *Check) {
		result, fix := Fail, "compute the HMAC of webhook-signature over the raw bytes of the body, and refuse with 401 what does not match"
		if f.headTaken && !f.bodyTaken {
			result = Warn // as in the original contract, which has no other signature
			fix = "verify webhook-signature, which covers the body, for instance with a library of Standard Webhooks"
		}
		ex := r.forge(c, r.signed(), "a callback whose user was exchanged after it was signed", tamper)
		c.mustBeRefused(ex, result, "whoever sees one callback can send it with another content", fix)
	})
	r.refusal("signature/stale", "a callback that was signed long ago is refused", func(c *Check) {
		m := r.signed()
		m.at = m.at.Add(-stale)
		ex := r.forge(c, m, fmt.Sprintf("a callback, well signed %.0f minutes ago", stale.Minutes()), nil)
		c.mustBeRefused(ex, Warn, "whoever recorded a callback can send it again later; each attempt is signed anew, so a good one is never old",
			"refuse with 401 what has a webhook-timestamp more than 5 minutes from the receiver's clock")
	})
	r.check("signature/rotation", "of several signatures in webhook-signature one that matches is enough", func(c *Check) {
		other := randomSecret()
		for _, secrets := range [][]string{{r.cfg.Secret, other}, {other, r.cfg.Secret}} {
			m := r.signed()
			what := "a callback with two signatures, the first of this secret, the second of another"
			if secrets[0] == other {
				what = "a callback with two signatures, the first of another secret, the second of this one"
			}
			ex := r.forge(c, m, what, func(h http.Header, body []byte) []byte {
				var list []string
				for _, secret := range secrets {
					list = append(list, headerSignature(h, secret, m.at, body))
				}
				h.Set(protocol.HeaderWebhookSignature, strings.Join(list, " "))
				return body
			})
			if !c.mustSucceed(ex, Fail, "while a secret is being replaced, callbacks are signed with both, and all of them would be refused",
				"split webhook-signature at spaces, and accept when any of them matches") {
				return
			}
		}
	})
}

// forgeOne sends two callbacks with one good and one forged signature each.
func (r *run) forgeOne() (f forgeries) {
	var unlisted Check
	wrong := randomSecret()
	m := r.signed()
	m.secrets = []string{wrong}
	f.body = *r.forge(&unlisted, m, "a callback whose signature in the body is of another secret, with a good webhook-signature", func(h http.Header, body []byte) []byte {
		h.Set(protocol.HeaderWebhookSignature, headerSignature(h, r.cfg.Secret, m.at, body))
		return body
	})
	m = r.signed()
	f.header = *r.forge(&unlisted, m, "a callback whose webhook-signature is of another secret, with a good signature in the body", func(h http.Header, body []byte) []byte {
		h.Set(protocol.HeaderWebhookSignature, headerSignature(h, wrong, m.at, body))
		return body
	})
	f.bodyTaken, f.headTaken = f.body.ok(), f.header.ok()
	return f
}

// judgeForgeries judges those: a receiver need not verify the signature in the
// body when it verifies the other, is warned the other way round, and fails
// when it verifies neither.
func (r *run) judgeForgeries(f forgeries) {
	neither := f.bodyTaken && f.headTaken
	const open = "none of the two signatures is verified, so whoever knows the URL can make the receiver believe anything about calls"
	const fix = "compare webhook-signature with the HMAC-SHA256 of webhook-id.webhook-timestamp.body, for instance with a library of " +
		"Standard Webhooks, and answer 401 when it does not match"
	r.refusal("signature/body", "a forged signature in the body is refused", func(c *Check) {
		c.Exchanges = append(c.Exchanges, f.body)
		if neither {
			c.mustBeRefused(&f.body, Fail, open, fix)
			return
		}
		if f.bodyTaken {
			c.judge(Skip, "webhook-signature is verified, which covers more: the signature in the body need not be", "", "")
			return
		}
		c.mustBeRefused(&f.body, Warn, "", "") // how it was refused
	})
	r.refusal("signature/header", "a forged webhook-signature is refused", func(c *Check) {
		c.Exchanges = append(c.Exchanges, f.header)
		if neither {
			c.mustBeRefused(&f.header, Fail, open, fix)
			return
		}
		c.mustBeRefused(&f.header, Warn, "only the signature in the body is verified, which does not cover the content: whoever sees one callback can send it with another",
			fix)
	})
}

// refusal makes a check of something that must be refused, if that can be
// judged.
func (r *run) refusal(name, title string, do func(c *Check)) {
	r.check(name, title, func(c *Check) {
		if r.refused != "" {
			c.judge(Skip, r.refused, "", "repair that first")
			return
		}
		do(c)
	})
}

// signed is a callback to be spoilt.
func (r *run) signed() *message {
	cb, sequence := r.basic(newCall())
	m := r.message(cb, sequence)
	m.nonce = "4711"
	return m
}

func headerSignature(h http.Header, secret string, at time.Time, body []byte) string {
	return protocol.WebhookSignature(secret, h.Get(protocol.HeaderWebhookID), at.Unix(), body)
}

// unsign takes the signatures away.
func unsign(h http.Header, body []byte) []byte {
	h.Del(protocol.HeaderWebhookSignature)
	if begin, rest, ok := bytes.Cut(body, []byte(`"signature":"`)); ok {
		_, rest, _ = bytes.Cut(rest, []byte(`",`))
		return append(bytes.Clone(begin), rest...)
	}
	begin, rest, _ := bytes.Cut(body, []byte("&signature="))
	_, rest, _ = bytes.Cut(rest, []byte("&"))
	return append(append(bytes.Clone(begin), '&'), rest...)
}

// tamper puts another user into the body.
func tamper(_ http.Header, body []byte) []byte {
	return bytes.ReplaceAll(body, []byte("certify-"), []byte("mallory-"))
}

func randomSecret() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
