package serverapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// decodeBody reads the JSON object in a request's body.
func decodeBody(w http.ResponseWriter, r *http.Request, into any) error {
	// Recorders and the like have no deadline; there nothing is slow.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyLimit))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return faultf(CodeInput, "the body has more than %d bytes: send less at a time", maxBody)
	case err != nil:
		return faultf(CodeInput, "the body did not arrive as a whole: send the request again")
	case !json.Valid(body):
		return faultf(CodeInput, "the body is not JSON: send the parameters as one JSON object")
	}
	return decodeJSON("the body", body, reflect.ValueOf(into).Elem())
}

// decodeJSON reads valid JSON into v. Unlike encoding/json it takes names of
// members only as they are written. Unknown members are ignored, and null
// counts as absent.
func decodeJSON(what string, data json.RawMessage, v reflect.Value) error {
	if string(data) == "null" {
		return nil
	}
	_, decodesItself := v.Addr().Interface().(json.Unmarshaler)
	switch {
	case decodesItself:
	case v.Kind() == reflect.Struct:
		var members map[string]json.RawMessage
		if json.Unmarshal(data, &members) != nil {
			return faultf(CodeInput, "%s must be an object", what)
		}
		for i := range v.NumField() {
			name := fieldName(v.Type().Field(i))
			if member, ok := members[name]; ok {
				if err := decodeJSON(name, member, v.Field(i)); err != nil {
					return err
				}
			}
		}
		return nil
	case v.Kind() == reflect.Slice:
		var items []json.RawMessage
		if json.Unmarshal(data, &items) != nil {
			return faultf(CodeInput, "%s must be a list", what)
		}
		v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
		for i, item := range items {
			if err := decodeJSON(what+"["+strconv.Itoa(i)+"]", item, v.Index(i)); err != nil {
				return err
			}
		}
		return nil
	}
	if json.Unmarshal(data, v.Addr().Interface()) != nil {
		return faultf(CodeInput, "%s must be %s", what, typeName(v))
	}
	return nil
}

// decodeQuery reads the parameters of a query into the struct that into points
// to.
func decodeQuery(ps params, into any) error {
	v := reflect.ValueOf(into).Elem()
	for i := range v.NumField() {
		field, name := v.Field(i), fieldName(v.Type().Field(i))
		switch text := ps.get(name); field.Kind() {
		case reflect.String:
			field.SetString(text)
		case reflect.Int64:
			if text == "" {
				continue
			}
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return faultf(CodeInput, "%s must be %s", name, typeName(field))
			}
			field.SetInt(n)
		default: // a list of strings
			field.Set(reflect.ValueOf(ps.list(name)))
		}
	}
	return nil
}

// fieldName is the name of a parameter. Every field has one.
func fieldName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func typeName(v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "0 or 1"
	}
	return "an integer"
}
