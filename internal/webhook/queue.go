package webhook

import (
	"container/heap"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// state is where a delivery stands in memory.
type state uint8

const (
	blocked  state = iota // behind another of its call
	ready                 // waits for a worker
	flying                // a worker has it
	waiting               // for its next attempt
	held                  // failed while the endpoint is down
	finished              // delivered or given up; the result is not yet durable
)

// item is a delivery in memory. It is guarded by the mutex of its endpoint,
// but a worker reads the delivery while the item is flying.
type item struct {
	store.Delivery
	state   state
	queue   *fifo         // the one in which it has its place
	chained bool          // has a place in the chain of its call
	suspect bool          // failed once while the endpoint was held to be down
	probe   bool          // is flying as a probe
	loaded  bool          // came from the store, and its hand-off may still come
	low     bool          // was made pending again, and gives way to live ones
	awaited bool          // low, and not attempted since
	slot    bool          // is flying in a slot of the low lane
	due     time.Duration // on the Deliverer's clock
	index   int           // in the heap, while waiting
	next    *item         // the one behind it in its call
	open    int           // results that are not yet durable
	// forgotten items are not owned and not attempted any more; parting, if
	// not nil, waits until nothing of it is under way.
	forgotten bool
	parting   *parting
}

// fifo is a queue of items. An item whose state is no longer ready keeps its
// place and is passed over, and so is one that went to another queue.
type fifo struct {
	items []*item
	head  int
}

func (q *fifo) push(it *item) {
	if it.queue == q {
		return
	}
	it.queue = q
	if q.head > 64 && q.head*2 >= len(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, it)
}

// peek gives the next ready item without taking it, or nil.
func (q *fifo) peek() *item {
	for q.head < len(q.items) {
		it := q.items[q.head]
		if it.state == ready && it.queue == q {
			return it
		}
		q.drop(it)
	}
	q.items, q.head = q.items[:0], 0
	return nil
}

// pop takes the next ready item, or nil.
func (q *fifo) pop() *item {
	it := q.peek()
	if it != nil {
		q.drop(it)
	}
	return it
}

func (q *fifo) drop(it *item) {
	if it.queue == q {
		it.queue = nil
	}
	q.items[q.head] = nil
	q.head++
}

// retries are the waiting items, the earliest due first. It implements
// heap.Interface.
type retries []*item

func (h retries) Len() int           { return len(h) }
func (h retries) Less(i, j int) bool { return h[i].due < h[j].due }

func (h retries) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push appends an item.
func (h *retries) Push(x any) {
	it := x.(*item)
	it.index = len(*h)
	*h = append(*h, it)
}

// Pop takes the last item.
func (h *retries) Pop() any {
	n := len(*h) - 1
	it := (*h)[n]
	(*h)[n] = nil
	*h = (*h)[:n]
	return it
}

func (h *retries) add(it *item)    { heap.Push(h, it) }
func (h *retries) remove(it *item) { heap.Remove(h, it.index) }

// chains keep, for each call, the items that must go one after another, by
// sequence. Only the first of a chain may be anything else than blocked,
// unless one that belongs before it came late.
type chains map[call.ID]*item

// insert puts an item into the chain of its call and gives the one that is
// no longer the first because of it, if any. The item is the first if it is
// the head.
func (c chains) insert(it *item) (displaced *item) {
	it.chained = true
	head := c[it.Call]
	if head == nil || it.Sequence < head.Sequence {
		it.next = head
		c[it.Call] = it
		return head
	}
	at := head
	for at.next != nil && at.next.Sequence < it.Sequence {
		at = at.next
	}
	it.next, at.next = at.next, it
	return nil
}

func (c chains) isHead(it *item) bool { return c[it.Call] == it }

// remove takes an item out of its chain and gives the one that is the first
// because of it, if any.
func (c chains) remove(it *item) (head *item) {
	next := it.next
	it.chained, it.next = false, nil
	first := c[it.Call]
	if first == it {
		if next == nil {
			delete(c, it.Call)
		} else {
			c[it.Call] = next
		}
		return next
	}
	for at := first; at != nil; at = at.next {
		if at.next == it {
			at.next = next
			break
		}
	}
	return nil
}
