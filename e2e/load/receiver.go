package load

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/ringback/ringback/callback"
	"github.com/ringback/ringback/e2e/history"
)

// Receiver is the business server: it verifies each callback, records it, and
// answers most of them with 200, some with 500, and some slowly.
type Receiver struct {
	URL string // of the endpoint

	log      *history.Log
	verifier callback.Verifier
	srv      *http.Server

	mu   sync.Mutex
	rng  *rand.Rand
	down bool
}

// Shares of the callbacks that are not answered with 200 at once.
const (
	failing = 0.05
	slow    = 0.05
	slowFor = 300 * time.Millisecond // at most
)

// NewReceiver starts a receiver, which closes the listener when it is closed.
func NewReceiver(ln net.Listener, log *history.Log, secret string, seed uint64) *Receiver {
	r := &Receiver{
		URL: "http://" + ln.Addr().String() + "/callback", log: log,
		verifier: callback.Verifier{Secrets: []string{secret}, Require: callback.RequireBoth},
		rng:      rand.New(rand.NewPCG(seed, 2)),
	}
	r.srv = &http.Server{Handler: r}
	go func() {
		if err := r.srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Add(history.Record{Kind: history.Callback, Error: err.Error()}) // which is found
		}
	}()
	return r
}

// Close ends the receiver.
func (r *Receiver) Close() { r.srv.Close() }

// Down has the receiver break off whatever comes for a time, unrecorded, and
// records the fault.
func (r *Receiver) Down(f func()) {
	Harm(r.log, history.ReceiverFault, func() {
		r.setDown(true)
		defer r.setDown(false)
		f()
	})
}

func (r *Receiver) setDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

// mood is how the next callback is answered.
func (r *Receiver) mood() (down, fail bool, pause time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rng.Float64() < slow {
		pause = time.Duration(r.rng.Int64N(int64(slowFor)))
	}
	return r.down, r.rng.Float64() < failing, pause
}

// ServeHTTP takes a callback.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	at := r.log.Now()
	down, fail, pause := r.mood()
	if down {
		panic(http.ErrAbortHandler)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // it broke off in the middle, and was not received
	}
	rec := history.Record{Kind: history.Callback, Body: body, Status: http.StatusOK}
	e, err := r.verifier.Verify(req.Header, body)
	if err != nil {
		rec.Error, rec.Status, rec.Body = err.Error(), http.StatusUnauthorized, bodyOf(string(body))
	} else {
		rec.WebhookID, rec.Attempt, rec.Sequence = e.ID, e.Attempt, e.Sequence
	}
	select {
	case <-req.Context().Done():
		rec.Status = 0
	case <-time.After(pause):
		if fail && err == nil {
			rec.Status = http.StatusInternalServerError
		}
	}
	rec.Done = r.log.Now()
	r.log.AddAt(at, rec)
	if rec.Status != 0 {
		w.WriteHeader(rec.Status)
	}
}
