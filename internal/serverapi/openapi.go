package serverapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
)

// EventsPath is the path of the feed, OpenAPIPath that of the description.
const (
	EventsPath  = "/v1/events"
	OpenAPIPath = "/v1/openapi.json"
)

// OpenAPI gives the handler of the OpenAPI description of the server API and
// the feed. It needs no authentication.
func OpenAPI() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Write(document()) // a broken connection is not our business
	})
}

var document = sync.OnceValue(func() []byte {
	doc, err := json.MarshalIndent(describe(), "", "  ")
	if err != nil {
		panic("serverapi: " + err.Error()) // these types always encode
	}
	return doc
})

// describe makes the description from the types that the handlers decode and
// encode.
func describe() *huma.OpenAPI {
	d := describer{huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)}
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info:    &huma.Info{Title: "Ringback server API", Version: signatureVersion, Description: about + codeTable()},
		Paths:   make(map[string]*huma.PathItem),
		Components: &huma.Components{
			Schemas:    d.registry,
			Parameters: commonParameters(),
		},
		Tags: []*huma.Tag{
			{Name: "actions", Description: "Always answered with HTTP 200; Code says whether it went well."},
			{Name: "feed", Description: "Everything that happened in an app, in its order."},
		},
	}
	for _, name := range actionNames() {
		item := new(huma.PathItem)
		if op := d.action(name, actions[name]); actions[name].method == http.MethodGet {
			item.Get = op
		} else {
			item.Post = op
		}
		doc.Paths[ActionPath(name)] = item
	}
	doc.Paths[EventsPath] = &huma.PathItem{Get: d.feed()}
	for _, schema := range d.registry.Map() {
		schema.AdditionalProperties = nil // both sides ignore what they do not know
	}
	return doc
}

// ActionPath is the key of an action among the paths of the description. All
// actions have the path /, which a description can hold only once; what
// follows the # is not part of the request.
func ActionPath(name string) string { return "/#Action=" + name }

const about = `The server API has the shape of the ZIM server API, so that existing backends change only the host.

All actions have the path ` + "`/`" + `; what tells them apart is the parameter Action. (In this document their paths end in ` + "`#Action=…`" + `, since it can list a path only once; that part is not sent.)

Signature is the lower-case hex MD5 of AppId, SignatureNonce, the app's secret and Timestamp, one after the other. AppId 12345, nonce 4fd24687296dd9f3, secret 9193cc662a4c0ec135ec71fb57194b38 and timestamp 1615186943 give 43e5cfcca828314675f91b001390566a. A timestamp may be off by 10 minutes; a nonce is accepted once.

Codes:

`

// codeTexts say what each code means.
var codeTexts = map[Code]string{
	CodeSuccess:            "success",
	CodeInput:              "the request is not of the form that the action takes",
	CodeAppIDFormat:        "AppId is not the number of an app",
	CodeTimestampEmpty:     "Timestamp is missing",
	CodeTimestampFormat:    "Timestamp is not in Unix seconds",
	CodeExpired:            "Timestamp is more than 10 minutes away",
	CodeSignature:          "Signature is wrong, or SignatureNonce was used before",
	CodeActionEmpty:        "Action is missing",
	CodeActionUnknown:      "Action is unknown",
	CodeNonceEmpty:         "SignatureNonce is missing",
	CodeSignatureEmpty:     "Signature is missing",
	CodeAppUnknown:         "there is no such app",
	CodeSignatureVerEmpty:  "SignatureVersion is missing",
	CodeSignatureVerWanted: "SignatureVersion is not supported",
	CodeGeneral:            "the server failed: the same request may succeed later",
	CodeParameter:          "a parameter is missing or out of bounds",
	CodeTooManyUsers:       "too many users",
	CodeUserIDTooLong:      "a user ID is too long",
	CodeNoSuchUser:         "there is no such user, or he is logged out",
	CodeTooManyRequests:    "too many requests",
	CodeNotRegistered:      "FromUserId is not registered",
	CodeRegistrations:      "too many requests of UserRegister",
	CodeUserExists:         "the user exists already",
	CodeNameTooLong:        "the user name is too long",
	CodeAvatarTooLong:      "the avatar is too long",
	CodeNoCallee:           "no callee is registered",
	CodeNoSuchCall:         "there is no such call",
	CodeCallEnded:          "the call has ended, or the invitation is no longer pending",
	CodeTimedOut:           "the user's invitation has timed out",
	CodeTooManyCallees:     "too many callees",
	CodeNotInvited:         "the user was not invited, or is not in the call",
}

func codeTable() string {
	var b strings.Builder
	b.WriteString("| Code | means |\n| --- | --- |\n")
	for _, code := range slices.Sorted(maps.Keys(codeTexts)) {
		fmt.Fprintf(&b, "| %d | %s |\n", int(code), codeTexts[code])
	}
	return b.String()
}

// describer makes the parts of the description.
type describer struct{ registry huma.Registry }

func (d describer) schema(v any) *huma.Schema { return d.registry.Schema(reflect.TypeOf(v), true, "") }

// action describes an action.
func (d describer) action(name string, a action) *huma.Operation {
	in := a.newIn()
	op := &huma.Operation{
		OperationID: name, Summary: a.summary, Tags: []string{"actions"},
		Parameters: append([]*huma.Param{{
			Name: "Action", In: "query", Required: true, Example: name,
			Schema: &huma.Schema{Type: "string", Enum: []any{name}},
		}}, commonRefs()...),
		Responses: map[string]*huma.Response{"200": response("Carried out, or refused: see Code", d.schema(a.newOut()))},
	}
	if a.method == http.MethodGet {
		op.Parameters = append(op.Parameters, d.parameters(in)...)
		return op
	}
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/json": {Schema: d.schema(in), Example: example(reflect.TypeOf(in).Elem())},
	}}
	return op
}

// parameters describes the parameters of a query.
func (d describer) parameters(in any) []*huma.Param {
	t := reflect.TypeOf(in).Elem()
	schema := huma.SchemaFromType(d.registry, t)
	var list []*huma.Param
	for i := range t.NumField() {
		name := fieldName(t.Field(i))
		p := &huma.Param{Name: name, In: "query", Schema: schema.Properties[name], Required: slices.Contains(schema.Required, name)}
		p.Description, p.Schema.Description = p.Schema.Description, ""
		if len(p.Schema.Examples) > 0 {
			p.Example, p.Schema.Examples = p.Schema.Examples[0], nil
		}
		if p.Schema.Type == "array" {
			explode := true
			p.Style, p.Explode = "form", &explode
		}
		list = append(list, p)
	}
	return list
}

// example assembles an example from those of the fields.
func example(t reflect.Type) map[string]any {
	object := make(map[string]any)
	for i := range t.NumField() {
		f := t.Field(i)
		text, ok := f.Tag.Lookup("example")
		switch {
		case ok && f.Type.Kind() == reflect.String:
			object[fieldName(f)] = text
		case ok:
			object[fieldName(f)] = json.RawMessage(text)
		case f.Type.Kind() == reflect.Struct && f.Type.NumField() > 0:
			object[fieldName(f)] = example(f.Type)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			object[fieldName(f)] = []any{example(f.Type.Elem())}
		}
	}
	return object
}

// feed describes the feed of events.
func (d describer) feed() *huma.Operation {
	low, most, wait, none := 1.0, float64(maxEvents), float64(maxWait), 0.0
	failure := d.schema(Answer{})
	return &huma.Operation{
		OperationID: actionEvents, Summary: "Read what happened, in its order", Tags: []string{"feed"},
		Description: "Gives every event of the app, whether or not a callback endpoint is subscribed to it; those of one call are in their order. " +
			"A reader begins without after, keeps the cursor of the last page that it has worked off, and goes on from there: nothing is skipped, and events come again only if it goes back. " +
			"With wait the server answers as soon as there is something. The parameter Action is not needed.",
		Parameters: append(commonRefs(),
			&huma.Param{
				Name: "after", In: "query", Schema: &huma.Schema{Type: "string"},
				Description: "The cursor of the page before. Absent: begin at the oldest event that is kept; latest: begin now",
			},
			&huma.Param{
				Name: "limit", In: "query", Description: "How many events at most", Example: 10,
				Schema: &huma.Schema{Type: "integer", Minimum: &low, Maximum: &most, Default: defaultEvents},
			},
			&huma.Param{
				Name: "wait", In: "query", Description: "For how many seconds to wait for the first event", Example: 0,
				Schema: &huma.Schema{Type: "integer", Minimum: &none, Maximum: &wait, Default: 0},
			}),
		Responses: map[string]*huma.Response{
			"200": response("A page, possibly empty", d.schema(EventPage{})),
			"400": response("A parameter is missing or wrong", failure),
			"401": response("The request is not authentic", failure),
			"429": response("Too many requests, or too many polls that wait", failure),
			"503": response("The server failed: try again", failure),
		},
	}
}

func response(text string, schema *huma.Schema) *huma.Response {
	return &huma.Response{Description: text, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
}

// signing are the parameters that every request has beside its Action.
var signing = common[1:]

func commonRefs() []*huma.Param {
	var refs []*huma.Param
	for _, name := range signing {
		refs = append(refs, &huma.Param{Ref: "#/components/parameters/" + name})
	}
	return refs
}

func commonParameters() map[string]*huma.Param {
	longest := maxNonce
	text := func() *huma.Schema { return &huma.Schema{Type: "string"} }
	all := map[string]*huma.Param{
		"AppId":            {Description: "The number of the app", Schema: &huma.Schema{Type: "integer", Format: "int64"}, Example: 12345},
		"SignatureNonce":   {Description: "Random, new for each request", Schema: &huma.Schema{Type: "string", MaxLength: &longest}, Example: "4fd24687296dd9f3"},
		"Timestamp":        {Description: "Unix seconds, at most 10 minutes off", Schema: &huma.Schema{Type: "integer", Format: "int64"}, Example: 1615186943},
		"SignatureVersion": {Schema: &huma.Schema{Type: "string", Enum: []any{signatureVersion}}, Example: signatureVersion},
		"Signature":        {Description: "Lower-case hex MD5 of AppId, SignatureNonce, the app's secret and Timestamp", Schema: text(), Example: "43e5cfcca828314675f91b001390566a"},
	}
	for name, p := range all {
		p.Name, p.In, p.Required = name, "query", true
	}
	return all
}
