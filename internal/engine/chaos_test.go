package engine

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

// TestFleetInDisorder lets users on three nodes do anything while messages get
// lost and come late, devices move between nodes, partitions change hands and
// a node dies. When it is quiet again every node must show its devices the
// truth, and no version may ever have gone back.
func TestFleetInDisorder(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			fleetBubble(t, 3, func(t *testing.T, f *fleet) {
				newDisorder(f, uint64(seed)).run(150)
			})
		})
	}
}

type disorder struct {
	*fleet
	r      *rand.Rand
	phones []*phone
	calls  []call.ID
}

func newDisorder(f *fleet, seed uint64) *disorder {
	d := &disorder{fleet: f, r: rand.New(rand.NewPCG(seed, 7))}
	r := rand.New(rand.NewPCG(seed, 8)) // under the fleet's lock
	f.losing(func(_, _ store.NodeID) bool { return r.IntN(10) == 0 })
	f.delaying(func(_, _ store.NodeID) time.Duration { return time.Duration(r.IntN(20)) * time.Millisecond })
	for i := range 8 {
		d.phones = append(d.phones, d.node().login(user(i)))
	}
	return d
}

func user(i int) call.UserID { return call.UserID(fmt.Sprintf("user%d", i)) }

// node picks one that lives.
func (d *disorder) node() *world {
	for {
		if w := d.nodes[d.r.IntN(len(d.nodes))]; !d.dead(w.self()) {
			return w
		}
	}
}

func (d *disorder) run(steps int) {
	for i := range steps {
		if i == steps/2 {
			d.die()
		}
		d.step()
		time.Sleep(time.Duration(d.r.IntN(30)) * time.Millisecond)
		if d.r.IntN(20) == 0 {
			time.Sleep(time.Duration(d.r.IntN(20)) * time.Second)
		}
	}
	d.losing(nil)
	for _, w := range d.nodes {
		if !d.dead(w.self()) {
			w.Resync()
		}
	}
	time.Sleep(time.Second)
	synctest.Wait()
	d.check()
	time.Sleep(10 * time.Minute) // everything that rings has rung out
	synctest.Wait()
	d.check()
}

// die kills a node; its devices come back on others.
func (d *disorder) die() {
	w := d.node()
	var heir *world
	for heir = d.node(); heir == w; {
		heir = d.node()
	}
	d.kill(w, heir)
	for i, p := range d.phones {
		if p.w == w {
			p.w = heir
			d.phones[i] = p.back()
			d.look(d.phones[i])
		}
	}
}

// look reads the calls, as a device does when it has come, which knows them
// all.
func (d *disorder) look(p *phone) {
	snap, err := p.w.Snapshot(d.t.Context(), app, p.actor(), d.calls, func(c *call.Call) {
		p.w.notes.mu.Lock()
		defer p.w.notes.mu.Unlock()
		p.w.notes.show(c)
	})
	if err != nil {
		d.t.Fatal(err)
	}
	for _, c := range snap.Live {
		if now := p.w.get(c.ID); now.Version < c.Version {
			d.t.Errorf("a snapshot shows version %d of call %s, stored is %d", c.Version, c.ID, now.Version)
		}
	}
}

func (d *disorder) step() {
	i := d.r.IntN(len(d.phones))
	p := d.phones[i]
	var id call.ID
	if len(d.calls) > 0 {
		id = d.calls[max(0, len(d.calls)-1-d.r.IntN(6))]
	}
	var err error
	switch d.r.IntN(12) {
	case 0, 1, 2:
		in := Invitation{Timeout: 5 + d.r.IntN(60), Mode: call.Mode(d.r.IntN(2)), NotReceivedCheck: true}
		for range 1 + d.r.IntN(3) {
			in.Invitees = append(in.Invitees, user((i+1+d.r.IntN(7))%8))
		}
		var made call.ID
		if made, err = p.tryInvite(in); err == nil {
			d.calls = append(d.calls, made)
		}
	case 3, 4:
		err = p.accept(id)
	case 5:
		err = p.reject(id)
	case 6:
		err = p.cancel(id)
	case 7:
		err = p.receive(id)
	case 8:
		err = p.do(id, call.Join{Actor: p.actor()})
	case 9:
		err = p.do(id, call.Leave{Actor: p.actor()})
	case 10: // comes back elsewhere, perhaps before the old connection is known to be gone
		if d.r.IntN(2) == 0 {
			p.drop()
		}
		p.w = d.node()
		d.phones[i] = p.back()
		d.look(d.phones[i])
	case 11:
		if from, to := d.node(), d.node(); from != to {
			d.move(from, to)
		}
	}
	if err != nil && refusal(err) == 0 {
		d.t.Fatalf("%v", err)
	}
}

// check compares what every node's devices were last told of a call with what
// is stored.
func (d *disorder) check() {
	d.t.Helper()
	for n, w := range d.nodes {
		if d.dead(w.self()) {
			continue
		}
		w.notes.mu.Lock()
		shown, back := w.notes.shown, w.notes.back
		w.notes.mu.Unlock()
		for _, line := range back {
			d.t.Errorf("node %d: %s", n+1, line)
		}
		for _, id := range d.calls {
			stored, told := w.get(id), shown[id]
			for _, p := range d.phones {
				switch {
				case p.w != w:
				case told == nil && !stored.Active(p.user):
				case told == nil:
					d.t.Errorf("node %d: %s was never told of call %s", n+1, p.user, id)
				case told.Active(p.user) != stored.Active(p.user), stored.Active(p.user) && told.Version != stored.Version:
					d.t.Errorf("node %d: %s was told version %d of call %s, in which he is active: %v; stored is version %d, active: %v",
						n+1, p.user, told.Version, id, told.Active(p.user), stored.Version, stored.Active(p.user))
				}
			}
		}
		w.mu.Lock()
		for id, c := range w.calls {
			if c.rec.Call == nil || !c.rec.Call.Live() {
				d.t.Errorf("node %d keeps call %s, which has ended", n+1, id)
			}
		}
		w.mu.Unlock()
	}
}
