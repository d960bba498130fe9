package engine

import (
	"context"
	"slices"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
	"github.com/ringback/ringback/internal/wire"
)

const (
	// inboxes is how many goroutines read what other nodes say. That of one
	// call is read by one of them, in its order.
	inboxes   = 8
	inboxSize = 1024
	// sweepEvery is the pause between two looks at how far the calls of this
	// node's partitions are.
	sweepEvery = 5 * time.Second
	// buryEvery is the pause between two looks for sessions of dead nodes, and
	// burials how many of them go offline at a time.
	buryEvery = time.Second
	burials   = 16
)

func (e *Engine) startPeers() {
	e.late = make(chan struct{}, 1)
	for i := range e.inbox {
		inbox := make(chan *letter, inboxSize)
		e.inbox[i] = inbox
		e.work.Go(func() {
			for {
				select {
				case l := <-inbox:
					e.open(l)
				case <-e.ctx.Done():
					return
				}
			}
		})
	}
	e.work.Go(e.look)
	e.work.Go(e.bury)
}

// Receive takes what another node's engine has sent. It must be called in the
// order of sending, and does not block: what there is no room for is looked up
// in the store.
func (e *Engine) Receive(from store.NodeID, data []byte) {
	l := &letter{from: from}
	if err := wire.Decode(data, &l.message, (*message).values); err != nil {
		e.Logger.Warn("a message of another node cannot be read", "node", int64(from), "error", err)
		e.Resync()
		return
	}
	at := uint64(0)
	switch {
	case l.News != nil && e.now()-l.At > call.Instant(newsLimit.Milliseconds()):
		e.Resync()
		return
	case l.News != nil:
		at = uint64(l.News.Call) / store.PartitionCount
	case l.Session != nil:
		at = uint64(len(l.Session.User)) // any, but the same for one user
	}
	select {
	case e.inbox[at%inboxes] <- l:
	default:
		e.Resync()
	}
}

// open does what a message asks for.
func (e *Engine) open(l *letter) {
	switch {
	case l.News != nil:
		e.pass(l)
		e.read(l)
	case l.Session != nil:
		e.sessionMoved(l.Session)
	case l.Gone != nil:
		e.awaitAbsence(userKey{l.Gone.App, l.Gone.User})
	case l.HandOff != nil:
		e.Callbacks.HandOff(l.HandOff)
	}
}

// pass passes deliveries on that came here because this node held the
// partition until lately.
func (e *Engine) pass(l *letter) {
	n := l.News
	if len(n.Deliver) == 0 || n.Passed || e.holds(n.Call) {
		return
	}
	holder := e.Peers.Holder(store.PartitionOf(n.Call))
	if holder == 0 || holder == e.Peers.Self() || holder == l.from {
		return
	}
	again := *n
	again.Passed = true
	e.Peers.Send(holder, e.letterOf(message{News: &again}))
}

// Answer answers another node's engine.
func (e *Engine) Answer(_ store.NodeID, data []byte) ([]byte, error) {
	var m message
	if err := wire.Decode(data, &m, (*message).values); err != nil {
		return nil, err
	}
	var a answer
	if q := m.Connected; q != nil {
		for _, s := range e.connectedHere(q.App, q.Users) {
			a.Sessions = append(a.Sessions, s.ID)
		}
	}
	return wire.Encode(&a, (*answer).values), nil
}

// Gain takes over calls of partitions that this node holds from now on: it
// minds their timers, and tells other nodes how they are, for whoever held
// them before may have died before he could.
func (e *Engine) Gain(parts store.PartitionSet) {
	err := e.eachLive(parts, func(rec *store.CallRecord) { e.adoptRemote(rec, true) })
	if err != nil && e.ctx.Err() == nil {
		e.logRetry("live calls could not be taken over, it will be tried again", "error", err)
		e.after(retryDelay, func() { e.Gain(parts) })
	}
}

// Lose lets go of calls of partitions that this node no longer holds.
func (e *Engine) Lose(parts store.PartitionSet) {
	for _, c := range e.inMemory(parts) {
		c.mu.Lock()
		if c.due != nil {
			c.due.Stop()
		}
		e.release(c)
	}
}

// inMemory lists the entries of partitions.
func (e *Engine) inMemory(parts store.PartitionSet) []*entry {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []*entry
	for id, c := range e.calls {
		if parts.Has(store.PartitionOf(id)) {
			list = append(list, c)
		}
	}
	return list
}

func (e *Engine) eachLive(parts store.PartitionSet, do func(*store.CallRecord)) error {
	var after call.ID
	for {
		records, err := e.Store.LiveCalls(e.ctx, parts, after, loadPage)
		if err != nil {
			return err
		}
		for _, rec := range records {
			after = rec.Call.ID
			do(rec)
		}
		if len(records) < loadPage {
			return nil
		}
	}
}

// adoptRemote takes over a live call as it was found in the store.
func (e *Engine) adoptRemote(rec *store.CallRecord, announce bool) {
	e.mu.Lock()
	known := e.calls[rec.Call.ID] != nil
	e.mu.Unlock()
	if !known && !e.minds(rec.Call) {
		return
	}
	c, err := e.take(e.ctx, rec.Call.ID)
	if err != nil {
		return // the next look will find it
	}
	defer e.release(c)
	if c.rec.Call == nil || c.gone {
		return
	}
	if c.rec.CommitID != rec.CommitID && !c.fresh {
		e.lookAt(c)
	}
	if c.gone {
		return
	}
	e.schedule(c)
	if announce {
		e.spread(c, news{}, nil)
	}
}

// Resync has the engine look at everything that lives, soon: news may have
// been lost.
func (e *Engine) Resync() {
	select {
	case e.late <- struct{}{}:
	default:
	}
}

// look looks into the store, now and then and when it is asked to.
func (e *Engine) look() {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		var err error
		select {
		case <-e.ctx.Done():
			return
		case <-e.late:
			err = e.resync()
		case <-sweep.C:
			err = e.sweep()
		}
		if err != nil && e.ctx.Err() == nil {
			e.logRetry("live calls could not be looked at, it will be tried again", "error", err)
			e.after(retryDelay, e.Resync)
		}
	}
}

// resync catches up with every live call that concerns this node, and with
// those that it believes to live.
func (e *Engine) resync() error {
	if err := e.checkSessions(); err != nil {
		return err
	}
	before := e.inMemory(store.AllPartitions)
	seen := make(map[call.ID]bool)
	err := e.eachLive(store.AllPartitions, func(rec *store.CallRecord) {
		seen[rec.Call.ID] = true
		e.adoptRemote(rec, false)
	})
	if err != nil {
		return err
	}
	for _, c := range before {
		c.mu.Lock()
		if !c.gone && c.rec.Call != nil && !seen[c.rec.Call.ID] {
			e.lookAt(c)
		}
		e.release(c)
	}
	return nil
}

// checkSessions lets go of sessions that other nodes have by now.
func (e *Engine) checkSessions() error {
	byApp := make(map[uint32][]call.UserID)
	e.mu.Lock()
	for key := range e.users {
		byApp[key.app] = append(byApp[key.app], key.user)
	}
	e.mu.Unlock()
	for app, users := range byApp {
		for part := range slices.Chunk(users, loadPage) {
			if err := e.checkSessionsOf(app, part); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *Engine) checkSessionsOf(app uint32, users []call.UserID) error {
	type place struct {
		user call.UserID
		id   call.SessionID
	}
	here := make(map[place]*session)
	e.mu.Lock()
	for _, user := range users {
		if p := e.users[userKey{app, user}]; p != nil {
			for _, s := range p.sessions {
				here[place{user, s.ID}] = s
			}
		}
	}
	e.mu.Unlock()
	open, err := e.Store.OpenSessionsOf(e.ctx, app, users)
	if err != nil {
		return err
	}
	for i := range open {
		if open[i].Node == e.Peers.Self() {
			delete(here, place{open[i].User, open[i].ID})
		}
	}
	for at := range here {
		if err := e.checkSession(userKey{app, at.user}, at.id); err != nil {
			return err
		}
	}
	return nil
}

// checkSession lets go of a session that is no longer here.
func (e *Engine) checkSession(key userKey, id call.SessionID) error {
	unlock := e.lockUser(key)
	defer unlock()
	stored, _, err := e.Store.SessionsOf(e.ctx, key.app, key.user)
	if err != nil {
		return err
	}
	for i := range stored {
		if s := &stored[i]; s.ID == id && s.Node == e.Peers.Self() && s.OfflineAt == 0 {
			return nil
		} else if s.ID == id {
			e.letGo(key, "", id)
			return nil
		}
	}
	e.letGo(key, newerLogin, id)
	return nil
}

// sweep compares the calls of this node's partitions with what is stored, in
// case that news got lost, and looks after users who are gone.
func (e *Engine) sweep() error {
	held := e.Peers.Held()
	before := e.inMemory(store.AllPartitions)
	heads := make(map[call.ID]uint64)
	var after call.ID
	for {
		page, err := e.Store.LiveHeads(e.ctx, held, after, loadPage)
		if err != nil {
			return err
		}
		for _, h := range page {
			after = h.ID
			heads[h.ID] = h.CommitID
			e.compare(h)
		}
		if len(page) < loadPage {
			break
		}
	}
	var live []*call.Call
	for _, c := range before {
		c.mu.Lock()
		if !c.gone && c.rec.Call != nil && held.Has(store.PartitionOf(c.rec.Call.ID)) {
			if heads[c.rec.Call.ID] == 0 {
				e.lookAt(c)
			} else {
				live = append(live, c.rec.Call)
			}
		}
		e.release(c)
	}
	return e.missUsers(live)
}

// compare looks at a call whose record here is not the newest.
func (e *Engine) compare(h store.CallHead) {
	e.mu.Lock()
	c := e.calls[h.ID]
	e.mu.Unlock()
	if c == nil {
		if c, err := e.take(e.ctx, h.ID); err == nil {
			e.release(c)
		}
		return
	}
	c.mu.Lock()
	if !c.gone && c.rec.Call != nil && c.rec.CommitID != h.CommitID && c.rec.Call.Version <= h.Version {
		e.lookAt(c)
	}
	e.release(c)
}

// missUsers carries out, for calls that this node holds, what follows from the
// absence of users, in case that the node which saw them go died before it
// did.
func (e *Engine) missUsers(calls []*call.Call) error {
	old := e.before(sweepEvery)
	byApp := make(map[uint32]map[call.UserID][]*call.Call)
	for _, c := range calls {
		if c.CreatedAt > old || c.Mode == call.General && c.AnyAccepted() {
			continue
		}
		for i := range c.Users {
			u := &c.Users[i]
			if u.State != call.Accepted || c.Mode == call.General && u.ID != c.Caller || e.present(userKey{c.App, u.ID}) {
				continue
			}
			if byApp[c.App] == nil {
				byApp[c.App] = make(map[call.UserID][]*call.Call)
			}
			byApp[c.App][u.ID] = append(byApp[c.App][u.ID], c)
		}
	}
	for app, users := range byApp {
		ids := make([]call.UserID, 0, len(users))
		for id := range users {
			ids = append(ids, id)
		}
		open, err := e.Store.OpenSessionsOf(e.ctx, app, ids)
		if err != nil {
			return err
		}
		for i := range open {
			delete(users, open[i].User)
		}
		for id, list := range users {
			for _, c := range list {
				gone, err := e.wentAway(e.ctx, c, c.User(id))
				if err != nil {
					return err
				}
				if gone {
					e.adoptAbsence(c, id)
				}
			}
		}
	}
	return nil
}

// bury makes sessions whose node has died go offline in time. They count as
// lost when it ended, or when this node began, if there was nobody to return
// to until then. Each node takes its share of the users.
func (e *Engine) bury() {
	tick := time.NewTicker(buryEvery)
	defer tick.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-tick.C:
		}
		before := e.before(e.HeartbeatTimeout)
		if before < e.began {
			continue
		}
		if err := e.buryLost(before); err != nil && e.ctx.Err() == nil {
			e.logRetry("sessions of a node that is gone could not be recorded as offline, it will be tried again", "error", err)
		}
	}
}

func (e *Engine) buryLost(before call.Instant) error {
	var after store.Session
	for {
		page, err := e.Peers.LostSessions(e.ctx, before, after, loadPage)
		if err != nil {
			return err
		}
		done := make(chan struct{}, burials)
		for _, s := range page {
			after = s
			key := userKey{s.App, s.User}
			if !e.Peers.Holds(int(key.hash() % store.PartitionCount)) {
				continue
			}
			done <- struct{}{}
			e.work.Go(func() {
				e.offline(key, s.ID, s.Node)
				<-done
			})
		}
		for range burials {
			done <- struct{}{}
		}
		if len(page) < loadPage {
			return nil
		}
	}
}

// liveCallsOf lists the live calls in which a user is active.
func (e *Engine) liveCallsOf(ctx context.Context, key userKey) ([]call.ID, error) {
	if e.Peers == nil {
		return e.callsOf(key), nil
	}
	records, err := e.Store.LiveCallsOf(ctx, key.app, key.user)
	if err != nil {
		return nil, err
	}
	var ids []call.ID
	for _, rec := range records {
		if rec.Call.Active(key.user) {
			ids = append(ids, rec.Call.ID)
		}
	}
	return ids, nil
}
