package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
)

// Content types of the two formats.
const (
	contentJSON = "application/json"
	contentForm = "application/x-www-form-urlencoded"
)

// newNonce makes a random number. It is below 2^53, so that receivers may
// read it into any number type and get the same digits back.
func newNonce() string { return strconv.FormatInt(rand.Int64N(1<<53), 10) }

// appendBody appends the body of a signed request: the common fields, then
// those of the event, as JSON or as a form.
func (m *message) appendBody(dst []byte) ([]byte, error) {
	if m.form {
		return m.appendForm(dst)
	}
	return m.appendJSON(dst), nil
}

// appendJSON appends the JSON form. Some receivers URL-decode it first, others
// don't, so what URL-decoding would change does not occur in it.
func (m *message) appendJSON(dst []byte) []byte {
	d := m.delivery
	dst = append(dst, `{"appid":"`...)
	dst = strconv.AppendUint(dst, uint64(d.App), 10)
	dst = append(dst, `","event":"`...)
	dst = append(dst, d.Name...)
	dst = append(dst, `","nonce":"`...)
	dst = append(dst, m.nonce...)
	dst = append(dst, `","signature":"`...)
	dst = append(dst, m.signature...)
	dst = append(dst, `","timestamp":`...)
	dst = strconv.AppendInt(dst, m.timestamp, 10)
	if fields := bytes.TrimLeft(d.Fields[min(1, len(d.Fields)):], " \n"); len(fields) > 1 {
		dst = append(dst, ',')
		return appendDecodable(dst, fields)
	}
	return append(dst, '}')
}

// appendDecodable appends JSON so that URL-decoding gives it back unchanged.
// The two characters that matter occur only inside of strings, for no number
// of a callback has an exponent.
func appendDecodable(dst, src []byte) []byte {
	for {
		i := bytes.IndexAny(src, "%+")
		if i < 0 {
			return append(dst, src...)
		}
		dst = append(dst, src[:i]...)
		if src[i] == '%' {
			dst = append(dst, `\u0025`...)
		} else {
			dst = append(dst, `\u002b`...)
		}
		src = src[i+1:]
	}
}

// appendForm appends the form: the same fields in the same order, strings as
// they are, everything else as its JSON text.
func (m *message) appendForm(dst []byte) ([]byte, error) {
	d := m.delivery
	dst = append(dst, "appid="...)
	dst = strconv.AppendUint(dst, uint64(d.App), 10)
	dst = append(dst, "&event="...)
	dst = append(dst, url.QueryEscape(d.Name)...)
	dst = append(dst, "&nonce="...)
	dst = append(dst, m.nonce...)
	dst = append(dst, "&signature="...)
	dst = append(dst, m.signature...)
	dst = append(dst, "&timestamp="...)
	dst = strconv.AppendInt(dst, m.timestamp, 10)

	dec := json.NewDecoder(bytes.NewReader(d.Fields))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return dst, fmt.Errorf("fields of %s are not a JSON object", d.Event)
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return dst, fmt.Errorf("fields of %s: %w", d.Event, err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return dst, fmt.Errorf("fields of %s: %w", d.Event, err)
		}
		text := string(value)
		if value[0] == '"' {
			if err := json.Unmarshal(value, &text); err != nil {
				return dst, fmt.Errorf("fields of %s: %w", d.Event, err)
			}
		}
		dst = append(dst, '&')
		dst = append(dst, url.QueryEscape(name.(string))...)
		dst = append(dst, '=')
		dst = append(dst, url.QueryEscape(text)...)
	}
	return dst, nil
}
