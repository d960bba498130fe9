package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"text/template"
	"unicode"
	"unicode/utf8"
)

//go:embed configuration.md.tmpl
var prose string

// generate makes the whole document from the file with the structs.
func generate(file string) ([]byte, error) {
	list, err := settings(file)
	if err != nil {
		return nil, err
	}
	t, err := template.New("configuration.md").Option("missingkey=error").Parse(prose)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]string{"Example": example(list), "Table": table(list)})
	return b.Bytes(), err
}

const (
	commentAt = 42  // the column of comments in the example
	width     = 122 // of its lines
)

// example makes a whole file: every key, with what it is in a sentence.
func example(list []*setting) string {
	var b strings.Builder
	for _, s := range list {
		indent := strings.Repeat("  ", s.Depth)
		if s.First {
			indent = indent[:len(indent)-2] + "- "
		}
		line := strings.TrimSuffix(indent+s.Name+": "+s.Example, " ")
		for _, comment := range wrap(remark(s), width-commentAt-2) {
			if pad := commentAt - utf8.RuneCountInString(line); pad > 0 {
				line += strings.Repeat(" ", pad)
			} else {
				b.WriteString(line + "\n") // too long for a comment beside it
				line = strings.Repeat(" ", commentAt)
			}
			b.WriteString(line + "# " + comment + "\n")
			line = ""
		}
	}
	return b.String()
}

// remark is what the example says of a setting: what it is, and its bounds.
func remark(s *setting) string {
	sentence, _, _ := strings.Cut(s.Meaning, ". ")
	sentence = strings.TrimSuffix(sentence, ".")
	r, size := utf8.DecodeRuneInString(sentence)
	sentence = string(unicode.ToLower(r)) + sentence[size:]
	if s.Type != "" && s.Bounds != "" {
		sentence += "; " + s.Bounds
	}
	return sentence
}

// wrap breaks a text into lines of at most n characters.
func wrap(text string, n int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > n:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// table makes a table of all keys that are values.
func table(list []*setting) string {
	var b strings.Builder
	b.WriteString("| key | type | default | bounds | meaning |\n| --- | --- | --- | --- | --- |\n")
	for _, s := range list {
		switch {
		case s.Type == "" && s.Bounds == "":
			fmt.Fprintf(&b, "| `%s` | group | | | %s |\n", s.Key, s.Meaning)
		case s.Type == "":
			fmt.Fprintf(&b, "| `%s` | list of groups | `[]` | %s | %s |\n", s.Key, s.Bounds, s.Meaning)
		case s.Must():
			fmt.Fprintf(&b, "| `%s`<br>`%s` | %s | must be set | %s | %s |\n", s.Key, s.Env, s.Type, s.Bounds, s.Meaning)
		default:
			fmt.Fprintf(&b, "| `%s`<br>`%s` | %s | `%s` | %s | %s |\n", s.Key, s.Env, s.Type, s.Default, s.Bounds, s.Meaning)
		}
	}
	return b.String()
}
