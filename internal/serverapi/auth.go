package serverapi

import (
	"crypto/md5" // the documented signature of the server API
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

const (
	signatureVersion = "2.0"
	// maxSkew is how far a timestamp may be from the server's clock.
	maxSkew  = 10 * time.Minute
	maxNonce = 64 // bytes; the documented ones have 16
)

// request is a request whose common parameters are right. Of one that is
// refused, the app and the action are there as far as they are known.
type request struct {
	app    App
	action string // one of actions; "" for the feed
	params params
}

// Signature is the documented signature of a request: the lower-case hex MD5
// of app ID, nonce, app secret and timestamp (Unix seconds), as they stand in
// the query.
func Signature(appID, nonce, secret, timestamp string) string {
	sum := md5.Sum([]byte(appID + nonce + secret + timestamp))
	return hex.EncodeToString(sum[:])
}

// authenticate checks the common parameters in the documented order, then uses
// up the nonce. Nothing is kept of a request whose signature is wrong.
func (s *Server) authenticate(r *http.Request, needsAction bool) (request, error) {
	var rq request
	ps, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return rq, err
	}
	rq.params = ps
	name := ps.get("Action")
	if _, known := actions[name]; known && needsAction {
		rq.action = name
	}
	at := s.Clock.Now()
	stamp, err := checkForm(ps, needsAction, at)
	if err != nil {
		return rq, err
	}
	if skew := at.Sub(stamp); skew.Abs() > maxSkew {
		return rq, faultf(CodeExpired, "Timestamp is %d, but it is %d now: they may differ by %d seconds; check the clock of your machine, and sign each request anew",
			stamp.Unix(), at.Unix(), int(maxSkew.Seconds()))
	}
	id, _ := appID(ps) // was checked
	app, ok := s.Apps(id)
	if !ok {
		return rq, faultf(CodeAppUnknown, "there is no app %d on this server: check AppId", id)
	}
	if !signed(ps, app.Secrets) {
		return rq, faultf(CodeSignature,
			"Signature is wrong: it must be the lower-case hex MD5 of AppId, SignatureNonce, the secret of app %d and Timestamp, one after the other", id)
	}
	rq.app = app
	// The nonce is remembered for as long as its timestamp is accepted.
	expires := call.At(stamp.Add(maxSkew)) + 1
	err = s.Store.UseNonce(r.Context(), app.ID, ps.get("SignatureNonce"), expires, call.At(at))
	switch {
	case errors.Is(err, store.ErrUsed):
		return rq, faultf(CodeSignature, "SignatureNonce was used before: make a new random one for each request")
	case err != nil:
		return rq, fmt.Errorf("recording a nonce: %w", err)
	}
	if needsAction && rq.action == "" {
		return rq, faultf(CodeActionUnknown, "Action %.40q is none of %s", name, strings.Join(actionNames(), ", "))
	}
	return rq, nil
}

// checkForm checks what can be said of the common parameters by themselves,
// and gives the timestamp.
func checkForm(ps params, needsAction bool, now time.Time) (time.Time, error) {
	refuse := func(code Code, format string, args ...any) (time.Time, error) {
		return time.Time{}, faultf(code, format, args...)
	}
	if _, ok := appID(ps); !ok {
		return refuse(CodeAppIDFormat, "AppId must be the decimal number of an app, from 1 to 4294967295")
	}
	text := ps.get("Timestamp")
	if text == "" {
		return refuse(CodeTimestampEmpty, "Timestamp is missing: give the Unix time in seconds")
	}
	seconds, ok := digits(text, 63)
	if !ok || seconds > 1<<40 {
		return refuse(CodeTimestampFormat, "Timestamp must be the Unix time in seconds, such as %d", now.Unix())
	}
	nonce, version := ps.get("SignatureNonce"), ps.get("SignatureVersion")
	switch {
	case needsAction && ps.get("Action") == "":
		return refuse(CodeActionEmpty, "Action is missing: give one of %s", strings.Join(actionNames(), ", "))
	case nonce == "":
		return refuse(CodeNonceEmpty, "SignatureNonce is missing: give a random one, such as 16 hexadecimal digits")
	case ps.get("Signature") == "":
		return refuse(CodeSignatureEmpty, "Signature is missing: give the lower-case hex MD5 of AppId, SignatureNonce, the app's secret and Timestamp")
	case version == "":
		return refuse(CodeSignatureVerEmpty, "SignatureVersion is missing: give %s", signatureVersion)
	case version != signatureVersion:
		return refuse(CodeSignatureVerWanted, "SignatureVersion %.20q is not supported: give %s", version, signatureVersion)
	case len(nonce) > maxNonce || strings.ContainsFunc(nonce, func(c rune) bool { return c <= ' ' || c > '~' }):
		return refuse(CodeInput, "SignatureNonce must be 1 to %d visible ASCII characters, such as 16 hexadecimal digits", maxNonce)
	}
	return time.Unix(int64(seconds), 0), nil
}

func appID(ps params) (uint32, bool) {
	n, ok := digits(ps.get("AppId"), 32)
	return uint32(n), ok && n > 0
}

// digits reads a number that is written in decimal digits and nothing else.
func digits(text string, bits int) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, bits) // takes no sign
	return n, err == nil
}

// signed reports whether the signature was made with one of the secrets. How
// long it takes does not depend on how far off a wrong one is.
func signed(ps params, secrets []string) bool {
	given := []byte(ps.get("Signature"))
	right := 0
	for _, secret := range secrets {
		want := Signature(ps.get("AppId"), ps.get("SignatureNonce"), secret, ps.get("Timestamp"))
		right |= subtle.ConstantTimeCompare(given, []byte(want))
	}
	return right == 1
}
