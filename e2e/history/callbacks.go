package history

import (
	"encoding/json"
	"slices"
)

// arrival is what came at the receiver of one event.
type arrival struct {
	first    Record // the earliest attempt
	accepted bool   // one was answered with 2xx
}

// callbacks checks what the receiver got against the events of the store.
func (c *checker) callbacks() {
	got := make(map[string]*arrival)
	for _, r := range c.records {
		if r.Kind != Callback {
			continue
		}
		if r.Error != "" {
			c.violated(Signature, "", []Record{r}, "the callback is not verified: %s", r.Error)
			continue
		}
		e := c.events[r.WebhookID]
		if e == nil {
			c.violated(Unfounded, "", []Record{r}, "the store has no event %s", r.WebhookID)
			continue
		}
		c.sameAs(e, r)
		a := got[e.ID]
		if a == nil {
			a = &arrival{first: r}
			got[e.ID] = a
		}
		a.accepted = a.accepted || r.Status/100 == 2
		if r.Sequence != a.first.Sequence {
			c.violated(Sequence, e.CallID, []Record{a.first, r}, "one event comes with the sequences %d and %d", a.first.Sequence, r.Sequence)
		}
	}
	for _, e := range c.feed {
		if slices.Contains(c.limits.Events, e.Event) {
			c.delivered(e, got[e.ID])
		}
	}
	for _, id := range c.order {
		c.inSequence(c.calls[id], got)
	}
}

// sameAs checks that a callback says what its event says.
func (c *checker) sameAs(e *event, r Record) {
	var body struct {
		Event string `json:"event"`
		eventData
		CallID string `json:"call_id"`
	}
	if !c.decode(r, &body) {
		return
	}
	want, _ := json.Marshal(e.data)
	have, _ := json.Marshal(body.eventData)
	if body.Event != e.Event || body.CallID != e.CallID || string(want) != string(have) {
		c.violated(Unfounded, e.CallID, []Record{r, e.record}, "the callback %s does not say what the event says", r.WebhookID)
	}
}

// delivered checks that an event reached the receiver, and what the log of
// deliveries says of it.
func (c *checker) delivered(e *event, a *arrival) {
	ds := c.deliver[e.ID]
	proof := []Record{e.record}
	failed := len(ds) > 0
	for _, d := range ds {
		proof = append(proof, d.record)
		failed = failed && d.Status == "failed"
		if d.Status == pending {
			c.violated(Unsettled, e.CallID, proof, "a delivery is pending")
		}
	}
	if a != nil {
		proof = append(proof, a.first)
	}
	switch {
	case len(ds) == 0:
		c.violated(Undelivered, e.CallID, proof, "%s has no delivery", e.Event)
	case failed:
		// It was given up after all its attempts, as documented.
	case a == nil:
		c.violated(Undelivered, e.CallID, proof, "%s never came", e.Event)
	case !a.accepted:
		c.violated(Undelivered, e.CallID, proof, "%s came and was never accepted", e.Event)
	}
}

// inSequence checks the sequences and the order of the callbacks of a call.
func (c *checker) inSequence(s *story, got map[string]*arrival) {
	n := 0
	var before *event
	for _, e := range s.events {
		if !slices.Contains(c.limits.Events, e.Event) {
			continue
		}
		n++
		for _, d := range c.deliver[e.ID] {
			if d.Sequence != n {
				c.violated(Sequence, s.id, []Record{e.record, d.record}, "the delivery has sequence %d, the event is number %d of the call", d.Sequence, n)
			}
		}
		a := got[e.ID]
		if a != nil && a.first.Sequence != n {
			c.violated(Sequence, s.id, []Record{e.record, a.first}, "the callback has sequence %d, the event is number %d of the call", a.first.Sequence, n)
		}
		if before != nil && a != nil {
			c.inOrder(s, before, got[before.ID], e, a)
		}
		before = e
	}
}

// inOrder checks that the first attempt of b began after that of a had ended.
// Attempts that the receiver cannot have seen are an excuse.
func (c *checker) inOrder(s *story, before *event, a *arrival, e *event, b *arrival) {
	if a == nil || a.first.Attempt != 1 || b.first.Attempt != 1 {
		return
	}
	if overlap(c.silent, c.at(before.AtMS), a.first.At) > 0 {
		return
	}
	// An answer is on its way while the next request may come already.
	answered := a.first.Status != 0 && b.first.At < a.first.Done
	if b.first.At < a.first.At || answered {
		c.violated(Order, s.id, []Record{before.record, a.first, e.record, b.first}, "%s is attempted before the first attempt of %s has ended", e.Event, before.Event)
	}
}
