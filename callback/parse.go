package callback

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ringback/ringback/protocol"
)

// Media types of a body.
const (
	mediaJSON = "application/json"
	mediaForm = "application/x-www-form-urlencoded"
)

// maxID is the longest webhook-id, in bytes.
const maxID = 256

// Parse reads a callback without verifying it: header gives the media type
// and the delivery's headers, body is the whole body. Do not act upon what it
// gives; [Verifier.Verify] gives the same, verified. Errors are of type
// *Error, kinds ErrMalformed and ErrMediaType. Fields that it does not know
// are ignored.
func Parse(header http.Header, body []byte) (*Event, error) {
	e := &Event{Body: body}
	if err := e.readHeader(header); err != nil {
		return nil, err
	}
	decode, err := decoder(header.Get("Content-Type"), body)
	if err != nil {
		return nil, err
	}
	var common protocol.CallbackCommon
	if err := decode(&common); err != nil {
		return nil, err
	}
	e.Event, e.AppID = common.Event, common.AppID
	e.nonce, e.signature, e.timestamp = common.Nonce, common.Signature, common.Timestamp
	if e.Event == "" {
		return nil, problem(ErrMalformed, "the body has no event: this is not a callback")
	}
	if e.Timestamp.IsZero() {
		e.Timestamp = time.Unix(e.timestamp, 0)
	}
	fields := fieldsOf(e.Event)
	if fields == nil {
		return e, nil
	}
	if err := decode(fields); err != nil {
		return nil, err
	}
	e.Fields = fields
	if action, ok := fields.(*protocol.UserAction); ok && action.UserID == "" {
		return nil, problem(ErrMalformed, "user_id is missing")
	} else if !ok && e.CallID() == "" {
		return nil, problem(ErrMalformed, "call_id is missing")
	}
	return e, nil
}

// readHeader takes what the headers say of the delivery.
func (e *Event) readHeader(header http.Header) error {
	e.ID = header.Get(protocol.HeaderWebhookID)
	if len(e.ID) > maxID {
		return problem(ErrMalformed, "the header %s is longer than %d bytes", protocol.HeaderWebhookID, maxID)
	}
	e.Test = header.Get(protocol.HeaderTest) == "true"
	if text := header.Get(protocol.HeaderWebhookTimestamp); text != "" {
		at, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return problem(ErrMalformed, "the header %s is not a number of seconds", protocol.HeaderWebhookTimestamp)
		}
		e.Timestamp = time.Unix(at, 0)
	}
	for name, to := range map[string]*int{protocol.HeaderAttempt: &e.Attempt, protocol.HeaderSequence: &e.Sequence} {
		text := header.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return problem(ErrMalformed, "the header %s is not a number from 1", name)
		}
		*to = n
	}
	return nil
}

// decoder gives the function that reads fields of the body into a struct of
// package protocol.
func decoder(contentType string, body []byte) (func(to any) error, error) {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		media = ""
	}
	switch media {
	case mediaJSON:
		body, err := plain(body)
		if err != nil {
			return nil, err
		}
		return func(to any) error { return decodeJSON(body, to) }, nil
	case mediaForm:
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, problem(ErrMalformed, "the body is not a form: it cannot be URL-decoded")
		}
		return func(to any) error { return decodeForm(form, to) }, nil
	}
	return nil, problem(ErrMediaType, "the Content-Type is neither %s nor %s", mediaJSON, mediaForm)
}

// plain undoes URL-encoding of a JSON body, which the documentation of the
// contract tells receivers to expect. Ringback's own bodies are the same
// before and after.
func plain(body []byte) ([]byte, error) {
	if !bytes.HasPrefix(body, []byte("%7B")) && !bytes.HasPrefix(body, []byte("%7b")) {
		return body, nil
	}
	text, err := url.QueryUnescape(string(body))
	if err != nil {
		return nil, problem(ErrMalformed, "the body cannot be URL-decoded")
	}
	return []byte(text), nil
}

func decodeJSON(body []byte, to any) error {
	err := json.Unmarshal(body, to)
	var wrong *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong) && wrong.Field != "":
		return problem(ErrMalformed, "the field %s is a JSON %s, which it must not be", wrong.Field, wrong.Value)
	case errors.As(err, &syntax):
		return problem(ErrMalformed, "the body is not JSON: broken at byte %d of %d", syntax.Offset, len(body))
	}
	return problem(ErrMalformed, "the body is not a JSON object")
}
