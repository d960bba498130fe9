package client

import "sync"

// events hands events to the handler, one at a time and in order, on a
// goroutine that exists only while there are some.
type events struct {
	handle func(Event)
	caught func() // called after events were lost, when the handler has caught up
	limit  int

	mu      sync.Mutex
	queue   []item
	waiting int // in queue and in the batch being handled
	running bool
	lost    bool
	idle    chan struct{} // if set, to be closed when the queue is empty
}

// item is an event, and the requests whose replies settle before it.
type item struct {
	ev    Event
	after []*request
}

// full reports whether an event of a call must be left out, and remembers
// that one was.
func (q *events) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting >= q.limit {
		q.lost = true
	}
	return q.lost
}

// found says that a snapshot has made up for what was lost.
func (q *events) found() {
	q.mu.Lock()
	q.lost = false
	q.mu.Unlock()
}

// push queues an event, whether or not the queue is full.
func (q *events) push(ev Event, after []*request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = append(q.queue, item{ev, after})
	q.waiting++
	if !q.running {
		q.running = true
		go q.run()
	}
}

func (q *events) run() {
	q.mu.Lock()
	for {
		for len(q.queue) > 0 {
			batch := q.queue
			q.queue = nil
			q.mu.Unlock()
			for _, it := range batch {
				for _, p := range it.after {
					<-p.settled
				}
				q.handle(it.ev)
				q.mu.Lock()
				q.waiting--
				q.mu.Unlock()
			}
			q.mu.Lock()
		}
		if !q.lost {
			break
		}
		q.lost = false
		q.mu.Unlock()
		q.caught()
		q.mu.Lock()
	}
	q.running = false
	if q.idle != nil {
		close(q.idle)
		q.idle = nil
	}
	q.mu.Unlock()
}

// drained is closed when every event so far has been handled.
func (q *events) drained() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.idle != nil {
		return q.idle
	}
	idle := make(chan struct{})
	if q.running {
		q.idle = idle
	} else {
		close(idle)
	}
	return idle
}

// room is closed when the handler is not too far behind for more.
func (q *events) room() <-chan struct{} {
	q.mu.Lock()
	behind := q.waiting >= q.limit
	q.mu.Unlock()
	if behind {
		return q.drained()
	}
	open := make(chan struct{})
	close(open)
	return open
}
