package serverapi

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxQuery is the largest query in bytes, far above what any action needs.
const maxQuery = 64 << 10

// params are the parameters of a query, in their order. Names are
// case-sensitive.
type params []param

type param struct{ name, value string }

// parseQuery reads a query. Unlike url.ParseQuery it takes semicolons as they
// are, for user IDs may have them.
func parseQuery(raw string) (params, error) {
	if len(raw) > maxQuery {
		return nil, faultf(CodeInput, "the query has %d bytes, the limit is %d", len(raw), maxQuery)
	}
	var ps params
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		n, err1 := url.QueryUnescape(name)
		v, err2 := url.QueryUnescape(value)
		switch {
		case err1 != nil || err2 != nil:
			return nil, faultf(CodeInput, "the query is not URL-encoded: a %% must be followed by two hexadecimal digits")
		case !utf8.ValidString(n) || !utf8.ValidString(v):
			return nil, faultf(CodeInput, "the query is not UTF-8 after URL-decoding")
		}
		ps = append(ps, param{n, v})
	}
	return ps, nil
}

// get gives the first value of a parameter, "" when it is not there.
func (ps params) get(name string) string {
	for _, p := range ps {
		if p.name == name {
			return p.value
		}
	}
	return ""
}

// list gives the values of a list, whose name ends in []. Some libraries
// number its entries: UserId[0]=a&UserId[1]=b.
func (ps params) list(name string) []string {
	base := strings.TrimSuffix(name, "]")
	var values []string
	for _, p := range ps {
		index, ok := strings.CutPrefix(p.name, base)
		if ok && strings.TrimLeft(index, "0123456789") == "]" {
			values = append(values, p.value)
		}
	}
	return values
}

// common are the parameters that every request has.
var common = []string{"Action", "AppId", "SignatureNonce", "Timestamp", "SignatureVersion", "Signature"}

// Asked reports whether a query has a parameter of the server API, so that a
// request for the root is meant for it.
func Asked(rawQuery string) bool {
	for pair := range strings.SplitSeq(rawQuery, "&") {
		name, _, _ := strings.Cut(pair, "=")
		for _, known := range common {
			if name == known {
				return true
			}
		}
	}
	return false
}
