package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// output is where a command prints its result: as text for people, or with
// --json as one JSON document. Progress, warnings and errors go to stderr.
type output struct {
	e    *env
	json bool
}

// newOutput defines the flag --json of a command that prints a result.
func newOutput(e *env, cmd *cobra.Command) *output {
	o := &output{e: e}
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON document")
	return o
}

// print prints the result: v with --json, else what text writes.
func (o *output) print(v any, text func(p *printer) error) error {
	if o.json {
		enc := json.NewEncoder(o.e.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	return text(newPrinter(o.e))
}

// style is how text looks on a terminal. All of them have the same length, so
// that columns stay aligned in which every cell has one.
type style string

// Styles.
const (
	plain  style = "\x1b[39m"
	bold   style = "\x1b[01m"
	faint  style = "\x1b[02m"
	red    style = "\x1b[31m"
	green  style = "\x1b[32m"
	yellow style = "\x1b[33m"
)

const styleEnd = "\x1b[0m"

// printer writes text for people. Write passes it on as it is; whatever
// comes from elsewhere goes through [clean] first.
type printer struct {
	io.Writer
	colour bool
}

// newPrinter makes a printer on stdout. It uses colours only on a terminal,
// and only while NO_COLOR is unset (no-color.org).
func newPrinter(e *env) *printer {
	colour := isTerminal(e.stdout) && e.lookup("NO_COLOR") == "" && e.lookup("TERM") != "dumb"
	return &printer{Writer: e.stdout, colour: colour}
}

// printf writes a line, or lines.
func (p *printer) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(p, format, args...)
	return err
}

// styled gives text a style, if there are colours.
func (p *printer) styled(s style, text string) string {
	if !p.colour {
		return text
	}
	return string(s) + text + styleEnd
}

// cell is a cell of a table that is not plain.
type cell struct {
	style style
	text  any
}

// table collects rows of aligned columns.
type table struct {
	p  *printer
	tw *tabwriter.Writer
}

// table begins a table with these headings. Its rows are printed by flush.
func (p *printer) table(headings ...string) *table {
	t := &table{p, tabwriter.NewWriter(p.Writer, 0, 0, 2, ' ', 0)}
	cells := make([]any, len(headings))
	for i, h := range headings {
		cells[i] = cell{bold, h}
	}
	t.row(cells...)
	return t
}

// row adds a row. A cell is anything that fmt.Sprint prints, or a [cell];
// what cannot be printed in it is replaced.
func (t *table) row(cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		styled, ok := c.(cell)
		if !ok {
			styled = cell{plain, c}
		}
		texts[i] = t.p.styled(styled.style, clean(fmt.Sprint(styled.text)))
	}
	fmt.Fprintln(t.tw, strings.Join(texts, "\t")) // an error comes again in flush
}

// flush prints the table.
func (t *table) flush() error { return t.tw.Flush() }

// clean replaces what would break a line or steer the terminal: control
// characters, and invisible ones that change how others are shown.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		const joiner, nonJoiner = '\u200D', '\u200C' // parts of emoji and of some scripts
		switch {
		case r == joiner, r == nonJoiner:
			return r
		case unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
