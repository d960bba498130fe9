package store

import (
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/ringback/ringback/internal/call"
)

// encoder writes the stored form without reflection: it runs for every commit.
type encoder struct {
	buf    []byte
	widen  bool // write each byte of a string as one rune
	binary bool // some string was not valid UTF-8
}

func (e *encoder) record(r *CallRecord) {
	c := r.Call
	e.buf = append(e.buf, '{')
	e.bool("w", e.widen)
	e.int("i", int64(c.ID))
	e.int("a", int64(c.App))
	e.int("v", c.Version)
	e.int("m", int64(c.Mode))
	e.int("s", int64(c.State))
	e.string("c", string(c.Caller))
	e.string("x", c.ExtendedData)
	e.int("t", int64(c.Timeout))
	e.bool("k", c.NotReceivedCheck)
	if c.Push != nil {
		e.key("p")
		e.quote(string(c.Push))
	}
	e.int("ct", int64(c.CreatedAt))
	e.int("et", int64(c.EndedAt))
	e.int("eb", int64(c.EndBy))
	e.int("fa", int64(c.FirstAcceptAt))
	e.bool("r", c.Responded)
	e.bool("ca", c.CancelledAll)
	e.string("er", string(c.EndReason))
	e.string("eo", string(c.EndOperator))
	e.string("es", string(c.EndedBy))
	e.string("ex", c.EndExtendedData)
	if c.Users != nil {
		e.key("u")
		e.buf = append(e.buf, '[')
		for i := range c.Users {
			e.user(&c.Users[i])
		}
		e.buf = append(e.buf, ']')
	}
	if c.Cancels != nil {
		e.key("cc")
		e.buf = append(e.buf, '[')
		for i := range c.Cancels {
			e.cancellation(&c.Cancels[i])
		}
		e.buf = append(e.buf, ']')
	}
	e.sequences(r.Sequences)
	e.buf = append(e.buf, '}')
}

func (e *encoder) user(u *call.User) {
	e.element()
	e.buf = append(e.buf, '{')
	e.string("i", string(u.ID))
	e.int("s", int64(u.State))
	e.string("v", string(u.Inviter))
	e.string("x", u.ExtendedData)
	e.string("p", string(u.Primary))
	e.int("it", int64(u.InvitedAt))
	e.int("dt", int64(u.Deadline))
	e.int("kt", int64(u.CheckAt))
	e.int("at", int64(u.AcceptedAt))
	e.int("qt", int64(u.QuitAt))
	e.bool("l", u.Late)
	e.string("cr", string(u.CancelReason))
	e.int("lo", int64(u.LastOp))
	e.string("lb", string(u.LastBy))
	if u.Earlier != nil {
		e.key("e")
		e.buf = append(e.buf, '[')
		for _, deed := range u.Earlier {
			e.element()
			e.buf = append(e.buf, '{')
			e.int("o", int64(deed.Op))
			e.string("b", string(deed.By))
			e.buf = append(e.buf, '}')
		}
		e.buf = append(e.buf, ']')
	}
	e.buf = append(e.buf, '}')
}

func (e *encoder) cancellation(c *call.Cancellation) {
	e.element()
	e.buf = append(e.buf, '{')
	e.string("b", string(c.By))
	if c.Names != nil {
		e.key("n")
		e.buf = append(e.buf, '[')
		for _, name := range c.Names {
			e.element()
			e.quote(string(name))
		}
		e.buf = append(e.buf, ']')
	}
	if c.Errors != nil {
		e.key("e")
		e.userErrors(c.Errors)
	}
	e.buf = append(e.buf, '}')
}

func (e *encoder) userErrors(errors []call.UserError) {
	if errors == nil {
		e.buf = append(e.buf, "null"...)
		return
	}
	e.buf = append(e.buf, '[')
	for _, ue := range errors {
		e.element()
		e.buf = append(e.buf, '{')
		e.string("u", string(ue.User))
		e.int("c", int64(ue.Code))
		e.buf = append(e.buf, '}')
	}
	e.buf = append(e.buf, ']')
}

func (e *encoder) sequences(m map[EndpointID]int) {
	if m == nil {
		return
	}
	e.key("q")
	e.buf = append(e.buf, '{')
	if len(m) == 1 {
		for id, n := range m {
			e.sequence(id, n)
		}
	} else {
		for _, id := range slices.Sorted(maps.Keys(m)) {
			e.sequence(id, m[id])
		}
	}
	e.buf = append(e.buf, '}')
}

func (e *encoder) sequence(id EndpointID, n int) {
	e.element()
	e.buf = append(e.buf, '"')
	e.buf = strconv.AppendInt(e.buf, int64(id), 10)
	e.buf = append(e.buf, '"', ':')
	e.buf = strconv.AppendInt(e.buf, int64(n), 10)
}

// element separates what comes next from an element before it.
func (e *encoder) element() {
	if last := e.buf[len(e.buf)-1]; last != '{' && last != '[' {
		e.buf = append(e.buf, ',')
	}
}

func (e *encoder) key(k string) {
	e.element()
	e.buf = append(e.buf, '"')
	e.buf = append(e.buf, k...)
	e.buf = append(e.buf, '"', ':')
}

func (e *encoder) int(k string, v int64) {
	if v != 0 {
		e.key(k)
		e.buf = strconv.AppendInt(e.buf, v, 10)
	}
}

func (e *encoder) bool(k string, v bool) {
	if v {
		e.key(k)
		e.buf = append(e.buf, '1')
	}
}

func (e *encoder) string(k, v string) {
	if v != "" {
		e.key(k)
		e.quote(v)
	}
}

// quote appends s as a JSON string.
func (e *encoder) quote(s string) {
	e.buf = append(e.buf, '"')
	from, ascii := 0, true
	for i := range len(s) {
		b := s[i]
		if b >= 0x20 && b < utf8.RuneSelf && b != '"' && b != '\\' {
			continue
		}
		if b >= utf8.RuneSelf && !e.widen {
			ascii = false
			continue
		}
		e.buf = append(e.buf, s[from:i]...)
		from = i + 1
		switch {
		case b >= utf8.RuneSelf:
			e.buf = utf8.AppendRune(e.buf, rune(b))
		case b < 0x20:
			const hex = "0123456789abcdef"
			e.buf = append(e.buf, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		default:
			e.buf = append(e.buf, '\\', b)
		}
	}
	e.buf = append(e.buf, s[from:]...)
	e.buf = append(e.buf, '"')
	if !ascii && !utf8.ValidString(s) {
		e.binary = true
	}
}
