package postgres

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ringback/ringback/internal/call"
)

const (
	// sharedLimit bounds a query that several wait for, and sharedUsers the
	// users in one.
	sharedLimit = 10 * time.Second
	sharedUsers = 256
	// sharedPause is waited before the next query when others had to wait for
	// the one before, so that more come together.
	sharedPause = time.Millisecond
)

// together has those who ask for users of an app at the same time share a
// query: while one runs, those that come wait for the next. So whoever asks
// gets what was stored when he asked, or later, and under load a query costs
// each a small part. Its methods may be called concurrently.
type together[R any] struct {
	query func(ctx context.Context, app uint32, users []string) ([]R, error)
	user  func(*R) call.UserID

	mu   sync.Mutex
	apps map[uint32]*turn[R]
}

// turn is the queries of an app: one runs, and perhaps others wait, the first
// of which goes next.
type turn[R any] struct{ waiting []*shared[R] }

// shared is a query that several wait for.
type shared[R any] struct {
	users []call.UserID
	done  chan struct{}
	found map[call.UserID][]R
	err   error
}

// of gives what is found of the users.
func (t *together[R]) of(ctx context.Context, app uint32, users []call.UserID) ([]R, error) {
	if len(users) == 0 {
		return nil, nil
	}
	q := t.join(app, users)
	select {
	case <-q.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if q.err != nil {
		return nil, q.err
	}
	var list []R
	for i, id := range users {
		if !slices.Contains(users[:i], id) {
			list = append(list, q.found[id]...)
		}
	}
	return list, nil
}

// join adds users to the next query, which is run if none is.
func (t *together[R]) join(app uint32, users []call.UserID) *shared[R] {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.apps == nil {
		t.apps = make(map[uint32]*turn[R])
	}
	line := t.apps[app]
	if line == nil {
		line = new(turn[R])
		t.apps[app] = line
		q := &shared[R]{users: users, done: make(chan struct{})}
		go t.run(app, line, q)
		return q
	}
	if n := len(line.waiting); n > 0 && len(line.waiting[n-1].users)+len(users) <= sharedUsers {
		q := line.waiting[n-1]
		q.users = append(q.users, users...)
		return q
	}
	q := &shared[R]{users: append([]call.UserID(nil), users...), done: make(chan struct{})}
	line.waiting = append(line.waiting, q)
	return q
}

// run carries out queries until none waits.
func (t *together[R]) run(app uint32, line *turn[R], q *shared[R]) {
	for q != nil {
		ctx, cancel := context.WithTimeout(context.Background(), sharedLimit)
		var list []R
		list, q.err = t.query(ctx, app, textsOf(q.users))
		cancel()
		q.found = make(map[call.UserID][]R, len(list))
		for i := range list {
			id := t.user(&list[i])
			q.found[id] = append(q.found[id], list[i])
		}
		close(q.done)

		t.mu.Lock()
		q = nil
		if len(line.waiting) > 0 {
			t.mu.Unlock()
			time.Sleep(sharedPause)
			t.mu.Lock()
			q = line.waiting[0]
			line.waiting = line.waiting[1:]
		} else {
			delete(t.apps, app)
		}
		t.mu.Unlock()
	}
}
