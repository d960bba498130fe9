package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/ringback/ringback/internal/adminapi"
)

// functions are those of the templates.
var functions = template.FuncMap{
	"when":     when,
	"clock":    clock,
	"ms":       shortest,
	"took":     took,
	"since":    func(ms int64) string { return span(time.Since(time.UnixMilli(ms))) },
	"bdi":      bdi,
	"visible":  visible,
	"story":    story,
	"pretty":   pretty,
	"count":    count,
	"query":    query,
	"words":    words,
	"header":   maskHeader,
	"place":    redacted,
	"short":    func(s string) string { return s[:min(len(s), 8)] },
	"joined":   func(list []string) string { return strings.Join(list, ", ") },
	"has":      func(list []string, s string) bool { return slices.Contains(list, s) },
	"userlink": userLink,
	"tone":     tone,
	"callees":  callees,
	"hm":       func(ms int64) template.HTML { return timeElement(ms, "hm", "15:04") },
	"dayhm":    func(ms int64) template.HTML { return timeElement(ms, "dayhm", "Mon 15:04") },
	"whentext": whenText,
	"either":   func(list ...string) []string { return list },
	"outcomes": func() []string { return outcomes },
	"newest":   newest,
	"string":   func(raw json.RawMessage) string { return string(raw) },
	"sum":      func(a, b int) int { return a + b },
	"rotation": func(app uint32, which, name string) rotation { return rotation{app, which, name} },
}

// when shows a time; the page's script puts it into the zone of the viewer.
// 0 is never.
func when(ms int64) template.HTML { return timeElement(ms, "", "2006-01-02 15:04:05") }

// clock shows the time of the day to the millisecond.
func clock(ms int64) template.HTML { return timeElement(ms, "clock", "15:04:05.000") }

func timeElement(ms int64, class, layout string) template.HTML {
	if ms == 0 {
		return `<span class="never">never</span>`
	}
	t := time.UnixMilli(ms).UTC()
	return template.HTML(fmt.Sprintf(`<time class="%s" datetime="%s" title="%s UTC">%s</time>`, // of numbers only
		class, t.Format("2006-01-02T15:04:05.000Z"), t.Format("2006-01-02 15:04:05.000"), t.Format(layout)))
}

// milliseconds is a length of time.
func milliseconds[N int | int64 | float64](ms N) string {
	return span(time.Duration(float64(ms) * float64(time.Millisecond)))
}

// shortest is a length of time of which no part was counted below a
// millisecond.
func shortest(ms int64) string {
	if ms == 0 {
		return "under 1 ms"
	}
	return milliseconds(ms)
}

// took is the time between two times; from the first to now, if the second is
// 0.
func took(from, until int64) string {
	if until == 0 {
		return span(time.Since(time.UnixMilli(from)))
	}
	return milliseconds(until - from)
}

// span is a length of time for people.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0 ms"
	case d < 10*time.Millisecond && d%time.Millisecond != 0:
		return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 1, 64) + " ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// visible makes characters seen that are not, or that change how others are
// seen: controls, and those that turn the direction of text.
func visible(s string) string {
	hidden := func(r rune) bool {
		return r != '\n' && r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) ||
			r >= 0x200B && r <= 0x200D || r == 0xFEFF || r == 0x2028 || r == 0x2029
	}
	if strings.IndexFunc(s, hidden) < 0 {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	var b strings.Builder
	for _, r := range s {
		if hidden(r) {
			fmt.Fprintf(&b, "⟨U+%04X⟩", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// bdi shows a text of somebody else so that its direction is its own matter.
func bdi(v any) template.HTML {
	return template.HTML("<bdi>" + template.HTMLEscapeString(visible(fmt.Sprint(v))) + "</bdi>") // it is escaped
}

// story shows a sentence in which IDs of users stand, so that these do not
// turn the rest around.
func story(text string, users ...any) template.HTML {
	var ids []string
	for _, u := range users {
		switch u := u.(type) {
		case string:
			ids = append(ids, u)
		case []string:
			ids = append(ids, u...)
		}
	}
	for _, id := range ids {
		if id != "" && strings.IndexFunc(id, func(r rune) bool { return r > unicode.MaxASCII }) >= 0 {
			parts := strings.Split(text, id)
			for i, part := range parts {
				parts[i] = template.HTMLEscapeString(visible(part))
			}
			return template.HTML("<bdi>" + strings.Join(parts, string(bdi(id))) + "</bdi>") // every part is escaped
		}
	}
	return bdi(text)
}

// maskedFields are those of a body by which somebody could try secrets.
var maskedFields = []string{"signature"}

// pretty shows a body: JSON and forms with a field a line, the rest as it is.
// Signatures are cut short.
func pretty(body string) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(body), &fields) == nil {
		text := body
		for _, name := range maskedFields {
			var value string
			if json.Unmarshal(fields[name], &value) == nil && value != "" {
				text = strings.ReplaceAll(text, value, cut(value))
			}
		}
		var b bytes.Buffer
		if json.Indent(&b, []byte(text), "", "  ") == nil {
			return visible(b.String())
		}
	}
	if form, err := url.ParseQuery(body); err == nil && form.Has("event") {
		var lines []string
		for name, values := range form {
			for _, value := range values {
				if slices.Contains(maskedFields, name) {
					value = cut(value)
				}
				lines = append(lines, name+" = "+value)
			}
		}
		slices.Sort(lines)
		return visible(strings.Join(lines, "\n"))
	}
	return visible(body)
}

// cut leaves enough of a signature to compare it.
func cut(s string) string {
	if len(s) <= 12 {
		return "…"
	}
	return s[:8] + "…"
}

// maskHeader is the value of a header, without what could be misused.
func maskHeader(h adminapi.Header) string {
	switch strings.ToLower(h.Name) {
	case "authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key":
		return "•••"
	case "webhook-signature":
		var list []string
		for entry := range strings.SplitSeq(h.Value, " ") {
			list = append(list, cut(entry))
		}
		return strings.Join(list, " ")
	}
	return visible(h.Value)
}

// redacted is a URL without its password.
func redacted(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return visible(text)
	}
	if u.User != nil {
		return visible(u.Redacted())
	}
	return visible(text)
}

// count is a number with its thing, of which there may be one or more.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return grouped(n) + " " + many
}

// grouped writes a number with thin spaces between thousands.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// query makes a query of pairs of names and values, without the empty ones.
func query(pairs ...any) template.URL {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if value := fmt.Sprint(pairs[i+1]); value != "" && value != "0" {
			q.Set(fmt.Sprint(pairs[i]), value)
		}
	}
	return template.URL(q.Encode()) // it is encoded
}

// userLink is the page of a user.
func userLink(app uint32, user string) template.URL {
	return template.URL(Path+"/users/show?") + query("app", app, "user", user)
}

// words are names of the API for people.
func words(name string) string {
	switch name {
	case "caller_cancel":
		return "cancelled"
	case "caller_left":
		return "caller left"
	case "timeout", "timed_out":
		return "rang out"
	case "max_duration":
		return "too long"
	case "first_attempt":
		return "first attempt"
	}
	return strings.ReplaceAll(name, "_", " ")
}

// tone is the class of a state or outcome: how it is to be taken.
func tone(name string) string {
	switch name {
	case "accepted", "delivered", "ok", "online", "yes", "done", "connected":
		return "good"
	case "failed", "down", "failing", "no", "caller_left", "refused":
		return "bad"
	case "pending", "live", "paused", "timeout", "timed_out", "maybe", "running", "rejected", "offline":
		return "warn"
	}
	return "calm"
}

// rotation is what the form says that rotates a secret.
type rotation struct {
	App         uint32
	Which, Name string
}

// shownCallees is how many callees of a call a list shows.
const shownCallees = 3

// callees are the first of those whom a call is to, and how many more.
func callees(c adminapi.Call) []string {
	var list []string
	more := 0
	for _, u := range c.Users {
		switch {
		case u.UserID == c.Caller:
		case len(list) < shownCallees:
			list = append(list, u.UserID)
		default:
			more++
		}
	}
	if more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	return list
}

// newest is a list the other way round.
func newest(list []adminapi.Attempt) []adminapi.Attempt {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}

// whenText shows a time that the API gives as text.
func whenText(text string) template.HTML {
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return bdi(text)
	}
	return when(ms)
}
