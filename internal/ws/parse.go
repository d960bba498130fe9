package ws

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/ringback/ringback/protocol"
)

// parse reads the frame of a request. A frame that is no request at all gives
// a closeError; an operation that is no text counts as unknown.
func parse(payload []byte) (protocol.Request, *closeError) {
	if req, ok := parseUsual(payload); ok {
		return req, nil
	}
	return parseAny(payload)
}

func parseAny(payload []byte) (protocol.Request, *closeError) {
	var req protocol.Request
	err := json.Unmarshal(payload, &req)
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrongType) && wrongType.Field == "op":
		req.Op = ""
	case errors.As(err, &wrongType) && wrongType.Field == "id":
		req.ID = -1
	case err != nil:
		return req, &closeError{protocol.CloseProtocol, "a frame must be one JSON object with id, op and body"}
	}
	if req.ID < 0 || req.ID == 0 && (req.Op != protocol.OpPing || hasID(payload)) {
		return req, &closeError{protocol.CloseProtocol, "id must be a positive integer"}
	}
	return req, nil
}

// hasID reports whether an object has an id at all.
func hasID(payload []byte) bool {
	var members map[string]json.RawMessage
	json.Unmarshal(payload, &members) // it was read before
	_, there := members["id"]
	return there
}

// parseUsual reads a frame that is written as nearly all are,
// {"id":1,"op":"call.accept","body":{…}}, without reading the body more than
// once. It leaves every other frame to parseAny, which gives the same for
// these; a test holds the two together.
func parseUsual(payload []byte) (req protocol.Request, ok bool) {
	rest, ok := bytes.CutPrefix(payload, []byte(`{"id":`))
	if !ok {
		return req, false
	}
	digits := 0
	for digits < len(rest) && digits < 18 && '0' <= rest[digits] && rest[digits] <= '9' {
		req.ID = req.ID*10 + int64(rest[digits]-'0')
		digits++
	}
	if digits == 0 || rest[0] == '0' {
		return req, false
	}
	if rest, ok = bytes.CutPrefix(rest[digits:], []byte(`,"op":"`)); !ok {
		return req, false
	}
	op, rest, ok := bytes.Cut(rest, []byte(`","body":`))
	if !ok || len(rest) == 0 || rest[len(rest)-1] != '}' {
		return req, false
	}
	for _, b := range op {
		if (b < 'a' || b > 'z') && b != '.' && b != '_' {
			return req, false
		}
	}
	req.Op, req.Body = string(op), rest[:len(rest)-1]
	return req, json.Valid(req.Body)
}
