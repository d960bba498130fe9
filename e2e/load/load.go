// Package load drives users with several devices over the nodes of a server
// while somebody does harm to it, writes down all that they saw, and has the
// history checked when the dust has settled.
//
// Half of the devices speak the wire protocol by themselves and record each
// frame; the other half use the Go client and record what it gives to its
// user. A connection goes to a random node, and after its loss to another.
package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringback/ringback/e2e/history"
)

// Config says what to drive, and how. The fields without a default are
// required.
type Config struct {
	Nodes      []string // base URLs, such as http://127.0.0.1:8080, for devices and the server API
	Admin      []string // base URLs of the admin API, asked in turn; default Nodes
	AdminToken string

	AppID  uint32
	Secret string                                      // of the app, for the server API
	Token  func(user string) (token string, err error) // makes login tokens

	Log *history.Log // where the receiver of callbacks writes, too

	Users    int           // each with a device of each kind; default 12
	Rate     float64       // scenarios a second; default 10
	Duration time.Duration // of the load; default 10 s
	Seed     uint64        // of everything that is random here; not of how it races
	Prefix   string        // of the users' IDs; default "u"

	// VanishFor is how long a caller stays away who lets his calls down: over
	// the heartbeat timeout of the server, so that it notices. 0: no caller
	// does.
	VanishFor time.Duration

	// Faults does harm while the load goes on, and has undone it when it
	// returns. It records what it does, see [Harm]. nil: there is none.
	Faults func(ctx context.Context) error

	Settle time.Duration // how long the server may take to become quiet; default 60 s
	Limits history.Limits
}

func (cfg Config) withDefaults() (Config, error) {
	if len(cfg.Nodes) == 0 || cfg.AppID == 0 || cfg.Secret == "" || cfg.Token == nil || cfg.Log == nil {
		return cfg, errors.New("load: Nodes, AppID, Secret, Token and Log are required")
	}
	if len(cfg.Admin) == 0 {
		cfg.Admin = cfg.Nodes
	}
	cfg.Users = max(cmp.Or(cfg.Users, 12), 4)
	cfg.Rate = cmp.Or(cfg.Rate, 10)
	cfg.Duration = cmp.Or(cfg.Duration, 10*time.Second)
	cfg.Prefix = cmp.Or(cfg.Prefix, "u")
	cfg.Settle = cmp.Or(cfg.Settle, time.Minute)
	cfg.Limits.Told = cmp.Or(cfg.Limits.Told, 2*time.Second)
	return cfg, nil
}

// Result is what became of a run.
type Result struct {
	Records    []history.Record
	Violations []history.Violation
	Scenarios  map[string]int // how often each was played
	Calls      int            // in the store, of this run
	Outcomes   map[string]int // of those calls
	Events     int
	Callbacks  int // requests at the receiver
	Logins     int
}

// Harm records a fault of that name while f does it and undoes it. Time in it,
// and a while after, is not counted against anybody.
func Harm(log *history.Log, name string, f func()) {
	log.Add(history.Record{Kind: history.Fault, Name: name})
	defer log.Add(history.Record{Kind: history.Healed, Name: name})
	f()
}

// run is one run.
type run struct {
	cfg     Config
	log     *history.Log
	conns   atomic.Int64
	number  atomic.Int64
	tag     string // of the calls of this run
	devices []*device
	byName  map[string]*device
	api     *serverAPI
	acting  tasks // what devices and scenarios are doing

	mu     sync.Mutex
	rng    *rand.Rand
	played map[string]int
}

// Run drives the load, waits until the server is quiet, reads its final state
// and checks the history. The error is of the run itself: that a fault could
// not be done, that the devices did not all come back, or that the final state
// could not be read. Violations are in the result.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &run{
		cfg: cfg, log: cfg.Log, tag: fmt.Sprintf("load-%d-%d", cfg.Seed, time.Now().UnixNano()),
		byName: make(map[string]*device), rng: rand.New(rand.NewPCG(cfg.Seed, 1)), played: make(map[string]int),
	}
	r.api = &serverAPI{run: r}
	life, stop := context.WithCancel(ctx)
	defer stop()
	for i := range cfg.Users {
		user := fmt.Sprintf("%s%d", cfg.Prefix, i)
		for _, via := range []history.Via{history.Wire, history.Client} {
			d := newDevice(r, user, via)
			r.devices, r.byName[d.name] = append(r.devices, d), d
		}
	}
	var lives sync.WaitGroup
	for _, d := range r.devices {
		lives.Go(func() { d.live(life) })
	}
	defer lives.Wait()
	defer stop()
	if err := r.allOnline(ctx); err != nil {
		return nil, err
	}

	harmed := make(chan error, 1)
	go func() {
		if cfg.Faults == nil {
			harmed <- nil
			return
		}
		harmed <- cfg.Faults(ctx)
	}()
	r.play(ctx, life)
	if err := <-harmed; err != nil {
		return nil, fmt.Errorf("load: doing harm: %w", err)
	}
	r.acting.wait(ctx)
	if err := r.allOnline(ctx); err != nil {
		return nil, err
	}
	// What does not become quiet is found by the checker, with proof; here it
	// only explains why the final state could not be read.
	unsettled := r.quiet(ctx)
	// Those who have not been told yet have this long, as always.
	wait(ctx, cfg.Limits.Told+500*time.Millisecond)
	stop()
	lives.Wait()
	r.acting.wait(ctx)
	res, err := r.result(ctx)
	if err != nil {
		return nil, errors.Join(err, unsettled)
	}
	return res, nil
}

// allOnline waits until every device is logged in.
func (r *run) allOnline(ctx context.Context) error {
	deadline := time.Now().Add(r.cfg.Settle)
	for _, d := range r.devices {
		for !d.online() {
			if ctx.Err() != nil || time.Now().After(deadline) {
				return fmt.Errorf("load: %s is not logged in after %v: %w", d.name, r.cfg.Settle, cmp.Or(d.lastError(), ctx.Err(), errors.New("no attempt has ended")))
			}
			wait(ctx, 10*time.Millisecond)
		}
	}
	return nil
}

// play begins scenarios at the rate for the duration. Those that are going on
// then end by themselves.
func (r *run) play(ctx, life context.Context) {
	end := time.After(r.cfg.Duration)
	tick := time.NewTicker(time.Duration(float64(time.Second) / r.cfg.Rate))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-end:
			return
		case <-tick.C:
			s := scenarios[r.random(len(scenarios))]
			if s.vanishes && r.cfg.VanishFor == 0 {
				continue
			}
			r.mu.Lock()
			r.played[s.name]++
			r.mu.Unlock()
			r.acting.Go(func() { s.play(&scene{run: r, ctx: life}) })
		}
	}
}

// random is a number from 0 to n-1.
func (r *run) random(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rng.IntN(n)
}

// within is a random time up to d.
func (r *run) within(d time.Duration) time.Duration {
	return time.Duration(r.random(int(d)))
}

func (r *run) node() string { return r.cfg.Nodes[r.random(len(r.cfg.Nodes))] }

// wait waits, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// tasks counts what goes on in goroutines, which may begin more. Its zero
// value has none.
type tasks struct{ n atomic.Int64 }

// Go calls f in a goroutine.
func (t *tasks) Go(f func()) {
	t.n.Add(1)
	go func() {
		defer t.n.Add(-1)
		f()
	}()
}

// wait waits until there is no task, or until ctx ends.
func (t *tasks) wait(ctx context.Context) {
	for t.n.Load() > 0 && ctx.Err() == nil {
		wait(ctx, 10*time.Millisecond)
	}
}
