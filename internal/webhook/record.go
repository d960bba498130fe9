package webhook

import (
	"crypto/sha1" // the documented signature of the callback contract
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// The record of a request is what cannot be derived from its delivery and
// attempt, of which no secret is a part:
//
//	byte     recordForm and its like, in the upper four bits the version
//	uvarint  nonce
//	20 bytes signature in the body
//	byte     number of signatures in webhook-signature, then 32 bytes each
//	text     version in User-Agent, to the end
const (
	recordVersion    = 1 << 4
	recordForm       = 1 << 0
	recordAuthorized = 1 << 1 // it had an Authorization header
)

// masked stands for what is not to be seen.
const masked = "***"

// signatureV1 is what webhook-signature has before each signature.
const signatureV1 = "v1,"

// record is the record of a message that is signed.
func (m *message) record() []byte {
	kind := byte(recordVersion)
	if m.form {
		kind |= recordForm
	}
	if m.authorization != "" {
		kind |= recordAuthorized
	}
	number := strings.Count(m.signatures, " ") + 1
	version := strings.TrimPrefix(m.userAgent, userAgent)
	b := make([]byte, 0, 1+binary.MaxVarintLen64+sha1.Size+1+number*sha256.Size+len(version))
	b = append(b, kind)
	nonce, _ := strconv.ParseUint(m.nonce, 10, 64) // one of newNonce
	b = binary.AppendUvarint(b, nonce)
	// The signatures are those that protocol has just made, so they decode.
	var text [sha256.Size * 2]byte
	b, _ = hex.AppendDecode(b, text[:copy(text[:], m.signature)])
	b = append(b, byte(number))
	for entry := range strings.SplitSeq(m.signatures, " ") {
		b, _ = base64.StdEncoding.AppendDecode(b, text[:copy(text[:], entry[len(signatureV1):])])
	}
	return append(b, version...)
}

var errRecord = errors.New("the record of the request is damaged, or of a later version")

// readRecord gives a message with its signatures, but without what the
// delivery and the attempt say.
func readRecord(b []byte) (message, error) {
	var m message
	if b == nil {
		return m, ErrNothingSent
	}
	if len(b) == 0 || b[0]&^(recordForm|recordAuthorized) != recordVersion {
		return m, errRecord
	}
	m.form = b[0]&recordForm != 0
	if b[0]&recordAuthorized != 0 {
		m.authorization = "Basic " + masked
	}
	nonce, n := binary.Uvarint(b[1:])
	if n <= 0 || len(b) < 1+n+sha1.Size+1 {
		return m, errRecord
	}
	m.nonce = strconv.FormatUint(nonce, 10)
	b = b[1+n:]
	m.signature = hex.EncodeToString(b[:sha1.Size])
	number := int(b[sha1.Size])
	b = b[sha1.Size+1:]
	if number == 0 || len(b) < number*sha256.Size {
		return m, errRecord
	}
	var list []string
	for mac := range slices.Chunk(b[:number*sha256.Size], sha256.Size) {
		list = append(list, signatureV1+base64.StdEncoding.EncodeToString(mac))
	}
	m.signatures = strings.Join(list, " ")
	m.userAgent = userAgent + string(b[number*sha256.Size:])
	return m, nil
}

// headerLines are the beginning of an answer's header for the log, one
// "Name: value" a line, by name. Values of cookies are masked.
func headerLines(h http.Header) string {
	names := make([]string, 0, 16)
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	b := make([]byte, 0, 256)
	for _, name := range names {
		for _, value := range h[name] {
			if len(b) > maxResponse {
				return storable(b, maxResponse)
			}
			if name == "Set-Cookie" || name == "Set-Cookie2" {
				value = masked
			}
			if len(b) > 0 {
				b = append(b, '\n')
			}
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, value...)
		}
	}
	return storable(b, maxResponse)
}
