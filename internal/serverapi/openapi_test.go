package serverapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

// published is the description as readers get it.
func published(t *testing.T) map[string]any {
	t.Helper()
	w := httptest.NewRecorder()
	OpenAPI().ServeHTTP(w, httptest.NewRequest(http.MethodGet, OpenAPIPath, nil))
	var doc map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%v: %v", w.Header(), err)
	}
	return doc
}

// at follows a path of names through objects.
func at(t *testing.T, v any, path ...string) any {
	t.Helper()
	for _, name := range path {
		object, ok := v.(map[string]any)
		if !ok || object[name] == nil {
			t.Fatalf("there is no %v", path)
		}
		v = object[name]
	}
	return v
}

// describedAction gives the description of an action, and its method.
func describedAction(t *testing.T, doc map[string]any, name string) (method string, op any) {
	t.Helper()
	item := at(t, doc, "paths", ActionPath(name)).(map[string]any)
	if len(item) != 1 {
		t.Fatalf("%s has %d methods", name, len(item))
	}
	for method, op := range item {
		return strings.ToUpper(method), op
	}
	panic("unreachable")
}

func TestDescriptionHasEveryAction(t *testing.T) {
	doc := published(t)
	want := []string{EventsPath}
	for name, a := range actions {
		want = append(want, ActionPath(name))
		method, op := describedAction(t, doc, name)
		if method != a.method || at(t, op, "operationId") != name {
			t.Errorf("%s is described as %s %v", name, method, at(t, op, "operationId"))
		}
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(at(t, doc, "paths").(map[string]any))); !slices.Equal(got, want) {
		t.Errorf("the paths are %v, want %v", got, want)
	}
}

func TestDescriptionIsWhole(t *testing.T) {
	doc := published(t)
	var walk func(v any)
	refs := 0
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				refs++
				at(t, doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
			}
			for _, member := range v {
				walk(member)
			}
		case []any:
			for _, item := range v {
				walk(item)
			}
		}
	}
	walk(doc)
	if refs < 50 {
		t.Errorf("only %d references were found", refs)
	}
	if strings.Contains(string(document()), "additionalProperties") {
		t.Error("the description forbids what it does not know")
	}
}

// TestDescriptionHasEveryCode reads the codes from the source.
func TestDescriptionHasEveryCode(t *testing.T) {
	src, err := os.ReadFile("codes.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\tCode\w+ +Code = (\d+)`).FindAllSubmatch(src, -1)
	if len(found) != len(codeTexts) {
		t.Errorf("there are %d codes, and %d are described", len(found), len(codeTexts))
	}
	text := at(t, published(t), "info", "description").(string)
	for _, code := range found {
		if !strings.Contains(text, "| "+string(code[1])+" | ") {
			t.Errorf("code %s is not described", code[1])
		}
	}
}

// answers checks real answers against the description. Unlike what is
// published, it lets no answer have a member that is not described.
type answers struct {
	t        *testing.T
	doc      *huma.OpenAPI
	registry huma.Registry
}

func newAnswers(t *testing.T) answers {
	doc := describe()
	for _, schema := range doc.Components.Schemas.Map() {
		if schema.Type == "object" {
			schema.AdditionalProperties = false
		}
	}
	return answers{t, doc, doc.Components.Schemas}
}

func (a answers) check(what string, op *huma.Operation, status int, body []byte) {
	a.t.Helper()
	response := op.Responses[fmt.Sprint(status)]
	if response == nil {
		a.t.Errorf("%s: HTTP %d is not described", what, status)
		return
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		a.t.Fatal(err)
	}
	var res huma.ValidateResult
	huma.Validate(a.registry, response.Content["application/json"].Schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, v, &res)
	for _, err := range res.Errors {
		a.t.Errorf("%s: HTTP %d %s\n%v", what, status, body, err)
	}
}

func (a answers) action(name string) *huma.Operation {
	item := a.doc.Paths[ActionPath(name)]
	if item.Get != nil {
		return item.Get
	}
	return item.Post
}

// TestExamplesAreAccepted sends what the description gives as examples, with
// the ID of a call that is there, and checks the answers.
func TestExamplesAreAccepted(t *testing.T) {
	doc, valid := published(t), newAnswers(t)
	for _, name := range actionNames() {
		b := newBackend(t)
		session, _ := b.loginAs("alice")
		b.login("bob", "carol")
		id := b.invite("alice", "bob", "carol")
		if name == "CallEnd" {
			id = b.inviteAdvanced("alice", session, "bob")
		}
		method, op := describedAction(t, doc, name)
		q, body := b.query(name), ""
		if method == http.MethodPost {
			example := at(t, op, "requestBody", "content", "application/json", "example").(map[string]any)
			if example["CallId"] != nil {
				example["CallId"] = id
			}
			body = jsonOf(t, example)
		}
		addExamples(t, q, op, id)
		w := httptest.NewRecorder()
		b.server.ServeHTTP(w, httptest.NewRequest(method, "/?"+q.Encode(), strings.NewReader(body)))
		var r result
		if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if r.code() != CodeSuccess {
			t.Errorf("%s %s %s: %v", name, q.Encode(), body, r)
		}
		valid.check(name, valid.action(name), w.Code, w.Body.Bytes())
		b.close()
	}
}

// addExamples adds the examples of an operation's own parameters.
func addExamples(t *testing.T, q url.Values, op any, callID string) {
	t.Helper()
	for _, p := range at(t, op, "parameters").([]any) {
		param := p.(map[string]any)
		name, _ := param["name"].(string)
		switch value := param["example"].(type) {
		case []any:
			for _, item := range value {
				q.Add(name, item.(string))
			}
		case string, float64:
			if q.Set(name, fmt.Sprint(value)); name == "CallId" {
				q.Set(name, callID)
			}
		default:
			if param["required"] == true {
				t.Errorf("%s has no example", name)
			}
		}
	}
}

// TestFailuresAreDescribed checks answers of every kind that are no success.
func TestFailuresAreDescribed(t *testing.T) {
	b, valid := newBackend(t), newAnswers(t)
	defer b.close()
	b.login("alice")
	for _, tt := range []struct{ action, body string }{
		{"CallInvite", `{"FromUserId":"alice","UserIds":["nobody"]}`},
		{"CallInvite", `{"FromUserId":"alice"}`},
		{"CallInvite", `7`},
		{"CallAccept", `{"FromUserId":"alice","CallId":"1"}`},
		{"CallCancel", `{"FromUserId":"alice","CallId":"1"}`},
		{"CallEnd", `{"FromUserId":"alice","CallId":"1"}`},
		{"UserRegister", `{"UserInfo":[{"UserId":"alice"}]}`},
		{"QueryCall", `{"CallId":"1"}`},
		{"QueryCallList", `{"UserId":"nobody"}`},
		{"QueryCallList", `{"UserId":"alice"}`},
		{"QueryUserOnlineState", `{"UserId[]":["nobody"]}`},
	} {
		valid.check(tt.action, valid.action(tt.action), http.StatusOK, []byte(jsonOf(t, b.run(tt.action, tt.body))))
	}
	valid.check("unsigned", valid.action("CallInvite"), http.StatusOK, []byte(jsonOf(t, b.send(http.MethodGet, "Action=CallInvite", ""))))
}

func TestFeedIsDescribed(t *testing.T) {
	b, valid := newBackend(t, func(o *Options) { o.RequestsPerSecond = 3 }), newAnswers(t)
	defer b.close()
	b.login("alice", "bob")
	b.invite("alice", "bob")
	feed, doc := valid.doc.Paths[EventsPath].Get, published(t)
	ask := func(what string, q url.Values, want int) {
		w := httptest.NewRecorder()
		b.server.Events().ServeHTTP(w, httptest.NewRequest(http.MethodGet, EventsPath+"?"+q.Encode(), nil))
		if w.Code != want {
			t.Errorf("%s: HTTP %d %s, want %d", what, w.Code, w.Body, want)
		}
		valid.check(what, feed, w.Code, w.Body.Bytes())
	}
	q := b.query("")
	addExamples(t, q, at(t, doc, "paths", EventsPath, "get"), "")
	ask("examples", q, http.StatusOK)
	ask("an empty page", b.query("", "after", "latest"), http.StatusOK)
	ask("a wrong cursor", b.query("", "after", "x"), http.StatusBadRequest)
	ask("one too many", b.query(""), http.StatusTooManyRequests)
	ask("unsigned", url.Values{}, http.StatusBadRequest)
	ask("used before", q, http.StatusUnauthorized)
	b.store.fail = http.ErrServerClosed
	ask("failed", b.query(""), http.StatusServiceUnavailable)
}

// TestStrictCheckFindsFaults: the check of answers can fail.
func TestStrictCheckFindsFaults(t *testing.T) {
	valid := newAnswers(t)
	for _, body := range []string{`{"Code":0,"Message":"x"}`, `{"Code":"0","Message":"x","RequestId":"1"}`, `{"Code":0,"Message":"x","RequestId":"1","New":1}`} {
		var v any
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			t.Fatal(err)
		}
		var res huma.ValidateResult
		schema := valid.action("CallInvite").Responses["200"].Content["application/json"].Schema
		huma.Validate(valid.registry, schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, v, &res)
		if len(res.Errors) == 0 {
			t.Errorf("%s passes as an answer", body)
		}
	}
}
