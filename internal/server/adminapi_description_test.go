package server

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ringback/ringback/internal/adminapi"
)

// object is a part of the description.
type object = map[string]any

// description is the OpenAPI document as readers get it, and what answers it
// was held against.
type description struct {
	doc  object
	mu   *sync.Mutex
	seen map[string]map[string]bool // responses by operation
}

func readDescription(t *testing.T, a *admin) description {
	t.Helper()
	d := description{mu: new(sync.Mutex), seen: make(map[string]map[string]bool)}
	resp, text := a.send(http.MethodGet, adminapi.Path+"/openapi.json", nil)
	if err := json.Unmarshal(text, &d.doc); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the description: HTTP %d %v", resp.StatusCode, err)
	}
	return d
}

// operation finds what describes a request.
func (d description) operation(method, path string) object {
	parts := strings.Split(path, "/")
	for template, item := range d.doc["paths"].(object) {
		want := strings.Split(template, "/")
		fits := slices.EqualFunc(want, parts, func(w, p string) bool { return w == p || strings.HasPrefix(w, "{") && p != "" })
		op, _ := item.(object)[strings.ToLower(method)].(object)
		if fits && op != nil {
			return op
		}
	}
	return nil
}

// check holds an answer against the description.
func (d description) check(t *testing.T, method string, resp *http.Response, text []byte) {
	t.Helper()
	path := resp.Request.URL.EscapedPath()
	op := d.operation(method, path)
	if op == nil {
		t.Errorf("%s %s is not described", method, path)
		return
	}
	responses, status := op["responses"].(object), strconv.Itoa(resp.StatusCode)
	described, _ := responses[status].(object)
	if described == nil && resp.StatusCode >= 400 {
		status = "default"
		described, _ = responses[status].(object)
	}
	if described == nil {
		t.Errorf("%s: HTTP %d is not described", op["operationId"], resp.StatusCode)
		return
	}
	d.mu.Lock()
	id := op["operationId"].(string)
	if d.seen[id] == nil {
		d.seen[id] = make(map[string]bool)
	}
	d.seen[id][status] = true
	d.mu.Unlock()
	content, _ := described["content"].(object)
	if content == nil {
		if len(text) > 0 {
			t.Errorf("%s: HTTP %s has a body that is not described: %s", id, status, text)
		}
		return
	}
	media, _ := content[resp.Header.Get("Content-Type")].(object)
	if media == nil {
		t.Errorf("%s: HTTP %s is %s, which is not described", id, status, resp.Header.Get("Content-Type"))
		return
	}
	var body any
	if err := json.Unmarshal(text, &body); err != nil {
		t.Errorf("%s: %s: %v", id, text, err)
	}
	for _, problem := range d.validate(media["schema"].(object), body, id) {
		t.Errorf("%s", problem)
	}
}

// validate holds a value against a JSON schema of the keywords that the
// description uses; any other is a problem, too.
func (d description) validate(schema object, v any, at string) (problems []string) {
	complain := func(format string, args ...any) {
		problems = append(problems, at+": "+fmt.Sprintf(format, args...))
	}
	if ref, ok := schema["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/components/schemas/")
		target, _ := d.doc["components"].(object)["schemas"].(object)[name].(object)
		if target == nil {
			return []string{at + ": there is no " + ref}
		}
		return d.validate(target, v, at)
	}
	properties, _ := schema["properties"].(object)
	for keyword, rule := range schema {
		switch keyword {
		case "type":
			if !typed(rule, v) {
				complain("%v is not of type %v", v, rule)
			}
		case "enum":
			if !slices.Contains(rule.([]any), v) {
				complain("%v is none of %v", v, rule)
			}
		case "minimum":
			if n, ok := v.(float64); ok && n < rule.(float64) {
				complain("%v is below %v", v, rule)
			}
		case "maximum":
			if n, ok := v.(float64); ok && n > rule.(float64) {
				complain("%v is over %v", v, rule)
			}
		case "maxLength":
			if s, ok := v.(string); ok && float64(len(s)) > rule.(float64) {
				complain("%q is longer than %v", v, rule)
			}
		case "items":
			list, _ := v.([]any)
			for i, item := range list {
				problems = append(problems, d.validate(rule.(object), item, fmt.Sprintf("%s[%d]", at, i))...)
			}
		case "properties":
			fields, _ := v.(object)
			for name, value := range fields {
				if p, ok := properties[name].(object); ok {
					problems = append(problems, d.validate(p, value, at+"."+name)...)
				}
			}
		case "additionalProperties":
			fields, _ := v.(object)
			for name, value := range fields {
				switch sub := rule.(type) {
				case bool:
					if !sub && properties[name] == nil {
						complain("has %s, which is not described", name)
					}
				case object:
					if properties[name] == nil {
						problems = append(problems, d.validate(sub, value, at+"."+name)...)
					}
				}
			}
		case "required":
			fields, _ := v.(object)
			for _, name := range rule.([]any) {
				if _, there := fields[name.(string)]; !there {
					complain("has no %v", name)
				}
			}
		case "description", "examples", "default", "format", "readOnly", "contentEncoding":
		default:
			complain("the description has %s, which this test does not know", keyword)
		}
	}
	return problems
}

// typed reports whether a value is of a type, or of one of several.
func typed(rule, v any) bool {
	if list, ok := rule.([]any); ok {
		return slices.ContainsFunc(list, func(one any) bool { return typed(one, v) })
	}
	switch v := v.(type) {
	case nil:
		return rule == "null"
	case bool:
		return rule == "boolean"
	case string:
		return rule == "string"
	case float64:
		return rule == "number" || rule == "integer" && v == math.Trunc(v)
	case []any:
		return rule == "array"
	}
	return rule == "object"
}

// complete reports every operation that has not succeeded, and every described
// response that has not come, except those of the gate and of a failing server.
func (d description) complete(t *testing.T) {
	t.Helper()
	for path, item := range d.doc["paths"].(object) {
		for method, op := range item.(object) {
			op, ok := op.(object)
			if !ok {
				continue
			}
			id := op["operationId"].(string)
			for status := range op["responses"].(object) {
				if status == "422" && !strict(op) {
					continue
				}
				if !slices.Contains([]string{"401", "429", "500"}, status) && !d.seen[id][status] {
					t.Errorf("nothing has had %s %s (%s) answer with %s", strings.ToUpper(method), path, id, status)
				}
			}
		}
	}
}

// strict reports whether an operation takes anything but any text, which
// cannot be of a wrong form as far as a schema says.
func strict(op object) bool {
	if op["requestBody"] != nil {
		return true
	}
	parameters, _ := op["parameters"].([]any)
	return slices.ContainsFunc(parameters, func(p any) bool { return p.(object)["schema"].(object)["type"] != "string" })
}
