package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// pipedWidth is how wide text is made where there is no terminal.
const pipedWidth = 100

// minWidth is how narrow text is made at the most.
const minWidth = 40

// width gives how many columns text may have: those of the terminal, or those
// in COLUMNS.
func (e *env) width() int {
	if f, ok := e.stdout.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return max(w, minWidth)
		}
	}
	if w, err := strconv.Atoi(e.lookup("COLUMNS")); err == nil && w > 0 {
		return max(w, minWidth)
	}
	return pipedWidth
}

// wrap breaks text into lines of at most width columns, at spaces. A word that
// is longer is not broken, so that it can be copied.
func wrap(text string, width int) []string {
	var lines []string
	line, used := "", 0
	for _, word := range strings.Fields(text) {
		n := columns(word)
		switch {
		case line == "":
			line, used = word, n
		case used+1+n <= width:
			line, used = line+" "+word, used+1+n
		default:
			lines = append(lines, line)
			line, used = word, n
		}
	}
	return append(lines, line)
}

// columns is how many columns of a terminal text takes.
func columns(text string) int {
	n := 0
	for _, r := range text {
		switch {
		case r < 0x300:
			n++
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana), r >= 0x1F300 && r <= 0x1FAFF, r >= 0xFF01 && r <= 0xFF60:
			n += 2
		default:
			n++
		}
	}
	return n
}

// pad fills text up with spaces to a number of columns.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-columns(text)))
}

// shorten cuts text to a number of columns, with a mark where it was cut.
func shorten(text string, width int) string {
	if columns(text) <= width {
		return text
	}
	for columns(text) > width-1 {
		_, n := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-n]
	}
	return text + "…"
}

// clock writes a point in time in a list: the time of day, with the date
// unless that is today's.
func clock(ms int64) string {
	if ms == 0 {
		return "-"
	}
	at, now := time.UnixMilli(ms), time.Now()
	switch {
	case at.Format(time.DateOnly) == now.Format(time.DateOnly):
		return at.Format(time.TimeOnly)
	case at.Year() == now.Year():
		return at.Format("Jan 02 15:04")
	}
	return at.Format("2006-01-02")
}

// moment writes a point in time in full.
func moment(ms int64) string {
	if ms == 0 {
		return "never"
	}
	return time.UnixMilli(ms).Format("2006-01-02 15:04:05.000 MST")
}

// span writes how long something took.
func span(ms int64) string {
	switch d := time.Duration(ms) * time.Millisecond; {
	case d < time.Second:
		return fmt.Sprintf("%d ms", ms)
	case d < 2*time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return strings.TrimSuffix(d.Round(time.Second).String(), "0s")
	}
}

// count writes a number of things: "1 call", "2 calls".
func count(n int, one string, many ...string) string {
	if n == 1 {
		return "1 " + one
	}
	if len(many) > 0 {
		return fmt.Sprintf("%d %s", n, many[0])
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// orDash stands for what is empty in a table.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// stdin is where answers come from.
func stdin() *os.File { return os.Stdin }

// inputIsTerminal reports whether somebody can answer a question.
func inputIsTerminal() bool { return term.IsTerminal(int(stdin().Fd())) }
