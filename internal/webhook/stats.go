package webhook

import (
	"cmp"
	"context"
	"slices"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// EndpointStats is what an endpoint is due at a moment.
type EndpointStats struct {
	Endpoint store.EndpointID
	App      uint32
	Backlog  int          // deliveries that are pending
	Oldest   call.Instant // when the oldest of them happened; 0: there is none
	InFlight int
	Down     bool // it is held to be down
	Paused   bool
	// Redelivering counts what was made pending again and has not been
	// attempted since.
	Redelivering int

	// Of attempts since the start of the server; 0: there was none.
	LastSuccess call.Instant
	LastFailure call.Instant
	Failures    int    // since the last success, in a row
	LastError   string // of the last failure, also after a success
}

// health is how an endpoint has answered since the start.
type health struct {
	success, failure call.Instant
	failures         int
	problem          string
}

// note takes an attempt into account.
func (h *health) note(a *store.Attempt) {
	at := a.Started.Add(a.Duration)
	if a.Error == "" {
		h.success, h.failures = at, 0
		return
	}
	h.failure, h.problem = at, a.Error
	h.failures++
}

// Stats gives the state of every endpoint, by ID; the backlog is that of all
// nodes, the rest is about this one. For endpoints that do not have all of
// their backlog in memory the store is asked; if it does not
// answer, their numbers are of what is in memory.
func (d *Deliverer) Stats(ctx context.Context) []EndpointStats {
	d.mu.RLock()
	list := make([]EndpointStats, 0, len(d.targets))
	partial := make(map[store.EndpointID]bool)
	for id, e := range d.targets {
		s, complete := e.stats()
		list = append(list, s)
		if !complete {
			partial[id] = true
		}
	}
	d.mu.RUnlock()
	slices.SortFunc(list, func(a, b EndpointStats) int { return cmp.Compare(a.Endpoint, b.Endpoint) })
	if len(partial) == 0 {
		return list
	}
	backlogs, err := d.store.Backlogs(ctx, store.AllPartitions)
	if err != nil {
		d.log.Debug("backlogs cannot be read", "err", err)
		return list
	}
	for _, b := range backlogs {
		i, ok := slices.BinarySearchFunc(list, b.Endpoint, func(s EndpointStats, id store.EndpointID) int {
			return cmp.Compare(s.Endpoint, id)
		})
		if ok && partial[b.Endpoint] {
			list[i].Backlog, list[i].Oldest = max(list[i].Backlog, b.Pending), b.Oldest
		}
	}
	return list
}

// stats says what is in memory, and whether that is all.
func (e *endpoint) stats() (s EndpointStats, complete bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s = EndpointStats{
		Endpoint: e.id, App: e.conf.App, InFlight: e.flying, Down: e.hold.down, Paused: e.conf.Paused, Redelivering: e.outstanding(),
		LastSuccess: e.health.success, LastFailure: e.health.failure, Failures: e.health.failures, LastError: e.health.problem,
	}
	for _, it := range e.owned {
		if it.state == finished {
			continue
		}
		s.Backlog++
		if s.Oldest == 0 || it.At < s.Oldest {
			s.Oldest = it.At
		}
	}
	return s, e.horizon == never && !e.loading && e.d.mindsAll()
}
