package certify

import (
	"time"

	"github.com/ringback/ringback/internal/webhook"
	"github.com/ringback/ringback/protocol"
)

// deliveries sends what an unreliable network makes of a delivery: callbacks
// come twice, late and in another order.
func (r *run) deliveries() {
	r.check("delivery/duplicate", "a callback that comes again is answered with 2xx", func(c *Check) {
		cb, sequence := r.basic(newCall())
		m := r.message(cb, sequence)
		const why = "an answer may be lost, and then the callback comes again; as long as it is refused it keeps coming, and ends as failed"
		if c.mustSucceed(r.send(c, m, "a "+cb.Name), Fail, "every callback is repeated until it is answered with 2xx", "accept it") {
			c.mustSucceed(r.send(c, again(m, 2), "the same with the same webhook-id, as attempt 2, signed anew"), Fail, why,
				"remember webhook-id, and answer 2xx without doing the work again")
		}
	})
	r.check("delivery/reordered", "a callback that comes before an earlier one is accepted, or when it is repeated after that", func(c *Check) {
		if !r.sends(protocol.CallbackCreate) || !r.sends(protocol.CallbackAccept) {
			c.judge(Skip, "that takes call_create and call_accept, to which the receiver is not subscribed", "", "")
			return
		}
		r.reorder(c)
	})
	r.check("delivery/late", "a callback that comes an hour late is answered with 2xx", func(c *Check) {
		s := newCall()
		s.at = s.at.Add(-time.Hour)
		cb, sequence := r.basic(s)
		m := r.message(cb, sequence)
		m.attempt = 6
		c.mustSucceed(r.send(c, m, "a "+cb.Name+" of an hour ago, as attempt 6, signed now"), Fail,
			"after an outage callbacks come late, and those that are refused are lost",
			"judge the age by webhook-timestamp, which is new with each attempt, not by the time of the event")
	})
}

// reorder sends a call_accept before the call_create of its call.
func (r *run) reorder(c *Check) {
	s := newCall()
	accept := r.message(s.answer(protocol.CallbackAccept, invitee, ""), 2)
	first := r.send(c, accept, "a call_accept with sequence 2, of which sequence 1 is still missing")
	const why = "a callback whose first attempt failed is overtaken by later ones"
	create := r.send(c, r.message(s.create("certify", invitee), 1), "the call_create with sequence 1")
	if !c.mustSucceed(create, Fail, why, "accept callbacks of a call in any order: Ringback-Sequence says which is the earlier one") || first.ok() {
		return
	}
	repeated := r.send(c, again(accept, 2), "the call_accept again, as attempt 2, now that sequence 1 is there")
	c.mustSucceed(repeated, Fail, why+", and must be accepted at the latest when those have come",
		"do not remember a callback as done that was refused; decide anew with each attempt")
}

// future sends what a later version may send.
func (r *run) future() {
	const why = "a later version may add it, and refused callbacks are repeated until they are given up"
	r.check("future/event", "an unknown event is answered with 2xx", func(c *Check) {
		s := newCall()
		m := r.message(s.answer("call_something_new", invitee, ""), 1)
		c.mustSucceed(r.send(c, m, "an event of an unknown name, call_something_new"), Warn, why, "answer 2xx to events that are not known, and ignore them")
	})
	r.check("future/field", "a callback with an unknown field is answered with 2xx", func(c *Check) {
		cb, sequence := r.basic(newCall())
		fields := append([]byte(`{"something_new":{"a":[1,null,true]},`), cb.Fields[1:]...)
		m := r.message(webhook.Callback{Name: cb.Name, Fields: fields}, sequence)
		c.mustSucceed(r.send(c, m, "a "+cb.Name+" with a further field, something_new"), Warn, why, "ignore fields that are not known")
	})
}
