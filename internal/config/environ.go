package config

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/ringback/ringback/internal/config/typo"
)

// envPrefix begins every environment variable that is a setting.
const envPrefix = "RINGBACK_"

// notSetting reports whether a variable that begins with [envPrefix] is none
// of the server's: commands read it, or tests.
func notSetting(name string) bool {
	switch name {
	case "RINGBACK_SECRET", "RINGBACK_CALLBACK_SECRET", "RINGBACK_SERVER":
		return true
	}
	return strings.HasPrefix(name, "RINGBACK_TEST_")
}

// step is one part of the way from a configuration to a setting: the name of
// a field, or else an index of a list.
type step struct {
	name  string
	index int
}

// variable is an environment variable that is a setting.
type variable struct {
	name, text string
	path       []step
}

// readEnviron lets the variables of environ override what the file says.
func (l *loader) readEnviron(environ []string) {
	texts := make(map[string]string) // the last of equals wins, as with a shell
	for _, entry := range environ {
		name, text, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, envPrefix) && !notSetting(name) {
			texts[name] = text
		}
	}
	var variables []variable
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		path, ok := resolve(reflect.TypeFor[Config](), strings.TrimPrefix(name, envPrefix))
		if !ok {
			l.problems = append(l.problems, Problem{File: name, Message: "is not a setting; " + variableAdvice(name)})
			continue
		}
		variables = append(variables, variable{name, texts[name], path})
	}
	// Lists grow one by one, so element 2 comes before element 10.
	slices.SortStableFunc(variables, func(a, b variable) int {
		return slices.CompareFunc(a.path, b.path, func(a, b step) int {
			return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.index, b.index))
		})
	})
	for _, v := range variables {
		l.override(v)
	}
}

// resolve returns the way to the setting whose variable is rest, within a
// setting of type t. It may lead to a group or a list.
func resolve(t reflect.Type, rest string) (path []step, ok bool) {
	switch {
	case t.Kind() == reflect.Slice && !isTexts(t):
		digits, after, more := strings.Cut(rest, "_")
		i, err := strconv.Atoi(digits)
		if err != nil || i < 0 || digits != strconv.Itoa(i) {
			return nil, false
		}
		path = []step{{index: i}}
		if !more {
			return path, true
		}
		inner, ok := resolve(t.Elem(), after)
		return append(path, inner...), ok
	case isText(t) || isTexts(t):
		return nil, false
	}
	for i := range t.NumField() {
		name := tag(t.Field(i))
		after, found := strings.CutPrefix(rest, strings.ToUpper(name))
		if name == "" || !found {
			continue
		}
		path = []step{{name: name}}
		if after == "" {
			return path, true
		}
		if after[0] != '_' {
			continue
		}
		if inner, ok := resolve(t.Field(i).Type, after[1:]); ok {
			return append(path, inner...), true
		}
	}
	return nil, false
}

// override sets one setting from the environment.
func (l *loader) override(e variable) {
	at := position{file: e.name}
	key, v := "", reflect.ValueOf(l.cfg).Elem()
	for _, s := range e.path {
		if s.name != "" {
			key = join(key, s.name)
			v, _ = fieldByTag(v, s.name)
			continue
		}
		list := key
		key = index(list, s.index)
		if s.index > v.Len() {
			l.problems = append(l.problems, Problem{
				File: e.name, Key: key,
				Message: "there is no " + index(list, v.Len()) + " before it; number the elements of a list from 0 without gaps",
			})
			return
		}
		if s.index == v.Len() {
			grow(v)
			l.cfg.origin.at[key] = at
		}
		v = v.Index(s.index)
	}
	if !isText(v.Type()) && !isTexts(v.Type()) {
		example := slices.DeleteFunc(variableNames(e.name), func(name string) bool {
			return !strings.HasPrefix(name, e.name+"_")
		})
		l.problems = append(l.problems, Problem{
			File:    e.name, // without the key, which is not at fault
			Message: key + " is more than a single value; set its parts, such as " + example[0],
		})
		return
	}
	// What the file says of it no longer counts.
	l.problems = slices.DeleteFunc(l.problems, func(p Problem) bool {
		return p.File == l.cfg.origin.file && within(p.Key, key)
	})
	l.cfg.origin.at[key] = at
	if isTexts(v.Type()) {
		l.setTexts(key, e.text, at, v)
	} else {
		l.setText(key, e.text, v)
	}
}

// variableAdvice says what to do about a variable that is no setting.
func variableAdvice(name string) string {
	known := variableNames(name)
	for i := range known {
		known[i] = strings.TrimPrefix(known[i], envPrefix)
	}
	if meant := typo.Closest(strings.TrimPrefix(name, envPrefix), known); meant != "" {
		return "did you mean " + envPrefix + meant + "?"
	}
	return "unset it"
}

// variableNames returns the variables of all settings, with the indices that
// occur in the variable like.
func variableNames(like string) []string {
	var indices []string
	for part := range strings.SplitSeq(like, "_") {
		if i, err := strconv.ParseUint(part, 10, 31); err == nil {
			indices = append(indices, strconv.FormatUint(i, 10))
		}
	}
	var names []string
	var walk func(t reflect.Type, name string, indices []string)
	walk = func(t reflect.Type, name string, indices []string) {
		switch {
		case isText(t) || isTexts(t):
			names = append(names, name)
		case t.Kind() == reflect.Slice:
			if len(indices) == 0 {
				indices = []string{"0"}
			}
			walk(t.Elem(), name+"_"+indices[0], indices[1:])
		default:
			for i := range t.NumField() {
				if field := tag(t.Field(i)); field != "" {
					walk(t.Field(i).Type, name+"_"+strings.ToUpper(field), indices)
				}
			}
		}
	}
	walk(reflect.TypeFor[Config](), strings.TrimSuffix(envPrefix, "_"), indices)
	return names
}
