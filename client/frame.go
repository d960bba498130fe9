package client

import (
	"encoding/json"
	"strconv"

	"github.com/ringback/ringback/protocol"
)

// appendRequest appends the frame of a request to b.
func appendRequest(b []byte, id int64, op string, body any) ([]byte, error) {
	b = append(b, `{"id":`...)
	b = strconv.AppendInt(b, id, 10)
	b = append(b, `,"op":"`...)
	b = append(b, op...)
	b = append(b, '"')
	if body != nil {
		enc, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		b = append(b, `,"body":`...)
		b = append(b, enc...)
	}
	return append(b, '}'), nil
}

// parseFrame takes a frame apart. The body points into data.
//
// It finds the members of the outer object without looking into their values,
// which are decoded, and so checked, once it is clear what they are; that
// halves the cost of a frame. What it does not understand it leaves to
// package json.
func parseFrame(data []byte) (protocol.Frame, error) {
	var f protocol.Frame
	if splitFrame(data, &f) {
		return f, nil
	}
	f = protocol.Frame{}
	err := json.Unmarshal(data, &f)
	return f, err
}

func splitFrame(data []byte, f *protocol.Frame) bool {
	i := skipSpace(data, 0)
	if i >= len(data) || data[i] != '{' {
		return false
	}
	for i++; ; i++ {
		i = skipSpace(data, i)
		end := skipValue(data, i)
		if end < 0 || data[i] != '"' {
			return false
		}
		key := data[i+1 : end-1]
		i = skipSpace(data, end)
		if i >= len(data) || data[i] != ':' {
			return false
		}
		i = skipSpace(data, i+1)
		end = skipValue(data, i)
		if end < 0 {
			return false
		}
		value := data[i:end]
		switch string(key) {
		case "id":
			id, err := strconv.ParseInt(string(value), 10, 64)
			if err != nil {
				return false
			}
			f.ID = id
		case "event":
			if value[0] != '"' || !plain(value) {
				return false
			}
			f.Event = eventName(value[1 : len(value)-1])
		case "body":
			f.Body = value
		case "error":
			if err := json.Unmarshal(value, &f.Error); err != nil {
				return false
			}
		default:
			if !plain(key) {
				return false
			}
		}
		i = skipSpace(data, end)
		if i >= len(data) {
			return false
		}
		if data[i] == '}' {
			return skipSpace(data, i+1) == len(data)
		}
		if data[i] != ',' {
			return false
		}
	}
}

// eventName makes a string of the name of an event, without a copy if it is a
// known one.
func eventName(b []byte) string {
	switch string(b) {
	case protocol.EventCallCreated:
		return protocol.EventCallCreated
	case protocol.EventCallInvited:
		return protocol.EventCallInvited
	case protocol.EventCallUsersChanged:
		return protocol.EventCallUsersChanged
	}
	return string(b)
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skipValue returns the index after the JSON value that begins at b[i], or -1
// when there is none or it has no end.
func skipValue(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		depth := 0
		for i < len(b) {
			switch b[i] {
			case '"':
				if i = skipString(b, i); i < 0 {
					return -1
				}
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
		return -1
	}
	start := i
	for i < len(b) && literal(b[i]) {
		i++
	}
	if i == start {
		return -1
	}
	return i
}

func skipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return -1
}

// literal reports whether c can be part of a number, true, false or null.
func literal(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || c == '-' || c == '+' || c == '.' || c == 'E'
}

// plain reports whether a JSON string needs no decoding.
func plain(s []byte) bool {
	for _, c := range s {
		if c == '\\' || c < ' ' || c >= 0x80 {
			return false
		}
	}
	return true
}
