package ws

import (
	"sync"

	"github.com/ringback/ringback/internal/call"
)

// hub knows the connections of this node that have a session, by user.
type hub struct {
	mu    sync.RWMutex
	users map[userKey][]*client
}

type userKey struct {
	app  uint32
	user call.UserID
}

func (h *hub) add(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users == nil {
		h.users = make(map[userKey][]*client)
	}
	h.users[c.key] = append(h.users[c.key], c)
}

func (h *hub) remove(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	// Readers may hold the old slice, so it is not changed.
	var rest []*client
	for _, other := range h.users[c.key] {
		if other != c {
			rest = append(rest, other)
		}
	}
	if len(rest) == 0 {
		delete(h.users, c.key)
		return
	}
	h.users[c.key] = rest
}

// of lists the connections of a user.
func (h *hub) of(key userKey) []*client {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.users[key]
}
