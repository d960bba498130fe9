package auth

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// Token04, as the token generators of ZEGOCLOUD make it
// (github.com/zegoim/zego_server_assistant, folder token): "04" and base64 of
//
//	expiry      int64, big-endian, Unix seconds
//	IV          uint16 length, bytes
//	ciphertext  uint16 length, bytes
//	mode        one byte, absent in older generators: 0 CBC, 1 GCM
//
// The plaintext is a JSON object, see [claims04]. With CBC the IV has 16 bytes
// and the padding is PKCS #7; with GCM it has 12 and the tag follows the text.
const (
	prefix04 = "04"
	modeCBC  = 0
	modeGCM  = 1
)

// claims04 is the plaintext of a Token04.
type claims04 struct {
	AppID   uint32 `json:"app_id"`
	UserID  string `json:"user_id"`
	Nonce   int32  `json:"nonce"`
	CTime   int64  `json:"ctime"`
	Expire  int64  `json:"expire"`
	Payload string `json:"payload"`
}

// NewToken04 makes a Token04 that lets userID log in to app appID from issued
// until ttl later, both cut to whole seconds. The payload is any text; this
// server carries it and does not read it.
//
// It is an error if the secret is not 32 bytes long, an ID is zero, ttl is
// under a second, or the payload does not fit (about 64 KiB). Whether the user
// ID is well formed is not checked.
func NewToken04(appID uint32, userID, secret string, issued time.Time, ttl time.Duration, payload string) (string, error) {
	if err := checkNew(appID, userID, secret, ttl); err != nil {
		return "", err
	}
	var random [4 + aes.BlockSize]byte
	rand.Read(random[:]) // never fails
	return seal04(claims04{
		AppID:   appID,
		UserID:  userID,
		Nonce:   int32(binary.BigEndian.Uint32(random[:4]) & math.MaxInt32),
		CTime:   issued.Unix(),
		Expire:  issued.Add(ttl).Unix(),
		Payload: payload,
	}, secret, [aes.BlockSize]byte(random[4:]))
}

// seal04 makes the token of c with the given IV.
func seal04(c claims04, secret string, iv [aes.BlockSize]byte) (string, error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(c); err != nil {
		return "", fmt.Errorf("auth: token for %q: %w", c.UserID, err)
	}
	return sealText04(bytes.TrimSuffix(text.Bytes(), []byte("\n")), c.Expire, secret, iv)
}

// sealText04 makes a token of any plaintext, in the older form without a mode.
func sealText04(text []byte, expiry int64, secret string, iv [aes.BlockSize]byte) (string, error) {
	block, err := aes.NewCipher([]byte(secret))
	if err != nil {
		return "", fmt.Errorf("auth: token: %w", err)
	}
	pad := aes.BlockSize - len(text)%aes.BlockSize
	text = append(bytes.Clone(text), bytes.Repeat([]byte{byte(pad)}, pad)...)
	if len(text) > math.MaxUint16 {
		return "", fmt.Errorf("auth: the token's payload is too long: the ciphertext would have %d bytes, at most %d fit", len(text), math.MaxUint16)
	}
	cipher.NewCBCEncrypter(block, iv[:]).CryptBlocks(text, text)
	return pack04(expiry, iv[:], text), nil
}

// pack04 joins the parts of a token; tail is empty or the mode.
func pack04(expiry int64, iv, text []byte, tail ...byte) string {
	raw := binary.BigEndian.AppendUint64(nil, uint64(expiry))
	raw = binary.BigEndian.AppendUint16(raw, uint16(len(iv)))
	raw = append(raw, iv...)
	raw = binary.BigEndian.AppendUint16(raw, uint16(len(text)))
	raw = append(raw, text...)
	raw = append(raw, tail...)
	return prefix04 + base64.StdEncoding.EncodeToString(raw)
}

// openToken04 returns the expiry of a Token04 in Unix seconds, and whether
// everything else about it holds.
//
// CBC is not authenticated, so a difference between wrong padding and wrong
// JSON, in the answer or in its time, would let anyone decrypt and forge. Hence
// the text is read whether or not its padding is right, and one bit is left
// of all that is found.
func openToken04(token string, appID uint32, userID, secret string) (expiry int64, ok bool) {
	raw, err := base64.StdEncoding.DecodeString(token[len(prefix04):])
	if err != nil || len(raw) < 8 {
		return 0, false
	}
	header := int64(binary.BigEndian.Uint64(raw))
	iv, raw, okIV := cutCounted(raw[8:])
	text, tail, okText := cutCounted(raw)
	if !okIV || !okText || len(tail) > 1 {
		return 0, false
	}
	mode := byte(modeCBC)
	if len(tail) == 1 {
		mode = tail[0]
	}
	block, err := aes.NewCipher([]byte(secret))
	if err != nil {
		return 0, false
	}

	var good int
	switch {
	case mode == modeCBC && len(iv) == aes.BlockSize && len(text) > 0 && len(text)%aes.BlockSize == 0:
		cipher.NewCBCDecrypter(block, iv).CryptBlocks(text, text)
		text, good = unpad(text)
	case mode == modeGCM:
		gcm, err := cipher.NewGCM(block)
		if err != nil || len(iv) != gcm.NonceSize() {
			return 0, false
		}
		if text, err = gcm.Open(nil, iv, text, nil); err != nil {
			return 0, false
		}
		good = 1
	default:
		return 0, false
	}

	c, wellFormed := readClaims04(text)
	good &= bit(wellFormed)
	good &= bit(c.AppID == appID)
	good &= subtle.ConstantTimeCompare([]byte(c.UserID), []byte(userID))
	// The header is not authenticated: it can only shorten what the JSON says.
	return min(header, c.Expire), good == 1
}

// cutCounted cuts a string of bytes, preceded by its length, off raw.
func cutCounted(raw []byte) (s, rest []byte, ok bool) {
	if len(raw) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(raw))
	if len(raw) < 2+n {
		return nil, nil, false
	}
	return raw[2 : 2+n], raw[2+n:], true
}

// unpad takes the PKCS #7 padding off text, which is one block or more, and
// returns 1 if the padding was right. If not, it returns 0 and all of the
// text but the last byte, after the same work.
func unpad(text []byte) (plain []byte, good int) {
	last := text[len(text)-aes.BlockSize:]
	pad := int(last[aes.BlockSize-1])
	good = subtle.ConstantTimeLessOrEq(1, pad) & subtle.ConstantTimeLessOrEq(pad, aes.BlockSize)
	for i, b := range last {
		inside := subtle.ConstantTimeLessOrEq(aes.BlockSize-i, pad)
		same := subtle.ConstantTimeByteEq(b, byte(pad))
		good &= subtle.ConstantTimeSelect(inside, same, 1)
	}
	return text[:len(text)-subtle.ConstantTimeSelect(good, pad, 1)], good
}

// readClaims04 reads the plaintext of a token, and reports whether it is what
// a generator writes: one JSON object in valid UTF-8, without members other
// than those of [claims04] and none of them twice. Being strict leaves who
// shuffles the blocks of a ciphertext next to no place for the noise that this
// makes. The app ID may be a number or its decimal digits; only app, user and
// expiry must be there.
func readClaims04(text []byte) (c claims04, ok bool) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	ok = utf8.Valid(text)
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return c, false
	}
	seen := make(map[string]bool, 6)
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return c, false
		}
		value, err := dec.Token()
		if err != nil {
			return c, false
		}
		key, isString := name.(string)
		ok = ok && isString && !seen[key] && c.set(key, value)
		seen[key] = true
	}
	if t, err := dec.Token(); err != nil || t != json.Delim('}') {
		return c, false
	}
	_, err := dec.Token()
	return c, ok && err == io.EOF && seen["app_id"] && seen["user_id"] && seen["expire"]
}

// set sets one member and reports whether there is such a one and the value is
// of its type.
func (c *claims04) set(key string, value json.Token) bool {
	text, isText := value.(string)
	number, isNumber := value.(json.Number)
	var err error
	switch key {
	case "app_id":
		var id uint64
		id, err = strconv.ParseUint(text+string(number), 10, 32)
		c.AppID = uint32(id)
		return err == nil
	case "user_id":
		c.UserID = text
		return isText
	case "payload": // generators write null for none
		c.Payload = text
		return isText || value == nil
	case "nonce":
		_, err = number.Int64()
	case "ctime":
		c.CTime, err = number.Int64()
	case "expire":
		c.Expire, err = number.Int64()
	default:
		return false
	}
	return isNumber && err == nil
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
