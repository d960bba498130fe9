package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a configuration, or one warning about it.
type Problem struct {
	// File is the file, as it was given to [Load], or the name of the
	// environment variable. It is empty for a default.
	File string

	// Line is the line in the file, from 1, or 0 where there is none.
	Line int

	// Key is the path of the setting, such as "apps[0].secret". It is empty
	// for a problem of the file as a whole, or of an unknown variable.
	Key string

	// Message says what is wrong and what to do. It never shows a secret.
	Message string
}

// String returns the problem on one line: file:line: key: message, as far as
// they are known.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems is the error of [Load]: every mistake, those of the file by line
// and then those of the environment. The list is not empty.
type Problems struct{ List []Problem }

// Error returns the problems, one a line.
func (p *Problems) Error() string {
	lines := make([]string, len(p.List))
	for i, problem := range p.List {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// position is where a setting was made: a line of a file, or an environment
// variable.
type position struct {
	file string
	line int
}

// origin remembers where the settings of a configuration were made.
type origin struct {
	file string              // given to Load, may be empty
	at   map[string]position // by key; without those left at their default
}

// problem returns a problem of the setting key. One that was not made is
// placed where the closest group around it begins.
func (o origin) problem(key, message string) Problem {
	p := Problem{File: o.file, Key: key, Message: message}
	for group := key; group != ""; group = parent(group) {
		if at, ok := o.at[group]; ok {
			p.File, p.Line = at.file, at.line
			break
		}
	}
	return p
}

// sort orders problems by place: the file first, then the environment.
func (o origin) sort(list []Problem) {
	slices.SortStableFunc(list, func(a, b Problem) int {
		inEnv := func(p Problem) int {
			if p.File == o.file {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(inEnv(a), inEnv(b)), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
}

// parent returns the key of the group around key: "apps[0]" of
// "apps[0].secret", "apps" of that, and "" at the end.
func parent(key string) string {
	return key[:max(strings.LastIndexAny(key, ".["), 0)]
}

// within reports whether key is the setting group or lies in it.
func within(key, group string) bool {
	for ; key != ""; key = parent(key) {
		if key == group {
			return true
		}
	}
	return false
}
