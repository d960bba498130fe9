package callback

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"strings"
)

// decodeForm reads the fields of a form into a struct of package protocol, by
// the names of their JSON form: text as it is, numbers in decimal, arrays as
// their JSON text. What is absent stays zero.
func decodeForm(form url.Values, to any) error {
	v := reflect.ValueOf(to).Elem()
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if !form.Has(name) {
			continue
		}
		text := strings.ToValidUTF8(form.Get(name), "\uFFFD") // as encoding/json does
		switch field := v.Field(i).Addr().Interface().(type) {
		case *string:
			*field = text
		case *int:
			n, err := strconv.Atoi(text)
			if err != nil {
				return problem(ErrMalformed, "the field %s of the form is not a number", name)
			}
			*field = n
		case *int64:
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return problem(ErrMalformed, "the field %s of the form is not a number", name)
			}
			*field = n
		case *[]string:
			if err := json.Unmarshal([]byte(text), field); err != nil {
				return problem(ErrMalformed, "the field %s of the form is not a JSON array of strings", name)
			}
		default:
			panic(fmt.Sprintf("callback: field %s of %T has a type that forms do not know", name, to))
		}
	}
	return nil
}
