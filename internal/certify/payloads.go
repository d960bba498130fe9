package certify

import (
	"fmt"
	"strings"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/webhook"
	"github.com/ringback/ringback/protocol"
)

// allowedInUserID are all bytes that a user ID may have.
const allowedInUserID = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 !#$%&()+-:;<=.>?@[]^_{}|~"

// texts are extended data that clients may send and receivers trip over.
var texts = []struct{ name, title, text string }{
	{"url", "what URL-decoding would change", "100 % + tax & more = a+b %2B %zz ;"},
	{"quotes", "quotes, backslashes, tags and line ends", "\"double\" 'single' \\ `back` <b>&amp;</b> $x {{y}}\r\n\tnext"},
	{"rtl", "right-to-left text", "שלום עולם \u200f\u202eمرحبا"},
	{"four-bytes", "characters of four bytes in UTF-8", "📞 👩\u200d👩\u200d👧 𝄞 𠮷"},
	{"json", "JSON in a string", `{"type":"video","room":{"id":"a\"b","n":[1,2]},"url":"https://example.com/?a=1&b=2%20c"}`},
	{"nul", "a NUL character", "a\x00b"},
	{"long", fmt.Sprintf("%d bytes", call.MaxExtendedData), strings.Repeat("€", call.MaxExtendedData/3) + "ab"},
}

// payloads sends what is unusual but allowed in callbacks.
func (r *run) payloads() {
	for _, t := range texts {
		r.check("payload/"+t.name, "extended data with "+t.title+" is answered with 2xx", func(c *Check) {
			r.sendText(c, t.title, t.text)
		})
	}
	const why = "there are such users, of whose calls the receiver would learn nothing"
	r.check("payload/user-ids", "user IDs with every allowed character are answered with 2xx", func(c *Check) {
		r.sendUsers(c, "user IDs with every allowed character", everyCharacter(), why,
			"take user IDs as they are: do not split, decode or match them; compare them byte by byte")
	})
	r.check("payload/invitees", fmt.Sprintf("%d invitees are answered with 2xx", call.MaxInvitees), func(c *Check) {
		users := make([]string, call.MaxInvitees)
		for i := range users {
			users[i] = fmt.Sprintf("certify-%0*d", call.MaxUserID-len("certify-"), i)
		}
		r.sendUsers(c, fmt.Sprintf("%d user IDs of %d bytes", call.MaxInvitees, call.MaxUserID), users, why, "take as many users as a call may have")
	})
}

// sendText sends an extended data with each of the events that have one and
// that are sent.
func (r *run) sendText(c *Check, title, text string) {
	s, sequence := newCall(), 0
	for _, cb := range []webhook.Callback{
		s.create(text, invitee),
		s.answer(protocol.CallbackAccept, invitee, text),
		s.answer(protocol.CallbackReject, invitee, text),
		s.cancel(protocol.CancelByCaller, text, invitee),
	} {
		if !r.sends(cb.Name) {
			continue
		}
		sequence++
		ex := r.send(c, r.message(cb, sequence), fmt.Sprintf("a %s whose extended data has %s", cb.Name, title))
		if !c.mustSucceed(ex, Fail, "clients may send that, and the receiver would not learn of their calls",
			"parse the body with a JSON or form library as UTF-8, once; keep the text in a column that holds all of Unicode, and say 2xx to what cannot be kept") {
			return
		}
	}
	if sequence == 0 {
		c.judge(Skip, "the receiver is not subscribed to an event that has extended data", "", "")
	}
}

// sendUsers sends a call_create with these invitees.
func (r *run) sendUsers(c *Check, title string, users []string, why, fix string) {
	if !r.sends(protocol.CallbackCreate) {
		c.judge(Skip, "that takes call_create, to which the receiver is not subscribed", "", "")
		return
	}
	c.mustSucceed(r.send(c, r.message(newCall().create("", users...), 1), "a call_create with "+title), Fail, why, fix)
}

// everyCharacter gives user IDs that together have every allowed byte.
func everyCharacter() (users []string) {
	for rest := allowedInUserID; rest != ""; {
		n := min(len(rest), call.MaxUserID)
		users = append(users, rest[:n])
		rest = rest[n:]
	}
	return users
}
