package webhook

import (
	"cmp"
	"slices"
)

// drop gives up a waiting item and all that are behind it.
func (e *endpoint) drop(it *item) {
	e.retries.remove(it)
	e.yield(it)
	if !it.chained {
		return
	}
	for next := it.next; next != nil; next = next.next {
		e.yield(next)
	}
	delete(e.chains, it.Call)
}

// yield gives up an item that the store has pending.
func (e *endpoint) yield(it *item) {
	delete(e.owned, it.Key())
	e.expect(it)
	if it.awaited {
		e.awaiting--
		e.leave(it)
	}
}

// evict gives up the later half of the retries, as far as their results are
// durable and they would not have to be loaded again at once, and draws the
// horizon back to the first of them.
func (e *endpoint) evict() bool {
	if e.loading {
		return false
	}
	var list []*item
	soon := e.d.now() + loadAhead
	for _, it := range e.retries {
		if it.due > soon && it.evictable(e.chains) {
			list = append(list, it)
		}
	}
	if len(list) == 0 || len(list) < e.d.capacity/8 {
		return false
	}
	slices.SortFunc(list, func(a, b *item) int { return cmp.Compare(a.due, b.due) })
	list = list[len(list)/2:]
	e.horizon = min(e.horizon, list[0].due)
	for _, it := range list {
		e.drop(it)
	}
	return true
}

// evictable reports whether the store knows all about a waiting item and those
// behind it.
func (it *item) evictable(c chains) bool {
	if it.open > 0 || it.chained && !c.isHead(it) {
		return false
	}
	for next := it.next; next != nil; next = next.next {
		if next.open > 0 || next.state != blocked {
			return false
		}
	}
	return true
}
