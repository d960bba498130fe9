package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ringback/ringback/internal/config"
)

// setting is one key of the configuration.
type setting struct {
	Name    string // such as "secret"
	Key     string // such as "apps[].secret"
	Type    string // in words; "" for a group
	Default string // as it is written in the file; "" for a group, and for what must be set
	Example string // what the example of a file says
	Env     string // the variable; "" for a group
	Bounds  string
	Meaning string // sentences
	Depth   int    // how far in it is; 0: at the top
	List    bool   // a list of groups
	First   bool   // begins an element of a list
}

// Must reports whether the setting has to be made.
func (s *setting) Must() bool { return s.Type != "" && s.Default == "" }

// comments reads the comments of the fields of all structs in a file, by
// struct and field.
func comments(file string) (map[string]string, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string)
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if group, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range group.Fields.List {
				for _, name := range f.Names {
					out[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
			}
		}
		return false
	})
	return out, nil
}

// meaning makes what an operator reads of the comment of a field.
func meaning(field, comment string) (string, error) {
	rest, ok := strings.CutPrefix(comment, field+" ")
	if !ok || !strings.HasSuffix(rest, ".") {
		return "", fmt.Errorf("the comment of the field %s is %q; it must begin with the name and end with a full stop", field, comment)
	}
	if strings.ContainsAny(rest, "|[]") {
		return "", fmt.Errorf("the comment of the field %s has a link or a bar, which a table cannot show", field)
	}
	for _, verb := range []string{"is ", "are "} {
		rest = strings.TrimPrefix(rest, verb)
	}
	r, size := utf8.DecodeRuneInString(rest)
	return string(unicode.ToUpper(r)) + rest[size:], nil
}

// settings lists all keys, groups before what is in them.
func settings(file string) ([]*setting, error) {
	text, err := comments(file)
	if err != nil {
		return nil, err
	}
	w := &walker{comments: text}
	if err := w.walk(reflect.ValueOf(*config.Default()), setting{Env: "RINGBACK"}); err != nil {
		return nil, err
	}
	return w.list, nil
}

type walker struct {
	comments map[string]string
	list     []*setting
}

// walk adds the settings of a group, which is in.
func (w *walker) walk(v reflect.Value, in setting) error {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := f.Tag.Get("yaml")
		if name == "" {
			continue
		}
		says, err := meaning(f.Name, w.comments[v.Type().Name()+"."+f.Name])
		if err != nil {
			return err
		}
		s := &setting{
			Name: name, Key: strings.TrimPrefix(in.Key+"."+name, "."), Env: in.Env + "_" + strings.ToUpper(name),
			Bounds: f.Tag.Get("bounds"), Meaning: says, Depth: in.Depth, First: in.List && i == 0,
		}
		w.list = append(w.list, s)
		element, group := inner(v.Field(i))
		if !group {
			if s.Type, err = typeName(f.Type); err != nil {
				return fmt.Errorf("%s: %w", s.Key, err)
			}
			s.Example = f.Tag.Get("example")
			if s.Example == "" {
				s.Default = literal(v.Field(i))
				s.Example = s.Default
			}
			continue
		}
		within := setting{Key: s.Key, Env: s.Env, Depth: in.Depth + 1}
		if s.List = f.Type.Kind() == reflect.Slice; s.List {
			within = setting{Key: s.Key + "[]", Env: s.Env + "_0", Depth: in.Depth + 2, List: true}
		}
		s.Env = ""
		if err := w.walk(element, within); err != nil {
			return err
		}
	}
	return nil
}

// inner gives the defaults of the group that a setting is, or that its
// elements are.
func inner(v reflect.Value) (group reflect.Value, ok bool) {
	switch v.Interface().(type) {
	case []config.App:
		return reflect.ValueOf(config.DefaultApp()), true
	case []config.Endpoint:
		return reflect.ValueOf(config.DefaultEndpoint()), true
	}
	return v, v.Kind() == reflect.Struct
}

// typeName says in words what a value is.
func typeName(t reflect.Type) (string, error) {
	switch t {
	case reflect.TypeFor[string]():
		return "text", nil
	case reflect.TypeFor[int](), reflect.TypeFor[uint32]():
		return "number", nil
	case reflect.TypeFor[time.Duration]():
		return "duration", nil
	case reflect.TypeFor[[]string]():
		return "list of texts", nil
	case reflect.TypeFor[[]time.Duration]():
		return "list of durations", nil
	case reflect.TypeFor[[]netip.Prefix]():
		return "list of networks", nil
	}
	return "", fmt.Errorf("there is no word for the type %v", t)
}

// literal writes a value as YAML.
func literal(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return duration(x)
	case string:
		if x == "" {
			return strconv.Quote(x)
		}
		return x
	}
	if v.Kind() != reflect.Slice {
		return fmt.Sprint(v.Interface())
	}
	texts := make([]string, v.Len())
	for i := range texts {
		texts[i] = literal(v.Index(i))
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

// duration writes a duration without the units that are zero.
func duration(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}
