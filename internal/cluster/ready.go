package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ringback/ringback/internal/store"
)

// maxOffset is how far the machine's clock may be from the store's before
// something is wrong with one of them.
const maxOffset = time.Second

// Ready is nil, or says everything that keeps this node from being one like
// the others, with its cause and what to do.
func (m *Member) Ready() error {
	m.mu.Lock()
	s := m.status
	m.mu.Unlock()
	var lease error
	over := int64(time.Since(m.base)) >= m.until.Load()
	switch {
	case s.left:
		return errors.New("cluster: this node has left the others")
	case s.fenced != nil:
		return fmt.Errorf("cluster: this start of the node is over, and it is starting again: %w", s.fenced)
	case !m.hasStarted():
		lease = errors.New("cluster: the node is still starting")
	case over && s.failure != nil:
		lease = fmt.Errorf("cluster: the lease has run out, because the store has not renewed it for %v; check that the database is up, fast enough and reachable from this machine: %w",
			time.Since(s.renewed).Round(time.Second), s.failure)
	case over:
		lease = fmt.Errorf("cluster: the lease has run out, because the store has not renewed it for %v; check that the database is fast enough, and that this process is not being stopped",
			time.Since(s.renewed).Round(time.Second))
	}
	return errors.Join(lease, m.bus.Connected(), skewed(m.clock.Offset()))
}

// skewed says how wrong the machine's clock is, if it is.
func skewed(offset time.Duration) error {
	word := "behind"
	if offset < 0 {
		word = "ahead of"
	}
	if offset.Abs() <= maxOffset {
		return nil
	}
	return fmt.Errorf("cluster: the clock of this machine is %v %s the database's: have both synchronized (by chrony or systemd-timesyncd, say)",
		offset.Abs().Round(100*time.Millisecond), word)
}

// setClock has the clock agree with the store's, before anything is done by it.
func (m *Member) setClock(ctx context.Context) error {
	for try := range 2 { // the first may be slow, because it connects
		begun := time.Now()
		at, err := m.store.Clock(ctx)
		if err != nil {
			return fmt.Errorf("reading the clock of the store: %w", err)
		}
		if try == 0 {
			m.clock.Adjust(at.Sub(time.Now()) + time.Since(begun)/2)
		}
		m.observe(at, begun, time.Now())
	}
	return nil
}

// observe adjusts the clock by the store's answer to a request. All that can
// be told is that the store's clock showed that time at some moment between
// the request and the answer. So the offset stays as it is while it agrees
// with that, and otherwise moves no farther than it must: it does not follow
// the network's noise, and it is as exact as the fastest answers allow.
func (m *Member) observe(at, begun, ended time.Time) {
	now := time.Now().Round(0)
	elapsed := time.Since(ended)
	most := at.Add(elapsed + ended.Sub(begun)).Sub(now)
	least := at.Add(elapsed).Sub(now)
	before := m.clock.Offset()
	offset := min(max(before, least), most)
	if offset == before {
		return
	}
	m.clock.Adjust(offset)
	if err := skewed(offset); err != nil && skewed(before) == nil {
		m.logger.Warn("the machine's clock is wrong", "node", m.name, "error", err)
	}
}

// Leave gives everything up, in order: what is held is lost, then the store
// knows it, then the others do. It closes the bus. The node's sessions are
// lost then, so devices are to be gone before. No change is told after it.
func (m *Member) Leave(ctx context.Context) error {
	m.mu.Lock()
	again := m.status.left
	fenced := m.status.fenced != nil
	m.status.left = true
	m.mu.Unlock()
	if again {
		return nil
	}
	close(m.leaving)
	m.running.Wait()
	err := m.letGo(ctx)
	if err == nil && !fenced {
		if err = m.store.LeaveNode(ctx); err == nil {
			m.Spread(nudge, nil)
		}
	}
	return errors.Join(err, m.bus.Close())
}

// letGo tells that everything that was held is lost.
func (m *Member) letGo(ctx context.Context) error {
	m.until.Store(0)
	told := m.changes.add(Change{Lost: store.PartitionSet(m.held.Swap(0))})
	m.changes.close()
	if !m.hasStarted() {
		return nil
	}
	select {
	case <-told:
		m.telling.Wait()
		return nil
	case <-ctx.Done():
		return fmt.Errorf("giving up what the node holds: %w", ctx.Err())
	}
}
