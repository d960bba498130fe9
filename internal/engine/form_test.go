package engine

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"testing"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/wire"
)

// eventsOfAllKinds has one event of each kind.
var eventsOfAllKinds = []call.Event{
	call.CallCreated{},
	call.InvitationReceived{},
	call.InvitationsUnconfirmed{},
	call.CallAccepted{},
	call.CallRejected{},
	call.InvitationsCancelled{},
	call.InvitationsTimedOut{},
	call.UsersInvited{},
	call.UserJoined{},
	call.UserQuit{},
	call.CallEnded{},
}

// TestFormOfEvents says that events of all kinds have a form.
func TestFormOfEvents(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../call/event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]bool)
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil && f.Name.Name == "event" {
			want["call."+f.Recv.List[0].Type.(*ast.Ident).Name] = true
		}
	}
	got := make(map[string]bool)
	for _, e := range eventsOfAllKinds {
		got[fmt.Sprintf("%T", e)] = true
	}
	if len(want) == 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("there are events %v, tested are %v", want, got)
	}
}

// TestForm says that everything in a message is read as it was written.
func TestForm(t *testing.T) {
	var want message
	n := 0
	fill(t, reflect.ValueOf(&want).Elem(), &n)
	var got message
	if err := wire.Decode(wire.Encode(&want, (*message).values), &got, (*message).values); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %s\nwant %s", asJSON(t, got), asJSON(t, want))
	}
	var none message
	if err := wire.Decode(wire.Encode(&message{}, (*message).values), &none, (*message).values); err != nil || !reflect.DeepEqual(none, message{}) {
		t.Errorf("of nothing is read %+v, %v", none, err)
	}
}

// fill sets everything in a value, to something else each time.
func fill(t *testing.T, v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(-*n))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n % 256))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(t, key, n)
			fill(t, value, n)
			v.SetMapIndex(key, value)
		}
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[[]call.Event]() {
			for _, e := range eventsOfAllKinds {
				filled := reflect.New(reflect.TypeOf(e)).Elem()
				fill(t, filled, n)
				v.Set(reflect.Append(v, filled))
			}
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	default:
		t.Fatalf("it is not known how to fill %s", v.Type())
	}
}

// TestFirstForm says that a message as the first version wrote it is still
// read. Whoever has to change its files has changed the place of a value, and
// makes nodes misunderstand each other while they are updated.
func TestFirstForm(t *testing.T) {
	data, err := os.ReadFile("testdata/message.msgpack")
	if err != nil {
		t.Fatal(err)
	}
	meaning, err := os.ReadFile("testdata/message.json")
	if err != nil {
		t.Fatal(err)
	}
	var m message
	if err := wire.Decode(data, &m, (*message).values); err != nil {
		t.Fatal(err)
	}
	var got, want any
	for text, v := range map[string]*any{string(asJSON(t, m)): &got, string(meaning): &want} {
		if err := json.Unmarshal([]byte(text), v); err != nil {
			t.Fatal(err)
		}
	}
	within(t, "message", got, want)
}

// within checks that all of want is in got, which may have more fields.
func within(t *testing.T, path string, got, want any) {
	switch want := want.(type) {
	case map[string]any:
		got, _ := got.(map[string]any)
		for name := range want {
			within(t, path+"."+name, got[name], want[name])
		}
	case []any:
		got, _ := got.([]any)
		if len(got) != len(want) {
			t.Errorf("%s has %d entries, want %d", path, len(got), len(want))
			return
		}
		for i := range want {
			within(t, fmt.Sprintf("%s[%d]", path, i), got[i], want[i])
		}
	default:
		if got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
}

func asJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	return data
}
