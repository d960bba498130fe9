package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ringback/ringback/internal/call"
	"github.com/ringback/ringback/internal/store"
)

func (f *fixture) traceOf(id call.ID) []store.Trace {
	f.Helper()
	traces, err := f.TraceOf(f.ctx(), id)
	f.ok(err)
	return traces
}

func traces(f *fixture) {
	a, b := f.ring(now, "alice", "bob"), f.ring(now, "alice", "carol")
	f.create(a)
	f.create(b)
	f.equal("trace", f.traceOf(a.ID), []store.Trace(nil))
	var want []store.Trace
	for i, s := range odd {
		part := store.Trace{Call: a.ID, Data: []byte(s)}
		again := store.Trace{Call: a.ID, Data: []byte(fmt.Sprint(i))}
		f.ok(f.AppendTraces(f.ctx(), []store.Trace{part, {Call: a.ID + 99, Data: []byte("of no call")}, again}))
		want = append(want, part, again)
	}
	f.ok(f.AppendTraces(f.ctx(), []store.Trace{{Call: b.ID}}))
	f.ok(f.AppendTraces(f.ctx(), nil))
	f.reopen()
	f.equal("trace", f.traceOf(a.ID), want)
	f.equal("trace", f.traceOf(b.ID), []store.Trace{{Call: b.ID}})
	f.equal("trace of no call", f.traceOf(a.ID+99), []store.Trace(nil))

	// It goes with its call.
	f.end(a, now+1)
	f.pruneAll(now+10, 10)
	f.equal("trace", f.traceOf(a.ID), []store.Trace(nil))
	f.equal("trace", f.traceOf(b.ID), []store.Trace{{Call: b.ID}})
	f.create(a)
	f.equal("trace", f.traceOf(a.ID), []store.Trace(nil))
}

func nonces(f *fixture) {
	use := func(a uint32, nonce string, expires, at call.Instant) error {
		return f.UseNonce(f.ctx(), a, nonce, expires, at)
	}
	for _, s := range odd {
		f.ok(use(app, s, now+100, now))
		f.fails(use(app, s, now+500, now), store.ErrUsed)
		f.fails(use(app, s, now+500, now+99), store.ErrUsed)
		f.ok(use(app+1, s, now+100, now))
	}
	f.reopen()
	for _, s := range odd {
		f.fails(use(app, s, now+500, now+99), store.ErrUsed)
		f.ok(use(app, s, now+200, now+100)) // the first has expired
		f.fails(use(app, s, now+900, now+199), store.ErrUsed)
	}
	f.equal("pruned", f.pruneAll(now+150, 5), len(odd)) // those of the other app
	f.fails(use(app, "plain", now+500, now+199), store.ErrUsed)
	f.equal("pruned", f.pruneAll(now+201, 5), len(odd))
	f.ok(use(app, "plain", now+500, now+199))
}

// nonceRace has one nonce come several times at once, among commits.
func nonceRace(f *fixture) {
	for round := range 5 {
		var winners atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			c := f.ring(now, "alice", "bob")
			wg.Go(func() {
				switch err := f.UseNonce(f.ctx(), app, fmt.Sprint(round), now+100, now); {
				case err == nil:
					winners.Add(1)
				case !errors.Is(err, store.ErrUsed):
					f.Error(err)
				}
			})
			wg.Go(func() {
				if err := f.CommitCall(f.ctx(), &store.CallCommit{CallRecord: store.CallRecord{Call: c}}); err != nil {
					f.Error(err)
				}
			})
		}
		wg.Wait()
		f.equal("uses", winners.Load(), int32(1))
	}
}
