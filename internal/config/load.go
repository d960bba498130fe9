package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"

	"go.yaml.in/yaml/v4"

	"github.com/ringback/ringback/internal/config/typo"
)

// Load reads the file at path, lets the variables of environ override it, and
// checks the result. The path may be empty; environ is in the form of
// [os.Environ]. Of the variables that begin with RINGBACK_ those beginning with
// RINGBACK_TEST_ and RINGBACK_SECRET, which is a variable of a command, are
// left alone, and every other that is no setting is a mistake.
//
// Relative paths in the configuration are relative to the working directory.
// An error is a [*Problems] with all mistakes; if the file cannot be read as
// YAML at all, that is the only one.
func Load(path string, environ []string) (*Config, error) {
	l := &loader{cfg: Default()}
	l.cfg.origin = origin{file: path, at: make(map[string]position)}
	if path == "" || l.readFile(path) {
		l.readEnviron(environ)
		l.check()
	}
	if len(l.problems) > 0 {
		l.cfg.origin.sort(l.problems)
		return nil, &Problems{List: l.problems}
	}
	return l.cfg, nil
}

// loader carries what is known while a configuration is loaded.
type loader struct {
	cfg      *Config
	problems []Problem
}

// report records a mistake in the setting key.
func (l *loader) report(key, format string, args ...any) {
	l.problems = append(l.problems, l.cfg.origin.problem(key, fmt.Sprintf(format, args...)))
}

// failed reports whether a mistake in the setting key, or in a group around
// it, is known, so that its value means nothing.
func (l *loader) failed(key string) bool {
	for _, p := range l.problems {
		if p.Key != "" && within(key, p.Key) {
			return true
		}
	}
	return false
}

// readFile sets what the file says, and reports whether it is a configuration
// at all.
func (l *loader) readFile(path string) bool {
	text, err := os.ReadFile(path)
	if err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		l.report("", "cannot be read: %v", err)
		return false
	}
	yamlLoader, err := yaml.NewLoader(bytes.NewReader(text))
	if err != nil {
		l.report("", "cannot be read: %v", err)
		return false
	}
	var document, second yaml.Node
	switch err := yamlLoader.Load(&document); {
	case err == io.EOF: // empty
		return true
	case err != nil:
		l.reportYAML(err)
		return false
	}
	switch err := yamlLoader.Load(&second); {
	case err == io.EOF:
	case err != nil:
		l.reportYAML(err)
		return false
	default:
		l.problems = append(l.problems, Problem{
			File: path, Line: second.Line,
			Message: "a second YAML document begins here; keep one and remove the line ---",
		})
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode && !isNull(root) {
		l.problems = append(l.problems, Problem{
			File: path, Line: root.Line,
			Message: "the file must be a mapping, with lines such as listen: 127.0.0.1:8080",
		})
		return false
	}
	l.decode("", root, reflect.ValueOf(l.cfg).Elem())
	return true
}

// reportYAML records that the file is not YAML. The parser's words describe
// the grammar and do not quote the file, except for the name of an anchor.
func (l *loader) reportYAML(err error) {
	p := Problem{File: l.cfg.origin.file, Message: "is not valid YAML"}
	var loadErr *yaml.LoadError
	if errors.As(err, &loadErr) {
		p.Line = loadErr.Mark.Line
		if loadErr.Stage == yaml.ComposerStage {
			p.Message += ": an alias names no anchor; quote a value that begins with *"
		} else {
			p.Message += ": " + loadErr.Message
		}
	}
	l.problems = append(l.problems, p)
}

// decode sets v, the setting key, from n.
func (l *loader) decode(key string, n *yaml.Node, v reflect.Value) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	group := v.Kind() == reflect.Struct && !isText(v.Type())
	switch {
	case isNull(n):
		if !group && v.Kind() != reflect.Slice {
			l.report(key, "has no value; give it one or remove the line")
		}
	case group && n.Kind == yaml.MappingNode:
		l.decodeGroup(key, n, v)
	case group:
		l.report(key, "must be a group of settings, with lines such as %s: …", tag(v.Type().Field(0)))
	case v.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode:
		l.decodeList(key, n, v)
	case v.Kind() == reflect.Slice:
		l.report(key, "must be a list, such as [a, b] or lines beginning with -")
	case n.Kind != yaml.ScalarNode:
		l.report(key, "must be a single value, not a list or a group")
	default:
		l.setText(key, n.Value, v)
	}
}

// decodeGroup sets the fields of v from the mapping n.
func (l *loader) decodeGroup(key string, n *yaml.Node, v reflect.Value) {
	names := make(map[string]int) // line of each
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		at := join(key, name.Value)
		field, ok := fieldByTag(v, name.Value)
		if !ok {
			l.problems = append(l.problems, Problem{
				File: l.cfg.origin.file, Line: name.Line, Key: at,
				Message: "is not a setting; " + unknownAdvice(name.Value, tags(v.Type()), "remove it"),
			})
			continue
		}
		if line, twice := names[name.Value]; twice {
			l.problems = append(l.problems, Problem{
				File: l.cfg.origin.file, Line: name.Line, Key: at,
				Message: fmt.Sprintf("is already set on line %d; remove one of the two", line),
			})
			continue
		}
		names[name.Value] = name.Line
		l.cfg.origin.at[at] = position{l.cfg.origin.file, name.Line}
		l.decode(at, value, field)
	}
}

// decodeList sets the slice v from the sequence n.
func (l *loader) decodeList(key string, n *yaml.Node, v reflect.Value) {
	v.Set(reflect.MakeSlice(v.Type(), 0, len(n.Content)))
	for i, element := range n.Content {
		at := index(key, i)
		l.cfg.origin.at[at] = position{l.cfg.origin.file, element.Line}
		grow(v)
		l.decode(at, element, v.Index(i))
	}
}

// unknownAdvice says what to do about a name that is none of known.
func unknownAdvice(name string, known []string, otherwise string) string {
	if meant := typo.Closest(name, known); meant != "" {
		return fmt.Sprintf("did you mean %s?", meant)
	}
	return otherwise
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
