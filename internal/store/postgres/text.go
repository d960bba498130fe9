package postgres

import (
	"strings"

	"github.com/jackc/pgx/v5/pgtype"
)

// PostgreSQL's text holds no NUL. So U+0000 is stored as the two characters
// U+0001 U+0001, and U+0001 as U+0001 U+0002, which keeps the order of the
// bytes and what begins with what. Nearly all text is stored as it is.

var (
	escaping   = strings.NewReplacer("\x00", "\x01\x01", "\x01", "\x01\x02")
	unescaping = strings.NewReplacer("\x01\x01", "\x00", "\x01\x02", "\x01")
)

// textOf gives the stored form of a string.
func textOf[T ~string](v T) string {
	for i := range len(v) {
		if v[i] <= 1 {
			return escaping.Replace(string(v))
		}
	}
	return string(v)
}

// ofText gives the string of a stored form.
func ofText(v string) string {
	if strings.IndexByte(v, 1) < 0 {
		return v
	}
	return unescaping.Replace(v)
}

// into has a column of text read into a string.
func into[T ~string](p *T) pgtype.TextScanner { return textScanner[T]{p} }

type textScanner[T ~string] struct{ p *T }

// ScanText implements pgtype.TextScanner. NULL is the empty string.
func (s textScanner[T]) ScanText(v pgtype.Text) error {
	*s.p = T(ofText(v.String))
	return nil
}
